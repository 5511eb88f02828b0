/** Endpoints, connections, early data and routers over every pair of engines. */
import { expect } from '@jest/globals';
import { fromUtf8, utf8 } from '../../src/base/bytes.ts';
import {
  EndpointAddr,
  Router,
  SecretKey,
  type Connection,
  type Endpoint,
  type IncomingInfo,
} from '../../src/index.ts';
import { ALPN, echo, endOf, failure, WAIT } from '../support/endpoints.ts';
import { describeRows, type Row } from '../support/engine-rows.ts';
import type { Lan } from '../support/lan.ts';

/** RFC 9001 §4.8: alert no_application_protocol. */
const NO_APPLICATION_PROTOCOL = 0x178n;

/** What comes back on a new stream. */
async function say(place: Lan, connection: Connection, text: string): Promise<string> {
  return fromUtf8((await place.ask(connection, utf8(text))).answer);
}

/** An attempt that nobody has decided about, and what its dialler gets. */
async function attempt(place: Lan) {
  const server = await place.serve();
  const client = await place.bind();
  const dialled = client.connect(place.addrOf(server), ALPN, WAIT);
  dialled.catch(() => undefined);
  const incoming = (await server.accept(WAIT))!;
  return { client, server, incoming, dialled };
}

/** Echoes every stream of every connection, also before its handshake is complete. */
async function serveEarly(server: Endpoint): Promise<void> {
  const served: Promise<void>[] = [];
  for await (const incoming of server.incoming())
    served.push(echo(incoming.accept().early()).catch(() => undefined));
  await Promise.all(served);
}

const REFUSED = {
  code: 'ConnectError.Connection',
  cause: { cause: { code: 'ConnectionError.ConnectionClosed', transportCode: 'CONNECTION_REFUSED' } },
};

const A: Row[] = [
  {
    name: 'A01: an address is there at once, with the own id and without a relay',
    run: async (place) => {
      const endpoint = await place.serve();
      expect(endpoint.addr.id).toEqual(endpoint.id);
      expect(endpoint.addr.relays).toEqual([]);
      expect(endpoint.boundSockets.length).toBeGreaterThan(0);
    },
  },
  {
    name: 'A13, A16: an idle endpoint closes at once, and a pending accept ends',
    run: async (place) => {
      const endpoint = await place.serve();
      const accept = endpoint.accept();
      await endpoint.close();
      expect([await accept, endpoint.state, await endpoint.accept()]).toEqual([
        undefined,
        'closed',
        undefined,
      ]);
      expect(await failure(endpoint.connect(SecretKey.generate().publicKey, ALPN))).toMatchObject({
        code: 'ConnectError.EndpointClosed',
      });
    },
  },
  {
    name: 'A17: two closes at once both resolve, and the peer hears of it with code 0',
    run: async (place) => {
      const { client, theirs } = await place.connect();
      await Promise.all([client.close(), client.close()]);
      expect(client.state).toBe('closed');
      expect(await theirs.closed).toMatchObject({ code: 'ConnectionError.ApplicationClosed', errorCode: 0 });
    },
  },
  {
    name: 'A20: connections, paths, bytes and datagrams are counted on both sides',
    run: async (place) => {
      const { client, server, ours, theirs } = await place.connect();
      void echo(theirs);
      await place.ask(ours, new Uint8Array(100_000));
      for (const endpoint of [client, server]) {
        const metrics = endpoint.metrics();
        const counted = ['num_conns_opened', 'num_conns_direct', 'transport_ip_paths_added'] as const;
        expect(counted.map((name) => metrics.value(name))).toEqual([1, 1, 1]);
        expect(metrics.value('send_ipv4')).toBeGreaterThan(100_000);
        expect(metrics.value('recv_data_ipv4')).toBeGreaterThan(100_000);
      }
      for (const [endpoint, { paths }] of [
        [client, ours],
        [server, theirs],
      ] as const) {
        expect(paths).toHaveLength(1);
        const { udpTx, rttMs } = paths[0]!.stats;
        expect(udpTx.bytes).toBeGreaterThan(100_000);
        // quiche tells whole milliseconds of real time, of which a fast machine takes none.
        if (endpoint.capabilities.virtualTime) expect(rttMs).toBeGreaterThan(0);
        else expect(Number.isInteger(rttMs) && rttMs >= 0).toBe(true);
      }
      ours.close();
      await theirs.closed;
      await place.until('the end is counted', () => server.metrics().value('num_conns_closed') === 1);
    },
  },
];

