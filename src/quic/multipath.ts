/**
 * Paths that come and go: opening, abandoning, statuses, migration, network changes
 * (draft-ietf-quic-multipath-21; RFC 9000 §9; noq `noq-proto/src/connection/mod.rs`).
 *
 * @module
 */
import type { Millis } from '../base/clock.ts';
import { LazyMap } from '../base/lazy-collections.ts';
import { DRAIN_PTO_COUNT, type ConnectionCore } from './connection-core.ts';
import type { FourTuple, NetworkChangeHint, PathAbandonReason, PathId, PathStatus } from './engine.ts';
import type { LossRecovery } from './loss-recovery.ts';
import { PathError } from './paths/path-table.ts';
import { Path } from './paths/path.ts';
import { LOCAL_MAX_ACK_DELAY_MS } from './connection-core.ts';
import { TRANSPORT_CODES, TransportError } from './transport-error.ts';

/** Opens, moves and closes the paths of a connection. */
export class Multipath {
  readonly #core: ConnectionCore;
  readonly #recovery: LossRecovery;
  /** Client: addresses that answered a probe but whose path could not be opened yet, for lack of ids. */
  readonly #wanted = new LazyMap<string, FourTuple>();

  constructor(core: ConnectionCore, recovery: LossRecovery) {
    this.#core = core;
    this.#recovery = recovery;
  }

  /** Creates a path's state and makes it part of the connection. */
  create(id: PathId, tuple: FourTuple): Path {
    const core = this.#core;
    const path = new Path(id, tuple, core.side, core.config, LOCAL_MAX_ACK_DELAY_MS);
    core.paths.add(path);
    path.space.received.setPolicy(core.ackFrequency.policy);
    if (core.peer !== undefined) path.mtu.onPeerMaxUdpPayloadSize(core.peer.maxUdpPayloadSize);
    core.registerResetToken(path, core.cids.get(id)?.remote.active);
    core.addressDiscovery.queueReport(id);
    if (core.multipath) core.fillCids(id);
    return path;
  }

  /** Both sides may use multipath from now on: the handshake is complete and both sent initial_max_path_id. */
  start(localMax: number, remoteMax: number, now: Millis): void {
    const core = this.#core;
    core.multipath = true;
    core.paths.localMax = localMax;
    core.paths.remoteMax = remoteMax;
    const path = core.paths.get(0);
    if (path !== undefined) {
      core.restartIdle(path, now);
      core.restartKeepAlive(path, now);
      // The peer should know at once what we would rather use; upstream announces path 0 the same way.
      path.statusSequence++;
      path.statusPending = true;
    }
    this.issueCids();
  }

  /** Gives the peer connection ids for every path id that both sides allow (draft §3.1: without them no path opens). */
  issueCids(): void {
    const core = this.#core;
    core.fillCids(0);
    if (!core.multipath) return;
    for (let id = 1; id <= core.paths.maxPathId; id++) {
      const path = core.paths.get(id);
      if (path === undefined ? !core.paths.wasUsed(id) : path.abandoned === undefined) core.fillCids(id);
    }
  }

  /**
   * Client: opens a path, or returns the one that leads there already.
   * @throws {PathError}
   */
  openEnsure(tuple: FourTuple, status: PathStatus, now: Millis): PathId {
    const core = this.#core;
    if (core.side === 'server') throw new PathError('serverSideNotAllowed', 'only the client opens paths');
    if (!core.multipath) throw new PathError('multipathNotNegotiated', 'multipath was not negotiated');
    const known = core.paths.find(tuple.remote, tuple.local);
    if (known !== undefined) return known.id;
    const current = core.paths.dataPath(true);
    if (current !== undefined && tuple.remote.port === 0) {
      throw new PathError('invalidRemoteAddress', `cannot send to ${tuple.remote.text}`);
    }
    const id = core.paths.nextId();
    if (id > core.paths.maxPathId) {
      core.paths.pathsBlockedPending = true;
      core.wake();
      throw new PathError('maxPathIdReached', `path id ${id} is above the limit ${core.paths.maxPathId}`);
    }
    const cids = core.cidsOf(id);
    if (cids.remote.isEmpty) {
      cids.blockedPending = true;
      core.wake();
      throw new PathError('remoteCidsExhausted', `the peer gave no connection id for path ${id}`);
    }
    const path = this.create(id, tuple);
    path.status = status;
    path.statusSequence++;
    path.statusPending = true;
    this.#trustKnownAddress(path);
    path.startValidation();
    core.restartIdle(path, now);
    core.restartKeepAlive(path, now);
    core.noViablePathAt = Infinity;
    core.wake();
    return id;
  }

