/**
 * The life of one connection between engine and handles: engine events in, waiting callers woken, streams found
 * (no bytes pass through here; handles pull them).
 *
 * @module
 */
import type { Actor } from 'xstate';
import type { Clock } from '../base/clock.ts';
import { ConnectionError } from '../base/errors.ts';
import { fromUtf8 } from '../base/bytes.ts';
import { EndpointId } from '../base/endpoint-id.ts';
import { formatRemoteAddr } from '../base/remote-addr.ts';
import type { Addr } from '../base/socket-addr.ts';
import type { CloseReason, ConnectionEvent, Direction, QuicConnection, StreamId } from '../quic/engine.ts';
import { transportCodeName } from '../quic/transport-error.ts';
import { endpointKeyOf } from '../tls/profile.ts';
import { connectionMachine, type ConnectionLifeEvent } from '../machines/connection.ts';
import type { Log } from '../transport/log.ts';
import type { ActorSystem } from './actor-system.ts';
import { ConnectionPaths } from './connection-paths.ts';
import type { ConnectionListener, EngineDriver } from './engine-driver.ts';
import type { MappedAddrs } from './mapped-addrs.ts';
import type { StreamListener } from './stream-listener.ts';
import { Deferred, WaitQueue } from './wait.ts';

/** What the remote state of the peer needs to hear. */
export type ConnectionFact = Extract<
  ConnectionEvent,
  {
    type:
      | 'pathEstablished'
      | 'pathAbandoned'
      | 'pathStalled'
      | 'pathResumed'
      | 'pathMigrated'
      | 'natAddressAdded'
      | 'natAddressRemoved'
      | 'closed';
  }
>;

/** How a {@link ConnectionActor} is made. */
export interface ConnectionActorOptions {
  readonly quic: QuicConnection;
  readonly driver: EngineDriver;
  readonly mapped: MappedAddrs;
  readonly log: Log;
  readonly system: ActorSystem;
  /** The TLS handshake is complete. Only when this resolves is the connection the application's. */
  readonly admit: (actor: ConnectionActor) => Promise<void>;
}

/** One connection, seen from its handles. */
export class ConnectionActor implements ConnectionListener {
  readonly quic: QuicConnection;
  readonly driver: EngineDriver;
  readonly clock: Clock;
  /** Settles when TLS is done and the connection is admitted, or fails with the connection. */
  readonly connected = new Deferred<void>();
  /** Settles when the ALPN is known. */
  readonly handshakeData = new Deferred<void>();
  /** Client: settles with the verdict about early data. */
  readonly earlyVerdict = new Deferred<boolean>();
  /** Never fails. */
  readonly closed = new Deferred<CloseReason>();
  readonly drained = new Deferred<void>();
  readonly streamOpened: Record<Direction, WaitQueue>;
  readonly streamsAvailable: Record<Direction, WaitQueue>;
  readonly datagramReceived: WaitQueue;
  readonly datagramsUnblocked: WaitQueue;
  /** Open paths; the remote state of the peer writes them. */
  readonly paths: ConnectionPaths;
  /** Set by the remote state that the connection belongs to. */
  onFact: ((fact: ConnectionFact) => void) | undefined;
  readonly #admit: (actor: ConnectionActor) => Promise<void>;
  readonly #mapped: MappedAddrs;
  readonly #log: Log;
  readonly #senders = new Map<StreamId, StreamListener>();
  readonly #receivers = new Map<StreamId, StreamListener>();
  /** Codes of streams that the peer stopped before the application accepted them: at most as many as it may open. */
  readonly #stoppedUnseen = new Map<StreamId, bigint>();
  #life: Actor<typeof connectionMachine> | undefined;
  #error: ConnectionError | undefined;
  #remoteId: EndpointId | undefined;
  #isConfirmed = false;
  /** Counts refusals of early data. Streams of before one must not touch those of after it, which reuse their numbers. */
  earlyRejections = 0;

  constructor({ quic, driver, mapped, log, system, admit }: ConnectionActorOptions) {
    this.quic = quic;
    this.driver = driver;
    this.paths = new ConnectionPaths(quic, mapped);
    this.#mapped = mapped;
    this.#log = log;
    this.#admit = admit;
    this.clock = driver.clock;
    const queue = (): WaitQueue => new WaitQueue(this.clock);
    this.streamOpened = { bi: queue(), uni: queue() };
    this.streamsAvailable = { bi: queue(), uni: queue() };
    this.datagramReceived = queue();
    this.datagramsUnblocked = queue();
    driver.listen(quic, this);
    // The engine decides about all this; the chart shows it to whoever watches, and costs memory.
    if (system.isInspected) {
      this.#life = system.start(connectionMachine, `connection ${quic.stableId} ${quic.side}`, undefined);
      if (quic.has0Rtt) this.#live({ type: 'earlyDataStarted' });
    }
  }

