/** 0-RTT and 0.5-RTT: data before the handshake is complete. */
import { describe, expect, test } from '@jest/globals';
import { fromUtf8, utf8 } from '../../src/base/bytes.ts';
import {
  SecretKey,
  type Connecting,
  type Connection,
  type EarlyConnection,
  type Endpoint,
} from '../../src/index.ts';
import { ALPN, failure, onLoopback, simulated, WAIT, type Place } from '../support/endpoints.ts';

/** Sends on a new stream and returns what the other side, an {@link serveEcho}, sends back. */
async function echo(connection: Connection, text: string): Promise<string> {
  const { send, recv } = await connection.openBi(WAIT);
  await send.write(utf8(text));
  send.finish();
  return fromUtf8(await recv.readToEnd(10_000, WAIT));
}

/** Answers every stream of every connection; ends with the endpoint. */
async function serveEcho(server: Endpoint): Promise<void> {
  const connections: Promise<void>[] = [];
  for await (const incoming of server.incoming()) {
    connections.push(
      (async () => {
        const connection = incoming.accept().early();
        for await (const { send, recv } of connection.incomingBi()) {
          await send.write(await recv.readToEnd(10_000));
          send.finish();
        }
      })(),
    );
  }
  await Promise.all(connections);
}

/** A server that echoes, until the place ends. */
async function echoServer(place: Place, options: Parameters<Place['serve']>[0] = {}): Promise<Endpoint> {
  const server = await place.serve(options);
  place.mustSettle('echo', serveEcho(server));
  return server;
}

/** Connects once, so that the client has tickets. */
async function meet(place: Place, client: Endpoint, server: Endpoint): Promise<void> {
  const connection = await client.connect(place.addrOf(server), ALPN, place.wait);
  // Tickets come before any answer.
  expect(await echo(connection, 'first')).toBe('first');
  connection.close();
}

async function dialEarly(
  place: Place,
  client: Endpoint,
  server: Endpoint,
): Promise<{ connecting: Connecting; early: EarlyConnection }> {
  const connecting = client.dial(place.addrOf(server), ALPN);
  const early = await connecting.early();
  expect(early).toBeDefined();
  expect(await connecting.early()).toBe(early);
  return { connecting, early: early! };
}

