/** Dialling and accepting: who may talk to whom, and in which protocol. */
import { describe, expect, test } from '@jest/globals';
import { utf8 } from '../../src/base/bytes.ts';
import { EndpointAddr, parseAddr, SecretKey, type Connection, type Endpoint } from '../../src/index.ts';
import { endpointIdFromTlsName, endpointTlsName } from '../../src/tls/endpoint-name.ts';
import { ALPN, echo, endOf, engineOf, failure, onLoopback, simulated, WAIT } from '../support/endpoints.ts';

/** RFC 9001 §4.8: alert no_application_protocol (RFC 7301 §3.2). */
const NO_APPLICATION_PROTOCOL = BigInt(0x100 + 120);

describe('addresses and protocols', () => {
  test(
    'B01: an endpoint does not connect to itself',
    onLoopback(async (place) => {
      const endpoint = await place.serve();
      for (const self of [endpoint.id, endpoint.addr, endpoint.addr.toTicket(), endpoint.id.toString()]) {
        const error = await failure(endpoint.connect(self, ALPN));
        expect(error).toMatchObject({
          name: 'ConnectError',
          code: 'ConnectError.SelfConnect',
          cause: { name: 'ConnectWithOptsError', code: 'ConnectWithOptsError.SelfConnect' },
        });
      }
    }),
  );

  test(
    'B02: an empty protocol name is refused before anything is sent',
    simulated(async (place) => {
      const server = await place.serve();
      const client = await place.bind();
      for (const alpn of ['', new Uint8Array(0), 'x'.repeat(256)]) {
        await expect(client.connect(place.addrOf(server), alpn)).rejects.toMatchObject({
          code: 'ConnectError.InvalidAlpn',
          cause: { code: 'ConnectWithOptsError.InvalidAlpn' },
        });
      }
      await expect(
        client.connect(place.addrOf(server), ALPN, { additionalAlpns: ['ok', ''] }),
      ).rejects.toMatchObject({ code: 'ConnectError.InvalidAlpn' });
      await place.sleep(1_000);
      expect(place.hosts.map(({ up }) => up.passed)).toEqual([0, 0]);
    }),
  );

  const orders = [
    { server: ['a', 'b'], client: ['b', 'a'], negotiated: 'a' },
    { server: ['b', 'a'], client: ['a', 'b'], negotiated: 'b' },
    { server: ['a'], client: ['b', 'a'], negotiated: 'a' },
    { server: ['a', 'b'], client: ['b'], negotiated: 'b' },
  ];
  test.each(orders)(
    'B05: $server × $client negotiates $negotiated',
    ({ server: alpns, client: offered, negotiated }) =>
      onLoopback(async (place) => {
        const server = await place.bind({ alpns });
        const client = await place.bind();
        const arrived = server.accept(WAIT);
        const connecting = client.dial(place.addrOf(server), offered[0]!, {
          additionalAlpns: offered.slice(1),
        });
        const accepting = (await arrived)!.accept();
        const [ours, theirs] = await Promise.all([connecting, accepting]);
        expect([ours.alpnText, theirs.alpnText]).toEqual([negotiated, negotiated]);
        expect(await connecting.alpn).toEqual(utf8(negotiated));
        expect(await accepting.alpn).toEqual(utf8(negotiated));
      })(),
  );

  test(
    'B06: no common protocol fails on both sides, and the server goes on',
    onLoopback(async (place) => {
      const server = await place.serve();
      const client = await place.bind();
      const accepted = server.accept(WAIT).then((incoming) => failure(incoming!.accept()));
      const connecting = client.dial(place.addrOf(server), 'other');
      const error = await failure(connecting);
      expect(error).toMatchObject({
        code: 'ConnectError.Connection',
        cause: {
          code: 'ConnectingError.ConnectionError',
          cause: { code: 'ConnectionError.ConnectionClosed', rawCode: NO_APPLICATION_PROTOCOL },
        },
      });
      await expect(connecting.alpn).rejects.toMatchObject({ code: 'ConnectError.Connection' });
      expect(await accepted).toMatchObject({
        code: 'ConnectionError.TransportError',
        rawCode: NO_APPLICATION_PROTOCOL,
      });
      const { ours } = await place.dial(client, server);
      expect(ours.alpnText).toBe(ALPN);
    }),
  );

  test(
    'B06: setAlpns changes what new handshakes may negotiate',
    onLoopback(async (place) => {
      const { client, server, ours } = await place.connect();
      server.setAlpns(['newer']);
      const accepted = server.accept(WAIT).then((incoming) => failure(incoming!.accept()));
      expect(await failure(client.connect(place.addrOf(server), ALPN))).toMatchObject({
        code: 'ConnectError.Connection',
      });
      await accepted;
      const again = place.acceptOn(server);
      expect((await client.connect(place.addrOf(server), 'newer', WAIT)).alpnText).toBe('newer');
      await again;
      expect(ours.closeReason).toBeUndefined();
    }),
  );

  test('B11: the local TLS name spells the id, and nothing else is one', () => {
    const id = SecretKey.fromBytes(new Uint8Array(32)).publicKey.toBytes();
    const name = '7dl2ff6emqi2qol3l382krodedij45bn3nh479hqo14a32qpr8kg.iroh.invalid';
    expect(endpointTlsName(id)).toBe(name);
    expect(endpointIdFromTlsName(name)).toEqual(id);
    const foreign = [
      'iroh.computer',
      'localhost',
      name.slice(1),
      `${name}.`,
      `a.${name}`,
      '.iroh.invalid',
      '',
    ];
    for (const other of foreign) expect(endpointIdFromTlsName(other)).toBeUndefined();
  });

  test(
    'B19: the own addresses of the dialler are never dialled',
    simulated(async (place) => {
      const client = await place.bind();
      const stranger = SecretKey.generate().publicKey;
      const error = await failure(client.connect(new EndpointAddr(stranger, client.addr.addrs), ALPN));
      expect(error).toMatchObject({
        code: 'ConnectError.NoAddress.NoServiceConfigured',
        cause: { code: 'ConnectWithOptsError.NoAddress' },
      });
      await expect(client.connect(stranger, ALPN)).rejects.toMatchObject({
        code: 'ConnectError.NoAddress.NoServiceConfigured',
      });
      expect(place.hosts[0]!.up.passed).toBe(0);
    }),
  );
});

