/** Scenarios E, finding endpoints by key alone: pkarr over HTTP, DNS, the publisher and its server in virtual time. */
import { describe, expect, test } from '@jest/globals';
import { SignedPacket } from '../../src/address-lookup/signed-packet.ts';
import { utf8 } from '../../src/base/bytes.ts';
import type { AddressLookupFailed, ConnectWithOptsError, LookupError } from '../../src/base/errors.ts';
import {
  DnsLookup,
  EndpointAddr,
  PkarrPublisher,
  PkarrResolver,
  RelayUrl,
  SecretKey,
  parseAddr,
  type Endpoint,
  type LookupFactory,
  type TransportAddr,
} from '../../src/index.ts';
import { PkarrSite } from '../support/pkarr-site.ts';
import { ALPN, echo, failure, simulated, type Simulated } from '../support/endpoints.ts';

const { url } = PkarrSite;
const publisher: LookupFactory = (endpoint) => new PkarrPublisher({ ...endpoint, url });
const resolver: LookupFactory = (endpoint) => new PkarrResolver({ ...endpoint, url });
/** Publishes all addresses: what there is without a relay. */
const openPublisher: LookupFactory = (endpoint) =>
  new PkarrPublisher({ ...endpoint, url, filter: (addrs) => addrs });

const ip = (text: string): TransportAddr => ({ type: 'ip', addr: parseAddr(text) });
const relay = (href: string): TransportAddr => ({ type: 'relay', url: RelayUrl.parse(href) });

/** What one lookup service said about a failed dial. */
async function lookupErrors(dial: Promise<unknown>): Promise<readonly LookupError[]> {
  const error = await failure(dial);
  expect(error.code).toBe('ConnectError.NoAddress.NoResults');
  return ((error.cause as ConnectWithOptsError).cause as AddressLookupFailed).errors;
}

/** A publisher on its own, of a key that the test has. */
function publisherOf(place: Simulated, key = SecretKey.fromBytes(new Uint8Array(32).fill(9))) {
  const platform = place.world.platformOf(place.world.addHost('publisher', '10.9.0.1'));
  const service = new PkarrPublisher({ url, secretKey: key, platform });
  const say = (...addrs: TransportAddr[]): void =>
    service.publish({ addr: new EndpointAddr(key.publicKey, addrs) });
  return { service, say, id: key.publicKey };
}

