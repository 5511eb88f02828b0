/** Our relay client and our relay server over real sockets: HTTP, TLS, tokens, a restart, much data. */
import { afterEach, expect, test } from '@jest/globals';
import { ActorSystem } from '../../src/actors/actor-system.ts';
import { RelayManager, type RelayedDatagram } from '../../src/actors/relay-manager.ts';
import { toHex, utf8 } from '../../src/base/bytes.ts';
import { Metrics } from '../../src/base/metrics.ts';
import { SecretKey } from '../../src/crypto/keys.ts';
import { RelayServer, type RelayServerOptions, type RelayUrl } from '../../src/relay-server.ts';
import { RelayMap } from '../../src/relay/relay-map.ts';
import type { RelayStatus } from '../../src/relay/relay-status.ts';
import { Log } from '../../src/transport/log.ts';
import type { TlsTrust } from '../../src/transport/relay-socket.ts';
import { systemPlatform } from '../../src/transport/system-platform.ts';
import { makeServerCertificate } from '../support/certificates.ts';

const servers: RelayServer[] = [];
const peers: Peer[] = [];

afterEach(async () => {
  await Promise.all(peers.splice(0).map(({ manager }) => manager.close()));
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

async function listen(options: RelayServerOptions = {}): Promise<RelayServer> {
  const server = await RelayServer.listen(options);
  servers.push(server);
  return server;
}

/** An endpoint's relays, and what came over them. */
class Peer {
  readonly manager: RelayManager;
  readonly id: Uint8Array;
  readonly received: RelayedDatagram[] = [];
  #onChange: (() => void) | undefined;

  constructor(seed: number, options: { readonly tls?: TlsTrust; readonly map?: RelayMap } = {}) {
    const secretKey = SecretKey.fromBytes(new Uint8Array(32).fill(seed));
    this.id = secretKey.publicKey.toBytes();
    this.manager = new RelayManager({
      system: new ActorSystem({
        clock: systemPlatform.clock,
        onError: (_actor, error) => {
          throw error;
        },
      }),
      name: `peer${seed}`,
      secretKey,
      platform: systemPlatform,
      relays: options.map ?? new RelayMap(),
      tls: options.tls,
      log: new Log(),
      metrics: new Metrics(),
    });
    this.manager.onDatagrams = (batch) => {
      this.received.push(...batch);
      this.#onChange?.();
    };
    peers.push(this);
  }

  /** Makes the relay home and waits until its status is as wanted. */
  async atHome(
    url: RelayUrl,
    isWanted = ({ state }: RelayStatus): boolean => state === 'connected',
  ): Promise<void> {
    this.manager.setHome(url);
    await this.status(isWanted);
  }

  status(isWanted: (status: RelayStatus) => boolean): Promise<RelayStatus> {
    return new Promise((resolve) => {
      const subscription = this.manager.homeRelay.subscribe('test', (status) => {
        if (status === undefined || !isWanted(status)) return;
        queueMicrotask(() => subscription.unsubscribe());
        resolve(status);
      });
    });
  }

  async until(isTrue: () => boolean): Promise<void> {
    while (!isTrue()) await new Promise<void>((resolve) => (this.#onChange = resolve));
  }

  send(url: RelayUrl, to: Peer, ...datagrams: Uint8Array[]): void {
    this.manager.send(url, to.id, datagrams, 0, datagrams.length);
  }
}

test('over HTTP: datagrams both ways, the second at home at another relay', async () => {
  const [one, two] = [await listen(), await listen()];
  const [a, b] = [new Peer(1), new Peer(2)];
  await Promise.all([a.atHome(one.url), b.atHome(two.url)]);
  a.send(two.url, b, utf8('question'));
  await b.until(() => b.received.length === 1);
  expect(b.received[0]).toMatchObject({ url: two.url, data: utf8('question') });
  expect(toHex(b.received[0]!.from)).toBe(toHex(a.id));
  b.send(one.url, a, utf8('answer'));
  await a.until(() => a.received.length === 1);
  expect(a.received[0]!.url).toBe(a.manager.activeRelays().find(({ url }) => url.equals(two.url))!.url);
  expect([one.clientCount, two.clientCount]).toEqual([1, 2]);
});

test('over TLS, with an authority of our own: proven by the header; strangers are not believed', async () => {
  const { root, chain: cert, key } = await makeServerCertificate();
  const relay = await listen({ tls: { bind: '127.0.0.1:0', cert, key } });
  const [a, b] = [new Peer(1, { tls: { roots: [root] } }), new Peer(2)];
  await a.atHome(relay.url);
  await b.atHome(relay.url, ({ state }) => state === 'disconnected');
  expect(b.manager.homeRelay.value!.lastError!.code).toBe('RelayError.Dial.Connect.Tls');
  expect(relay.metrics()).toMatchObject({ accepts: 1 });
});

test('a token in the map opens the door; without it the relay says why not', async () => {
  const relay = await listen({ access: { tokens: ['open sesame'] } });
  const map = new RelayMap();
  const a = new Peer(1, { map });
  await a.atHome(relay.url, ({ state }) => state === 'disconnected');
  expect(a.manager.homeRelay.value!.lastError).toMatchObject({
    code: 'RelayError.Dial.Connect.Denied',
    reason: 'not authorized',
  });
  map.set({ url: relay.url, quicPort: undefined, authToken: 'open sesame' });
  a.manager.relayMapChanged();
  await a.status(({ state }) => state === 'connected');
});

test('the server restarts: known at once, and back as soon as it is', async () => {
  const before = await listen();
  const [a, b] = [new Peer(1), new Peer(2)];
  const { url } = before;
  await Promise.all([a.atHome(url), b.atHome(url)]);
  const told = a.status(({ problem }) => problem === 'restarting');
  const lost = a.status(({ state }) => state === 'disconnected');
  await before.close();
  await Promise.all([told, lost]);
  await listen({ bind: url.toUrl().host });
  await Promise.all([a, b].map((peer) => peer.status(({ state }) => state === 'connected')));
  a.send(url, b, utf8('after'));
  await b.until(() => b.received.length === 1);
});

test('ten megabytes of full-size datagrams, as fast as the relay takes them: all come whole', async () => {
  const relay = await listen();
  const [a, b] = [new Peer(1), new Peer(2)];
  await Promise.all([a.atHome(relay.url), b.atHome(relay.url)]);
  const run = Array.from({ length: 40 }, () => new Uint8Array(1_280));
  for (let round = 0; round < 200; round++) {
    run.forEach((datagram, i) => datagram.fill(round + i));
    a.send(relay.url, b, ...run);
    await b.until(() => b.received.length === 40 * (round + 1));
  }
  b.received.forEach(({ data }, i) => {
    const value = (Math.floor(i / 40) + (i % 40)) & 0xff;
    expect([data.length, data[0], data.at(-1)]).toEqual([1_280, value, value]);
  });
});
