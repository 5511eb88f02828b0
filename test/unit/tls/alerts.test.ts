import { describe, expect, test } from '@jest/globals';
import { EMPTY, concatBytes, fromHex, toHex, utf8 } from '../../../src/base/bytes.ts';
import { ALERTS, TlsAlert } from '../../../src/tls/alert.ts';
import { encodeEd25519Spki } from '../../../src/tls/certificates.ts';
import { createServerSession } from '../../../src/tls/server-session.ts';
import { createClientSession } from '../../../src/tls/client-session.ts';
import { endpointTlsName } from '../../../src/tls/endpoint-name.ts';
import { HANDSHAKE, writeCertificate, writeCertificateRequest } from '../../../src/tls/messages.ts';
import { rawPublicKeyIdentity, rawPublicKeyVerifier } from '../../../src/tls/profile.ts';
import { writeServerHello } from '../../../src/tls/server-hello.ts';
import type { ServerTlsConfig, TlsSession } from '../../../src/tls/session.ts';
import {
  NOW,
  TlsPair,
  changing,
  clientConfig,
  clientKey,
  clientParameters,
  seededRng,
  serverConfig,
  serverKey,
  serverName,
  serverParameters,
  type PairOptions,
} from '../../support/tls-pair.ts';
import {
  PuppetClient,
  PuppetServer,
  puppetHello,
  puppetKeyPair,
  written,
} from '../../support/tls-puppets.ts';

type AlertName = keyof typeof ALERTS;

function serverSession(changes: Partial<ServerTlsConfig> = {}): TlsSession {
  return createServerSession(serverConfig(changes), {
    rng: seededRng('server'),
    wallNow: NOW,
    transportParameters: serverParameters,
  });
}

function clientSession(): TlsSession {
  return createClientSession(clientConfig(), serverName, {
    rng: seededRng('client'),
    wallNow: NOW,
    transportParameters: clientParameters,
  });
}

/** The alert that a call raises. */
function alertOf(call: () => unknown): AlertName | undefined {
  try {
    call();
    return undefined;
  } catch (error) {
    if (error instanceof TlsAlert) return error.alertName;
    throw error;
  }
}

function expectAlert(options: PairOptions, side: 'client' | 'server', name: AlertName): void {
  const { alert } = new TlsPair(options).run();
  expect([alert?.side, alert?.error.alertName]).toEqual([side, name]);
}

/** Flips a bit of the last byte. */
function spoil(message: Uint8Array): Uint8Array {
  message[message.length - 1]! ^= 1;
  return message;
}

const certificateOf = (...entries: Uint8Array[]): Uint8Array =>
  written((w) => {
    writeCertificate(w, entries);
  });

test('the numbers of the alerts that QUIC peers see', () => {
  const numbers = Object.fromEntries(
    (
      [
        'unexpected_message',
        'handshake_failure',
        'bad_certificate',
        'unsupported_certificate',
        'illegal_parameter',
        'unknown_ca',
        'access_denied',
        'decode_error',
        'decrypt_error',
        'protocol_version',
        'internal_error',
        'missing_extension',
        'unsupported_extension',
        'certificate_required',
        'no_application_protocol',
      ] as const
    ).map((name) => [name, 0x100 + ALERTS[name]]),
  );
  expect(numbers).toEqual({
    unexpected_message: 0x10a,
    handshake_failure: 0x128,
    bad_certificate: 0x12a,
    unsupported_certificate: 0x12b,
    illegal_parameter: 0x12f,
    unknown_ca: 0x130,
    access_denied: 0x131,
    decode_error: 0x132,
    decrypt_error: 0x133,
    protocol_version: 0x146,
    internal_error: 0x150,
    missing_extension: 0x16d,
    unsupported_extension: 0x16e,
    certificate_required: 0x174,
    no_application_protocol: 0x178,
  });
});

