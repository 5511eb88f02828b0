/**
 * Gives the chart of `machines/socket.ts` its body: direct addresses, net reports, the home relay, and what follows from a
 * change of the network. One per endpoint.
 *
 * Datagrams, dials and new connections do not pass through here: there is one thread, and their tables are called directly.
 *
 * @module
 */
import { fromPromise, type Actor } from 'xstate';
import type { Subscription } from 'rxjs';
import { localIps, type InterfaceState } from '../base/interface-state.ts';
import type { Metrics } from '../base/metrics.ts';
import type { RelayUrl } from '../base/relay-url.ts';
import { randomBelow } from '../base/rng.ts';
import { isUnspecified, type Addr } from '../base/socket-addr.ts';
import {
  composeDirectAddrs,
  equalDirectAddrs,
  type DirectAddr,
  type LocalSocket,
} from '../machines/direct-addrs.ts';
import { compareNetworks, isNetworkUsable, networkKey } from '../machines/network-change.ts';
import { MAX_RE_STUN_INTERVAL_MS, MIN_RE_STUN_INTERVAL_MS, socketMachine } from '../machines/socket.ts';
import type { NetReport } from '../net-report/report.ts';
import { gatewayRoute } from '../port-mapper/gateway-route.ts';
import type { RelayMap } from '../relay/relay-map.ts';
import type { Inbox } from '../transport/channel.ts';
import { type Sender, type Watch, type Watched } from '../transport/channel.ts';
import type { Log } from '../transport/log.ts';
import { NetworkMonitor } from '../transport/network-monitor.ts';
import type { Platform } from '../transport/platform.ts';
import type { ActorSystem } from './actor-system.ts';

/** What others may ask of the socket actor. */
export type SocketCommand =
  /** The network may have changed: look at it. */
  | { readonly type: 'networkHint' }
  /** Relays were added, replaced or taken away. */
  | { readonly type: 'relayMapChanged' }
  /** What the direct addresses are made of changed: configured addresses, for example. */
  | { readonly type: 'directRefresh' }
  /** Sockets were bound anew, or a custom transport has other addresses. */
  | { readonly type: 'localAddrsChanged' }
  /** The router opened a port for us, or closed it. */
  | { readonly type: 'portMapChanged' }
  /** A relay sees us under another address: another report would say something new. */
  | { readonly type: 'addressFound' }
  /** For tests: as if the network had changed. */
  | { readonly type: 'forceNetworkChange'; readonly isMajor: boolean };

const OVERFLOW = {
  networkHint: 'dropNewest',
  relayMapChanged: 'dropNewest',
  directRefresh: 'dropNewest',
  localAddrsChanged: 'dropNewest',
  portMapChanged: 'dropNewest',
  addressFound: 'dropNewest',
  forceNetworkChange: 'wait',
} as const;

/** Commands in all that may wait; upstream `iroh/src/socket.rs`. */
export const SOCKET_INBOX_CAPACITY = 256;

/** The part of the relay manager that is steered from here. */
export interface RelayControl {
  readonly homeRelay: Watched<{ readonly url: RelayUrl } | undefined>;
  setHome(url: RelayUrl | undefined): void;
  setIpv6Works(works: boolean): void;
  checkConnections(localIps: readonly string[]): void;
  cutBackoff(): void;
}

/** The part of the port mapper that is steered from here. */
export interface PortMapControl {
  /** Under which address the router lets others reach our port. */
  readonly externalAddr: Watched<Addr | undefined>;
  setPort(port: number | undefined): void;
  procure(): void;
  check(): void;
  closeStarted(): void;
}

/** Makes net reports, one at a time. */
export interface ReportMaker {
  /** @returns what was found out. Rejects when `signal` aborts. */
  run(options: { readonly isFull: boolean }, signal: AbortSignal): Promise<NetReport>;
  /** Is called when another report would say something new. */
  onFinding: (() => void) | undefined;
  /** Gives up the running report and frees what is kept between reports. Idempotent. */
  close(): Promise<void>;
}

/** What others are told about where we are. */
export interface OwnAddrs {
  readonly directAddrs: readonly DirectAddr[];
  readonly homeRelay: RelayUrl | undefined;
}

