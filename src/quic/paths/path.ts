/**
 * One network path of a connection: its addresses and everything that is measured or limited per path
 * (draft-ietf-quic-multipath §5; for a connection without multipath, path 0 is the whole story).
 *
 * @module
 */
import type { Millis } from '../../base/clock.ts';
import type { Addr } from '../../base/socket-addr.ts';
import type { TransportConfig } from '../config.ts';
import { createController, type CongestionController } from '../congestion/controller.ts';
import type { FourTuple, PathAbandonReason, PathId, PathStatus, Side } from '../engine.ts';
import { ptoInterval } from '../recovery/pto.ts';
import { RttEstimator } from '../recovery/rtt.ts';
import { PacketSpace } from '../spaces.ts';
import type { PathStats } from '../stats.ts';
import { MtuDiscovery } from './mtu-discovery.ts';
import { Pacer } from './pacer.ts';
import { PathValidation } from './validation.ts';

/** A server may send this many times what an unvalidated address sent (RFC 9000 §8.1). */
export const ANTI_AMPLIFICATION_FACTOR = 3;
/** With less budget than this, nothing of use fits into a datagram: short header, tag, and a challenge. */
const MIN_LIMITED_DATAGRAM_BYTES = 64;
/** PATH_RESPONSEs waiting per path; one per remote, noq `PathResponses` keeps the same number. */
export const MAX_PENDING_RESPONSES = 32;

/** A challenge to answer, on the very addresses it came from (RFC 9000 §8.2.2). */
export interface PendingResponse {
  readonly token: Uint8Array;
  readonly remote: Addr;
  readonly local: Addr | undefined;
  /** Size of the datagram that answers off the path: full, unless that amplifies (RFC 9000 §8.2.2). */
  readonly padTo: number;
}

/** How far the end of a path has come (draft-ietf-quic-multipath §3.4). */
export interface AbandonState {
  readonly reason: PathAbandonReason;
  /** Goes into our PATH_ABANDON. */
  readonly code: number;
  /** Our PATH_ABANDON must (again) be sent. */
  framePending: boolean;
  /** A packet with our PATH_ABANDON was acknowledged. */
  frameAcked: boolean;
  /** The peer's PATH_ABANDON arrived. */
  peerAbandoned: boolean;
}

/** After so many PTOs in a row a path carries no data while another one can: long before its idle time-out. */
export const STALL_PTO_COUNT = 2;

/** A path, with its own packet numbers, RTT, congestion control, MTU and timers. */
export class Path {
  readonly id: PathId;
  remote: Addr;
  local: Addr | undefined;

  readonly space: PacketSpace;
  rtt: RttEstimator;
  controller: CongestionController;
  pacer: Pacer;
  mtu: MtuDiscovery;

  /** The peer proved to receive at `remote`. */
  validated = false;
  /** Event `pathEstablished` was raised. */
  established = false;
  validation: PathValidation | undefined;
  /** Where the path led before a migration, to fall back to (RFC 9000 §9.3.2). */
  previous: { readonly remote: Addr; readonly local: Addr | undefined } | undefined;
  readonly responses: PendingResponse[] = [];
  abandoned: AbandonState | undefined;

  /** What we prefer, and the number of the latest change (draft-ietf-quic-multipath §3.3). */
  status: PathStatus = 'available';
  statusSequence = 0;
  statusPending = false;
  remoteStatus: PathStatus | undefined;
  remoteStatusSequence = -1;

  /** Only a server must not send more than it received: a client chose where it sends (RFC 9000 §8.1). */
  readonly #isLimited: boolean;
  /** Counted while `remote` is not validated. */
  bytesReceived = 0;
  bytesSent = 0;
  /** Bytes of packets that count for congestion control, over all spaces on this path. */
  inFlight = 0;
  ptoCount = 0;
  /** No acknowledgment for {@link STALL_PTO_COUNT} PTOs: other paths carry the data if there are any. */
  stalled = false;
  /** Something is unanswered since then; Infinity when nothing is. Unlike the PTO it does not wait for us to fall silent. */
  unansweredSince: Millis = Infinity;
  /** The application had nothing to send when the window had room. */
  appLimited = false;
  maxIdleMs: Millis | undefined;
  keepAliveMs: Millis | undefined;

  idleAt: Millis = Infinity;
  keepAliveAt: Millis = Infinity;
  lossAt: Millis = Infinity;
  pacedUntil: Millis = Infinity;
  /** When the state of an abandoned path may go. */
  discardAt: Millis = Infinity;
  /** An ack-eliciting packet was sent since the last one was received: restarts the idle timer only once. */
  sentSinceReceive = false;
  /** When the last authentic packet arrived. */
  receivedAt: Millis = -Infinity;

  udpTxDatagrams = 0;
  udpTxBytes = 0;
  udpRxDatagrams = 0;
  udpRxBytes = 0;
  sentPackets = 0;
  lostPackets = 0;
  lostBytes = 0;
  sentMtuProbes = 0;
  lostMtuProbes = 0;
  congestionEvents = 0;

