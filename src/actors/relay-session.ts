/**
 * One client of a relay: its handshake, its queues, its time limits (`iroh-relay/src/server/client.rs`).
 *
 * A plain class, not a statechart: there are thousands, each message passes through, and the states are four in a row.
 *
 * @module
 */
import type { Clock, Millis, TimerId } from '../base/clock.ts';
import { EndpointId } from '../base/endpoint-id.ts';
import { randomBelow, type Rng } from '../base/rng.ts';
import type { RelaySocket } from '../transport/relay-socket.ts';
import {
  RELAY_STATUS,
  datagramsOffset,
  decodeClientFrame,
  encodeEndpointGone,
  encodeHealth,
  encodePing,
  encodePong,
  encodeRestarting,
  encodeStatus,
  forwardDatagrams,
  type RelayProtocol,
} from '../relay/frames.ts';
import {
  NOT_AUTHORIZED,
  ServerHandshake,
  encodeConfirmation,
  encodeDenial,
  verifyKeyMaterialHeader,
} from '../relay/handshake.ts';
import { PingTracker } from '../relay/ping-tracker.ts';
import { RelayProtocolError } from '../relay/protocol-error.ts';
import type { AccessCheck, AccessVerdict } from '../relay/server/access.ts';
import {
  isSameId,
  noteSent,
  type ClientConnection,
  type ClientTable,
  type RelayClient,
} from '../relay/server/clients.ts';
import { FrameQueue } from '../relay/server/frame-queue.ts';
import type { RelayServerMetrics } from '../relay/server/metrics.ts';
import { TokenBucket, type RateLimit } from '../relay/server/rate-limit.ts';

/** Time to authenticate. The reference has no such limit; it is the time that a client gives the whole attempt. */
export const AUTH_TIMEOUT_MS = 10_000;
/** `PING_INTERVAL`: silence after which the server asks, to which up to {@link PING_JITTER_S} are added. */
export const SERVER_PING_INTERVAL_MS = 15_000;
/** 1 to so many whole seconds (`iroh-relay/src/server/client.rs`). */
export const PING_JITTER_S = 5;
/** `SERVER_WRITE_TIMEOUT`: how long the system may refuse what is written (`iroh-relay/src/defaults.rs`). */
export const SERVER_WRITE_TIMEOUT_MS = 2_000;
/** Above so many bytes that the system has not taken, frames wait in our own queues, where they are bounded. */
export const SOCKET_HIGH_WATER_BYTES = 65_536;
/** WebSocket code of a connection that broke the protocol (RFC 6455 §7.4.1). */
const PROTOCOL_ERROR = 1_002;
/** WebSocket code of a connection that was refused (RFC 6455 §7.4.1). */
const POLICY_VIOLATION = 1_008;
/** Bytes that a masked WebSocket message has beside its payload (RFC 6455 §5.2): they are read too. */
const WEBSOCKET_HEADER_BYTES = 8;

/** Texts of v1, where v2 has a status. */
const HEALTH_TEXT: Record<number, string> = {
  [RELAY_STATUS.healthy]: '',
  [RELAY_STATUS.sameEndpointId]:
    'Another endpoint connected with the same endpoint id. No more messages will be received.',
};

/** Why a client's connection ended. */
export type EndReason =
  'closed' | 'denied' | 'authTimeout' | 'protocolError' | 'pongTimeout' | 'writeTimeout' | 'shutdown';

/** What all sessions of a relay share. */
export interface SessionHost {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly access: AccessCheck;
  readonly rateLimit: RateLimit | undefined;
  readonly metrics: RelayServerMetrics;
  readonly clients: ClientTable<RelaySession>;
  onEstablished(session: RelaySession): void;
  /** Called once per session. */
  onEnded(session: RelaySession, reason: EndReason, detail: string): void;
}

/** What the upgrade request said. */
export interface SessionRequest {
  readonly protocol: RelayProtocol;
  readonly token: string | undefined;
  /** Value of the header with the proof. */
  readonly authHeader: string | undefined;
}

type SessionState = 'challenged' | 'authorizing' | 'established' | 'ended';