/** A change that the QUIC engine is told of. */
export interface NetworkNotice {
  readonly isMajor: boolean;
  /** The host's addresses, loopback included: an IP path from another one is lost. */
  readonly localIps: ReadonlySet<string>;
  /** Those that it had at the notice before, and has no more. */
  readonly goneIps: ReadonlySet<string>;
}

/** How a {@link SocketActor} is made. */
export interface SocketActorOptions {
  readonly system: ActorSystem;
  /** Short form of the endpoint's id. */
  readonly name: string;
  readonly platform: Platform;
  /** The sockets as they are now. */
  readonly sockets: () => readonly LocalSocket[];
  readonly relays: RelayMap;
  /** Undefined: no relays on this endpoint. */
  readonly relayManager: RelayControl | undefined;
  /** Undefined: no reports, and so no home relay. */
  readonly netReporter: ReportMaker | undefined;
  /** Undefined: routers are left alone. */
  readonly portMapper?: PortMapControl | undefined;
  /** What the application says about where we are. */
  readonly externalAddrs: Iterable<Addr>;
  /** Whether others can be told of anything beside direct addresses and the home relay: of custom transports. Default: no. */
  readonly hasOtherAddrs?: () => boolean;
  /** Binds sockets anew after a major change. Its errors are logged. */
  readonly rebind: () => Promise<void>;
  /** Tells engine and remotes of a change, once the network can be used. */
  readonly notifyQuic: (notice: NetworkNotice) => void;
  /** Tells lookup services where we are. */
  readonly publish: (own: OwnAddrs) => void;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** Knows where this endpoint is. */
export class SocketActor {
  readonly #options: SocketActorOptions;
  readonly #name: string;
  readonly #directAddrs: Watch<readonly DirectAddr[]>;
  readonly #netReport: Watch<NetReport | undefined>;
  readonly #inbox: Inbox<SocketCommand, typeof OVERFLOW>;
  readonly #stopped: Promise<void>;
  #actor: Actor<typeof socketMachine> | undefined;
  #monitor: NetworkMonitor | undefined;
  readonly #subscriptions: Subscription[] = [];
  #home: string | undefined;
  /** What QUIC knows. */
  #toldIps: ReadonlySet<string> = new Set();
  #setStopped!: () => void;
  #isStopping = false;
  /** Under which IPv4 address relays saw us last. */
  #seenIp: string | undefined;

