/**
 * An endpoint: one key, its sockets, and the connections it dials and accepts.
 *
 * @module
 */
import { filter, of, type Observable, type Subscription } from 'rxjs';
import { systemPlatform } from '#transport/system-platform';
import { ActorSystem } from './actors/actor-system.ts';
import { EndpointActor } from './actors/endpoint-actor.ts';
import type { EndpointState } from './actors/endpoint-state.ts';
import { ownEngine } from './actors/engine-provider.ts';
import { partsOf } from './actors/internals.ts';
import type { LookupFactory } from './actors/lookup-host.ts';
import { n0Lookups } from './actors/n0-lookups.ts';
import { checkUserData } from './actors/own-addr.ts';
import type { RemoteInfo } from './actors/remote-info.ts';
import type { BindOptions } from './actors/bind-plan.ts';
import { warnWhenCollected } from './actors/unclosed.ts';
import { deadlineOf, settleWithin, type WaitOptions } from './actors/wait.ts';
import type { AddressLookups } from './address-lookup.ts';
import type { AddrFilter, AddressLookup } from './address-lookup/service.ts';
import { EndpointAddr } from './base/endpoint-addr.ts';
import type { EndpointId } from './base/endpoint-id.ts';
import type { MetricsView } from './base/metrics.ts';
import type { Addr } from './base/socket-addr.ts';
import { Connecting } from './connecting.ts';
import type { Connection } from './connection.ts';
import type { SecretKey } from './crypto/keys.ts';
import { checkOptions, toAlpn, toKeyLog, toList, toQlogFactory, toSecretKey } from './endpoint-options.ts';
import { ExternalAddrs, toExternalAddr } from './external-addrs.ts';
import { gateOf, type EndpointHooks } from './hooks.ts';
import { Incoming } from './incoming.ts';
import type { PathPolicy } from './machines/path-selection.ts';
import type { NetReport } from './net-report/report.ts';
import { toMappedSelector, type PathSelector } from './path-selector.ts';
import { DEFAULT_TRANSPORT_CONFIG, type TransportConfig } from './quic/config.ts';
import type { EngineCapabilities, EngineProvider } from './quic/engine.ts';
import type { QlogFactory } from './quic/qlog.ts';
import type { RelayStatus } from './relay/relay-status.ts';
import { Relays, toRelayMap, type RelayOption } from './relays.ts';
import type { KeyLog } from './tls/session.ts';
import type { InspectedEvent } from './transport/channel.ts';
import type { CustomTransport } from './transport/custom.ts';
import { Log, type Logger } from './transport/log.ts';
import type { Platform } from './transport/platform.ts';
import type { TlsTrust } from './transport/relay-socket.ts';

/** A protocol name, 1 to 255 bytes; strings are UTF-8. */
export type Alpn = string | Uint8Array;

/** Whom to dial: an address, an id, or the text of a ticket or an id. */
export type Remote = EndpointAddr | EndpointId | string;

/** A lookup service, or what makes one for the endpoint. */
export type LookupOption = AddressLookup | LookupFactory;