describe('a connection', () => {
  test(
    'B03: the server closes with a code, the client learns it everywhere',
    onLoopback(async (place) => {
      const { ours, theirs } = await place.connect();
      const accepted = theirs.acceptUni(WAIT);
      const send = await ours.openUni();
      await send.write(utf8('hello'));
      const recv = await accepted;
      expect(await recv.read()).toEqual(utf8('hello'));
      const stopped = failure(send.stopped);
      theirs.close(7, 'reason');
      const reason = await ours.closed;
      expect(reason).toMatchObject({
        code: 'ConnectionError.ApplicationClosed',
        errorCode: 7,
        reason: utf8('reason'),
      });
      expect(await failure(send.write(utf8('more')))).toMatchObject({
        code: 'WriteError.ConnectionLost',
        cause: reason,
      });
      expect(await stopped).toMatchObject({ code: 'StoppedError.ConnectionLost', cause: reason });
      expect(await theirs.closed).toMatchObject({ code: 'ConnectionError.LocallyClosed' });
    }),
  );

  test(
    'B04: several bidirectional streams each way, all bytes and both ends',
    onLoopback(async (place) => {
      const { ours, theirs } = await place.connect();
      const message = (name: string): Uint8Array => utf8(name.repeat(3_000));
      const open = async (from: Connection, name: string): Promise<void> => {
        const { send, recv } = await from.openBi(WAIT);
        await send.write(message(name));
        send.finish();
        expect(await recv.readToEnd(100_000, WAIT)).toEqual(message(`${name}!`));
        expect(await send.stopped).toBeUndefined();
        expect(await recv.resetReceived).toBeUndefined();
      };
      const answer = async (to: Connection, count: number): Promise<void> => {
        for (let i = 0; i < count; i++) {
          const { send, recv } = await to.acceptBi(WAIT);
          const text = new TextDecoder().decode(await recv.readToEnd(100_000, WAIT));
          await send.write(message(`${text.slice(0, 1)}!`));
          send.finish();
        }
      };
      await Promise.all([
        answer(theirs, 4),
        answer(ours, 3),
        ...[...'abcd'].map((name) => open(ours, name)),
        ...[...'xyz'].map((name) => open(theirs, name)),
      ]);
    }),
  );

  test(
    'B08: the code of a close arrives although the endpoint closes right after',
    onLoopback(async (place) => {
      const { client, ours, theirs } = await place.connect();
      ours.close(42, 'thanks, bye!');
      await client.close();
      expect(await theirs.closed).toMatchObject({
        code: 'ConnectionError.ApplicationClosed',
        errorCode: 42,
        reason: utf8('thanks, bye!'),
      });
    }),
  );

  test(
    'B08: so it does when the connection is closed as soon as it is there, by either side',
    simulated(async (place) => {
      const server = await place.serve();
      const client = await place.bind();
      for (const side of ['client', 'server']) {
        const accepted = place.acceptOn(server);
        const dialled = client.connect(place.addrOf(server), ALPN, place.wait);
        const [first, other] = side === 'client' ? [dialled, accepted] : [accepted, dialled];
        (await first).close(42, 'thanks, bye!');
        expect(await endOf(other)).toMatchObject({ errorCode: 42, reason: utf8('thanks, bye!') });
      }
    }),
  );

  test(
    'B08: an endpoint that closes as soon as its connection is there says so with code 0',
    simulated(async (place) => {
      const server = await place.serve();
      const client = await place.bind();
      const accepted = place.acceptOn(server);
      await client.connect(place.addrOf(server), ALPN, place.wait);
      await client.close();
      expect(await endOf(accepted)).toMatchObject({
        code: 'ConnectionError.ApplicationClosed',
        errorCode: 0,
      });
    }),
  );

  test(
    'B18: both ends export the same keying material',
    onLoopback(async (place) => {
      const { ours, theirs } = await place.connect();
      const seen = new Set<string>();
      for (const label of ['one', 'two']) {
        for (const context of ['', 'here', 'there']) {
          const key = ours.exportKeyingMaterial(32, label, utf8(context));
          expect(key).toHaveLength(32);
          expect(theirs.exportKeyingMaterial(32, label, utf8(context))).toEqual(key);
          seen.add(key.join());
        }
      }
      expect(seen.size).toBe(6);
      expect(() => ours.exportKeyingMaterial(255 * 32 + 1, 'long', new Uint8Array(0))).toThrow(RangeError);
    }),
  );
});