const B: Row[] = [
  {
    name: 'B01: an endpoint does not connect to itself',
    run: async (place) => {
      const endpoint = await place.serve();
      expect(await failure(endpoint.connect(endpoint.id, ALPN))).toMatchObject({
        code: 'ConnectError.SelfConnect',
      });
    },
  },
  {
    name: 'B03, B08: the server closes with a code, and then its endpoint: the client learns the code everywhere',
    run: async (place) => {
      const { server, ours, theirs } = await place.connect();
      const { recv } = await ours.openBi(WAIT);
      const reading = failure(recv.read());
      const datagram = failure(ours.readDatagram());
      theirs.close(42, 'enough');
      await server.close();
      const closed = {
        code: 'ConnectionError.ApplicationClosed',
        errorCode: 42,
        reason: utf8('enough'),
      };
      expect(await ours.closed).toMatchObject(closed);
      expect(await datagram).toMatchObject(closed);
      expect(await reading).toMatchObject({ code: 'ReadError.ConnectionLost' });
    },
  },
  {
    name: 'B04: several streams each way, all bytes and both ends; the codes of reset and stop',
    run: async (place) => {
      const { ours, theirs } = await place.connect();
      void echo(theirs);
      void echo(ours);
      const bytes = new Uint8Array(300_000).map((_, at) => (at * 7) & 0xff);
      const answers = await Promise.all(
        [ours, theirs, ours, theirs].map((connection) => place.ask(connection, bytes)),
      );
      for (const { answer } of answers) expect(Buffer.compare(answer, bytes)).toBe(0);
      const uni = await ours.openUni(WAIT);
      await uni.write(utf8('x'));
      const accepted = await theirs.acceptUni(WAIT);
      expect(await accepted.read()).toEqual(utf8('x'));
      uni.reset(7);
      expect(await failure(accepted.read())).toMatchObject({ code: 'ReadError.Reset', errorCode: 7 });
      const other = await ours.openUni(WAIT);
      await other.write(utf8('y'));
      (await theirs.acceptUni(WAIT)).stop(9);
      // quiche forgets the code with the stream when all was acknowledged.
      expect([9, 0]).toContain(await other.stopped);
    },
  },
  {
    name: 'B05: the order of the server decides about the protocol',
    run: async (place) => {
      const server = await place.serve({ alpns: ['a', 'b'] });
      const client = await place.bind();
      const accepted = place.acceptOn(server);
      const ours = await client.connect(place.addrOf(server), 'b', { additionalAlpns: ['a'], ...WAIT });
      expect([ours.alpnText, (await accepted).alpnText]).toEqual(['a', 'a']);
    },
  },
  {
    name: 'B06: no common protocol fails on both sides, and the server goes on',
    run: async (place) => {
      const server = await place.serve();
      const client = await place.bind();
      // Some engines know when they look at the first packet.
      const accepted = failure(place.acceptOn(server));
      expect(await failure(client.connect(place.addrOf(server), 'other', WAIT))).toMatchObject({
        code: 'ConnectError.Connection',
        cause: { cause: { code: 'ConnectionError.ConnectionClosed', rawCode: NO_APPLICATION_PROTOCOL } },
      });
      expect(await accepted).toMatchObject({
        code: 'ConnectionError.TransportError',
        rawCode: NO_APPLICATION_PROTOCOL,
      });
      expect((await place.dial(client, server)).ours.alpnText).toBe(ALPN);
    },
  },
  {
    name: 'B10: who answers with another key is not connected, and is not hurt',
    run: async (place) => {
      const { client, server, ours, theirs } = await place.connect();
      void echo(theirs);
      const wrong = new EndpointAddr(SecretKey.generate().publicKey, place.addrOf(server).addrs);
      const accepted = server.accept(WAIT).then((incoming) => failure(incoming!.accept()));
      expect(await failure(client.connect(wrong, ALPN, WAIT))).toMatchObject({
        code: 'ConnectError.AuthenticationError',
      });
      expect(await accepted).toMatchObject({ code: expect.stringMatching('^ConnectionError.') });
      expect(await say(place, ours, 'still here')).toBe('still here');
      expect([ours.remoteId, theirs.remoteId]).toEqual([server.id, client.id]);
    },
  },
  {
    name: 'B13, B14: a limit of the caller ends a dial that nobody answers, and so does an abort',
    run: async (place) => {
      const server = await place.serve();
      const client = await place.bind();
      place.block(server, true);
      const addr = place.addrOf(server);
      expect(await failure(client.connect(addr, ALPN, { timeoutMs: 100 }))).toMatchObject({
        code: 'TimeoutError.Elapsed',
      });
      const reason = new Error('changed my mind');
      const abort = new AbortController();
      const dialled = failure(client.connect(addr, ALPN, { signal: abort.signal }));
      abort.abort(reason);
      expect(await dialled).toBe(reason);
    },
  },
  {
    name: 'B15: refuse',
    run: async (place) => {
      const { incoming, dialled } = await attempt(place);
      incoming.refuse();
      expect(await failure(dialled)).toMatchObject(REFUSED);
    },
  },
  {
    name: 'B15: retry makes the peer come back with a proven address',
    run: async (place) => {
      const { server, incoming, dialled } = await attempt(place);
      incoming.retry();
      const again = (await server.accept(WAIT))!;
      expect(again.remoteAddrValidated).toBe(true);
      expect(() => again.retry()).toThrow(expect.objectContaining({ code: 'RetryError.AlreadyValidated' }));
      await again.accept();
      expect((await dialled).remoteId).toEqual(server.id);
    },
  },
  {
    name: 'B15: ignored, an attempt comes again and can be accepted',
    run: async (place) => {
      const { server, incoming, dialled } = await attempt(place);
      expect(incoming.offeredAlpns?.map(fromUtf8)).toEqual([ALPN]);
      incoming.ignore();
      await (await server.accept(WAIT))!.accept();
      expect((await dialled).alpnText).toBe(ALPN);
    },
  },
  {
    name: 'B17: hooks refuse after the handshake, on either side, with code and reason',
    run: async (place) => {
      const hooks = { afterHandshake: () => ({ reject: { code: 5, reason: 'no' } }) } as const;
      const server = await place.serve();
      const client = await place.bind({ hooks });
      const ended = endOf(place.acceptOn(server));
      expect(await failure(client.connect(place.addrOf(server), ALPN, WAIT))).toMatchObject({
        code: 'ConnectError.LocallyRejected',
      });
      expect(await ended).toMatchObject({ errorCode: 5, reason: utf8('no') });
      const strict = await place.serve({ hooks });
      const refusal = failure(place.acceptOn(strict));
      const other = await place.bind();
      const connection = other.connect(place.addrOf(strict), ALPN, WAIT);
      expect(await endOf(connection)).toMatchObject({ errorCode: 5, reason: utf8('no') });
      expect(await refusal).toMatchObject({ code: 'ConnectingError.LocallyRejected' });
    },
  },
  {
    name: 'B18: both ends export the same keying material',
    needs: ['exporter'],
    run: async (place) => {
      const { ours, theirs } = await place.connect();
      const [one, other] = [ours, theirs].map((each) =>
        each.exportKeyingMaterial(32, 'label', utf8('context')),
      );
      expect(one).toEqual(other);
    },
  },
  {
    name: 'datagrams arrive as they were',
    run: async (place) => {
      const { ours, theirs } = await place.connect();
      const bytes = new Uint8Array(ours.maxDatagramSize!).fill(3);
      const arrived = theirs.readDatagram(WAIT);
      ours.sendDatagram(bytes);
      expect(await arrived).toEqual(bytes);
    },
  },
];