describe('identities', () => {
  test('another key than the one dialled is unknown_ca', () => {
    expectAlert({ serverName: endpointTlsName(clientKey) }, 'client', 'unknown_ca');
  });

  test('a name that spells no key is bad_certificate', () => {
    expectAlert({ serverName: 'example.org' }, 'client', 'bad_certificate');
  });

  test.each(['client', 'server'] as const)('a bad signature of the %s is decrypt_error', (from) => {
    const wire = changing(from, HANDSHAKE.certificateVerify, spoil);
    expectAlert({ wire }, from === 'client' ? 'server' : 'client', 'decrypt_error');
  });

  test.each(['client', 'server'] as const)('a scheme of the %s that was not offered is illegal', (from) => {
    const wire = changing(from, HANDSHAKE.certificateVerify, (message) => {
      message.set([0x04, 0x03], 4);
      return message;
    });
    expectAlert({ wire }, from === 'client' ? 'server' : 'client', 'illegal_parameter');
  });

  test.each(['client', 'server'] as const)('two raw keys of the %s are unknown_ca', (from) => {
    const spki = encodeEd25519Spki(from === 'client' ? clientKey : serverKey);
    const wire = changing(from, HANDSHAKE.certificate, () => certificateOf(spki, spki));
    expectAlert({ wire }, from === 'client' ? 'server' : 'client', 'unknown_ca');
  });

  test.each([
    ['not Ed25519', fromHex('302a300506032b656e032100' + '11'.repeat(32))],
    ['too short', encodeEd25519Spki(new Uint8Array(31))],
    ['with something after it', encodeEd25519Spki(new Uint8Array(33))],
  ])('a raw key that is %s is bad_certificate', (_name, spki) => {
    const wire = changing('server', HANDSHAKE.certificate, () => certificateOf(spki));
    expectAlert({ wire }, 'client', 'bad_certificate');
  });

  test('a small-order key proves nothing', () => {
    const identity = rawPublicKeyIdentity(new Uint8Array(32));
    const small = { ...identity, publicKey: new Uint8Array(32).fill(0, 1) };
    small.publicKey[0] = 1;
    expectAlert({ client: clientConfig({ identity: small }) }, 'server', 'decrypt_error');
  });

  test('no certificate: certificate_required at the server, decode_error at the client', () => {
    expectAlert({ client: clientConfig({ identity: undefined }) }, 'server', 'handshake_failure');
    const wire = changing('client', HANDSHAKE.certificate, () => certificateOf());
    expectAlert({ wire }, 'server', 'certificate_required');
    const other = changing('server', HANDSHAKE.certificate, () => certificateOf());
    expectAlert({ wire: other }, 'client', 'decode_error');
  });

  test('a client without a key for the request sends an empty certificate', () => {
    const wire = changing('server', HANDSHAKE.certificateRequest, () =>
      written((w) => {
        writeCertificateRequest(w, [0x0403]);
      }),
    );
    // The Finished of the server is over another request, so only the client's alert is left to see.
    expectAlert({ wire }, 'client', 'decrypt_error');
    const puppet = new PuppetServer(clientSession());
    const outputs = puppet.answer({
      flight: ([extensions, , certificate]) => [
        extensions!,
        written((w) => {
          writeCertificateRequest(w, [0x0403]);
        }),
        certificate!,
      ],
    });
    const flight = outputs.find((o) => o.type === 'crypto' && o.level === 'handshake');
    expect(flight?.type === 'crypto' && toHex(flight.data.subarray(0, 8))).toBe('0b00000400000000');
  });

  test('a client that leaves its certificate out is unexpected_message', () => {
    const puppet = new PuppetClient(serverSession()).hello().takeFlight();
    expect(alertOf(() => puppet.send('handshake', puppet.finished()))).toBe('unexpected_message');
  });

  test('a server that sends no request is tolerated', () => {
    const puppet = new PuppetServer(clientSession());
    const outputs = puppet.answer({ flight: ([extensions, , certificate]) => [extensions!, certificate!] });
    expect(outputs.at(-1)?.type).toBe('complete');
  });

  test.each([
    ['a request with a context', '0d00000c01aa0008000d000400020807', 'illegal_parameter'],
    ['a request without signature algorithms', '0d000003000000', 'missing_extension'],
  ] as const)('%s', (_name, hex, alert) => {
    const flight = ([extensions, , certificate]: Uint8Array[]): Uint8Array[] => [
      extensions!,
      fromHex(hex),
      certificate!,
    ];
    expect(alertOf(() => new PuppetServer(clientSession()).answer({ flight }))).toBe(alert);
  });

  test.each([
    ['a context', '0b00000a01aa' + '0000050000' + '0130' + '0000', 'illegal_parameter'],
    ['an empty entry', '0b000009000000050000000000', 'decode_error'],
    [
      'an entry with an extension',
      '0b00000e' + '00' + '00000a' + '00000130' + '000400050000',
      'unsupported_extension',
    ],
    ['eleven entries', `0b000046${'00'}000042${'000001300000'.repeat(11)}`, 'bad_certificate'],
  ] as const)('a certificate with %s', (_name, hex, alert) => {
    const flight = ([extensions, request]: Uint8Array[]): Uint8Array[] => [
      extensions!,
      request!,
      fromHex(hex),
    ];
    expect(alertOf(() => new PuppetServer(clientSession()).answer({ flight }))).toBe(alert);
  });

  test('a wrong Finished is decrypt_error on both sides', () => {
    expectAlert({ wire: changing('server', HANDSHAKE.finished, spoil) }, 'client', 'decrypt_error');
    expectAlert({ wire: changing('client', HANDSHAKE.finished, spoil) }, 'server', 'decrypt_error');
    const cut = (message: Uint8Array): Uint8Array =>
      concatBytes(Uint8Array.of(20, 0, 0, 31), message.subarray(5));
    expectAlert({ wire: changing('server', HANDSHAKE.finished, cut) }, 'client', 'decrypt_error');
  });

  test('a signer or verifier that breaks is internal_error, with its cause', () => {
    const cause = new Error('no key today');
    const identity = rawPublicKeyIdentity(new Uint8Array(32));
    const sign = (): Uint8Array => {
      throw cause;
    };
    const broken = { ...identity, signer: { schemes: [0x0807], sign } };
    const { alert } = new TlsPair({ server: serverConfig({ identity: broken }) }).run();
    expect(alert?.error).toMatchObject({ alertName: 'internal_error', message: 'internal error', cause });
    const verifier = { ...rawPublicKeyVerifier(), verifyIdentity: sign };
    expectAlert({ client: clientConfig({ verifier }) }, 'client', 'internal_error');
  });
});

