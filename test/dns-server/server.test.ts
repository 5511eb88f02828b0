/**
 * The lookup server over real sockets: our publisher, resolver and DNS lookup find each other through it, the `pkarr` package
 * and `dns-packet` speak with it, and what is bad is refused and counted.
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { get as httpsGet } from 'node:https';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import dnsPacket, { type Packet } from 'dns-packet';
import { Pkarr, SignedPacket as PkarrPacket } from 'pkarr';
import { SignedPacket } from '../../src/address-lookup/signed-packet.ts';
import { concatBytes, utf8 } from '../../src/base/bytes.ts';
import { encodeBase64Url } from '../../src/base/encoding.ts';
import {
  DnsServer,
  DnsServerError,
  MemoryRecordStore,
  type DnsServerMetric,
  type DnsServerOptions,
  type RecordStore,
} from '../../src/dns-server.ts';
import {
  DnsLookup,
  EndpointAddr,
  PkarrPublisher,
  PkarrResolver,
  RelayUrl,
  SecretKey,
  parseAddr,
} from '../../src/index.ts';
import { systemPlatform } from '../../src/transport/system-platform.ts';
import { makeServerCertificate } from '../support/certificates.ts';
import { SimClock } from '../support/sim-clock.ts';
import { ALPN, echo, failure, onLoopback } from '../support/endpoints.ts';

const SEED = new Uint8Array(32).fill(0x2a);
const KEY = SecretKey.fromBytes(SEED);
const ID = KEY.publicKey;
const Z32 = ID.toZ32();
const ORIGIN = 'dns.test';
const DAY_MICROS = 86_400_000_000n;
const { signal } = new AbortController();

let server: DnsServer;

const start = async (options: DnsServerOptions = {}): Promise<DnsServer> =>
  (server = await DnsServer.listen({ origins: [ORIGIN, '.'], putRateLimit: false, ...options }));

beforeEach(() => start().then(() => undefined));
afterEach(() => server.close());

const restart = async (options: DnsServerOptions): Promise<void> => {
  await server.close();
  await start(options);
};
const now = (): bigint => BigInt(Date.now()) * 1_000n;
const packet = (timestampMicros = now(), strings = ['relay=https://relay.example.com/']): SignedPacket =>
  SignedPacket.sign(KEY, { strings, timestampMicros });
const put = (body: Uint8Array, z32 = Z32): Promise<Response> =>
  fetch(`${server.pkarrUrl}/${z32}`, { method: 'PUT', body: new Uint8Array(body) });
const get = (z32 = Z32): Promise<Response> => fetch(`${server.pkarrUrl}/${z32}`);
const counted = (name: DnsServerMetric): number => server.metrics()[name];

/** Puts records of any type and name, as other users of pkarr do. */
async function putRecords(answers: Packet['answers'] & object): Promise<void> {
  const keypair = { secretKey: concatBytes(SEED, ID.toBytes()), publicKey: ID.toBytes() };
  const signed = PkarrPacket.fromPacket(keypair, { type: 'response', id: 0, flags: 0, answers });
  expect((await Pkarr.relayPut(server.pkarrUrl, signed)).status).toBe(204);
}

/** Asks over UDP; undefined when there is no answer before `last` is answered, which is a question that always is. */
async function askUdp(...messages: Uint8Array[]): Promise<ReturnType<typeof dnsPacket.decode>> {
  const socket = createSocket('udp4');
  const { ip, port } = server.dnsAddrs[0]!;
  for (const message of messages) socket.send(message, port, ip);
  const [reply] = (await once(socket, 'message')) as [Buffer];
  socket.close();
  return dnsPacket.decode(reply);
}

async function askTcp(...messages: Uint8Array[]): Promise<ReturnType<typeof dnsPacket.decode>[]> {
  const { ip, port } = server.dnsAddrs[0]!;
  const socket = connect(port, ip);
  const replies: ReturnType<typeof dnsPacket.decode>[] = [];
  socket.write(
    concatBytes(...messages.map((each) => concatBytes(Uint8Array.of(each.length >> 8, each.length), each))),
  );
  let pending = Buffer.alloc(0);
  for await (const chunk of socket) {
    pending = Buffer.concat([pending, chunk as Buffer]);
    while (pending.length >= 2 && pending.length >= 2 + pending.readUInt16BE(0)) {
      const end = 2 + pending.readUInt16BE(0);
      replies.push(dnsPacket.decode(pending.subarray(2, end)));
      pending = pending.subarray(end);
    }
    if (replies.length === messages.length) break;
  }
  socket.destroy();
  return replies;
}