describe('a dial that fails', () => {
  test(
    'B10: who answers with another key is not connected, and is not hurt',
    onLoopback(async (place) => {
      const { client, server, ours, theirs } = await place.connect();
      const wrong = new EndpointAddr(SecretKey.generate().publicKey, place.addrOf(server).addrs);
      const accepted = server.accept(WAIT).then((incoming) => failure(incoming!.accept()));
      const error = await failure(client.connect(wrong, ALPN));
      expect(error).toMatchObject({
        name: 'ConnectError',
        code: 'ConnectError.AuthenticationError',
        cause: {
          code: 'ConnectingError.HandshakeFailure',
          cause: { code: 'AuthenticationError.RemoteId', cause: { code: 'ConnectionError.TransportError' } },
        },
      });
      // The server is told with a certificate alert.
      expect(await accepted).toMatchObject({ code: 'ConnectionError.ConnectionClosed' });
      const { send } = await ours.openBi();
      await send.write(utf8('still here'));
      expect(await (await theirs.acceptBi(WAIT)).recv.read()).toEqual(utf8('still here'));
      const again = await place.dial(client, server);
      expect(again.ours.remoteId.equals(server.id)).toBe(true);
    }),
  );

  test(
    'B13: an unreachable peer is a time-out after the idle time, 30 s',
    simulated(async (place) => {
      const client = await place.bind();
      const nobody = new EndpointAddr(SecretKey.generate().publicKey).withIp(parseAddr('10.9.9.9:1'));
      const start = place.clock.now();
      const error = await failure(client.connect(nobody, ALPN));
      expect(error).toMatchObject({
        code: 'ConnectError.Connection',
        cause: { code: 'ConnectingError.ConnectionError', cause: { code: 'ConnectionError.TimedOut' } },
      });
      expect(place.clock.now() - start).toBeGreaterThan(29_000);
      expect(place.clock.now() - start).toBeLessThan(31_000);
    }),
  );

  test(
    'B13: a limit of the caller ends it sooner',
    simulated(async (place) => {
      const client = await place.bind();
      const nobody = new EndpointAddr(SecretKey.generate().publicKey).withIp(parseAddr('10.9.9.9:1'));
      const start = place.clock.now();
      await expect(client.connect(nobody, ALPN, { timeoutMs: 250 })).rejects.toMatchObject({
        name: 'TimeoutError',
        code: 'TimeoutError.Elapsed',
      });
      expect(place.clock.now() - start).toBe(250);
    }),
  );

  test(
    'B14: aborted before it began, it never begins',
    simulated(async (place) => {
      const server = await place.serve();
      const client = await place.bind();
      const reason = new Error('changed my mind');
      await expect(
        client.connect(place.addrOf(server), ALPN, { signal: AbortSignal.abort(reason) }),
      ).rejects.toBe(reason);
      await place.sleep(100);
      expect(place.hosts[1]!.up.passed).toBe(0);
    }),
  );

  test(
    'B14: aborted during the handshake, it ends at once, on the server too',
    simulated(async (place) => {
      const server = await place.serve();
      const client = await place.bind();
      const arrived = server.accept();
      const abort = new AbortController();
      const dialled = failure(client.connect(place.addrOf(server), ALPN, { signal: abort.signal }));
      const accepting = (await arrived)!.accept();
      const accepted = failure(accepting);
      const reason = new Error('changed my mind');
      const start = place.clock.now();
      abort.abort(reason);
      expect(await dialled).toBe(reason);
      expect(place.clock.now()).toBe(start);
      await accepted;
      expect(accepting.early().closeReason).toBeDefined();
      await place.sleep(10_000);
      expect(engineOf(accepting.early()).connectionCount).toBe(0);
    }),
  );

  test(
    'B14: an abort after the handshake changes nothing',
    simulated(async (place) => {
      const server = await place.serve();
      const client = await place.bind();
      const accepted = place.acceptOn(server);
      const abort = new AbortController();
      const ours = await client.connect(place.addrOf(server), ALPN, {
        signal: abort.signal,
        timeoutMs: 5_000,
      });
      const theirs = await accepted;
      abort.abort();
      await place.sleep(20_000);
      expect([ours.closeReason, theirs.closeReason]).toEqual([undefined, undefined]);
    }),
  );

  test(
    'B14: aborted in the very moment in which the handshake is done, no connection is left that nobody has',
    simulated(async (place) => {
      const server = await place.serve();
      const reason = new Error('enough');
      for (let turns = 0; turns < 25; turns++) {
        const abort = new AbortController();
        const afterHandshake = (): void => {
          let left = turns;
          const next = (): unknown => (left-- > 0 ? Promise.resolve().then(next) : abort.abort(reason));
          void next();
        };
        const client = await place.bind({ hooks: { afterHandshake } });
        const accepted = place.acceptOn(server).catch(() => undefined);
        const outcome = await client
          .connect(place.addrOf(server), ALPN, { signal: abort.signal })
          .catch((error: unknown) => error);
        const theirs = await accepted;
        await place.sleep(1_000);
        const isOpen = theirs !== undefined && theirs.closeReason === undefined;
        expect([turns, isOpen]).toEqual([turns, outcome !== reason]);
      }
    }),
  );

  test(
    'B14: the caller who dials itself may abort too',
    simulated(async (place) => {
      const server = await place.serve();
      const client = await place.bind();
      const connecting = client.dial(place.addrOf(server), ALPN);
      connecting.abort();
      expect(await failure(connecting)).toMatchObject({ name: 'AbortError' });
      const later = client.dial(place.addrOf(server), ALPN);
      const reason = new Error('enough');
      await place.sleep(5);
      later.abort(reason);
      expect(await failure(later)).toBe(reason);
      later.abort();
    }),
  );

  test(
    'a closing endpoint refuses to dial, and its dials end',
    simulated(async (place) => {
      const { client, server } = await place.connect();
      const nobody = new EndpointAddr(SecretKey.generate().publicKey).withIp(parseAddr('10.9.9.9:1'));
      const running = failure(client.connect(nobody, ALPN));
      await place.sleep(5);
      const pending = failure(client.connect(nobody, ALPN));
      const closing = client.close();
      expect(await running).toMatchObject({ cause: { cause: { code: 'ConnectionError.LocallyClosed' } } });
      expect(await failure(client.connect(place.addrOf(server), ALPN))).toMatchObject({
        code: 'ConnectError.EndpointStopping',
      });
      expect(await pending).toMatchObject({ code: 'ConnectError.EndpointStopping' });
      await closing;
      await expect(client.connect(place.addrOf(server), ALPN)).rejects.toMatchObject({
        code: 'ConnectError.EndpointClosed',
      });
    }),
  );
});

