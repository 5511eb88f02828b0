/** The lookup server with the DHT behind it: it answers for keys that nobody put, and brings what is put to others. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import dnsPacket from 'dns-packet';
import { DhtFallback } from '../../src/actors/dht-fallback.ts';
import { MainlineDht } from '../../src/actors/mainline-dht.ts';
import { SignedPacket } from '../../src/address-lookup/signed-packet.ts';
import type { Clock } from '../../src/base/clock.ts';
import { utf8 } from '../../src/base/bytes.ts';
import { DnsServer, type DnsServerMetric, type DnsServerOptions } from '../../src/dns-server.ts';
import { DnsServerMetrics } from '../../src/dns/server/metrics.ts';
import { DnsLookup, SecretKey } from '../../src/index.ts';
import { DhtLookup } from '../../src/lookup/dht.ts';
import { systemPlatform } from '../../src/transport/system-platform.ts';
import { DhtNet, LyingNode, valueOf } from '../support/dht-net.ts';
import { ALPN, echo, onLoopback } from '../support/endpoints.ts';

const ORIGIN = 'dns.test';
const KEY = SecretKey.fromBytes(new Uint8Array(32).fill(0x2a));
const ID = KEY.publicKey;
const RELAY = 'relay=https://relay.example.com/';
const { signal } = new AbortController();

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});
const closing = <T extends { close(): Promise<void> }>(each: T): T => {
  closers.push(() => each.close());
  return each;
};
const startNet = async (): Promise<DhtNet> => closing(await DhtNet.start());
const listen = async (bootstrap: readonly string[], options: DnsServerOptions = {}): Promise<DnsServer> =>
  closing(
    await DnsServer.listen({ origins: [ORIGIN], putRateLimit: false, mainline: { bootstrap }, ...options }),
  );

const packetOf = (strings = [RELAY], key = KEY): SignedPacket =>
  SignedPacket.sign(key, { strings, timestampMicros: BigInt(Date.now()) * 1_000n });
const publish = (bootstrap: readonly string[], packet: SignedPacket): Promise<void> =>
  closing(new MainlineDht({ bootstrap, platform: systemPlatform })).put(packet, signal);

interface Reply {
  readonly code: string;
  readonly texts: readonly string[];
}

/** Asks over UDP; sends again what gets no answer, as clients do. */
async function ask(server: DnsServer, id = ID): Promise<Reply> {
  const socket = createSocket('udp4');
  const { ip, port } = server.dnsAddrs[0]!;
  const name = `_iroh.${id.toZ32()}.${ORIGIN}`;
  socket.send(
    dnsPacket.encode({ type: 'query', id: 7, questions: [{ name, type: 'TXT', class: 'IN' }] }),
    port,
    ip,
  );
  const [data] = (await once(socket, 'message')) as [Buffer];
  socket.close();
  const { answers = [], ...rest } = dnsPacket.decode(data);
  return {
    code: (rest as unknown as { rcode: string }).rcode,
    texts: answers.map((answer) => String((answer as { data: unknown }).data)),
  };
}

/** The counters of one kind that are not 0. */
function counted(server: DnsServer, prefix: string): Record<string, number> {
  const some = Object.entries(server.metrics()).filter(
    ([name, value]) => name.startsWith(prefix) && value > 0,
  );
  return Object.fromEntries(some);
}
async function until(server: DnsServer, metric: DnsServerMetric, count = 1): Promise<void> {
  while (server.metrics()[metric] < count) await new Promise((resolve) => setImmediate(resolve));
}