/** A client's connection. */
export class RelaySession implements ClientConnection {
  readonly #host: SessionHost;
  readonly #socket: RelaySocket;
  readonly #request: SessionRequest;
  readonly #pings: PingTracker;
  readonly #bucket: TokenBucket | undefined;
  readonly #startedAt: Millis;
  /** Anything but datagrams. They go first: a late pong costs the client its connection. */
  readonly #others = new FrameQueue();
  readonly #datagrams = new FrameQueue();
  #state: SessionState = 'challenged';
  #handshake: ServerHandshake | undefined;
  #endpointId: EndpointId | undefined;
  #client: RelayClient<RelaySession> | undefined;
  #lastTarget: RelayClient<RelaySession> | undefined;
  #receivedAt: Millis;
  #pingAfterMs: Millis;
  /** Handed to the system since the beginning. */
  #sentBytes = 0;
  /** So much of {@link #sentBytes} must be out by {@link #writeDeadline}. */
  #writeMark = 0;
  #writeDeadline = Infinity;
  #pausedUntil = -Infinity;
  #isPaused = false;
  #wasRateLimited = false;
  #timer: TimerId;
  #timerAt: Millis = Infinity;

  constructor(host: SessionHost, socket: RelaySocket, request: SessionRequest) {
    const { clock, rng, rateLimit } = host;
    this.#host = host;
    this.#socket = socket;
    this.#request = request;
    this.#pings = new PingTracker(rng);
    const now = clock.now();
    this.#bucket = rateLimit && new TokenBucket(rateLimit, now);
    this.#startedAt = now;
    this.#receivedAt = now;
    this.#pingAfterMs = this.#nextPingAfterMs();
  }

  /** Who it is, once proven. */
  get endpointId(): EndpointId | undefined {
    return this.#endpointId;
  }

  get remoteIp(): string | undefined {
    return this.#socket.remoteIp;
  }

  get isEstablished(): boolean {
    return this.#state === 'established';
  }

  /** Bytes that wait in this session's own queues. */
  get waitingBytes(): number {
    return this.#others.bytes + this.#datagrams.bytes;
  }

  /** Begins: believes the header of the request, or sends a challenge. */
  start(): void {
    const socket = this.#socket;
    socket.onMessage = (message) => this.#handleMessage(message);
    socket.onClose = (error) => this.#end('closed', error === undefined ? 'by the client' : error.message);
    socket.onDrained = () => this.#flush();
    this.#arm(this.#startedAt + AUTH_TIMEOUT_MS);
    try {
      const { authHeader } = this.#request;
      if (authHeader !== undefined) {
        const verdict = verifyKeyMaterialHeader(authHeader, socket.exportKeyingMaterial);
        if (verdict.type === 'proven') return this.#authorize(verdict.id);
      }
    } catch (error) {
      return this.#fail(error);
    }
    this.#handshake = new ServerHandshake(this.#host.rng);
    this.#write(this.#handshake.start());
  }

  /** The server goes away: says so, and closes in order. */
  shutDown(reconnectInMs: number, tryForMs: number): void {
    if (this.#state === 'established') this.#write(encodeRestarting(reconnectInMs, tryForMs));
    this.#end('shutdown', 'the relay shuts down', 1_000);
  }

  /** Drops the connection at once. */
  abort(): void {
    this.#end('shutdown', 'the relay was stopped');
  }

  handleActive(isActive: boolean): void {
    const { metrics } = this.#host;
    if (isActive) metrics.add('clients_inactive_removed');
    else metrics.add('clients_inactive_added');
    this.#sendStatus(isActive ? RELAY_STATUS.healthy : RELAY_STATUS.sameEndpointId);
  }

  handleGone(id: Uint8Array): void {
    this.#sendOther(encodeEndpointGone(id));
  }

  /**
   * A frame of another client for this one. @param frame - Kept.
   * @returns false when there was no room.
   */
  deliver(frame: Uint8Array): boolean {
    if (this.#canWrite) {
      this.#write(frame);
    } else if (!this.#datagrams.push(frame)) {
      return false;
    }
    const { metrics } = this.#host;
    metrics.add('send_packets_sent');
    metrics.add('bytes_sent', frame.length);
    return true;
  }

  // Receiving

  #handleMessage(message: Uint8Array): void {
    const { clock } = this.#host;
    const now = clock.now();
    this.#receivedAt = now;
    try {
      if (this.#state === 'established') this.#handleFrame(message, now);
      else this.#handleAuth(message);
    } catch (error) {
      return this.#fail(error);
    }
    if (this.#bucket !== undefined && this.#state !== 'ended') this.#limit(this.#bucket, message.length, now);
  }

  #handleAuth(message: Uint8Array): void {
    if (this.#handshake === undefined || this.#state !== 'challenged')
      throw new RelayProtocolError('unexpectedFrame', 'a frame before the confirmation');
    const step = this.#handshake.handleMessage(message);
    if (step.type === 'refused') this.#deny(step.reason);
    else this.#authorize(step.id);
  }

  #authorize(id: Uint8Array): void {
    this.#state = 'authorizing';
    this.#handshake = undefined;
    const endpointId = EndpointId.fromVerified(id);
    this.#endpointId = endpointId;
    const { token } = this.#request;
    this.#host.access({ endpointId, token, remoteIp: this.remoteIp }, (verdict: AccessVerdict) => {
      // It may have ended while it was judged.
      if (this.#state !== 'authorizing') return;
      if (verdict === 'allow') this.#establish(id);
      else this.#deny(verdict === 'deny' ? NOT_AUTHORIZED : verdict.deny);
    });
  }

