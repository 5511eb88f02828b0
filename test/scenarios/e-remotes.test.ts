/** Scenarios E on whole endpoints: finding a peer by its id, and how long it is remembered. */
import { describe, expect, test } from '@jest/globals';
import { Deferred } from '../../src/actors/wait.ts';
import { parseAddr } from '../../src/base/socket-addr.ts';
import {
  EndpointAddr,
  MemoryLookup,
  SecretKey,
  type AddressLookup,
  type EndpointId,
  type PublishedData,
  type TransportAddr,
} from '../../src/index.ts';
import { ALPN, engineOf, failure, simulated, type Simulated } from '../support/endpoints.ts';

/** Nobody is there. */
const NOWHERE = parseAddr('10.7.7.7:7777');
/** Reserved, and routed by nobody. */
const UNROUTABLE = parseAddr('240.0.0.1:1000');

/** A phone book that endpoints write themselves into. */
class SharedBook implements AddressLookup {
  readonly name = 'shared';
  readonly told: PublishedData[] = [];
  readonly #book = new MemoryLookup();

  publish(data: PublishedData): void {
    this.told.push(data);
    this.#book.set(data.addr);
  }

  resolve(id: EndpointId): AsyncIterable<EndpointAddr> {
    return this.#book.resolve(id);
  }
}

const empty: AddressLookup = { name: 'empty', resolve: (id) => new MemoryLookup().resolve(id) };
const failing: AddressLookup = {
  name: 'failing',
  async *resolve() {
    throw new Error('no service today');
  },
};

/** Says the same of everybody. */
function telling(name: string, ...addrs: TransportAddr[]): AddressLookup {
  return {
    name,
    async *resolve(id) {
      yield new EndpointAddr(id, addrs);
    },
  };
}

const wrong = telling('wrong', { type: 'ip', addr: NOWHERE });

/** Knows what the test says once the test says it, however long that takes. */
class SlowLookup implements AddressLookup {
  readonly name = 'slow';
  readonly timeLimitMs = Infinity;
  readonly answer = new Deferred<EndpointAddr>();
  questions = 0;

  async *resolve(): AsyncGenerator<EndpointAddr, void, undefined> {
    this.questions++;
    yield await this.answer.promise;
  }
}

/** A server, and what finds it. */
async function serverWithBook(place: Simulated) {
  const book = new SharedBook();
  const server = await place.serve({ lookup: book });
  return { book, server };
}

