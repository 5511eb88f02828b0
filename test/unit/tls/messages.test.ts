import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { DecodeError, EMPTY, Writer, fromHex, toHex, utf8 } from '../../../src/base/bytes.ts';
import { encodeEd25519Spki } from '../../../src/tls/certificates.ts';
import {
  BINDER_OFFSET,
  decodeClientHello,
  encodeClientHello,
  peekClientHello,
  type ClientHelloInput,
} from '../../../src/tls/client-hello.ts';
import {
  decodeCertificate,
  decodeCertificateRequest,
  decodeCertificateVerify,
  decodeEncryptedExtensions,
  decodeNewSessionTicket,
  writeCertificate,
  writeCertificateRequest,
  writeCertificateVerify,
  writeEncryptedExtensions,
  writeFinished,
  writeNewSessionTicket,
} from '../../../src/tls/messages.ts';
import { MessageReader } from '../../../src/tls/message-reader.ts';
import {
  decodeServerHello,
  writeHelloRetryRequest,
  writeServerHello,
} from '../../../src/tls/server-hello.ts';
import { loadVectors } from '../../support/vectors.ts';
import { puppetHello, written } from '../../support/tls-puppets.ts';

const key = fc.uint8Array({ minLength: 32, maxLength: 32 });
const bytes = (maxLength: number) => fc.uint8Array({ minLength: 1, maxLength });
const u16 = fc.integer({ min: 0, max: 0xffff });
const u32 = fc.integer({ min: 0, max: 0xffff_ffff });

describe('bytes that iroh sends', () => {
  const { tls_messages } = loadVectors<{ tls_messages: { dir: string; type: string; hex: string }[] }>(
    'transcripts/server-real-iroh-client',
  );
  const message = (dir: string, type: string): Uint8Array =>
    fromHex(tls_messages.find((m) => m.dir === dir && m.type === type)!.hex);

  test('ClientHello', () => {
    const hello = decodeClientHello(message('c2s', 'ClientHello'));
    expect(hello).toMatchObject({
      sessionId: EMPTY,
      suites: [0x1302, 0x1301, 0x1303],
      compressionMethods: Uint8Array.of(0),
      groups: [0x001d, 0x0017, 0x0018],
      signatureSchemes: [0x0807],
      alpns: [utf8('spike/echo/0')],
      clientCertificateTypes: [2],
      serverCertificateTypes: [2],
      versions: [0x0304],
      pskModes: [1],
      hasKeyShares: true,
      keyShareCount: 1,
      earlyData: false,
      psk: undefined,
    });
    expect(hello.serverName).toMatch(/^[0-9a-v]{52}\.iroh\.invalid$/);
    expect(hello.x25519Share).toHaveLength(32);
  });

  test('Certificate and CertificateVerify', () => {
    const [spki] = decodeCertificate(message('c2s', 'Certificate'));
    expect(spki).toHaveLength(44);
    expect(
      written((w) => {
        writeCertificate(w, [spki!]);
      }),
    ).toEqual(message('c2s', 'Certificate'));
    const verify = decodeCertificateVerify(message('c2s', 'CertificateVerify'));
    expect([verify.scheme, verify.signature.length]).toEqual([0x0807, 64]);
    expect(
      written((w) => {
        writeCertificateVerify(w, verify);
      }),
    ).toEqual(message('c2s', 'CertificateVerify'));
  });

  test('CertificateRequest', () => {
    expect(
      toHex(
        written((w) => {
          writeCertificateRequest(w, [0x0807]);
        }),
      ),
    ).toBe('0d00000b000008000d000400020807');
  });

  test('the SPKI of the key of 32 zero bytes', () => {
    const publicKey = fromHex('3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29');
    expect(toHex(encodeEd25519Spki(publicKey))).toBe(`302a300506032b6570032100${toHex(publicKey)}`);
  });
});

