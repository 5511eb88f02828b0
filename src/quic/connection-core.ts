/**
 * What all parts of one connection share: its state, its owners of state, and how it ends.
 *
 * The work is done by the parts around it: `handshake.ts` (TLS), `packet-reader.ts` and `frame-dispatch.ts` (input),
 * `packet-writer.ts` (output), `loss-recovery.ts`, `multipath.ts` and `deadlines.ts`.
 *
 * @module
 */
import { utf8, EMPTY } from '../base/bytes.ts';
import type { Millis } from '../base/clock.ts';
import { TlsAlert } from '../tls/alert.ts';
import type { PeerIdentity } from '../tls/session.ts';
import { Closing, type CloseFrame } from './closing.ts';
import type { TransportConfig } from './config.ts';
import type { CidKey, ConnectionHost, HostedConnection } from './connection-host.ts';
import type { CryptoLevels } from './crypto-levels.ts';
import type { Datagrams } from './datagrams.ts';
import type { CloseReason, ConnectionEvent, PathId, Side } from './engine.ts';
import { AddressDiscovery } from './paths/address-discovery.ts';
import { CidsByPath, UNUSED_PATH_CIDS, type CidIssuer, type PathCids, type RemoteCid } from './paths/cids.ts';
import type { NatTraversal } from './paths/nat-traversal.ts';
import { PathTable } from './paths/path-table.ts';
import type { Path } from './paths/path.ts';
import { AckFrequency } from './recovery/ack-frequency.ts';
import type { Qlog } from './qlog.ts';
import { connectionTable, type ConnectionState, type ConnectionTransition } from './state.ts';
import type { Streams } from './streams/streams.ts';
import { TRANSPORT_CODES, TransportError } from './transport-error.ts';
import type { TransportParameters } from './wire/transport-parameters.ts';

/** Closing and draining, and the keeping of old keys, last this many PTOs (RFC 9000 §10.2, RFC 9001 §6.5). */
export const DRAIN_PTO_COUNT = 3;
/** Our own max_ack_delay, ms: the default, so it is not sent (RFC 9000 §18.2). */
export const LOCAL_MAX_ACK_DELAY_MS = 25;
/** Our own ack_delay_exponent: the default. */
export const LOCAL_ACK_DELAY_EXPONENT = 3;

/**
 * Keep-alives wait for multiples of this, ms, so that those of many connections fall due together: one wake-up and one burst
 * for all. A thousand idle connections would otherwise wake both processes four hundred times a second.
 */
export const KEEP_ALIVE_GRID_MS = 100;

/** The shared heart of a connection. */
export class ConnectionCore implements CidIssuer {
  readonly host: ConnectionHost;
  readonly side: Side;
  readonly stableId: number;
  readonly config: TransportConfig;
  readonly startedAt: Millis;
  /** Set by the owner right after construction. */
  self!: HostedConnection;
  crypto!: CryptoLevels;
  streams!: Streams;
  datagrams!: Datagrams;
  qlog: Qlog | undefined;

  state: ConnectionState = 'handshaking';
  closeReason: CloseReason | undefined;
  closing: Closing | undefined;

  readonly paths = new PathTable();
  readonly cids = new CidsByPath();
  nat: NatTraversal | undefined;
  addressDiscovery = new AddressDiscovery(undefined, undefined);
  readonly ackFrequency = new AckFrequency();

  /** The peer's parameters: remembered ones during 0-RTT, then the real ones. */
  peer: TransportParameters | undefined;
  alpn: Uint8Array | undefined;
  peerIdentity: PeerIdentity | undefined;
  accepted0Rtt: boolean | undefined;
  /** TLS is done and the peer knows (RFC 9001 §4.1.2). */
  confirmed = false;
  handshakeDonePending = false;
  newTokenPending: Uint8Array | undefined;
  /** Multipath frames may be used: negotiated, and the handshake is complete (draft-ietf-quic-multipath §2.1). */
  multipath = false;
  /** Client: what tickets and tokens of this server are kept under. */
  serverName = '';
  /** Our connection id of the handshake: source of all long headers. */
  localHandshakeCid: Uint8Array = EMPTY;
  /** Stateless reset token of {@link localHandshakeCid}; a server names it in its parameters. */
  localResetToken: Uint8Array = EMPTY;
  /** Client: token for Initial packets, from a Retry or an earlier connection. */
  token: Uint8Array = EMPTY;
  handshakeMs: Millis | undefined;

  idleAt: Millis = Infinity;
  keepAliveAt: Millis = Infinity;
  closeAt: Millis = Infinity;
  discardKeysAt: Millis = Infinity;
  noViablePathAt: Millis = Infinity;