describe('pkarr', () => {
  test(
    'E15: published, resolved, connected by id alone',
    simulated(async (place) => {
      const site = new PkarrSite(place.world);
      const relays = place.using(await place.addRelay());
      const server = await place.serve({ ...relays, lookup: publisher, userData: 'hello' });
      const client = await place.bind({ ...relays, lookup: resolver });
      await place.online(server, client);
      await place.sleep(1_000);
      // Relays only: nobody learns where an endpoint is by asking for it.
      expect(site.recordsOf(server.id)).toEqual(['relay=https://relay1.example./', 'user-data=hello']);
      expect(site.recordsOf(client.id)).toBeUndefined();
      const accepted = place.acceptOn(server).then(echo);
      const connection = await client.connect(server.id, ALPN, place.wait);
      expect((await place.ask(connection)).answer).toEqual(utf8('ping'));
      connection.close(0, 'done');
      await accepted;
    }),
  );

  test(
    'E15: addresses are found without any relay, and what the application says beside them',
    simulated(async (place) => {
      const site = new PkarrSite(place.world);
      const server = await place.serve({ lookup: openPublisher, userData: 'a text' });
      await place.sleep(1_000);
      const client = await place.bind({ lookup: resolver });
      await place.dial(client, server, new EndpointAddr(server.id));
      const platform = place.world.platformOf(place.hostOf(client));
      const found = [];
      const { signal } = new AbortController();
      for await (const answer of new PkarrResolver({ url, platform }).resolve(server.id, { signal }))
        found.push(answer);
      expect(found).toEqual([{ addr: server.addr, userData: 'a text' }]);
      expect(site.recordsOf(server.id)).toContain('user-data=a text');
    }),
  );

  test(
    'E15: the record follows the home relay',
    simulated(async (place) => {
      const site = new PkarrSite(place.world);
      const first = await place.addRelay({ delayMs: 5 });
      const second = await place.addRelay({ delayMs: 20 });
      const relays = place.using(first, second);
      const server = await place.serve({ ...relays, lookup: publisher });
      await place.online(server);
      await place.sleep(1_000);
      expect(site.recordsOf(server.id)).toEqual(['relay=https://relay1.example./']);
      first.goDown();
      const isAtSecond = (): boolean => server.homeRelay?.url.href === 'https://relay2.example./';
      while (!isAtSecond()) await place.sleep(1_000);
      await place.sleep(100);
      expect(site.recordsOf(server.id)).toEqual(['relay=https://relay2.example./']);
      const client = await place.bind({ ...place.using(second), lookup: resolver });
      await place.dial(client, server, new EndpointAddr(server.id));
    }),
  );

  test(
    'an endpoint that nobody knows is nobody’s error',
    simulated(async (place) => {
      const site = new PkarrSite(place.world);
      const client = await place.bind({ lookup: resolver });
      const stranger = SecretKey.fromBytes(new Uint8Array(32).fill(3)).publicKey;
      expect(await lookupErrors(client.connect(stranger, ALPN, place.wait))).toEqual([]);
      expect(site.requests.map(({ method, status }) => [method, status])).toEqual([['GET', 404]]);
    }),
  );

  test(
    'minimal asks and tells nobody',
    simulated(async (place) => {
      const site = new PkarrSite(place.world);
      const client = await place.bind();
      await place.sleep(10_000);
      const stranger = SecretKey.fromBytes(new Uint8Array(32).fill(3)).publicKey;
      const error = await failure(client.connect(stranger, ALPN, place.wait));
      expect(error.code).toBe('ConnectError.NoAddress.NoServiceConfigured');
      expect(site.requests).toEqual([]);
    }),
  );
});

