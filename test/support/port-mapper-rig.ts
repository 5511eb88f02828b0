/**
 * A port mapper alone, behind a router, in virtual time. What it tells is written down.
 *
 * @module
 */
import { expect } from '@jest/globals';
import { ActorSystem } from '../../src/actors/actor-system.ts';
import { PortMapper } from '../../src/actors/port-mapper.ts';
import type { Millis } from '../../src/base/clock.ts';
import { Metrics } from '../../src/base/metrics.ts';
import { Log } from '../../src/transport/log.ts';
import type { Platform } from '../../src/transport/platform.ts';
import { SimGateway, type GatewayProtocol } from './sim-gateway.ts';
import type { SimHost } from './sim-network.ts';
import { SimWorld, type SimHostNetwork } from './sim-platform.ts';

/** Our own address, and the router's on both sides. */
export const HOST_IP = '192.168.1.20';
export const GATEWAY_IP = '192.168.1.1';
export const EXTERNAL_IP = '203.0.113.7';

export interface PortMapperRigOptions {
  readonly seed?: number;
  readonly services?: readonly GatewayProtocol[];
  /** Changes the host's platform. */
  readonly platform?: (platform: Platform) => Platform;
}

export class PortMapperRig {
  readonly world: SimWorld;
  readonly host: SimHost;
  readonly network: SimHostNetwork;
  readonly gateway: SimGateway;
  readonly system: ActorSystem;
  readonly metrics = new Metrics();
  readonly mapper: PortMapper;
  /** Addresses as they were told, `none` for none, the one at the start left out. */
  readonly told: string[] = [];
  readonly errors: unknown[] = [];

  constructor({ seed = 1, services = ['pcp', 'natPmp', 'upnp'], platform }: PortMapperRigOptions = {}) {
    this.world = new SimWorld(seed);
    const nat = { kind: 'moderate', outsideIp: EXTERNAL_IP, gatewayIp: GATEWAY_IP } as const;
    this.host = this.world.addHost('host', HOST_IP, { nat });
    this.network = this.world.interfacesOf(this.host);
    this.gateway = new SimGateway(this.world, this.host, services);
    this.system = new ActorSystem({
      clock: this.world.clock,
      onError: (_actor, error) => this.errors.push(error),
    });
    const own = this.world.platformOf(this.host);
    this.mapper = new PortMapper({
      system: this.system,
      name: 'test',
      platform: platform?.(own) ?? own,
      log: new Log(),
      metrics: this.metrics,
    });
    let isFirst = true;
    this.mapper.externalAddr.subscribe('test', (addr) => {
      if (!isFirst) this.told.push(addr?.text ?? 'none');
      isFirst = false;
    });
  }

  /** Lets virtual time pass. */
  run(ms: Millis): Promise<void> {
    return this.world.run(this.world.sleep(ms), ms);
  }

  /** Asks for a mapping of a port and waits until it is there, or is not. */
  async procure(port = 4_242): Promise<string | undefined> {
    this.mapper.setPort(port);
    this.mapper.procure();
    await this.run(4_000);
    return this.mapper.externalAddr.value?.text;
  }

  /** What the router was asked from now on during `work`. */
  async during(work: () => void, ms: Millis): Promise<string[]> {
    const from = this.gateway.requests.length;
    work();
    await this.run(ms);
    return this.gateway.requests.slice(from);
  }

  /** Ends it, and looks for what is left. */
  async stop(): Promise<void> {
    await this.world.run(this.mapper.stop(), 1_000);
    // Answers under way are the world's own.
    await this.run(100);
    expect(this.errors).toEqual([]);
    expect(this.mapper.externalAddr.value).toBeUndefined();
    expect([...this.system.running]).toEqual([]);
    expect({ sockets: this.world.openSockets, timers: this.world.clock.pendingTimers }).toEqual({
      sockets: 0,
      timers: 0,
    });
  }
}