describe('the dialling side', () => {
  test(
    'C01: at first contact there is no early data, and the handshake goes on',
    onLoopback(async (place) => {
      const server = await echoServer(place);
      const client = await place.bind();
      const connecting = client.dial(place.addrOf(server), ALPN);
      expect(await connecting.early()).toBeUndefined();
      const connection = await connecting;
      expect(await connecting.early()).toBeUndefined();
      expect((await connection.openUni()).is0Rtt).toBe(false);
      expect(await echo(connection, 'hello')).toBe('hello');
    }),
  );

  test(
    'C02: at second contact early data is accepted, and its streams go on',
    onLoopback(async (place) => {
      const server = await echoServer(place);
      const client = await place.bind();
      await meet(place, client, server);
      const { connecting, early } = await dialEarly(place, client, server);
      const { send, recv } = await early.connection.openBi();
      expect([send.is0Rtt, recv.is0Rtt]).toEqual([true, true]);
      await send.write(utf8('early '));
      expect(await early.accepted).toBe(true);
      expect(await connecting).toBe(early.connection);
      await send.write(utf8('and late'));
      send.finish();
      expect(fromUtf8(await recv.readToEnd(100, WAIT))).toBe('early and late');
      expect(await send.stopped).toBeUndefined();
      expect([send.is0Rtt, recv.is0Rtt]).toEqual([true, true]);
      expect((await early.connection.openUni()).is0Rtt).toBe(false);
      expect(early.connection.remoteId.equals(server.id)).toBe(true);
    }),
  );

  test(
    'C02: the server knows who sent early data once the handshake is complete',
    onLoopback(async (place) => {
      const server = await place.serve();
      const client = await place.bind();
      const { ours, theirs } = await place.dial(client, server);
      const opened = theirs.acceptUni(WAIT);
      await (await ours.openUni()).write(utf8('tickets came before the acknowledgment'));
      await (await opened).read();
      const back = ours.acceptUni(WAIT);
      await (await theirs.openUni()).write(utf8('x'));
      await (await back).read();
      ours.close();
      const accepted = place.acceptOn(server);
      const { early } = await dialEarly(place, client, server);
      await (await early.connection.openUni()).write(utf8('early'));
      const resumed = await accepted;
      expect(resumed.remoteId.equals(client.id)).toBe(true);
      const recv = await resumed.acceptUni(WAIT);
      expect(recv.is0Rtt).toBe(true);
      expect(await recv.read()).toEqual(utf8('early'));
      expect(await early.accepted).toBe(true);
    }),
  );

  test(
    'C03: contact with A, B, then A again is early',
    onLoopback(async (place) => {
      const [a, b] = [await echoServer(place), await echoServer(place)];
      const client = await place.bind();
      await meet(place, client, a);
      await meet(place, client, b);
      const { early } = await dialEarly(place, client, a);
      expect(await echo(early.connection, 'again')).toBe('again');
      expect(await early.accepted).toBe(true);
      expect(early.connection.remoteId.equals(a.id)).toBe(true);
    }),
  );

  test(
    'C04: after a restart of the server early data is rejected, and the connection goes on',
    onLoopback(async (place) => {
      const secretKey = SecretKey.generate();
      const first = await echoServer(place, { secretKey });
      const client = await place.bind();
      await meet(place, client, first);
      const bind = [place.addrOf(first).ips[0]!.text];
      await first.close();
      const second = await echoServer(place, { secretKey, bind });

      const { connecting, early } = await dialEarly(place, client, second);
      const { send, recv } = await early.connection.openBi();
      await send.write(utf8('lost'));
      const reading = failure(recv.read());
      const stopped = failure(send.stopped);
      const reset = failure(recv.resetReceived);
      const finished = await early.connection.openUni();
      await finished.write(utf8('lost as well'));
      finished.finish();
      const finishedStopped = failure(finished.stopped);
      expect(await early.accepted).toBe(false);
      const connection = await connecting;

      // Whatever was opened early says so, for ever, and does not reach a new stream of the same number.
      const again = await connection.openBi();
      expect(again.send.id).toBe(send.id);
      expect(await reading).toMatchObject({ name: 'ReadError', code: 'ReadError.ZeroRttRejected' });
      expect(await stopped).toMatchObject({ name: 'StoppedError', code: 'StoppedError.ZeroRttRejected' });
      expect(await finishedStopped).toMatchObject({ code: 'StoppedError.ZeroRttRejected' });
      expect(await reset).toMatchObject({ name: 'ResetError', code: 'ResetError.ZeroRttRejected' });
      const rejected = { code: 'WriteError.ZeroRttRejected' };
      expect(await failure(send.write(utf8('stray')))).toMatchObject(rejected);
      expect(() => send.finish()).toThrow(expect.objectContaining(rejected));
      expect(() => send.reset(1)).toThrow(expect.objectContaining(rejected));
      expect(() => (send.priority = 1)).toThrow(expect.objectContaining(rejected));
      expect(() => recv.stop(1)).toThrow(expect.objectContaining({ code: 'ReadError.ZeroRttRejected' }));
      send[Symbol.dispose]();
      recv[Symbol.dispose]();
      expect([send.is0Rtt, again.send.is0Rtt]).toEqual([true, false]);

      // Sending again works.
      await again.send.write(utf8('sent again'));
      again.send.finish();
      expect(fromUtf8(await again.recv.readToEnd(100, WAIT))).toBe('sent again');
      expect(await echo(connection, 'more')).toBe('more');
    }),
  );

  test(
    'C04: a dial that never completes fails the verdict too',
    simulated(async (place) => {
      const server = await echoServer(place);
      const client = await place.bind();
      await meet(place, client, server);
      await place.sleep(5_000);
      place.hosts[0]!.isUp = false;
      const { early } = await dialEarly(place, client, server);
      const { send } = await early.connection.openBi();
      const stopped = failure(send.stopped);
      expect(await failure(early.accepted)).toMatchObject({
        code: 'ConnectError.Connection',
        cause: { cause: { code: 'ConnectionError.TimedOut' } },
      });
      expect(await stopped).toMatchObject({ code: 'StoppedError.ConnectionLost' });
    }),
  );

  test.each([
    { restart: false, accepted: true },
    { restart: true, accepted: false },
  ])('C05: streams and datagrams in the first flight, accepted: $accepted', ({ restart, accepted }) =>
    simulated(async (place) => {
      const secretKey = SecretKey.generate();
      let server = await echoServer(place, { secretKey });
      const client = await place.bind();
      await meet(place, client, server);
      await place.sleep(5_000);
      await server.close();
      // Same or new ticket keys: an endpoint of its own never knows the tickets of another.
      if (!restart) {
        server = await place.serve();
        const { ours, theirs } = await place.dial(client, server);
        const opened = ours.acceptUni(place.wait);
        await (await theirs.openUni()).write(utf8('x'));
        await (await opened).read();
        ours.close();
      } else server = await place.serve({ secretKey });
      const arrived = server.accept(place.wait);
      const start = place.clock.now();
      const { connecting, early } = await dialEarly(place, client, server);
      const uni = await early.connection.openUni();
      expect(uni.is0Rtt).toBe(true);
      await uni.write(utf8('stream'));
      early.connection.sendDatagram(utf8('datagram'));
      const incoming = (await arrived)!;
      const connection = incoming.accept().early();
      if (accepted) {
        expect(await connection.readDatagram(place.wait)).toEqual(utf8('datagram'));
        const recv = await connection.acceptUni(place.wait);
        expect(recv.is0Rtt).toBe(true);
        expect(await recv.read()).toEqual(utf8('stream'));
        // One way: the server has not answered yet.
        expect(place.clock.now() - start).toBeLessThan(25);
      }
      expect(await early.accepted).toBe(accepted);
      const ours = await connecting;
      ours.sendDatagram(utf8('late'));
      expect(await connection.readDatagram(place.wait)).toEqual(utf8('late'));
      if (!accepted) {
        expect(await failure(uni.write(utf8('more')))).toMatchObject({ code: 'WriteError.ZeroRttRejected' });
        const again = await ours.openUni();
        await again.write(utf8('again'));
        expect(await (await connection.acceptUni(place.wait)).read()).toEqual(utf8('again'));
      }
    })(),
  );
});