type Question = NonNullable<Packet['questions']>[number];
const question = (name: string, type: Question['type'] = 'TXT', more: Partial<Packet> = {}): Uint8Array =>
  dnsPacket.encode({ type: 'query', id: 7, flags: 0, questions: [{ name, type, class: 'IN' }], ...more });
const dataOf = (reply: ReturnType<typeof dnsPacket.decode>): unknown[] =>
  reply.answers!.map((answer) => ('data' in answer ? answer.data : undefined));
const codeOf = (reply: ReturnType<typeof dnsPacket.decode>): string =>
  (reply as unknown as { rcode: string }).rcode;

describe('endpoints meet by id alone', () => {
  test(
    'E15: over HTTP',
    onLoopback(async (place) => {
      const ours = await place.serve({
        lookup: (endpoint) =>
          new PkarrPublisher({ ...endpoint, url: server.pkarrUrl, filter: (addrs) => addrs }),
      });
      const client = await place.bind({ lookup: new PkarrResolver({ url: server.pkarrUrl }) });
      await published(ours.id.toZ32());
      const accepted = place.acceptOn(ours).then(echo);
      const connection = await client.connect(ours.id, ALPN, place.wait);
      expect((await place.ask(connection)).answer).toEqual(utf8('ping'));
      connection.close(0, '');
      await accepted;
    }),
  );

  test(
    'E14: published over HTTP, found over DNS',
    onLoopback(async (place) => {
      const ours = await place.serve({
        lookup: (endpoint) =>
          new PkarrPublisher({ ...endpoint, url: server.pkarrUrl, filter: (addrs) => addrs }),
      });
      await published(ours.id.toZ32());
      const servers = [server.dnsAddrs[0]!.text];
      const client = await place.bind({ lookup: new DnsLookup({ origin: ORIGIN, servers }) });
      const accepted = place.acceptOn(ours).then(echo);
      const connection = await client.connect(ours.id, ALPN, place.wait);
      expect((await place.ask(connection)).answer).toEqual(utf8('ping'));
      connection.close(0, '');
      await accepted;
      expect(counted('dns_lookup_success')).toBeGreaterThan(0);
    }),
  );

  async function published(z32: string): Promise<void> {
    while ((await get(z32)).status !== 200);
  }
});

