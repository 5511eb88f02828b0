/** Scenarios E, finding endpoints of the local network by key alone: whole endpoints on a simulated link, in virtual time. */
import { describe, expect, test } from '@jest/globals';
import { encodeMdnsAnswer, serviceDomain } from '../../src/address-lookup/mdns-message.ts';
import { toAddr } from '../../src/base/socket-addr.ts';
import {
  EndpointAddr,
  MdnsError,
  MemoryLookup,
  SecretKey,
  parseAddr,
  type AddressLookupFailed,
  type ConnectWithOptsError,
  type EndpointOptions,
  type LookupError,
  type LookupFactory,
  type Platform,
} from '../../src/index.ts';
import { MDNS_RETRY_INTERVAL_MS } from '../../src/actors/mdns-lookup.ts';
import { MdnsLookup, type DiscoveryEvent, type MdnsLookupOptions } from '../../src/lookup/mdns.ts';
import { ALPN, echo, failure, simulated, type Simulated } from '../support/endpoints.ts';
import { SimLink } from '../support/sim-multicast.ts';

const STRANGER = SecretKey.fromBytes(new Uint8Array(32).fill(3)).publicKey;

/** A simulated place whose hosts are on one link. */
class Nearby {
  readonly place: Simulated;
  readonly link: SimLink;
  readonly lines: string[] = [];
  readonly listeners: MdnsLookup[] = [];

  constructor(place: Simulated) {
    this.place = place;
    this.link = new SimLink(place.world.clock);
  }

  /** For the option `lookup`. */
  mdns(options: MdnsLookupOptions = {}): LookupFactory {
    return (endpoint) => this.service({ ...endpoint, ...options }, endpoint.platform);
  }

  service(options: MdnsLookupOptions, platform: Platform): MdnsLookup {
    const ips = platform.interfaceState().interfaces.flatMap(({ prefixes }) => prefixes.map(({ ip }) => ip));
    // As systems do: IPv6 goes out from an address of the link.
    const bindMulticast = this.link.binder((family) =>
      toAddr(family === 4 ? ips[0]! : `fe80::${ips[0]!.split('.')[3]}`, 5_353),
    );
    return new MdnsLookup({ ...options, platform: { ...platform, bindMulticast } });
  }

  serve(options: MdnsLookupOptions = {}, more: EndpointOptions = {}) {
    return this.place.serve({ lookup: this.mdns(options), logger: this.logger, ...more });
  }

  bind(options: MdnsLookupOptions = {}, more: EndpointOptions = {}) {
    return this.place.bind({ lookup: this.mdns(options), logger: this.logger, ...more });
  }

  readonly logger = { debug: (line: string) => void this.lines.push(line) };

  /** One without an endpoint, on a host of its own. */
  listener(options: MdnsLookupOptions = {}): MdnsLookup {
    const host = this.place.world.addHost('listener', `10.0.0.${77 + this.listeners.length}`);
    const lookup = this.service({ advertise: false, ...options }, this.place.world.platformOf(host));
    this.listeners.push(lookup);
    return lookup;
  }

  /** Lines of the log about this. */
  get mdnsLines(): string[] {
    return this.lines.filter((line) => line.startsWith('iroh:lookup mdns')).map((line) => line.slice(17));
  }
}

/** Runs a scenario; afterwards nobody may be left in the groups. */
function nearby(body: (near: Nearby) => Promise<void>): () => Promise<void> {
  return simulated(async (place) => {
    const near = new Nearby(place);
    await body(near);
    await Promise.all(place.endpoints.map((endpoint) => endpoint.close({ timeoutMs: 1_000 })));
    await Promise.all(near.listeners.map((lookup) => lookup.close()));
    // What is under way lands.
    await place.sleep(10);
    expect(near.link.members.size).toBe(0);
  });
}

/** Takes down what happens. */
function takeDown(lookup: MdnsLookup): { events: DiscoveryEvent[]; isComplete: () => boolean } {
  const events: DiscoveryEvent[] = [];
  let isComplete = false;
  lookup.discoveryEvents$.subscribe({
    next: (event) => void events.push(event),
    complete: () => void (isComplete = true),
  });
  return { events, isComplete: () => isComplete };
}

/** What one lookup service said about a failed dial. */
async function lookupErrors(dial: Promise<unknown>): Promise<readonly LookupError[]> {
  const error = await failure(dial);
  expect(error.code).toBe('ConnectError.NoAddress.NoResults');
  return ((error.cause as ConnectWithOptsError).cause as AddressLookupFailed).errors;
}

