/**
 * A quiche connection behind the interface of ours: what quiche knows is asked after each burst and told in events.
 *
 * @module
 */
import { utf8 } from '../base/bytes.ts';
import type { Millis } from '../base/clock.ts';
import type { Addr } from '../base/socket-addr.ts';
import type { HeapItem } from '../quic/deadline-heap.ts';
import type {
  CloseReason,
  ConnectionEvent,
  Datagram,
  FourTuple,
  NetworkChangeHint,
  QuicConnection,
  Side,
  Transmit,
} from '../quic/engine.ts';
import type { TransportConfig } from '../quic/config.ts';
import type { ConnectionStats } from '../quic/stats.ts';
import { TransportError } from '../quic/transport-error.ts';
import { TlsAlert } from '../tls/alert.ts';
import type { PeerIdentity } from '../tls/session.ts';
import {
  closeReasonOf,
  encodeClientClose,
  Farewell,
  MAX_REASON_BYTES,
  NO_APPLICATION_PROTOCOL,
} from './close.ts';
import { ConnectionCalls } from './connection-calls.ts';
import { DatagramQueue } from './datagrams.ts';
import type { QuicheHost } from './host.ts';
import { identifyPeer } from './identity.ts';
import { sendSize } from './native-config.ts';
import { failureOf, transportErrorOf, type Connection, type SendInfo } from './native.ts';
import { LOCAL, MAX_PLACES, type Place } from './places.ts';
import type { PathsOwner } from './path.ts';
import { MAX_OPEN_PATHS, QuichePaths } from './paths.ts';
import { isQuiet } from './quiet.ts';
import { connectionStatsOf } from './stats.ts';
import { QuicheStreams } from './streams.ts';

/** Connection ids that are ready for paths to come: for all that a client may open at once. */
const SPARE_CIDS = MAX_OPEN_PATHS;
/** First four bits of a Retry packet (RFC 9000 §17.2.5). */
const RETRY_BITS = 0xf;
/** How often all paths are asked for a packet: once more after one of them was given another place. */
const SEND_ROUNDS = 2;
/** Milliseconds that quiche's deadlines, cut to whole ones, may be early. */
const ROUNDING_MS = 1;

/** How a {@link QuicheConnection} is made. */
export interface QuicheConnectionInit {
  readonly host: QuicheHost;
  readonly native: Connection;
  readonly side: Side;
  readonly stableId: number;
  readonly tuple: FourTuple;
  readonly transport: TransportConfig;
  /** Client: the TLS name of the endpoint that is dialled. */
  readonly serverName: string | undefined;
  /** False: a server that asks for no certificate. */
  readonly wantsPeer: boolean;
  readonly now: Millis;
}

/** One connection. */
export class QuicheConnection extends ConnectionCalls implements QuicConnection, HeapItem, PathsOwner {
  heapIndex = -1;
  deadline: Millis = 0;
  /** The engine's marks: in its lists of those that want to send, and of those that received. */
  isReady = false;
  isTouched = false;
  /** Client: the address that the engine knows it by. */
  indexed: Addr | undefined;
  /** Server: key in the table of initial destination cids. */
  route: string | undefined;
  /** The engine's keys of the connection ids that route here. */
  readonly cids = new Set<number>();
  readonly native: Connection;
  readonly side: Side;
  readonly stableId: number;
  readonly serverName: string | undefined;
  readonly transport: TransportConfig;
  readonly multipath = false;
  alpn: Uint8Array | undefined;
  peerIdentity: PeerIdentity | undefined;
  closeReason: CloseReason | undefined;
  has0Rtt = false;
  accepted0Rtt: boolean | undefined;
  isEstablished = false;
  isDraining = false;
  isDrained = false;
  readonly #host: QuicheHost;
  readonly #wantsPeer: boolean;
  protected readonly streams: QuicheStreams;
  protected readonly datagrams: DatagramQueue;
  protected readonly pathTable: QuichePaths;
  readonly #sendSize: number;
  readonly #startedAt: Millis;
  #establishedAt: Millis | undefined;
  #isConfirmed = false;
  /** Packets that quiche took for authentic, now and when the handshake was complete. */
  #received = 0;
  #receivedInHandshake = 0;
  #hasSession = false;
  /** quiche has nothing to send, as far as we know. */
  #isFlushed = false;
  protected activeAt: Millis;
  /** What a client made before anybody asked for it. */
  #first: Uint8Array | undefined;
  /** Client: the destination id that the keys of Initial packets come from (RFC 9001 §5.2). */
  #initialDcid: Uint8Array;
  /** One of the paths is lost in quiche. */
  #isPerPath = false;
  readonly #farewell = new Farewell();
  readonly #udpRx = { datagrams: 0, bytes: 0 };

