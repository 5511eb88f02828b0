/**
 * What acknowledgments, losses and probe time-outs mean: RFC 9002 per path, with the frames of lost packets handed back
 * to their owners.
 *
 * @module
 */
import type { Millis } from '../base/clock.ts';
import type { ConnectionCore } from './connection-core.ts';
import { MIN_INITIAL_DATAGRAM_BYTES } from './packet-builder.ts';
import { STALL_PTO_COUNT, type Path } from './paths/path.ts';
import { detectLost, isPersistentCongestion } from './recovery/loss.ts';
import { giveSentPackets } from './recovery/sent-packet-pool.ts';
import type { SentPacket } from './recovery/sent-packets.ts';
import type { SentFrame } from './sent-frame.ts';
import type { PacketSpace } from './spaces.ts';
import { TransportError } from './transport-error.ts';

/** Packets that a probe time-out sends (RFC 9002 §6.2.4). */
const PROBES_PER_PTO = 2;

/** Where frames go when their packet's fate is known. */
export interface FrameOwners {
  onFrameAcked(frame: SentFrame, path: Path, space: PacketSpace): void;
  onFrameLost(frame: SentFrame, path: Path, space: PacketSpace): void;
}

/** Loss detection and probe time-outs of all paths. */
export class LossRecovery {
  readonly #core: ConnectionCore;
  readonly #owners: FrameOwners;
  readonly #acked: SentPacket[] = [];
  readonly #lost: SentPacket[] = [];

  constructor(core: ConnectionCore, owners: FrameOwners) {
    this.#core = core;
    this.#owners = owners;
  }

  /**
   * An ACK arrived for `space`, which belongs to `path`.
   * @param ranges - `[largest, smallest, largest, smallest, …]`, newest first.
   * @param ackDelayMs - As the peer reports it.
   * @throws {TransportError} PROTOCOL_VIOLATION for a packet that was never sent (RFC 9000 §13.1).
   */
  onAck(path: Path, space: PacketSpace, ranges: readonly number[], ackDelayMs: Millis, now: Millis): void {
    const core = this.#core;
    const largest = ranges[0]!;
    const acked = this.#acked;
    acked.length = 0;
    for (let i = 0; i < ranges.length; i += 2) {
      const high = ranges[i]!;
      const low = ranges[i + 1]!;
      if (!space.sent.takeRange(low, high, acked)) {
        throw new TransportError('PROTOCOL_VIOLATION', 'acknowledgment of a packet that was not sent');
      }
    }
    // Late, not lost: the peer or the network reordered. What was sent again stays sent.
    if (space.sent.lost.takeVerdict()) path.controller.onSpuriousCongestion();
    if (largest > space.largestAcked) space.largestAcked = largest;
    if (acked.length === 0) return;
    if (core.crypto.oneRtt !== undefined && space.name === 'oneRtt' && largest >= space.firstInKeyPhase) {
      core.crypto.oneRtt.onPhaseAcknowledged();
    }
    this.#sampleRtt(path, space, acked, largest, ackDelayMs, now);
    const { controller, appLimited, rtt } = path;
    let isAnswered = false;
    for (let i = 0; i < acked.length; i++) {
      const packet = acked[i]!;
      // A probe of another address has our number, and went another way.
      if (!packet.isPathProbe) isAnswered = true;
      if (packet.inFlight) {
        path.inFlight -= packet.size;
        controller.onAcked(now, packet.timeSent, packet.size, appLimited, rtt);
      }
      if (packet.isMtuProbe) {
        if (path.mtu.onProbeAcked(packet)) controller.onMtuUpdate(path.mtu.current);
      } else if (space.name === 'oneRtt') {
        path.mtu.onNonProbeAcked(packet.packetNumber, packet.size);
      }
      const frames = packet.frames;
      for (let j = 0; j < frames.length; j++) this.#owners.onFrameAcked(frames[j]!, path, space);
    }
    giveSentPackets(acked);
    controller.onAcksDone(now, path.inFlight, appLimited, largest);
    if (isAnswered) this.#onAnswered(path);
    this.detectLost(path, space, now);
  }

  /** The peer has what was sent on the path. */
  #onAnswered(path: Path): void {
    // RFC 9002 §6.2.1: a client must keep backing off until it knows that the server validated its address.
    if (this.#peerValidatedUs()) path.ptoCount = 0;
    path.unansweredSince = Infinity;
    if (!path.stalled) return;
    path.stalled = false;
    this.#core.emit({ type: 'pathResumed', path: path.id });
  }