describe('lookup', () => {
  for (const [name, others] of [
    ['E01: a service that both endpoints use', []],
    ['E02: an empty service beside the right one', [empty]],
    ['E03: an empty one, one that is wrong, and the right one', [empty, wrong]],
    ['E05: one that fails, and then the right one', [failing]],
  ] as const)
    test(
      `${name}: the id alone is enough`,
      simulated(async (place) => {
        const { book, server } = await serverWithBook(place);
        const client = await place.bind({ lookup: [...others, book] });
        const accepted = place.acceptOn(server);
        const startedAt = place.clock.now();
        const connection = await client.connect(server.id, ALPN, place.wait);
        expect(place.clock.now() - startedAt).toBeLessThan(100);
        expect((await accepted).remoteId.equals(client.id)).toBe(true);
        expect(connection.paths.map(({ remoteAddr }) => remoteAddr)).toEqual(place.addrOf(server).addrs);
      }),
    );

  test(
    'E04: only a wrong service: the dial begins, and the connection fails by its time limit',
    simulated(async (place) => {
      const client = await place.bind({ lookup: wrong });
      const startedAt = place.clock.now();
      const transport = { maxIdleTimeoutMs: 3_000 };
      const error = await failure(client.connect(SecretKey.generate().publicKey, ALPN, { transport }));
      expect(error).toMatchObject({
        code: 'ConnectError.Connection',
        cause: { cause: { code: 'ConnectionError.TimedOut' } },
      });
      expect(place.clock.now() - startedAt).toBeGreaterThanOrEqual(3_000);
      expect(place.clock.now() - startedAt).toBeLessThan(10_000);
    }),
  );

  test(
    'E06: a caller who is wrong is not waited for: later first flights go to what is found as well',
    simulated(async (place) => {
      const server = await place.serve();
      const lookup = new SlowLookup();
      const client = await place.bind({ lookup });
      const addr = new EndpointAddr(server.id).withIp(UNROUTABLE);
      const dialled = client.connect(addr, ALPN, place.wait);
      place.mustSettle('the dial', dialled);
      await place.sleep(100);
      const accepted = place.acceptOn(server);
      lookup.answer.resolve(place.addrOf(server));
      const connection = await dialled;
      await accepted;
      expect(connection.paths.map(({ remoteAddr }) => remoteAddr)).toEqual(place.addrOf(server).addrs);
    }),
  );

  test(
    'E07: without a service an id alone fails at once',
    simulated(async (place) => {
      const client = await place.bind();
      const startedAt = place.clock.now();
      expect(await failure(client.connect(SecretKey.generate().publicKey, ALPN))).toMatchObject({
        code: 'ConnectError.NoAddress.NoServiceConfigured',
      });
      expect(place.clock.now()).toBe(startedAt);
    }),
  );

  test(
    'E08: when no service knows anything the dial fails with what went wrong in each',
    simulated(async (place) => {
      const client = await place.bind({ lookup: [empty, failing] });
      const error = await failure(client.connect(SecretKey.generate().publicKey, ALPN));
      expect(error).toMatchObject({
        code: 'ConnectError.NoAddress.NoResults',
        cause: { cause: { errors: [{ provenance: 'failing', message: 'failing: no service today' }] } },
      });
    }),
  );

  test(
    'E09: a service that hangs holds up nobody whom another one knows',
    simulated(async (place) => {
      const { book, server } = await serverWithBook(place);
      const hanging = new SlowLookup();
      const client = await place.bind({ lookup: [hanging, book] });
      const unknown = SecretKey.generate().publicKey;
      const giveUp = new AbortController();
      let isPending = true;
      const pending = client.connect(unknown, ALPN, { signal: giveUp.signal }).finally(() => {
        isPending = false;
      });
      place.mustSettle('the pending dial', pending);
      await place.sleep(200);
      const startedAt = place.clock.now();
      const accepted = place.acceptOn(server);
      await client.connect(server.id, ALPN, place.wait);
      await accepted;
      expect(place.clock.now() - startedAt).toBeLessThan(1_000);
      expect([isPending, hanging.questions]).toEqual([true, 2]);
      giveUp.abort(new Error('enough'));
      expect((await failure(pending)).message).toBe('enough');
    }),
  );

  test(
    'E10: a lookup may take longer than a remote that nobody needs is kept',
    simulated(async (place) => {
      const server = await place.serve();
      const lookup = new SlowLookup();
      const client = await place.bind({ lookup });
      const accepted = place.acceptOn(server);
      const dialled = client.connect(server.id, ALPN, place.wait);
      await place.sleep(90_000);
      lookup.answer.resolve(place.addrOf(server));
      expect((await dialled).remoteId.equals(server.id)).toBe(true);
      await accepted;
    }),
  );

  test(
    'E11: two dials while one lookup is under way: neither fails early, both end with its answer',
    simulated(async (place) => {
      const server = await place.serve();
      const lookup = new SlowLookup();
      const client = await place.bind({ lookup });
      const dials = [server.id, new EndpointAddr(server.id)].map((remote) =>
        client.connect(remote, ALPN, place.wait),
      );
      await place.sleep(5_000);
      lookup.answer.resolve(place.addrOf(server));
      const accepted = [await place.acceptOn(server), await place.acceptOn(server)];
      const connections = await Promise.all(dials);
      expect([accepted.length, connections.length, lookup.questions]).toEqual([2, 2, 1]);
    }),
  );

  test(
    'E11: nothing is found: both fail, and each with the reason',
    simulated(async (place) => {
      const lookup = new SlowLookup();
      const client = await place.bind({ lookup });
      const { publicKey } = SecretKey.generate();
      const dials = [client.connect(publicKey, ALPN), client.connect(publicKey, ALPN)];
      for (const dial of dials) place.mustSettle('a dial', dial);
      await place.sleep(1_000);
      lookup.answer.reject(new Error('gone'));
      for (const dial of dials)
        expect(await failure(dial)).toMatchObject({ code: 'ConnectError.NoAddress.NoResults' });
    }),
  );

  test(
    'B14: a dial that is given up while its peer is looked up leaves nothing behind',
    simulated(async (place) => {
      const lookup = new SlowLookup();
      const client = await place.bind({ lookup });
      const { publicKey } = SecretKey.generate();
      const dialled = client.connect(publicKey, ALPN, { timeoutMs: 500 });
      expect((await failure(dialled)).name).toBe('TimeoutError');
      // A lookup that has no limit keeps nobody.
      await place.sleep(61_000);
      expect(await client.remoteInfo(publicKey)).toBeUndefined();
    }),
  );

  test(
    'B14: a dial that is given up at any moment of its beginning leaves no connection',
    simulated(async (place) => {
      const { client, server, ours } = await place.connect();
      for (let moments = 0; moments < 40; moments++) {
        const giveUp = new AbortController();
        const dial = client.connect(place.addrOf(server), ALPN, { signal: giveUp.signal });
        place.mustSettle('a dial', dial);
        for (let moment = 0; moment < moments; moment++) await Promise.resolve();
        giveUp.abort(new Error('not now'));
        expect((await failure(dial)).message).toBe('not now');
      }
      // For the peer to hear of it, which is long before they would time out.
      await place.sleep(5_000);
      expect(engineOf(ours).undrainedCount).toBe(1);
    }),
  );

  test(
    'B19: addresses of our own are not dialled, whoever gives them',
    simulated(async (place) => {
      const client = await place.bind();
      const addr = new EndpointAddr(SecretKey.generate().publicKey, place.addrOf(client).addrs);
      const lookup = telling('wrong', ...place.addrOf(client).addrs);
      expect(await failure(client.connect(addr, ALPN))).toMatchObject({
        code: 'ConnectError.NoAddress.NoServiceConfigured',
      });
      client.lookup.add(lookup);
      expect(await failure(client.connect(addr, ALPN))).toMatchObject({
        code: 'ConnectError.NoAddress.NoResults',
      });
      expect(place.hostOf(client).up.passed).toBe(0);
    }),
  );
});