  /** Why the connection ended; undefined while it is open. */
  get error(): ConnectionError | undefined {
    const reason = this.quic.closeReason;
    if (reason !== undefined) this.#error ??= toConnectionError(reason);
    return this.#error;
  }

  /** The key that the peer proved; undefined before the handshake is complete. */
  get remoteId(): EndpointId | undefined {
    const peer = this.quic.peerIdentity;
    const key = peer && this.#remoteId === undefined ? endpointKeyOf(peer) : undefined;
    return (this.#remoteId ??= key && EndpointId.fromVerified(key));
  }

  #live(event: ConnectionLifeEvent): void {
    if (this.#life?.getSnapshot().status === 'active') this.#life.send(event);
  }

  /** The endpoint has ended before the engine was done with the connection. */
  endpointEnded(): void {
    this.#live({ type: 'endpointEnded' });
    this.paths.end();
  }

  /**
   * Ends the connection. Before the handshake is confirmed what is due goes out first: without our last message of the handshake
   * the peer could not read the code and reason (RFC 9000 §10.2.3).
   */
  close(code: bigint, reason: Uint8Array): void {
    if (!this.#isConfirmed) this.driver.transmit();
    this.quic.close(code, reason, this.clock.now());
    this.wake();
  }

  /** To be called after every command. */
  wake(): void {
    this.driver.wake();
  }

  listenSend(id: StreamId, listener: StreamListener): void {
    if (this.closed.isSettled) listener.onConnectionLost();
    else this.#senders.set(id, listener);
    const stopped = this.#stoppedUnseen.get(id);
    if (stopped === undefined) return;
    this.#stoppedUnseen.delete(id);
    listener.onStopped?.(stopped);
  }

  listenRecv(id: StreamId, listener: StreamListener): void {
    if (this.closed.isSettled) listener.onConnectionLost();
    else this.#receivers.set(id, listener);
  }

  forgetRecv(id: StreamId): void {
    this.#receivers.delete(id);
  }

  onEvent(event: ConnectionEvent): void {
    switch (event.type) {
      case 'streamReadable':
        this.#receivers.get(event.id)?.onReady();
        return;
      case 'streamWritable':
        this.#senders.get(event.id)?.onReady();
        return;
      case 'streamStopped':
        this.#onStopped(event.id, event.code);
        return;
      case 'streamFinished':
        this.#senders.get(event.id)?.onFinished?.();
        this.#senders.delete(event.id);
        return;
      case 'streamOpened':
        this.streamOpened[event.dir].wakeOne();
        return;
      case 'streamsAvailable':
        this.streamsAvailable[event.dir].wakeAll();
        return;
      case 'datagramReceived':
        this.datagramReceived.wakeAll();
        return;
      case 'datagramsUnblocked':
        this.datagramsUnblocked.wakeAll();
        return;
      case 'handshakeData':
        this.handshakeData.resolve();
        return;
      case 'connected':
        this.#live({ type: 'connected', side: this.quic.side });
        this.handshakeData.resolve();
        this.earlyVerdict.resolve(this.quic.accepted0Rtt ?? false);
        this.#log.write('connection', () => `${this.#name} connected${facts(this)}`);
        this.#admit(this).then(
          () => this.connected.resolve(),
          (error: unknown) => {
            // Whoever refused it may have closed it with a code of its own; nobody would ever close it otherwise.
            this.quic.close(0n, new Uint8Array(0), this.clock.now());
            this.wake();
            this.connected.reject(error);
          },
        );
        return;
      case 'zeroRttRejected':
        this.#live(event);
        this.#onZeroRttRejected();
        return;
      case 'closed':
        this.#onClosed(event);
        return;
      case 'drained':
        this.#live(event);
        this.drained.resolve();
        return;
      case 'handshakeConfirmed':
        this.#isConfirmed = true;
        this.#live(event);
        return;
      case 'draining':
        this.#live(event);
        return;
      case 'pathAbandoned':
        this.#logPath(event);
        // What ends with the connection is told by `closed`.
        if (event.reason.type !== 'connectionClosed') this.onFact?.(event);
        return;
      case 'pathEstablished':
      case 'pathStalled':
      case 'pathResumed':
      case 'pathMigrated':
      case 'natAddressAdded':
      case 'natAddressRemoved':
        this.#logPath(event);
        this.onFact?.(event);
        return;
      case 'observedAddress':
        this.#logPath(event);
        return;
      case 'pathDiscarded':
      case 'pathRemoteStatus':
        return;
    }
  }

  #onStopped(id: StreamId, code: bigint): void {
    const listener = this.#senders.get(id);
    if (listener === undefined) this.#stoppedUnseen.set(id, code);
    else listener.onStopped?.(code);
  }