  /** An address answered a NAT probe: open a path there as soon as ids allow. */
  openWanted(tuple: FourTuple, now: Millis): void {
    const known = this.#core.paths.find(tuple.remote, tuple.local);
    if (known !== undefined) {
      // The path may have been thought dead: its address evidently works.
      if (known.validation === undefined) known.startValidation();
      this.#core.wake();
      return;
    }
    this.#wanted.set(`${tuple.local?.text ?? ''}>${tuple.remote.text}`, tuple);
    this.retryWanted(now);
  }

  /** Ids or connection ids arrived: paths that waited for them may open. */
  retryWanted(now: Millis): void {
    for (const [key, tuple] of this.#wanted) {
      try {
        this.openEnsure(tuple, 'backup', now);
      } catch (error) {
        if (error instanceof PathError && error.code !== 'invalidRemoteAddress') return;
      }
      this.#wanted.delete(key);
    }
  }

  /** Server: the first packet of a new path id was authenticated. */
  acceptPath(id: PathId, tuple: FourTuple, now: Millis): Path {
    const core = this.#core;
    const path = this.create(id, tuple);
    this.#trustKnownAddress(path);
    path.startValidation();
    core.restartKeepAlive(path, now);
    core.noViablePathAt = Infinity;
    return path;
  }

