/** Routers: which handler gets what, what filters do, and the order of the end. */
import { describe, expect, test } from '@jest/globals';
import { fromUtf8, utf8 } from '../../src/base/bytes.ts';
import {
  Router,
  type Addr,
  type Connection,
  type Endpoint,
  type IncomingInfo,
  type IncomingVerdict,
  type RemoteAddr,
} from '../../src/index.ts';
import { createRecorder, type RecordedLine } from '../../src/inspect/index.ts';
import { ALPN, failure, onLoopback, simulated, WAIT, type Place } from '../support/endpoints.ts';

/** Echoes one stream, then waits for the peer to close. */
async function echo(connection: Connection): Promise<void> {
  const { send, recv } = await connection.acceptBi();
  await send.write(await recv.readToEnd(10_000));
  send.finish();
  await connection.closed;
}

/** Sends on a new stream and returns what comes back. */
async function ask(connection: Connection, text: string): Promise<string> {
  const { send, recv } = await connection.openBi(WAIT);
  await send.write(utf8(text));
  send.finish();
  return fromUtf8(await recv.readToEnd(10_000, WAIT));
}

const refused = {
  code: 'ConnectError.Connection',
  cause: { cause: { code: 'ConnectionError.ConnectionClosed', transportCode: 'CONNECTION_REFUSED' } },
};

function dial(place: Place, client: Endpoint, server: Endpoint, alpn = ALPN): Promise<Connection> {
  return client.connect(place.addrOf(server), alpn, place.wait);
}

function ipOf(addr: RemoteAddr): Addr | undefined {
  return addr.type === 'ip' ? addr.addr : undefined;
}