async function answersOf(lookup: MdnsLookup, id: EndpointAddr['id'], signal = new AbortController().signal) {
  const answers = [];
  for await (const answer of lookup.resolve(id, { signal })) answers.push(answer);
  return answers;
}

describe('mDNS', () => {
  test(
    'two endpoints find each other by id alone, in both directions',
    nearby(async (near) => {
      const { place } = near;
      const [one, other] = [await near.serve(), await near.serve()];
      for (const [client, server] of [
        [one, other],
        [other, one],
      ] as const) {
        const accepted = place.acceptOn(server).then(echo);
        const connection = await client.connect(server.id, ALPN, place.wait);
        expect((await place.ask(connection)).answer).toEqual(new TextEncoder().encode('ping'));
        connection.close(0, '');
        await accepted;
      }
      const info = await one.remoteInfo(other.id);
      expect(info?.addrs.some(({ sources }) => sources.includes('mdns'))).toBe(true);
      // Everything went by the IPv4 group.
      expect(new Set(near.link.sent.map(({ family }) => family))).toEqual(new Set([4]));
    }),
  );

  test(
    'who dials first is served: whoever comes within ten seconds is found',
    nearby(async (near) => {
      const { place } = near;
      const client = await near.bind();
      const key = SecretKey.fromBytes(new Uint8Array(32).fill(9));
      const dial = client.connect(key.publicKey, ALPN, place.wait);
      await place.sleep(8_000);
      const server = await near.serve({}, { secretKey: key });
      await Promise.all([dial, place.acceptOn(server)]);
    }),
  );

  test(
    'an id that nobody has: ten seconds, and it is nobody’s error',
    nearby(async (near) => {
      const client = await near.bind();
      const start = near.place.clock.now();
      expect(await lookupErrors(client.connect(STRANGER, ALPN, near.place.wait))).toEqual([]);
      expect(near.place.clock.now() - start).toBe(10_000);
    }),
  );

  test(
    'questions end with their signal, and with the endpoint',
    nearby(async (near) => {
      const lookup = near.listener();
      const abort = new AbortController();
      const asked = failure(answersOf(lookup, STRANGER, abort.signal));
      const other = answersOf(lookup, STRANGER);
      await near.place.sleep(2_000);
      abort.abort(new Error('enough'));
      expect(await asked).toEqual(new Error('enough'));
      await lookup.close();
      await lookup.close();
      expect(await other).toEqual([]);
      expect(await answersOf(lookup, STRANGER)).toEqual([]);
      lookup.publish({ addr: new EndpointAddr(STRANGER) });
    }),
  );

  test(
    'a question hears what is known, and what changes while it waits',
    nearby(async (near) => {
      const server = await near.serve({}, { userData: 'before' });
      const lookup = near.listener();
      await near.place.sleep(100);
      const asked = answersOf(lookup, server.id);
      await near.place.sleep(4_000);
      server.userData = 'after';
      expect((await asked).map(({ userData }) => userData)).toEqual(['before', 'after']);
      expect(await answersOf(lookup, server.id)).toEqual([{ addr: server.addr, userData: 'after' }]);
      await lookup.close();
    }),
  );

  test(
    'only who advertises is found, only by who has the same service, and with the addresses that it chooses',
    nearby(async (near) => {
      const { place } = near;
      const silent = await near.bind({ advertise: false });
      const elsewhere = await near.bind({ serviceName: 'elsewhere' });
      const nowhere = await near.bind({ filter: () => [] });
      const partly = await near.bind(
        { filter: (addrs) => addrs.filter((each) => each.type === 'ip' && each.addr.port === 7) },
        { externalAddrs: [parseAddr('192.0.2.7:7'), parseAddr('192.0.2.8:8')] },
      );
      const listener = near.listener();
      const heard = takeDown(listener);
      await place.sleep(10_000);
      expect(heard.events).toEqual([
        {
          type: 'discovered',
          addr: new EndpointAddr(partly.id, [{ type: 'ip', addr: parseAddr('192.0.2.7:7') }]),
        },
      ]);
      for (const { id } of [silent, elsewhere, nowhere]) expect(await answersOf(listener, id)).toEqual([]);
      const [found] = await answersOf(near.listener({ serviceName: 'elsewhere' }), elsewhere.id).catch(
        () => [],
      );
      expect(found?.addr.equals(elsewhere.addr)).toBe(true);
    }),
  );
});