describe('packets over HTTP', () => {
  test('what is put is got, byte for byte', async () => {
    const ours = packet();
    expect((await get()).status).toBe(404);
    expect((await put(ours.toRelayPayload())).status).toBe(204);
    const response = await get();
    expect([response.status, response.headers.get('content-type')]).toEqual([
      200,
      'application/x-pkarr-signed-packet',
    ]);
    expect(new Uint8Array(await response.arrayBuffer())).toEqual(ours.toRelayPayload());
    expect(response.headers.get('access-control-allow-origin')).toBe('*');
    expect([counted('store_packets_inserted'), counted('pkarr_publish_update')]).toEqual([1, 1]);
  });

  test('the pkarr package puts and gets', async () => {
    await putRecords([{ name: '_iroh', type: 'TXT', ttl: 30, data: 'user-data=hello' }]);
    const got = await Pkarr.relayGet(server.pkarrUrl, ID.toBytes());
    expect(got.resourceRecords('_iroh')).toHaveLength(1);
  });

  test('the newer packet stays, whatever the order', async () => {
    const stored: string[] = [];
    await restart({ onPublish: (id) => stored.push(id.toString()) });
    const time = now();
    const [older, newer] = [packet(time - 5n), packet(time)];
    for (const each of [newer, older, newer]) expect((await put(each.toRelayPayload())).status).toBe(204);
    expect(new Uint8Array(await (await get()).arrayBuffer())).toEqual(newer.toRelayPayload());
    expect([counted('pkarr_publish_update'), counted('pkarr_publish_noop')]).toEqual([1, 2]);
    expect(stored).toEqual([ID.toString()]);
  });

  const forged = (): Uint8Array => {
    const bytes = packet().toRelayPayload();
    bytes[80]! ^= 1;
    return bytes;
  };
  test.each<[string, () => Uint8Array, number, DnsServerMetric]>([
    ['nothing', () => new Uint8Array(0), 400, 'pkarr_publish_malformed'],
    ['half of one', () => packet().toRelayPayload().subarray(0, 70), 400, 'pkarr_publish_malformed'],
    ['too long', () => new Uint8Array(1_073), 413, 'pkarr_publish_malformed'],
    ['a changed byte', forged, 400, 'pkarr_publish_bad_signature'],
    [
      'tomorrow and more',
      () => packet(now() + DAY_MICROS + 60_000_000n).toRelayPayload(),
      400,
      'pkarr_publish_bad_timestamp',
    ],
    [
      'a week ago',
      () => packet(now() - 7n * DAY_MICROS - 60_000_000n).toRelayPayload(),
      400,
      'pkarr_publish_bad_timestamp',
    ],
  ])('refused and counted: %s', async (_name, body, status, metric) => {
    const response = await put(body());
    expect(response.status).toBe(status);
    expect(await response.json()).toMatchObject({ status: String(status) });
    expect([counted(metric), counted('pkarr_publish_error')]).toEqual([1, 1]);
    expect((await get()).status).toBe(404);
  });

  test("another's key, no key, and megabytes", async () => {
    const other = SecretKey.fromBytes(SEED.map((byte) => byte + 1)).publicKey.toZ32();
    expect((await put(packet().toRelayPayload(), other)).status).toBe(400);
    expect((await put(packet().toRelayPayload(), 'abc')).status).toBe(400);
    expect((await get('abc')).status).toBe(400);
    const big = await put(new Uint8Array(2_000_000)).then(
      ({ status }) => status,
      () => 413,
    );
    expect(big).toBe(413);
    expect((await put(packet().toRelayPayload())).status).toBe(204);
  });

  test('two puts at once, then one every four seconds', async () => {
    await restart({ putRateLimit: {} });
    const statuses: number[] = [];
    for (let i = 0; i < 4; i++) statuses.push((await put(packet().toRelayPayload())).status);
    expect(statuses).toEqual([204, 204, 429, 429]);
    const refused = await put(packet().toRelayPayload());
    expect(refused.headers.get('retry-after')).toBe('4');
    expect(counted('pkarr_publish_ratelimited')).toBe(3);
    expect((await get()).status).toBe(200);
  });

  test('no room for another key, but for news of the ones that are there', async () => {
    await restart({ limits: { maxRecords: 1 } });
    expect((await put(packet().toRelayPayload())).status).toBe(204);
    const other = SecretKey.fromBytes(SEED.map((byte) => byte + 1));
    const theirs = SignedPacket.sign(other, { strings: [], timestampMicros: now() });
    expect((await put(theirs.toRelayPayload(), other.publicKey.toZ32())).status).toBe(503);
    expect((await put(packet(now() + 1n).toRelayPayload())).status).toBe(204);
  });

  test('other paths and methods', async () => {
    const statusOf = async (path: string, method: string): Promise<number> =>
      (await fetch(new URL(path, server.url), { method })).status;
    expect(await (await fetch(server.url)).text()).toBe('Hi!');
    expect(await (await fetch(new URL('healthz', server.url))).json()).toMatchObject({ status: 'ok' });
    expect(await statusOf('nothing', 'GET')).toBe(404);
    expect(await statusOf(`pkarr/${Z32}`, 'DELETE')).toBe(405);
    expect(await statusOf(`pkarr/${Z32}`, 'OPTIONS')).toBe(204);
    expect(counted('http_requests')).toBe(5);
  });
});