describe('a key that nobody put', () => {
  test(
    'endpoints meet: one publishes to the DHT, the other asks our server by DNS',
    onLoopback(async (place) => {
      const { bootstrap } = await startNet();
      const server = await listen(bootstrap);
      let onPublish!: () => void;
      const published = new Promise<void>((resolve) => (onPublish = resolve));
      const theirs = await place.serve({
        lookup: (endpoint) => new DhtLookup({ ...endpoint, bootstrap, filter: (addrs) => addrs, onPublish }),
      });
      await published;
      const servers = [server.dnsAddrs[0]!.text];
      const ours = await place.bind({ lookup: new DnsLookup({ origin: ORIGIN, servers }) });
      const accepted = place.acceptOn(theirs).then(echo);
      const connection = await ours.connect(theirs.id, ALPN, place.wait);
      expect((await place.ask(connection)).answer).toEqual(utf8('ping'));
      connection.close(0, '');
      await accepted;
    }),
  );

  test('is answered from the DHT over UDP and HTTPS; GET of the packet never asks there', async () => {
    const { bootstrap } = await startNet();
    await publish(bootstrap, packetOf());
    const server = await listen(bootstrap);
    expect((await fetch(`${server.pkarrUrl}/${ID.toZ32()}`)).status).toBe(404);
    expect(counted(server, 'dht_')).toEqual({});
    expect(await ask(server)).toEqual({ code: 'NOERROR', texts: [RELAY] });
    const url = new URL(`dns-query?type=TXT&name=_iroh.${ID.toZ32()}.${ORIGIN}`, server.url);
    const json = (await (await fetch(url, { headers: { accept: 'application/dns-json' } })).json()) as {
      readonly Answer: readonly { readonly data: string }[];
    };
    expect(json.Answer.map(({ data }) => data)).toEqual([RELAY]);
    expect((await fetch(`${server.pkarrUrl}/${ID.toZ32()}`)).status).toBe(404);
    expect(counted(server, 'dht_')).toEqual({
      dht_lookups: 1,
      dht_lookup_success: 1,
      dht_lookup_cached: 1,
    });
  });

  test('equal questions are one walk; what was found, and what was not, counts for 300 s', async () => {
    const node = closing(
      await LyingNode.start(({ kind }) =>
        kind === 'get' && has ? valueOf(ID, packetOf().toRelayPayload()) : new Map(),
      ),
    );
    let has = false;
    let skippedMs = 0;
    const clock: Clock = { ...systemPlatform.clock, now: () => systemPlatform.clock.now() + skippedMs };
    const server = await listen([node.hostPort], { platform: { ...systemPlatform, clock } });
    const nothing = { code: 'NXDOMAIN', texts: [] };
    expect(await Promise.all([ask(server), ask(server), ask(server)])).toEqual([nothing, nothing, nothing]);
    has = true;
    skippedMs += 290_000;
    expect(await ask(server)).toEqual(nothing);
    expect(server.metrics().dht_lookups).toBe(1);
    skippedMs += 10_001;
    expect(await ask(server)).toEqual({ code: 'NOERROR', texts: [RELAY] });
    has = false;
    skippedMs += 290_000;
    expect(await ask(server)).toEqual({ code: 'NOERROR', texts: [RELAY] });
    skippedMs += 10_001;
    expect(await ask(server)).toEqual(nothing);
    expect(server.metrics()).toMatchObject({ dht_lookups: 3, dht_lookup_success: 1, dht_lookup_notfound: 2 });
  });

  test('what was put is answered from the store, without the DHT', async () => {
    const { bootstrap } = await startNet();
    await publish(bootstrap, packetOf(['relay=https://old.example/']));
    const server = await listen(bootstrap);
    expect((await ask(server)).texts).toEqual(['relay=https://old.example/']);
    const body = new Uint8Array(packetOf().toRelayPayload());
    await fetch(`${server.pkarrUrl}/${ID.toZ32()}`, { method: 'PUT', body });
    expect((await ask(server)).texts).toEqual([RELAY]);
    expect(server.metrics().dht_lookups).toBe(1);
    // And nothing was brought to the DHT: that has to be switched on.
    expect(counted(server, 'dht_publish')).toEqual({});
  });

  test('lies of nodes are refused and counted', async () => {
    const flipped = packetOf().toRelayPayload();
    flipped[0]! ^= 1;
    const node = closing(
      await LyingNode.start(({ kind }) => (kind === 'get' ? valueOf(ID, flipped) : new Map())),
    );
    const server = await listen([node.hostPort]);
    expect(await ask(server)).toEqual({ code: 'NXDOMAIN', texts: [] });
    expect(server.metrics().dht_refused).toBe(1);
  });

  test('a DHT that does not answer is a failure of the server, which counts for 15 s', async () => {
    let answers = false;
    const node = closing(await LyingNode.start(() => (answers ? new Map() : undefined)));
    let skippedMs = 0;
    const clock: Clock = { ...systemPlatform.clock, now: () => systemPlatform.clock.now() + skippedMs };
    const server = await listen([node.hostPort], { platform: { ...systemPlatform, clock } });
    expect((await ask(server)).code).toBe('SERVFAIL');
    await until(server, 'dht_lookup_error');
    answers = true;
    expect((await ask(server)).code).toBe('SERVFAIL');
    skippedMs += 15_001;
    expect((await ask(server)).code).toBe('NXDOMAIN');
    expect(counted(server, 'dht_lookup')).toEqual({
      dht_lookups: 2,
      dht_lookup_error: 1,
      dht_lookup_cached: 1,
      dht_lookup_notfound: 1,
    });
  });

  describe('looked for when the DHT is silent', () => {
    const keys = Array.from({ length: 13 }, (_, i) =>
      SecretKey.fromBytes(new Uint8Array(32).fill(i)).publicKey.toBytes(),
    );
    const busy = expect.objectContaining({ code: 'DhtError.Busy' });
    const metrics = new DnsServerMetrics();
    const failures: unknown[] = [];
    let dht: MainlineDht;
    let find: (key: Uint8Array) => Promise<unknown>;

    beforeEach(async () => {
      failures.length = 0;
      const node = closing(await LyingNode.start(() => undefined));
      dht = closing(new MainlineDht({ bootstrap: [node.hostPort], platform: systemPlatform }));
      const fallback = new DhtFallback({ dht, clock: systemPlatform.clock, metrics });
      find = (key) => fallback.find(key).catch((error: unknown) => failures.push(error));
    });

    test('twelve keys are looked for at a time', async () => {
      const waiting = keys.slice(0, 12).map(find);
      await find(keys[12]!);
      expect(failures).toEqual([busy]);
      await dht.close();
      await Promise.all(waiting);
    });

    test('100 questions wait for one key and 1,000 in all; further ones fail at once', async () => {
      const waiting = keys.slice(0, 10).map((key) => Array.from({ length: 100 }, () => find(key)));
      await find(keys[0]!);
      await find(keys[10]!);
      expect(failures).toEqual([busy, busy]);
      await dht.close();
      await Promise.all(waiting.flat());
      // Their places are free again.
      await find(keys[10]!);
      expect(failures.at(-1)).toMatchObject({ code: 'DhtError.Closed' });
      expect(metrics.snapshot().dht_lookup_dropped).toBe(3);
    });
  });

  test('what is no key is not looked for; the end of the server ends who waits', async () => {
    const node = closing(await LyingNode.start(() => undefined));
    const server = await listen([node.hostPort]);
    const askJson = (z32: string): Promise<number | string> =>
      fetch(new URL(`dns-query?type=TXT&name=_iroh.${z32}.${ORIGIN}`, server.url), {
        headers: { accept: 'application/dns-json' },
      }).then(
        async (response) => ((await response.json()) as { Status: number }).Status,
        () => 'gone',
      );
    // Its y is on no point of the curve.
    expect(await askJson(`${'y'.repeat(51)}o`)).toBe(3);
    const asking = askJson(ID.toZ32());
    await until(server, 'dht_lookups');
    await server.close();
    expect([2, 'gone']).toContain(await asking);
  });
});