describe('dialling again', () => {
  test(
    'B07: 32 servers, each dialled twice: the second round takes no longer',
    simulated(async (place) => {
      const client = await place.bind();
      const servers: Endpoint[] = [];
      for (let i = 0; i < 32; i++) servers.push(await place.serve());
      const round = async (): Promise<number> => {
        const start = place.clock.now();
        for (const server of servers) (await place.dial(client, server)).ours.close();
        return place.clock.now() - start;
      };
      const first = await round();
      const second = await round();
      expect(second).toBeLessThanOrEqual(first);
      // One and a half round trips of 40 ms for each: until the server has heard that the client knows it.
      expect(first).toBeLessThanOrEqual(32 * 60);
    }),
  );

  test(
    'B09: a server that was started anew with its key is reached by who knew the old one',
    simulated(async (place) => {
      const site = await place.addRelay();
      const secretKey = SecretKey.fromBytes(new Uint8Array(32).fill(7));
      const client = await place.bind(place.using(site));
      for (let start = 0; start < 3; start++) {
        const server = await place.serve({ ...place.using(site), secretKey });
        await place.online(client, server);
        const { ours, theirs } = await place.dial(client, server, place.relayAddrOf(server));
        void echo(theirs);
        await place.ask(ours);
        expect(ours.remoteId).toEqual(secretKey.publicKey);
        // With a connection that the old one ends, and with one that it leaves behind.
        if (start === 0) await server.close();
        else place.hostOf(server).isUp = false;
      }
    }),
  );
});