/** Options of {@link Endpoint.bind}. All are optional. */
export interface EndpointOptions {
  /**
   * `minimal` (default) contacts no third party. `n0` uses what n0 runs for everybody: relays, and servers that are told the
   * home relay, so that the id is enough to dial this endpoint and others that do the same.
   */
  readonly preset?: 'n0' | 'minimal';
  /** Identity; random by default. */
  readonly secretKey?: SecretKey | Uint8Array | undefined;
  /** Protocols that are accepted, in order of preference. */
  readonly alpns?: readonly Alpn[];
  /** Relays; by default what the preset says. */
  readonly relay?: RelayOption | undefined;
  /**
   * Services that find out where others are, and are told where this endpoint is; beside those of the preset. A function makes
   * one for this endpoint.
   */
  readonly lookup?: LookupOption | readonly LookupOption[] | undefined;
  /** Chooses what lookup services are told. */
  readonly publishFilter?: AddrFilter | undefined;
  /** Text that lookup services publish beside the addresses, at most 245 bytes of UTF-8. */
  readonly userData?: string | undefined;
  /** May refuse dials and connections; asked in order. */
  readonly hooks?: EndpointHooks | readonly EndpointHooks[] | undefined;
  /**
   * `any` (default): direct paths when there are any, relays else. `direct`: never a relay. `relay`: relays only; no socket
   * is bound, and nobody learns this endpoint's addresses.
   */
  readonly pathPolicy?: PathPolicy | undefined;
  /** Chooses among open paths. By default direct ones come before relays, then the shorter round-trip time counts. */
  readonly pathSelector?: PathSelector | undefined;
  /** Transports of the application's own, beside UDP and relays. */
  readonly transports?: readonly CustomTransport[] | undefined;
  /** Whether relays are asked for our addresses, and for their distance (default true). Without there is no home relay. */
  readonly netReport?: boolean | undefined;
  /**
   * Whether the router is asked to open a port, by PCP, NAT-PMP or UPnP, so that others reach this endpoint directly whatever the
   * NAT. Nobody but the router is asked. Default: true with the preset `n0`, false with `minimal`. Needs the router's address,
   * which is known on Linux; does nothing elsewhere.
   */
  readonly portMapper?: boolean | undefined;
  /** URL of an HTTP proxy (CONNECT) on the way to relays and lookup servers. */
  readonly proxy?: string | undefined;
  /** Whom relays and lookup servers must be certified by. Peers are not concerned. */
  readonly tls?: TlsTrust | undefined;
  /**
   * Whether this endpoint also proves its key by a self-signed X.509 certificate, to peers that take nothing else, and takes such
   * certificates. Needed with peers whose {@link engine} has no raw public keys; iroh has no such peers. Default false.
   */
  readonly x509Peers?: boolean | undefined;
  /**
   * The QUIC engine, by default our own: the one that talks to iroh. See {@link Endpoint.capabilities} for what another one can
   * do.
   */
  readonly engine?: EngineProvider | undefined;
  /** Sockets; by default any IPv4 address, and any IPv6 address where there is IPv6. */
  readonly bind?: readonly (string | BindOptions)[];
  /** Addresses (`ip:port`) that others are told beside those that this endpoint sees: a forwarded port, say. */
  readonly externalAddrs?: readonly (string | Addr)[];
  /** Transport settings that differ from iroh's defaults. */
  readonly transport?: Partial<TransportConfig>;
  /**
   * Logs the secrets of connections, in NSS format, one line at a time without a line end. Whoever has them reads the
   * traffic. `true` appends to the file that the environment variable `SSLKEYLOGFILE` names; the variable alone does
   * nothing. What a function throws is ignored. Default false.
   */
  readonly keylog?: boolean | KeyLog | undefined;
  /**
   * Logs the events of each connection (qlog, JSON text sequences, no payload): into a folder, or wherever a function
   * says. Default: into the folder that the environment variable `QLOGDIR` names, if set; `false` ignores the variable. A log
   * that throws ends.
   */
  readonly qlog?: string | false | QlogFactory | undefined;
  /** Takes lines about the life of endpoint, connections and paths, e.g. `console`. `DEBUG=iroh:*` prints the same. */
  readonly logger?: Logger | undefined;
  /**
   * Watches the actors of the endpoint: every event and transition of their machines, and every send on their channels. Give
   * it a recorder of `iroh-ts/inspect`. Costs nothing when absent; what it throws is ignored.
   */
  inspect?(event: InspectedEvent): void;
  /** Time, randomness and sockets; the system's by default. */
  readonly platform?: Platform;
}

/** Options of {@link Endpoint.connect}. */
export interface ConnectOptions extends WaitOptions {
  /** Further protocols to offer, after the main one. The server chooses. */
  readonly additionalAlpns?: readonly Alpn[];
  /** Transport settings for this connection. */
  readonly transport?: Partial<TransportConfig>;
}

/** Options of {@link Endpoint.close}. */
export interface CloseOptions {
  /** How long to wait for peers that do not answer, ms. Default 3 s. */
  readonly timeoutMs?: number;
}

/** One endpoint. Make it with {@link Endpoint.bind}; {@link close} it when done. */
export class Endpoint {
  readonly #actor: EndpointActor;
  readonly #transport: TransportConfig;
  #externalAddrs: ExternalAddrs | undefined;
  #relays: Relays | undefined;
  /** Whether it was online when it began to close. */
  #wasOnline = false;

  private constructor(actor: EndpointActor, transport: TransportConfig) {
    this.#actor = actor;
    this.#transport = transport;
  }

