import { describe, expect, test } from '@jest/globals';
import { EMPTY, equalBytes, fromHex, toHex, utf8 } from '../../../src/base/bytes.ts';
import { CIPHER_SUITES } from '../../../src/tls/cipher-suites.ts';
import { decodeClientHello, encodeClientHello } from '../../../src/tls/client-hello.ts';
import { createClientSession } from '../../../src/tls/client-session.ts';
import { createServerSession } from '../../../src/tls/server-session.ts';
import type {
  CipherSuiteName,
  ClientTlsConfig,
  ServerTlsConfig,
  TlsSession,
} from '../../../src/tls/session.ts';
import {
  NOW,
  TlsPair,
  clientConfig,
  clientKey,
  clientParameters,
  seededRng,
  serverConfig,
  serverKey,
  serverName,
  serverParameters,
} from '../../support/tls-pair.ts';
import { PuppetClient, PuppetServer, cryptoOf, drain, puppetHello } from '../../support/tls-puppets.ts';

const SUITES: CipherSuiteName[] = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
];

const clientPeer = { type: 'rawPublicKey', publicKey: clientKey };
const serverPeer = { type: 'rawPublicKey', publicKey: serverKey };

/** Both sides agree on everything that a finished handshake is about. */
function expectAgreement(pair: TlsPair): void {
  expect(pair.alert).toBeUndefined();
  expect([pair.client.isComplete, pair.server.isComplete]).toEqual([true, true]);
  for (const type of ['handshakeKeys', 'applicationKeys'] as const) {
    const client = pair.one('client', type).secrets;
    const server = pair.one('server', type).secrets;
    expect(client.suite).toBe(server.suite);
    expect(client.read).toEqual(server.write);
    expect(client.write).toEqual(server.read);
  }
  expect(pair.one('client', 'alpn')).toEqual(pair.one('server', 'alpn'));
  expect(pair.one('client', 'transportParameters').data).toEqual(serverParameters);
  expect(pair.one('server', 'transportParameters').data).toEqual(clientParameters);
  const exported = pair.client.exportKeyingMaterial(40, 'EXPORTER-test', utf8('context'));
  expect(pair.server.exportKeyingMaterial(40, 'EXPORTER-test', utf8('context'))).toEqual(exported);
  expect(equalBytes(pair.client.exportKeyingMaterial(40, 'EXPORTER-test', utf8('x')), exported)).toBe(false);
}

function clientSession(changes: Partial<ClientTlsConfig> = {}): TlsSession {
  return createClientSession(clientConfig(changes), serverName, {
    rng: seededRng('client'),
    wallNow: NOW,
    transportParameters: clientParameters,
  });
}

function serverSession(changes: Partial<ServerTlsConfig> = {}): TlsSession {
  return createServerSession(serverConfig(changes), {
    rng: seededRng('server'),
    wallNow: NOW,
    transportParameters: serverParameters,
  });
}

describe('a full handshake with raw public keys', () => {
  test.each(SUITES)('%s', (suite) => {
    const pair = new TlsPair({ client: clientConfig({ suites: [suite] }) }).run();
    expectAgreement(pair);
    expect(pair.one('client', 'handshakeKeys').secrets.suite).toBe(suite);
    expect(pair.one('client', 'complete')).toEqual({ type: 'complete', peer: serverPeer, resumed: false });
    expect(pair.one('server', 'complete')).toEqual({ type: 'complete', peer: clientPeer, resumed: false });
  });

  test('outputs come in the order in which they must be acted on', () => {
    const pair = new TlsPair().run();
    const order = (side: 'client' | 'server'): string[] =>
      pair.outputs[side].map((output) => (output.type === 'crypto' ? `crypto ${output.level}` : output.type));
    expect(order('client')).toEqual([
      'crypto initial',
      'handshakeKeys',
      'transportParameters',
      'alpn',
      'crypto handshake',
      'applicationKeys',
      'complete',
    ]);
    expect(order('server')).toEqual([
      'transportParameters',
      'alpn',
      'crypto initial',
      'handshakeKeys',
      'crypto handshake',
      'applicationKeys',
      'complete',
      'crypto application',
    ]);
  });

  test('without a request the client stays anonymous', () => {
    const pair = new TlsPair({ server: serverConfig({ clientAuth: 'none' }) }).run();
    expectAgreement(pair);
    expect(pair.one('server', 'complete').peer).toBeUndefined();
    expect(pair.one('client', 'complete').peer).toEqual(serverPeer);
  });

  test('a client without identity serves a server that does not ask', () => {
    const pair = new TlsPair({
      client: clientConfig({ identity: undefined }),
      server: serverConfig({ clientAuth: 'none' }),
    }).run();
    expectAgreement(pair);
  });

  test('the flight of the server has the sizes that real iroh servers show', () => {
    const pair = new TlsPair().run();
    expect(pair.sent('server', 'initial')).toHaveLength(90);
    // CertificateRequest 15, Certificate 57, CertificateVerify 72, Finished 36
    const extensions = 4 + 2 + (4 + 2 + 1 + 6) + (4 + serverParameters.length) + 5 + 5;
    expect(pair.sent('server', 'handshake')).toHaveLength(extensions + 15 + 57 + 72 + 36);
    expect(pair.sent('client', 'handshake')).toHaveLength(57 + 72 + 36);
  });
});

