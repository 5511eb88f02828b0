/** Our endpoints on a relay server of iroh's own: its handshake, its address discovery, its probes, its refusals. */
import { beforeAll, describe, expect, test } from '@jest/globals';
import {
  EndpointAddr,
  EndpointId,
  RelayUrl,
  type Endpoint,
  type EndpointOptions,
  type RelayStatus,
} from '../../../src/index.ts';
import { makeServerCertificate, type TestCertificate } from '../../support/certificates.ts';
import { ask, askUs, echoAll, eventually, useRustPeer } from './fixture.ts';
import { ALPN, loopbackOf, RustPeer, WAIT, type Fields, type RustEndpoint } from './rust-peer.ts';

const rust = useRustPeer();
let certificate: TestCertificate;

interface UpstreamRelay {
  readonly relay: number;
  readonly url: string;
  readonly port: number;
  readonly quicPort: number;
}

beforeAll(async () => {
  certificate = await makeServerCertificate();
});

/** It ends with the peer's process. */
function listen(fields: Fields = {}, peer = rust.peer): Promise<UpstreamRelay> {
  const { chain: cert, key } = certificate;
  return peer.call<UpstreamRelay>('relay.listen', { cert, key, ...fields });
}

function ourOn(relay: UpstreamRelay, options: EndpointOptions = {}, authToken?: string): Promise<Endpoint> {
  const { url, quicPort } = relay;
  return rust.our({ relay: [{ url, quicPort, authToken }], tls: { roots: [certificate.root] }, ...options });
}

function theirOn(relay: UpstreamRelay, fields: Fields = {}): Promise<RustEndpoint> {
  const der = certificate.root.replaceAll(/-----.*-----|\s/g, '');
  return rust.their({ relays: [relay.url], relayQuicPort: relay.quicPort, roots: [der], ...fields });
}

function addrAt(id: EndpointId | string, relay: UpstreamRelay): EndpointAddr {
  const endpointId = typeof id === 'string' ? EndpointId.parse(id) : id;
  return new EndpointAddr(endpointId, [{ type: 'relay', url: RelayUrl.parse(relay.url) }]);
}

async function bytesSent(relay: UpstreamRelay): Promise<number> {
  return (await rust.peer.call<{ bytesSent: number }>('relay.counts', { relay: relay.relay })).bytesSent;
}

test('F01, H11, H12: we are online, and know the distance and the address of our socket', async () => {
  const relay = await listen();
  const our = await ourOn(relay);
  await our.online(WAIT);
  expect(our.addr.relays.map((url) => url.href)).toEqual([relay.url]);
  await eventually(() => our.netReport?.globalV4 !== undefined);
  const report = our.netReport!;
  expect(report.udpV4).toBe(true);
  expect(report.globalV4!.text).toBe(loopbackOf(our));
  expect(report.preferredRelay?.href).toBe(relay.url);
  expect(report.latencies.map(({ url }) => url.href)).toContain(relay.url);
});

describe('F02: by the relay alone', () => {
  /** More than what goes over it besides. */
  const BULK = 'x'.repeat(1 << 20);

  test('two of ours', async () => {
    const relay = await listen();
    const relayed = { pathPolicy: 'relay' } as const;
    const [server, client] = [await ourOn(relay, relayed), await ourOn(relay, relayed)];
    await server.online(WAIT);
    const dialled = client.connect(addrAt(server.id, relay), ALPN, WAIT);
    void echoAll(await (await server.accept(WAIT))!.accept());
    expect((await ask(await dialled, BULK)) === BULK).toBe(true);
    expect(await bytesSent(relay)).toBeGreaterThan(2 * BULK.length);
  });

  test('we dial iroh', async () => {
    const relay = await listen();
    const [our, their] = [await ourOn(relay, { pathPolicy: 'relay' }), await theirOn(relay, { bind: [] })];
    await their.call('online');
    const accepted = their.accept();
    const ours = await our.connect(addrAt(their.id, relay), ALPN, WAIT);
    await (await accepted).serve();
    expect((await ask(ours, BULK)) === BULK).toBe(true);
  });

  test('iroh dials us', async () => {
    const relay = await listen();
    const [our, their] = [await ourOn(relay, { pathPolicy: 'relay' }), await theirOn(relay, { bind: [] })];
    await our.online(WAIT);
    const dialled = their.dial(our, { addrs: [relay.url] });
    void echoAll(await (await our.accept(WAIT))!.accept());
    expect((await askUs(await dialled, BULK)) === BULK).toBe(true);
  });
});

test('D02: two of ours meet there and go on directly', async () => {
  const relay = await listen();
  const [server, client] = [await ourOn(relay), await ourOn(relay)];
  await Promise.all([server.online(WAIT), client.online(WAIT)]);
  const dialled = client.connect(addrAt(server.id, relay), ALPN, WAIT);
  const theirs = await (await server.accept(WAIT))!.accept();
  const ours = await dialled;
  const isDirect = ({ paths }: typeof ours): boolean =>
    paths.some(({ remoteAddr, isSelected }) => isSelected && remoteAddr.type === 'ip');
  await eventually(() => isDirect(ours) && isDirect(theirs));
  void echoAll(theirs);
  expect(await ask(ours, 'hello')).toBe('hello');
});

test('F07: a token is demanded: the wrong one is never online, the right one is', async () => {
  const relay = await listen({ token: 'right' });
  const [wrong, right] = [await ourOn(relay, {}, 'wrong'), await ourOn(relay, {}, 'right')];
  const states: RelayStatus['state'][] = [];
  wrong.homeRelay$.subscribe((status) => void (status && states.push(status.state)));
  await right.online({ timeoutMs: 5_000 });
  await eventually(() => wrong.homeRelay?.lastError !== undefined);
  expect(String(wrong.homeRelay!.lastError)).toContain('not authorized');
  expect(states).not.toContain('connected');
});

test('F09: it restarts: we come back, and a relayed connection goes on', async () => {
  // Each in a process of its own: `Server::shutdown` of upstream leaves connections as they are.
  const first = new RustPeer();
  const second = new RustPeer();
  try {
    const relay = await listen({}, first);
    const [our, their] = [await ourOn(relay, { pathPolicy: 'relay' }), await theirOn(relay, { bind: [] })];
    await Promise.all([our.online(WAIT), their.call('online')]);
    const accepted = their.accept();
    const ours = await our.connect(addrAt(their.id, relay), ALPN, WAIT);
    await (await accepted).serve();
    expect(await ask(ours, 'before')).toBe('before');
    await first.stop();
    await eventually(() => our.homeRelay?.state !== 'connected');
    expect((await listen({ port: relay.port }, second)).url).toBe(relay.url);
    await eventually(() => our.homeRelay?.state === 'connected');
    expect(await ask(ours, 'after')).toBe('after');
  } finally {
    await Promise.all([first.stop(), second.stop()]);
  }
});
