/**
 * A net reporter on a simulated host with one socket, and relays with address discovery and a web server around it.
 *
 * @module
 */
import { expect } from '@jest/globals';
import { ActorSystem } from '../../src/actors/actor-system.ts';
import { AddressDiscoveryServer } from '../../src/actors/address-discovery-server.ts';
import { EngineDriver } from '../../src/actors/engine-driver.ts';
import { NetReporter } from '../../src/actors/net-report.ts';
import { QadClient } from '../../src/actors/qad-client.ts';
import { Metrics } from '../../src/base/metrics.ts';
import { RelayUrl } from '../../src/base/relay-url.ts';
import type { NetReport } from '../../src/net-report/report.ts';
import { QuicEndpoint } from '../../src/quic/endpoint.ts';
import { RelayMap } from '../../src/relay/relay-map.ts';
import { RelayServerMetrics } from '../../src/relay/server/metrics.ts';
import type { DatagramTransport } from '../../src/transport/datagram.ts';
import { Log } from '../../src/transport/log.ts';
import { makeServerCertificate } from './certificates.ts';
import { delay, type HostOptions, type SimHost } from './sim-network.ts';
import { SimWorld } from './sim-platform.ts';

const QUIC_PORT = 7_842;

// Made in real time, before any virtual time begins.
const certificate = await makeServerCertificate();

/** One of the relays around. */
export interface ReportedRelay {
  readonly url: RelayUrl;
  readonly host: SimHost;
  readonly server: AddressDiscoveryServer;
}

/** A host with one socket and relays around it. */
export class NetReportRig {
  readonly world: SimWorld;
  readonly host: SimHost;
  readonly relays = new RelayMap();
  readonly metrics = new Metrics();
  readonly around: ReportedRelay[] = [];
  readonly pings: string[] = [];
  reporter!: NetReporter;
  system!: ActorSystem;
  #socket!: DatagramTransport;
  #driver!: EngineDriver;

  constructor(seed: number, options: HostOptions = {}) {
    this.world = new SimWorld(seed);
    this.host = this.world.addHost('host', '10.0.0.7', { links: [delay(10)], ...options });
  }

  /** A relay `oneWayMs` away, give or take `jitterMs`. @param hasWeb - Whether it answers `/ping`. */
  async addRelay(
    oneWayMs: number,
    { hasWeb = true, hasQad = true, jitterMs = 0 } = {},
  ): Promise<ReportedRelay> {
    const i = this.around.length + 1;
    const host = this.world.addHost(`relay${i}`, `192.0.2.${i}`, { links: [delay(oneWayMs, jitterMs)] });
    const url = RelayUrl.parse(`https://relay${i}.example./`);
    const server = await AddressDiscoveryServer.listen({
      platform: this.world.platformOf(host),
      ip: '0.0.0.0',
      port: QUIC_PORT,
      cert: certificate.chain,
      key: certificate.key,
      metrics: new RelayServerMetrics(),
    });
    const { origin } = url.toUrl();
    if (hasWeb)
      this.world.serveWeb(origin, async (request) => {
        this.pings.push(request.url);
        await this.world.sleep(6 * oneWayMs);
        request.signal.throwIfAborted();
        return { status: 200, headers: new Map(), body: new Uint8Array() };
      });
    this.relays.set({ url, quicPort: hasQad ? QUIC_PORT : undefined, authToken: undefined });
    const relay = { url, host, server };
    this.around.push(relay);
    return relay;
  }

  async start(): Promise<void> {
    const platform = this.world.platformOf(this.host);
    const { clock, rng } = platform;
    const socket = (this.#socket = await platform.bindUdp!({ ip: '0.0.0.0', port: 0 }));
    const engine = new QuicEndpoint({ rng, wallOffsetMs: clock.wallNow() - clock.now() });
    const transports = {
      onDatagrams: undefined as DatagramTransport['onDatagrams'],
      onDrained: undefined,
      queued: 0,
      send: (batch: Parameters<DatagramTransport['send']>[0]) => socket.send(batch, 0, batch.length),
    };
    this.#driver = new EngineDriver(engine, transports, clock);
    socket.onDatagrams = (batch) => transports.onDatagrams?.(batch);
    this.system = new ActorSystem({
      clock,
      onError: (_actor, error) => {
        throw error;
      },
    });
    this.reporter = new NetReporter({
      system: this.system,
      name: 'test',
      platform,
      relays: this.relays,
      qad: new QadClient({
        driver: this.#driver,
        resolve: async (name, family) =>
          family === 4
            ? this.around.filter(({ url }) => url.href.includes(name)).map(({ host }) => host.ips[0]!)
            : [],
        // The certificate is of today, the simulation of some other day.
        tls: { insecureSkipVerify: true },
      }),
      families: () => new Set([4]),
      log: new Log(),
      metrics: this.metrics,
    });
  }

  /** A report and how long it took. */
  async report(isFull = false): Promise<NetReport & { readonly tookMs: number }> {
    const from = this.world.clock.now();
    const report = await this.world.run(this.reporter.run({ isFull }, new AbortController().signal), 20_000);
    return { ...report, tookMs: this.world.clock.now() - from };
  }

  run(ms: number): Promise<void> {
    return this.world.run(this.world.sleep(ms), ms);
  }

  async end(): Promise<void> {
    await this.reporter.close();
    // The engine keeps what is closed for three PTOs.
    await this.run(10_000);
    expect(this.#driver.engine.connectionCount).toBe(0);
    this.#driver.stop();
    await this.#socket.close();
    await this.world.run(Promise.all(this.around.map(({ server }) => server.close())), 10_000);
    expect(this.system.running.size).toBe(0);
  }
}
