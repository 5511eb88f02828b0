/**
 * Gives the chart of `machines/port-mapper.ts` its body: asks the gateway by PCP, NAT-PMP or UPnP for a port, and tells under
 * which address others reach it.
 *
 * @module
 */
import { fromPromise, type Actor } from 'xstate';
import { MAX_TIMER_DELAY_MS, type Millis } from '../base/clock.ts';
import type { Metrics } from '../base/metrics.ts';
import type { Addr } from '../base/socket-addr.ts';
import {
  portMapperMachine,
  RELEASE_GRACE_MS,
  RENEWAL_RETRY_MS,
  type PortMapperEvent,
} from '../machines/port-mapper.ts';
import { Availability } from '../port-mapper/availability.ts';
import { PortMapError, type PortMapFault } from '../port-mapper/fault.ts';
import { gatewayRoute, type GatewayRoute } from '../port-mapper/gateway-route.ts';
import { MAPPING_PROTOCOLS, type Lease, type MappingProtocol } from '../port-mapper/lease.ts';
import type { Watch, Watched } from '../transport/channel.ts';
import type { Log } from '../transport/log.ts';
import type { Platform } from '../transport/platform.ts';
import type { ActorSystem } from './actor-system.ts';
import { IgdClient } from './igd-client.ts';
import { NatPmpService, PcpService, type MappingHost, type MappingService } from './mapping-services.ts';
import { Deferred } from './wait.ts';

/** A renewal that failed is tried again at the latest after this part of the lease. */
const RENEWAL_PART = 8;

/** How a {@link PortMapper} is made. */
export interface PortMapperOptions {
  readonly system: ActorSystem;
  /** Short form of the endpoint's id. */
  readonly name: string;
  readonly platform: Platform;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** Keeps one port mapped. */
export class PortMapper {
  readonly #options: PortMapperOptions;
  readonly #actor: Actor<typeof portMapperMachine>;
  readonly #externalAddr: Watch<Addr | undefined>;
  readonly #services: Readonly<Record<MappingProtocol, MappingService>>;
  readonly #availability = new Availability();
  readonly #refusals = new Map<PortMapFault, number>();
  /** Whatever has sockets or requests open, what nobody waits for included. Never rejects. */
  readonly #busy = new Set<Promise<void>>();
  readonly #ended = new AbortController();
  readonly #stopped = new Deferred<void>();
  /** Held now. */
  #lease: Lease | undefined;
  /** Held last. */
  #previous: Lease | undefined;

  constructor(options: PortMapperOptions) {
    this.#options = options;
    const { system, platform } = options;
    const name = `port mapper ${options.name}`;
    const host: MappingHost = {
      platform,
      onRefused: (error) => this.#refuse(error),
      later: (task) => this.#goOn(task),
    };
    this.#services = {
      pcp: new PcpService(host),
      natPmp: new NatPmpService(host),
      upnp: new IgdClient(host),
    };
    this.#externalAddr = system.watch<Addr | undefined>('external address', name, undefined);
    this.#actor = system.start(this.#machine(), name, { endpoint: options.name });
    this.#actor.subscribe({ complete: () => this.#end(), error: () => this.#end() });
  }

  /** Under which address the router lets others reach our port; undefined while it does not. */
  get externalAddr(): Watched<Addr | undefined> {
    return this.#externalAddr;
  }

  /** What the router's answers, or those that claimed to be, were refused for, and how often. */
  get refusals(): ReadonlyMap<PortMapFault, number> {
    return this.#refusals;
  }

  /** Which port is to be mapped; undefined: none. */
  setPort(port: number | undefined): void {
    this.#send({ type: 'setPort', port });
  }

  /** Asks for a mapping unless there is one. */
  procure(): void {
    this.#send({ type: 'procure' });
  }

  /** The external address may be another one. */
  check(): void {
    this.#send({ type: 'check' });
  }