  #deny(reason: string): void {
    this.#write(encodeDenial(reason));
    this.#end('denied', reason, POLICY_VIOLATION);
  }

  #establish(id: Uint8Array): void {
    const { metrics, clients, clock } = this.#host;
    this.#state = 'established';
    this.#receivedAt = clock.now();
    // The confirmation comes before anything else that the table may send.
    this.#write(encodeConfirmation());
    const { client, isKnown } = clients.add(id, this);
    this.#client = client;
    metrics.add('accepts');
    if (!isKnown) metrics.add('unique_client_keys');
    this.#arm(this.#receivedAt + this.#pingAfterMs);
    this.#host.onEstablished(this);
  }

  #handleFrame(message: Uint8Array, now: Millis): void {
    const { metrics } = this.#host;
    const at = datagramsOffset(message);
    if (at >= 0) {
      metrics.add('send_packets_recv');
      metrics.add('bytes_recv', message.length);
      if (!this.#relay(message, at)) metrics.add('send_packets_dropped');
      return;
    }
    const frame = decodeClientFrame(message);
    metrics.add('other_packets_recv');
    switch (frame.type) {
      case 'ping':
        metrics.add('got_ping');
        if (this.#sendOther(encodePong(frame.payload))) metrics.add('sent_pong');
        break;
      case 'pong':
        this.#pings.handlePong(frame.payload, now);
        break;
      case 'datagrams':
    }
  }

  /** Passes datagrams on. @returns false when they are dropped; the sender is not told. */
  #relay(message: Uint8Array, at: number): boolean {
    const sender = this.#client!;
    let target = this.#lastTarget;
    if (target?.active === undefined || !isSameId(target, message, at)) {
      target = this.#host.clients.find(message, at);
      this.#lastTarget = target;
      if (target === undefined) return false;
    }
    const isDelivered = target.active!.deliver(forwardDatagrams(message, at, sender.id));
    if (isDelivered) noteSent(sender, target);
    return isDelivered;
  }

  #limit(bucket: TokenBucket, bytes: number, now: Millis): void {
    const waitMs = bucket.take(bytes + WEBSOCKET_HEADER_BYTES, now);
    if (waitMs === 0) return;
    const { metrics } = this.#host;
    metrics.add('bytes_rx_ratelimited', bytes);
    this.#pausedUntil = now + waitMs;
    if (!this.#isPaused) {
      this.#isPaused = true;
      this.#socket.pause();
    }
    this.#arm(this.#pausedUntil);
    if (this.#wasRateLimited) return;
    this.#wasRateLimited = true;
    metrics.add('conns_rx_ratelimited');
    if (this.#request.protocol === 'iroh-relay-v2') this.#sendStatus(RELAY_STATUS.rateLimited);
  }

  // Sending

  get #canWrite(): boolean {
    return (
      this.#socket.queuedBytes < SOCKET_HIGH_WATER_BYTES &&
      this.#datagrams.length === 0 &&
      this.#others.length === 0
    );
  }

  #sendStatus(status: number): void {
    this.#sendOther(
      this.#request.protocol === 'iroh-relay-v2'
        ? encodeStatus(status)
        : encodeHealth(HEALTH_TEXT[status] ?? ''),
    );
  }

  #sendOther(frame: Uint8Array): boolean {
    if (this.#state !== 'established') return false;
    const { metrics } = this.#host;
    if (this.#canWrite) {
      this.#write(frame);
    } else if (!this.#others.push(frame)) {
      metrics.add('other_packets_dropped');
      return false;
    }
    metrics.add('other_packets_sent');
    return true;
  }

  #flush(): void {
    while (this.#socket.queuedBytes < SOCKET_HIGH_WATER_BYTES && this.#state !== 'ended') {
      const frame = this.#others.shift() ?? this.#datagrams.shift();
      if (frame === undefined) return;
      this.#write(frame);
    }
  }

  #write(frame: Uint8Array): void {
    const socket = this.#socket;
    this.#sentBytes += frame.length;
    socket.send(frame);
    if (this.#writeDeadline === Infinity && socket.queuedBytes > 0) this.#watchWrites();
  }

  #watchWrites(): void {
    // As long as the client takes one frame of the largest size in the time limit, it is slow and not gone.
    this.#writeMark =
      this.#sentBytes -
      this.#socket.queuedBytes +
      Math.min(this.#socket.queuedBytes, SOCKET_HIGH_WATER_BYTES);
    this.#writeDeadline = this.#host.clock.now() + SERVER_WRITE_TIMEOUT_MS;
    this.#arm(this.#writeDeadline);
  }

  // Time

  #nextPingAfterMs(): Millis {
    return SERVER_PING_INTERVAL_MS + 1_000 * (1 + randomBelow(this.#host.rng, PING_JITTER_S));
  }

  /** Makes the timer fire at `at` at the latest. One that fires too early finds nothing to do. */
  #arm(at: Millis): void {
    if (at >= this.#timerAt || this.#state === 'ended') return;
    const { clock } = this.#host;
    clock.clearTimeout(this.#timer);
    this.#timerAt = at;
    this.#timer = clock.setTimeout(() => this.#handleTimer(), Math.max(0, at - clock.now()));
  }

  #handleTimer(): void {
    const { clock, metrics } = this.#host;
    // A timer may fire a fraction early; what is due at its time is due.
    const now = Math.max(clock.now(), this.#timerAt);
    this.#timerAt = Infinity;
    this.#timer = undefined;
    if (this.#isPaused && now >= this.#pausedUntil) {
      this.#isPaused = false;
      this.#socket.resume();
      if (this.#state === 'ended') return;
    }
    if (now >= this.#writeDeadline) {
      const { queuedBytes } = this.#socket;
      if (queuedBytes > 0 && this.#sentBytes - queuedBytes < this.#writeMark) {
        metrics.add('write_timeouts');
        return this.#end('writeTimeout', `the client took nothing for ${SERVER_WRITE_TIMEOUT_MS} ms`);
      }
      this.#writeDeadline = Infinity;
      if (queuedBytes > 0) this.#watchWrites();
    }
    if (this.#state !== 'established') {
      const limit = this.#startedAt + AUTH_TIMEOUT_MS;
      if (now >= limit) {
        metrics.add('auth_timeouts');
        return this.#end('authTimeout', `no authentication within ${AUTH_TIMEOUT_MS} ms`, POLICY_VIOLATION);
      }
      this.#arm(limit);
    } else {
      if (now >= this.#pongDeadline) {
        metrics.add('pong_timeouts');
        return this.#end('pongTimeout', 'no pong');
      }
      if (now >= this.#receivedAt + this.#pingAfterMs) {
        this.#receivedAt = now;
        this.#pingAfterMs = this.#nextPingAfterMs();
        this.#sendOther(encodePing(this.#pings.newPing(now)));
      }
      this.#arm(Math.min(this.#pongDeadline, this.#receivedAt + this.#pingAfterMs));
    }
    this.#arm(this.#writeDeadline);
    if (this.#isPaused) this.#arm(this.#pausedUntil);
  }

  /** While we do not read we cannot see a pong; after that it has its time again. */
  get #pongDeadline(): Millis {
    const { deadline } = this.#pings;
    if (deadline === undefined) return Infinity;
    return Math.max(deadline, this.#pausedUntil + this.#pings.timeoutMs);
  }

  // Ending

  #fail(error: unknown): void {
    if (!(error instanceof RelayProtocolError)) throw error;
    const { metrics } = this.#host;
    metrics.add(error.fault === 'unknownFrame' ? 'unknown_frames' : 'protocol_errors');
    this.#end('protocolError', error.message, PROTOCOL_ERROR);
  }

  /** @param closeCode - Closes in order, with `detail` as reason; without one the connection is dropped. */
  #end(reason: EndReason, detail: string, closeCode?: number): void {
    if (this.#state === 'ended') return;
    const wasEstablished = this.#state === 'established';
    this.#state = 'ended';
    const { clock, metrics, clients } = this.#host;
    clock.clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#others.clear();
    this.#datagrams.clear();
    this.#lastTarget = undefined;
    const socket = this.#socket;
    socket.onMessage = undefined;
    socket.onDrained = undefined;
    if (reason !== 'closed') {
      if (closeCode === undefined) socket.terminate();
      else {
        // Else the answer to the close would never be read.
        if (this.#isPaused) socket.resume();
        socket.close(closeCode, detail);
      }
    }
    if (reason === 'denied') metrics.add('auth_denied');
    if (wasEstablished) {
      metrics.add('disconnects');
      if (clients.remove(this.#client!, this) === 'inactiveEnded') metrics.add('clients_inactive_removed');
    }
    this.#host.onEnded(this, reason, detail);
  }
}