  readonly #config: TransportConfig;

  constructor(id: PathId, tuple: FourTuple, side: Side, config: TransportConfig, maxAckDelayMs: Millis) {
    this.id = id;
    this.#isLimited = side === 'server';
    this.remote = tuple.remote;
    this.local = tuple.local;
    this.#config = config;
    this.space = new PacketSpace('oneRtt', maxAckDelayMs);
    this.rtt = new RttEstimator(config.initialRttMs);
    this.controller = createController(config.congestionControl, config.initialMtu);
    this.pacer = new Pacer();
    this.mtu = new MtuDiscovery(config);
    this.maxIdleMs = config.pathMaxIdleTimeoutMs;
    this.keepAliveMs = config.pathKeepAliveIntervalMs;
  }

  get tuple(): FourTuple {
    return { remote: this.remote, local: this.local };
  }

  /**
   * Bytes that may still be sent to an unvalidated address (RFC 9000 §8.1). Upstream lets a whole datagram go as long as
   * any budget is left; here datagrams shrink to what is left of it. The peer's next packet refills it.
   */
  get sendBudget(): number {
    if (this.validated || !this.#isLimited) return Infinity;
    return Math.max(0, this.bytesReceived * ANTI_AMPLIFICATION_FACTOR - this.bytesSent);
  }

  /** True while the amplification limit lets nothing out. */
  get isAmplificationBlocked(): boolean {
    return this.sendBudget < MIN_LIMITED_DATAGRAM_BYTES;
  }

  /** Starts proving that the peer receives at `remote`. */
  startValidation(): void {
    this.validation = new PathValidation();
  }

  /** Moves the path to another address; what was measured stays only if the host is the same (RFC 9000 §9.4). */
  moveTo(tuple: FourTuple): void {
    this.previous = this.validated ? { remote: this.remote, local: this.local } : this.previous;
    const sameHost = tuple.remote.ip === this.remote.ip;
    this.remote = tuple.remote;
    this.local = tuple.local;
    this.validated = false;
    this.bytesReceived = 0;
    this.bytesSent = 0;
    if (!sameHost) this.resetMeasurements();
    this.startValidation();
  }

  /** RFC 9000 §9.4: a new network has its own RTT, window and MTU. */
  resetMeasurements(): void {
    this.rtt = new RttEstimator(this.#config.initialRttMs);
    this.controller = createController(this.#config.congestionControl, this.#config.initialMtu);
    this.pacer = new Pacer();
    this.mtu = new MtuDiscovery(this.#config);
    this.ptoCount = 0;
    this.stalled = false;
    this.unansweredSince = Infinity;
  }

  /** RFC 9002 §6.2.1 without back-off, ms; with `ackDelay` for the 1-RTT space. */
  basePto(ackDelayMs: Millis): Millis {
    return this.rtt.ptoBase() + ackDelayMs;
  }

  /** When the path counts as stalled unless something is acknowledged before; sending more does not put it off. */
  stallsAt(ackDelayMs: Millis): Millis {
    return this.unansweredSince + (2 ** STALL_PTO_COUNT - 1) * this.basePto(ackDelayMs);
  }

  /** The gap until the next probe, ms: backed off and capped (noq `noq-proto/src/connection/mod.rs`). */
  ptoGap(ackDelayMs: Millis, connectionIdleMs: Millis | undefined): Millis {
    const idle = Math.min(this.maxIdleMs ?? Infinity, connectionIdleMs ?? Infinity);
    return ptoInterval(this.rtt, ackDelayMs, this.ptoCount, idle);
  }

  /** Queues a response; the newest challenge of a remote wins, floods are dropped. */
  queueResponse(response: PendingResponse): void {
    const known = this.responses.findIndex(
      (pending) => pending.remote === response.remote && pending.local === response.local,
    );
    if (known >= 0) this.responses[known] = response;
    else if (this.responses.length < MAX_PENDING_RESPONSES) this.responses.push(response);
  }

  stats(): PathStats {
    return {
      rttMs: this.rtt.smoothed,
      minRttMs: this.rtt.min,
      rttVarMs: this.rtt.variance,
      cwnd: this.controller.window,
      bytesInFlight: this.inFlight,
      mtu: this.mtu.current,
      udpTx: { datagrams: this.udpTxDatagrams, bytes: this.udpTxBytes },
      udpRx: { datagrams: this.udpRxDatagrams, bytes: this.udpRxBytes },
      sentPackets: this.sentPackets,
      lostPackets: this.lostPackets,
      lostBytes: this.lostBytes,
      sentPlpmtudProbes: this.sentMtuProbes,
      lostPlpmtudProbes: this.lostMtuProbes,
      congestionEvents: this.congestionEvents,
      blackHolesDetected: this.mtu.blackHolesDetected,
    };
  }
}
