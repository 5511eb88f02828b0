/**
 * A relay with all that belongs to it, in virtual time: the hub, the web server that answers probes, and address discovery.
 *
 * @module
 */
import { AddressDiscoveryServer } from '../../src/actors/address-discovery-server.ts';
import type { RelayConfig, TlsTrust } from '../../src/index.ts';
import { RelayServerMetrics } from '../../src/relay/server/metrics.ts';
import { makeServerCertificate } from './certificates.ts';
import { delay, type SimHost } from './sim-network.ts';
import type { SimWorld } from './sim-platform.ts';
import { SimRelays, type SimRelay, type SimRelayOptions } from './sim-relay.ts';
import { SimRng } from './sim-rng.ts';

const QUIC_PORT = 7_842;
/** What endpoints in a simulation believe: the certificates are of today, the simulation is of some other day. */
export const SIM_TRUST: TlsTrust = { insecureSkipVerify: true };

// Made in real time, before any virtual time begins.
const certificate = await makeServerCertificate();

/** How a {@link RelaySite} is made. */
export interface RelaySiteOptions extends SimRelayOptions {
  /** Whether it answers address discovery (default true). */
  readonly hasDiscovery?: boolean;
}

/** One relay at one place. */
export class RelaySite {
  readonly relay: SimRelay;
  readonly host: SimHost;
  /** For the endpoint option `relay`. */
  readonly config: RelayConfig;
  readonly #world: SimWorld;
  readonly #discovery: AddressDiscoveryServer | undefined;

  private constructor(
    world: SimWorld,
    relay: SimRelay,
    host: SimHost,
    config: RelayConfig,
    discovery: AddressDiscoveryServer | undefined,
  ) {
    this.#world = world;
    this.relay = relay;
    this.host = host;
    this.config = config;
    this.#discovery = discovery;
  }

  /** The first one makes the world's relays. @param number - Names it: `https://relay1.example./`, 192.0.2.1. */
  static async open(world: SimWorld, number: number, options: RelaySiteOptions = {}): Promise<RelaySite> {
    const { delayMs = 10, hasDiscovery = true } = options;
    const relays = (world.relays ??= new SimRelays(world, new SimRng(world.seed + number))) as SimRelays;
    const name = `relay${number}.example`;
    const ip = `192.0.2.${number}`;
    const host = world.addHost(name, ip, { links: [delay(delayMs)] });
    world.dns.set(name, [ip]);
    world.dns.set(`${name}.`, [ip]);
    const relay = relays.add(`https://${name}./`, { ...options, delayMs });
    const { chain, key } = certificate;
    const discovery = hasDiscovery
      ? await AddressDiscoveryServer.listen({
          platform: world.platformOf(host),
          ip: '0.0.0.0',
          port: QUIC_PORT,
          cert: chain,
          key,
          metrics: new RelayServerMetrics(),
        })
      : undefined;
    world.serveWeb(relay.url.toUrl().origin, async ({ signal }) => {
      // TCP, TLS, and the request: three round trips.
      await world.sleep(6 * relay.delayMs);
      signal.throwIfAborted();
      if (relay.state !== 'up') throw new Error('nobody is there');
      return { status: 200, headers: new Map(), body: new Uint8Array() };
    });
    const config = { url: relay.url, quicPort: hasDiscovery ? QUIC_PORT : (false as const) };
    return new RelaySite(world, relay, host, config, discovery);
  }

  /** Nothing answers any more: connections are reset, new ones refused. */
  goDown(): void {
    this.relay.goDown();
    this.host.isUp = false;
  }

  comeUp(): void {
    this.relay.comeUp();
    this.host.isUp = true;
  }

  async close(): Promise<void> {
    this.#world.serveWeb(this.relay.url.toUrl().origin, undefined);
    this.relay.close();
    await this.#discovery?.close();
  }
}