  #sampleRtt(
    path: Path,
    space: PacketSpace,
    acked: readonly SentPacket[],
    largest: number,
    ackDelayMs: Millis,
    now: Millis,
  ): void {
    // RFC 9002 §5.1: only the largest acknowledged, when newly so, and with something ack-eliciting among them.
    let sentAt: Millis | undefined;
    let eliciting = false;
    for (let i = 0; i < acked.length; i++) {
      const packet = acked[i]!;
      if (packet.ackEliciting) eliciting = true;
      if (packet.packetNumber === largest && !packet.isPathProbe) sentAt = packet.timeSent;
    }
    if (sentAt === undefined || !eliciting) return;
    // §5.3: the delay counts for 1-RTT only, and no more of it than the peer promised.
    const delay =
      space.name !== 'oneRtt'
        ? 0
        : this.#core.confirmed
          ? Math.min(ackDelayMs, this.#core.peerAckDelayMs)
          : ackDelayMs;
    path.rtt.update(now - sentAt, delay, now);
  }

  /** Declares packets lost that are too old or too far behind (RFC 9002 §6.1). */
  detectLost(path: Path, space: PacketSpace, now: Millis): void {
    const lost = this.#lost;
    lost.length = 0;
    space.lossTime = detectLost(space.sent, space.largestAcked, path.rtt, now, lost) ?? Infinity;
    if (lost.length > 0) this.#onLost(path, space, lost, now);
    giveSentPackets(lost);
    this.#core.qlog?.metrics(path, now);
  }

  #onLost(path: Path, space: PacketSpace, lost: readonly SentPacket[], now: Millis): void {
    let bytes = 0;
    let last: SentPacket | undefined;
    for (let i = 0; i < lost.length; i++) {
      const packet = lost[i]!;
      if (packet.inFlight) path.inFlight -= packet.size;
      this.#core.qlog?.packetLost(space.name, path.id, packet.packetNumber, packet.isMtuProbe, now);
      if (packet.isMtuProbe) {
        // RFC 9000 §14.4: a lost probe says nothing about congestion.
        path.lostMtuProbes++;
        path.mtu.onProbeLost(packet);
      } else if (!packet.isPathProbe) {
        path.lostPackets++;
        path.lostBytes += packet.size;
        if (packet.inFlight) {
          bytes += packet.size;
          last = packet;
        }
        if (space.name === 'oneRtt') path.mtu.onNonProbeLost(packet.packetNumber, packet.size);
      }
      this.#release(packet, path, space);
    }
    if (space.name === 'oneRtt' && path.mtu.detectBlackHole(now)) {
      path.controller.onMtuUpdate(path.mtu.current);
    }
    if (last === undefined) return;
    const persistent = isPersistentCongestion(lost, space.sent, path.rtt, this.#core.peerAckDelayMs);
    if (persistent) path.rtt.onPersistentCongestion();
    path.congestionEvents++;
    path.controller.onCongestionEvent(now, last.timeSent, persistent, false, bytes, last.packetNumber);
  }

  /** Hands a packet's frames back, once. */
  #release(packet: SentPacket, path: Path, space: PacketSpace): void {
    const frames = packet.frames;
    packet.frames = [];
    for (let i = 0; i < frames.length; i++) this.#owners.onFrameLost(frames[i]!, path, space);
  }

  /** A path is abandoned: all it has in flight goes out again elsewhere, without waiting to be declared lost. */
  forgetPath(path: Path): void {
    const lost = this.#lost;
    lost.length = 0;
    path.space.sent.takeAll(lost);
    for (let i = 0; i < lost.length; i++) this.#release(lost[i]!, path, path.space);
    giveSentPackets(lost);
    path.inFlight = 0;
    path.space.lossTime = Infinity;
    path.space.probesDue = 0;
    path.space.pingPending = false;
  }

  /** A level's keys are gone: its packets are neither acknowledged nor lost (RFC 9002 §6.4). */
  forgetSpace(path: Path, space: PacketSpace, retransmit: boolean): void {
    const packets = this.#lost;
    packets.length = 0;
    space.sent.takeAll(packets);
    for (let i = 0; i < packets.length; i++) {
      const packet = packets[i]!;
      if (packet.inFlight) path.inFlight -= packet.size;
      if (retransmit) this.#release(packet, path, space);
    }
    giveSentPackets(packets);
    space.lossTime = Infinity;
    space.probesDue = 0;
    space.pingPending = false;
  }

  /** The spaces whose packets travel on `path`. */
  *#spacesOf(path: Path): Iterable<PacketSpace> {
    const { initial, handshake } = this.#core.crypto;
    if (path.id === 0) {
      if (initial.keys !== undefined) yield initial.space;
      if (handshake.keys !== undefined) yield handshake.space;
    }
    yield path.space;
  }

  /** RFC 9002 §6.2.2.1: does the server know that our address is real? */
  #peerValidatedUs(): boolean {
    const core = this.#core;
    return core.side === 'server' || core.confirmed || core.crypto.handshake.space.largestAcked >= 0;
  }

  /** Re-arms the loss timers of all paths; once per burst, not per packet. */
  armLossTimers(now: Millis): void {
    const { list } = this.#core.paths;
    for (let i = 0; i < list.length; i++) this.#armLossTimer(list[i]!, now);
  }

  /** Sets the path's loss timer: the earliest loss time, else the earliest PTO (RFC 9002 §A.8). */
  #armLossTimer(path: Path, now: Millis): void {
    const core = this.#core;
    if (path.abandoned !== undefined || !core.isOpen) {
      path.lossAt = Infinity;
      return;
    }
    if (core.confirmed) {
      // The usual case without the generator: one space.
      const { space } = path;
      path.lossAt = space.lossTime;
      if (path.lossAt === Infinity && space.sent.ackElicitingCount > 0 && !path.isAmplificationBlocked) {
        path.lossAt =
          space.sent.lastAckElicitingSentAt + path.ptoGap(core.peerAckDelayMs, core.idleTimeoutMs);
      }
      this.#watchForStall(path);
      return;
    }
    let lossTime = Infinity;
    let pto = Infinity;
    for (const space of this.#spacesOf(path)) {
      lossTime = Math.min(lossTime, space.lossTime);
      if (space.sent.ackElicitingCount === 0) continue;
      // RFC 9002 §6.2.1: no PTO for 1-RTT data before the handshake is confirmed.
      if (space.name === 'oneRtt' && !core.confirmed) continue;
      const delay = space.name === 'oneRtt' ? core.peerAckDelayMs : 0;
      pto = Math.min(pto, space.sent.lastAckElicitingSentAt + path.ptoGap(delay, core.idleTimeoutMs));
    }
    if (lossTime !== Infinity) {
      path.lossAt = lossTime;
      return;
    }
    if (pto === Infinity && path.id === 0 && !this.#peerValidatedUs()) {
      // RFC 9002 §6.2.2.1: the server may be stuck at its amplification limit; only we can free it.
      pto =
        path.lossAt < Infinity && path.lossAt > now ? path.lossAt : now + path.ptoGap(0, core.idleTimeoutMs);
    }
    // RFC 9002 §6.2.2.1: a server at its limit cannot send probes; the next datagram restarts the timer.
    // Less than a full datagram is no room for an Initial.
    path.lossAt = path.sendBudget < MIN_INITIAL_DATAGRAM_BYTES ? Infinity : pto;
  }

  /**
   * Who sends more often than once a PTO puts the PTO off for ever (RFC 9002 §6.2.1), and on one path that is right. With
   * another path at hand silence must not be masked by our own sending.
   */
  #watchForStall(path: Path): void {
    const { sent } = path.space;
    if (sent.ackElicitingCount === 0) path.unansweredSince = Infinity;
    else if (path.unansweredSince === Infinity) path.unansweredSince = sent.lastAckElicitingSentAt;
    if (!path.stalled && !path.isAmplificationBlocked && this.#core.paths.hasAlternative(path))
      path.lossAt = Math.min(path.lossAt, path.stallsAt(this.#core.peerAckDelayMs));
  }

  /** The loss timer fired. */
  onLossTimeout(path: Path, now: Millis): void {
    const core = this.#core;
    path.lossAt = Infinity;
    if (path.stallsAt(core.peerAckDelayMs) <= now && !path.stalled && core.paths.hasAlternative(path))
      this.#stall(path);
    let hadLossTime = false;
    for (const space of this.#spacesOf(path)) {
      if (space.lossTime > now) {
        if (space.lossTime !== Infinity) hadLossTime = true;
        continue;
      }
      hadLossTime = true;
      this.detectLost(path, space, now);
    }
    if (hadLossTime) return;
    let probed = false;
    for (const space of this.#spacesOf(path)) {
      if (space.sent.ackElicitingCount === 0 || (space.name === 'oneRtt' && !core.confirmed)) continue;
      space.probesDue = PROBES_PER_PTO;
      probed = true;
      this.#resendOldest(path, space);
    }
    if (!probed && path.id === 0) {
      const { initial, handshake } = core.crypto;
      const level = handshake.keys !== undefined ? handshake : initial;
      if (level.keys !== undefined) level.space.probesDue = 1;
    }
    path.ptoCount++;
    if (path.ptoCount >= STALL_PTO_COUNT && core.multipath && !path.stalled) this.#stall(path);
    if (path.stalled && !core.paths.hasAlternative(path)) this.#resendOfOthers(path);
    core.wake();
  }

  /** The path seems dead: what is under way on it goes out again where there is a better way; probes go on here. */
  #stall(path: Path): void {
    path.stalled = true;
    this.#core.emit({ type: 'pathStalled', path: path.id });
    if (!this.#core.paths.hasAlternative(path)) return;
    path.space.sent.forEach((packet) => {
      this.#release(packet, path, path.space);
      return true;
    });
  }

  /** No path answers: probes here bring what is under way elsewhere. */
  #resendOfOthers(path: Path): void {
    for (const other of this.#core.paths.list)
      if (other !== path && other.abandoned === undefined) this.#resendOldest(other, other.space);
  }

  /** A probe should carry what is most urgent: the frames of the oldest packets that elicit an acknowledgment. */
  #resendOldest(path: Path, space: PacketSpace): void {
    let found = 0;
    space.sent.forEach((packet) => {
      if (packet.ackEliciting && packet.frames.length > 0) {
        found++;
        this.#release(packet, path, space);
      }
      return found < PROBES_PER_PTO;
    });
  }
}
