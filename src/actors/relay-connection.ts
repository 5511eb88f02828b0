/**
 * One WebSocket to a relay, from the client's side: the handshake, then frames in and out (`iroh-relay/src/client.rs`).
 *
 * A plain class without timers: each datagram passes through. When to ask, to wait and to give up is the chart's matter
 * (`machines/relay-client.ts`).
 *
 * @module
 */
import type { Clock, Millis } from '../base/clock.ts';
import { RelayError } from '../base/errors.ts';
import type { Rng } from '../base/rng.ts';
import type { RelayLossReason } from '../machines/relay-client.ts';
import {
  MAX_RELAY_DATAGRAM_BYTES,
  RELAY_STATUS,
  decodeServerFrame,
  encodePing,
  encodePong,
  isRelayProtocol,
  splitDatagrams,
  type RelayDatagrams,
  type RelayProtocol,
} from '../relay/frames.ts';
import { ClientHandshake, type RelayIdentity } from '../relay/handshake.ts';
import { PingTracker } from '../relay/ping-tracker.ts';
import { RelayProtocolError } from '../relay/protocol-error.ts';
import type { RelayProblem } from '../relay/relay-status.ts';
import { RouteTable } from '../relay/route-table.ts';
import type { RelaySocket } from '../transport/relay-socket.ts';
import { Deferred } from './wait.ts';

/** Above so many bytes that the system has not taken, frames wait in our own queue, where they are bounded. */
export const RELAY_HIGH_WATER_BYTES = 65_536;
/**
 * Most datagrams of one frame; a frame with more is dropped. A frame of full-size ones has 54, and one whose segments are a
 * byte long would have 65,500.
 */
export const MAX_FRAME_SEGMENTS = 1_024;
/** v1 has words where v2 has a status. */
const SAME_ENDPOINT_ID = /same endpoint id/i;

/** What a connection tells its owner. Nothing is told once it was dropped, closed or lost. */
export interface RelayConnectionListener {
  /** @param from - 32 bytes, the same array for the same sender. @param datagrams - Views into one message. */
  onDatagrams(from: Uint8Array, datagrams: readonly Uint8Array[]): void;
  /** @param id - 32 bytes, borrowed. */
  onEndpointGone(id: Uint8Array): void;
  /** The newest ping was answered. */
  onPong(): void;
  /** Undefined: all is well again. */
  onProblem(problem: RelayProblem | undefined): void;
  /** The relay does not send all at once any more, or not at all. */
  onLost(reason: RelayLossReason, cause: unknown): void;
  /** The system does not take all that is sent. Told once until {@link RelayConnection.watchWrites} ends. */
  onBlocked(): void;
  /** There is room again. */
  onWritable(): void;
  /** Received datagrams were dropped. */
  onDropped(count: number): void;
  log(line: () => string): void;
}

/** A connection to a relay. */
export class RelayConnection {
  /** Ids that were heard of over this connection. */
  readonly routes = new RouteTable();
  readonly #socket: RelaySocket;
  readonly #protocol: RelayProtocol;
  readonly #clock: Clock;
  readonly #listener: RelayConnectionListener;
  readonly #pings: PingTracker;
  readonly #confirmed = new Deferred<void>();
  readonly #closed = new Deferred<void>();
  #handshake: ClientHandshake | undefined;
  #heardAt: Millis;
  /** The pong for the newest ping of the relay, while the system takes nothing. */
  #waitingPong: Uint8Array | undefined;
  #sentBytes = 0;
  /** {@link #takenBytes} when watching began. */
  #watchedFrom = 0;
  #isWatched = false;
  #isOver = false;
  readonly #segments: Uint8Array[] = [];

  /**
   * Takes over a socket that is open: all its handlers are set.
   * @throws {RelayError} `BadVersionHeader` when it agreed on no protocol of ours.
   */
  constructor(
    socket: RelaySocket,
    identity: RelayIdentity,
    { clock, rng }: { readonly clock: Clock; readonly rng: Rng },
    listener: RelayConnectionListener,
  ) {
    const { protocol } = socket;
    if (!isRelayProtocol(protocol)) {
      socket.terminate();
      throw new RelayError('RelayError.Dial.Connect.BadVersionHeader', `no relay protocol: "${protocol}"`);
    }
    this.#socket = socket;
    this.#protocol = protocol;
    this.#clock = clock;
    this.#listener = listener;
    this.#pings = new PingTracker(rng);
    this.#handshake = new ClientHandshake(identity);
    this.#heardAt = clock.now();
    socket.onMessage = (message) => this.#handleMessage(message);
    socket.onClose = (error) => {
      this.#closed.resolve();
      this.#lose(error === undefined ? 'closedByRelay' : 'broken', error);
    };
    socket.onDrained = () => this.#handleDrained();
  }

  /** Resolves when the relay has confirmed who we are. @throws {RelayError} `Denied` */
  get confirmed(): Promise<void> {
    return this.#confirmed.promise;
  }

  /** IP of our end; undefined where that is hidden. */
  get localIp(): string | undefined {
    return this.#socket.localIp;
  }

  /** When the last message came. */
  get heardAt(): Millis {
    return this.#heardAt;
  }

  // --- receiving ------------------------------------------------------------------------------------------------------------

