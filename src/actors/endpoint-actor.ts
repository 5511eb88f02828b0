/**
 * What runs behind an `Endpoint`: sockets, engine, driver, and the order in which they end
 * (behaviour of upstream's `Endpoint::close`; the machines of the actor system come on top of this).
 *
 * @module
 */
import { BehaviorSubject } from 'rxjs';
import { EndpointAddr } from '../base/endpoint-addr.ts';
import type { EndpointId } from '../base/endpoint-id.ts';
import { ConnectionError, EndpointError } from '../base/errors.ts';
import type { Addr } from '../base/socket-addr.ts';
import type { SecretKey } from '../crypto/keys.ts';
import type { TransportConfig } from '../quic/config.ts';
import type { IncomingRef, QuicConnection } from '../quic/engine.ts';
import { QuicEndpoint } from '../quic/endpoint.ts';
import type { QlogFactory } from '../quic/qlog.ts';
import { TransportError } from '../quic/transport-error.ts';
import { endpointTlsName } from '../tls/endpoint-name.ts';
import { rawPublicKeyIdentity, rawPublicKeyVerifier } from '../tls/profile.ts';
import { MemorySessionStore } from '../tls/session-store.ts';
import type { KeyLog, LocalIdentity, PeerVerifier } from '../tls/session.ts';
import { MemoryTicketStore } from '../tls/ticket-store.ts';
import { composeDirectAddrs } from '../machines/direct-addrs.ts';
import type { Log } from '../transport/log.ts';
import type { Platform } from '../transport/platform.ts';
import { ConnectionActor } from './connection-actor.ts';
import { EngineDriver } from './engine-driver.ts';
import { FirstFlights } from './first-flights.ts';
import { MappedAddrs } from './mapped-addrs.ts';
import { Transports, type BindOptions } from './transports.ts';
import { Deferred, WaitQueue } from './wait.ts';

/** Session tickets sent per connection; rustls' and so upstream's number. */
const TICKETS_PER_CONNECTION = 2;
/** A closing endpoint waits at most this long for its peers unless told otherwise, ms: three PTOs of a slow path. */
const DEFAULT_CLOSE_TIMEOUT_MS = 3_000;

export interface EndpointActorOptions {
  readonly platform: Platform;
  readonly secretKey: SecretKey;
  readonly alpns: readonly Uint8Array[];
  readonly bind: readonly (string | BindOptions)[];
  readonly externalAddrs: readonly Addr[];
  readonly transport: TransportConfig;
  readonly keyLog: KeyLog | undefined;
  readonly qlog: QlogFactory | undefined;
  readonly log: Log;
}

/** `closing` from the call of `close` until peers know and sockets are free. */
export type EndpointState = 'open' | 'closing' | 'closed';

/** One endpoint. */
export class EndpointActor {
  readonly platform: Platform;
  readonly secretKey: SecretKey;
  readonly driver: EngineDriver;
  readonly engine: QuicEndpoint;
  readonly transports: Transports;
  readonly addr$: BehaviorSubject<EndpointAddr>;
  readonly incomingArrived: WaitQueue;
  /** What the application says about where we are. */
  readonly externalAddrs: Set<Addr>;
  /** Settles when closing starts. */
  readonly closeStarted = new Deferred<void>();
  state: EndpointState = 'open';
  readonly #transport: TransportConfig;
  readonly #identity: LocalIdentity;
  readonly #verifier: PeerVerifier = rawPublicKeyVerifier();
  readonly #tickets = new MemoryTicketStore();
  readonly #sessions: MemorySessionStore;
  readonly #keyLog: KeyLog | undefined;
  readonly #log: Log;
  readonly #firstFlights: FirstFlights;
  readonly #incomings: IncomingRef[] = [];
  #alpns: readonly Uint8Array[];
  #closing: Promise<void> | undefined;
  #progressed: (() => void) | undefined;