describe('handlers', () => {
  test(
    'G08, G14: each protocol has its handler, the later registration wins, and spawn replaces the list of the endpoint',
    onLoopback(async (place) => {
      const server = await place.serve({ alpns: ['old'] });
      const client = await place.bind();
      const closing = (code: number) => async (connection: Connection) => {
        connection.close(code);
        await connection.closed;
      };
      const router = Router.builder(server)
        .accept('a', closing(1))
        .accept('b', closing(2))
        .accept(utf8('a'), closing(3))
        .spawn();
      for (const [alpn, errorCode] of [
        ['a', 3],
        ['b', 2],
      ] as const)
        expect(await (await dial(place, client, server, alpn)).closed).toMatchObject({ errorCode });
      for (const alpn of ['old', 'unknown'])
        expect(await failure(dial(place, client, server, alpn))).toMatchObject({
          code: 'ConnectError.Connection',
          cause: { cause: { rawCode: 0x178n } },
        });
      await router.shutdown();
    }),
  );

  test(
    'a connection is closed with code 0 when its handler returns',
    onLoopback(async (place) => {
      const server = await place.bind();
      const client = await place.bind();
      await using _router = Router.builder(server)
        .accept(ALPN, () => undefined)
        .spawn();
      const connection = await dial(place, client, server);
      expect(await connection.closed).toMatchObject({
        code: 'ConnectionError.ApplicationClosed',
        errorCode: 0,
      });
    }),
  );

  test(
    'G09: a handler that throws ends its own connection only, and is reported',
    onLoopback(async (place) => {
      const lines: string[] = [];
      const server = await place.bind({ logger: { debug: (line) => void lines.push(line) } });
      const client = await place.bind();
      const router = Router.builder(server)
        .accept('good', echo)
        .accept('throws', () => {
          throw new Error('at once');
        })
        .accept('rejects', async (connection) => {
          await connection.acceptBi();
          throw new Error('later');
        })
        .accept('unprintable', () => {
          throw Object.create(null);
        })
        .spawn();
      const good = await dial(place, client, server, 'good');
      for (const alpn of ['throws', 'rejects', 'unprintable']) {
        const bad = await dial(place, client, server, alpn);
        if (alpn === 'rejects') {
          const { send } = await bad.openBi(WAIT);
          await send.write(utf8('x'));
        }
        expect(await bad.closed).toMatchObject({ code: 'ConnectionError.ApplicationClosed', errorCode: 0 });
      }
      expect(await ask(good, 'still here')).toBe('still here');
      expect(await ask(await dial(place, client, server, 'good'), 'new')).toBe('new');
      expect(router.isShutdown).toBe(false);
      expect(lines.filter((line) => line.startsWith('iroh:router')).map((line) => line.slice(23))).toEqual([
        'a handler failed: Error: at once',
        'a handler failed: Error: later',
        'a handler failed: an error that cannot be printed',
      ]);
      await router.shutdown();
    }),
  );

  test(
    'G13: onAccepting turns a peer away by its address',
    onLoopback(async (place) => {
      const server = await place.bind();
      const client = await place.bind();
      const banned = await place.bind();
      const bannedAddr = place.addrOf(banned).ips[0];
      const router = Router.builder(server)
        .accept(ALPN, {
          onAccepting: (accepting) => {
            if (ipOf(accepting.remoteAddr) === bannedAddr) throw new Error('not you');
            return accepting.connected;
          },
          accept: echo,
        })
        .spawn();
      expect(await ask(await dial(place, client, server), 'hello')).toBe('hello');
      const end = await dial(place, banned, server).then(
        (connection) => connection.closed,
        (error: { cause: { cause: unknown } }) => error.cause.cause,
      );
      expect(end).toMatchObject({ code: expect.stringMatching(/ApplicationClosed|ConnectionClosed/) });
      await router.shutdown();
    }),
  );

  test(
    'G13: onAccepting serves 0-RTT data before the handshake is complete',
    simulated(async (place) => {
      const server = await place.bind();
      const client = await place.bind();
      const early: string[] = [];
      const router = Router.builder(server)
        .accept(ALPN, {
          onAccepting: async (accepting) => {
            const connection = accepting.early();
            let isConnected = false;
            const connected = accepting.connected.then(() => (isConnected = true));
            const { recv, send } = await connection.acceptBi();
            const text = fromUtf8(await recv.readToEnd(100));
            early.push(`${text} ${isConnected ? 'after' : 'before'} the handshake`);
            await send.write(utf8(text));
            send.finish();
            await connected;
            return connection;
          },
          accept: (connection) => connection.closed,
        })
        .spawn();
      const first = await dial(place, client, server);
      await ask(first, 'first');
      // Tickets follow the handshake.
      await place.sleep(1_000);
      first.close();
      const connecting = client.dial(place.addrOf(server), ALPN);
      const { connection, accepted } = (await connecting.early())!;
      expect(await ask(connection, 'second')).toBe('second');
      expect(await accepted).toBe(true);
      // The first had no ticket; its data and the end of its handshake may be told in one turn.
      expect(early[1]).toBe('second before the handshake');
      await router.shutdown();
    }),
  );
});

