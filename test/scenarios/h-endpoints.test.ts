/** Scenarios H on whole endpoints: data while the network changes, in virtual time; reports, also through a proxy. */
import { afterEach, describe, expect, test } from '@jest/globals';
import type { IncomingMessage } from 'node:http';
import { ActorSystem } from '../../src/actors/actor-system.ts';
import { NetReporter } from '../../src/actors/net-report.ts';
import { equalBytes } from '../../src/base/bytes.ts';
import { Metrics } from '../../src/base/metrics.ts';
import { RelayUrl } from '../../src/base/relay-url.ts';
import { systemPlatform, type Endpoint, type NetReport } from '../../src/index.ts';
import { RelayMap } from '../../src/relay/relay-map.ts';
import { RelayServer } from '../../src/relay-server.ts';
import { Log } from '../../src/transport/log.ts';
import { makeServerCertificate } from '../support/certificates.ts';
import { DialRig } from '../support/dial-rig.ts';
import { echo, simulated, type Pair, type Simulated } from '../support/endpoints.ts';

const CHANGE_INTERVAL_MS = 2_000;

describe('data between two endpoints', () => {
  test.each([
    ['small', 10],
    ['large', 200_000],
  ])('H01: %s data both ways', (_size, length) =>
    simulated(async (place) => {
      const { ours, theirs } = await place.connect();
      const bytes = Uint8Array.from({ length }, (_, i) => i);
      for (const [asking, answering] of [
        [ours, theirs],
        [theirs, ours],
      ] as const) {
        void echo(answering);
        expect(equalBytes((await place.ask(asking, bytes)).answer, bytes)).toBe(true);
      }
    })(),
  );

  /** Tells endpoints again and again of a network that is another one, while data goes there and back. */
  async function changeWhile(place: Simulated, { ours, theirs }: Pair, changing: readonly Endpoint[]) {
    let changes = 0;
    let isDone = false;
    void echo(theirs);
    const bytes = Uint8Array.from({ length: 100_000 }, (_, i) => i);
    const transfers = (async () => {
      for (let round = 0; round < 4; round++) {
        expect(equalBytes((await place.ask(ours, bytes)).answer, bytes)).toBe(true);
        await place.sleep(CHANGE_INTERVAL_MS);
      }
    })().finally(() => (isDone = true));
    while (!isDone) {
      for (const endpoint of changing) {
        const host = place.hostOf(endpoint);
        const interfaces = place.world.interfacesOf(host);
        changes++;
        interfaces.addInterface(`eth${changes}`, [`10.1.${changes}.${place.hosts.indexOf(host)}`]);
        endpoint.networkChanged();
      }
      await place.sleep(CHANGE_INTERVAL_MS);
    }
    await transfers;
    expect(changes).toBeGreaterThan(3);
    for (const endpoint of changing) expect(endpoint.metrics().value('actor_link_change')).toBeGreaterThan(1);
    expect([ours.closeReason, theirs.closeReason]).toEqual([undefined, undefined]);
  }

  test(
    'H02: the network of one of them changes again and again',
    simulated(async (place) => {
      const pair = await place.connect();
      await changeWhile(place, pair, [pair.client]);
    }),
  );

  test(
    'H03: the networks of both change again and again',
    simulated(async (place) => {
      const pair = await place.connect();
      await changeWhile(place, pair, [pair.client, pair.server]);
    }),
  );
});

test(
  'H16: who watches the reports sees that there is none, then the first one, then the end',
  simulated(async (place) => {
    const site = await place.addRelay();
    const endpoint = await place.bind(place.using(site));
    const seen: (NetReport | undefined | 'end')[] = [];
    endpoint.netReport$.subscribe({ next: (report) => seen.push(report), complete: () => seen.push('end') });
    expect(seen).toEqual([undefined]);
    await place.sleep(2_000);
    expect(seen.length).toBeGreaterThan(1);
    expect(seen[1]).toMatchObject({ udpV4: true, preferredRelay: site.config.url });
    expect(seen.at(-1)).toEqual(endpoint.netReport);
    await endpoint.close();
    expect(seen.at(-1)).toBe('end');
  }),
);

describe('the distance of a relay over HTTPS', () => {
  const rig = new DialRig();
  let server: RelayServer | undefined;
  afterEach(async () => {
    await server?.close();
    await rig.close();
  });

  test.each([[false], [true]])('H13: is measured; through a proxy: %s', async (isProxied) => {
    const { root, chain: cert, key } = await makeServerCertificate();
    server = await RelayServer.listen({ tls: { bind: '127.0.0.1:0', cert, key } });
    const { port } = server.url.toUrl();
    const url = RelayUrl.parse(`https://localhost:${port}/`);
    const seen: IncomingMessage[] = [];
    const proxy = isProxied ? `http://127.0.0.1:${await rig.proxy(seen)}/` : undefined;
    const relays = new RelayMap();
    relays.set({ url, quicPort: undefined, authToken: undefined });
    const reporter = new NetReporter({
      system: new ActorSystem({
        clock: systemPlatform.clock,
        onError: (_, error) => expect(error).toBeUndefined(),
      }),
      name: 'test',
      platform: systemPlatform,
      relays,
      qad: undefined,
      families: () => new Set([4]),
      tls: { roots: [root] },
      proxy,
      log: new Log(),
      metrics: new Metrics(),
    });
    const report = await reporter.run({ isFull: true }, new AbortController().signal);
    expect(report.latencies).toEqual([{ url, kind: 'https', latencyMs: expect.any(Number) }]);
    expect(report.latencies[0]!.latencyMs).toBeGreaterThan(0);
    expect(report.preferredRelay).toBe(url);
    // Several attempts overlap.
    expect([...new Set(seen.map(({ method, url: target }) => `${method} ${target}`))]).toEqual(
      isProxied ? [`CONNECT localhost:${port}`] : [],
    );
    await reporter.close();
  });
});
