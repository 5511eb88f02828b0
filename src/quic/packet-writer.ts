/**
 * From state to datagrams: decides what goes out next, on which path, and builds the packets
 * (RFC 9000 §12.2, §14; RFC 9002 §7; scheduling of paths as noq `noq-proto/src/connection/mod.rs`).
 *
 * 1-RTT packets are built in plaintext and sealed together at the end of a burst, with one call for all header masks.
 *
 * @module
 */
import type { PacketJob } from '#crypto/aead';
import { Writer } from '../base/bytes.ts';
import type { Millis } from '../base/clock.ts';
import type { Addr } from '../base/socket-addr.ts';
import { LOCAL_ACK_DELAY_EXPONENT, type ConnectionCore } from './connection-core.ts';
import type { HandshakeLevel } from './crypto-levels.ts';
import type { Transmit } from './engine.ts';
import type { Handshake } from './handshake.ts';
import type { LossRecovery } from './loss-recovery.ts';
import type { Path } from './paths/path.ts';
import type { SentPacket } from './recovery/sent-packets.ts';
import type { SentFrame } from './sent-frame.ts';
import type { PacketSpace } from './spaces.ts';
import {
  writeHandshakeDone,
  writeImmediateAck,
  writeMaxPathId,
  writeNewConnectionId,
  writeNewToken,
  writeObservedAddress,
  writePathAbandon,
  writePathChallenge,
  writePathCidsBlocked,
  writePathResponse,
  writePathsBlocked,
  writePathStatus,
  writePing,
  writeRetireConnectionId,
} from './wire/frames.ts';
import { packetNumberLength } from './wire/packet-number.ts';
import { finishLongHeader, writeLongHeader, writeShortHeader } from './wire/packet.ts';
import { sealPackets, type PacketKeys } from './wire/protection.ts';

/** Smallest allowed size of a datagram with an Initial or a path challenge (RFC 9000 §14.1, §8.2.1). */
export const MIN_INITIAL_DATAGRAM_BYTES = 1_200;
const TAG_BYTES = 16;
/** Packet number and payload must give the header protection sample its 16 bytes (RFC 9001 §5.4.2). */
const MIN_PROTECTED_BYTES = 4;
/** Below this, starting another coalesced packet is not worth its header. */
const MIN_COALESCED_ROOM = 128;
/** Room that a small control frame needs at most (a NEW_CONNECTION_ID with a path id: 4+4+8+8+1+8+16). */
const CONTROL_FRAME_BYTES = 50;
/** Jobs that are sealed with one call; also how many datagrams one poll builds at most before sealing. */
const SEAL_BATCH = 32;

/** A 1-RTT packet that waits for its seal. */
interface ShortJob extends PacketJob {
  pnOffset: number;
}

function newJob(): ShortJob {
  return {
    bytes: new Uint8Array(0),
    headerStart: 0,
    payloadStart: 0,
    payloadEnd: 0,
    nonce: new Uint8Array(12),
    pnOffset: 0,
  };
}

// Shared by all connections: building and sealing never interleave.
const jobs: ShortJob[] = Array.from({ length: SEAL_BATCH }, newJob);
const longJob: ShortJob[] = [newJob()];
const writer = new Writer(new Uint8Array(0));

/** A packet being built. One at a time. */
interface OpenPacket {
  space: PacketSpace;
  packetNumber: number;
  headerStart: number;
  pnOffset: number;
  payloadStart: number;
  lengthAt: number;
  keys: PacketKeys;
  frames: SentFrame[];
  isLong: boolean;
}

/** Builds the datagrams of one connection. */
export class PacketWriter {
  readonly #core: ConnectionCore;
  readonly #recovery: LossRecovery;
  readonly #handshake: Handshake;
  #jobCount = 0;
  #jobKeys: PacketKeys | undefined;
  /** Set while a datagram is built. */
  #padTo = 0;
  #ackEliciting = false;

  constructor(core: ConnectionCore, recovery: LossRecovery, handshake: Handshake) {
    this.#core = core;
    this.#recovery = recovery;
    this.#handshake = handshake;
  }