describe('what a server demands of a ClientHello', () => {
  /** Replaces the first occurrence of a hex pattern of equal length. */
  const patch = (from: string, to: string) => {
    return changing('client', HANDSHAKE.clientHello, (message) => {
      const hex = toHex(message);
      expect(hex).toContain(from);
      return fromHex(hex.replace(from, to));
    });
  };

  test.each([
    ['no TLS 1.3 in supported_versions', patch('002b0003020304', '002b0003020303'), 'protocol_version'],
    ['no supported_versions', patch('002b0003', 'fa2b0003'), 'protocol_version'],
    ['a compression', patch('13020100', '13020101'), 'illegal_parameter'],
    ['no supported_groups', patch('000a0004', 'fa0a0004'), 'handshake_failure'],
    ['no x25519 in supported_groups', patch('000a00040002001d', '000a000400020017'), 'handshake_failure'],
    ['no key_share', patch('00330026', 'fa330026'), 'handshake_failure'],
    ['no signature_algorithms', patch('000d0004', 'fa0d0004'), 'handshake_failure'],
    [
      'no Ed25519 in signature_algorithms',
      patch('000d000400020807', '000d000400020403'),
      'handshake_failure',
    ],
    ['no ALPN', patch('00100009', 'fa100009'), 'no_application_protocol'],
    ['no client_certificate_type', patch('00130002', 'fa130002'), 'handshake_failure'],
    ['no server_certificate_type', patch('00140002', 'fa140002'), 'handshake_failure'],
    ['X.509 alone as client type', patch('001300020102', '001300020100'), 'handshake_failure'],
    ['X.509 alone as server type', patch('001400020102', '001400020100'), 'handshake_failure'],
    ['no transport parameters', patch('00390004', 'fa390004'), 'missing_extension'],
    ['an extension twice', patch('002d000201', '0014000201'), 'illegal_parameter'],
    ['an empty list of versions', patch('002b0003020304', '002b0003000304'), 'decode_error'],
    ['an empty protocol name', patch('0010000900070674', '0010000900070074'), 'decode_error'],
  ] as const)('%s', (_name, wire, alert) => {
    expectAlert({ wire }, 'server', alert);
  });

  test('no cipher suites', () => {
    expect(alertOf(() => new PuppetClient(serverSession()).hello({ suites: [] }))).toBe('decode_error');
    expect(alertOf(() => new PuppetClient(serverSession()).hello({ suites: [0x1304, 0x00ff] }))).toBe(
      'handshake_failure',
    );
  });

  test('certificate types in a list with others are found', () => {
    const types = { clientCertificateTypes: [0, 2, 0], serverCertificateTypes: [1, 2] };
    const puppet = new PuppetClient(serverSession()).hello(types);
    expect(puppet.outputs.map((o) => o.type)).toContain('applicationKeys');
  });

  test.each([
    ['of small order', new Uint8Array(32)],
    ['too short', puppetKeyPair.publicKey.subarray(1)],
    ['too long', concatBytes(puppetKeyPair.publicKey, EMPTY.slice(), Uint8Array.of(0))],
  ])('a key share that is %s', (_name, x25519Share) => {
    expect(alertOf(() => new PuppetClient(serverSession()).hello({ x25519Share }))).toBe('illegal_parameter');
  });

  test('a session id is a protocol violation of QUIC', () => {
    const wire = changing('client', HANDSHAKE.clientHello, (message) => {
      const length = message.length - 4 + 1;
      return concatBytes(
        Uint8Array.of(1, 0, length >>> 8, length),
        message.subarray(4, 38),
        Uint8Array.of(1, 0xaa),
        message.subarray(39),
      );
    });
    expect(new TlsPair({ wire }).run().alert).toMatchObject({
      side: 'server',
      error: { alertName: 'illegal_parameter', protocolViolation: true },
    });
  });

  test('pre_shared_key last, with modes, and early data only with it', () => {
    const psk = { ticket: utf8('x'), obfuscatedAge: 0, binderLength: 32 } as const;
    const hello = (change: (hex: string) => string): AlertName | undefined =>
      alertOf(() => {
        const capture = new PuppetClient({ ...nobody, handleCrypto: (_level, data) => (sent = data) });
        let sent: Uint8Array = EMPTY;
        capture.hello({ psk, earlyData: true });
        serverSession().handleCrypto('initial', fromHex(change(toHex(sent))), NOW);
      });
    expect(hello((hex) => hex)).toBeUndefined();
    expect(hello((hex) => hex.replace('002d00020101', 'fa2d00020101'))).toBe('missing_extension');
    expect(hello((hex) => hex.replace('0029002c', 'fa29002c'))).toBe('illegal_parameter');
    // the early_data extension moved behind it
    expect(
      hello((hex) => {
        const tail = hex.slice(hex.indexOf('0029002c'));
        return hex.replace(`002a0000${tail}`, `${tail}002a0000`);
      }),
    ).toBe('illegal_parameter');
  });

  test('unknown extensions, values and schemes are ignored', () => {
    const wire = changing('client', HANDSHAKE.clientHello, (message) => message);
    const pair = new TlsPair({ wire }).run();
    expect(pair.alert).toBeUndefined();
    const puppet = new PuppetClient(serverSession());
    puppet.hello({
      suites: [0x0a0a, 0x1301],
      groups: [0x0a0a, 0x11ec, 0x001d],
      signatureSchemes: [0x0a0a, 0x0807],
      alpns: [utf8('zz'), utf8('test/1')],
    });
    expect(puppet.outputs.map((o) => o.type)).toContain('applicationKeys');
  });
});