  receivedPackets = 0;
  droppedPackets = 0;
  /** Totals of paths that are gone. */
  readonly gone = { txDatagrams: 0, txBytes: 0, rxDatagrams: 0, rxBytes: 0, sent: 0, lost: 0, lostBytes: 0 };

  constructor(host: ConnectionHost, side: Side, stableId: number, config: TransportConfig, now: Millis) {
    this.host = host;
    this.side = side;
    this.stableId = stableId;
    this.config = config;
    this.startedAt = now;
  }

  emit(event: ConnectionEvent): void {
    this.host.emit(this.self, event);
  }

  wake(): void {
    this.host.wantsTransmit(this.self);
  }

  get isOpen(): boolean {
    return this.state === 'handshaking' || this.state === 'established';
  }

  get isHandshaking(): boolean {
    return this.state === 'handshaking';
  }

  // --- connection ids -------------------------------------------------------------------------------------------

  issueCid(path: PathId): CidKey {
    return this.host.issueCid(this.self, path);
  }

  retireCid(cid: CidKey): void {
    this.host.retireCid(cid);
  }

  /** The connection ids of a path id, made on first use. */
  cidsOf(path: PathId): PathCids {
    return this.cids.ensure(path);
  }

  /** Issues connection ids for a path id until the peer has what it takes, or what a path needs to come into use. */
  fillCids(path: PathId): void {
    const limit = this.peer?.activeConnectionIdLimit ?? 2;
    const isUsed = this.paths.get(path) !== undefined;
    this.cidsOf(path).local.fill(isUsed ? limit : Math.min(limit, UNUSED_PATH_CIDS), path, this);
  }

  /** A datagram ending in this token is a stateless reset, while we send to `remote` (RFC 9000 §10.3.1). */
  registerResetToken(path: Path, cid: RemoteCid | undefined): void {
    if (cid?.resetToken !== undefined) this.host.addResetToken(cid.resetToken, path.remote, this.self);
  }

  unregisterResetToken(path: Path, cid: RemoteCid): void {
    if (cid.resetToken !== undefined) this.host.removeResetToken(cid.resetToken, path.remote);
  }

  // --- time -----------------------------------------------------------------------------------------------------

  /** The peer's max_ack_delay, which only counts once the handshake is confirmed (RFC 9002 §6.2.1). */
  get peerAckDelayMs(): Millis {
    return this.confirmed ? (this.peer?.maxAckDelay ?? LOCAL_MAX_ACK_DELAY_MS) : 0;
  }

  /** The largest PTO of all paths, ms: closing and key discard wait for the slowest. */
  get maxPto(): Millis {
    let max = 0;
    for (const path of this.paths.list) max = Math.max(max, path.basePto(this.peerAckDelayMs));
    return max;
  }

  /** Effective idle time-out, ms, `undefined` when neither side wants one (RFC 9000 §10.1). */
  get idleTimeoutMs(): Millis | undefined {
    const local = this.config.maxIdleTimeoutMs;
    const remote = this.peer?.maxIdleTimeout ?? 0;
    if (local === 0 && remote === 0) return undefined;
    return local === 0 ? remote : remote === 0 ? local : Math.min(local, remote);
  }

  /** Restarts the idle timers: on every received packet, and on the first ack-eliciting one sent after it (§10.1). */
  restartIdle(path: Path | undefined, now: Millis): void {
    const idle = this.idleTimeoutMs;
    this.idleAt = idle === undefined ? Infinity : now + Math.max(idle, 3 * this.maxPto);
    if (path?.maxIdleMs !== undefined && this.multipath) {
      path.idleAt = now + Math.max(path.maxIdleMs, 3 * path.basePto(this.peerAckDelayMs));
    }
  }

  /** Restarts the keep-alive timers: silence in both directions is what they end. */
  restartKeepAlive(path: Path | undefined, now: Millis): void {
    const interval = this.config.keepAliveIntervalMs;
    if (this.state === 'established') {
      this.keepAliveAt = interval === undefined ? Infinity : keepAliveDeadline(this.side, interval, now);
    }
    if (path !== undefined && this.multipath) this.restartPathKeepAlive(path, now);
  }

  restartPathKeepAlive(path: Path, now: Millis): void {
    const { keepAliveMs } = path;
    path.keepAliveAt = keepAliveMs === undefined ? Infinity : keepAliveDeadline(this.side, keepAliveMs, now);
  }

  // --- the end --------------------------------------------------------------------------------------------------