describe('the accepting side', () => {
  test(
    'C06: the server writes before the handshake is complete',
    simulated(async (place) => {
      const server = await place.serve();
      const client = await place.bind();
      const arrived = server.accept(place.wait);
      const dialled = client.connect(place.addrOf(server), ALPN, place.wait);
      const accepting = (await arrived)!.accept();
      const early = accepting.early();
      expect(accepting.early()).toBe(early);
      expect(() => early.remoteId).toThrow('not authenticated');
      const send = await early.openUni(place.wait);
      await send.write(utf8('half a round trip'));
      send.finish();
      const written = place.clock.now();
      const ours = await dialled;
      expect(await (await ours.acceptUni(place.wait)).readToEnd(100)).toEqual(utf8('half a round trip'));
      // It came with the server's first flight.
      expect(place.clock.now() - written).toBeLessThan(25);
      expect(await accepting).toBe(early);
      expect(early.remoteId.equals(client.id)).toBe(true);
    }),
  );

  test(
    'C06: a handshake that fails takes the early connection with it',
    onLoopback(async (place) => {
      const server = await place.serve();
      const client = await place.bind();
      const arrived = server.accept(WAIT);
      const abort = new AbortController();
      const dialled = failure(client.connect(place.addrOf(server), 'other', { signal: abort.signal }));
      const accepting = (await arrived)!.accept();
      const early = accepting.early();
      const accepted = failure(early.acceptBi());
      expect(await failure(accepting)).toMatchObject({ name: 'ConnectionError' });
      expect(await accepted).toBe(early.closeReason);
      expect(await dialled).toMatchObject({ code: 'ConnectError.Connection' });
    }),
  );
});
