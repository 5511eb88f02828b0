/** The registry of address lookup services, without an endpoint, in virtual time. */
import { describe, expect, test } from '@jest/globals';
import { LookupRegistry, toNoAddressError, type LookupItem } from '../../../src/actors/lookup-registry.ts';
import type { AddressLookup, PublishedData } from '../../../src/address-lookup/service.ts';
import { MemoryLookup } from '../../../src/address-lookup.ts';
import { EndpointAddr } from '../../../src/base/endpoint-addr.ts';
import type { EndpointId } from '../../../src/base/endpoint-id.ts';
import { RelayUrl } from '../../../src/base/relay-url.ts';
import { parseAddr } from '../../../src/base/socket-addr.ts';
import { SecretKey } from '../../../src/crypto/keys.ts';
import { Log } from '../../../src/transport/log.ts';
import { SimClock } from '../../support/sim-clock.ts';

const ID = SecretKey.fromBytes(new Uint8Array(32).fill(1)).publicKey;
const OTHER = SecretKey.fromBytes(new Uint8Array(32).fill(2)).publicKey;
const ADDR = new EndpointAddr(ID).withIp(parseAddr('10.0.0.1:1'));
const WRONG = new EndpointAddr(ID).withIp(parseAddr('240.0.0.1:1'));
const RELAY = RelayUrl.parse('https://relay.example');

const empty: AddressLookup = { name: 'empty', resolve: () => new MemoryLookup().resolve(ID) };

const failing: AddressLookup = {
  name: 'failing',
  async *resolve() {
    throw new Error('broken');
  },
};
const hanging: AddressLookup = {
  name: 'hanging',
  async *resolve() {
    await new Promise(() => undefined);
  },
};

function phoneBook(name: string, ...addrs: EndpointAddr[]): MemoryLookup {
  const book = new MemoryLookup({ name });
  for (const addr of addrs) book.add(addr);
  return book;
}