  /** Takes a transition of the table. Returns false when it is not allowed, and then does nothing. */
  #move(transition: ConnectionTransition): boolean {
    const next = connectionTable[this.state][transition];
    if (next === undefined) return false;
    this.state = next;
    return true;
  }

  onHandshakeComplete(): boolean {
    return this.#move('handshakeComplete');
  }

  /** Ends the connection from this side and tells the peer. */
  closeLocally(frame: CloseFrame, reason: CloseReason, now: Millis): void {
    if (!this.#move('closeLocally')) return;
    this.closing = new Closing(frame);
    this.closeAt = now + DRAIN_PTO_COUNT * this.maxPto;
    this.#stop(reason, now);
    this.wake();
  }

  /** Something broke a rule: closes with its code. Anything but a protocol error is a bug of ours: INTERNAL_ERROR. */
  fail(thrown: unknown, now: Millis): void {
    const error =
      thrown instanceof TransportError
        ? thrown
        : thrown instanceof TlsAlert
          ? // RFC 9001 §4.8.
            new TransportError(
              thrown.protocolViolation ? 'PROTOCOL_VIOLATION' : { alert: thrown.alert },
              thrown.message,
              { frameType: 0x06, cause: thrown },
            )
          : new TransportError('INTERNAL_ERROR', String(thrown), { cause: thrown });
    this.closeLocally(
      { type: 'transport', code: error.wireCode, frameType: error.frameType, reason: utf8(error.message) },
      { type: 'transportError', error },
      now,
    );
  }

  /**
   * The peer closed: RFC 9000 §10.2.2. One last answer is allowed and helps it to stop repeating. Not during the
   * handshake: a server that refused has kept nothing, and an answer would look to it like a new attempt.
   */
  closedByPeer(reason: CloseReason, now: Millis): void {
    const wasOpen = this.isOpen;
    const isAnswered = this.state === 'established';
    if (!this.#move('closedByPeer')) return;
    if (wasOpen) {
      if (isAnswered) {
        this.closing = new Closing({
          type: 'transport',
          code: TRANSPORT_CODES.NO_ERROR,
          frameType: 0,
          reason: EMPTY,
        });
      }
      this.closeAt = now + DRAIN_PTO_COUNT * this.maxPto;
      this.#stop(reason, now);
    } else {
      this.closing = undefined;
    }
    this.emit({ type: 'draining' });
    this.wake();
  }

  /** The connection is over without a word: idle time-out, stateless reset, no common version. */
  vanish(reason: CloseReason, now: Millis): void {
    if (!this.#move('vanish')) return;
    this.#stop(reason, now);
    this.emit({ type: 'draining' });
    this.#drained();
  }

  /** Three PTOs after the close. */
  onCloseTimeout(): void {
    const wasClosing = this.state === 'closing';
    if (!this.#move('closeTimeout')) return;
    if (wasClosing) this.emit({ type: 'draining' });
    this.#drained();
  }

  /** What every end has in common. */
  #stop(reason: CloseReason, now: Millis): void {
    if (this.closeReason !== undefined) return;
    this.closeReason = reason;
    this.idleAt = Infinity;
    this.keepAliveAt = Infinity;
    this.discardKeysAt = Infinity;
    this.noViablePathAt = Infinity;
    for (const path of this.paths.list) {
      path.idleAt = path.keepAliveAt = path.lossAt = path.pacedUntil = path.discardAt = Infinity;
      path.validation = undefined;
      if (path.established && path.abandoned === undefined) {
        this.emit({ type: 'pathAbandoned', path: path.id, reason: { type: 'connectionClosed' } });
        this.emit({ type: 'pathDiscarded', path: path.id, stats: path.stats() });
      }
    }
    this.streams.onConnectionClosed();
    this.qlog?.closed(reason, now);
    this.emit({ type: 'closed', reason });
  }

  #drained(): void {
    this.closeAt = Infinity;
    this.closing = undefined;
    this.qlog?.end();
    for (const path of this.paths.list) {
      const active = this.cids.get(path.id)?.remote.active;
      if (active !== undefined) this.unregisterResetToken(path, active);
    }
    for (const { local } of this.cids.list) local.clear(this);
    this.cids.clear();
    this.host.drained(this.self);
    this.emit({ type: 'drained' });
  }
}

/**
 * At most `interval` after `now`, on the grid. Never late, since the idle time-out may be close behind. Clients are a step
 * earlier than servers: what one side sends spares the other its own, which it could not if both were due at once.
 */
function keepAliveDeadline(side: Side, interval: Millis, now: Millis): Millis {
  const at = now + interval;
  // Short intervals are somebody's wish for exactness.
  if (interval < 10 * KEEP_ALIVE_GRID_MS) return at;
  const step = Math.floor(at / KEEP_ALIVE_GRID_MS) - (side === 'client' ? 1 : 0);
  return step * KEEP_ALIVE_GRID_MS;
}