  /** Appends up to `max` sealed datagrams to `out`. Fewer than `max` means that there is no more to send now. */
  poll(out: Transmit[], max: number, now: Millis): number {
    const core = this.#core;
    if (core.state === 'drained') return 0;
    if (!core.isOpen) return this.#pollClose(out, now);
    let count = 0;
    while (count < max && this.#writeDatagram(out, now)) {
      count++;
      if (this.#jobCount === SEAL_BATCH) this.#seal();
    }
    this.#seal();
    return count;
  }

  #seal(): void {
    if (this.#jobCount === 0) return;
    sealPackets(this.#jobKeys!, jobs, this.#jobCount);
    this.#jobCount = 0;
    this.#jobKeys = undefined;
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
        return this.#writeProbe(out, path, response.remote, response.local, response.token, now);
      }
    }
    const { nat } = core;
    if (nat === undefined || !core.confirmed) return false;
    const remote = nat.probeDue(now);
    if (remote === undefined) return false;
    // Any validated path lends its connection id and numbers (noq: usually the relay path 0).
    const path = core.paths.dataPath(false);
    if (path === undefined) return false;
    return this.#writeProbe(out, path, remote, undefined, undefined, now);
  }

  #differs(a: Addr | undefined, b: Addr | undefined): boolean {
    return a !== undefined && b !== undefined && a !== b;
  }

  /** A datagram off the path: with `answer` a padded PATH_RESPONSE, without it a bare challenge of hole punching. */
  #writeProbe(
    out: Transmit[],
    path: Path,
    remote: Addr,
    local: Addr | undefined,
    answer: Uint8Array | undefined,
    now: Millis,
  ): boolean {
    const core = this.#core;
    const packet = this.#beginShort(path, MIN_INITIAL_DATAGRAM_BYTES, now);
    if (packet === undefined) return false;
    if (answer !== undefined) {
      writePathResponse(writer, answer);
      const challenge = core.nat?.challengeFor(remote, core.host.rng);
      if (challenge !== undefined) writePathChallenge(writer, challenge);
      // RFC 9000 §8.2.2.
      this.#padTo = MIN_INITIAL_DATAGRAM_BYTES;
    } else {
      writePathChallenge(writer, core.nat!.onProbeSend(remote, core.host.rng, now));
    }
    this.#ackEliciting = true;
    this.#finishShort(packet, path, remote, local, out, now, { isPathProbe: true, isMtuProbe: false });
    return true;
  }

  #writeOnPaths(out: Transmit[], now: Millis): boolean {
    const core = this.#core;
    const { paths } = core;
    const dataPath = paths.dataPath(!core.confirmed || !core.multipath);
    const { list } = paths;
    for (let i = 0; i < list.length; i++) {
      const path = list[i]!;
      if (path.abandoned !== undefined && !this.#mayCarryOwnAbandon(path, dataPath)) continue;
      if (this.#writeOnPath(out, path, path === dataPath, now)) return true;
    }
    return false;
  }

  /** With no other validated path, PATH_ABANDON may leave on the path that it ends, if that one was validated. */
  #mayCarryOwnAbandon(path: Path, dataPath: Path | undefined): boolean {
    return (
      dataPath === undefined && path.validated && path.abandoned!.framePending && path.discardAt === Infinity
    );
  }

  /** Writes one datagram on a path if it has reason and leave to send. */
  #writeOnPath(out: Transmit[], path: Path, isDataPath: boolean, now: Millis): boolean {
    const core = this.#core;
    const mtu = path.mtu.current;
    if (path.amplificationBlocks(mtu)) return false;
    const { space } = path;
    const validation = path.validation?.pending === true;
    const response = path.responses.length > 0;
    const urgent = validation || response || space.probesDue > 0;
    const acks = isDataPath && this.#acksDue(now);
    let data = isDataPath && this.#wantsData();
    const ping = space.pingPending;
    const ownAbandon = path.abandoned !== undefined;
    if (!urgent && !acks && !data && !ping && !ownAbandon) {
      if (isDataPath) path.appLimited = true;
      return (isDataPath || path.validated) && this.#writeMtuProbe(out, path, now);
    }
    let blocked = false;
    if ((data || ping) && space.probesDue === 0) {
      blocked = path.inFlight + mtu > path.controller.window;
      if (blocked) {
        path.appLimited = false;
      } else {
        const pacedUntil = path.pacer.delay(mtu, path.rtt.smoothed, path.controller.window, mtu, now);
        path.pacedUntil = pacedUntil ?? Infinity;
        blocked = pacedUntil !== undefined;
      }
      if (blocked && !urgent && !acks) return false;
      if (blocked) data = false;
    }
    const packet =
      core.crypto.oneRtt === undefined ? this.#beginZeroRtt(path) : this.#beginShort(path, mtu, now);
    if (packet === undefined) return false;
    const before = writer.pos;
    this.#writePathFrames(packet, path, isDataPath, !blocked, now);
    if (data && isDataPath) this.#writeData(packet, path, now);
    if (ownAbandon) this.#writeAbandons(packet);
    if (space.probesDue > 0 && !this.#ackEliciting) {
      if ((core.peer?.minAckDelay ?? undefined) !== undefined) writeImmediateAck(writer);
      writePing(writer);
      this.#ackEliciting = true;
    }
    if (writer.pos === before) {
      this.#cancel(packet);
      return false;
    }
    if (space.probesDue > 0) space.probesDue--;
    if (packet.isLong) this.#finishLong(packet, path, out, now);
    else this.#finishShort(packet, path, path.remote, path.local, out, now, NO_PROBE);
    return true;
  }

  /** Acknowledgments whose time has come, on any path: all travel on the data path. */
  #acksDue(now: Millis): boolean {
    const { list } = this.#core.paths;
    if (this.#core.crypto.oneRtt === undefined) return false;
    for (let i = 0; i < list.length; i++) if (list[i]!.space.received.ackDue(now)) return true;
    return false;
  }

  #wantsData(): boolean {
    const core = this.#core;
    return core.streams.wantsData || this.#wantsControl() || core.datagrams.wantsSend;
  }

  #wantsControl(): boolean {
    const core = this.#core;
    if (
      core.streams.wantsControl ||
      core.handshakeDonePending ||
      core.newTokenPending !== undefined ||
      core.crypto.application.wantsSend ||
      core.paths.maxPathIdPending ||
      core.paths.pathsBlockedPending ||
      core.nat?.wantsFrames === true
    ) {
      return true;
    }
    if (this.#cidFramesPending()) return true;
    for (const path of core.paths.list) {
      if (path.abandoned?.framePending === true || (path.statusPending && path.abandoned === undefined))
        return true;
      if (core.addressDiscovery.isPending(path.id) && path.abandoned === undefined) return true;
    }
    return false;
  }

  #cidFramesPending(): boolean {
    for (const cids of this.#core.cids.values()) {
      if (cids.local.wantsFrames || cids.remote.wantsFrames || cids.blockedPending) return true;
    }
    return false;
  }

  // --- frames -----------------------------------------------------------------------------------------------------

  /** Frames about the path itself, and acknowledgments. */
  #writePathFrames(
    packet: OpenPacket,
    path: Path,
    isDataPath: boolean,
    mayElicit: boolean,
    now: Millis,
  ): void {
    const core = this.#core;
    const { space } = path;
    if (!packet.isLong && isDataPath) this.#writeAcks(packet, now);
    if (packet.isLong) return;
    if (space.pingPending && mayElicit) {
      writePing(writer);
      space.pingPending = false;
      this.#ackEliciting = true;
    }
    const { validation } = path;
    if (validation?.pending === true) {
      const base = path.basePto(0);
      const giveUp = this.#validationTimeout(path);
      writePathChallenge(writer, validation.onSend(core.host.rng, now, base, giveUp));
      this.#ackEliciting = true;
      this.#padTo = MIN_INITIAL_DATAGRAM_BYTES;
      core.addressDiscovery.queueReport(path.id);
    }
    if (path.responses.length > 0) {
      writePathResponse(writer, path.responses.shift()!.token);
      this.#ackEliciting = true;
      this.#padTo = MIN_INITIAL_DATAGRAM_BYTES;
      core.addressDiscovery.queueReport(path.id);
    }
    if (core.addressDiscovery.isPending(path.id) && mayElicit) {
      writeObservedAddress(writer, core.addressDiscovery.onSend(path.id), path.remote);
      packet.frames.push({ type: 'observedAddress', path: path.id });
      this.#ackEliciting = true;
    }
  }

  /** RFC 9000 §8.2.4: three PTOs of a path without samples; with multipath the path's idle time, as noq 1.1 does. */
  #validationTimeout(path: Path): Millis {
    const threePto = 3 * Math.max(path.basePto(0), 3 * this.#core.config.initialRttMs);
    return this.#core.multipath && path.id !== 0 ? Math.max(path.maxIdleMs ?? threePto, threePto) : threePto;
  }

  #writeAcks(packet: OpenPacket, now: Millis): void {
    const core = this.#core;
    const { list } = core.paths;
    for (let i = 0; i < list.length; i++) {
      const { received } = list[i]!.space;
      if (!received.hasAckToSend) continue;
      const id = list[i]!.id;
      const largest = received.writeAck(
        writer,
        core.multipath ? id : undefined,
        now,
        LOCAL_ACK_DELAY_EXPONENT,
      );
      if (largest !== undefined) packet.frames.push({ type: 'ack', path: id, largest });
    }
  }

  /** Everything that is not about one path, in upstream's order. */
  #writeData(packet: OpenPacket, path: Path, now: Millis): void {
    const core = this.#core;
    const { frames } = packet;
    const before = writer.pos;
    if (!packet.isLong && this.#wantsControl()) this.#writeControl(packet, now);
    if (core.streams.wantsControl) core.streams.writeControl(writer, frames, now, path.rtt.smoothed);
    if (core.datagrams.wantsSend) core.datagrams.write(writer, frames);
    if (core.streams.wantsData) core.streams.writeData(writer, frames);
    if (writer.pos > before) this.#ackEliciting = true;
  }

  #writeControl(packet: OpenPacket, now: Millis): void {
    const core = this.#core;
    const { frames } = packet;
    if (core.handshakeDonePending && writer.room > 1) {
      writeHandshakeDone(writer);
      core.handshakeDonePending = false;
      frames.push({ type: 'handshakeDone' });
    }
    if (core.nat?.wantsFrames === true) core.nat.writeFrames(writer, frames);
    this.#writeAbandons(packet);
    if (core.crypto.application.wantsSend) core.crypto.application.writeFrames(writer, frames);
    for (const path of core.paths.list) {
      if (!path.statusPending || path.abandoned !== undefined || writer.room < CONTROL_FRAME_BYTES) continue;
      path.statusPending = false;
      writePathStatus(writer, path.id, path.statusSequence, path.status);
      frames.push({ type: 'pathStatus', path: path.id });
    }
    if (core.paths.maxPathIdPending && writer.room >= CONTROL_FRAME_BYTES) {
      core.paths.maxPathIdPending = false;
      writeMaxPathId(writer, core.paths.localMax!);
      frames.push({ type: 'maxPathId' });
    }
    if (core.paths.pathsBlockedPending && writer.room >= CONTROL_FRAME_BYTES) {
      core.paths.pathsBlockedPending = false;
      writePathsBlocked(writer, core.paths.maxPathId);
      frames.push({ type: 'pathsBlocked' });
    }
    this.#writeCidFrames(frames);
    const token = core.newTokenPending;
    if (token !== undefined && writer.room >= token.length + CONTROL_FRAME_BYTES) {
      core.newTokenPending = undefined;
      writeNewToken(writer, token);
      frames.push({ type: 'newToken', token });
    }
    void now;
  }

  #writeAbandons(packet: OpenPacket): void {
    for (const path of this.#core.paths.list) {
      const { abandoned } = path;
      if (abandoned?.framePending !== true || writer.room < CONTROL_FRAME_BYTES) continue;
      abandoned.framePending = false;
      writePathAbandon(writer, path.id, abandoned.code);
      packet.frames.push({ type: 'pathAbandon', path: path.id });
      this.#ackEliciting = true;
    }
  }

  #writeCidFrames(frames: SentFrame[]): void {
    const core = this.#core;
    for (const [path, cids] of core.cids) {
      // draft-ietf-quic-multipath §4.4: once multipath is on, path 0 may use either form; upstream uses the new one.
      const named = core.multipath ? path : undefined;
      const { local, remote } = cids;
      while (local.wantsFrames && writer.room >= CONTROL_FRAME_BYTES) {
        const next = local.takePending();
        if (next === undefined) break;
        const { cid, resetToken } = next.issued;
        writeNewConnectionId(writer, named, next.sequence, 0, cid, resetToken);
        frames.push({ type: 'newConnectionId', path, sequence: next.sequence });
      }
      while (remote.wantsFrames && writer.room >= CONTROL_FRAME_BYTES) {
        const sequence = remote.takeRetirement()!;
        writeRetireConnectionId(writer, named, sequence);
        frames.push({ type: 'retireConnectionId', path, sequence });
      }
      if (cids.blockedPending && core.multipath && writer.room >= CONTROL_FRAME_BYTES) {
        cids.blockedPending = false;
        writePathCidsBlocked(writer, path, 0);
        frames.push({ type: 'pathCidsBlocked', path });
      }
    }
  }

  // --- MTU probes -------------------------------------------------------------------------------------------------

  #writeMtuProbe(out: Transmit[], path: Path, now: Millis): boolean {
    const core = this.#core;
    if (!core.confirmed || path.abandoned !== undefined) return false;
    const size = path.mtu.pollProbe(now);
    if (size === undefined) return false;
    const packet = this.#beginShort(path, size, now);
    if (packet === undefined) return false;
    writePing(writer);
    if (core.peer?.minAckDelay !== undefined) writeImmediateAck(writer);
    this.#ackEliciting = true;
    this.#padTo = size;
    path.sentMtuProbes++;
    this.#finishShort(packet, path, path.remote, path.local, out, now, {
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

  /** One datagram of Initial and Handshake packets, with 1-RTT or 0-RTT data behind them if there is room. */
  #writeHandshake(out: Transmit[], now: Millis): boolean {
    const core = this.#core;
    const path = core.paths.get(0);
    if (path === undefined) return false;
    const { initial, handshake } = core.crypto;
    const wantsInitial = this.#wantsLevel(initial, now);
    const wantsHandshake = this.#wantsLevel(handshake, now);
    if (!wantsInitial && !wantsHandshake) return false;
    if (path.amplificationBlocks(MIN_INITIAL_DATAGRAM_BYTES)) return false;
    const { bytes, start } = core.host.allocate(MIN_INITIAL_DATAGRAM_BYTES);
    const end = start + MIN_INITIAL_DATAGRAM_BYTES;
    writer.bytes = bytes;
    writer.pos = start;
    writer.limit = end;
    let pad = false;
    let written = false;
    for (const level of [initial, handshake]) {
      if (!(level === initial ? wantsInitial : wantsHandshake)) continue;
      if (end - writer.pos < MIN_COALESCED_ROOM) break;
      const packet = this.#beginLong(level.name, level.space, level.keys!.write, path, end);
      this.#writeLevelFrames(packet, level, now);
      if (writer.pos === packet.payloadStart) {
        writer.pos = packet.headerStart;
        packet.space.next--;
        continue;
      }
      // RFC 9000 §14.1: all datagrams with an Initial of a client, and those of a server that elicit an ACK.
      if (level === initial && (core.side === 'client' || this.#ackEliciting)) pad = true;
      const isLast = level === handshake || !wantsHandshake;
      const more = isLast && this.#mayAppendData(path, end);
      this.#sealLong(packet, path, pad && isLast && !more ? end - TAG_BYTES : 0, now);
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
    this.#emitDatagram(out, path, bytes, start, writer.pos, path.remote, path.local);
    return true;
  }

  #writeLevelFrames(packet: OpenPacket, level: HandshakeLevel, now: Millis): void {
    const { space, stream } = level;
    this.#ackEliciting = false;
    if (space.received.hasAckToSend) {
      const largest = space.received.writeAck(writer, undefined, now, LOCAL_ACK_DELAY_EXPONENT);
      if (largest !== undefined) packet.frames.push({ type: 'ack', path: 0, largest });
    }
    if (stream.wantsSend) {
      const before = writer.pos;
      stream.writeFrames(writer, packet.frames);
      if (writer.pos > before) this.#ackEliciting = true;
    }
    if ((space.probesDue > 0 || space.pingPending) && !this.#ackEliciting) {
      writePing(writer);
      this.#ackEliciting = true;
    }
    space.pingPending = false;
    if (space.probesDue > 0) space.probesDue--;
  }

  #mayAppendData(path: Path, end: number): boolean {
    const core = this.#core;
    if (end - writer.pos < MIN_COALESCED_ROOM + TAG_BYTES) return false;
    if (core.crypto.oneRtt === undefined && core.crypto.zeroRtt === undefined) return false;
    if (path.inFlight + MIN_INITIAL_DATAGRAM_BYTES > path.controller.window) return false;
    return this.#wantsData() || (core.crypto.oneRtt !== undefined && this.#acksDue(Infinity));
  }

  /** Adds a 1-RTT or 0-RTT packet to a handshake datagram. */
  #appendData(path: Path, end: number, pad: boolean, now: Millis): void {
    const core = this.#core;
    const phases = core.crypto.oneRtt;
    const packet =
      phases === undefined
        ? this.#beginLong('zeroRtt', path.space, core.crypto.zeroRtt!, path, end)
        : this.#openShort(path, writer.bytes, writer.pos, end);
    if (packet === undefined) return;
    this.#ackEliciting = false;
    if (!packet.isLong) this.#writeAcks(packet, now);
    this.#writeData(packet, path, now);
    if (writer.pos === packet.payloadStart && !pad) {
      writer.pos = packet.headerStart;
      packet.space.next--;
      return;
    }
    const padTo = pad ? end - TAG_BYTES : 0;
    if (packet.isLong) this.#sealLong(packet, path, padTo, now);
    else this.#sealShort(packet, path, padTo, NO_PROBE, now);
  }

  // --- one packet -------------------------------------------------------------------------------------------------

  #beginLong(
    type: 'initial' | 'handshake' | 'zeroRtt',
    space: PacketSpace,
    keys: PacketKeys,
    path: Path,
    end: number,
  ): OpenPacket {
    const core = this.#core;
    const packetNumber = space.takeNumber(core.host.rng);
    const headerStart = writer.pos;
    writer.limit = end - TAG_BYTES;
    const length = packetNumberLength(packetNumber, space.largestAcked);
    const lengthAt = writeLongHeader(
      writer,
      type,
      core.cidsOf(path.id).remote.active!.cid,
      core.localHandshakeCid,
      core.side === 'client' ? core.token : undefined,
      packetNumber,
      length,
    );
    this.#ackEliciting = false;
    return {
      space,
      packetNumber,
      headerStart,
      pnOffset: writer.pos - length,
      payloadStart: writer.pos,
      lengthAt,
      keys,
      frames: [],
      isLong: true,
    };
  }

  /** Pads the payload to at least `padTo` (position in the buffer), seals at once and records the packet. */
  #sealLong(packet: OpenPacket, path: Path, padTo: number, now: Millis): void {
    this.#padPayload(packet, padTo);
    const payloadEnd = writer.pos;
    finishLongHeader(writer.bytes, packet.lengthAt, payloadEnd + TAG_BYTES - packet.pnOffset);
    const job = longJob[0]!;
    fillJob(job, packet, payloadEnd);
    packet.keys.writeNonce(job.nonce, 0, packet.packetNumber);
    sealPackets(packet.keys, longJob, 1);
    writer.limit = writer.bytes.length;
    writer.pos = payloadEnd + TAG_BYTES;
    this.#record(packet, path, writer.pos - packet.headerStart, padTo > 0, NO_PROBE, now);
  }

  #beginZeroRtt(path: Path): OpenPacket | undefined {
    const keys = this.#core.crypto.zeroRtt;
    if (keys === undefined) return undefined;
    const { bytes, start } = this.#core.host.allocate(MIN_INITIAL_DATAGRAM_BYTES);
    writer.bytes = bytes;
    writer.pos = start;
    this.#padTo = 0;
    return this.#beginLong('zeroRtt', path.space, keys, path, start + MIN_INITIAL_DATAGRAM_BYTES);
  }

  #finishLong(packet: OpenPacket, path: Path, out: Transmit[], now: Millis): void {
    const { bytes } = writer;
    this.#sealLong(packet, path, 0, now);
    this.#emitDatagram(out, path, bytes, packet.headerStart, writer.pos, path.remote, path.local);
  }

  /** Starts a datagram of at most `size` bytes with a 1-RTT packet. */
  #beginShort(path: Path, size: number, now: Millis): OpenPacket | undefined {
    void now;
    const { bytes, start } = this.#core.host.allocate(size);
    this.#padTo = 0;
    this.#ackEliciting = false;
    const packet = this.#openShort(path, bytes, start, start + size);
    if (packet === undefined) this.#core.host.shrink(0);
    return packet;
  }

  #openShort(path: Path, bytes: Uint8Array, start: number, end: number): OpenPacket | undefined {
    const core = this.#core;
    const phases = core.crypto.oneRtt!;
    const remote = core.cidsOf(path.id).remote.active;
    if (remote === undefined) {
      core.cidsOf(path.id).blockedPending = true;
      return undefined;
    }
    const { space } = path;
    const packetNumber = space.takeNumber(core.host.rng);
    const length = packetNumberLength(packetNumber, space.largestAcked);
    writer.bytes = bytes;
    writer.pos = start;
    writer.limit = end - TAG_BYTES;
    writeShortHeader(writer, remote.cid, packetNumber, length, phases.phase);
    return {
      space,
      packetNumber,
      headerStart: start,
      pnOffset: writer.pos - length,
      payloadStart: writer.pos,
      lengthAt: 0,
      keys: phases.write,
      frames: [],
      isLong: false,
    };
  }

  /** Nothing was written: gives number and memory back. */
  #cancel(packet: OpenPacket): void {
    packet.space.next--;
    this.#core.host.shrink(0);
  }

  #padPayload(packet: OpenPacket, padTo: number): void {
    const least = Math.max(packet.pnOffset + MIN_PROTECTED_BYTES, padTo);
    if (writer.pos < least) writer.zeros(least - writer.pos);
  }

  #finishShort(
    packet: OpenPacket,
    path: Path,
    remote: Addr,
    local: Addr | undefined,
    out: Transmit[],
    now: Millis,
    kind: PacketKind,
  ): void {
    const { bytes } = writer;
    const padTo = this.#padTo > 0 ? packet.headerStart + this.#padTo - TAG_BYTES : 0;
    // RFC 9000 §8.2.1: padded unless the amplification limit forbids; the limit check let a whole datagram through.
    this.#sealShort(packet, path, Math.min(padTo, writer.limit), kind, now);
    this.#emitDatagram(out, path, bytes, packet.headerStart, writer.pos, remote, local);
  }

  /** Queues the packet for sealing and records it. */
  #sealShort(packet: OpenPacket, path: Path, padTo: number, kind: PacketKind, now: Millis): void {
    const core = this.#core;
    this.#padPayload(packet, padTo);
    const payloadEnd = writer.pos;
    if (this.#jobKeys !== undefined && this.#jobKeys !== packet.keys) this.#seal();
    this.#jobKeys = packet.keys;
    const job = jobs[this.#jobCount++]!;
    fillJob(job, packet, payloadEnd);
    packet.keys.writeNonce(job.nonce, path.id, packet.packetNumber);
    writer.limit = writer.bytes.length;
    writer.pos = payloadEnd + TAG_BYTES;
    this.#record(packet, path, writer.pos - packet.headerStart, padTo > 0, kind, now);
    const phases = core.crypto.oneRtt!;
    if ((phases.onPacketSent() || this.#keyUpdateWanted) && core.confirmed && phases.update()) {
      this.#keyUpdateWanted = false;
      this.#onKeyUpdate(now);
    }
  }

  #keyUpdateWanted = false;

  /** Updates keys as soon as RFC 9001 §6.1 allows. */
  requestKeyUpdate(): void {
    this.#keyUpdateWanted = true;
  }

  /** This side moved to new keys: all paths flip together. */
  #onKeyUpdate(now: Millis): void {
    for (const path of this.#core.paths.list) path.space.firstInKeyPhase = path.space.next;
    this.#handshake.scheduleKeyDiscard(now);
  }

  #record(
    packet: OpenPacket,
    path: Path,
    size: number,
    padded: boolean,
    kind: PacketKind,
    now: Millis,
  ): void {
    const core = this.#core;
    const ackEliciting = this.#ackEliciting;
    const inFlight = (ackEliciting || padded) && !kind.isPathProbe;
    const sent: SentPacket = {
      packetNumber: packet.packetNumber,
      timeSent: now,
      size,
      ackEliciting,
      inFlight,
      isMtuProbe: kind.isMtuProbe,
      isPathProbe: kind.isPathProbe,
      frames: packet.frames,
    };
    packet.space.sent.insert(sent);
    path.sentPackets++;
    core.qlog?.packetSent(packet.space.name, path.id, packet.packetNumber, size, packet.frames, now);
    if (inFlight) {
      path.inFlight += size;
      path.controller.onSent(now, size, packet.packetNumber);
      path.pacer.onTransmit(size);
    }
    if (!ackEliciting || kind.isPathProbe) return;
    if (!path.sentSinceReceive) {
      path.sentSinceReceive = true;
      core.restartIdle(path, now);
    }
    core.restartKeepAlive(path, now);
  }

  #emitDatagram(
    out: Transmit[],
    path: Path,
    bytes: Uint8Array,
    start: number,
    end: number,
    remote: Addr,
    local: Addr | undefined,
  ): void {
    const size = end - start;
    this.#core.host.shrink(size);
    path.udpTxDatagrams++;
    path.udpTxBytes += size;
    if (remote === path.remote) path.bytesSent += size;
    out.push({ to: remote, local, data: bytes.subarray(start, end) });
  }

  // --- close ------------------------------------------------------------------------------------------------------

  /** CONNECTION_CLOSE in every level that the peer may be able to read (RFC 9000 §10.2.3). */
  #pollClose(out: Transmit[], now: Millis): number {
    const core = this.#core;
    const { closing } = core;
    if (closing?.pending !== true) return 0;
    const path = core.paths.dataPath(true) ?? core.paths.list[0];
    if (path === undefined || path.amplificationBlocks(1)) return 0;
    const { bytes, start } = core.host.allocate(MIN_INITIAL_DATAGRAM_BYTES);
    const end = start + MIN_INITIAL_DATAGRAM_BYTES;
    writer.bytes = bytes;
    writer.pos = start;
    writer.limit = end;
    const { initial, handshake, oneRtt } = core.crypto;
    const levels = core.confirmed ? [] : [initial, handshake].filter((level) => level.keys !== undefined);
    const hasOneRtt = oneRtt !== undefined && (core.side === 'server' || core.crypto.mayReadOneRtt);
    for (const level of levels) {
      if (end - writer.pos < MIN_COALESCED_ROOM) break;
      const packet = this.#beginLong(level.name, level.space, level.keys!.write, path, end);
      closing.write(writer, level.space.name);
      const isLast = level === levels.at(-1) && !hasOneRtt;
      const pad = isLast && levels[0] === initial && core.side === 'client';
      this.#sealLong(packet, path, pad ? end - TAG_BYTES : 0, now);
    }
    if (hasOneRtt && end - writer.pos >= MIN_COALESCED_ROOM) {
      const packet = this.#openShort(path, bytes, writer.pos, end);
      if (packet !== undefined) {
        this.#ackEliciting = false;
        closing.write(writer, 'oneRtt');
        const pad = levels[0] === initial && core.side === 'client';
        this.#sealShort(packet, path, pad ? end - TAG_BYTES : 0, NO_PROBE, now);
      }
    }
    this.#seal();
    if (writer.pos === start) {
      core.host.shrink(0);
      return 0;
    }
    closing.pending = false;
    // In the draining state one answer is all (RFC 9000 §10.2.2).
    if (core.state === 'draining') core.closing = undefined;
    this.#emitDatagram(out, path, bytes, start, writer.pos, path.remote, path.local);
    return 1;
  }

  /** Deadline of delayed acknowledgments over all paths. */
  ackDeadline(): Millis {
    let deadline = Infinity;
    for (const path of this.#core.paths.list) {
      const at = path.space.received.ackDeadline;
      if (at !== undefined && at < deadline) deadline = at;
    }
    return deadline;
  }

  /** Re-arms what depends on what was sent. */
  afterPoll(now: Millis): void {
    for (const path of this.#core.paths.list) this.#recovery.armLossTimer(path, now);
  }
}

interface PacketKind {
  readonly isMtuProbe: boolean;
  readonly isPathProbe: boolean;
}

const NO_PROBE: PacketKind = { isMtuProbe: false, isPathProbe: false };

function fillJob(job: ShortJob, packet: OpenPacket, payloadEnd: number): void {
  job.bytes = writer.bytes;
  job.headerStart = packet.headerStart;
  job.payloadStart = packet.payloadStart;
  job.payloadEnd = payloadEnd;
  job.pnOffset = packet.pnOffset;
}
