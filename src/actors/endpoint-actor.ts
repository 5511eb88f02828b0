/**
 * What runs behind an `Endpoint`: engine, driver and transports, and the actors that decide about them. Made in one go, ended
 * in the order of `machines/endpoint.ts`.
 *
 * @module
 */
import type { AddrFilter, AddressLookup } from '../address-lookup/service.ts';
import type { EndpointAddr } from '../base/endpoint-addr.ts';
import type { EndpointId } from '../base/endpoint-id.ts';
import { AddressLookupFailed, BindError, ConnectError, ConnectWithOptsError } from '../base/errors.ts';
import { Metrics } from '../base/metrics.ts';
import { formatRemoteAddr, type RemoteAddr } from '../base/remote-addr.ts';
import { isUnspecified, type Addr } from '../base/socket-addr.ts';
import type { SecretKey } from '../crypto/keys.ts';
import type { PathPolicy, PathSelector } from '../machines/path-selection.ts';
import type { TransportConfig } from '../quic/config.ts';
import type { EngineOptions, EngineProvider, FourTuple, QuicEngine } from '../quic/engine.ts';
import type { QlogFactory } from '../quic/qlog.ts';
import { RelayMap } from '../relay/relay-map.ts';
import { endpointTlsName } from '../tls/endpoint-name.ts';
import type { KeyLog } from '../tls/session.ts';
import type { CustomTransport } from '../transport/custom.ts';
import type { Log } from '../transport/log.ts';
import type { Platform } from '../transport/platform.ts';
import type { TlsTrust } from '../transport/relay-socket.ts';
import type { ActorSystem } from './actor-system.ts';
import type { BindOptions } from './bind-plan.ts';
import type { ConnectionActor } from './connection-actor.ts';
import { Connections } from './connections.ts';
import { EndpointLife } from './endpoint-life.ts';
import type { EndpointState } from './endpoint-state.ts';
import { EndpointTls, keyForms } from './endpoint-tls.ts';
import { EngineDriver } from './engine-driver.ts';
import { loadEngine } from './engine-provider.ts';
import { guardedQlog } from './guarded-qlog.ts';
import { Incomings } from './incomings.ts';
import type { LookupEndpoint, LookupFactory } from './lookup-host.ts';
import { LookupRegistry, toNoAddressError } from './lookup-registry.ts';
import { MappedAddrs } from './mapped-addrs.ts';
import { NetReporter } from './net-report.ts';
import { OwnAddr } from './own-addr.ts';
import { PortMapper } from './port-mapper.ts';
import { QadClient } from './qad-client.ts';
import { RelayManager } from './relay-manager.ts';
import { RemoteMap } from './remote-map.ts';
import { SocketActor, type NetworkNotice } from './socket.ts';
import { Transports } from './transports.ts';
import { Deferred } from './wait.ts';

/** What the application's hooks say; see `actors/hooks.ts`. */
export interface ConnectionGate {
  /** Before anything is sent or looked up. @throws what `connect` reports. */
  beforeConnect(remote: EndpointAddr, alpn: Uint8Array): Promise<void>;
  /** After the handshake. Closes the connection when it is refused. @throws what the handle reports. */
  afterHandshake(connection: ConnectionActor): Promise<void>;
}

export interface EndpointActorOptions {
  readonly system: ActorSystem;
  readonly platform: Platform;
  readonly secretKey: SecretKey;
  readonly alpns: readonly Uint8Array[];
  readonly bind: readonly (string | BindOptions)[];
  readonly externalAddrs: readonly Addr[];
  readonly transport: TransportConfig;
  readonly engine: EngineProvider;
  /** Self-signed certificates count as proof of a key, beside raw keys. */
  readonly hasX509Peers: boolean;
  readonly keyLog: KeyLog | undefined;
  readonly qlog: QlogFactory | undefined;
  readonly log: Log;
  /** Undefined: no relays. An empty map may be filled later. */
  readonly relays: RelayMap | undefined;
  readonly lookups: readonly (AddressLookup | LookupFactory)[];
  /** Whom lookup services are made for. */
  readonly lookupEndpoint: LookupEndpoint;
  readonly publishFilter: AddrFilter | undefined;
  readonly userData: string | undefined;
  /** Undefined: nobody wants to be asked. */
  readonly gate: ConnectionGate | undefined;
  readonly pathPolicy: PathPolicy;
  readonly pathSelector: ((mapped: MappedAddrs) => PathSelector) | undefined;
  readonly customTransports: readonly CustomTransport[];
  readonly isNetReportOn: boolean;
  /** Whether the router is asked to open a port. */
  readonly isPortMapperOn: boolean;
  readonly proxy: string | undefined;
  readonly tls: TlsTrust | undefined;
}

