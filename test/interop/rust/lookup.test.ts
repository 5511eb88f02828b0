/** Real iroh and ours find each other by id alone, through a lookup server of ours; they meet on a relay of ours. */
import { afterEach, beforeAll, expect, test } from '@jest/globals';
import { DnsServer } from '../../../src/dns-server.ts';
import {
  DnsLookup,
  EndpointId,
  PkarrPublisher,
  PkarrResolver,
  type Endpoint,
  type EndpointOptions,
} from '../../../src/index.ts';
import { RelayServer } from '../../../src/relay-server.ts';
import { makeServerCertificate, type TestCertificate } from '../../support/certificates.ts';
import { ask, askUs, echoAll, eventually, useRustPeer } from './fixture.ts';
import { ALPN, WAIT, type Fields, type RustEndpoint } from './rust-peer.ts';

const ORIGIN = 'dns.test';
const rust = useRustPeer();
let certificate: TestCertificate;
let scene: { readonly relay: RelayServer; readonly lookup: DnsServer } | undefined;

beforeAll(async () => {
  certificate = await makeServerCertificate();
});

// After the endpoints: hooks run in the order of their definition.
afterEach(async () => {
  await Promise.all([scene?.relay.close(), scene?.lookup.close()]);
});

async function start(): Promise<{ readonly relay: RelayServer; readonly lookup: DnsServer }> {
  const { chain: cert, key } = certificate;
  const relay = await RelayServer.listen({
    tls: { bind: '127.0.0.1:0', cert, key },
    addressDiscovery: { bind: '127.0.0.1:0' },
  });
  const lookup = await DnsServer.listen({ origins: [ORIGIN], putRateLimit: false });
  return (scene = { relay, lookup });
}

async function our(lookup: EndpointOptions['lookup']): Promise<Endpoint> {
  const { url, quicPort } = scene!.relay;
  const endpoint = await rust.our({ relay: [{ url, quicPort }], tls: { roots: [certificate.root] }, lookup });
  await endpoint.online(WAIT);
  return endpoint;
}

async function their(lookup: Fields): Promise<RustEndpoint> {
  const der = certificate.root.replaceAll(/-----.*-----|\s/g, '');
  const { url, quicPort } = scene!.relay;
  const endpoint = await rust.their({ relays: [url.href], relayQuicPort: quicPort, roots: [der], lookup });
  await endpoint.call('online');
  return endpoint;
}

/** The server has an endpoint's relay. */
function published(id: EndpointId): Promise<void> {
  const url = new URL(`dns-query?type=TXT&name=_iroh.${id.toZ32()}.${ORIGIN}`, scene!.lookup.url);
  return eventually(async () => {
    const response = await fetch(url, { headers: { accept: 'application/dns-json' } });
    const { Answer } = (await response.json()) as { readonly Answer: readonly { readonly data: string }[] };
    return Answer.some(({ data }) => data.startsWith('relay='));
  });
}

type Services = (server: DnsServer) => EndpointOptions['lookup'];
test.each<[string, Services]>([
  ['over HTTP', ({ pkarrUrl }) => new PkarrResolver({ url: pkarrUrl })],
  [
    'over DNS',
    ({ dnsAddrs }) => new DnsLookup({ origin: ORIGIN, servers: dnsAddrs.map(({ text }) => text) }),
  ],
  ['over DNS by HTTPS', ({ url }) => new DnsLookup({ origin: ORIGIN, httpsUrl: new URL('dns-query', url) })],
])('what iroh publishes we find, %s', async (_how, services) => {
  const { lookup } = await start();
  const theirs = await their({ pkarrRelay: lookup.pkarrUrl });
  const id = EndpointId.parse(theirs.id);
  await published(id);
  const ours = await our(services(lookup));
  const accepted = theirs.accept();
  const connection = await ours.connect(id, ALPN, WAIT);
  const echoing = (await accepted).call('echo').catch(() => undefined);
  expect(await ask(connection, 'hello')).toBe('hello');
  connection.close(0, '');
  await echoing;
});

test.each<[string, (server: DnsServer) => Fields]>([
  ['over HTTP', ({ pkarrUrl }) => ({ pkarrRelay: pkarrUrl })],
  ['over DNS', ({ dnsAddrs }) => ({ dnsOrigin: ORIGIN, nameserver: dnsAddrs[0]!.text })],
])('what we publish iroh finds, %s', async (_how, fields) => {
  const { lookup } = await start();
  const ours = await our((endpoint) => new PkarrPublisher({ ...endpoint, url: lookup.pkarrUrl }));
  await published(ours.id);
  const theirs = await their(fields(lookup));
  const dialled = theirs.dial(ours, { addrs: [] });
  const incoming = await ours.accept(WAIT);
  const [connection, remote] = await Promise.all([incoming!.accept().connected, dialled]);
  void echoAll(connection);
  expect(await askUs(remote, 'hello')).toBe('hello');
  connection.close(0, '');
});