  #handleMessage(message: Uint8Array): void {
    this.#heardAt = this.#clock.now();
    try {
      if (this.#handshake === undefined) this.#handleFrame(message);
      else this.#handleHandshake(this.#handshake, message);
    } catch (error) {
      if (!(error instanceof RelayProtocolError)) throw error;
      this.#lose('protocolError', error);
    }
  }

  #handleHandshake(handshake: ClientHandshake, message: Uint8Array): void {
    const step = handshake.handleMessage(message);
    if (step.type === 'reply') return this.#send(step.message);
    this.#handshake = undefined;
    if (step.type === 'confirmed') return this.#confirmed.resolve();
    const { reason } = step;
    this.#end();
    this.#confirmed.reject(
      new RelayError('RelayError.Dial.Connect.Denied', `the relay denied: ${reason}`, { reason }),
    );
  }

  #handleFrame(message: Uint8Array): void {
    const listener = this.#listener;
    const frame = decodeServerFrame(message, this.#protocol);
    switch (frame.type) {
      case 'datagrams':
        return this.#handleDatagrams(frame);
      case 'ping':
        if (this.canWrite) this.#send(encodePong(frame.payload));
        // Only the newest counts for the relay, so that one that asks and never reads costs eight bytes.
        else this.#waitingPong = frame.payload.slice();
        return;
      case 'pong':
        if (this.#pings.handlePong(frame.payload, this.#heardAt)) listener.onPong();
        return;
      case 'endpointGone':
        this.routes.delete(frame.peer);
        return listener.onEndpointGone(frame.peer);
      case 'restarting':
        return listener.onProblem('restarting');
      case 'health':
        listener.log(() => (frame.problem === '' ? 'is well' : `reports: ${frame.problem}`));
        if (frame.problem === '') listener.onProblem(undefined);
        else if (SAME_ENDPOINT_ID.test(frame.problem)) listener.onProblem('sameEndpointId');
        return;
      case 'status':
        if (frame.status === RELAY_STATUS.healthy) listener.onProblem(undefined);
        else if (frame.status === RELAY_STATUS.sameEndpointId) listener.onProblem('sameEndpointId');
        else if (frame.status === RELAY_STATUS.rateLimited) listener.onProblem('rateLimited');
        else listener.log(() => `reports status ${frame.status}`);
    }
  }

  #handleDatagrams(frame: RelayDatagrams): void {
    const { peer, segmentBytes, contents } = frame;
    const listener = this.#listener;
    const from = this.routes.add(peer);
    if (segmentBytes > 0 && contents.length > segmentBytes * MAX_FRAME_SEGMENTS)
      return listener.onDropped(Math.ceil(contents.length / segmentBytes));
    const segments = this.#segments;
    segments.length = 0;
    const dropped = splitDatagrams(frame, MAX_RELAY_DATAGRAM_BYTES, segments);
    if (dropped > 0) listener.onDropped(dropped);
    listener.onDatagrams(from, segments);
  }

  // --- sending --------------------------------------------------------------------------------------------------------------

  /** Whether the system takes frames now. */
  get canWrite(): boolean {
    return this.#socket.queuedBytes < RELAY_HIGH_WATER_BYTES;
  }

  /** Sends a frame, whether there is room or not. @param frame - Taken over. */
  write(frame: Uint8Array): void {
    if (this.#isOver) return;
    this.#send(frame);
    if (this.#isWatched || this.#socket.queuedBytes === 0) return;
    this.#isWatched = true;
    this.#listener.onBlocked();
  }

  #send(frame: Uint8Array): void {
    this.#sentBytes += frame.length;
    this.#socket.send(frame);
  }

  #handleDrained(): void {
    if (this.#waitingPong !== undefined) {
      this.#send(encodePong(this.#waitingPong));
      this.#waitingPong = undefined;
    }
    this.#listener.onWritable();
  }

  get #takenBytes(): number {
    return this.#sentBytes - this.#socket.queuedBytes;
  }

  /** Remembers how much is sent, for {@link hasTakenSome}. */
  watchWrites(): void {
    this.#watchedFrom = this.#takenBytes;
  }

  /** Whether nothing waits; if so, the next time that something does is told. */
  endWatch(): boolean {
    if (this.#socket.queuedBytes > 0) return false;
    this.#isWatched = false;
    return true;
  }

  /** Whether the system took anything since {@link watchWrites}. */
  get hasTakenSome(): boolean {
    return this.#takenBytes > this.#watchedFrom;
  }

  /** Asks the relay whether it is there. @returns how long its answer may take, ms. */
  ping(): Millis {
    const { timeoutMs } = this.#pings;
    this.#send(encodePing(this.#pings.newPing(this.#clock.now())));
    return timeoutMs;
  }

  // --- the end --------------------------------------------------------------------------------------------------------------

  #lose(reason: RelayLossReason, cause: unknown): void {
    if (this.#isOver) return;
    this.#end();
    this.#listener.onLost(reason, cause);
  }

  #end(): void {
    this.#isOver = true;
    this.#socket.onMessage = undefined;
    this.#socket.onDrained = undefined;
    this.routes.clear();
  }

  /** Ends the connection at once. Idempotent. */
  drop(): void {
    this.#end();
    this.#socket.terminate();
    // Some sockets tell later, when nobody cares any more.
    this.#closed.resolve();
  }

  /** Closes in order, after what was sent. Resolves once the relay has answered, or the connection is gone otherwise. */
  close(): Promise<void> {
    this.#end();
    this.#socket.close();
    return this.#closed.promise;
  }
}