  constructor(init: QuicheConnectionInit) {
    super();
    const { native, side, transport, now } = init;
    this.#host = init.host;
    this.native = native;
    this.side = side;
    this.stableId = init.stableId;
    this.serverName = init.serverName;
    this.transport = transport;
    this.#wantsPeer = init.wantsPeer;
    this.#sendSize = sendSize(transport);
    this.#startedAt = now;
    this.#initialDcid = native.destinationId();
    this.activeAt = now;
    const emit = (event: ConnectionEvent): void => this.emit(event);
    this.streams = new QuicheStreams(native, side, emit);
    this.datagrams = new DatagramQueue(native, transport, emit);
    this.pathTable = new QuichePaths(this, init.tuple, now);
  }

  emit(event: ConnectionEvent): void {
    this.#host.emit(this, event);
  }

  touch(): void {
    this.#isFlushed = false;
    this.#host.touch(this);
  }

  get remote(): Addr {
    return this.pathTable.remote;
  }

  get isHandshaking(): boolean {
    return !this.isEstablished;
  }

  get isClosed(): boolean {
    return this.closeReason !== undefined;
  }

  // --- packets --------------------------------------------------------------------------------------------------------------

  /** Client, with a session of before: makes the first packet, after which early data may be written. */
  startEarly(session: Uint8Array): void {
    try {
      this.native.setSession(session);
      const first = new Uint8Array(this.#sendSize);
      const sent = this.native.send(first);
      if (sent !== null) this.#first = first.subarray(0, sent[0]);
      this.has0Rtt = this.native.isInEarlyData();
    } catch {
      // A session that quiche cannot read is none.
    }
  }

  handleDatagram(datagram: Datagram, now: Millis): void {
    const { native } = this;
    const { data } = datagram;
    this.#udpRx.datagrams++;
    this.#udpRx.bytes += data.length;
    if (this.isDraining) {
      if (this.#farewell.onDatagram()) this.touch();
      return;
    }
    const place = this.pathTable.placeOf(datagram, now);
    if (place === undefined) return;
    const isForeign = place.remote !== datagram.from;
    const before = isForeign ? native.stats().recv : 0;
    const isWaiting = !this.isEstablished && data[0]! >> 4 === RETRY_BITS;
    try {
      native.recv(data, place.info);
    } catch (error) {
      this.#failed(error);
    }
    // After a Retry, which comes before all else, the keys are other ones.
    if (isWaiting && native.stats().recv === 0) this.#initialDcid = native.destinationId();
    if (isForeign && native.stats().recv > before) this.pathTable.setServerAddr(datagram, now);
  }

  /** All datagrams of a burst were handed in. */
  endBurst(now: Millis): void {
    if (!this.isDraining) {
      // What does not authenticate is not counted.
      const received = this.native.stats().recv;
      const isAuthentic = received > this.#received;
      this.#received = received;
      if (isAuthentic) this.activeAt = now;
      this.pathTable.onBurst(isAuthentic, now);
    }
    this.#settle(now);
    this.touch();
  }

  handleTimeout(now: Millis): void {
    if (this.isDrained) return;
    const { native } = this;
    if (native.timeout() === 0) {
      const wasAlive = this.isEstablished && !this.isDraining;
      native.onTimeout();
      if (wasAlive && !native.isClosed()) this.pathTable.onTimeout(now);
    }
    if (!this.isClosed && this.isEstablished) {
      const { keepAliveIntervalMs } = this.transport;
      if (keepAliveIntervalMs !== undefined && now - this.activeAt >= keepAliveIntervalMs) {
        this.activeAt = now;
        native.sendAckEliciting();
      }
      this.pathTable.handleTimeout(now);
    }
    this.#settle(now);
    this.touch();
  }

  handleNetworkChange(hint: NetworkChangeHint | undefined, now: Millis): void {
    if (this.isClosed) return;
    this.pathTable.handleNetworkChange(hint, now);
    this.touch();
  }

  /** Appends up to `max` datagrams. Fewer than `max` means: nothing more to send now. */
  pollTransmits(out: Transmit[], max: number, now: Millis): number {
    let count = 0;
    const own = this.#first ?? this.#farewell.take();
    if (own !== undefined) {
      out.push({ to: this.pathTable.remote, local: this.pathTable.local, data: own });
      this.#first = undefined;
      count++;
    }
    this.streams.beginSend();
    while (count < max) {
      const transmit = this.#send(now);
      if (transmit === undefined) {
        if (!this.isClosed && this.streams.sendEnd()) continue;
        this.#isFlushed = true;
        break;
      }
      out.push(transmit);
      count++;
    }
    if (count > 0) this.activeAt = now;
    this.#checkEnd();
    return count;
  }

  #send(now: Millis): Transmit | undefined {
    if (this.isDrained) return undefined;
    const { bytes, start } = this.#host.allocate(this.#sendSize);
    let sent: [number, SendInfo] | null;
    let place: Place | undefined;
    let tries = 0;
    // What is for a place that made room is lost.
    do {
      sent = this.#nativeSend(bytes.subarray(start, start + this.#sendSize), now);
      place = sent === null ? undefined : this.pathTable.placeAt(sent[1].to.port);
    } while (sent !== null && place === undefined && ++tries < MAX_PLACES);
    if (sent === null || place === undefined) {
      this.#host.shrink(0);
      return undefined;
    }
    this.#host.shrink(sent[0]);
    const data = bytes.subarray(start, start + sent[0]);
    if (this.isClosed) this.#farewell.keep(data);
    return { to: place.remote, local: place.local, data };
  }

  #nativeSend(into: Uint8Array, now: Millis): [number, SendInfo] | null {
    const { native } = this;
    if (!this.#isPerPath) {
      try {
        return native.send(into);
      } catch (error) {
        const isPathLost = failureOf(error).name === 'InvalidState' && this.side === 'client';
        if (!isPathLost || !this.isEstablished) {
          this.#failed(error);
          return null;
        }
        // From now on each path is asked: quiche would try the lost one for ever.
        this.#isPerPath = true;
      }
    }
    for (let round = 0; round < SEND_ROUNDS; round++) {
      let isReplaced = false;
      for (const place of this.pathTable.places()) {
        try {
          const sent = native.sendOnPath(into, LOCAL, place.host);
          if (sent !== null) return sent;
        } catch {
          if (this.isClosed) return null;
          if (this.pathTable.replace(place, now)) isReplaced = true;
        }
      }
      if (!isReplaced) break;
    }
    return null;
  }