describe('filters', () => {
  test(
    'G03, G07: retry makes a peer prove its address, and then it is served',
    onLoopback(async (place) => {
      const server = await place.bind();
      const client = await place.bind();
      const seen: IncomingInfo[] = [];
      const router = Router.builder(server)
        .incomingFilter((incoming) => {
          seen.push(incoming);
          return incoming.remoteAddrValidated ? 'accept' : 'retry';
        })
        .accept(ALPN, echo)
        .spawn();
      expect(await ask(await dial(place, client, server), 'hello')).toBe('hello');
      const remoteAddr = { type: 'ip', addr: place.addrOf(client).ips[0] };
      const localAddr = place.addrOf(server).ips[0];
      expect(seen).toEqual([
        { remoteAddr, localAddr, remoteAddrValidated: false },
        { remoteAddr, localAddr, remoteAddrValidated: true },
      ]);
      await router.shutdown();
    }),
  );

  const verdicts: [string, () => IncomingVerdict][] = [
    ['G04: reject', () => 'reject'],
    ['always retry', () => 'retry'],
    [
      'a filter that throws',
      () => {
        throw new Error('broken filter');
      },
    ],
    ['a filter that returns something else', () => Promise.resolve('accept') as never],
  ];
  test.each(verdicts)('%s: the peer is refused at once, others are served', (_, verdict) =>
    onLoopback(async (place) => {
      const server = await place.bind();
      const client = await place.bind();
      const bad = await place.bind();
      const badAddr = place.addrOf(bad).ips[0];
      const router = Router.builder(server)
        .incomingFilter(({ remoteAddr }) => (ipOf(remoteAddr) === badAddr ? verdict() : 'accept'))
        .accept(ALPN, echo)
        .spawn();
      expect(await failure(dial(place, bad, server))).toMatchObject(refused);
      expect(await ask(await dial(place, client, server), 'hello')).toBe('hello');
      await router.shutdown();
    })(),
  );

  test(
    'G05: ignored, a peer hears nothing until its own limit',
    simulated(async (place) => {
      const server = await place.bind();
      const client = await place.bind();
      const router = Router.builder(server)
        .incomingFilter(() => 'ignore')
        .accept(ALPN, echo)
        .spawn();
      const dialled = client.connect(place.addrOf(server), ALPN, { timeoutMs: 500 });
      expect(await failure(dialled)).toMatchObject({ code: 'TimeoutError.Elapsed' });
      await router.shutdown();
    }),
  );

  test(
    'G06: peers that come by relay are known by their id: one is refused, one hears nothing, others are served',
    simulated(async (place) => {
      const site = await place.addRelay();
      const server = await place.bind(place.using(site));
      const [refusedPeer, ignored, client] = await Promise.all([
        place.bind(place.using(site)),
        place.bind(place.using(site)),
        place.bind(place.using(site)),
      ]);
      await place.online(server, refusedPeer, ignored, client);
      const router = Router.builder(server)
        .incomingFilter(({ remoteAddr }) => {
          if (remoteAddr.type !== 'relay') return 'accept';
          if (remoteAddr.endpointId.equals(refusedPeer.id)) return 'reject';
          return remoteAddr.endpointId.equals(ignored.id) ? 'ignore' : 'accept';
        })
        .accept(ALPN, echo)
        .spawn();
      const addr = place.relayAddrOf(server);
      expect(await failure(refusedPeer.connect(addr, ALPN, place.wait))).toMatchObject(refused);
      expect(await failure(ignored.connect(addr, ALPN, { timeoutMs: 500 }))).toMatchObject({
        code: 'TimeoutError.Elapsed',
      });
      expect(await ask(await client.connect(addr, ALPN, place.wait), 'hello')).toBe('hello');
      await router.shutdown();
    }),
  );

  test(
    'G07: by relay as well, a retry makes an attempt a validated one',
    simulated(async (place) => {
      const site = await place.addRelay();
      const { client, server } = await place.relayedPair([site]);
      const seen: IncomingInfo[] = [];
      const router = Router.builder(server)
        .incomingFilter((incoming) => {
          seen.push(incoming);
          return incoming.remoteAddrValidated ? 'accept' : 'retry';
        })
        .accept(ALPN, echo)
        .spawn();
      const connection = await client.connect(place.relayAddrOf(server), ALPN, place.wait);
      expect(await ask(connection, 'hello')).toBe('hello');
      const remoteAddr = { type: 'relay', url: site.relay.url, endpointId: client.id };
      expect(seen).toEqual([
        { remoteAddr, localAddr: undefined, remoteAddrValidated: false },
        { remoteAddr, localAddr: undefined, remoteAddrValidated: true },
      ]);
      await router.shutdown();
    }),
  );
});

