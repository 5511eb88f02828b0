/**
 * From state to datagrams: decides what goes out next, and on which path
 * (RFC 9000 §12.2, §14; RFC 9002 §7; scheduling of paths as noq `noq-proto/src/connection/mod.rs`).
 *
 * @module
 */
import type { Millis } from '../base/clock.ts';
import type { Addr } from '../base/socket-addr.ts';
import { DRAIN_PTO_COUNT, LOCAL_ACK_DELAY_EXPONENT, type ConnectionCore } from './connection-core.ts';
import type { HandshakeLevel } from './crypto-levels.ts';
import type { Transmit } from './engine.ts';
import type { FrameWriter } from './frame-writer.ts';
import type { Handshake } from './handshake.ts';
import {
  MIN_INITIAL_DATAGRAM_BYTES,
  NO_PROBE,
  TAG_BYTES,
  writer,
  type OpenPacket,
  type PacketBuilder,
} from './packet-builder.ts';
import type { Path } from './paths/path.ts';
import { writeImmediateAck, writePathChallenge, writePathResponse, writePing } from './wire/frames.ts';

/** Below this, starting another coalesced packet is not worth its header. */
const MIN_COALESCED_ROOM = 128;
/** A 1-RTT packet with a close and no reason fits into this. */
const MIN_CLOSE_ROOM = 64;

/** Builds the datagrams of one connection. */
export class PacketWriter {
  readonly #core: ConnectionCore;
  readonly #handshake: Handshake;
  readonly #builder: PacketBuilder;
  readonly #frames: FrameWriter;

  constructor(core: ConnectionCore, handshake: Handshake, builder: PacketBuilder, frames: FrameWriter) {
    this.#core = core;
    this.#handshake = handshake;
    this.#builder = builder;
    this.#frames = frames;
  }