describe('the publisher', () => {
  test(
    'publishes at once, what changed at once, and the same again after five minutes only',
    simulated(async (place) => {
      const site = new PkarrSite(place.world);
      const { service, say, id } = publisherOf(place);
      say(relay('https://a.example/'), ip('192.0.2.1:1'));
      await place.sleep(10_000);
      // Another address, which is not published: nothing new.
      say(relay('https://a.example/'), ip('192.0.2.2:2'));
      await place.sleep(10_000);
      say(relay('https://b.example/'));
      await place.sleep(310_000);
      expect(site.puts).toEqual([0, 20_000, 320_030]);
      expect(site.recordsOf(id)).toEqual(['relay=https://b.example/']);
      service.close();
      say(relay('https://c.example/'));
      await place.sleep(400_000);
      expect(site.puts).toHaveLength(3);
    }),
  );

  test(
    'says nothing as long as there is nothing to say, and says so when that changes back',
    simulated(async (place) => {
      const site = new PkarrSite(place.world);
      const { service, say, id } = publisherOf(place);
      say(ip('192.0.2.1:1'));
      await place.sleep(400_000);
      expect(site.puts).toEqual([]);
      say(relay('https://a.example/'));
      await place.sleep(1_000);
      say();
      await place.sleep(1_000);
      expect(site.puts).toEqual([400_000, 401_000]);
      expect(site.recordsOf(id)).toEqual([]);
      service.close();
    }),
  );

  test(
    'after failures waits 1 s, 2 s, 3 s and so on; a success begins anew',
    simulated(async (place) => {
      const site = new PkarrSite(place.world);
      const { service, say } = publisherOf(place);
      site.instead = site.answering(429);
      say(relay('https://a.example/'));
      await place.sleep(7_000);
      // Each request takes 30 ms.
      expect(site.puts).toEqual([0, 1_030, 3_060, 6_090]);
      site.instead = undefined;
      await place.sleep(4_000);
      expect(site.puts).toEqual([0, 1_030, 3_060, 6_090, 10_120]);
      site.instead = site.answering(500);
      say(relay('https://b.example/'));
      await place.sleep(1_500);
      expect(site.puts.slice(5)).toEqual([11_000, 12_030]);
      service.close();
    }),
  );

  test(
    'news are sent in spite of the wait, and right after a request that was under way',
    simulated(async (place) => {
      const site = new PkarrSite(place.world);
      const { service, say, id } = publisherOf(place);
      site.instead = site.answering(302);
      say(relay('https://a.example/'));
      await place.sleep(500);
      say(relay('https://b.example/'));
      await place.sleep(10);
      site.instead = undefined;
      say(relay('https://c.example/'));
      say(relay('https://d.example/'));
      await place.sleep(100);
      expect(site.puts).toEqual([0, 500, 530]);
      expect(site.recordsOf(id)).toEqual(['relay=https://d.example/']);
      service.close();
    }),
  );

  test(
    'a server that stalls is given ten seconds',
    simulated(async (place) => {
      const site = new PkarrSite(place.world);
      const { service, say, id } = publisherOf(place);
      site.instead = site.stall;
      say(relay('https://a.example/'));
      await place.sleep(10_500);
      expect(site.underWay).toBe(0);
      site.instead = undefined;
      await place.sleep(1_000);
      expect(site.puts).toEqual([0, 11_000]);
      expect(site.recordsOf(id)).toEqual(['relay=https://a.example/']);
      service.close();
    }),
  );

  test(
    'timestamps grow though the clock goes back, whoever of the process publishes',
    simulated(async (place) => {
      const site = new PkarrSite(place.world);
      const { service, say, id } = publisherOf(place);
      say(relay('https://a.example/'));
      await place.sleep(1_000);
      const first = site.packets.get(id.toZ32())!.timestampMicros;
      const { clock } = place.world;
      const wallNow = clock.wallNow.bind(clock);
      clock.wallNow = () => wallNow() - 3_600_000;
      service.close();
      // The same key again, as after a restart of the endpoint.
      const next = publisherOf(place);
      next.say(relay('https://b.example/'));
      await place.sleep(1_000);
      expect(site.recordsOf(id)).toEqual(['relay=https://b.example/']);
      expect(site.packets.get(id.toZ32())!.timestampMicros).toBe(first + 1n);
      next.service.close();
    }),
  );

  test(
    'publishes for its own key only',
    simulated(async (place) => {
      const { service } = publisherOf(place);
      const other = SecretKey.fromBytes(new Uint8Array(32).fill(4)).publicKey;
      expect(() => service.publish({ addr: new EndpointAddr(other) })).toThrow(RangeError);
      service.close();
    }),
  );

  test(
    'more addresses than a packet holds: the last ones are left out',
    simulated(async (place) => {
      const site = new PkarrSite(place.world);
      const key = SecretKey.fromBytes(new Uint8Array(32).fill(9));
      const platform = place.world.platformOf(place.world.addHost('publisher', '10.9.0.1'));
      const service = new PkarrPublisher({ url, secretKey: key, platform, filter: (addrs) => addrs });
      const many = Array.from({ length: 60 }, (_, i) => ip(`192.0.2.${i + 1}:1000`));
      service.publish({
        addr: new EndpointAddr(key.publicKey, [relay('https://a.example/'), ...many]),
        userData: 'hello',
      });
      await place.sleep(1_000);
      const records = site.recordsOf(key.publicKey)!;
      expect(records[0]).toBe('relay=https://a.example/');
      expect(records.at(-1)).toBe('user-data=hello');
      expect(records.length).toBeGreaterThan(20);
      service.close();
    }),
  );
});