  /** The endpoint is about to close: gives up what runs. What is mapped stays until {@link stop}. */
  closeStarted(): void {
    this.#send({ type: 'closeStarted' });
  }

  /** Gives the mapping back. Resolves when the router knows, or has had its time. Idempotent. */
  stop(): Promise<void> {
    this.#send({ type: 'stop' });
    return this.#stopped.promise;
  }

  #send(event: PortMapperEvent): void {
    if (!this.#ended.signal.aborted) this.#actor.send(event);
  }

  #machine(): typeof portMapperMachine {
    const { platform } = this.#options;
    return portMapperMachine.provide({
      actors: {
        'probe gateway': fromPromise(({ signal }) => this.#track(this.#probe(signal))),
        'map port': fromPromise(async ({ input, signal }) => {
          // What is being given back may be what is asked for next.
          await this.#settled();
          signal.throwIfAborted();
          return this.#track(this.#map(input.port, signal));
        }),
        'renew lease': fromPromise(({ signal }) => this.#track(this.#renew(signal))),
        'give lease back': fromPromise(() => this.#giveBack()),
      },
      actions: {
        'tell address': () => void this.#externalAddr.set(this.#lease?.external),
        'tell no address': () => void this.#externalAddr.set(undefined),
        'release lease': () => this.#release(),
        'forget lease': () => this.#forget(),
      },
      guards: {
        'can ask a router': () => platform.bindUdp !== undefined,
        'knows a service': () => this.#usable(this.#route()).length > 0,
        'may probe': () => {
          const route = this.#route();
          return route !== undefined && this.#availability.mayProbe(route.gateway, platform.clock.now());
        },
        'lease is of no use': () => this.#isOfNoUse(),
      },
      delays: {
        'half of lease': () => Math.min(this.#lease!.lifetimeMs / 2, MAX_TIMER_DELAY_MS),
        'renewal interval': ({ context }) => renewalIntervalOf(this.#lease!, context.failedRenewals),
      },
    });
  }

  #route(): GatewayRoute | undefined {
    return gatewayRoute(this.#options.platform.interfaceState());
  }

  #usable(route: GatewayRoute | undefined): MappingProtocol[] {
    if (route === undefined) return [];
    return this.#availability.usable(route.gateway, this.#options.platform.clock.now());
  }

  /** Another router, another address of our own, or over while the host slept and no timer ran. */
  #isOfNoUse(): boolean {
    const { gateway, localIp, grantedAt, lifetimeMs } = this.#lease!;
    if (this.#options.platform.clock.wallNow() >= grantedAt + lifetimeMs) return true;
    const route = this.#route();
    // A network that is away for a moment may come back with everything.
    return route !== undefined && (route.gateway !== gateway || route.localIp !== localIp);
  }

  // --- what the chart has done ----------------------------------------------------------------------------------------------

  /** All services at the same time; the best one ends the wait. */
  async #probe(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options.platform;
    const route = this.#route();
    if (route === undefined) throw new PortMapError('silent', 'there is no gateway');
    this.#options.metrics.add('portmap_probes_started');
    this.#availability.probeStarted(route.gateway, clock.now());
    const rest = new AbortController();
    const abort = (): void => rest.abort(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    const probes = MAPPING_PROTOCOLS.map(async (protocol) => {
      try {
        await this.#services[protocol].probe(route, rest.signal);
        if (!rest.signal.aborted) this.#availability.seen(protocol, clock.now());
        return true;
      } catch (error) {
        if (!rest.signal.aborted) this.#log(() => `no ${protocol} at ${route.gateway}: ${messageOf(error)}`);
        return false;
      }
    });
    for (const probe of probes) if (await probe) break;
    abort();
    await Promise.all(probes);
    signal.removeEventListener('abort', abort);
  }

  async #map(localPort: number, signal: AbortSignal): Promise<void> {
    const { metrics } = this.#options;
    const route = this.#route();
    let failure: unknown = new PortMapError('silent', 'there is no gateway');
    metrics.add('portmap_mapping_attempts');
    for (const protocol of this.#usable(route)) {
      const order = { route: route!, localPort, previous: this.#previous, isRenewal: false };
      try {
        this.#take(await this.#services[protocol].map(order, signal), signal);
        return;
      } catch (error) {
        signal.throwIfAborted();
        failure = error;
        this.#availability.failed(protocol);
        this.#log(() => `no mapping by ${protocol}: ${messageOf(error)}`);
      }
    }
    metrics.add('portmap_mapping_failures');
    throw failure;
  }

  async #renew(signal: AbortSignal): Promise<void> {
    const lease = this.#lease!;
    const { handle, gateway, localIp, localPort } = lease;
    const order = { route: { gateway, localIp }, localPort, previous: lease, isRenewal: true };
    try {
      this.#take(await this.#services[handle.protocol].map(order, signal), signal);
    } catch (error) {
      if (!signal.aborted) this.#log(() => `not renewed: ${messageOf(error)}`);
      throw error;
    }
  }

  #take(lease: Lease, signal: AbortSignal): void {
    if (signal.aborted) {
      this.#goOn((limit) => this.#services[lease.handle.protocol].release(lease, limit));
      throw signal.reason as Error;
    }
    this.#lease = lease;
    this.#log(() => `${lease.external.text} leads to port ${lease.localPort}, by ${lease.handle.protocol}`);
  }

  #forget(): void {
    if (this.#lease === undefined) return;
    this.#previous = this.#lease;
    this.#lease = undefined;
  }

  #release(): void {
    const lease = this.#lease;
    if (lease === undefined) return;
    this.#forget();
    this.#goOn((limit) => this.#services[lease.handle.protocol].release(lease, limit));
  }