function setup(...services: AddressLookup[]) {
  const clock = new SimClock();
  const lines: string[] = [];
  const log = new Log({ debug: (line) => void lines.push(line) });
  return { clock, lines, registry: new LookupRegistry({ clock, log, services }) };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Everything found and how it ended, in the making. */
function collect(registry: LookupRegistry, id: EndpointId = ID, signal = new AbortController().signal) {
  const seen = { items: [] as LookupItem[], error: undefined as unknown, isDone: false };
  void (async () => {
    try {
      for await (const item of registry.resolve(id, signal)) seen.items.push(item);
    } catch (error) {
      seen.error = error;
    }
    seen.isDone = true;
  })();
  return seen;
}

describe('resolve', () => {
  test('E03 (registry): an empty, a wrong and a right service: all that is known comes', async () => {
    const { registry } = setup(empty, phoneBook('wrong', WRONG), phoneBook('right', ADDR));
    const seen = collect(registry);
    await turn();
    expect(seen).toEqual({
      items: [
        { provenance: 'wrong', addr: WRONG },
        { provenance: 'right', addr: ADDR },
      ],
      error: undefined,
      isDone: true,
    });
  });

  test('E05 (registry): a service that fails does not hide another', async () => {
    const throwing: AddressLookup = {
      name: 'throwing',
      resolve: () => {
        throw new Error('at once');
      },
    };
    const { lines, registry } = setup(failing, throwing, phoneBook('right', ADDR));
    const seen = collect(registry);
    await turn();
    expect(seen).toMatchObject({ items: [{ provenance: 'right' }], error: undefined, isDone: true });
    expect(lines).toEqual([
      'iroh:lookup failing failed: failing: broken',
      'iroh:lookup throwing failed: throwing: at once',
    ]);
  });

  test('E07 (registry): without a service it fails at once', async () => {
    const seen = collect(setup().registry);
    await turn();
    expect(seen.error).toMatchObject({ code: 'AddressLookupFailed.NoServiceConfigured', errors: [] });
    expect(toNoAddressError(seen.error as never)).toMatchObject({
      code: 'ConnectError.NoAddress.NoServiceConfigured',
      cause: { code: 'ConnectWithOptsError.NoAddress', cause: seen.error },
    });
  });

  test('E08 (registry): without a result it fails with what went wrong; a hanging service is given up', async () => {
    const liar: AddressLookup = {
      name: 'liar',
      resolve: () => phoneBook('x', new EndpointAddr(OTHER)).resolve(OTHER),
    };
    const { clock, registry } = setup(empty, failing, hanging, liar);
    const seen = collect(registry);
    await turn();
    clock.advanceTo(9_999);
    await turn();
    expect(seen.isDone).toBe(false);
    clock.advanceTo(10_000);
    await turn();
    expect(seen).toMatchObject({
      items: [],
      error: {
        code: 'AddressLookupFailed.NoResults',
        errors: [
          { code: 'LookupError.Failed', provenance: 'failing', cause: { message: 'broken' } },
          { code: 'LookupError.TimedOut', provenance: 'hanging' },
          { code: 'LookupError.Failed', provenance: 'liar' },
        ],
      },
      isDone: true,
    });
    expect(toNoAddressError(seen.error as never).code).toBe('ConnectError.NoAddress.NoResults');
    expect(clock.pendingTimers).toBe(0);
  });

  test('E09 (registry): a hanging service delays no answer of another', async () => {
    const { clock, registry } = setup(hanging, phoneBook('right', ADDR));
    const unknown = collect(registry, OTHER);
    const known = collect(registry);
    await turn();
    expect(known.items).toEqual([{ provenance: 'right', addr: ADDR }]);
    expect(unknown).toMatchObject({ items: [], isDone: false });
    clock.advanceTo(10_000);
    await turn();
    expect(known).toMatchObject({ error: undefined, isDone: true });
    expect(unknown.error).toMatchObject({ code: 'AddressLookupFailed.NoResults' });
  });

  test('a service without a limit may take its time, and an abort ends it at once', async () => {
    let isAborted = false;
    const patient: AddressLookup = {
      name: 'patient',
      timeLimitMs: Infinity,

      async *resolve(_, { signal }) {
        signal.addEventListener('abort', () => (isAborted = true));
        await new Promise(() => undefined);
      },
    };
    const { clock, registry } = setup(patient);
    const abort = new AbortController();
    const seen = collect(registry, ID, abort.signal);
    await turn();
    expect(clock.pendingTimers).toBe(0);
    clock.advanceTo(70_000);
    await turn();
    expect(seen.isDone).toBe(false);
    abort.abort(new Error('enough'));
    await turn();
    expect(seen).toMatchObject({ error: { message: 'enough' }, isDone: true });
    expect(isAborted).toBe(true);
  });

  test('a flood of answers waits at its source, and ends with the reader', async () => {
    let count = 0;
    const flood: AddressLookup = {
      name: 'flood',

      async *resolve() {
        for (;;) {
          count++;
          yield ADDR;
        }
      },
    };
    const { clock, registry } = setup(flood);
    const items = registry.resolve(ID, new AbortController().signal);
    await items.next();
    await turn();
    expect(count).toBeLessThanOrEqual(2);
    await items.return();
    await turn();
    expect(count).toBeLessThanOrEqual(2);
    expect(clock.pendingTimers).toBe(0);
  });
});

describe('publish', () => {
  const own = { addr: ADDR.withRelay(RELAY), userData: 'x' };
  const recorder = () => {
    const published: PublishedData[] = [];
    return {
      published,
      service: { name: 'recorder', publish: (data: PublishedData) => void published.push(data) },
    };
  };

  test('E12 (registry): services are told what the filter lets through; another filter counts from the next time on', () => {
    const { published, service } = recorder();
    const { registry } = setup(service);
    registry.setFilter((addrs) => addrs.filter(({ type }) => type === 'relay'));
    registry.publish(own);
    const relayOnly = { addr: new EndpointAddr(ID).withRelay(RELAY), userData: 'x' };
    expect(published).toEqual([relayOnly]);
    registry.setFilter((addrs) => addrs.filter(({ type }) => type === 'ip'));
    expect(published.length).toBe(1);
    registry.publish(own);
    expect(published).toEqual([relayOnly, { addr: ADDR, userData: 'x' }]);
  });

  test('E25 (registry): a service added later is told at once; cleared, it hears nothing more', () => {
    const { registry } = setup();
    registry.publish(own);
    const { published, service } = recorder();
    registry.add(service);
    expect(published).toEqual([own]);
    expect(registry.size).toBe(1);
    registry.clear();
    registry.publish(own);
    expect([published.length, registry.size]).toEqual([1, 0]);
  });

  test('a service or a filter that throws is reported, and others are told', async () => {
    const { published, service } = recorder();
    const { lines, registry } = setup(
      {
        name: 'bad',
        publish: () => {
          throw new Error('no');
        },
      },
      { name: 'async', publish: () => Promise.reject(new Error('later')) as never },
      service,
    );
    registry.publish(own);
    await turn();
    expect(published).toEqual([own]);
    registry.setFilter(() => {
      throw new Error('filter');
    });
    registry.publish(own);
    expect(published.length).toBe(1);
    expect(lines).toEqual([
      'iroh:lookup bad, publishing, failed: no',
      'iroh:lookup async, publishing, failed: later',
      'iroh:lookup the publish filter failed: filter',
    ]);
  });

  test('close ends all services, and waits a second at most for one that hangs', async () => {
    let isClosed = false;
    const { clock, registry } = setup(
      { name: 'hangs', close: () => new Promise(() => undefined) },
      { name: 'closes', close: () => void (isClosed = true) },
    );
    let isDone = false;
    void registry.close().then(() => (isDone = true));
    await turn();
    expect([isClosed, isDone]).toEqual([true, false]);
    clock.advanceTo(1_000);
    await turn();
    expect([isDone, clock.pendingTimers]).toEqual([true, 0]);
  });
});

describe('MemoryLookup', () => {
  test('E13 (registry): add, set, get, delete; added addresses join those that are known', async () => {
    const book = new MemoryLookup();
    expect(book.get(ID)).toBeUndefined();
    book.add(ADDR);
    book.add(new EndpointAddr(ID).withRelay(RELAY).toTicket());
    book.add(new EndpointAddr(ID).withRelay(RelayUrl.parse('https://other.example')));
    const all = ADDR.withRelay(RELAY).withRelay(RelayUrl.parse('https://other.example'));
    expect(book.get(ID)!.equals(all)).toBe(true);
    const { registry } = setup(book);
    const seen = collect(registry);
    await turn();
    expect(seen.items).toEqual([{ provenance: 'memory', addr: all }]);
    expect(book.set(WRONG)!.equals(all)).toBe(true);
    expect(book.delete(ID)).toBe(WRONG);
    expect(book.get(ID)).toBeUndefined();
    expect(new MemoryLookup({ name: 'mine' }).name).toBe('mine');
  });
});