describe('hostile servers', () => {
  const other = SecretKey.fromBytes(new Uint8Array(32).fill(5));
  /** A packet of that key with these records, at a time relative to the present of the simulation. */
  const packet = (place: Simulated, key: SecretKey, aheadMs = 0): Uint8Array =>
    SignedPacket.sign(key, {
      strings: ['addr=192.0.2.1:1'],
      timestampMicros: BigInt(Math.round((place.clock.wallNow() + aheadMs) * 1_000)),
    }).toRelayPayload();
  const flipped = (bytes: Uint8Array): Uint8Array => bytes.map((byte, i) => (i === 80 ? byte ^ 1 : byte));

  test.each<[string, (place: Simulated, key: SecretKey) => readonly [number, Uint8Array], string]>([
    ['a bad signature', (place, key) => [200, flipped(packet(place, key))], 'PkarrError.Signature'],
    ['a packet of another key', (place) => [200, packet(place, other)], 'PkarrError.Signature'],
    ['nothing', () => [200, new Uint8Array(0)], 'PkarrError.TooShort'],
    ['more than 1,000 bytes', () => [200, new Uint8Array(1_073)], 'PkarrError.TooLong'],
    ['the future', (place, key) => [200, packet(place, key, 90_000_000)], 'PkarrError.Future'],
    ['a redirect', () => [302, new Uint8Array(0)], 'PkarrError.Status'],
    ['an error', () => [500, utf8('oops')], 'PkarrError.Status'],
  ])('%s is refused with a reason that is counted, and hides no other service', (_what, answer, code) =>
    simulated(async (place) => {
      const site = new PkarrSite(place.world);
      const key = SecretKey.fromBytes(new Uint8Array(32).fill(6));
      const server = await place.serve({ secretKey: key });
      let made: PkarrResolver | undefined;
      const lookup: LookupFactory = (endpoint) => (made = new PkarrResolver({ ...endpoint, url }));
      const client = await place.bind({ lookup });
      site.instead = site.answering(...answer(place, key));
      const [error] = await lookupErrors(client.connect(server.id, ALPN, place.wait));
      expect([error!.code, error!.provenance]).toEqual(['LookupError.Failed', 'pkarr']);
      expect((error!.cause as { code?: string }).code).toBe(code);
      expect([...made!.refused]).toEqual([[code, 1]]);
      const addr = place.addrOf(server);
      client.lookup.add({
        name: 'other',
        async *resolve() {
          yield addr;
        },
      });
      await place.dial(client, server, new EndpointAddr(server.id));
    })(),
  );

  test(
    'a packet that was replaced is not believed again',
    simulated(async (place) => {
      const site = new PkarrSite(place.world);
      const old = packet(place, other);
      const newer = packet(place, other, 1);
      const platform = place.world.platformOf(place.world.addHost('asker', '10.9.0.1'));
      const asker = new PkarrResolver({ url, platform });
      const ask = async (): Promise<number> => {
        const { signal } = new AbortController();
        let count = 0;
        for await (const { addr } of asker.resolve(other.publicKey, { signal })) count += addr.addrs.length;
        return count;
      };
      site.instead = site.answering(200, newer);
      expect(await ask()).toBe(1);
      site.instead = site.answering(200, old);
      expect((await failure(ask())).code).toBe('PkarrError.Stale');
      expect([...asker.refused]).toEqual([['PkarrError.Stale', 1]]);
    }),
  );

  test(
    'a megabyte is not read, and who stalls is given up after ten seconds',
    simulated(async (place) => {
      const site = new PkarrSite(place.world);
      const client = await place.bind({ lookup: resolver });
      site.instead = site.answering(200, new Uint8Array(1_000_000));
      const [tooLong] = await lookupErrors(client.connect(other.publicKey, ALPN, place.wait));
      expect(tooLong!.message).toContain('longer than 8192 bytes');
      site.instead = site.stall;
      const startedAt = place.clock.now();
      const [silent] = await lookupErrors(client.connect(other.publicKey, ALPN, place.wait));
      expect(silent!.code).toBe('LookupError.TimedOut');
      expect(place.clock.now() - startedAt).toBe(10_000);
      expect(site.underWay).toBe(0);
    }),
  );
});

