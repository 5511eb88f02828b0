/**
 * Signed packets over real HTTP: the `pkarr` package reads what we publish, and we read what it publishes. Records over real
 * DNS, from a server made of `dns-packet`.
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import dnsPacket from 'dns-packet';
import { Pkarr, SignedPacket as PkarrPacket } from 'pkarr';
import { concatBytes, fromUtf8, utf8 } from '../../src/base/bytes.ts';
import {
  DnsLookup,
  EndpointAddr,
  PkarrPublisher,
  PkarrResolver,
  RelayUrl,
  SecretKey,
  parseAddr,
} from '../../src/index.ts';
import { ALPN, echo, failure, onLoopback } from '../support/endpoints.ts';

const SEED = new Uint8Array(32).fill(0x2a);
const KEY = SecretKey.fromBytes(SEED);
const ID = KEY.publicKey;
const { signal } = new AbortController();

let server: Server;
let url: string;
/** By path. */
const stored = new Map<string, Buffer>();
/** Called after each PUT. */
let onPut: () => void = () => undefined;

beforeAll(async () => {
  server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = stored.get(request.url!);
      if (request.method === 'PUT') {
        stored.set(request.url!, Buffer.concat(chunks));
        response.writeHead(204).end();
        onPut();
      } else if (body === undefined) response.writeHead(404).end('{"status":"404"}');
      else response.writeHead(200, { 'content-type': 'application/x-pkarr-signed-packet' }).end(body);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/pkarr`;
});
beforeEach(() => stored.clear());
afterAll(async () => {
  server.close();
  server.closeAllConnections();
  await once(server, 'close');
});

const nextPut = (): Promise<void> => new Promise((resolve) => (onPut = resolve));

test('the package gets what we put', async () => {
  const publisher = new PkarrPublisher({ url: `${url}/`, secretKey: KEY, filter: (addrs) => addrs });
  const put = nextPut();
  publisher.publish({
    addr: new EndpointAddr(ID, [
      { type: 'relay', url: RelayUrl.parse('https://relay.example.com') },
      { type: 'ip', addr: parseAddr('192.0.2.10:11204') },
    ]),
    userData: 'grüß dich',
  });
  await put;
  publisher.close();
  const packet = await Pkarr.relayGet(url, ID.toBytes());
  const records = packet.resourceRecords('_iroh');
  expect(records.map((record) => 'data' in record && fromUtf8((record.data as Buffer[])[0]!))).toEqual([
    'relay=https://relay.example.com/',
    'addr=192.0.2.10:11204',
    'user-data=grüß dich',
  ]);
  expect(records.map((record) => 'ttl' in record && record.ttl)).toEqual([30, 30, 30]);
  expect(Math.abs(packet.timestamp() / 1_000 - Date.now())).toBeLessThan(60_000);
});

test('we get what the package puts', async () => {
  const keypair = { secretKey: concatBytes(SEED, ID.toBytes()), publicKey: ID.toBytes() };
  const answers = ['relay=https://relay.example.com/', 'addr=[2001:db8::1]:11205', 'user-data=hello'].map(
    (data) => ({ name: '_iroh', type: 'TXT' as const, ttl: 30, data }),
  );
  const packet = PkarrPacket.fromPacket(keypair, { type: 'response', id: 0, flags: 0, answers });
  expect((await Pkarr.relayPut(url, packet)).status).toBe(204);
  const found = [];
  for await (const answer of new PkarrResolver({ url }).resolve(ID, { signal })) found.push(answer);
  expect(found).toEqual([
    {
      addr: new EndpointAddr(ID, [
        { type: 'relay', url: RelayUrl.parse('https://relay.example.com') },
        { type: 'ip', addr: parseAddr('[2001:db8::1]:11205') },
      ]),
      userData: 'hello',
    },
  ]);
});

test('what is not there is not found, and what is not signed not believed', async () => {
  const resolver = new PkarrResolver({ url });
  const found: unknown[] = [];
  for await (const answer of resolver.resolve(ID, { signal })) found.push(answer);
  expect(found).toEqual([]);
  stored.set(`/pkarr/${ID.toZ32()}`, Buffer.from(utf8('x'.repeat(200))));
  expect((await failure(resolver.resolve(ID, { signal }).next())).code).toBe('PkarrError.Signature');
});

test(
  'E15: endpoints meet by id alone',
  onLoopback(async (place) => {
    const put = nextPut();
    const ours = await place.serve({
      lookup: (endpoint) => new PkarrPublisher({ ...endpoint, url, filter: (addrs) => addrs }),
    });
    await put;
    const client = await place.bind({ lookup: new PkarrResolver({ url }) });
    const accepted = place.acceptOn(ours).then(echo);
    const connection = await client.connect(ours.id, ALPN, place.wait);
    expect((await place.ask(connection)).answer).toEqual(utf8('ping'));
    connection.close(0, '');
    await accepted;
  }),
);

test(
  'E14: endpoints meet by what a name server says',
  onLoopback(async (place) => {
    const ours = await place.serve();
    const name = `_iroh.${ours.id.toZ32()}.dns.example`;
    const dns = createSocket('udp4');
    // The first question gets lost; another one comes soon.
    let asked = 0;
    dns.on('message', (message, { port, address }) => {
      const { id, questions } = dnsPacket.decode(message);
      if (asked++ === 0) return;
      const addrs = questions![0]!.name === name ? place.addrOf(ours).ips : [];
      const answers = addrs.map(({ text }) => ({
        name,
        type: 'TXT' as const,
        ttl: 30,
        data: `addr=${text}`,
      }));
      dns.send(
        dnsPacket.encode({ type: 'response', id: id!, questions: questions!, answers }),
        port,
        address,
      );
    });
    dns.bind(0, '127.0.0.1');
    await once(dns, 'listening');
    const servers = [`127.0.0.1:${dns.address().port}`];
    const lookup = new DnsLookup({ origin: 'dns.example.', servers });
    const client = await place.bind({ lookup });
    const accepted = place.acceptOn(ours).then(echo);
    const connection = await client.connect(ours.id, ALPN, place.wait);
    expect((await place.ask(connection)).answer).toEqual(utf8('ping'));
    expect(asked).toBeGreaterThan(1);
    connection.close(0, '');
    await accepted;
    dns.close();
    await once(dns, 'close');
  }),
);
