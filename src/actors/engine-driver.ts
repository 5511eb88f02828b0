/**
 * The loop between engine and world: batches in, batches out, one timer, events to their owners.
 *
 * Nothing here happens per packet. A burst is handed in whole; output is polled once per loop turn; the timer moves only
 * when the engine's deadline does.
 *
 * @module
 */
import { MAX_TIMER_DELAY_MS, type Clock, type Millis, type TimerId } from '../base/clock.ts';
import type {
  ConnectionEvent,
  Datagram,
  IncomingRef,
  QuicConnection,
  QuicEngine,
  Transmit,
} from '../quic/engine.ts';
import type { Transports } from './transports.ts';

/** Datagrams per poll: what one loop turn may send before it looks at what arrived. */
const TRANSMITS_PER_TURN = 256;
/** Stop polling above this many datagrams in the system's queue; resume when it is empty. */
const MAX_QUEUED = 64;

/** What carries the datagrams of an engine. */
export type DriverTransports = Pick<Transports, 'onDatagrams' | 'onDrained' | 'queued' | 'send'>;

/** Takes the events of one connection. */
export interface ConnectionListener {
  onEvent(event: ConnectionEvent): void;
}

/** Drives one engine. */
export class EngineDriver {
  readonly engine: QuicEngine;
  readonly clock: Clock;
  /** A connection attempt arrived. */
  onIncoming: ((incoming: IncomingRef) => void) | undefined;
  /** All connections may have reached another state of their end. */
  onProgress: (() => void) | undefined;
  readonly #transports: DriverTransports;
  readonly #listeners = new Map<QuicConnection, ConnectionListener>();
  readonly #batch: Transmit[] = [];
  #timer: TimerId;
  #timerAt: Millis = Infinity;
  #isFlushDue = false;
  #isBlocked = false;
  #isStopped = false;
  #isPreparing = false;
  readonly #onTimer = (): void => this.#fire();
  readonly #onFlush = (): void => this.flush();
  readonly #onSpareTime = (): void => this.#prepare();

  constructor(engine: QuicEngine, transports: DriverTransports, clock: Clock) {
    this.engine = engine;
    this.clock = clock;
    this.#transports = transports;
    transports.onDatagrams = (batch) => this.#receive(batch);
    transports.onDrained = () => {
      this.#isBlocked = false;
      this.engine.releaseTransmits();
      this.wake();
    };
  }

  /** Who hears of a connection's events, until it is drained. */
  listen(connection: QuicConnection, listener: ConnectionListener): void {
    this.#listeners.set(connection, listener);
  }

  #receive(batch: readonly Datagram[]): void {
    if (this.#isStopped) return;
    this.engine.handleDatagrams(batch, this.clock.now());
    this.#dispatch();
    // The application answers in promise reactions; what it writes leaves in this same turn.
    if (this.#isFlushDue) return;
    this.#isFlushDue = true;
    this.clock.afterMicrotasks(this.#onFlush);
  }

  /** A command was given: flushes once the present burst of work is over. */
  wake(): void {
    if (this.#isFlushDue || this.#isStopped) return;
    this.#isFlushDue = true;
    this.clock.afterMicrotasks(this.#onFlush);
  }

  #fire(): void {
    this.#timer = undefined;
    this.#timerAt = Infinity;
    if (this.#isStopped) return;
    this.engine.handleTimeout(this.clock.now());
    this.flush();
  }

  /** Sends what the engine has, re-arms the timer, hands out events. */
  flush(): void {
    this.#isFlushDue = false;
    if (this.#isStopped) return;
    this.transmit();
    this.#arm();
    this.#dispatch();
    if (this.engine.isUnprepared !== true || this.#isPreparing) return;
    this.#isPreparing = true;
    // The peer works on what was sent just now.
    this.clock.defer(this.#onSpareTime);
  }

  #prepare(): void {
    this.#isPreparing = false;
    if (!this.#isStopped) this.engine.prepare?.();
  }

  /** Sends what the engine has. To be followed by {@link wake}. */
  transmit(): void {
    if (this.#isStopped || this.#isBlocked) return;
    const batch = this.#batch;
    batch.length = 0;
    const count = this.engine.pollTransmits(batch, TRANSMITS_PER_TURN, this.clock.now());
    if (count === 0) return;
    this.#transports.send(batch);
    const queued = this.#transports.queued;
    if (queued === 0) this.engine.releaseTransmits();
    else if (queued > MAX_QUEUED) this.#isBlocked = true;
    if (count < TRANSMITS_PER_TURN || this.#isBlocked) return;
    // More to send, but first look at what arrived.
    this.#isFlushDue = true;
    this.clock.defer(this.#onFlush);
  }

  #arm(): void {
    const at = this.engine.pollTimeout() ?? Infinity;
    if (at === this.#timerAt) return;
    if (this.#timer !== undefined) this.clock.clearTimeout(this.#timer);
    this.#timerAt = at;
    // A clamped timer fires early; nothing is due then, and it is armed again.
    const delay = Math.min(Math.max(0, at - this.clock.now()), MAX_TIMER_DELAY_MS);
    this.#timer = at === Infinity ? undefined : this.clock.setTimeout(this.#onTimer, delay);
  }

  #dispatch(): void {
    let isDraining = false;
    for (let event = this.engine.pollEvent(); event !== undefined; event = this.engine.pollEvent()) {
      if (event.type === 'incoming') {
        this.onIncoming?.(event.incoming);
        continue;
      }
      const { connection, event: what } = event;
      this.#listeners.get(connection)?.onEvent(what);
      if (what.type === 'draining') isDraining = true;
      if (what.type === 'drained') this.#listeners.delete(connection);
    }
    if (isDraining) this.onProgress?.();
  }

  /** Stops for good; nothing is sent any more. */
  stop(): void {
    this.#isStopped = true;
    if (this.#timer !== undefined) this.clock.clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#listeners.clear();
  }
}