describe('DNS', () => {
  const lookup: LookupFactory = (endpoint) => new DnsLookup({ ...endpoint, origin: 'dns.example.' });

  test(
    'E14: the addresses are those of the records',
    simulated(async (place) => {
      const server = await place.serve();
      const client = await place.bind({ lookup });
      const asked: string[] = [];
      const records = server.addr.ips.map(({ text }) => utf8(`addr=${text}`));
      place.world.serveTxt = async (name) => {
        asked.push(name);
        return [utf8('unknown=1'), ...records];
      };
      await place.dial(client, server, new EndpointAddr(server.id));
      expect(asked).toEqual([`_iroh.${server.id.toZ32()}.dns.example.`]);
      const info = await client.remoteInfo(server.id);
      expect(info!.addrs.map(({ addr }) => addr)).toEqual(server.addr.addrs);
    }),
  );

  test(
    'the question is asked again after 200, 300, 600 ms and so on, give or take a fifth, until somebody answers',
    simulated(async (place) => {
      const id = SecretKey.fromBytes(new Uint8Array(32).fill(6)).publicKey;
      const asked: number[] = [];
      let open = 0;
      let answer: () => Promise<readonly Uint8Array[]> = () => Promise.reject(new Error('no answer'));
      place.world.serveTxt = (_name, { signal }) => {
        asked.push(place.clock.now() - startedAt);
        open++;
        signal.addEventListener('abort', () => open--, { once: true });
        return answer();
      };
      const client = await place.bind({ lookup });
      let startedAt = place.clock.now();
      const [error] = await lookupErrors(client.connect(id, ALPN, place.wait));
      expect(error!.message).toContain('no answer');
      [0, 200, 300, 600, 1_000, 2_000, 3_000].forEach((at, i) => {
        expect(asked[i]).toBeGreaterThanOrEqual(at * 0.8);
        expect(asked[i]).toBeLessThanOrEqual(at * 1.2);
      });
      expect(asked).toHaveLength(7);
      // Nothing at first, then something: the records were just written.
      asked.length = 0;
      startedAt = place.clock.now();
      answer = () => Promise.resolve(asked.length < 3 ? [] : [utf8('addr=10.0.0.77:1')]);
      await failure(client.connect(id, ALPN, { timeoutMs: 1_000 }));
      expect(asked).toHaveLength(3);
      const info = await client.remoteInfo(id);
      expect(info!.addrs.map(({ addr }) => addr)).toEqual([ip('10.0.0.77:1')]);
    }),
  );

  test(
    'silent servers: three seconds for each question, then there is an error, and nothing stays open',
    simulated(async (place) => {
      const id = SecretKey.fromBytes(new Uint8Array(32).fill(6)).publicKey;
      let open = 0;
      place.world.serveTxt = (_name, { signal }) =>
        new Promise((_, reject) => {
          open++;
          signal.addEventListener('abort', () => {
            open--;
            reject(signal.reason as Error);
          });
        });
      const client = await place.bind({ lookup });
      const startedAt = place.clock.now();
      const dial = lookupErrors(client.connect(id, ALPN, place.wait));
      await place.sleep(2_500);
      expect(open).toBe(6);
      const [error] = await dial;
      expect(error!.message).toContain('no answer within 3000 ms');
      const tookMs = place.clock.now() - startedAt;
      expect(tookMs).toBeGreaterThan(5_300);
      expect(tookMs).toBeLessThan(6_700);
      expect(open).toBe(0);
    }),
  );

  test(
    'no records are no error',
    simulated(async (place) => {
      const id = SecretKey.fromBytes(new Uint8Array(32).fill(6)).publicKey;
      place.world.serveTxt = async () => [];
      const client = await place.bind({ lookup });
      expect(await lookupErrors(client.connect(id, ALPN, place.wait))).toEqual([]);
    }),
  );

  test(
    'over HTTPS: where there is no resolver',
    simulated(async (place) => {
      const server = await place.serve();
      const httpsUrl = 'https://dns.example/dns-query';
      const asked: (string | null)[] = [];
      const answers: { -readonly [K in 'status' | 'change']?: number } = {};
      place.world.serveWeb('https://dns.example', async (request) => {
        const query = new URL(request.url).searchParams.get('dns');
        asked.push(request.headers!['accept']!);
        const body = dohAnswer(query!, server);
        if (answers.change !== undefined) body[answers.change]! ^= 1;
        return { status: answers.status ?? 200, headers: new Map(), body };
      });
      const host = place.world.addHost('browser', '10.9.0.1');
      const platform = { ...place.world.platformOf(host), resolveTxt: undefined };
      const { signal } = new AbortController();
      const overHttps = new DnsLookup({ origin: 'dns.example', httpsUrl, platform });
      const ask = async (service: DnsLookup): Promise<EndpointAddr[]> => {
        const found = [];
        for await (const { addr } of service.resolve(server.id, { signal })) found.push(addr);
        return found;
      };
      expect(await ask(overHttps)).toEqual([place.addrOf(server)]);
      expect(asked).toEqual(['application/dns-message']);
      // An answer with another id, to another question; an error.
      answers.change = 1;
      expect((await failure(ask(overHttps))).code).toBe('DnsError.Mismatch');
      answers.change = 13;
      expect((await failure(ask(overHttps))).code).toBe('DnsError.Mismatch');
      delete answers.change;
      answers.status = 503;
      expect((await failure(ask(overHttps))).code).toBe('DnsError.Status');
      expect([...overHttps.refused]).toEqual([
        ['DnsError.Mismatch', 14],
        ['DnsError.Status', 7],
      ]);
      const without = new DnsLookup({ origin: 'dns.example', platform });
      expect((await failure(ask(without))).code).toBe('DnsError.NoResolver');
    }),
  );
});