describe('the end', () => {
  test(
    'G01: shutdown closes the endpoint',
    onLoopback(async (place) => {
      const server = await place.bind();
      const router = Router.builder(server).accept(ALPN, echo).spawn();
      expect(router.isShutdown).toBe(false);
      await router.shutdown();
      expect(router.isShutdown).toBe(true);
      expect(server.isClosed).toBe(true);
      expect(await server.accept()).toBeUndefined();
    }),
  );

  test(
    'G02: the peer hears the code that a handler closes with in its shutdown',
    simulated(async (place) => {
      const server = await place.bind();
      const client = await place.bind();
      const open: Connection[] = [];
      const router = Router.builder(server)
        .accept(ALPN, {
          accept: async (connection) => {
            open.push(connection);
            await connection.closed;
          },
          shutdown: async () => {
            await place.sleep(1_000);
            for (const connection of open) connection.close(42, 'bye');
          },
        })
        .spawn();
      const connection = await dial(place, client, server);
      const closed = connection.closed;
      // Arrives before the client is told.
      await place.sleep(100);
      await router.shutdown();
      expect(await closed).toMatchObject({ code: 'ConnectionError.ApplicationClosed', errorCode: 42 });
    }),
  );

  test(
    'G10, G11, G15: goodbyes, then signals, then the endpoint; once, and all callers hear of it at the end',
    simulated(async (place) => {
      const server = await place.bind();
      const client = await place.bind();
      const order: string[] = [];
      const goodbye = (name: string, ms: number) => async () => {
        order.push(`${name} shuts down`);
        await place.sleep(ms);
        order.push(`${name} is done`);
      };
      const hang = (_: unknown, { signal }: { signal: AbortSignal }): Promise<void> => {
        signal.addEventListener('abort', () => order.push('signal aborted'));
        return new Promise(() => undefined);
      };
      const router = Router.builder(server)
        .accept('a', { accept: hang, shutdown: goodbye('a', 100) })
        .accept('b', { accept: hang, shutdown: goodbye('b', 50) })
        .accept('c', {
          accept: hang,
          shutdown: () => {
            throw new Error('no goodbye');
          },
        })
        .spawn();
      void server.closed.then(() => order.push('endpoint closes'));
      await dial(place, client, server, 'a');
      await dial(place, client, server, 'b');
      await place.sleep(100);
      await Promise.all(
        [1, 2, 3].map(async (caller) => {
          await router.shutdown();
          order.push(`caller ${caller} hears, ${server.state}`);
        }),
      );
      expect(order).toEqual([
        'a shuts down',
        'b shuts down',
        'b is done',
        'a is done',
        'signal aborted',
        'signal aborted',
        'endpoint closes',
        'caller 1 hears, closed',
        'caller 2 hears, closed',
        'caller 3 hears, closed',
      ]);
      await router.shutdown();
      expect(order.length).toBe(10);
    }),
  );

  test(
    'a limit ends goodbyes that hang; the earliest of all callers counts; who comes meanwhile is refused',
    simulated(async (place) => {
      const server = await place.bind();
      const client = await place.bind();
      const router = Router.builder(server)
        .accept(ALPN, { accept: echo, shutdown: () => new Promise(() => undefined) })
        .spawn();
      const start = place.clock.now();
      const ends = [router.shutdown(), router.shutdown({ timeoutMs: 60_000 })];
      await place.sleep(1_000);
      ends.push(router.shutdown({ timeoutMs: 2_000 }), router.shutdown({ timeoutMs: 70_000 }));
      expect(await failure(dial(place, client, server))).toMatchObject(refused);
      await Promise.all(ends);
      expect(place.clock.now() - start).toBeGreaterThanOrEqual(3_000);
      expect(place.clock.now() - start).toBeLessThan(7_000);
    }),
  );

  test(
    'G12: an endpoint closed under its router: the handlers are told, and the router is done',
    simulated(async (place) => {
      const server = await place.bind();
      let goodbyes = 0;
      const router = Router.builder(server)
        .accept(ALPN, { accept: echo, shutdown: () => void goodbyes++ })
        .spawn();
      await server.close();
      await router.shutdown();
      expect(goodbyes).toBe(1);
      expect(router.isShutdown).toBe(true);
    }),
  );

  test(
    'inspect: a recording of the endpoint lists the states of the end in order, and none of the bytes that were served',
    simulated(async (place) => {
      const recorder = createRecorder();
      const server = await place.bind({ inspect: recorder.inspect });
      const client = await place.bind();
      const router = Router.builder(server).accept(ALPN, echo).spawn();
      const connection = await dial(place, client, server);
      expect(await ask(connection, 'not for the record')).toBe('not for the record');
      connection.close(0, '');
      await router.shutdown();
      const lines: readonly RecordedLine[] = recorder.lines;
      const states = lines.flatMap((line) =>
        line.kind === 'state' && line.actor.startsWith('router') && !line.actor.includes('/')
          ? [JSON.stringify(line.value)]
          : [],
      );
      const order = [...new Set(states)];
      expect(order).toEqual([
        '"listening"',
        '{"draining":{"handlers":"unlimited"}}',
        '{"draining":"endpoint"}',
        '"done"',
      ]);
      expect(recorder.toString()).not.toContain('not for the record');
    }),
  );
});