/** Takes everything, says nothing. */
const nobody: TlsSession = {
  side: 'server',
  isComplete: false,
  earlyTransportParameters: undefined,
  handleCrypto: () => undefined,
  poll: () => undefined,
  exportKeyingMaterial: () => EMPTY,
};

describe('what a client demands of a server', () => {
  const hello = (
    changes: Partial<{ suite: number; group: number; key: Uint8Array; psk: number }>,
  ): Uint8Array =>
    written((w) => {
      writeServerHello(
        w,
        new Uint8Array(32),
        changes.suite ?? 0x1301,
        { group: changes.group ?? 0x001d, key: changes.key ?? puppetKeyPair.publicKey },
        changes.psk,
      );
    });
  const feed = (message: Uint8Array): AlertName | undefined =>
    alertOf(() => {
      clientSession().handleCrypto('initial', message, NOW);
    });
  const edit = (from: string, to: string): Uint8Array => {
    const hex = toHex(hello({}));
    expect(hex).toContain(from);
    return fromHex(hex.replace(from, to));
  };

  test.each([
    ['a suite not offered', hello({ suite: 0x1304 }), 'illegal_parameter'],
    ['another group', hello({ group: 0x0017 }), 'illegal_parameter'],
    ['a key of small order', hello({ key: new Uint8Array(32) }), 'illegal_parameter'],
    ['a key of another length', hello({ key: new Uint8Array(31).fill(9) }), 'illegal_parameter'],
    ['a PSK that was not offered', hello({ psk: 0 }), 'unsupported_extension'],
    [
      'a session id',
      fromHex(`0200000a0303${'00'.repeat(32)}01`.replace('0200000a', '02000023')),
      'illegal_parameter',
    ],
    ['a compression', edit('130100', '130101'), 'illegal_parameter'],
    ['another legacy version', edit('02000056030300', '02000056030200'), 'protocol_version'],
    ['TLS 1.2', edit('002b00020304', '002b00020303'), 'illegal_parameter'],
    ['no version', edit('002b0002', '00100002'), 'illegal_parameter'],
    ['an extension of another message', edit('002b00020304', '000000020304'), 'illegal_parameter'],
    ['an extension that does not exist', edit('002b00020304', 'fa2b00020304'), 'unsupported_extension'],
    ['a cookie', edit('002b00020304', '002c00020304'), 'illegal_parameter'],
    ['an extension twice', edit('00330024', '002b0024'), 'illegal_parameter'],
  ] as const)('ServerHello with %s', (_name, message, alert) => {
    expect(feed(message)).toBe(alert);
  });

  test('ServerHello without extensions, without version, without share', () => {
    const head = `0303${'00'.repeat(32)}00130100`;
    expect(feed(fromHex(`02000028${head}0000`))).toBe('protocol_version');
    expect(feed(fromHex(`0200002e${head}0006002b00020304`))).toBe('missing_extension');
    expect(feed(fromHex(`02000026${head}`))).toBe('decode_error');
  });

  const answer = (extensions: Parameters<PuppetServer['answer']>[0] & object): AlertName | undefined =>
    alertOf(() => new PuppetServer(clientSession()).answer(extensions));

  test.each([
    ['no ALPN', { alpn: undefined }, 'no_application_protocol'],
    ['an ALPN not offered', { alpn: utf8('test/2') }, 'illegal_parameter'],
    ['no transport parameters', { transportParameters: undefined }, 'missing_extension'],
    ['no client type', { clientCertificateType: undefined }, 'handshake_failure'],
    ['no server type', { serverCertificateType: undefined }, 'handshake_failure'],
    ['X.509 as client type', { clientCertificateType: 0 }, 'handshake_failure'],
    ['X.509 as server type', { serverCertificateType: 0 }, 'handshake_failure'],
    ['a server name that was not sent', { serverName: true }, 'unsupported_extension'],
    ['early data that was not offered', { earlyData: true }, 'unsupported_extension'],
  ] as const)('EncryptedExtensions with %s', (_name, extensions, alert) => {
    expect(answer({ extensions })).toBe(alert);
  });

  test.each([
    ['two protocols', '0010000600040161', '0162', 'illegal_parameter'],
    ['a key share', '0033', '0000', 'illegal_parameter'],
    ['an unknown extension', 'fafa', '0000', 'unsupported_extension'],
  ] as const)('EncryptedExtensions with %s', (_name, head, tail, alert) => {
    const body = head + tail;
    const length = body.length / 2;
    const hex = `080000${(length + 2).toString(16).padStart(2, '0')}00${length.toString(16).padStart(2, '0')}${body}`;
    const flight = ([, ...rest]: Uint8Array[]): Uint8Array[] => [fromHex(hex), ...rest];
    expect(answer({ flight })).toBe(alert);
  });

  test('supported_groups in EncryptedExtensions are fine', () => {
    const flight = ([extensions, ...rest]: Uint8Array[]): Uint8Array[] => {
      const grown = concatBytes(extensions!, fromHex('000a00040002001d'));
      grown[3]! += 8;
      grown[5]! += 8;
      return [grown, ...rest];
    };
    expect(answer({ flight })).toBeUndefined();
  });
});