describe('who comes and goes', () => {
  test(
    'is told to all who listen: those who come late hear of those who are there',
    nearby(async (near) => {
      const { place } = near;
      const lookup = near.listener();
      const early = takeDown(lookup);
      await place.sleep(100);
      const server = await near.serve({}, { userData: 'hello' });
      await place.sleep(3_000);
      const discovered = { type: 'discovered', addr: server.addr, userData: 'hello' };
      const late = takeDown(lookup);
      expect([early.events, late.events]).toEqual([[discovered], [discovered]]);
      await server.close();
      await place.sleep(4_000);
      const expired = { type: 'expired', id: server.id };
      expect([early.events, late.events]).toEqual([
        [discovered, expired],
        [discovered, expired],
      ]);
      await lookup.close();
      expect([early.isComplete(), late.isComplete()]).toEqual([true, true]);
      expect(takeDown(lookup)).toMatchObject({ events: [] });
    }),
  );

  test(
    'also while somebody asks for them: upstream keeps silent then',
    nearby(async (near) => {
      const { place } = near;
      const lookup = near.listener();
      const heard = takeDown(lookup);
      const key = SecretKey.fromBytes(new Uint8Array(32).fill(9));
      const asked = answersOf(lookup, key.publicKey);
      await near.serve({}, { secretKey: key });
      await place.sleep(3_000);
      expect(heard.events).toHaveLength(1);
      expect(await asked).toHaveLength(1);
      await lookup.close();
    }),
  );
});

