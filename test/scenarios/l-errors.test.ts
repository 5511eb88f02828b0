/** L07: every family of errors, as an application meets it. */
import { createSocket } from 'node:dgram';
import { describe, expect, test } from '@jest/globals';
import { toConnectionError } from '../../src/actors/connection-actor.ts';
import { SignedPacket } from '../../src/address-lookup/signed-packet.ts';
import { FreshnessCheck } from '../../src/address-lookup/timestamps.ts';
import { utf8 } from '../../src/base/bytes.ts';
import { DhtError, MdnsError } from '../../src/base/errors.ts';
import { DnsServer } from '../../src/dns-server.ts';
import { readTxtAnswer } from '../../src/dns/txt-query.ts';
import {
  DnsLookup,
  Endpoint,
  EndpointAddr,
  ERROR_CODES,
  IrohError,
  isIrohError,
  PkarrResolver,
  SecretKey,
  type AddressLookup,
} from '../../src/index.ts';
import { RelayServer } from '../../src/relay-server.ts';
import { ALPN, failure, onLoopback, simulated, WAIT, type Pair } from '../support/endpoints.ts';
import { PkarrSite } from '../support/pkarr-site.ts';

/** What an error says of itself and of its causes, first to last. */
function chain(error: unknown): string[] {
  return error instanceof IrohError ? [error.code, ...chain(error.cause)] : [];
}

/** Checks what holds for every error, and returns what JSON keeps of it. */
function checked(error: unknown): Record<string, unknown> {
  if (!(error instanceof IrohError)) throw new Error(`no error of ours: ${String(error)}`);
  const [family] = error.code.split('.');
  expect(Object.keys(ERROR_CODES)).toContain(error.code);
  expect(error.name).toBe(family);
  expect(isIrohError(error, family)).toBe(true);
  expect(isIrohError(error, error.code)).toBe(true);
  expect(isIrohError(error, 'Other')).toBe(false);
  expect(error.message).not.toBe('');
  const json = JSON.parse(JSON.stringify(error)) as Record<string, unknown>;
  expect(json).toMatchObject({ name: error.name, code: error.code, message: error.message });
  if (error.cause instanceof IrohError) expect(json['cause']).toEqual(checked(error.cause));
  return json;
}

async function thrown(action: () => unknown): Promise<unknown> {
  try {
    await action();
  } catch (error) {
    return error;
  }
  throw new Error('expected a failure');
}

function fail(error: Error): never {
  throw error;
}