describe('order and levels', () => {
  test.each([
    ['client', 'initial', '01', 'unexpected_message'],
    ['client', 'initial', '08', 'unexpected_message'],
    ['client', 'handshake', '08', 'unexpected_message'],
    ['client', 'application', '04', 'unexpected_message'],
    ['server', 'initial', '02', 'unexpected_message'],
    ['server', 'handshake', '0b', 'unexpected_message'],
    ['server', 'application', '01', 'unexpected_message'],
  ] as const)('%s at the start, level %s, type %s', (side, level, type, alert) => {
    const session = side === 'client' ? clientSession() : serverSession();
    // The type alone decides: nothing is buffered for a message that will be refused.
    expect(
      alertOf(() => {
        session.handleCrypto(level, fromHex(type), NOW);
      }),
    ).toBe(alert);
  });

  test('EndOfEarlyData and KeyUpdate are not for QUIC', () => {
    for (const message of ['05000000', '1800000100']) {
      const puppet = new PuppetClient(serverSession()).hello().takeFlight();
      expect(alertOf(() => puppet.send('handshake', fromHex(message)))).toBe('unexpected_message');
    }
  });

  test('after the handshake a server takes nothing, a client takes tickets', () => {
    for (const message of ['01000000', '04000000', '1800000100', '0b000000']) {
      const pair = new TlsPair().run();
      pair.deliver('server', 'application', fromHex(message));
      expect(pair.alert).toMatchObject({ side: 'server', error: { alertName: 'unexpected_message' } });
    }
    for (const message of ['02000000', '1800000100', '14000000']) {
      const pair = new TlsPair().run();
      pair.deliver('client', 'application', fromHex(message));
      expect(pair.alert).toMatchObject({
        side: 'client',
        error: { alertName: 'unexpected_message', protocolViolation: false },
      });
    }
    const pair = new TlsPair().run();
    pair.deliver('client', 'application', fromHex('0d00000b00' + '0008000d000400020807'));
    expect(pair.alert?.error).toMatchObject({ alertName: 'unexpected_message', protocolViolation: true });
  });

  test('bytes for a level that was left behind are a protocol violation', () => {
    const pair = new TlsPair().run();
    pair.deliver('client', 'handshake', Uint8Array.of(8));
    expect(pair.alert?.error).toMatchObject({ alertName: 'unexpected_message', protocolViolation: true });
    const other = new TlsPair().run();
    other.deliver('server', 'initial', Uint8Array.of(1));
    expect(other.alert?.error).toMatchObject({ alertName: 'unexpected_message', protocolViolation: true });
  });

  test.each([
    ['client', 'initial', 'server'],
    ['server', 'initial', 'client'],
    ['client', 'handshake', 'server'],
    ['server', 'handshake', 'client'],
  ] as const)('what follows the last message of the %s at level %s', (from, level, side) => {
    const { alert } = new TlsPair({
      wire: (sender, at, data) =>
        sender === from && at === level ? [concatBytes(data, Uint8Array.of(0x0b))] : [data],
    }).run();
    expect(alert).toMatchObject({
      side,
      error: { alertName: 'unexpected_message', protocolViolation: true },
    });
  });

  test('a message that announces 64 KiB is refused at its header', () => {
    expect(
      alertOf(() => {
        serverSession().handleCrypto('initial', fromHex('0100fffc'), NOW);
      }),
    ).toBe('decode_error');
    expect(
      alertOf(() => {
        serverSession().handleCrypto('initial', fromHex('0100fffb'), NOW);
      }),
    ).toBeUndefined();
  });

  test('a session that failed stays failed', () => {
    const session = serverSession();
    const first = alertOf(() => {
      session.handleCrypto('initial', Uint8Array.of(2), NOW);
    });
    expect(first).toBe('unexpected_message');
    expect(
      alertOf(() => {
        session.handleCrypto('initial', Uint8Array.of(1), NOW);
      }),
    ).toBe('unexpected_message');
    expect(session.poll()).toBeUndefined();
  });

  test('empty CRYPTO data is nothing', () => {
    const session = serverSession();
    session.handleCrypto('application', EMPTY, NOW);
    expect(session.poll()).toBeUndefined();
  });
});

test('the puppet’s default hello is one that the server takes', () => {
  const puppet = new PuppetClient(serverSession()).hello(puppetHello).takeFlight();
  const authentication = puppet.authenticate();
  puppet.send('handshake', concatBytes(authentication, puppet.finished()));
  expect(puppet.outputs[0]).toMatchObject({ type: 'complete', resumed: false });
});