  /**
   * Binds sockets.
   * @throws {BindError} when a required socket cannot be bound, or the engine does not run here; {@link InvalidSocketAddrError}
   * on bad `bind` options; {@link ParseError} on other text that cannot be read; TypeError on options that mean nothing.
   */
  static async bind(options: EndpointOptions = {}): Promise<Endpoint> {
    checkOptions(options);
    const { preset, pathSelector, relay, tls, proxy, logger } = options;
    const platform = options.platform ?? systemPlatform;
    const secretKey = toSecretKey(options.secretKey, platform);
    const transport = { ...DEFAULT_TRANSPORT_CONFIG, ...options.transport };
    const log = new Log(logger);
    const inspect = options.inspect && ((event: InspectedEvent) => options.inspect!(event));
    const system = new ActorSystem({
      clock: platform.clock,
      inspect,
      onError: (name, error) => log.write('endpoint', () => `actor "${name}" failed: ${String(error)}`),
    });
    const actor = await EndpointActor.bind({
      system,
      platform,
      secretKey,
      alpns: (options.alpns ?? []).map(toAlpn),
      bind: options.bind ?? [],
      externalAddrs: (options.externalAddrs ?? []).map(toExternalAddr),
      transport,
      engine: options.engine ?? ownEngine,
      hasX509Peers: options.x509Peers ?? false,
      keyLog: toKeyLog(options.keylog),
      qlog: toQlogFactory(options.qlog),
      log,
      relays: toRelayMap(relay ?? (preset === 'n0' ? 'default' : 'disabled')),
      lookups: [
        ...(preset === 'n0' ? n0Lookups(relay === 'staging' ? 'staging' : 'default', platform) : []),
        ...toList<LookupOption>(options.lookup),
      ],
      lookupEndpoint: { platform, secretKey, tls, proxy, logger, inspect },
      publishFilter: options.publishFilter,
      userData: checkUserData(options.userData),
      gate: gateOf(toList<EndpointHooks>(options.hooks), log),
      pathPolicy: options.pathPolicy ?? 'any',
      pathSelector: pathSelector && ((mapped) => toMappedSelector(pathSelector, mapped)),
      customTransports: options.transports ?? [],
      isNetReportOn: options.netReport ?? true,
      isPortMapperOn: options.portMapper ?? preset === 'n0',
      proxy,
      tls,
    });
    const endpoint = new Endpoint(actor, transport);
    partsOf.set(endpoint, { system, log });
    warnWhenCollected(endpoint, {
      name: actor.id.toString().slice(0, 10),
      log,
      state: () => actor.state,
    });
    return endpoint;
  }

  /** The public key: what others dial. */
  get id(): EndpointId {
    return this.#actor.id;
  }

  /** The identity's secret half. Never prints itself; `toBytes()` is for storing it. */
  get secretKey(): SecretKey {
    return this.#actor.secretKey;
  }

  /** What the engine can do. What it lacks, no peer can make up for. */
  get capabilities(): EngineCapabilities {
    return this.#actor.engine.capabilities;
  }

  /** Id and current addresses. Give `addr.toTicket()` to whom should dial. */
  get addr(): EndpointAddr {
    return this.#actor.ownAddr.addr$.value;
  }

  /** {@link addr} now and after each change; completes when the endpoint closes. */
  get addr$(): Observable<EndpointAddr> {
    return this.#actor.ownAddr.addr$.asObservable();
  }