describe('services made for an endpoint', () => {
  test(
    'end with it, in the midst of whatever they do',
    simulated(async (place) => {
      const site = new PkarrSite(place.world);
      site.instead = site.stall;
      const silent: LookupFactory = (endpoint) => new DnsLookup({ ...endpoint, origin: 'dns.example' });
      place.world.serveTxt = (_name, { signal }) => site.stall({ url, signal, maxBodyBytes: 0 });
      const endpoint = await place.bind({ lookup: [openPublisher, resolver, silent] });
      const id = SecretKey.fromBytes(new Uint8Array(32).fill(6)).publicKey;
      const dial = failure(endpoint.connect(id, ALPN, place.wait));
      await place.sleep(100);
      // Which of them is first depends on how long a signature takes.
      expect(site.requests.map(({ method }) => method).sort()).toEqual(['GET', 'PUT']);
      expect(site.underWay).toBe(2);
      const startedAt = place.clock.now();
      await endpoint.close();
      expect(place.clock.now() - startedAt).toBeLessThan(200);
      expect((await dial).code).toBe('ConnectError.EndpointStopping');
      expect(site.underWay).toBe(0);
    }),
  );

  test(
    'end when they are taken away; others do not',
    simulated(async (place) => {
      const site = new PkarrSite(place.world);
      const { service, say, id } = publisherOf(place);
      const endpoint = await place.bind({ lookup: [openPublisher, service] });
      await place.sleep(1_000);
      expect(site.recordsOf(endpoint.id)).toBeDefined();
      expect(endpoint.lookup.size).toBe(2);
      endpoint.lookup.clear();
      say(relay('https://a.example/'));
      await place.sleep(400_000);
      // Once for the endpoint, twice for the other.
      expect(site.puts).toHaveLength(3);
      expect(site.recordsOf(id)).toEqual(['relay=https://a.example/']);
      endpoint.lookup.add(openPublisher);
      await place.sleep(1_000);
      expect(site.puts).toHaveLength(4);
      service.close();
    }),
  );

  test(
    'one that cannot be made is an error of bind, and nothing stays',
    simulated(async (place) => {
      const site = new PkarrSite(place.world);
      const reason = new Error('not today');
      const broken: LookupFactory = () => {
        throw reason;
      };
      const error = await failure(place.bind({ lookup: [openPublisher, broken] }));
      expect([error.code, error.cause]).toEqual(['BindError.AddressLookup', reason]);
      const bad: LookupFactory = (endpoint) => new PkarrPublisher({ ...endpoint, url: 'file:///etc' });
      expect((await failure(place.bind({ lookup: bad }))).code).toBe('BindError.AddressLookup');
      await place.sleep(400_000);
      expect([site.puts, place.world.openSockets]).toEqual([[], 0]);
      const endpoint = await place.bind();
      expect(() => endpoint.lookup.add(broken)).toThrow(reason);
    }),
  );

  test(
    'their machines are seen by who watches the endpoint',
    simulated(async (place) => {
      new PkarrSite(place.world);
      const seen = new Set<string>();
      const endpoint = await place.bind({
        lookup: openPublisher,
        inspect: (event) => {
          if ('actorRef' in event) seen.add((event.actorRef as { readonly id: string }).id);
        },
      });
      await place.sleep(1_000);
      expect([...seen]).toContain(`publisher ${endpoint.id.short()} pkarr.example`);
    }),
  );
});