  /** When something is due; undefined: never. */
  nextDeadline(now: Millis): Millis | undefined {
    if (this.isDrained) return undefined;
    const timeout = this.native.timeout();
    let deadline = timeout === null ? Infinity : now + timeout + ROUNDING_MS;
    if (this.isEstablished && !this.isClosed) {
      const { keepAliveIntervalMs } = this.transport;
      if (keepAliveIntervalMs !== undefined)
        deadline = Math.min(deadline, this.activeAt + keepAliveIntervalMs);
      deadline = Math.min(deadline, this.pathTable.deadline());
    }
    return deadline;
  }

  // --- what happened ----------------------------------------------------------------------------------------------------------

  #settle(now: Millis): void {
    if (!this.isClosed) this.#handshake(now);
    if (!this.isClosed) {
      const isSettled = this.isEstablished && this.#isFlushed;
      this.streams.poll(isSettled && isQuiet(this.native, this.transport));
      this.datagrams.poll();
      if (this.isEstablished) this.#upkeep(now);
    }
    this.#checkEnd();
  }

  #handshake(now: Millis): void {
    const { native } = this;
    if (this.isEstablished) {
      // quiche does not say that it is confirmed (RFC 9001 §4.1.2): who answers after the handshake has our last message of it.
      if (this.#isConfirmed || this.#received <= this.#receivedInHandshake) return;
      this.#isConfirmed = true;
      this.emit({ type: 'handshakeConfirmed' });
      return;
    }
    if (this.alpn === undefined) {
      const alpn = native.applicationProto();
      if (alpn.length > 0) {
        this.alpn = Uint8Array.from(alpn);
        this.emit({ type: 'handshakeData' });
      }
    }
    if (this.side === 'server' && native.isInEarlyData()) {
      this.has0Rtt = true;
      this.accepted0Rtt = true;
    }
    if (!native.isEstablished()) return;
    if (this.alpn === undefined) {
      // RFC 9001 §8.1; quiche would go on without.
      this.#closeWith(0x100 + NO_APPLICATION_PROTOCOL, 'no application protocol');
      return;
    }
    if (this.#wantsPeer && !this.#checkPeer(now)) return;
    this.isEstablished = true;
    this.#establishedAt = now;
    this.#receivedInHandshake = this.#received;
    this.streams.isEarly = false;
    // What the server refused is sent again by quiche: the application has nothing to do.
    if (this.side === 'client' && this.has0Rtt) this.accepted0Rtt = true;
    this.emit({ type: 'connected' });
    if (this.side === 'server') {
      this.#isConfirmed = true;
      this.emit({ type: 'handshakeConfirmed' });
    }
  }

  #checkPeer(now: Millis): boolean {
    try {
      this.peerIdentity = identifyPeer(this.native, this.serverName, this.#host.wallTime(now));
      return true;
    } catch (error) {
      if (!(error instanceof TlsAlert)) throw error;
      this.#closeWith(0x100 + error.alert, error.message);
      return false;
    }
  }

  #upkeep(now: Millis): void {
    const { native } = this;
    this.pathTable.poll(now);
    for (let cid = native.retiredScidNext(); cid !== null; cid = native.retiredScidNext())
      this.#host.retireCid(this, cid);
    while (native.activeSourceCids() < SPARE_CIDS + this.pathTable.seen && native.sourceCidsLeft() > 0) {
      const cid = this.#host.issueCid(this);
      native.newSourceCid(cid, this.#host.resetTokenOf(cid), false);
    }
    if (this.side === 'server' || this.#hasSession) return;
    const session = native.session();
    if (session === null) return;
    this.#hasSession = true;
    this.#host.saveSession(this, Uint8Array.from(session));
  }

  // --- ends -------------------------------------------------------------------------------------------------------------------

  /** A call of quiche threw. Most errors close the connection, with a code that quiche knows. */
  #failed(error: unknown): void {
    if (this.isClosed) return;
    const { name } = failureOf(error);
    const local = this.native.localError();
    if (name === 'UnknownVersion') this.#end({ type: 'versionMismatch' });
    else if (local !== null)
      this.#end({ type: 'transportError', error: transportErrorOf(local.errorCode, name) });
    else if (this.native.isClosed()) this.#end({ type: 'reset' });
  }

  #closeWith(wireCode: number, message: string): void {
    const { native } = this;
    const error = transportErrorOf(wireCode, message);
    const dcid = native.destinationId();
    native.close(false, wireCode, utf8(message));
    if (this.side === 'client' && !this.isEstablished) {
      this.#first = encodeClientClose(this.#initialDcid, dcid, native.sourceId(), error);
      this.#farewell.keep(this.#first);
      // What quiche would send: the server could not read it.
      try {
        native.send(new Uint8Array(this.#sendSize));
      } catch {
        // All the better.
      }
    }
    this.#end({ type: 'transportError', error });
  }

  /** Something threw what nobody expected: the last resort. */
  onDefect(defect: unknown): void {
    if (this.isClosed) return;
    const error = new TransportError('INTERNAL_ERROR', failureOf(defect).name);
    try {
      this.native.close(false, error.wireCode, utf8(error.message).subarray(0, MAX_REASON_BYTES));
    } catch {
      // It is closed already.
    }
    this.#end({ type: 'transportError', error });
  }

  #end(reason: CloseReason): void {
    if (this.closeReason !== undefined) return;
    this.closeReason = reason;
    this.streams.isClosed = true;
    this.pathTable.end();
    this.emit({ type: 'closed', reason });
    this.touch();
  }

  #checkEnd(): void {
    if (this.isDrained) return;
    const { native } = this;
    const isClosed = native.isClosed();
    if (!isClosed && !native.isDraining()) return;
    if (this.closeReason === undefined) this.#end(closeReasonOf(native));
    if (!this.isDraining) {
      this.isDraining = true;
      this.emit({ type: 'draining' });
    }
    if (!isClosed) return;
    this.isDrained = true;
    this.emit({ type: 'drained' });
    this.#host.drained(this);
  }

  close(code: bigint, reason: Uint8Array, now: Millis): void {
    if (this.isClosed) return;
    // What arrived before counts: streams that were received are still handed out.
    this.#settle(now);
    if (this.isClosed) return;
    this.native.close(true, Number(code), reason.subarray(0, MAX_REASON_BYTES));
    this.#end({ type: 'locallyClosed' });
    this.#checkEnd();
  }

  stats(): ConnectionStats {
    const handshakeMs = this.#establishedAt && this.#establishedAt - this.#startedAt;
    return connectionStatsOf(this.native, this.#udpRx, handshakeMs);
  }
}