describe('sockets', () => {
  test(
    'nothing is opened or sent before somebody publishes, asks or listens',
    nearby(async (near) => {
      const lookup = near.listener();
      await near.place.sleep(10_000);
      expect([near.link.members.size, near.link.sent]).toEqual([0, []]);
      await lookup.close();
    }),
  );

  test(
    'a family that cannot be bound is left out, with a line in the log',
    nearby(async (near) => {
      const { place } = near;
      near.link.broken.add(4);
      const [client, server] = [await near.bind(), await near.serve()];
      await place.dial(client, server, new EndpointAddr(server.id));
      expect(near.mdnsLines[0]).toMatch(/^\w+: no IPv4: Error: addMembership ENODEV$/);
      expect(near.mdnsLines.filter((line) => line.includes('no IPv4'))).toHaveLength(2);
      expect(new Set(near.link.sent.map(({ family }) => family))).toEqual(new Set([6]));
    }),
  );

  test(
    'without any the endpoint works, questions say why nobody is found, and others find',
    nearby(async (near) => {
      const { place } = near;
      near.link.broken.add(4).add(6);
      const memory = new MemoryLookup();
      const client = await place.bind({ lookup: [near.mdns(), memory] });
      const server = await place.serve();
      const [error, ...rest] = await lookupErrors(client.connect(STRANGER, ALPN, place.wait));
      expect(rest).toEqual([]);
      expect(error).toMatchObject({ code: 'LookupError.Failed', provenance: 'mdns' });
      expect(error!.cause).toBeInstanceOf(MdnsError);
      expect(error!.cause).toMatchObject({ code: 'MdnsError.NoSocket', cause: { code: 'ENODEV' } });
      memory.add(place.addrOf(server));
      await place.dial(client, server, new EndpointAddr(server.id));
    }),
  );

  test(
    'they are tried again, and groups joined again, when the addresses change',
    nearby(async (near) => {
      const { place } = near;
      near.link.broken.add(4).add(6);
      const [client, server] = [await near.bind(), await near.serve()];
      await place.sleep(10_000);
      near.link.broken.clear();
      for (const endpoint of [client, server]) endpoint.externalAddrs.add(parseAddr('192.0.2.7:7'));
      await place.sleep(1_000);
      expect([...near.link.members].map(({ rejoined }) => rejoined)).toEqual([0, 0, 0, 0]);
      await place.dial(client, server, new EndpointAddr(server.id));
      server.externalAddrs.add(parseAddr('192.0.2.8:8'));
      await place.sleep(1_000);
      expect([...near.link.members].filter(({ rejoined }) => rejoined > 0)).toHaveLength(2);
    }),
  );

  test(
    'they are tried again after a while, also for who only listens, though no address changes; and when somebody asks',
    nearby(async (near) => {
      const { place } = near;
      near.link.broken.add(4).add(6);
      const listener = near.listener();
      const { events } = takeDown(listener);
      const server = await near.serve();
      await place.sleep(60_000);
      expect(near.mdnsLines.filter((line) => line.includes('no IPv'))).toHaveLength(2);
      near.link.broken.clear();
      await place.sleep(2 * MDNS_RETRY_INTERVAL_MS);
      expect(events).toMatchObject([{ type: 'discovered' }]);

      // Only the question opens this one: the timer comes later.
      near.link.broken.add(4).add(6);
      const asking = near.listener();
      expect(await failure(answersOf(asking, server.id))).toMatchObject({ code: 'MdnsError.NoSocket' });
      await place.sleep(1_000);
      near.link.broken.clear();
      const count = near.link.members.size;
      const abort = new AbortController();
      const asked = asking.resolve(server.id, { signal: abort.signal }).next();
      await place.sleep(100);
      expect(near.link.members.size).toBe(count + 2);
      abort.abort(new Error('enough'));
      await failure(asked);
    }),
  );

  test(
    'a group that could not be joined again is joined when there is a way to it',
    nearby(async (near) => {
      const { place } = near;
      const server = await near.serve();
      await place.sleep(1_000);
      near.link.broken.add(4);
      server.externalAddrs.add(parseAddr('192.0.2.7:7'));
      await place.sleep(60_000);
      expect(near.mdnsLines.filter((line) => line.includes('IPv4: not joined again'))).toHaveLength(1);
      expect(near.mdnsLines.filter((line) => line.includes('sending failed'))).toEqual([]);
      const isJoined = () => [...near.link.members].map(({ joinError }) => joinError === undefined);
      expect(isJoined()).toEqual([false, true]);
      near.link.broken.clear();
      await place.sleep(MDNS_RETRY_INTERVAL_MS);
      expect(isJoined()).toEqual([true, true]);
    }),
  );

  test(
    'closing again resolves when the sockets are free, too',
    nearby(async (near) => {
      const lookup = near.listener();
      takeDown(lookup);
      const [first, second] = [lookup.close(), lookup.close()];
      await second;
      expect(near.link.members.size).toBe(0);
      await first;
    }),
  );

  test(
    'what cannot be sent is told once, and tried again and again',
    nearby(async (near) => {
      const { place } = near;
      const server = await near.serve();
      near.link.failing.add('10.0.0.1');
      await place.sleep(10_000);
      expect(near.mdnsLines.filter((line) => line.includes('sending failed'))).toHaveLength(1);
      near.link.failing.clear();
      await place.dial(await near.bind(), server, new EndpointAddr(server.id));
    }),
  );

  test(
    'what comes from elsewhere than the link counts for nothing',
    nearby(async (near) => {
      const { place } = near;
      const lookup = near.listener();
      const heard = takeDown(lookup);
      await place.sleep(100);
      const domain = serviceDomain('irohv1');
      const forged = encodeMdnsAnswer(domain, {
        addr: new EndpointAddr(STRANGER, [{ type: 'ip', addr: parseAddr('192.0.2.1:1') }]),
      })!;
      near.link.send(toAddr('203.0.113.7', 5_353), forged);
      await place.sleep(100);
      expect([heard.events, Object.fromEntries(lookup.refused)]).toEqual([[], { offLink: 1 }]);
      near.link.send(toAddr('10.0.0.9', 5_353), forged);
      await place.sleep(100);
      expect(heard.events).toMatchObject([{ type: 'discovered' }]);
      await lookup.close();
    }),
  );

  test(
    'a platform without multicast is one without sockets; a name that is none is refused at once',
    nearby(async (near) => {
      const { place } = near;
      const client = await place.bind({ lookup: (endpoint) => new MdnsLookup({ ...endpoint }) });
      const [error] = await lookupErrors(client.connect(STRANGER, ALPN, place.wait));
      expect(error!.message).toBe('mdns: multicast works with neither IPv4 nor IPv6 here');
      const bad = place.bind({ lookup: near.mdns({ serviceName: 'x'.repeat(64) }) });
      expect(await failure(bad)).toMatchObject({
        code: 'BindError.AddressLookup',
        cause: { code: 'DnsError.Name' },
      });
    }),
  );

  test(
    'one service is for one endpoint',
    nearby(async (near) => {
      const lookup = near.listener();
      lookup.publish({ addr: new EndpointAddr(STRANGER) });
      const other = SecretKey.fromBytes(new Uint8Array(32).fill(4)).publicKey;
      expect(() => lookup.publish({ addr: new EndpointAddr(other) })).toThrow(RangeError);
      await lookup.close();
    }),
  );
});