describe('the preset n0', () => {
  test.each([
    ['default', undefined, 'https://dns.iroh.link', 'dns.iroh.link.'],
    ['staging', 'staging' as const, 'https://staging-dns.iroh.link', 'staging-dns.iroh.link.'],
  ])('%s: n0’s servers are told and asked', (_name, relayOption, origin, dnsOrigin) =>
    simulated(async (place) => {
      const asked: string[] = [];
      const names: string[] = [];
      place.world.serveWeb(origin, async ({ method = 'GET', url }) => {
        asked.push(`${method} ${url}`);
        return { status: method === 'PUT' ? 204 : 404, headers: new Map(), body: new Uint8Array() };
      });
      place.world.serveTxt = async (name) => {
        names.push(name);
        return [];
      };
      const endpoint = await place.bind({
        preset: 'n0',
        relay: relayOption,
        userData: 'x',
        netReport: false,
      });
      await place.sleep(1_000);
      const id = SecretKey.fromBytes(new Uint8Array(32).fill(6)).publicKey;
      await lookupErrors(endpoint.connect(id, ALPN, place.wait));
      expect(asked).toEqual([
        `PUT ${origin}/pkarr/${endpoint.id.toZ32()}`,
        `GET ${origin}/pkarr/${id.toZ32()}`,
      ]);
      expect(new Set(names)).toEqual(new Set([`_iroh.${id.toZ32()}.${dnsOrigin}`]));
    })(),
  );
});

/** What a server answers to a question of RFC 8484, with the addresses of an endpoint. */
function dohAnswer(query: string, server: Endpoint): Uint8Array {
  const question = new Uint8Array(Buffer.from(query, 'base64url'));
  const strings = server.boundSockets
    .filter(({ family }) => family === 4)
    .map(({ text }) => utf8(`addr=${text}`));
  const records = strings.flatMap((string) => [
    ...[0xc0, 0x0c, 0, 16, 0, 1, 0, 0, 0, 30, 0, string.length + 1, string.length],
    ...string,
  ]);
  const answer = Uint8Array.from([...question, ...records]);
  answer[2] = 0x80;
  answer[7] = strings.length;
  return answer;
}