  /** Appends up to `max` sealed datagrams to `out`. Fewer than `max` means that there is no more to send now. */
  poll(out: Transmit[], max: number, now: Millis): number {
    const core = this.#core;
    if (core.state === 'drained') return 0;
    if (!core.isOpen) return this.#pollClose(out, now);
    let count = 0;
    while (count < max && this.#writeDatagram(out, now)) {
      count++;
      if (this.#builder.isFull) this.#builder.flush();
    }
    this.#builder.flush();
    return count;
  }

  // --- what to send next ------------------------------------------------------------------------------------------

  #writeDatagram(out: Transmit[], now: Millis): boolean {
    const core = this.#core;
    if (core.crypto.oneRtt !== undefined && this.#writeOffPath(out, now)) return true;
    if (core.confirmed) return this.#writeOnPaths(out, now);
    if (this.#writeHandshake(out, now)) return true;
    if (core.crypto.oneRtt === undefined && core.crypto.zeroRtt === undefined) return false;
    return this.#writeOnPaths(out, now);
  }

  /** Answers to challenges from elsewhere and NAT probes: nothing but probing frames may leave there. */
  #writeOffPath(out: Transmit[], now: Millis): boolean {
    const core = this.#core;
    for (const path of core.paths.list) {
      const { responses } = path;
      for (let i = 0; i < responses.length; i++) {
        const response = responses[i]!;
        if (response.remote === path.remote && !this.#differs(response.local, path.local)) continue;
        responses.splice(i, 1);
        const { remote, local, token, padTo } = response;
        return this.#writeProbe(out, path, remote, local, token, padTo, now);
      }
    }
    const { nat } = core;
    if (nat === undefined || !core.confirmed) return false;
    const remote = nat.probeDue(now);
    if (remote === undefined) return false;
    // Any validated path lends its connection id and numbers (noq: usually the relay path 0).
    const path = core.paths.dataPath(false);
    if (path === undefined) return false;
    return this.#writeProbe(out, path, remote, undefined, undefined, 0, now);
  }

  #differs(a: Addr | undefined, b: Addr | undefined): boolean {
    return a !== undefined && b !== undefined && a !== b;
  }

  /** A datagram off the path: with `answer` a PATH_RESPONSE, without it a bare challenge of hole punching. */
  #writeProbe(
    out: Transmit[],
    path: Path,
    remote: Addr,
    local: Addr | undefined,
    answer: Uint8Array | undefined,
    padTo: number,
    now: Millis,
  ): boolean {
    const core = this.#core;
    const packet = this.#builder.beginShort(path, MIN_INITIAL_DATAGRAM_BYTES, now);
    if (packet === undefined) return false;
    if (answer !== undefined) {
      writePathResponse(writer, answer);
      const challenge = core.nat?.challengeFor(remote, core.host.rng);
      if (challenge !== undefined) writePathChallenge(writer, challenge);
      // RFC 9000 §8.2.2.
      this.#builder.padTo = padTo;
    } else {
      writePathChallenge(writer, core.nat!.onProbeSend(remote, core.host.rng, now));
    }
    this.#builder.ackEliciting = true;
    this.#builder.finishShort(packet, path, remote, local, out, now, {
      isPathProbe: true,
      isMtuProbe: false,
    });
    return true;
  }

  #writeOnPaths(out: Transmit[], now: Millis): boolean {
    const core = this.#core;
    const dataPath = this.#dataPath();
    const ackPath = this.#ackPath(dataPath);
    const { list } = core.paths;
    for (let i = 0; i < list.length; i++) {
      const path = list[i]!;
      if (path.abandoned !== undefined && !this.#mayCarryOwnAbandon(path, dataPath)) continue;
      if (this.#writeOnPath(out, path, path === dataPath, path === ackPath, now)) return true;
    }
    return false;
  }

  /** Where none answers any more, data goes with the probes of each: one of them may still lead there. */
  #dataPath(): Path | undefined {
    const { paths, confirmed, multipath } = this.#core;
    const path = paths.dataPath(!confirmed || !multipath);
    if (path?.stalled !== true) return path;
    const probing = paths.list.find(
      (each) => each.abandoned === undefined && each.validated && each.space.probesDue > 0,
    );
    return probing ?? path;
  }

  /**
   * Acknowledgments travel with the data. Once that path stops answering, or falls silent while another one speaks, they take
   * the better one: otherwise the peer would hear nothing on a path that works, and give it up as well.
   */
  #ackPath(dataPath: Path | undefined): Path | undefined {
    const { list } = this.#core.paths;
    if (dataPath === undefined || list.length === 1) return dataPath;
    let best = dataPath;
    for (const path of list) {
      if (path.abandoned !== undefined || !path.validated) continue;
      const isSilent =
        best.receivedAt + DRAIN_PTO_COUNT * best.basePto(this.#core.peerAckDelayMs) < path.receivedAt;
      if (path.ptoCount < best.ptoCount || (path.ptoCount === best.ptoCount && isSilent)) best = path;
    }
    return best;
  }

  /** With no other validated path, PATH_ABANDON may leave on the path that it ends, if that one was validated. */
  #mayCarryOwnAbandon(path: Path, dataPath: Path | undefined): boolean {
    return (
      dataPath === undefined && path.validated && path.abandoned!.framePending && path.discardAt === Infinity
    );
  }

  /** Writes one datagram on a path if it has reason and leave to send. */
  #writeOnPath(out: Transmit[], path: Path, isDataPath: boolean, carriesAcks: boolean, now: Millis): boolean {
    const core = this.#core;
    const { space } = path;
    // A probe of the full size would not get through where the MTU shrank, and nothing would ever find out.
    const mtu = space.probesDue > 0 ? Math.min(path.mtu.current, core.config.minMtu) : path.mtu.current;
    if (path.isAmplificationBlocked) return false;
    const validation = path.validation?.pending === true;
    const response = path.responses.length > 0;
    const urgent = validation || response || space.probesDue > 0;
    // Before data: a bulk sender that never pauses would otherwise stay at the smallest size.
    if (path.validated && path.mtu.wantsProbe(now) && this.#writeMtuProbe(out, path, now)) return true;
    const acks = carriesAcks && this.#frames.acksDue(now);
    let data = isDataPath && this.#frames.wantsData();
    const ping = space.pingPending;
    const ownAbandon = path.abandoned !== undefined;
    if (!urgent && !acks && !data && !ping && !ownAbandon) {
      if (isDataPath) path.appLimited = true;
      return false;
    }
    let blocked = false;
    if ((data || ping) && space.probesDue === 0) {
      blocked = path.inFlight + mtu > path.controller.window;
      if (!blocked) {
        const pacedUntil = path.pacer.delay(mtu, path.rtt.smoothed, path.controller.window, mtu, now);
        path.pacedUntil = pacedUntil ?? Infinity;
        blocked = pacedUntil !== undefined;
      }
      if (blocked) {
        // Held back by the window or the pacer, not by the application (RFC 9002 §7.8).
        path.appLimited = false;
        if (!urgent && !acks) return false;
        data = false;
      }
    }
    const packet =
      core.crypto.oneRtt === undefined
        ? this.#builder.beginZeroRtt(path)
        : this.#builder.beginShort(path, Math.min(mtu, path.sendBudget), now);
    if (packet === undefined) return false;
    const before = writer.pos;
    this.#frames.writePathFrames(packet, path, carriesAcks, !blocked, now);
    const isFullSize = !packet.isLong && mtu === path.mtu.current && mtu <= path.sendBudget;
    if (data && isDataPath) this.#frames.writeData(packet, path, isFullSize, now);
    if (ownAbandon) this.#frames.writeAbandons(packet);
    if (space.probesDue > 0 && !this.#builder.ackEliciting) {
      if (core.peer?.minAckDelay !== undefined) writeImmediateAck(writer);
      writePing(writer);
      this.#builder.ackEliciting = true;
    }
    if (writer.pos === before) {
      this.#builder.cancel(packet);
      return false;
    }
    if (space.probesDue > 0) space.probesDue--;
    if (packet.isLong) this.#builder.finishLong(packet, path, out, now);
    else this.#builder.finishShort(packet, path, path.remote, path.local, out, now, NO_PROBE);
    return true;
  }

  // --- MTU probes -------------------------------------------------------------------------------------------------

  #writeMtuProbe(out: Transmit[], path: Path, now: Millis): boolean {
    const core = this.#core;
    if (!core.confirmed || path.abandoned !== undefined) return false;
    const size = path.mtu.pollProbe(now);
    if (size === undefined) return false;
    const packet = this.#builder.beginShort(path, size, now);
    if (packet === undefined) {
      path.mtu.cancelProbe();
      return false;
    }
    writePing(writer);
    if (core.peer?.minAckDelay !== undefined) writeImmediateAck(writer);
    this.#builder.ackEliciting = true;
    this.#builder.padTo = size;
    path.sentMtuProbes++;
    this.#builder.finishShort(packet, path, path.remote, path.local, out, now, {
      isPathProbe: false,
      isMtuProbe: true,
    });
    return true;
  }

  // --- handshake --------------------------------------------------------------------------------------------------

  #wantsLevel(level: HandshakeLevel, now: Millis): boolean {
    const { space } = level;
    return (
      level.keys !== undefined &&
      (level.stream.wantsSend || space.probesDue > 0 || space.pingPending || space.received.ackDue(now))
    );
  }

  #elicitsAck(level: HandshakeLevel): boolean {
    const { space, stream } = level;
    return level.keys !== undefined && (stream.wantsSend || space.probesDue > 0 || space.pingPending);
  }

  /** One datagram of Initial and Handshake packets, with 1-RTT or 0-RTT data behind them if there is room. */
  #writeHandshake(out: Transmit[], now: Millis): boolean {
    const core = this.#core;
    const path = core.paths.get(0);
    if (path === undefined) return false;
    const { initial, handshake } = core.crypto;
    const wantsInitial = this.#wantsLevel(initial, now);
    const wantsHandshake = this.#wantsLevel(handshake, now);
    if (!wantsInitial && !wantsHandshake) return false;
    const size = Math.min(MIN_INITIAL_DATAGRAM_BYTES, path.sendBudget);
    // An Initial that elicits an ACK needs a full datagram (RFC 9000 §14.1): the client's next packet makes room for it.
    if (size < (this.#elicitsAck(initial) ? MIN_INITIAL_DATAGRAM_BYTES : MIN_COALESCED_ROOM)) return false;
    const { bytes, start } = core.host.allocate(MIN_INITIAL_DATAGRAM_BYTES);
    const end = start + size;
    writer.bytes = bytes;
    writer.pos = start;
    writer.limit = end;
    let pad = false;
    let written = false;
    for (const level of [initial, handshake]) {
      if (!(level === initial ? wantsInitial : wantsHandshake)) continue;
      if (end - writer.pos < MIN_COALESCED_ROOM) break;
      const packet = this.#builder.beginLong(level.name, level.space, level.keys!.write, path, end);
      this.#writeLevelFrames(packet, level, now);
      if (writer.pos === packet.payloadStart) {
        writer.pos = packet.headerStart;
        packet.space.next--;
        continue;
      }
      // RFC 9000 §14.1: all datagrams with an Initial of a client, and those of a server that elicit an ACK.
      if (level === initial && (core.side === 'client' || this.#builder.ackEliciting)) pad = true;
      const isLast =
        level === handshake || !wantsHandshake || end - writer.pos - TAG_BYTES < MIN_COALESCED_ROOM;
      const more = isLast && this.#mayAppendData(path, end);
      this.#builder.sealLong(packet, path, pad && isLast && !more ? end - TAG_BYTES : 0, now);
      written = true;
      if (level === handshake && core.side === 'client') {
        // RFC 9001 §4.9.1: a client is done with Initial keys once it sends a Handshake packet.
        this.#handshake.discard(initial);
      }
      if (more) this.#appendData(path, end, pad, now);
    }
    if (!written) {
      core.host.shrink(0);
      return false;
    }
    this.#builder.emitDatagram(out, path, bytes, start, writer.pos, path.remote, path.local);
    return true;
  }

  #writeLevelFrames(packet: OpenPacket, level: HandshakeLevel, now: Millis): void {
    const { space, stream } = level;
    this.#builder.ackEliciting = false;
    if (space.received.hasAckToSend) {
      const largest = space.received.writeAck(writer, undefined, now, LOCAL_ACK_DELAY_EXPONENT);
      if (largest !== undefined) packet.frames.push({ type: 'ack', path: 0, largest });
    }
    if (stream.wantsSend) {
      const before = writer.pos;
      stream.writeFrames(writer, packet.frames);
      if (writer.pos > before) this.#builder.ackEliciting = true;
    }
    if ((space.probesDue > 0 || space.pingPending) && !this.#builder.ackEliciting) {
      writePing(writer);
      this.#builder.ackEliciting = true;
    }
    space.pingPending = false;
    if (space.probesDue > 0) space.probesDue--;
  }

  #mayAppendData(path: Path, end: number): boolean {
    const core = this.#core;
    if (end - writer.pos < MIN_COALESCED_ROOM + TAG_BYTES) return false;
    if (core.crypto.oneRtt === undefined && core.crypto.zeroRtt === undefined) return false;
    if (path.inFlight + MIN_INITIAL_DATAGRAM_BYTES > path.controller.window) return false;
    return this.#frames.wantsData() || (core.crypto.oneRtt !== undefined && this.#frames.acksDue(Infinity));
  }

  /** Adds a 1-RTT or 0-RTT packet to a handshake datagram. */
  #appendData(path: Path, end: number, pad: boolean, now: Millis): void {
    const core = this.#core;
    const phases = core.crypto.oneRtt;
    const packet =
      phases === undefined
        ? this.#builder.beginLong('zeroRtt', path.space, core.crypto.zeroRtt!, path, end)
        : this.#builder.openShort(path, writer.bytes, writer.pos, end);
    if (packet === undefined) return;
    this.#builder.ackEliciting = false;
    if (!packet.isLong) this.#frames.writeAcks(packet, now);
    this.#frames.writeData(packet, path, false, now);
    if (writer.pos === packet.payloadStart && !pad) {
      writer.pos = packet.headerStart;
      packet.space.next--;
      return;
    }
    const padTo = pad ? end - TAG_BYTES : 0;
    if (packet.isLong) this.#builder.sealLong(packet, path, padTo, now);
    else this.#builder.sealShort(packet, path, padTo, NO_PROBE, now);
  }

  // --- close ------------------------------------------------------------------------------------------------------

  /**
   * CONNECTION_CLOSE in every level that the peer may be able to read (RFC 9000 §10.2.3). 1-RTT has a datagram of its own once a
   * client is done: the server may have dropped the keys of the handshake, and a peer may drop what follows in the datagram.
   * So the count may be one more than what was asked for.
   */
  #pollClose(out: Transmit[], now: Millis): number {
    const core = this.#core;
    const { closing } = core;
    if (closing?.pending !== true) return 0;
    const path = core.paths.dataPath(true) ?? core.paths.list[0];
    if (path === undefined || path.isAmplificationBlocked) return 0;
    const { initial, handshake, oneRtt } = core.crypto;
    const isClient = core.side === 'client';
    const levels = core.confirmed ? [] : [initial, handshake].filter((level) => level.keys !== undefined);
    const hasOneRtt = oneRtt !== undefined && (!isClient || core.crypto.mayReadOneRtt);
    const count =
      isClient && hasOneRtt && levels.length > 0
        ? this.#writeClose(out, path, levels, false, now) + this.#writeClose(out, path, [], true, now)
        : this.#writeClose(out, path, levels, hasOneRtt, now);
    if (count === 0) return 0;
    closing.pending = false;
    // In the draining state one answer is all (RFC 9000 §10.2.2).
    if (core.state === 'draining') core.closing = undefined;
    return count;
  }

  /** One datagram with the close in each of these levels, as far as it has room. Returns how many datagrams that makes. */
  #writeClose(
    out: Transmit[],
    path: Path,
    levels: readonly HandshakeLevel[],
    hasOneRtt: boolean,
    now: Millis,
  ): number {
    const core = this.#core;
    const closing = core.closing!;
    const { bytes, start } = core.host.allocate(MIN_INITIAL_DATAGRAM_BYTES);
    const end = start + Math.min(MIN_INITIAL_DATAGRAM_BYTES, path.sendBudget);
    writer.bytes = bytes;
    writer.pos = start;
    writer.limit = end;
    const isPadded = levels[0] === core.crypto.initial && core.side === 'client';
    for (const level of levels) {
      if (end - writer.pos < MIN_COALESCED_ROOM) break;
      const packet = this.#builder.beginLong(level.name, level.space, level.keys!.write, path, end);
      closing.write(writer, level.space.name);
      const isLast = level === levels.at(-1) && !hasOneRtt;
      this.#builder.sealLong(packet, path, isLast && isPadded ? end - TAG_BYTES : 0, now);
    }
    if (hasOneRtt && end - writer.pos >= MIN_CLOSE_ROOM) {
      const packet = this.#builder.openShort(path, bytes, writer.pos, end);
      if (packet !== undefined) {
        this.#builder.ackEliciting = false;
        closing.write(writer, 'oneRtt');
        this.#builder.sealShort(packet, path, isPadded ? end - TAG_BYTES : 0, NO_PROBE, now);
      }
    }
    this.#builder.flush();
    if (writer.pos === start) {
      core.host.shrink(0);
      return 0;
    }
    this.#builder.emitDatagram(out, path, bytes, start, writer.pos, path.remote, path.local);
    return 1;
  }
}