describe('what services are told', () => {
  test(
    'E12: only what the filter lets through; another one counts from the next change on',
    simulated(async (place) => {
      const site = await place.addRelay();
      const service = new SharedBook();
      const endpoint = await place.bind({
        ...place.using(site),
        lookup: service,
        publishFilter: (addrs) => addrs.filter(({ type }) => type === 'relay'),
      });
      await endpoint.online(place.wait);
      const last = () => service.told.at(-1)!.addr.addrs.map(({ type }) => type);
      expect(last()).toEqual(['relay']);
      const count = service.told.length;
      endpoint.lookup.setFilter((addrs) => addrs.filter(({ type }) => type === 'ip'));
      expect(service.told.length).toBe(count);
      endpoint.externalAddrs.add('198.51.100.1:5');
      await place.sleep(0);
      expect(last()).toEqual(['ip', 'ip']);
    }),
  );

  test(
    'E13: a phone book in memory: what is put in is found, with its name',
    simulated(async (place) => {
      const server = await place.serve();
      const book = new MemoryLookup({ name: 'mine' });
      const client = await place.bind({ lookup: book });
      book.add(place.addrOf(server));
      const accepted = place.acceptOn(server);
      await client.connect(server.id, ALPN, place.wait);
      await accepted;
      expect((await client.remoteInfo(server.id))?.addrs).toMatchObject([
        { sources: ['mine', 'connection'] },
      ]);
      expect(book.delete(server.id)).toEqual(place.addrOf(server));
      expect(book.get(server.id)).toBeUndefined();
    }),
  );

  test(
    'E24: user data is told when it changes, and is refused when it is too long',
    simulated(async (place) => {
      const service = new SharedBook();
      const endpoint = await place.bind({ lookup: service, userData: 'first' });
      await place.sleep(10);
      const told = () => service.told.map(({ userData }) => userData);
      expect(told().at(-1)).toBe('first');
      const { length } = told();
      endpoint.userData = 'first';
      expect(told().length).toBe(length);
      endpoint.userData = 'second';
      endpoint.userData = undefined;
      expect(told().slice(length)).toEqual(['second', undefined]);
      endpoint.userData = 'ä'.repeat(122);
      expect(() => (endpoint.userData = 'ä'.repeat(123))).toThrow(RangeError);
      expect(endpoint.userData).toBe('ä'.repeat(122));
      await endpoint.close();
      const closed = told().length;
      endpoint.userData = 'late';
      expect(told().length).toBe(closed);
      expect((await failure(place.bind({ userData: 'x'.repeat(246) }))).name).toBe('RangeError');
    }),
  );

  test(
    'E25: a service that is added is told at once what was told last',
    simulated(async (place) => {
      const endpoint = await place.bind({ userData: 'here' });
      await place.sleep(1_000);
      const service = new SharedBook();
      endpoint.lookup.add(service);
      expect(service.told).toEqual([{ addr: endpoint.addr, userData: 'here' }]);
      expect(endpoint.lookup.size).toBe(1);
      endpoint.lookup.clear();
      expect(endpoint.lookup.size).toBe(0);
    }),
  );
});

describe('how long a peer is remembered', () => {
  test(
    'E16: a dial at the very end of a remote goes to its successor',
    simulated(async (place) => {
      const { client, server, ours } = await place.connect();
      ours.close();
      // The command that closed the connection was the last: a minute after it the remote ends.
      for (const late of [-1, 0, 1]) {
        await place.sleep(60_000 + late);
        const { ours: next } = await place.dial(client, server);
        next.close();
        await place.sleep(0);
      }
      expect((await client.remoteInfo(server.id))?.addrs.length).toBe(1);
    }),
  );
});