/** Who is dialled, and how. */
export interface DialRequest {
  readonly remote: EndpointAddr;
  /** At least one, checked here. */
  readonly alpns: readonly Uint8Array[];
  readonly transport: TransportConfig | undefined;
  /** Gives the dial up before it has begun. */
  readonly signal: AbortSignal;
}

/** One endpoint. */
export class EndpointActor {
  readonly platform: Platform;
  readonly secretKey: SecretKey;
  readonly system: ActorSystem;
  readonly driver: EngineDriver;
  readonly engine: QuicEngine;
  readonly transports: Transports;
  readonly metrics: Metrics;
  readonly lookup: LookupRegistry;
  readonly remotes: RemoteMap;
  readonly socket: SocketActor;
  /** Undefined on an endpoint without relays. */
  readonly relayManager: RelayManager | undefined;
  /** Relays to choose the home from. */
  readonly relays: RelayMap;
  readonly ownAddr: OwnAddr;
  /** Attempts to connect. */
  readonly incomings: Incomings;
  /** Settles when closing starts. */
  readonly closeStarted = new Deferred<void>();
  readonly #mapped: MappedAddrs;
  readonly #gate: ConnectionGate | undefined;
  readonly #transport: TransportConfig;
  readonly #tls: EndpointTls;
  readonly #log: Log;
  readonly #life: EndpointLife;
  readonly #connections: Connections;
  readonly #portMapper: PortMapper | undefined;
  #alpns: readonly Uint8Array[];