  constructor(options: SocketActorOptions) {
    this.#options = options;
    this.#name = `socket ${options.name}`;
    const { system } = options;
    this.#directAddrs = system.watch<readonly DirectAddr[]>(
      'direct addresses',
      this.#name,
      [],
      equalDirectAddrs,
    );
    this.#netReport = system.watch<NetReport | undefined>('net report', this.#name, undefined);
    this.#inbox = system.inbox<SocketCommand, typeof OVERFLOW>({
      name: 'socket commands',
      owner: this.#name,
      // All but the last are the same however often they are said: one of a kind waits, and a second one changes nothing.
      capacities: [1, 1, 1, 1, 1, 1, SOCKET_INBOX_CAPACITY],
      lanes: {
        networkHint: 0,
        relayMapChanged: 1,
        directRefresh: 2,
        localAddrsChanged: 3,
        portMapChanged: 4,
        addressFound: 5,
        forceNetworkChange: 6,
      },
      overflow: OVERFLOW,
      deliver: (command) => this.#deliver(command),
    });
    this.#stopped = new Promise((resolve) => (this.#setStopped = resolve));
  }

  /** Where this endpoint may be reached without a relay. Known as soon as {@link start} returns. */
  get directAddrs(): Watched<readonly DirectAddr[]> {
    return this.#directAddrs;
  }

  /** The latest report; undefined before the first, and while there are no relays. */
  get netReport(): Watched<NetReport | undefined> {
    return this.#netReport;
  }

  /** The host's network as last told. */
  get network(): InterfaceState {
    return this.#monitor?.state ?? this.#options.platform.interfaceState();
  }

  /** For one actor that has something to say. @param from - Its name. */
  sender(from: string): Sender<SocketCommand, typeof OVERFLOW> {
    return this.#inbox.sender(from);
  }

  /** Composes the direct addresses, publishes, asks for the first report. */
  start(): void {
    const { platform, relayManager, netReporter, portMapper, system, metrics } = this.#options;
    if (netReporter !== undefined)
      netReporter.onFinding = () => void this.sender(this.#name).send({ type: 'addressFound' });
    this.#monitor = new NetworkMonitor({
      clock: platform.clock,
      look: () => platform.interfaceState(),
      follow: platform.onNetworkChange,
      keyOf: networkKey,
      onChange: (state, before) => {
        this.#options.metrics.add('actor_link_change');
        // What equals what was before has slept meanwhile.
        const isMajor = compareNetworks(before, state) === 'major';
        this.#log(() => `network changed, ${isMajor ? 'major' : 'minor'}`);
        this.#actor?.send({ type: 'networkChanged', isMajor });
      },
    });
    this.#home = relayManager?.homeRelay.value?.url.href;
    this.#toldIps = this.#localIps();
    this.#actor = system.start(this.#machine(), this.#name, { endpoint: this.#options.name });
    this.#actor.subscribe({ complete: () => this.#end(), error: () => this.#end() });
    const home = relayManager?.homeRelay.subscribe(this.#name, (status) => {
      if (status?.url.href === this.#home) return;
      this.#home = status?.url.href;
      this.#inbox.sender(this.#name).send({ type: 'localAddrsChanged' });
    });
    let told = portMapper?.externalAddr.value;
    const mapped = portMapper?.externalAddr.subscribe(this.#name, (addr) => {
      if (addr === told) return;
      told = addr;
      if (addr !== undefined) metrics.add('portmap_external_address_updated');
      this.#inbox.sender(this.#name).send({ type: 'portMapChanged' });
    });
    for (const each of [home, mapped]) if (each !== undefined) this.#subscriptions.push(each);
  }

  #machine(): typeof socketMachine {
    const { relays, netReporter, metrics, platform, relayManager, portMapper } = this.#options;
    return socketMachine.provide({
      actors: {
        'bind sockets anew': fromPromise(() => this.#rebind()),
        'make net report': fromPromise(({ input, signal }) => this.#report(input, signal)),
        'stop own parts': fromPromise(() => this.#stopParts()),
      },
      actions: {
        'read interfaces': () => this.#monitor!.lookAgain(),
        'refresh direct addresses': () => this.#refresh(),
        publish: () => this.#publish(),
        'check relay connections': () => {
          relayManager?.checkConnections([...this.#localIps()]);
          relayManager?.cutBackoff();
        },
        'ask for port mapping': () => this.#procure(),
        'forget report': () => {
          this.#netReport.set(undefined);
          this.#refresh();
        },
        'tell QUIC of change': ({ context }) => this.#notifyQuic(context.isPendingMajor),
        'end reports': () => {
          portMapper?.closeStarted();
          void netReporter?.close();
        },
        'count tick': () => metrics.add('actor_tick_re_stun'),
      },
      guards: {
        'network is usable': () => isNetworkUsable(platform.interfaceState()),
        'has local addresses': () => this.#isAnywhere,
        'has no relays': () => relays.size === 0 || netReporter === undefined,
      },
      delays: {
        're-STUN interval': () =>
          MIN_RE_STUN_INTERVAL_MS +
          randomBelow(platform.rng, MAX_RE_STUN_INTERVAL_MS - MIN_RE_STUN_INTERVAL_MS + 1),
      },
    });
  }

  #deliver(command: SocketCommand): void {
    if (command.type === 'forceNetworkChange')
      this.#actor?.send({ type: 'networkChanged', isMajor: command.isMajor });
    else if (command.type === 'addressFound') this.#actor?.send({ type: 'reportWanted', reason: 'periodic' });
    else this.#actor?.send(command);
  }

  /** There is something that others can be told. */
  get #isAnywhere(): boolean {
    const { relayManager, hasOtherAddrs } = this.#options;
    return (
      this.#directAddrs.value.length > 0 ||
      relayManager?.homeRelay.value !== undefined ||
      hasOtherAddrs?.() === true
    );
  }

  #localIps(): Set<string> {
    const { regular, loopback } = localIps(this.#options.platform.interfaceState());
    return new Set([...regular, ...loopback]);
  }

  #notifyQuic(isMajor: boolean): void {
    const localIps = this.#localIps();
    const goneIps = new Set([...this.#toldIps].filter((ip) => !localIps.has(ip)));
    this.#toldIps = localIps;
    this.#options.notifyQuic({ isMajor, localIps, goneIps });
  }

  async #rebind(): Promise<void> {
    try {
      await this.#options.rebind();
    } catch (error) {
      this.#log(() => `sockets could not be bound anew: ${String(error)}`);
    }
  }

  /** The port is that of the first IPv4 socket that the router can send to; upstream looks once, at the start. */
  #procure(): void {
    const { portMapper, sockets, metrics, platform } = this.#options;
    if (portMapper === undefined) return;
    const localIp = gatewayRoute(platform.interfaceState())?.localIp;
    const socket = sockets().find(
      ({ addr }) => addr.family === 4 && (isUnspecified(addr) || addr.ip === localIp),
    );
    metrics.add('portmap_attempts');
    portMapper.setPort(socket?.addr.port);
    portMapper.procure();
  }

  async #report(options: { readonly isFull: boolean }, signal: AbortSignal): Promise<void> {
    let report: NetReport;
    try {
      report = await this.#options.netReporter!.run(options, signal);
    } catch (error) {
      if (!signal.aborted) this.#log(() => `net report failed: ${String(error)}`);
      throw error;
    }
    if (!signal.aborted) this.#take(report);
  }

  #take(report: NetReport): void {
    const { relayManager, portMapper } = this.#options;
    const home = relayManager?.homeRelay.value?.url;
    const seenIp = report.globalV4?.ip;
    // The router has another address, and may have forgotten us. Reports between the two may not have known any.
    if (seenIp !== undefined) {
      if (this.#seenIp !== undefined && seenIp !== this.#seenIp) portMapper?.check();
      this.#seenIp = seenIp;
    }
    // A report that found no relay says more about the moment than about the relay that we have.
    const kept = report.preferredRelay === undefined ? { ...report, preferredRelay: home } : report;
    relayManager?.setIpv6Works(kept.udpV6);
    if (kept.preferredRelay !== undefined) relayManager?.setHome(kept.preferredRelay);
    this.#netReport.set(kept);
    this.#refresh();
  }

  /** Puts the direct addresses together anew and tells who needs to know if they differ. */
  #refresh(): void {
    const { sockets, externalAddrs, platform, portMapper } = this.#options;
    const addrs = composeDirectAddrs({
      portMapped: portMapper?.externalAddr.value,
      report: this.#netReport.value,
      sockets: sockets(),
      network: platform.interfaceState(),
      configured: externalAddrs,
    });
    // Before the actor exists this is its first step, which publishes anyway.
    if (this.#directAddrs.set(addrs) && this.#actor !== undefined) this.#publish();
  }

  #publish(): void {
    if (this.#isStopping) return;
    const own = {
      directAddrs: this.#directAddrs.value,
      homeRelay: this.#options.relayManager?.homeRelay.value?.url,
    };
    if (!this.#isAnywhere) return;
    try {
      this.#options.publish(own);
    } catch (error) {
      this.#log(() => `publishing failed: ${String(error)}`);
    }
  }

  #log(line: () => string): void {
    this.#options.log.write('endpoint', () => `${this.#options.name} ${line()}`);
  }

  /** The endpoint is about to close: the running report is given up, and none follows. */
  closeStarted(): void {
    this.#actor?.send({ type: 'closeStarted' });
  }

  /** Ends the actor: no publication and no value after this. Resolves within the grace of the chart. */
  stop(): Promise<void> {
    this.#isStopping = true;
    if (this.#actor === undefined) this.#end();
    else this.#actor.send({ type: 'stop' });
    return this.#stopped;
  }

  async #stopParts(): Promise<void> {
    this.#stopListening();
    await this.#options.netReporter?.close();
  }

  #stopListening(): void {
    this.#monitor?.stop();
    for (const subscription of this.#subscriptions) subscription.unsubscribe();
  }

  #end(): void {
    this.#isStopping = true;
    this.#stopListening();
    this.#inbox.close();
    this.#directAddrs.close();
    this.#netReport.close();
    this.#setStopped();
  }
}
