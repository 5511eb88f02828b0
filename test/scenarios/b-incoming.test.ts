/** What an acceptor may do with an attempt to connect. */
import { describe, expect, test } from '@jest/globals';
import { utf8 } from '../../src/base/bytes.ts';
import type { Connection, Endpoint, EndpointAddr, Incoming } from '../../src/index.ts';
import { ALPN, failure, onLoopback, simulated, WAIT } from '../support/endpoints.ts';

describe('an attempt', () => {
  /** Starts to dial and hands over what arrives. */
  const attempt = async (
    place: { addrOf(endpoint: Endpoint): EndpointAddr },
    client: Endpoint,
    server: Endpoint,
  ): Promise<{ incoming: Incoming; dialled: Promise<Connection> }> => {
    const arrived = server.accept(WAIT);
    const dialled = client.connect(place.addrOf(server), ALPN, WAIT);
    dialled.catch(() => undefined);
    return { incoming: (await arrived)!, dialled };
  };
  const refused = {
    code: 'ConnectError.Connection',
    cause: { cause: { code: 'ConnectionError.ConnectionClosed', transportCode: 'CONNECTION_REFUSED' } },
  };

  test(
    'B06: who looks at several outcomes of a handshake that fails, and waits for one, hears of one',
    onLoopback(async (place) => {
      const unhandled: unknown[] = [];
      const note = (reason: unknown): void => void unhandled.push(reason);
      process.on('unhandledRejection', note);
      try {
        const server = await place.serve();
        const client = await place.bind();
        const arrived = server.accept(WAIT);
        const connecting = client.dial(place.addrOf(server), 'another protocol');
        const accepting = (await arrived)!.accept();
        const looked = [accepting.alpn, accepting.connected, connecting.alpn, connecting.connected];
        expect(looked).toHaveLength(4);
        expect(await failure(accepting.connected)).toMatchObject({ name: 'ConnectionError' });
        expect(await failure(connecting)).toMatchObject({ code: 'ConnectError.Connection' });
        await new Promise((resolve) => setImmediate(resolve));
        expect(unhandled).toEqual([]);
      } finally {
        process.off('unhandledRejection', note);
      }
    }),
  );

  test(
    'B12: where it comes from is the same before and after acceptance',
    onLoopback(async (place) => {
      const server = await place.serve();
      const client = await place.bind();
      const { incoming, dialled } = await attempt(place, client, server);
      const from = place.addrOf(client).ips[0]!;
      expect(incoming.remoteAddr).toEqual({ type: 'ip', addr: from });
      expect(incoming.localAddr).toBe(place.addrOf(server).ips[0]);
      expect(incoming.remoteAddrValidated).toBe(false);
      expect(incoming.offeredAlpns).toEqual([utf8(ALPN)]);
      const accepting = incoming.accept();
      expect(accepting.remoteAddr).toEqual(incoming.remoteAddr);
      const theirs = await accepting;
      expect(theirs.remoteId.equals(client.id)).toBe(true);
      expect((await dialled).remoteId.equals(server.id)).toBe(true);
      expect([theirs.side, (await dialled).side]).toEqual(['server', 'client']);
    }),
  );

  test(
    'B15: disposed of undecided, it is refused',
    onLoopback(async (place) => {
      const server = await place.serve();
      const client = await place.bind();
      const { incoming, dialled } = await attempt(place, client, server);
      incoming[Symbol.dispose]();
      expect(await failure(dialled)).toMatchObject(refused);
      // Disposal is idempotent, decisions are not.
      incoming[Symbol.dispose]();
      for (const decide of ['accept', 'refuse', 'retry', 'ignore'] as const) {
        expect(() => incoming[decide]()).toThrow(
          expect.objectContaining({ code: 'IncomingError.AlreadyDecided' }),
        );
      }
    }),
  );

  test(
    'B15: refused explicitly, and disposal after acceptance does nothing',
    onLoopback(async (place) => {
      const server = await place.serve();
      const client = await place.bind();
      const first = await attempt(place, client, server);
      first.incoming.refuse();
      expect(await failure(first.dialled)).toMatchObject(refused);
      const second = await attempt(place, client, server);
      const accepting = second.incoming.accept();
      second.incoming[Symbol.dispose]();
      expect((await accepting).remoteId.equals(client.id)).toBe(true);
      await second.dialled;
    }),
  );

  test(
    'B15: retry makes the peer come back with a proven address',
    onLoopback(async (place) => {
      const server = await place.serve();
      const client = await place.bind();
      const { incoming, dialled } = await attempt(place, client, server);
      incoming.retry();
      const again = (await server.accept(WAIT))!;
      expect(again.remoteAddrValidated).toBe(true);
      expect(() => again.retry()).toThrow(expect.objectContaining({ code: 'RetryError.AlreadyValidated' }));
      // Still undecided after the error.
      await again.accept();
      expect((await dialled).remoteId.equals(server.id)).toBe(true);
    }),
  );

  test(
    'B15: ignored, the dialler times out',
    simulated(async (place) => {
      const server = await place.serve();
      const client = await place.bind();
      const dialled = failure(client.connect(place.addrOf(server), ALPN));
      let attempts = 0;
      const ignoring = (async () => {
        for await (const incoming of server.incoming()) {
          attempts++;
          incoming.ignore();
        }
      })();
      expect(await dialled).toMatchObject({ cause: { cause: { code: 'ConnectionError.TimedOut' } } });
      expect(attempts).toBeGreaterThan(0);
      await server.close();
      await ignoring;
    }),
  );

  test(
    'B15: held until the endpoint is closed, it is refused and cannot be accepted any more',
    simulated(async (place) => {
      const server = await place.serve();
      const client = await place.bind();
      const arrived = server.accept();
      const dialled = failure(client.connect(place.addrOf(server), ALPN));
      const incoming = (await arrived)!;
      const closing = server.close();
      expect(() => incoming.accept()).toThrow(expect.objectContaining({ code: 'EndpointError.Closed' }));
      incoming[Symbol.dispose]();
      await closing;
      incoming[Symbol.dispose]();
      expect(await dialled).toMatchObject(refused);
    }),
  );

  test(
    'B15: held longer than its dialler waits, it cannot be accepted any more',
    simulated(async (place) => {
      const server = await place.serve();
      const client = await place.bind();
      const arrived = server.accept();
      const dialled = failure(client.connect(place.addrOf(server), ALPN));
      const incoming = (await arrived)!;
      await dialled;
      await place.sleep(1_000);
      expect(() => incoming.accept()).toThrow(expect.objectContaining({ code: 'ConnectionError.TimedOut' }));
    }),
  );
});