  private constructor(options: EndpointActorOptions, transports: Transports, firstFlights: FirstFlights) {
    const { platform } = options;
    const { clock, rng } = platform;
    this.platform = platform;
    this.secretKey = options.secretKey;
    this.transports = transports;
    this.externalAddrs = new Set(options.externalAddrs);
    this.#firstFlights = firstFlights;
    this.#transport = options.transport;
    this.#alpns = options.alpns;
    this.#keyLog = options.keyLog;
    this.#log = options.log;
    this.#identity = rawPublicKeyIdentity(options.secretKey);
    this.#sessions = new MemorySessionStore();
    this.engine = new QuicEndpoint({ rng, wallOffsetMs: clock.wallNow() - clock.now(), qlog: options.qlog });
    this.driver = new EngineDriver(this.engine, transports, clock);
    this.incomingArrived = new WaitQueue(clock);
    this.driver.onIncoming = (incoming) => {
      this.#incomings.push(incoming);
      this.incomingArrived.wakeOne();
    };
    this.driver.onProgress = () => this.#progressed?.();
    this.addr$ = new BehaviorSubject(this.#currentAddr());
    this.#configureServer();
    this.#log.write('endpoint', () => {
      const bound = transports.localAddrs.map((addr) => addr.text).join(', ');
      return `${this.#name} bound to ${bound}`;
    });
  }

  /** @throws {BindError | InvalidSocketAddrError} */
  static async bind(options: EndpointActorOptions): Promise<EndpointActor> {
    const firstFlights = new FirstFlights(new MappedAddrs(options.platform.rng));
    const transports = await Transports.bind(options.bind, options.platform, firstFlights);
    return new EndpointActor(options, transports, firstFlights);
  }

  get id(): EndpointId {
    return this.secretKey.publicKey;
  }

  /** How log lines call this endpoint: the start of its id, as iroh's own logs do. */
  get #name(): string {
    return this.id.toString().slice(0, 10);
  }

  #currentAddr(): EndpointAddr {
    const direct = composeDirectAddrs({
      portMapped: undefined,
      report: undefined,
      sockets: this.transports.sockets,
      network: this.platform.interfaceState(),
      configured: this.externalAddrs,
    });
    return new EndpointAddr(
      this.id,
      direct.map(({ addr }) => ({ type: 'ip', addr })),
    );
  }

  #configureServer(): void {
    this.engine.setServerConfig({
      transport: this.#transport,
      tls: {
        identity: this.#identity,
        verifier: this.#verifier,
        alpns: this.#alpns,
        clientAuth: 'required',
        sessions: this.#sessions,
        ticketCount: TICKETS_PER_CONNECTION,
        acceptEarlyData: true,
        keyLog: this.#keyLog,
      },
    });
  }

  /** Replaces what new handshakes may negotiate. */
  setAlpns(alpns: readonly Uint8Array[]): void {
    if (this.state !== 'open') return;
    this.#alpns = alpns;
    this.#configureServer();
  }

  // --- dialling -----------------------------------------------------------------------------------------------------

  /** Starts a connection. @param targets - At least one address. */
  dial(
    id: EndpointId,
    targets: readonly Addr[],
    alpns: readonly Uint8Array[],
    transport: TransportConfig | undefined,
  ): ConnectionActor {
    const now = this.driver.clock.now();
    const isMany = targets.length > 1;
    const remote = isMany ? this.#firstFlights.begin(id, targets) : targets[0]!;
    const quic = this.engine.connect(
      { remote, local: undefined },
      endpointTlsName(id.toBytes()),
      {
        transport: transport ?? this.#transport,
        tls: {
          identity: this.#identity,
          verifier: this.#verifier,
          alpns,
          sni: undefined,
          tickets: this.#tickets,
          earlyData: true,
          keyLog: this.#keyLog,
        },
      },
      now,
    );
    const actor = new ConnectionActor(quic, this.driver, this.#log);
    this.#log.write('connection', () => {
      const to = targets.map((addr) => addr.text).join(', ');
      return `#${quic.stableId} client dials ${id.toString().slice(0, 10)} at ${to}`;
    });
    if (isMany) {
      // Once the handshake has settled on one address the others are not needed any more.
      const release = (): void => this.#firstFlights.end(remote);
      actor.connected.promise.then(release, release);
    }
    this.driver.wake();
    return actor;
  }

  // --- accepting ----------------------------------------------------------------------------------------------------

  /** The next attempt, if one waits. */
  takeIncoming(): IncomingRef | undefined {
    return this.#incomings.shift();
  }

  /** @throws {EndpointError} Closed; {@link ConnectionError} TimedOut when the peer has given up. */
  accept(ref: IncomingRef): ConnectionActor {
    if (this.state !== 'open') throw new EndpointError('EndpointError.Closed', 'the endpoint is closed');
    let quic: QuicConnection;
    try {
      quic = this.engine.accept(ref, this.driver.clock.now());
    } catch (error) {
      if (!(error instanceof TransportError)) throw error;
      throw new ConnectionError('ConnectionError.TimedOut', error.message, { cause: error });
    }
    const actor = new ConnectionActor(quic, this.driver, this.#log);
    this.#log.write('connection', () => `#${quic.stableId} server accepts ${ref.remote.text}`);
    this.driver.wake();
    return actor;
  }

  // A closing endpoint has refused all that was undecided.

  refuse(ref: IncomingRef): void {
    if (this.state !== 'open') return;
    this.engine.refuse(ref, this.driver.clock.now());
    this.driver.wake();
  }

  retry(ref: IncomingRef): void {
    if (this.state !== 'open') return;
    this.engine.retry(ref, this.driver.clock.now());
    this.driver.wake();
  }

  ignore(ref: IncomingRef): void {
    if (this.state !== 'open') return;
    this.engine.ignore(ref);
  }

  // --- network ------------------------------------------------------------------------------------------------------

  networkChanged(): void {
    if (this.state !== 'open') return;
    this.#publishAddr();
    this.engine.handleNetworkChange(undefined, this.driver.clock.now());
    this.driver.wake();
  }

  #publishAddr(): void {
    const addr = this.#currentAddr();
    if (!addr.equals(this.addr$.value)) this.addr$.next(addr);
  }

  addExternalAddr(addr: Addr): void {
    if (this.state !== 'open') return;
    this.externalAddrs.add(addr);
    this.#publishAddr();
  }

  deleteExternalAddr(addr: Addr): boolean {
    if (this.state !== 'open' || !this.externalAddrs.delete(addr)) return false;
    this.#publishAddr();
    return true;
  }

  // --- the end ------------------------------------------------------------------------------------------------------

  /** Ends everything in order: connections are closed and their peers told, then sockets go. All callers wait for it. */
  close(timeoutMs: number = DEFAULT_CLOSE_TIMEOUT_MS): Promise<void> {
    return (this.#closing ??= this.#close(timeoutMs));
  }

  async #close(timeoutMs: number): Promise<void> {
    const { clock } = this.driver;
    this.state = 'closing';
    this.closeStarted.resolve();
    this.#log.write('endpoint', () => `${this.#name} closing, ${this.engine.undrainedCount} connections`);
    this.#incomings.length = 0;
    this.incomingArrived.wakeAll();
    this.engine.close(0n, new Uint8Array(0), clock.now());
    this.driver.flush();
    await this.#allDraining(timeoutMs);
    this.driver.flush();
    this.driver.stop();
    await this.transports.close();
    this.state = 'closed';
    this.#log.write('endpoint', () => `${this.#name} closed`);
    this.addr$.complete();
  }

  /** Until every peer has answered its close, or could not within the limit. */
  #allDraining(timeoutMs: number): Promise<void> {
    const { clock } = this.driver;
    if (this.engine.undrainedCount === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const finish = (): void => {
        clock.clearTimeout(timer);
        this.#progressed = undefined;
        resolve();
      };
      const timer = clock.setTimeout(finish, timeoutMs);
      this.#progressed = () => {
        if (this.engine.undrainedCount === 0) finish();
      };
    });
  }
}