describe('DNS', () => {
  const NAME = `_iroh.${Z32}.${ORIGIN}`;

  beforeEach(async () => {
    await putRecords([
      { name: '_iroh', type: 'TXT', ttl: 30, data: 'relay=https://relay.example.com/' },
      { name: '_iroh', type: 'TXT', ttl: 30, data: 'addr=192.0.2.10:11204' },
      { name: '@', type: 'A', ttl: 60, data: '192.0.2.1' },
      { name: 'www', type: 'CNAME', ttl: 60, data: 'example.com' },
      { name: 'mail', type: 'MX', ttl: 60, data: { preference: 10, exchange: 'mx.example.com' } },
      { name: '@', type: 'NS', ttl: 60, data: 'ns.evil.example' },
    ]);
  });

  test('TXT over UDP and TCP, under the origin and without one, in whatever case', async () => {
    for (const name of [NAME, `_iroh.${Z32}`, `_IROH.${Z32.toUpperCase()}.DNS.Test`]) {
      const replies = [await askUdp(question(name)), ...(await askTcp(question(name), question(name)))];
      for (const reply of replies) {
        expect([reply.id, reply.flag_aa, reply.flag_tc, codeOf(reply)]).toEqual([7, true, false, 'NOERROR']);
        expect(reply.questions).toEqual([{ name, type: 'TXT', class: 'IN' }]);
        expect(dataOf(reply)).toEqual([
          [Buffer.from('relay=https://relay.example.com/')],
          [Buffer.from('addr=192.0.2.10:11204')],
        ]);
        expect(reply.answers!.map((answer) => [answer.name, (answer as { ttl: number }).ttl])).toEqual([
          [name, 30],
          [name, 30],
        ]);
      }
    }
    expect([counted('dns_requests_udp'), counted('dns_requests_tcp')]).toEqual([3, 6]);
  });

  test('records of other types; names in them arrive whole', async () => {
    expect(dataOf(await askUdp(question(`${Z32}.${ORIGIN}`, 'A')))).toEqual(['192.0.2.1']);
    const alias = await askUdp(question(`www.${Z32}.${ORIGIN}`, 'A'));
    expect([alias.answers![0]!.type, dataOf(alias)]).toEqual(['CNAME', ['example.com']]);
    expect(dataOf(await askUdp(question(`mail.${Z32}.${ORIGIN}`, 'MX')))).toEqual([
      { preference: 10, exchange: 'mx.example.com' },
    ]);
  });

  test('no such name, no such type, and names of others', async () => {
    const soaOf = (reply: ReturnType<typeof dnsPacket.decode>): string[] =>
      reply.authorities!.map(({ name, type }) => `${name} ${type}`);
    const nothing = await askUdp(question(`other.${Z32}.${ORIGIN}`));
    expect([codeOf(nothing), soaOf(nothing)]).toEqual(['NXDOMAIN', [`${ORIGIN} SOA`]]);
    const otherType = await askUdp(question(NAME, 'AAAA'));
    expect([codeOf(otherType), otherType.answers, soaOf(otherType)]).toEqual([
      'NOERROR',
      [],
      [`${ORIGIN} SOA`],
    ]);
    // Who asks label by label (RFC 9156) must get past the key.
    expect(codeOf(await askUdp(question(`${Z32}.${ORIGIN}`, 'TXT')))).toBe('NOERROR');
    const unknown = SecretKey.fromBytes(SEED.map((byte) => byte + 1)).publicKey.toZ32();
    expect(codeOf(await askUdp(question(`_iroh.${unknown}.${ORIGIN}`)))).toBe('NXDOMAIN');
    expect(codeOf(await askUdp(question(`www.${ORIGIN}`)))).toBe('NXDOMAIN');
    for (const name of ['example.com', 'com', '.'])
      expect(codeOf(await askUdp(question(name)))).toBe('REFUSED');
  });

  test('who the authority is says the configuration, not the packet', async () => {
    await server.close();
    await start({ ns: ['ns1.dns.test'], a: '192.0.2.53', aaaa: '2001:db8::53' });
    await putRecords([{ name: '@', type: 'NS', ttl: 60, data: 'ns.evil.example' }]);
    expect(dataOf(await askUdp(question(`${Z32}.${ORIGIN}`, 'NS')))).toEqual([]);
    expect(dataOf(await askUdp(question(ORIGIN, 'NS')))).toEqual(['ns1.dns.test']);
    expect(dataOf(await askUdp(question(ORIGIN, 'A')))).toEqual(['192.0.2.53']);
    expect(dataOf(await askUdp(question(ORIGIN, 'AAAA')))).toEqual(['2001:db8::53']);
    expect(dataOf(await askUdp(question(ORIGIN, 'SOA')))).toMatchObject([
      { mname: ORIGIN, rname: `hostmaster.${ORIGIN}`, minimum: 30 },
    ]);
  });

  test('what does not fit into a datagram is cut, unless the client takes more', async () => {
    const strings = Array.from({ length: 25 }, (_, i) => `addr=192.0.2.${i}:11204`);
    expect((await put(packet(now() + 5_000_000n, strings).toRelayPayload())).status).toBe(204);
    const cut = await askUdp(question(NAME));
    expect([cut.flag_tc, cut.answers]).toEqual([true, []]);
    const opt = {
      name: '.',
      type: 'OPT',
      udpPayloadSize: 4_096,
      flags: 0,
      options: [],
    } as unknown as NonNullable<Packet['additionals']>[number];
    const whole = await askUdp(question(NAME, 'TXT', { additionals: [opt] }));
    expect([whole.flag_tc, whole.answers!.length]).toEqual([false, 25]);
    expect(whole.additionals).toMatchObject([{ type: 'OPT', udpPayloadSize: 1_232 }]);
    expect((await askTcp(question(NAME)))[0]!.answers).toHaveLength(25);
  });

  test('garbage, answers, zone transfers and strange questions', async () => {
    const answer = dnsPacket.encode({ type: 'response', id: 7, questions: [{ name: NAME, type: 'TXT' }] });
    // The first three are not worth an answer; the last one gets one.
    const reply = await askUdp(Uint8Array.of(1, 2, 3), new Uint8Array(0), answer, question(NAME));
    expect(codeOf(reply)).toBe('NOERROR');
    expect(codeOf(await askUdp(concatBytes(question(NAME).subarray(0, 12), utf8('\xff'))))).toBe('FORMERR');
    expect(codeOf(await askUdp(question(NAME, 'AXFR')))).toBe('REFUSED');
    const notify = question(NAME).slice();
    notify[2]! |= 4 << 3;
    expect(codeOf(await askUdp(notify))).toBe('NOTIMP');
    const twice = { questions: [NAME, NAME].map((name) => ({ name, type: 'TXT' as const })) };
    expect(codeOf(await askUdp(question(NAME, 'TXT', twice)))).toBe('FORMERR');
    expect(counted('dns_requests_malformed')).toBeGreaterThanOrEqual(6);
  });

  test('over HTTPS: messages by GET and POST, and JSON', async () => {
    const url = new URL('dns-query', server.url);
    const posted = await fetch(url, { method: 'POST', body: new Uint8Array(question(NAME)) });
    expect(dataOf(dnsPacket.decode(Buffer.from(await posted.arrayBuffer())))).toHaveLength(2);
    const got = await fetch(`${url.href}?dns=${encodeBase64Url(question(NAME))}`);
    expect([got.headers.get('content-type'), got.headers.get('cache-control')]).toEqual([
      'application/dns-message',
      's-maxage=30',
    ]);
    const accept = { headers: { accept: 'application/dns-json' } };
    const json = await fetch(`${url.href}?name=${NAME}&type=TXT`, accept);
    expect(await json.json()).toMatchObject({
      Status: 0,
      Answer: [
        { name: NAME, type: 16, TTL: 30, data: 'relay=https://relay.example.com/' },
        { data: 'addr=192.0.2.10:11204' },
      ],
    });
    const statusOf = async (query: string, init?: RequestInit): Promise<number> =>
      (await fetch(`${url.href}${query}`, init)).status;
    expect(await statusOf('?dns=!')).toBe(400);
    expect(await statusOf('')).toBe(400);
    expect(await statusOf('?name=a&type=what', accept)).toBe(400);
    expect(await statusOf('', { headers: { accept: 'text/html' } })).toBe(406);
    expect(await statusOf('', { method: 'POST', body: 'x' })).toBe(400);
  });

  test('a connection that sends nothing useful, and one that asks for too much, is dropped', async () => {
    const { ip, port } = server.dnsAddrs[0]!;
    const socket = connect(port, ip);
    socket.write(Uint8Array.of(0xff, 0xff, 1));
    socket.resume();
    await once(socket, 'close');
    expect(await askTcp(question(NAME))).toHaveLength(1);
  });
});