describe('L07', () => {
  test(
    'ConnectError leads to SelfConnect through its cause',
    onLoopback(async (place) => {
      const endpoint = await place.bind();
      const error = await failure(endpoint.connect(endpoint.id, ALPN));
      expect(chain(error)).toEqual(['ConnectError.SelfConnect', 'ConnectWithOptsError.SelfConnect']);
      expect(checked(error)).toMatchObject({ cause: { code: 'ConnectWithOptsError.SelfConnect' } });
    }),
  );

  test(
    'ConnectError leads to AuthenticationError through its cause',
    onLoopback(async (place) => {
      const server = await place.serve();
      const client = await place.bind();
      const accepted = server.accept(WAIT).then((incoming) => failure(incoming!.accept()));
      const other = new EndpointAddr(SecretKey.generate().publicKey, place.addrOf(server).addrs);
      const error = await failure(client.connect(other, ALPN));
      expect(chain(error)).toEqual([
        'ConnectError.AuthenticationError',
        'ConnectingError.HandshakeFailure',
        'AuthenticationError.RemoteId',
        'ConnectionError.TransportError',
      ]);
      expect(checked(error)).toMatchObject({
        cause: { cause: { cause: { transportCode: expect.any(String), rawCode: expect.any(String) } } },
      });
      checked(await accepted);
    }),
  );

  test('BindError and InvalidSocketAddr', async () => {
    const holder = await Endpoint.bind({ preset: 'minimal', bind: ['127.0.0.1:0'] });
    const taken = holder.boundSockets.find(({ family }) => family === 4)!.text;
    const error = await thrown(() => Endpoint.bind({ preset: 'minimal', bind: [taken] }));
    expect(checked(error)).toMatchObject({
      code: 'BindError.Sockets',
      cause: { code: 'EADDRINUSE', message: expect.stringContaining('EADDRINUSE') },
    });
    await holder.close();
    expect(checked(await thrown(() => Endpoint.bind({ bind: ['?'] })))).toMatchObject({
      code: 'InvalidSocketAddr.AddrParse',
    });
  });

  const streams: [string, (pair: Pair) => Promise<unknown>, Record<string, unknown>][] = [
    [
      'WriteError.Stopped',
      async ({ ours, theirs }) => {
        const send = await ours.openUni();
        await send.write(utf8('x'));
        (await theirs.acceptUni(WAIT)).stop(2 ** 53 - 1);
        expect(await send.stopped).toBe(2 ** 53 - 1);
        return thrown(() => send.write(utf8('y')));
      },
      { errorCode: 2 ** 53 - 1, rawCode: String(2n ** 53n - 1n) },
    ],
    [
      'WriteError.ClosedStream',
      async ({ ours }) => {
        const send = await ours.openUni();
        send.finish();
        return thrown(() => send.finish());
      },
      {},
    ],
    [
      'WriteError.ConnectionLost',
      async ({ ours }) => {
        const send = await ours.openUni();
        ours.close();
        return thrown(() => send.write(utf8('y')));
      },
      { cause: { code: 'ConnectionError.LocallyClosed' } },
    ],
    [
      'ReadError.Reset',
      async ({ ours, theirs }) => {
        const send = await ours.openUni();
        send.reset(9);
        const recv = await theirs.acceptUni(WAIT);
        const error = await thrown(() => recv.read());
        expect(await recv.resetReceived).toBe(9);
        return error;
      },
      { errorCode: 9, rawCode: '9' },
    ],
    [
      'ReadError.ClosedStream',
      async ({ ours }) => {
        const { recv } = await ours.openBi();
        recv.stop(0);
        expect(await recv.resetReceived).toBeUndefined();
        return thrown(() => recv.read());
      },
      {},
    ],
    [
      'ReadError.ConnectionLost',
      async ({ ours }) => {
        const { recv } = await ours.openBi();
        const reading = thrown(() => recv.read());
        ours.close();
        return reading;
      },
      { cause: { code: 'ConnectionError.LocallyClosed' } },
    ],
    [
      'ReadExactError.FinishedEarly',
      async ({ ours, theirs }) => {
        const send = await ours.openUni();
        await send.write(utf8('abc'));
        send.finish();
        const recv = await theirs.acceptUni(WAIT);
        return thrown(() => recv.readExact(4));
      },
      { bytesRead: 3 },
    ],
    [
      'ReadToEndError.TooLong',
      async ({ ours, theirs }) => {
        const send = await ours.openUni();
        await send.write(utf8('abc'));
        const recv = await theirs.acceptUni(WAIT);
        const error = await thrown(() => recv.readToEnd(2));
        expect(await send.stopped).toBe(0);
        return error;
      },
      {},
    ],
    [
      'StoppedError.ConnectionLost',
      async ({ ours }) => {
        const send = await ours.openUni();
        ours.close();
        return thrown(() => send.stopped);
      },
      { cause: { code: 'ConnectionError.LocallyClosed' } },
    ],
    [
      'ResetError.ConnectionLost',
      async ({ ours }) => {
        const { recv } = await ours.openBi();
        ours.close();
        return thrown(() => recv.resetReceived);
      },
      { cause: { code: 'ConnectionError.LocallyClosed' } },
    ],
    [
      'SendDatagramError.TooLarge',
      async ({ ours }) => thrown(() => ours.sendDatagram(new Uint8Array(ours.maxDatagramSize! + 1))),
      {},
    ],
    [
      'SendDatagramError.ConnectionLost',
      async ({ ours }) => {
        ours.close();
        return thrown(() => ours.sendDatagramWait(utf8('x')));
      },
      { cause: { code: 'ConnectionError.LocallyClosed' } },
    ],
    ['TimeoutError.Elapsed', async ({ ours }) => thrown(() => ours.acceptBi({ timeoutMs: 5 })), {}],
  ];
  test.each(streams)('%s', (code, provoke, fields) =>
    onLoopback(async (place) => {
      const error = await provoke(await place.connect());
      expect(error).toMatchObject({ code });
      expect(checked(error)).toMatchObject({ code, ...fields });
    })(),
  );

  test(
    'SendDatagramError.UnsupportedByPeer and Disabled',
    onLoopback(async (place) => {
      const none = { transport: { datagramReceiveBufferSize: undefined } };
      const { ours, theirs } = await place.connect({ server: none });
      expect(ours.maxDatagramSize).toBeUndefined();
      const unsupported = await thrown(() => ours.sendDatagram(utf8('x')));
      expect(checked(unsupported)).toMatchObject({ code: 'SendDatagramError.UnsupportedByPeer' });
      const disabled = await thrown(() => theirs.sendDatagram(utf8('x')));
      expect(checked(disabled)).toMatchObject({ code: 'SendDatagramError.Disabled' });
    }),
  );

  test.each([
    [{ type: 'versionMismatch' } as const, 'VersionMismatch'],
    [{ type: 'reset' } as const, 'Reset'],
    [{ type: 'timedOut' } as const, 'TimedOut'],
    [{ type: 'locallyClosed' } as const, 'LocallyClosed'],
    [{ type: 'cidsExhausted' } as const, 'CidsExhausted'],
  ])('ConnectionError of %j', (reason, leaf) => {
    expect(checked(toConnectionError(reason))).toMatchObject({ code: `ConnectionError.${leaf}` });
  });

  test('ConnectionError.ApplicationClosed with a code above 2^53 − 1 is clamped, the raw one is kept', () => {
    const rawCode = 2n ** 62n - 1n;
    const error = toConnectionError({ type: 'applicationClosed', code: rawCode, reason: utf8('big') });
    expect(error).toMatchObject({ errorCode: Number.MAX_SAFE_INTEGER, rawCode });
    expect(checked(error)).toMatchObject({
      errorCode: Number.MAX_SAFE_INTEGER,
      rawCode: String(rawCode),
      reason: [...utf8('big')],
    });
  });

  test(
    'codes of the application are integers from 0 to 2^53 − 1',
    simulated(async (place) => {
      const { ours } = await place.connect();
      const { send, recv } = await ours.openBi();
      for (const code of [-1, 0.5, 2 ** 53, NaN]) {
        expect(() => ours.close(code)).toThrow(RangeError);
        expect(() => send.reset(code)).toThrow(RangeError);
        expect(() => recv.stop(code)).toThrow(RangeError);
      }
      expect(ours.closeReason).toBeUndefined();
    }),
  );

  test(
    'ConnectError leads to AddressLookupFailed through its cause, when there is nobody to ask',
    onLoopback(async (place) => {
      const endpoint = await place.bind();
      const error = await failure(endpoint.connect(SecretKey.generate().publicKey, ALPN));
      expect(chain(error)).toEqual([
        'ConnectError.NoAddress.NoServiceConfigured',
        'ConnectWithOptsError.NoAddress',
        'AddressLookupFailed.NoServiceConfigured',
      ]);
      expect(checked(error)).toMatchObject({ cause: { cause: { errors: [] } } });
    }),
  );

  test(
    'ConnectError leads to AddressLookupFailed, and that to a LookupError of each service with its cause',
    simulated(async (place) => {
      new PkarrSite(place.world).instead = async () => ({
        status: 503,
        headers: new Map(),
        body: new Uint8Array(0),
      });
      place.world.serveWeb('https://dns.example', async () => ({
        status: 429,
        headers: new Map(),
        body: new Uint8Array(0),
      }));
      const silent: AddressLookup = {
        name: 'silent',
        timeLimitMs: 100,
        async *resolve(_id, { signal }) {
          await new Promise((_, reject) =>
            signal.addEventListener('abort', () => reject(signal.reason as Error)),
          );
          yield* [];
        },
      };
      const broken: AddressLookup = {
        name: 'broken',
        resolve: () => {
          throw Object.assign(new Error('no disk'), { code: 'EIO' });
        },
      };
      const origin = 'dns.example';
      const endpoint = await place.bind({
        lookup: [
          (host) => new PkarrResolver({ ...host, url: PkarrSite.url }),
          (host) => new DnsLookup({ ...host, origin, httpsUrl: 'https://dns.example/dns-query' }),
          (host) => new DnsLookup({ ...host, origin, platform: { ...host.platform, resolveTxt: undefined } }),
          silent,
          broken,
        ],
      });
      const error = await failure(endpoint.connect(SecretKey.generate().publicKey, ALPN));
      expect(chain(error)).toEqual([
        'ConnectError.NoAddress.NoResults',
        'ConnectWithOptsError.NoAddress',
        'AddressLookupFailed.NoResults',
      ]);
      const failed = (error.cause as Error).cause as { readonly errors: readonly unknown[] };
      expect(failed.errors.map(checked)).toEqual([
        expect.objectContaining({
          code: 'LookupError.Failed',
          provenance: 'pkarr',
          cause: expect.objectContaining({ name: 'PkarrError', code: 'PkarrError.Status', status: 503 }),
        }),
        expect.objectContaining({
          code: 'LookupError.Failed',
          provenance: 'dns',
          cause: expect.objectContaining({ name: 'DnsError', code: 'DnsError.Status', status: 429 }),
        }),
        expect.objectContaining({
          code: 'LookupError.Failed',
          provenance: 'dns',
          cause: expect.objectContaining({ name: 'DnsError', code: 'DnsError.NoResolver' }),
        }),
        expect.objectContaining({ code: 'LookupError.TimedOut', provenance: 'silent' }),
        expect.objectContaining({
          code: 'LookupError.Failed',
          provenance: 'broken',
          cause: { name: 'Error', code: 'EIO', message: 'no disk' },
        }),
      ]);
      // The whole of it as JSON has them as well.
      expect(checked(error)).toMatchObject({ cause: { cause: { errors: failed.errors.map(checked) } } });
    }),
  );

  const key = SecretKey.generate();
  const signed = SignedPacket.sign(key, {
    strings: ['relay=https://relay.example/'],
    timestampMicros: 1_000n,
  });
  const payload = signed.toRelayPayload();
  const ofOther = SecretKey.generate().publicKey;
  const question = { name: '_iroh.example', id: 7 };
  const records: [string, () => unknown][] = [
    ['PkarrError.TooShort', () => SignedPacket.verify(key.publicKey, payload.subarray(0, 70))],
    ['PkarrError.TooLong', () => SignedPacket.verify(key.publicKey, new Uint8Array(1_073))],
    ['PkarrError.Signature', () => SignedPacket.verify(ofOther, payload)],
    ['PkarrError.Future', () => new FreshnessCheck().check(signed, -2 * 86_400_000)],
    ['DnsError.Malformed', () => readTxtAnswer(Uint8Array.of(0, 7, 0x80), question)],
    [
      'DnsError.Mismatch',
      () => readTxtAnswer(Uint8Array.of(0, 8, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0), question),
    ],
  ];
  // What provokes these needs a host without a network, or a DHT.
  records.push(
    ['MdnsError.NoSocket', () => fail(new MdnsError('MdnsError.NoSocket', 'no network'))],
    ['DhtError.NoNodes', () => fail(new DhtError('DhtError.NoNodes', 'nobody answers'))],
  );
  test.each(records)('%s', async (code, provoke) => {
    expect(checked(await thrown(provoke))).toMatchObject({ code });
  });

  test('BindError.AddressLookup: a service that cannot be made', async () => {
    const cause = new Error('no such server');
    const lookup = (): never => {
      throw cause;
    };
    const error = await thrown(() => Endpoint.bind({ preset: 'minimal', lookup }));
    expect(checked(error)).toMatchObject({
      code: 'BindError.AddressLookup',
      cause: { name: 'Error', message: 'no such server' },
    });
    expect((error as Error).cause).toBe(cause);
  });

  test('RelayServerError and DnsServerError: options, certificates, ports', async () => {
    const socket = createSocket('udp4');
    await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
    const taken = `127.0.0.1:${socket.address().port}`;
    const noFile = { bind: '127.0.0.1:0', cert: 'nowhere.pem', key: 'nowhere.pem' };
    const errors: [string, () => Promise<unknown>, object][] = [
      [
        'DnsServerError.InvalidOptions',
        () => DnsServer.listen({ keepMs: -1 }),
        { cause: { name: 'RangeError' } },
      ],
      ['DnsServerError.Certificate', () => DnsServer.listen({ tls: noFile }), {}],
      ['DnsServerError.Bind', () => DnsServer.listen({ dnsBind: taken }), { cause: { code: 'EADDRINUSE' } }],
      ['RelayServerError.Certificate', () => RelayServer.listen({ tls: noFile }), {}],
    ];
    for (const [code, provoke, fields] of errors)
      expect(checked(await thrown(provoke))).toMatchObject({ code, ...fields });
    await new Promise<void>((resolve) => socket.close(resolve));
  });
});