describe('what is written is what is read', () => {
  test('ClientHello', () => {
    const types = fc.option(fc.array(fc.integer({ min: 0, max: 255 }), { minLength: 1, maxLength: 4 }), {
      nil: undefined,
    });
    const input: fc.Arbitrary<ClientHelloInput> = fc.record({
      random: key,
      suites: fc.array(u16, { minLength: 1, maxLength: 5 }),
      serverName: fc.option(fc.stringMatching(/^[a-z0-9.]{1,80}$/), { nil: undefined }),
      groups: fc.array(u16, { minLength: 1, maxLength: 5 }),
      signatureSchemes: fc.array(u16, { minLength: 1, maxLength: 5 }),
      alpns: fc.array(bytes(255), { minLength: 1, maxLength: 4 }),
      clientCertificateTypes: types,
      serverCertificateTypes: types,
      x25519Share: fc.option(key, { nil: undefined }),
      transportParameters: fc.uint8Array({ maxLength: 200 }),
      cookie: fc.option(bytes(100), { nil: undefined }),
      earlyData: fc.boolean(),
      psk: fc.option(
        fc.record({
          ticket: bytes(100),
          obfuscatedAge: u32,
          binderLength: fc.constantFrom(32 as const, 48 as const),
        }),
        { nil: undefined },
      ),
    });
    fc.assert(
      fc.property(input, (value) => {
        const { message, truncatedLength } = encodeClientHello(value);
        const hello = decodeClientHello(message);
        expect(hello).toMatchObject({
          random: value.random,
          suites: value.suites,
          serverName: value.serverName,
          groups: value.groups,
          signatureSchemes: value.signatureSchemes,
          alpns: value.alpns,
          clientCertificateTypes: value.clientCertificateTypes,
          serverCertificateTypes: value.serverCertificateTypes,
          x25519Share: value.x25519Share,
          keyShareCount: value.x25519Share === undefined ? 0 : 1,
          transportParameters: value.transportParameters,
          earlyData: value.earlyData,
        });
        if (value.psk === undefined)
          expect([hello.psk, truncatedLength]).toEqual([undefined, message.length]);
        else {
          const { ticket, obfuscatedAge, binderLength } = value.psk;
          expect(hello.psk).toEqual({
            identities: [{ ticket, obfuscatedAge }],
            binders: [new Uint8Array(binderLength)],
            truncatedLength,
          });
          expect(message).toHaveLength(truncatedLength + BINDER_OFFSET + binderLength);
        }
        const peek = peekClientHello(message);
        expect(peek).toEqual(
          value.serverName === undefined
            ? { alpns: value.alpns }
            : { alpns: value.alpns, sni: value.serverName },
        );
      }),
      { numRuns: 50 },
    );
  });

  test('ServerHello and HelloRetryRequest', () => {
    fc.assert(
      fc.property(
        key,
        u16,
        u16,
        bytes(70),
        fc.option(u16, { nil: undefined }),
        (random, suite, group, share, psk) => {
          const hello = decodeServerHello(
            written((w) => {
              writeServerHello(w, random, suite, { group, key: share }, psk);
            }),
          );
          expect(hello).toEqual({
            isRetry: false,
            suite,
            keyShare: { group, key: share },
            pskIndex: psk,
            cookie: undefined,
          });
          const retry = decodeServerHello(
            written((w) => {
              writeHelloRetryRequest(w, suite, group, share);
            }),
          );
          expect(retry).toEqual({
            isRetry: true,
            suite,
            keyShare: { group, key: EMPTY },
            pskIndex: undefined,
            cookie: share,
          });
        },
      ),
      { numRuns: 50 },
    );
  });

  test('the others', () => {
    const all = new Set(Array.from({ length: 64 }, (_, i) => i));
    const u8 = fc.option(fc.integer({ min: 0, max: 255 }), { nil: undefined });
    const extensions = fc.record({
      alpn: fc.option(bytes(255), { nil: undefined }),
      clientCertificateType: u8,
      serverCertificateType: u8,
      transportParameters: fc.option(fc.uint8Array({ maxLength: 300 }), { nil: undefined }),
      serverName: fc.boolean(),
      earlyData: fc.boolean(),
    });
    const ticket = fc.record({
      lifetimeSeconds: u32,
      ageAdd: u32,
      nonce: fc.uint8Array({ maxLength: 255 }),
      ticket: bytes(300),
      maxEarlyData: fc.option(u32, { nil: undefined }),
    });
    const certificate = fc.array(bytes(500), { maxLength: 10 });
    const verify = fc.record({ scheme: u16, signature: fc.uint8Array({ maxLength: 600 }) });
    const schemes = fc.array(u16, { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(extensions, ticket, certificate, verify, schemes, (e, t, c, v, s) => {
        expect(
          decodeEncryptedExtensions(
            written((w) => {
              writeEncryptedExtensions(w, e);
            }),
            all,
          ),
        ).toEqual(e);
        expect(
          decodeNewSessionTicket(
            written((w) => {
              writeNewSessionTicket(w, t);
            }),
          ),
        ).toEqual(t);
        expect(
          decodeCertificate(
            written((w) => {
              writeCertificate(w, c);
            }),
          ),
        ).toEqual(c);
        expect(
          decodeCertificateVerify(
            written((w) => {
              writeCertificateVerify(w, v);
            }),
          ),
        ).toEqual(v);
        expect(
          decodeCertificateRequest(
            written((w) => {
              writeCertificateRequest(w, s);
            }),
          ),
        ).toEqual(s);
        const finished = written((w) => {
          writeFinished(w, v.signature);
        });
        expect(toHex(finished)).toBe(
          `14${v.signature.length.toString(16).padStart(6, '0')}${toHex(v.signature)}`,
        );
      }),
      { numRuns: 50 },
    );
  });
});

describe('fields that do not fit', () => {
  test('are the caller’s mistake, not a wrong length on the wire', () => {
    const large = new Uint8Array(70_000);
    expect(() => encodeClientHello({ ...puppetHello, transportParameters: large })).toThrow(RangeError);
    expect(() => encodeClientHello({ ...puppetHello, serverName: 'bücher.example' })).toThrow(RangeError);
    expect(() => {
      writeCertificate(new Writer(), [new Uint8Array(0x100_0000)]);
    }).toThrow(RangeError);
  });
});

describe('peekClientHello', () => {
  const { message } = encodeClientHello({ ...puppetHello, serverName: 'host' });

  test('needs the whole ClientHello and looks at nothing behind it', () => {
    for (let length = 0; length < message.length; length++)
      expect(peekClientHello(message.subarray(0, length))).toBeUndefined();
    const longer = new Uint8Array(message.length + 5);
    longer.set(message);
    expect(peekClientHello(longer)).toEqual({ alpns: [utf8('test/1')], sni: 'host' });
  });

  test('gives nothing for what is no ClientHello', () => {
    expect(peekClientHello(fromHex('0200000100'))).toBeUndefined();
    expect(peekClientHello(fromHex('0100000100'))).toBeUndefined();
    expect(peekClientHello(fromHex('01ffffff'))).toBeUndefined();
  });

  test('gives copies', () => {
    const copy = message.slice();
    const peek = peekClientHello(copy)!;
    copy.fill(0);
    expect(peek.alpns).toEqual([utf8('test/1')]);
  });

  test('a client without ALPN offers none', () => {
    const hex = toHex(message).replace('00100009', 'fa100009');
    expect(peekClientHello(fromHex(hex))?.alpns).toEqual([]);
  });
});

describe('server names', () => {
  /** A ClientHello whose server_name extension has this body, 21 bytes. */
  const hello = (body: string): Uint8Array => {
    const { message } = encodeClientHello({ ...puppetHello, serverName: 'aaaaaaaaaaaaaaaa' });
    const known = `0013000010${'61'.repeat(16)}`;
    const hex = toHex(message);
    expect([hex.includes(known), body.length]).toEqual([true, known.length]);
    return fromHex(hex.replace(known, body));
  };

  test.each([
    ['two host names', `00130000016100000c${'62'.repeat(12)}`, 47],
    ['no host name at all', `0013ff0010${'61'.repeat(16)}`, 50],
    ['an empty one', `0013000000ff000d${'61'.repeat(13)}`, 50],
    ['a list that is too short', `0012000010${'61'.repeat(16)}`, undefined],
  ])('%s', (_name, body, alert) => {
    const expected: unknown = alert === undefined ? DecodeError : expect.objectContaining({ alert });
    expect(() => decodeClientHello(hello(body))).toThrow(expected);
  });

  test('another type beside the host name is ignored', () => {
    expect(decodeClientHello(hello(`0013ff00016100000c${'62'.repeat(12)}`)).serverName).toBe('b'.repeat(12));
  });
});

describe('MessageReader', () => {
  const message = (type: number, length: number): Uint8Array => {
    const result = new Uint8Array(4 + length).fill(type);
    result.set([type, length >>> 16, length >>> 8, length]);
    return result;
  };

  test('any pieces, any messages', () => {
    const sizes = fc.array(fc.integer({ min: 0, max: 2000 }), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(sizes, fc.integer({ min: 1, max: 3000 }), (lengths, step) => {
        const messages = lengths.map((length, i) => message(i + 1, length));
        const stream = new Writer();
        for (const one of messages) stream.put(one);
        const reader = new MessageReader();
        const read: Uint8Array[] = [];
        for (let at = 0; at < stream.pos; at += step) {
          // A copy that is spoilt afterwards: the reader may not hold on to it.
          const piece = stream.bytes.slice(at, Math.min(at + step, stream.pos));
          reader.feed(piece);
          for (let next = reader.next(); next !== undefined; next = reader.next()) read.push(next.slice());
          piece.fill(0xee);
        }
        expect(read).toEqual(messages);
        expect([reader.hasBytes, reader.nextType]).toEqual([false, undefined]);
      }),
      { numRuns: 50 },
    );
  });

  test('knows the type before the rest', () => {
    const reader = new MessageReader();
    expect(reader.nextType).toBeUndefined();
    reader.feed(Uint8Array.of(11));
    expect([reader.nextType, reader.hasBytes, reader.next()]).toEqual([11, true, undefined]);
    reader.feed(Uint8Array.of(0, 0, 0, 20));
    expect(reader.next()).toEqual(Uint8Array.of(11, 0, 0, 0));
    expect(reader.nextType).toBe(20);
  });
});