  /** An address that is validated on another path needs no amplification limit, and its RTT is a good first guess. */
  #trustKnownAddress(path: Path): void {
    for (const other of this.#core.paths.list) {
      if (other === path || !other.validated || other.remote !== path.remote) continue;
      path.bytesReceived = Number.MAX_SAFE_INTEGER / 8;
      path.rtt.seed(other.rtt.smoothed);
      return;
    }
  }

  /** The peer proved to receive on `path`. */
  onValidated(path: Path, roundTripMs: Millis | undefined, now: Millis): void {
    const core = this.#core;
    path.validated = true;
    path.validation = undefined;
    path.previous = undefined;
    if (roundTripMs !== undefined) path.rtt.seed(roundTripMs);
    if (!path.established && core.isOpen) {
      path.established = true;
      core.emit({ type: 'pathEstablished', path: path.id });
      path.mtu.start(now);
    }
    core.noViablePathAt = Infinity;
    this.#repeatAbandons();
    core.wake();
  }

  /**
   * A PATH_ABANDON that left on the path that it ends, for want of another, is on nobody's loss timer and was probably lost
   * with the path: now there is a better way.
   */
  #repeatAbandons(): void {
    for (const { abandoned } of this.#core.paths.list) {
      if (abandoned !== undefined && !abandoned.frameAcked) abandoned.framePending = true;
    }
  }

  /** A path's validation ran out of time. */
  onValidationFailed(path: Path, now: Millis): void {
    path.validation = undefined;
    const previous = path.previous;
    if (previous !== undefined) {
      // RFC 9000 §9.3.2: the address was forged or does not work; the last good one does.
      path.remote = previous.remote;
      path.local = previous.local;
      path.validated = true;
      path.previous = undefined;
      path.resetMeasurements();
    } else if (this.#core.multipath && !path.validated && this.#core.paths.openCount() > 1) {
      this.abandon(path, { type: 'validationFailed' }, TRANSPORT_CODES.PATH_UNSTABLE_OR_POOR, now);
    }
  }

  /**
   * Closes a path from this side.
   * @throws {PathError} lastOpenPath, closedPath, multipathNotNegotiated.
   */
  close(id: PathId, code: number, now: Millis): void {
    const core = this.#core;
    if (!core.multipath) throw new PathError('multipathNotNegotiated', 'multipath was not negotiated');
    const path = core.paths.get(id);
    if (path === undefined || path.abandoned !== undefined)
      throw new PathError('closedPath', `no open path ${id}`);
    if (core.paths.openCount() === 1) throw new PathError('lastOpenPath', 'the last path cannot be closed');
    this.abandon(path, { type: 'applicationClosed', code }, code, now);
  }

  /** Stops using a path and tells the peer (draft §3.4). Its data goes out again on other paths. */
  abandon(path: Path, reason: PathAbandonReason, code: number, now: Millis): void {
    if (path.abandoned !== undefined) return;
    const core = this.#core;
    path.abandoned = { reason, code, framePending: true, frameAcked: false, peerAbandoned: false };
    path.idleAt = path.keepAliveAt = path.lossAt = path.pacedUntil = Infinity;
    path.validation = undefined;
    path.responses.length = 0;
    this.#recovery.forgetPath(path);
    if (path.space.received.hasAckToSend) path.space.received.requestImmediateAck();
    core.qlog?.pathAbandoned(path.id, reason, now);
    if (core.isOpen) core.emit({ type: 'pathAbandoned', path: path.id, reason });
    if (core.paths.openCount() === 0 && core.noViablePathAt === Infinity) {
      // A grace in which the client may open another path (noq waits three PTOs of a fresh path).
      core.noViablePathAt = now + DRAIN_PTO_COUNT * 3 * core.config.initialRttMs;
    }
    core.wake();
  }

  /** PATH_ABANDON arrived: answered with our own, once; the id is then spent (draft §3.4). */
  handleAbandon(id: PathId, code: number, now: Millis): void {
    const core = this.#core;
    const path = core.paths.get(id);
    // Unknown, never opened or long gone: nothing to answer.
    if (path === undefined) return;
    this.abandon(path, { type: 'remoteAbandoned', code }, TRANSPORT_CODES.NO_ERROR, now);
    const abandoned = path.abandoned!;
    if (abandoned.peerAbandoned) return;
    abandoned.peerAbandoned = true;
    path.discardAt = now + DRAIN_PTO_COUNT * core.maxPto;
    core.paths.grantOneMore();
    this.issueCids();
  }

  /** A path's draining time is over: forget it. */
  discard(path: Path): void {
    const core = this.#core;
    const stats = path.stats();
    const cids = core.cids.get(path.id);
    if (cids !== undefined) {
      const { active } = cids.remote;
      if (active !== undefined) core.unregisterResetToken(path, active);
      cids.local.clear(core);
      core.cids.delete(path.id);
    }
    if (core.paths.remove(path)) this.issueCids();
    core.addressDiscovery.onPathDiscarded(path.id);
    core.gone.txDatagrams += path.udpTxDatagrams;
    core.gone.txBytes += path.udpTxBytes;
    core.gone.rxDatagrams += path.udpRxDatagrams;
    core.gone.rxBytes += path.udpRxBytes;
    core.gone.sent += path.sentPackets;
    core.gone.lost += path.lostPackets;
    core.gone.lostBytes += path.lostBytes;
    core.emit({ type: 'pathDiscarded', path: path.id, stats });
  }

  /** Changes what we prefer; the peer is told (draft §3.3). */
  setStatus(id: PathId, status: PathStatus): PathStatus {
    const path = this.#core.paths.get(id);
    if (path === undefined || path.abandoned !== undefined)
      throw new PathError('closedPath', `no open path ${id}`);
    const before = path.status;
    if (before === status) return before;
    path.status = status;
    path.statusSequence++;
    path.statusPending = this.#core.multipath;
    this.#core.wake();
    return before;
  }

  /** PATH_STATUS_*: only a higher sequence number counts (draft §4.3). */
  handleStatus(id: PathId, sequence: number, status: PathStatus): void {
    this.#core.paths.checkAllowed(id, 'PATH_STATUS');
    const path = this.#core.paths.get(id);
    if (path === undefined || sequence <= path.remoteStatusSequence) return;
    path.remoteStatusSequence = sequence;
    if (path.remoteStatus === status) return;
    path.remoteStatus = status;
    this.#core.emit({ type: 'pathRemoteStatus', path: id, status });
  }

  /** The peer moved to another address (RFC 9000 §9.3): follow it, and prove that it is there. */
  migrate(path: Path, tuple: FourTuple): void {
    const core = this.#core;
    const leavesHost = tuple.remote.ip !== path.remote.ip;
    const active = core.cids.get(path.id)?.remote.active;
    if (active !== undefined) core.unregisterResetToken(path, active);
    path.moveTo(tuple);
    // RFC 9000 §9.5: a new network should not be linked to the old one by our connection id.
    if (leavesHost) this.switchCid(path);
    core.registerResetToken(path, core.cids.get(path.id)?.remote.active);
    core.addressDiscovery.queueReport(path.id);
    core.emit({ type: 'pathMigrated', path: path.id, to: tuple });
    core.wake();
  }

  /** Leaves the connection id in use for the next one, if the peer gave one. */
  switchCid(path: Path): void {
    const core = this.#core;
    const remote = core.cidsOf(path.id).remote;
    const gone = remote.switchToNext();
    if (gone === undefined) return;
    core.unregisterResetToken(path, gone);
    core.registerResetToken(path, remote.active);
    core.wake();
  }

  /**
   * The local network changed. Paths that may survive are pinged; the others are replaced by the client, which opens a
   * new path to the same remote and abandons the old one (noq `handle_network_change`).
   */
  handleNetworkChange(hint: NetworkChangeHint | undefined, now: Millis): void {
    const core = this.#core;
    if (core.state !== 'established') return;
    const unusable: Path[] = [];
    for (const path of core.paths.list) {
      if (path.abandoned !== undefined) continue;
      const recoverable = hint?.(path.id, path.tuple).recoverable ?? false;
      if (recoverable || core.side === 'server' || !core.multipath) {
        // Without multipath the packets themselves move the connection: RFC 9000 §9.2, the peer sees a new address.
        if (!recoverable && core.side === 'client') {
          path.local = undefined;
          path.resetMeasurements();
          path.startValidation();
        }
        this.switchCid(path);
        path.space.pingPending = true;
        continue;
      }
      unusable.push(path);
    }
    // All are marked first, so that `openEnsure` finds none of them; their data waits for a new path's validation.
    const reason = { type: 'unusableAfterNetworkChange' } as const;
    for (const path of unusable) this.abandon(path, reason, TRANSPORT_CODES.PATH_UNSTABLE_OR_POOR, now);
    // Several may become one, when they only differed in where they started: the preferred ones go first.
    for (const path of unusable) if (path.status === 'available') this.#reopen(path, now);
    for (const path of unusable) if (path.status === 'backup') this.#reopen(path, now);
    core.wake();
  }

  /** Opens a path to where an abandoned one led. */
  #reopen({ remote, status }: Path, now: Millis): void {
    try {
      this.openEnsure({ remote, local: undefined }, status, now);
    } catch (error) {
      if (!(error instanceof PathError)) throw error;
      this.#wanted.set(`>${remote.text}`, { remote, local: undefined });
    }
  }

  /** The grace after the last path's end is over (draft §3.4). */
  onNoViablePath(now: Millis): void {
    if (this.#core.paths.openCount() > 0) return;
    this.#core.fail(new TransportError('NO_VIABLE_PATH', 'the last path was abandoned'), now);
  }
}