  #onZeroRttRejected(): void {
    this.earlyVerdict.resolve(false);
    this.earlyRejections++;
    const listeners = [...this.#senders.values(), ...this.#receivers.values()];
    this.#senders.clear();
    this.#receivers.clear();
    for (const listener of listeners) listener.onZeroRttRejected();
  }

  /** How log lines call this connection: its number and side. */
  get #name(): string {
    return `#${this.quic.stableId} ${this.quic.side}`;
  }

  #text(addr: Addr): string {
    return formatRemoteAddr(this.#mapped.describe(addr));
  }

  #logPath(event: ConnectionEvent): void {
    switch (event.type) {
      case 'pathEstablished':
        this.#log.write('path', () => {
          const info = this.quic.paths().find((each) => each.id === event.path);
          return `${this.#name} path ${event.path} opened to ${info ? this.#text(info.remote) : 'nowhere'}`;
        });
        return;
      case 'pathAbandoned':
        this.#log.write('path', () => `${this.#name} path ${event.path} closed: ${event.reason.type}`);
        return;
      case 'pathMigrated':
        this.#log.write(
          'path',
          () => `${this.#name} path ${event.path} moved to ${this.#text(event.to.remote)}`,
        );
        return;
      case 'observedAddress':
        this.#log.write('path', () => `${this.#name} path ${event.path} is seen as ${event.addr.text}`);
    }
  }

  #onClosed(event: Extract<ConnectionFact, { type: 'closed' }>): void {
    const { reason } = event;
    const error = (): ConnectionError => this.error!;
    this.#live({ type: 'closed', reason: reason.type });
    this.#log.write('connection', () => `${this.#name} closed: ${error().code}: ${error().message}`);
    this.handshakeData.rejectWith(error);
    this.connected.rejectWith(error);
    this.earlyVerdict.resolve(false);
    this.closed.resolve(reason);
    for (const listener of this.#senders.values()) listener.onConnectionLost();
    for (const listener of this.#receivers.values()) listener.onConnectionLost();
    this.#senders.clear();
    this.#receivers.clear();
    for (const dir of ['bi', 'uni'] as const) {
      this.streamOpened[dir].wakeAll();
      this.streamsAvailable[dir].wakeAll();
    }
    this.datagramReceived.wakeAll();
    this.datagramsUnblocked.wakeAll();
    // Before it belongs to anybody nobody else ends its paths.
    if (this.onFact === undefined) this.paths.end();
    else this.onFact(event);
  }
}

/** Protocol, peer and duration of a handshake. */
function facts({ quic, remoteId }: ConnectionActor): string {
  const { alpn } = quic;
  const peer = remoteId === undefined ? '' : ` to ${remoteId.toString().slice(0, 10)}`;
  const took = quic.stats().handshakeMs?.toFixed(1);
  return `${peer}, ${JSON.stringify(alpn && fromUtf8(alpn))}, in ${took} ms`;
}

/** An engine's close reason as an application meets it. */
export function toConnectionError(reason: CloseReason): ConnectionError {
  switch (reason.type) {
    case 'versionMismatch':
      return new ConnectionError('ConnectionError.VersionMismatch', 'no common version of QUIC');
    case 'transportError': {
      const { error } = reason;
      return new ConnectionError('ConnectionError.TransportError', `${error.code}: ${error.message}`, {
        rawCode: BigInt(error.wireCode),
        transportCode: error.code,
        cause: error,
      });
    }
    case 'connectionClosed': {
      const name = transportCodeName(reason.code);
      return new ConnectionError(
        'ConnectionError.ConnectionClosed',
        `closed by the peer: ${name} ${fromUtf8(reason.reason)}`.trimEnd(),
        { rawCode: reason.code, transportCode: name, reason: reason.reason },
      );
    }
    case 'applicationClosed':
      return new ConnectionError(
        'ConnectionError.ApplicationClosed',
        `closed by the peer with code ${reason.code} ${fromUtf8(reason.reason)}`.trimEnd(),
        { rawCode: reason.code, reason: reason.reason },
      );
    case 'reset':
      return new ConnectionError('ConnectionError.Reset', 'the peer lost all state of the connection');
    case 'timedOut':
      return new ConnectionError('ConnectionError.TimedOut', 'nothing was heard from the peer');
    case 'locallyClosed':
      return new ConnectionError('ConnectionError.LocallyClosed', 'closed by this side');
    case 'cidsExhausted':
      return new ConnectionError('ConnectionError.CidsExhausted', 'no connection ids are left');
  }
}