describe('life', () => {
  test('counters as OpenMetrics', async () => {
    await restart({ metrics: { bind: '127.0.0.1:0' } });
    await get();
    const text = await (await fetch(`http://${server.metricsAddr!.text}/`)).text();
    expect(text).toContain('dns_server_http_requests_total 1\n');
    expect(text.endsWith('# EOF\n')).toBe(true);
  });

  test('over HTTPS, with another certificate after a reload', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'iroh-ts-dns-tls-'));
    const [certFile, keyFile] = [join(folder, 'a.crt'), join(folder, 'a.key')];
    const renew = async (serial: string): Promise<void> => {
      const { chain, key } = await makeServerCertificate('EC P-256', serial);
      writeFileSync(certFile, chain);
      writeFileSync(keyFile, key);
    };
    await renew('21');
    await restart({ tls: { bind: '127.0.0.1:0', certFile, keyFile } });
    const serial = (): Promise<string> =>
      new Promise((resolve, reject) => {
        const options = { rejectUnauthorized: false, agent: false };
        httpsGet(new URL(`pkarr/${Z32}`, server.url), options, (response) => {
          response.resume();
          expect(response.statusCode).toBe(404);
          resolve((response.socket as TLSSocket).getPeerCertificate().serialNumber);
        }).on('error', reject);
      });
    expect([server.url.protocol, await serial()]).toEqual(['https:', '21']);
    await renew('22');
    await server.reload();
    expect(await serial()).toBe('22');
    writeFileSync(certFile, 'nothing');
    expect((await failure(server.reload())).code).toBe('DnsServerError.Certificate');
    expect(await serial()).toBe('22');
    rmSync(folder, { recursive: true });
  });

  test('what is a week old is gone', async () => {
    const clock = new SimClock();
    await restart({ platform: { ...systemPlatform, clock } });
    const wall = (): bigint => BigInt(Math.floor(clock.wallNow() * 1_000));
    expect((await put(packet(wall()).toRelayPayload())).status).toBe(204);
    const after = async (ms: number): Promise<number> => {
      clock.advanceTo(clock.now() + ms);
      await new Promise((resolve) => setImmediate(resolve));
      return (await get()).status;
    };
    expect(await after(6 * 86_400_000)).toBe(200);
    expect(await after(86_400_000)).toBe(200);
    expect(await after(20_000)).toBe(404);
    expect(counted('store_packets_expired')).toBe(1);
  });

  test('a store that fails is a failure of the server, for as long as it lasts', async () => {
    const store = new MemoryRecordStore();
    let isBroken = true;
    const broken = <T>(act: () => Promise<T>): Promise<T> =>
      isBroken ? Promise.reject(new Error('disk full')) : act();
    await restart({
      store: {
        get: (key) => broken(() => store.get(key)),
        put: (key, payload) => broken(() => store.put(key, payload)),
        removeOlder: (timestamp) => store.removeOlder(timestamp),
        close: () => Promise.reject(new Error('not ours')),
      },
    });
    const body = packet().toRelayPayload();
    expect([(await put(body)).status, (await get()).status]).toEqual([500, 500]);
    const name = `_iroh.${Z32}.${ORIGIN}`;
    expect(codeOf(await askUdp(question(name)))).toBe('SERVFAIL');
    expect([counted('dns_lookup_error'), counted('pkarr_publish_error')]).toEqual([1, 1]);
    isBroken = false;
    expect([(await put(body)).status, (await get()).status]).toEqual([204, 200]);
    expect(codeOf(await askUdp(question(name)))).toBe('NOERROR');
  });

  test('a store that has ended: unhealthy at once, and said once', async () => {
    const clock = new SimClock();
    const ended: Error[] = [];
    const failure = new Error('the thread is gone');
    const gone = (): Promise<never> => Promise.reject(failure);
    const store: RecordStore & { failure?: Error } = { get: gone, put: gone, removeOlder: gone, close: gone };
    const platform = { ...systemPlatform, clock };
    await restart({ platform, store, onStoreEnd: (error) => ended.push(error) });
    const healthOf = async (): Promise<number[]> =>
      Promise.all(
        ['healthz', 'healthcheck'].map(async (at) => (await fetch(new URL(at, server.url))).status),
      );
    const pass = async (): Promise<void> => {
      clock.advanceTo(clock.now() + 60_000);
      await new Promise((resolve) => setImmediate(resolve));
    };
    await pass();
    expect([await healthOf(), ended]).toEqual([[200, 200], []]);
    store.failure = failure;
    expect(await healthOf()).toEqual([503, 503]);
    await pass();
    await pass();
    expect(ended).toEqual([failure]);
  });

  test('a store with too much to do: puts are to come later', async () => {
    const store = Object.assign(new MemoryRecordStore(), { put: () => Promise.resolve('busy' as const) });
    await restart({ store });
    const refused = await put(packet().toRelayPayload());
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '1']);
    expect([counted('pkarr_publish_busy'), counted('pkarr_publish_store_full')]).toEqual([1, 0]);
  });

  test('a store with too much to do: gets are to come later', async () => {
    const busy = new DnsServerError('DnsServerError.Busy', 'too many wait for the database');
    const store = Object.assign(new MemoryRecordStore(), { get: () => Promise.reject(busy) });
    await restart({ store });
    const refused = await get();
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '1']);
  });

  test('why it does not start is told, though closing fails as well', async () => {
    const bindUdp: typeof systemPlatform.bindUdp = async (options) => {
      const udp = await systemPlatform.bindUdp!(options);
      const close = udp.close.bind(udp);
      udp.close = () => close().then(() => Promise.reject(new Error('closing fails')));
      return udp;
    };
    const options = {
      platform: { ...systemPlatform, bindUdp },
      dnsBind: ['127.0.0.1:0', server.dnsAddrs[0]!.text],
    };
    expect((await failure(DnsServer.listen(options))).code).toBe('DnsServerError.Bind');
  });

  test('options that cannot be, and a port that is taken', async () => {
    const codeOf = async (options: DnsServerOptions): Promise<unknown> =>
      (await failure(DnsServer.listen(options))).code;
    expect(await codeOf({ bind: 'localhost' })).toBe('DnsServerError.InvalidOptions');
    expect(await codeOf({ soa: 'nothing' })).toBe('DnsServerError.InvalidOptions');
    expect(await codeOf({ origins: [] })).toBe('DnsServerError.InvalidOptions');
    expect(await codeOf({ keepMs: Infinity })).toBe('DnsServerError.InvalidOptions');
    expect(await codeOf({ putRateLimit: { burst: 0 } })).toBe('DnsServerError.InvalidOptions');
    expect(await codeOf({ a: '::1' })).toBe('DnsServerError.InvalidOptions');
    expect(await codeOf({ bind: server.httpAddr.text })).toBe('DnsServerError.Bind');
    expect(await codeOf({ dnsBind: server.dnsAddrs[0]!.text })).toBe('DnsServerError.Bind');
    expect(await codeOf({ store: { file: '/dev/null/nothing' } })).toBe('DnsServerError.Store');
  });

  test('close is one end for all, frees the ports, and drops who is connected', async () => {
    const { ip, port } = server.dnsAddrs[0]!;
    const bind = server.httpAddr.text;
    const socket = connect(port, ip);
    await once(socket, 'connect');
    const closed = once(socket, 'close');
    socket.on('error', () => undefined);
    const [first, second] = [server.close(), server.close()];
    expect(first).toBe(second);
    await first;
    await closed;
    const again = await DnsServer.listen({ bind, dnsBind: `${ip}:${port}` });
    await again.close();
  });

  test('what our resolver finds is what our publisher said', async () => {
    const publisher = new PkarrPublisher({ url: server.pkarrUrl, secretKey: KEY });
    const relay = RelayUrl.parse('https://relay.example.com');
    publisher.publish({
      addr: new EndpointAddr(ID, [
        { type: 'relay', url: relay },
        { type: 'ip', addr: parseAddr('192.0.2.10:11204') },
      ]),
    });
    while ((await get()).status !== 200);
    publisher.close();
    const found: unknown[] = [];
    for await (const answer of new PkarrResolver({ url: server.pkarrUrl }).resolve(ID, { signal }))
      found.push(answer);
    expect(found).toEqual([{ addr: new EndpointAddr(ID, [{ type: 'relay', url: relay }]) }]);
  });
});