const C: Row[] = [
  {
    name: 'C01, C02: no early data at first contact; at the second it is accepted, and its streams go on',
    run: async (place) => {
      const server = await place.serve();
      place.mustSettle('echo', serveEarly(server));
      const client = await place.bind();
      const first = client.dial(place.addrOf(server), ALPN);
      expect(await first.early()).toBeUndefined();
      expect(await say(place, await first, 'first')).toBe('first');
      (await first).close();
      const connecting = client.dial(place.addrOf(server), ALPN);
      const early = (await connecting.early())!;
      const { send, recv } = await early.connection.openBi(WAIT);
      await send.write(utf8('early '));
      expect(await early.accepted).toBe(true);
      await send.write(utf8('and late'));
      send.finish();
      expect(fromUtf8(await recv.readToEnd(100, WAIT))).toBe('early and late');
      expect([send.is0Rtt, (await connecting).remoteId]).toEqual([true, server.id]);
    },
  },
  {
    name: 'C04: after a restart of the server early data is rejected or sent again, and the connection goes on',
    run: async (place) => {
      const secretKey = SecretKey.generate();
      const first = await place.serve({ secretKey });
      place.mustSettle('echo', serveEarly(first));
      const client = await place.bind();
      const met = await client.connect(place.addrOf(first), ALPN, WAIT);
      expect(await say(place, met, 'first')).toBe('first');
      met.close();
      const bind = [place.addrOf(first).ips[0]!.text];
      await first.close();
      const second = await place.serve({ secretKey, bind });
      place.mustSettle('echo', serveEarly(second));
      const connecting = client.dial(place.addrOf(second), ALPN);
      const early = (await connecting.early())!;
      const { send, recv } = await early.connection.openBi(WAIT);
      await send.write(utf8('lost'));
      // quiche sends again by itself, and does not tell.
      if (await early.accepted) {
        send.finish();
        expect(fromUtf8(await recv.readToEnd(100, WAIT))).toBe('lost');
      } else {
        expect(await failure(recv.read())).toMatchObject({ code: 'ReadError.ZeroRttRejected' });
      }
      expect(await say(place, await connecting, 'sent again')).toBe('sent again');
    },
  },
  {
    name: 'C06: the server writes before the handshake is complete',
    run: async (place) => {
      const { server, incoming, dialled } = await attempt(place);
      const early = incoming.accept().early();
      await (await early.openUni(WAIT)).write(utf8('first word'));
      const connection = await dialled;
      expect(await (await connection.acceptUni(WAIT)).read()).toEqual(utf8('first word'));
      expect(connection.remoteId).toEqual(server.id);
    },
  },
];