  private constructor(
    options: EndpointActorOptions,
    transports: Transports,
    mapped: MappedAddrs,
    metrics: Metrics,
    makeEngine: (options: EngineOptions) => QuicEngine,
  ) {
    const { platform, system, log, secretKey } = options;
    const { clock, rng } = platform;
    this.platform = platform;
    this.system = system;
    this.secretKey = secretKey;
    this.transports = transports;
    this.metrics = metrics;
    this.#mapped = mapped;
    this.#gate = options.gate;
    this.#transport = options.transport;
    this.#alpns = options.alpns;
    this.#log = log;
    const qlog = options.qlog && guardedQlog(options.qlog, mapped, log);
    const wallNow = clock.wallNow();
    this.engine = makeEngine({ rng, wallOffsetMs: wallNow - clock.now(), secretKey, qlog });
    const forms = keyForms(this.engine.capabilities, options.hasX509Peers);
    this.#tls = new EndpointTls({ secretKey, forms, keyLog: options.keyLog, rng, wallNow });
    this.driver = new EngineDriver(this.engine, transports, clock);
    this.#connections = new Connections({
      driver: this.driver,
      mapped,
      log,
      system,
      remotes: () => this.remotes,
      afterHandshake: options.gate && ((connection) => options.gate!.afterHandshake(connection)),
    });
    this.incomings = new Incomings({
      driver: this.driver,
      log,
      isOpen: () => this.state === 'open',
      describe: (addr) => this.describe(addr),
      adopt: (quic) => this.#connections.adopt(quic),
    });
    this.lookup = new LookupRegistry({
      clock,
      log,
      endpoint: options.lookupEndpoint,
      services: options.lookups,
      filter: options.publishFilter,
    });
    this.ownAddr = new OwnAddr({
      id: this.id,
      name: `endpoint ${this.#name}`,
      lookup: this.lookup,
      externalAddrs: options.externalAddrs,
      userData: options.userData,
      customAddrs: () => transports.customAddrs,
    });
    this.relays = options.relays ?? new RelayMap();
    this.relayManager = this.#makeRelayManager(options);
    // Where there is no socket, a port would lead nowhere.
    if (options.isPortMapperOn && transports.localAddrs.length > 0)
      this.#portMapper = new PortMapper(this.#shared(options));
    this.socket = this.#makeSocketActor(options);
    // Both notice another network before the monitor looks, while there is traffic.
    const hint = this.socket.sender('transports');
    const onTrouble = (): void => void hint.send({ type: 'networkHint' });
    transports.onNoRoute = onTrouble;
    this.relays.onChange = () => {
      this.relayManager?.relayMapChanged();
      this.socket.sender('application').send({ type: 'relayMapChanged' });
    };
    this.remotes = new RemoteMap(
      {
        system,
        clock,
        mapped,
        lookup: this.lookup,
        directAddrs: this.socket.directAddrs,
        capabilities: this.engine.capabilities,
        // Without relays their addresses are of no use.
        policy: this.relayManager === undefined ? 'direct' : options.pathPolicy,
        selector: options.pathSelector?.(mapped),
        metrics: this.metrics,
        onStalled: onTrouble,
        log: (line) => log.write('path', () => `${this.#name} ${line()}`),
      },
      `endpoint ${this.#name}`,
    );
    transports.targetsOf = (id) => this.remotes.targetsOf(id);
    this.#configureServer();
    this.ownAddr.follow(this.socket, this.relayManager);
    this.socket.start();
    transports.onCustomAddrs = () =>
      void this.socket.sender('custom transport').send({ type: 'localAddrsChanged' });
    this.#life = this.#makeLife(options);
    this.#log.write('endpoint', () => {
      const bound = transports.localAddrs.map((addr) => addr.text).join(', ');
      return `${this.#name} bound to ${bound}`;
    });
  }

  /** @throws {BindError | InvalidSocketAddrError} */
  static async bind(options: EndpointActorOptions): Promise<EndpointActor> {
    const { platform, pathPolicy, relays, customTransports } = options;
    const makeEngine = await loadEngine(options.engine);
    const mapped = new MappedAddrs(platform.rng);
    const metrics = new Metrics();
    const transports = await Transports.bind({
      platform,
      mapped,
      metrics,
      bind: pathPolicy === 'relay' ? undefined : options.bind,
      custom: customTransports,
    });
    if (transports.localAddrs.length === 0 && relays === undefined && customTransports.length === 0) {
      await transports.close();
      throw new BindError(
        'BindError.CreateQuicEndpoint',
        'no socket could be bound, and there are no relays',
      );
    }
    try {
      return new EndpointActor(options, transports, mapped, metrics, makeEngine);
    } catch (error) {
      await transports.close();
      throw error;
    }
  }

  get id(): EndpointId {
    return this.secretKey.publicKey;
  }

  get state(): EndpointState {
    return this.#life.state;
  }

  /** How log lines call this endpoint: the start of its id, as iroh's own logs do. */
  get #name(): string {
    return this.id.toString().slice(0, 10);
  }

  // --- parts ----------------------------------------------------------------------------------------------------------------

  /** What every part is made with. */
  #shared({ system, platform, log }: EndpointActorOptions) {
    return { system, name: this.#name, platform, log, metrics: this.metrics };
  }

  #makeRelayManager(options: EndpointActorOptions): RelayManager | undefined {
    const { secretKey, tls, proxy, pathPolicy } = options;
    if (options.relays === undefined || pathPolicy === 'direct') return undefined;
    const { relays } = this;
    const manager = new RelayManager({ ...this.#shared(options), secretKey, relays, tls, proxy });
    this.transports.useRelays(manager);
    return manager;
  }

  #makeSocketActor(options: EndpointActorOptions): SocketActor {
    const { transports, relays } = this;
    return new SocketActor({
      ...this.#shared(options),
      sockets: () => transports.sockets,
      relays,
      relayManager: this.relayManager,
      netReporter: this.#makeNetReporter(options),
      portMapper: this.#portMapper,
      externalAddrs: this.ownAddr.external,
      hasOtherAddrs: () => transports.customAddrs.length > 0,
      rebind: () => transports.rebind(),
      notifyQuic: (notice) => this.#onNetworkChange(notice),
      publish: () => this.ownAddr.publish(),
    });
  }

  #makeNetReporter(options: EndpointActorOptions): NetReporter | undefined {
    const { platform, tls, proxy } = options;
    if (!options.isNetReportOn || this.relayManager === undefined) return undefined;
    const { driver, transports, relays } = this;
    const resolve = platform.resolveDns;
    const canAsk = transports.localAddrs.length > 0 && driver.engine.capabilities.addressDiscovery;
    return new NetReporter({
      ...this.#shared(options),
      relays,
      qad: canAsk && resolve !== undefined ? new QadClient({ driver, resolve, tls }) : undefined,
      families: () => new Set(transports.localAddrs.map(({ family }) => family)),
      tls,
      proxy,
    });
  }

  #makeLife({ system, log }: EndpointActorOptions): EndpointLife {
    return new EndpointLife({
      system,
      name: this.#name,
      log,
      steps: {
        announce: () => {
          log.write('endpoint', () => `${this.#name} closing, ${this.engine.undrainedCount} connections`);
          this.closeStarted.resolve();
          this.ownAddr.freeze();
          this.incomings.end();
          this.socket.closeStarted();
        },
        lookups: () => this.lookup.close(),
        draining: (signal) => {
          // Connections of this moment owe their peers the end of the handshake, without which those cannot read the rest.
          this.driver.transmit();
          this.engine.close(0n, new Uint8Array(0), this.driver.clock.now());
          this.driver.flush();
          return this.#connections.allDraining(signal);
        },
        mapping: () => this.#portMapper?.stop(),
        socket: () => this.socket.stop(),
        remotes: () => this.remotes.stop(),
        relays: (signal) => this.relayManager?.close(signal),
        drivers: () => {
          this.driver.flush();
          this.driver.stop();
          this.#connections.endpointEnded();
        },
        sockets: () => this.transports.close(),
        endWatches: () => {
          log.write('endpoint', () => `${this.#name} closed`);
          this.ownAddr.addr$.complete();
        },
        abort: () => {
          this.driver.stop();
          this.remotes.stop();
          void this.lookup.close();
          void this.#portMapper?.stop();
          void this.relayManager?.close(AbortSignal.abort());
          void this.transports.close();
        },
      },
    });
  }

  // --- network --------------------------------------------------------------------------------------------------------------

  /** Undefined where no router is asked. */
  get portMapping(): PortMapper['externalAddr'] | undefined {
    return this.#portMapper?.externalAddr;
  }

  networkChanged(): void {
    if (this.state === 'open') this.socket.sender('application').send({ type: 'networkHint' });
  }

  #onNetworkChange(notice: NetworkNotice): void {
    const hint = (_: number, tuple: FourTuple) => ({ recoverable: this.#isRecoverable(tuple, notice) });
    this.engine.handleNetworkChange(hint, this.driver.clock.now());
    this.driver.wake();
    this.remotes.networkChanged(notice.isMajor);
  }

  /** Relays are dialled anew by themselves. A custom transport has a network of its own, of which we know nothing. */
  #isRecoverable({ remote, local }: FourTuple, { localIps, goneIps }: NetworkNotice): boolean {
    const kind = this.#mapped.kindOf(remote);
    if (kind === 'relay' || kind === 'custom') return kind === 'relay';
    if (local !== undefined && !isUnspecified(local)) return localIps.has(local.ip);
    // Node does not say from which address a packet left. A path that is given up for nothing costs a round trip; one that is
    // kept for nothing costs 15 s: a peer that has no other reason to doubt it goes on to acknowledge there.
    for (const ip of goneIps) if (ip.includes(':') === (remote.family === 6)) return false;
    return true;
  }

  // --- dialling -------------------------------------------------------------------------------------------------------------

  /** Replaces what new handshakes may negotiate. */
  setAlpns(alpns: readonly Uint8Array[]): void {
    if (this.state !== 'open') return;
    this.#alpns = alpns;
    this.#configureServer();
  }

  #configureServer(): void {
    this.engine.setServerConfig(this.#tls.serverConfig(this.#alpns, this.#transport));
  }

  /**
   * Finds out where the peer is, and starts a connection.
   * @throws {ConnectError} when it cannot be started; the signal's reason.
   */
  async dial({ remote, alpns, transport, signal }: DialRequest): Promise<ConnectionActor> {
    const { id } = remote;
    if (this.state === 'closed') throw refusal('EndpointClosed', 'the endpoint is closed');
    // Hooks come first, as upstream has it: they may want to see every attempt.
    if (this.#gate !== undefined) await this.#gate.beforeConnect(remote, alpns[0]!);
    if (id.equals(this.id)) throw refusal('SelfConnect', 'the address is that of this endpoint');
    if (alpns.some((name) => name.length === 0 || name.length > 255))
      throw refusal('InvalidAlpn', 'a protocol name has 1 to 255 bytes');
    const to = await this.#resolve(remote, signal);
    signal.throwIfAborted();
    if (this.state !== 'open') throw refusal('EndpointStopping', 'the endpoint is closing');
    const quic = this.engine.connect(
      { remote: to, local: undefined },
      endpointTlsName(id.toBytes()),
      this.#tls.clientConfig(alpns, transport ?? this.#transport),
      this.driver.clock.now(),
    );
    this.#log.write('connection', () => {
      const targets = this.remotes.targetsOf(id).map((addr) => formatRemoteAddr(this.describe(addr)));
      return `#${quic.stableId} client dials ${id.toString().slice(0, 10)} at ${targets.join(', ')}`;
    });
    return this.#connections.adopt(quic, { id, to });
  }

  async #resolve(remote: EndpointAddr, signal: AbortSignal): Promise<Addr> {
    try {
      return await this.remotes.resolve(remote, signal);
    } catch (error) {
      if (error instanceof AddressLookupFailed) throw toNoAddressError(error);
      if (signal.aborted || this.state === 'open') throw error;
      throw refusal('EndpointStopping', 'the endpoint is closing');
    }
  }

  /** An address as an application sees it. */
  describe(addr: Addr): RemoteAddr {
    return this.#mapped.describe(addr);
  }

  // --- the end --------------------------------------------------------------------------------------------------------------

  /** Ends everything in order: connections are closed and their peers told, then sockets go. All callers wait for it. */
  close(timeoutMs: number | undefined): Promise<void> {
    return this.#life.close(timeoutMs);
  }
}

function refusal(
  leaf: 'EndpointClosed' | 'EndpointStopping' | 'SelfConnect' | 'InvalidAlpn',
  message: string,
): ConnectError {
  const cause = new ConnectWithOptsError(`ConnectWithOptsError.${leaf}`, message);
  return new ConnectError(`ConnectError.${leaf}`, message, cause);
}
