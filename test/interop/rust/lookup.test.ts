/** Real iroh and ours find each other by id alone, through our lookup server and through iroh's; they meet on a relay of ours. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, describe, expect, test } from '@jest/globals';
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

/** What tests need to know of a lookup server. */
interface Lookup {
  readonly url: URL;
  readonly pkarrUrl: string;
  /** `ip:port` */
  readonly dnsAddr: string;
  close(): Promise<unknown>;
}

interface Scene {
  readonly relay: RelayServer;
  readonly lookup: Lookup;
}
let scene: Scene | undefined;

async function ourServer(): Promise<Lookup> {
  const server = await DnsServer.listen({ origins: [ORIGIN], putRateLimit: false });
  const { url, pkarrUrl, dnsAddrs } = server;
  return { url, pkarrUrl, dnsAddr: dnsAddrs[0]!.text, close: () => server.close() };
}

async function theirServer(): Promise<Lookup> {
  const dataDir = mkdtempSync(join(tmpdir(), 'iroh-ts-lookup-'));
  const started = await rust.peer.call<{ lookup: number; url: string; dnsAddr: string }>('lookup.listen', {
    dataDir,
    origins: [`${ORIGIN}.`, '.'],
  });
  const url = new URL(started.url);
  return {
    url,
    pkarrUrl: new URL('pkarr', url).href,
    dnsAddr: started.dnsAddr,
    close: async () => {
      await rust.peer.call('lookup.close', { lookup: started.lookup });
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

const servers: [string, () => Promise<Lookup>][] = [
  ['our lookup server', ourServer],
  ["iroh's lookup server", theirServer],
];

beforeAll(async () => {
  certificate = await makeServerCertificate();
});

// After the endpoints: hooks run in the order of their definition.
afterEach(async () => {
  await Promise.all([scene?.relay.close(), scene?.lookup.close()]);
});

async function start(listen: () => Promise<Lookup>): Promise<Scene> {
  const { chain: cert, key } = certificate;
  const relay = await RelayServer.listen({
    tls: { bind: '127.0.0.1:0', cert, key },
    addressDiscovery: { bind: '127.0.0.1:0' },
  });
  return (scene = { relay, lookup: await listen() });
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
  return eventually(async () => {
    const response = await fetch(`${scene!.lookup.pkarrUrl}/${id.toZ32()}`);
    const packet = Buffer.from(await response.arrayBuffer());
    return response.ok && packet.includes('relay=');
  });
}

type Services = (server: Lookup) => EndpointOptions['lookup'];
const ways: [string, Services][] = [
  ['over HTTP', ({ pkarrUrl }) => new PkarrResolver({ url: pkarrUrl })],
  ['over DNS', ({ dnsAddr }) => new DnsLookup({ origin: ORIGIN, servers: [dnsAddr] })],
  ['over DNS by HTTPS', ({ url }) => new DnsLookup({ origin: ORIGIN, httpsUrl: new URL('dns-query', url) })],
];
const theirWays: [string, (server: Lookup) => Fields][] = [
  ['over HTTP', ({ pkarrUrl }) => ({ pkarrRelay: pkarrUrl })],
  ['over DNS', ({ dnsAddr }) => ({ dnsOrigin: ORIGIN, nameserver: dnsAddr })],
];

describe.each(servers)('%s', (_name, listen) => {
  test.each(ways)('what iroh publishes we find, %s', async (_how, services) => {
    const { lookup } = await start(listen);
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

  test.each(theirWays)('what we publish iroh finds, %s', async (_how, fields) => {
    const { lookup } = await start(listen);
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

  // Neither side is alone with iroh's server: ours find each other there, too.
  if (listen === theirServer)
    test.each(ways)('two of ours find each other, %s', async (_how, services) => {
      const { lookup } = await start(listen);
      const server = await our((endpoint) => new PkarrPublisher({ ...endpoint, url: lookup.pkarrUrl }));
      await published(server.id);
      const client = await our(services(lookup));
      const dialled = client.connect(server.id, ALPN, WAIT);
      void echoAll(await (await server.accept(WAIT))!.accept());
      expect(await ask(await dialled, 'hello')).toBe('hello');
    });
});
