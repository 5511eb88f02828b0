/**
 * Real iroh and ours find each other by id alone through a DHT of loopback, in both roles: one of nodes of another make, and one
 * of iroh's own nodes. No server knows anybody.
 */
import { afterEach, describe, expect, test } from '@jest/globals';
import { DnsServer } from '../../../src/dns-server.ts';
import { DnsLookup, EndpointId, type Endpoint, type EndpointOptions } from '../../../src/index.ts';
import { DhtLookup } from '../../../src/lookup/dht.ts';
import { DhtNet } from '../../support/dht-net.ts';
import { ask, askUs, echoAll, eventually, useRustPeer } from './fixture.ts';
import { ALPN, WAIT, type RustEndpoint } from './rust-peer.ts';

const rust = useRustPeer();
const closers: (() => Promise<void>)[] = [];
// After the endpoints: hooks run in the order of their definition.
afterEach(async () => {
  await Promise.all(closers.splice(0).map((close) => close()));
});

/** Nodes of `bittorrent-dht`. */
async function theirMake(): Promise<readonly string[]> {
  const net = await DhtNet.start();
  closers.push(() => net.close());
  return net.bootstrap;
}

/** Nodes of iroh's DHT, which end with the peer. */
async function irohsMake(): Promise<readonly string[]> {
  return (await rust.peer.call<{ readonly bootstrap: readonly string[] }>('dht.listen', { nodes: 5 }))
    .bootstrap;
}

const NETS: readonly [string, () => Promise<readonly string[]>][] = [
  ['bittorrent-dht', theirMake],
  ["iroh's own DHT", irohsMake],
];

/** One of ours that publishes all addresses, once it is in the DHT. */
async function published(bootstrap: readonly string[]): Promise<Endpoint> {
  let onPublish!: () => void;
  const done = new Promise<void>((resolve) => (onPublish = resolve));
  const our = await rust.our({
    lookup: (endpoint) => new DhtLookup({ ...endpoint, bootstrap, filter: (addrs) => addrs, onPublish }),
  });
  await done;
  return our;
}

/** One of theirs that publishes all addresses, once it is in the DHT. */
async function theirsPublished(bootstrap: readonly string[]): Promise<RustEndpoint> {
  const their = await rust.their({ dht: { bootstrap } });
  const probe = new DhtLookup({ bootstrap });
  closers.push(() => probe.close());
  const { signal } = new AbortController();
  await eventually(async () => {
    for await (const { addr } of probe.resolve(EndpointId.parse(their.id), { signal }))
      if (addr.addrs.length > 0) return true;
    return false;
  });
  return their;
}

async function expectWeReach(their: RustEndpoint, lookup: EndpointOptions['lookup']): Promise<void> {
  const our = await rust.our({ lookup });
  const accepted = their.accept();
  const connection = await our.connect(EndpointId.parse(their.id), ALPN, WAIT);
  const echoing = (await accepted).call('echo').catch(() => undefined);
  expect(await ask(connection, 'hello')).toBe('hello');
  connection.close(0, '');
  await echoing;
}

describe.each(NETS)('nodes of %s', (_make, start) => {
  test('what iroh publishes we find by id alone, and connect', async () => {
    const bootstrap = await start();
    await expectWeReach(await theirsPublished(bootstrap), new DhtLookup({ bootstrap }));
  });

  test('what we publish iroh finds by id alone, and connects', async () => {
    const bootstrap = await start();
    const our = await published(bootstrap);
    const their = await rust.their({ dht: { bootstrap } });
    const dialled = their.dial(our, { addrs: [] });
    const incoming = await our.accept(WAIT);
    const [connection, remote] = await Promise.all([incoming!.accept().connected, dialled]);
    void echoAll(connection);
    expect(await askUs(remote, 'hello')).toBe('hello');
    connection.close(0, '');
  });

  test('what iroh publishes our lookup server answers by DNS, and nobody put it there', async () => {
    const bootstrap = await start();
    const their = await theirsPublished(bootstrap);
    const server = await DnsServer.listen({ origins: ['dns.test'], mainline: { bootstrap } });
    closers.push(() => server.close());
    const servers = server.dnsAddrs.map(({ text }) => text);
    await expectWeReach(their, new DnsLookup({ origin: 'dns.test', servers }));
    expect(server.metrics()).toMatchObject({ dht_lookup_success: 1, pkarr_publish_update: 0 });
  });
});