  /** Addresses that others are told beside those that this endpoint sees. */
  get externalAddrs(): ExternalAddrs {
    return (this.#externalAddrs ??= new ExternalAddrs(this.#actor.ownAddr));
  }

  /** Relays to choose the home from. Empty, and of no effect, on an endpoint without relays. */
  get relays(): Relays {
    return (this.#relays ??= new Relays(this.#actor));
  }

  /** The services that are asked for others, and told about this endpoint. */
  get lookup(): AddressLookups {
    return this.#actor.lookup;
  }

  /** What lookup services publish beside the addresses. */
  get userData(): string | undefined {
    return this.#actor.ownAddr.userData;
  }

  /** @throws {RangeError} above 245 bytes of UTF-8. */
  set userData(userData: string | undefined) {
    this.#actor.ownAddr.userData = checkUserData(userData);
  }

  /** The relay that others are told to find this endpoint at, with the state of the connection; undefined until it is chosen. */
  get homeRelay(): RelayStatus | undefined {
    return this.#actor.relayManager?.homeRelay.value;
  }

  /** {@link homeRelay} now and after each change; completes when the endpoint closes. */
  get homeRelay$(): Observable<RelayStatus | undefined> {
    return this.#actor.relayManager?.homeRelay.changes$ ?? of(undefined);
  }

  /**
   * Resolves once the home relay passes datagrams on: from then on whoever knows the id and the relay can reach us. Waits for
   * ever on an endpoint without relays, and on one that was not online when it began to close.
   * @throws TimeoutError; the signal's reason.
   */
  async online(options: WaitOptions = {}): Promise<void> {
    if (this.#wasOnline) return;
    const connected = this.homeRelay$.pipe(filter((status) => status?.state === 'connected'));
    let subscription: Subscription | undefined;
    const online = new Promise<void>((resolve) => {
      subscription = connected.subscribe(() => resolve());
    });
    try {
      await settleWithin(this.#actor.driver.clock, online, options);
    } finally {
      subscription?.unsubscribe();
    }
  }

  /** What relays found out about our network; undefined before the first report, and without relays. */
  get netReport(): NetReport | undefined {
    return this.#actor.socket.netReport.value;
  }

  /** {@link netReport} now and after each change; completes when the endpoint closes. */
  get netReport$(): Observable<NetReport | undefined> {
    return this.#actor.socket.netReport.changes$;
  }

  /** Under which address the router lets others reach this endpoint; undefined while it opened no port, or was not asked. */
  get portMapping(): Addr | undefined {
    return this.#actor.portMapping?.value;
  }

  /** {@link portMapping} now and after each change; completes when the endpoint closes. */
  get portMapping$(): Observable<Addr | undefined> {
    return this.#actor.portMapping?.changes$ ?? of(undefined);
  }

  /** What is known of a peer and its addresses; undefined a minute after its last use. */
  remoteInfo(id: EndpointId | string): Promise<RemoteInfo | undefined> {
    return this.#actor.remotes.info(EndpointAddr.from(id).id);
  }

  /** Counters of this endpoint, as they are now and later. */
  metrics(): MetricsView {
    return this.#actor.metrics;
  }

  /** Addresses that sockets are bound to. */
  get boundSockets(): readonly Addr[] {
    return this.#actor.transports.localAddrs;
  }

  /** Where in its life the endpoint is. It never goes back. */
  get state(): EndpointState {
    return this.#actor.state;
  }

  /** True once {@link close} has completed. */
  get isClosed(): boolean {
    return this.#actor.state === 'closed';
  }

  /** Resolves when the endpoint starts to close. */
  get closed(): Promise<void> {
    return this.#actor.closeStarted.promise;
  }

  /**
   * Dials and waits for the handshake. Aborting ends the attempt at once.
   * @throws {ConnectError} with the reason as `code`; TimeoutError after `timeoutMs`; the signal's reason when aborted.
   */
  async connect(remote: Remote, alpn: Alpn, options: ConnectOptions = {}): Promise<Connection> {
    const { signal, timeoutMs } = options;
    signal?.throwIfAborted();
    const connecting = this.dial(remote, alpn, options);
    if (signal === undefined && timeoutMs === undefined) return connecting.connected;
    try {
      return await settleWithin(this.#actor.driver.clock, connecting.connected, options);
    } catch (error) {
      connecting.abort(error);
      // The handshake may be done in this very moment, and nobody else has the connection.
      connecting.connected.then(
        (connection) => connection.close(),
        () => undefined,
      );
      throw error;
    }
  }

  /**
   * Dials. The returned object gives access to early data.
   * @throws {ParseError} when `remote` is no address; all else is told by the returned object.
   */
  dial(remote: Remote, alpn: Alpn, options: ConnectOptions = {}): Connecting {
    const addr = EndpointAddr.from(remote);
    const giveUp = new AbortController();
    const dial = this.#actor.dial({
      remote: addr,
      alpns: [alpn, ...(options.additionalAlpns ?? [])].map(toAlpn),
      transport: options.transport && { ...this.#transport, ...options.transport },
      signal: giveUp.signal,
    });
    return new Connecting(dial, addr.id, giveUp);
  }

  /** The next attempt to connect; undefined once the endpoint closes. */
  async accept(options: WaitOptions = {}): Promise<Incoming | undefined> {
    const { incomings, driver } = this.#actor;
    const left = deadlineOf(driver.clock, options);
    for (;;) {
      const ref = incomings.take();
      if (ref !== undefined) return new Incoming(incomings, ref);
      if (!incomings.isOpen) return undefined;
      await incomings.arrived.wait(left());
    }
  }

  /** Attempts to connect as they come; ends when the endpoint closes. */
  async *incoming(): AsyncGenerator<Incoming, void, undefined> {
    for (let next = await this.accept(); next !== undefined; next = await this.accept()) yield next;
  }

  /** Replaces the protocols that new handshakes may negotiate. */
  setAlpns(alpns: readonly Alpn[]): void {
    this.#actor.setAlpns(alpns.map(toAlpn));
  }

  /** Hint that the network changed: addresses are read again, connections look for a way on. */
  networkChanged(): void {
    this.#actor.networkChanged();
  }

  /**
   * Closes all connections with code 0, waits until their peers know, and frees the sockets. Every call waits for the end.
   */
  close(options: CloseOptions = {}): Promise<void> {
    if (this.state === 'open') this.#wasOnline = this.homeRelay?.state === 'connected';
    return this.#actor.close(options.timeoutMs);
  }

  /** The same as {@link close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
