/**
 * All timers of a connection: a handful of absolute deadlines, their minimum, and what happens when one passes.
 *
 * No timer objects and no callbacks: the endpoint asks for the earliest deadline and calls back when it is due.
 *
 * @module
 */
import type { Millis } from '../base/clock.ts';
import type { ConnectionCore } from './connection-core.ts';
import type { Handshake } from './handshake.ts';
import type { LossRecovery } from './loss-recovery.ts';
import type { Multipath } from './multipath.ts';
import type { Path } from './paths/path.ts';
import { TRANSPORT_CODES } from './transport-error.ts';

/** Finds and fires the deadlines of one connection. */
export class Deadlines {
  readonly #core: ConnectionCore;
  readonly #recovery: LossRecovery;
  readonly #multipath: Multipath;
  readonly #handshake: Handshake;
  /** When {@link handle} was last called. */
  #handledAt: Millis = -Infinity;

  constructor(core: ConnectionCore, recovery: LossRecovery, multipath: Multipath, handshake: Handshake) {
    this.#core = core;
    this.#recovery = recovery;
    this.#multipath = multipath;
    this.#handshake = handshake;
  }

  /** The earliest deadline, `Infinity` for none. */
  earliest(): Millis {
    const core = this.#core;
    if (!core.isOpen) return core.closeAt;
    let at = Math.min(core.idleAt, core.keepAliveAt, core.discardKeysAt, core.noViablePathAt);
    const { list } = core.paths;
    for (let i = 0; i < list.length; i++) {
      const path = list[i]!;
      at = Math.min(at, path.idleAt, path.keepAliveAt, path.lossAt, path.pacedUntil, this.#mtuProbeAt(path));
      if (path.discardAt < at) at = path.discardAt;
      const ack = path.space.received.ackDeadline;
      // An ACK that is due goes out as soon as a path may carry it; the timer is for the moment when it becomes due.
      if (ack !== undefined && ack < at && ack > this.#handledAt) at = ack;
      if (path.validation !== undefined)
        at = Math.min(at, path.validation.resendAt, path.validation.deadline);
    }
    // Probes wait for the handshake's confirmation, and need a validated path that lends them its connection id.
    if (core.nat !== undefined && core.confirmed && core.paths.dataPath(false) !== undefined)
      at = Math.min(at, core.nat.deadline);
    return at;
  }

  /** A probe that could leave at once needs no timer: the next poll sends it. */
  #mtuProbeAt(path: Path): Millis {
    if (!this.#core.confirmed || !path.validated || path.abandoned !== undefined) return Infinity;
    return path.mtu.nextProbeAt;
  }

  /** Acts on everything that is due. */
  handle(now: Millis): void {
    const core = this.#core;
    this.#handledAt = now;
    if (!core.isOpen) {
      if (core.closeAt <= now) core.onCloseTimeout();
      return;
    }
    if (core.idleAt <= now) {
      // RFC 9000 §10.1: silently.
      core.vanish({ type: 'timedOut' }, now);
      return;
    }
    if (core.keepAliveAt <= now) {
      core.keepAliveAt = Infinity;
      for (const path of core.paths.list) if (path.abandoned === undefined) path.space.pingPending = true;
    }
    if (core.discardKeysAt <= now) {
      core.discardKeysAt = Infinity;
      this.#handshake.onDiscardKeys();
    }
    if (core.noViablePathAt <= now) {
      core.noViablePathAt = Infinity;
      this.#multipath.onNoViablePath(now);
      if (!core.isOpen) return;
    }
    // A copy: paths may be discarded on the way.
    for (const path of [...core.paths.list]) this.#handlePath(path, now);
    core.wake();
  }

  #handlePath(path: Path, now: Millis): void {
    const core = this.#core;
    if (path.discardAt <= now) {
      this.#multipath.discard(path);
      return;
    }
    if (path.lossAt <= now) this.#recovery.onLossTimeout(path, now);
    if (path.pacedUntil <= now) path.pacedUntil = Infinity;
    if (path.mtu.nextProbeAt <= now) path.mtu.start(now);
    if (path.keepAliveAt <= now) {
      core.restartPathKeepAlive(path, now);
      path.space.pingPending = true;
    }
    if (path.idleAt <= now) {
      path.idleAt = Infinity;
      // The last path outlives its own time-out: then the connection's one decides (noq; behaviour of iroh).
      if (core.paths.openCount() > 1) {
        this.#multipath.abandon(path, { type: 'timedOut' }, TRANSPORT_CODES.PATH_UNSTABLE_OR_POOR, now);
        return;
      }
    }
    const { validation } = path;
    if (validation === undefined) return;
    if (validation.deadline <= now) this.#multipath.onValidationFailed(path, now);
    else validation.onTimeout(now);
  }
}