describe('cipher suites', () => {
  test('a server with suites of its own takes the first of the client among them', () => {
    const client = clientConfig({ suites: [SUITES[2]!, SUITES[1]!, SUITES[0]!] });
    const server = serverConfig({ suites: [SUITES[0]!, SUITES[1]!] });
    const pair = new TlsPair({ client, server }).run();
    expectAgreement(pair);
    expect(pair.one('server', 'handshakeKeys').secrets.suite).toBe('TLS_AES_256_GCM_SHA384');
  });

  test('our client offers the fastest first, our server takes it wherever it stands', () => {
    const hello = decodeClientHello(cryptoOf(drain(clientSession()), 'initial'));
    expect(hello.suites).toEqual([0x1303, 0x1301, 0x1302]);
    const client = clientConfig({ suites: SUITES.filter((name) => !name.includes('CHACHA')) });
    const last = clientConfig({ suites: [...client.suites!, 'TLS_CHACHA20_POLY1305_SHA256'] });
    const chosen = (offer: ClientTlsConfig): string =>
      new TlsPair({ client: offer, server: serverConfig() }).run().one('server', 'handshakeKeys').secrets
        .suite;
    expect(chosen(last)).toBe('TLS_CHACHA20_POLY1305_SHA256');
    expect(chosen(client)).toBe(client.suites![0]);
  });

  test('none in common', () => {
    const client = clientConfig({ suites: [SUITES[0]!] });
    const server = serverConfig({ suites: [SUITES[1]!] });
    expect(new TlsPair({ client, server }).run().alert).toMatchObject({
      side: 'server',
      error: { alert: 40 },
    });
  });
});

describe('ALPN', () => {
  test('the order of the server wins', () => {
    const client = clientConfig({ alpns: [utf8('a'), utf8('b'), utf8('c')] });
    const server = serverConfig({ alpns: [utf8('x'), utf8('c'), utf8('a')] });
    const pair = new TlsPair({ client, server }).run();
    expectAgreement(pair);
    expect(pair.one('client', 'alpn').alpn).toEqual(utf8('c'));
  });

  test.each([
    ['none in common', [utf8('a')]],
    ['an endpoint that only dials', []],
  ])('%s: no_application_protocol', (_name, alpns) => {
    expect(new TlsPair({ server: serverConfig({ alpns }) }).run().alert).toMatchObject({
      side: 'server',
      error: { alert: 120 },
    });
  });

  test('a name that TLS cannot carry is the caller’s mistake', () => {
    expect(() => clientSession({ alpns: [] })).toThrow(RangeError);
    expect(() => clientSession({ alpns: [EMPTY] })).toThrow(RangeError);
    expect(() => clientSession({ alpns: [new Uint8Array(256)] })).toThrow(RangeError);
  });
});

describe('server name', () => {
  test('is sent when configured, and acknowledged', () => {
    const pair = new TlsPair({ client: clientConfig({ sni: 'relay.example' }) }).run();
    expectAgreement(pair);
    expect(decodeClientHello(pair.sent('client', 'initial')).serverName).toBe('relay.example');
    expect(toHex(pair.sent('server', 'handshake').subarray(0, 80))).toContain('00000000');
  });

  test('is absent by default', () => {
    const pair = new TlsPair().run();
    expect(decodeClientHello(pair.sent('client', 'initial')).serverName).toBeUndefined();
  });
});