describe('what is put, when that is switched on', () => {
  const put = (server: DnsServer, packet: SignedPacket): Promise<Response> =>
    fetch(`${server.pkarrUrl}/${packet.id.toZ32()}`, {
      method: 'PUT',
      body: new Uint8Array(packet.toRelayPayload()),
    });

  test('is found by another server, and by who asks the DHT', async () => {
    const { bootstrap } = await startNet();
    const one = await listen(bootstrap, { mainline: { bootstrap, publish: true } });
    const other = await listen(bootstrap);
    const packet = packetOf();
    expect((await put(one, packet)).status).toBe(204);
    await until(one, 'dht_publish');
    expect(await ask(other)).toEqual({ code: 'NOERROR', texts: [RELAY] });
    const [found] = await (async () => {
      const list: SignedPacket[] = [];
      for await (const each of closing(new MainlineDht({ bootstrap, platform: systemPlatform })).resolve(
        ID,
        signal,
      ))
        list.push(each);
      return list;
    })();
    expect(found?.toBytes()).toEqual(packet.toBytes());
  });

  test('goes there again when it says something else, or after an hour', async () => {
    const node = closing(await LyingNode.start(() => new Map()));
    let skippedMs = 0;
    const clock: Clock = {
      ...systemPlatform.clock,
      now: () => systemPlatform.clock.now() + skippedMs,
      wallNow: () => systemPlatform.clock.wallNow() + skippedMs,
    };
    const server = await listen([node.hostPort], {
      mainline: { bootstrap: [node.hostPort], publish: true },
      platform: { ...systemPlatform, clock },
    });
    const packet = (strings: string[]): SignedPacket =>
      SignedPacket.sign(KEY, { strings, timestampMicros: BigInt(Math.floor(clock.wallNow() * 1_000)) });
    await put(server, packet([RELAY]));
    await until(server, 'dht_publish', 1);
    skippedMs += 3_599_000;
    await put(server, packet([RELAY]));
    await put(server, packet(['relay=https://other.example/']));
    await until(server, 'dht_publish', 2);
    skippedMs += 3_600_001;
    await put(server, packet(['relay=https://other.example/']));
    await until(server, 'dht_publish', 3);
    expect(counted(server, 'dht_publish')).toEqual({ dht_publish: 3 });
    expect(node.asked.filter(({ kind }) => kind === 'put')).toHaveLength(3);
  });

  test('is counted when nobody takes it', async () => {
    const node = closing(await LyingNode.start(({ kind }) => (kind === 'put' ? 205 : new Map())));
    const server = await listen([], { mainline: { bootstrap: [node.hostPort], publish: true } });
    expect((await put(server, packetOf())).status).toBe(204);
    await until(server, 'dht_publish_error');
  });
});

describe('where there is no DHT', () => {
  test('a server that is to have one does not start', async () => {
    const platform = { ...systemPlatform, bindUdp: undefined };
    const error = await DnsServer.listen({ dnsBind: false, mainline: {}, platform }).catch(
      (each: unknown) => each,
    );
    expect(error).toMatchObject({ code: 'DnsServerError.Dht', cause: { code: 'DhtError.Unavailable' } });
  });

  test('nodes that are none are said before anything is opened', async () => {
    const error = await DnsServer.listen({ mainline: { bootstrap: ['node'] } }).catch(
      (each: unknown) => each,
    );
    expect(error).toMatchObject({ code: 'DnsServerError.InvalidOptions', message: 'not host:port: node' });
  });
});