const G: Row[] = [
  {
    name: 'G01, G02, G08, G09: each protocol has its handler; one that throws ends its own connection only; shutdown ends all',
    run: async (place) => {
      const server = await place.serve();
      const client = await place.bind();
      const router = Router.builder(server)
        .accept('echo', async (connection) => {
          await echo(connection);
        })
        .accept('broken', () => {
          throw new Error('broken handler');
        })
        .spawn();
      const addr = place.addrOf(server);
      const good = await client.connect(addr, 'echo', WAIT);
      expect(await failure(client.connect(addr, 'unknown', WAIT))).toMatchObject({
        code: 'ConnectError.Connection',
      });
      const bad = await client.connect(addr, 'broken', WAIT);
      await bad.closed;
      expect(await say(place, good, 'hello')).toBe('hello');
      await router.shutdown();
      expect([server.isClosed, (await good.closed).code]).toEqual([
        true,
        'ConnectionError.ApplicationClosed',
      ]);
    },
  },
  {
    name: 'G03, G04: a filter makes a peer prove its address, and refuses another one',
    run: async (place) => {
      const server = await place.serve();
      const client = await place.bind();
      const bad = await place.bind();
      const [badAddr] = place.addrOf(bad).ips;
      const seen: IncomingInfo[] = [];
      const router = Router.builder(server)
        .incomingFilter((incoming) => {
          const { remoteAddr, remoteAddrValidated } = incoming;
          if (remoteAddr.type === 'ip' && remoteAddr.addr === badAddr) return 'reject';
          seen.push(incoming);
          return remoteAddrValidated ? 'accept' : 'retry';
        })
        .accept(ALPN, echo)
        .spawn();
      const addr = place.addrOf(server);
      expect(await failure(bad.connect(addr, ALPN, WAIT))).toMatchObject(REFUSED);
      expect(await say(place, await client.connect(addr, ALPN, WAIT), 'hello')).toBe('hello');
      expect(seen.map(({ remoteAddrValidated }) => remoteAddrValidated)).toEqual([false, true]);
      await router.shutdown();
    },
  },
];

await describeRows([...A, ...B, ...C, ...G]);