describe('HelloRetryRequest', () => {
  const retryTo = (puppet: PuppetClient): string => toHex(cryptoOf(puppet.outputs, 'initial'));

  test.each(SUITES)('our server asks for x25519 and goes on, %s', (suite) => {
    const puppet = new PuppetClient(serverSession());
    const suites = [CIPHER_SUITES[suite].id];
    puppet.hello({ suites, x25519Share: undefined });
    expect(puppet.outputs).toHaveLength(1);
    expect(retryTo(puppet)).toContain('cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c');
    expect(retryTo(puppet)).toMatch(/00330002001d$/);
    puppet.takeRetry().hello({ suites }).takeFlight();
    const authentication = puppet.authenticate();
    puppet.send('handshake', authentication).send('handshake', puppet.finished());
    expect(puppet.server.isComplete).toBe(true);
    expect(puppet.outputs[0]).toEqual({ type: 'complete', peer: clientPeer, resumed: false });
  });

  test.each(SUITES)('our client sends a cookie back, %s', (suite) => {
    const session = clientSession();
    const puppet = new PuppetServer(session, CIPHER_SUITES[suite]);
    const first = decodeClientHello(puppet.hello);
    puppet.retry({ cookie: fromHex('c00c1e') });
    const second = decodeClientHello(puppet.hello);
    expect(toHex(puppet.hello)).toContain('002c00050003c00c1e');
    expect(second.random).toEqual(first.random);
    expect(second.x25519Share).toEqual(first.x25519Share);
    const outputs = puppet.answer();
    expect(session.isComplete).toBe(true);
    expect(outputs.at(-1)).toEqual({ type: 'complete', peer: serverPeer, resumed: false });
  });

  test.each([
    ['an empty cookie', { cookie: EMPTY.slice() }, 50],
    ['a group that we do not have', { group: 0x0017 }, 47],
    ['the group that was sent', { group: 0x001d }, 47],
    ['the group that was sent, and a cookie', { group: 0x001d, cookie: Uint8Array.of(1) }, 47],
    ['nothing', {}, 47],
    ['an unoffered suite', { cookie: Uint8Array.of(1), suite: 0x1304 }, 47],
    ['an enormous cookie', { cookie: new Uint8Array(4097) }, 47],
  ])('our client refuses a request for %s', (_name, options, alert) => {
    const puppet = new PuppetServer(clientSession());
    expect(() => puppet.retry(options)).toThrow(expect.objectContaining({ alert }));
  });

  test('our client refuses a second one', () => {
    const puppet = new PuppetServer(clientSession()).retry({ cookie: Uint8Array.of(1) });
    expect(() => puppet.retry({ cookie: Uint8Array.of(1) })).toThrow(expect.objectContaining({ alert: 10 }));
  });

  test('our client refuses another suite afterwards', () => {
    const puppet = new PuppetServer(clientSession()).retry({ cookie: Uint8Array.of(1), suite: 0x1303 });
    expect(() => puppet.answer()).toThrow(expect.objectContaining({ alert: 47 }));
  });

  test.each([
    ['no share again', { x25519Share: undefined }],
    ['another random', { random: new Uint8Array(32) }],
    ['another suite', { suites: [0x1303] }],
    [
      'early data',
      { earlyData: true, psk: { ticket: Uint8Array.of(1), obfuscatedAge: 0, binderLength: 32 } },
    ],
  ] as const)('our server refuses a second hello with %s', (_name, changes) => {
    const puppet = new PuppetClient(serverSession()).hello({ x25519Share: undefined });
    expect(() => puppet.hello(changes)).toThrow(expect.objectContaining({ alert: 47 }));
  });

  test('our server refuses a second hello with a share of yet another group', () => {
    const puppet = new PuppetClient(serverSession()).hello({ x25519Share: undefined });
    const hex = toHex(encodeClientHello(puppetHello).message);
    const other = fromHex(hex.replace('00330026' + '0024001d0020', '00330026' + '002400170020'));
    expect(() => puppet.send('initial', other)).toThrow(expect.objectContaining({ alert: 47 }));
  });

  test('our server does not ask a client that cannot do x25519', () => {
    const puppet = new PuppetClient(serverSession());
    expect(() => puppet.hello({ groups: [0x0017], x25519Share: undefined })).toThrow(
      expect.objectContaining({ alert: 40 }),
    );
  });
});

describe('key log', () => {
  test('names the secrets as NSS does, the same on both sides', () => {
    const lines: Record<'client' | 'server', string[]> = { client: [], server: [] };
    const pair = new TlsPair({
      client: clientConfig({ keyLog: (line) => lines.client.push(line) }),
      server: serverConfig({ keyLog: (line) => lines.server.push(line) }),
    }).run();
    const random = toHex(pair.sent('client', 'initial').subarray(6, 38));
    const { read, write } = pair.one('client', 'applicationKeys').secrets;
    const handshake = pair.one('client', 'handshakeKeys').secrets;
    expect(lines.client.slice(0, 4)).toEqual([
      `CLIENT_HANDSHAKE_TRAFFIC_SECRET ${random} ${toHex(handshake.write!)}`,
      `SERVER_HANDSHAKE_TRAFFIC_SECRET ${random} ${toHex(handshake.read!)}`,
      `CLIENT_TRAFFIC_SECRET_0 ${random} ${toHex(write!)}`,
      `SERVER_TRAFFIC_SECRET_0 ${random} ${toHex(read!)}`,
    ]);
    expect(lines.client[4]).toMatch(/^EXPORTER_SECRET [0-9a-f]{64} [0-9a-f]{64}$/);
    expect(lines.server).toEqual(lines.client);
  });
});

test('keying material is not exported before the server has finished', () => {
  expect(() => clientSession().exportKeyingMaterial(32, 'label', EMPTY)).toThrow(/complete/);
});