  async #giveBack(): Promise<void> {
    // What was given up a moment ago may still have something to take back.
    await this.#settled();
    this.#release();
    await this.#settled();
  }

  async #settled(): Promise<void> {
    while (this.#busy.size > 0) await Promise.all(this.#busy);
  }

  #track(work: Promise<void>): Promise<void> {
    const done = work
      .catch(() => undefined)
      .then(() => {
        this.#busy.delete(done);
      });
    this.#busy.add(done);
    return work;
  }

  /** Runs on without anybody waiting, for a moment. */
  #goOn(task: (signal: AbortSignal) => Promise<void>): void {
    const { clock } = this.#options.platform;
    const limit = new AbortController();
    const abort = (): void => limit.abort(new Error('not released in time'));
    const timer = clock.setTimeout(abort, RELEASE_GRACE_MS);
    this.#ended.signal.addEventListener('abort', abort, { once: true });
    if (this.#ended.signal.aborted) abort();
    const run = task(limit.signal)
      .catch((error: unknown) => this.#log(() => `not released: ${messageOf(error)}`))
      .finally(() => {
        clock.clearTimeout(timer);
        this.#ended.signal.removeEventListener('abort', abort);
      });
    void this.#track(run);
  }

  #refuse(error: PortMapError): void {
    this.#refusals.set(error.fault, (this.#refusals.get(error.fault) ?? 0) + 1);
    this.#options.metrics.add('portmap_refusals');
  }

  #log(line: () => string): void {
    this.#options.log.write('endpoint', () => `${this.#options.name} port mapper: ${line()}`);
  }

  #end(): void {
    this.#ended.abort();
    this.#externalAddr.set(undefined);
    this.#externalAddr.close();
    this.#stopped.resolve();
  }
}

/**
 * Ms until the next try, after one or more `failures`. The lease itself may last, but the address that others are told may be
 * wrong: one lost answer must not cost much.
 */
function renewalIntervalOf({ lifetimeMs }: Lease, failures: number): Millis {
  const atLatestMs = Math.max(lifetimeMs / RENEWAL_PART, RENEWAL_RETRY_MS);
  return Math.min(RENEWAL_RETRY_MS * 2 ** (failures - 1), atLatestMs);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
