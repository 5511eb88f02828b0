/**
 * One packet at a time: header, payload limits, padding, protection, and the record of what was sent
 * (RFC 9000 §12, §17; RFC 9001 §5).
 *
 * 1-RTT packets are built in plaintext and sealed together at the end of a burst, with one call for all header masks.
 *
 * @module
 */
import type { PacketJob } from '#crypto/aead';
import { Writer } from '../base/bytes.ts';
import type { Millis } from '../base/clock.ts';
import type { Addr } from '../base/socket-addr.ts';
import type { ConnectionCore } from './connection-core.ts';
import type { Transmit } from './engine.ts';
import type { Path } from './paths/path.ts';
import { giveSentPackets, takeSentPacket } from './recovery/sent-packet-pool.ts';
import type { SentPacket } from './recovery/sent-packets.ts';
import type { SentFrame } from './sent-frame.ts';
import type { PacketSpace } from './spaces.ts';
import { packetNumberLength } from './wire/packet-number.ts';
import { finishLongHeader, writeLongHeader, writeShortHeader } from './wire/packet.ts';
import { sealPackets, type PacketKeys } from './wire/protection.ts';

/** Smallest allowed size of a datagram with an Initial or a path challenge (RFC 9000 §14.1, §8.2.1). */
export const MIN_INITIAL_DATAGRAM_BYTES = 1_200;
/** AEAD tag, the same for all suites. */
export const TAG_BYTES = 16;
/** Packet number and payload must give the header protection sample its 16 bytes (RFC 9001 §5.4.2). */
const MIN_PROTECTED_BYTES = 4;
/** Packets that are sealed with one call. */
export const SEAL_BATCH = 32;

/** A packet that waits for its seal. */
interface SealJob extends PacketJob {
  pnOffset: number;
}

function newJob(): SealJob {
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
const jobs: SealJob[] = Array.from({ length: SEAL_BATCH }, newJob);
const longJob: SealJob[] = [newJob()];
/** Writes the packet that is being built; shared for the same reason. */
export const writer = new Writer(new Uint8Array(0));

/** A packet being built. One at a time. */
export interface OpenPacket {
  readonly space: PacketSpace;
  readonly packetNumber: number;
  /** Positions in the writer's buffer. */
  readonly headerStart: number;
  readonly pnOffset: number;
  readonly payloadStart: number;
  /** Where a long header's Length goes. */
  readonly lengthAt: number;
  readonly keys: PacketKeys;
  /** The record that loss recovery gets; its frames are those written so far. */
  readonly record: SentPacket;
  readonly frames: SentFrame[];
  readonly isLong: boolean;
}

/** What makes a packet special for loss recovery. */
export interface PacketKind {
  readonly isMtuProbe: boolean;
  readonly isPathProbe: boolean;
}

export const NO_PROBE: PacketKind = { isMtuProbe: false, isPathProbe: false };

/** Builds, protects and records the packets of one connection. */
export class PacketBuilder {
  readonly #core: ConnectionCore;
  #jobCount = 0;
  #jobKeys: PacketKeys | undefined;
  #keyUpdateWanted = false;
  /** Size to which the datagram that is being built is padded; 0 for none. */
  padTo = 0;
  /** A frame of the open packet asks for an acknowledgment. */
  ackEliciting = false;

  constructor(core: ConnectionCore) {
    this.#core = core;
  }

  /** True when no more 1-RTT packets fit into the batch. */
  get isFull(): boolean {
    return this.#jobCount === SEAL_BATCH;
  }

  /** Seals what was built. */
  flush(): void {
    if (this.#jobCount === 0) return;
    sealPackets(this.#jobKeys!, jobs, this.#jobCount);
    this.#jobCount = 0;
    this.#jobKeys = undefined;
  }

  beginLong(
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
    this.ackEliciting = false;
    const record = takeSentPacket();
    return {
      space,
      packetNumber,
      headerStart,
      pnOffset: writer.pos - length,
      payloadStart: writer.pos,
      lengthAt,
      keys,
      record,
      frames: record.frames,
      isLong: true,
    };
  }

  /** Pads the payload to at least `padTo` (position in the buffer), seals at once and records the packet. */
  sealLong(packet: OpenPacket, path: Path, padTo: number, now: Millis): void {
    this.#padPayload(packet, padTo);
    const payloadEnd = writer.pos;
    if (this.#core.qlog !== undefined) this.#log(packet, path, NO_PROBE, now);
    finishLongHeader(writer.bytes, packet.lengthAt, payloadEnd + TAG_BYTES - packet.pnOffset);
    const job = longJob[0]!;
    fillJob(job, packet, payloadEnd);
    packet.keys.writeNonce(job.nonce, 0, packet.packetNumber);
    sealPackets(packet.keys, longJob, 1);
    writer.limit = writer.bytes.length;
    writer.pos = payloadEnd + TAG_BYTES;
    this.#record(packet, path, writer.pos - packet.headerStart, padTo > 0, NO_PROBE, now);
  }

  beginZeroRtt(path: Path): OpenPacket | undefined {
    const keys = this.#core.crypto.zeroRtt;
    if (keys === undefined) return undefined;
    const { bytes, start } = this.#core.host.allocate(MIN_INITIAL_DATAGRAM_BYTES);
    writer.bytes = bytes;
    writer.pos = start;
    this.padTo = 0;
    return this.beginLong('zeroRtt', path.space, keys, path, start + MIN_INITIAL_DATAGRAM_BYTES);
  }

  finishLong(packet: OpenPacket, path: Path, out: Transmit[], now: Millis): void {
    const { bytes } = writer;
    this.sealLong(packet, path, 0, now);
    this.emitDatagram(out, path, bytes, packet.headerStart, writer.pos, path.remote, path.local);
  }

  /** Starts a datagram of at most `size` bytes with a 1-RTT packet. */
  beginShort(path: Path, size: number, now: Millis): OpenPacket | undefined {
    void now;
    const { bytes, start } = this.#core.host.allocate(size);
    this.padTo = 0;
    this.ackEliciting = false;
    const packet = this.openShort(path, bytes, start, start + size);
    if (packet === undefined) this.#core.host.shrink(0);
    return packet;
  }

  openShort(path: Path, bytes: Uint8Array, start: number, end: number): OpenPacket | undefined {
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
    const record = takeSentPacket();
    return {
      space,
      packetNumber,
      headerStart: start,
      pnOffset: writer.pos - length,
      payloadStart: writer.pos,
      lengthAt: 0,
      keys: phases.write,
      record,
      frames: record.frames,
      isLong: false,
    };
  }

  /** Nothing was written: gives number and memory back. */
  cancel(packet: OpenPacket): void {
    packet.space.next--;
    giveSentPackets([packet.record]);
    this.#core.host.shrink(0);
  }

  #padPayload(packet: OpenPacket, padTo: number): void {
    const least = Math.max(packet.pnOffset + MIN_PROTECTED_BYTES, padTo);
    if (writer.pos < least) writer.zeros(least - writer.pos);
  }

  /** While the payload is still plaintext, up to the writer's position. */
  #log(packet: OpenPacket, path: Path, kind: PacketKind, now: Millis): void {
    const space = packet.isLong && packet.space.name === 'oneRtt' ? 'zeroRtt' : packet.space.name;
    const payload = writer.bytes.subarray(packet.payloadStart, writer.pos);
    const size = writer.pos + TAG_BYTES - packet.headerStart;
    this.#core.qlog?.packetSent(space, path, packet.packetNumber, payload, size, kind.isMtuProbe, now);
  }

  finishShort(
    packet: OpenPacket,
    path: Path,
    remote: Addr,
    local: Addr | undefined,
    out: Transmit[],
    now: Millis,
    kind: PacketKind,
  ): void {
    const { bytes } = writer;
    const padTo = this.padTo > 0 ? packet.headerStart + this.padTo - TAG_BYTES : 0;
    // RFC 9000 §8.2.1: padded as far as the amplification limit allows, to which the writer's limit was cut.
    this.sealShort(packet, path, Math.min(padTo, writer.limit), kind, now);
    this.emitDatagram(out, path, bytes, packet.headerStart, writer.pos, remote, local);
  }

  /** Queues the packet for sealing and records it. */
  sealShort(packet: OpenPacket, path: Path, padTo: number, kind: PacketKind, now: Millis): void {
    const core = this.#core;
    this.#padPayload(packet, padTo);
    const payloadEnd = writer.pos;
    if (core.qlog !== undefined) this.#log(packet, path, kind, now);
    if (this.#jobKeys !== undefined && this.#jobKeys !== packet.keys) this.flush();
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
      this.#onKeyUpdate();
    }
  }

  /** Updates keys as soon as RFC 9001 §6.1 allows. */
  requestKeyUpdate(): void {
    this.#keyUpdateWanted = true;
  }

  /** This side moved to new keys: all paths flip together. */
  #onKeyUpdate(): void {
    for (const path of this.#core.paths.list) path.space.firstInKeyPhase = path.space.next;
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
    // Nothing on this path waits for what left elsewhere: no PTO, no congestion control.
    const ackEliciting = this.ackEliciting && !kind.isPathProbe;
    const inFlight = ackEliciting || (padded && !kind.isPathProbe);
    const sent = packet.record;
    sent.packetNumber = packet.packetNumber;
    sent.timeSent = now;
    sent.size = size;
    sent.ackEliciting = ackEliciting;
    sent.inFlight = inFlight;
    sent.isMtuProbe = kind.isMtuProbe;
    sent.isPathProbe = kind.isPathProbe;
    packet.space.sent.insert(sent);
    path.sentPackets++;
    if (inFlight) {
      path.inFlight += size;
      path.controller.onSent(now, size, packet.packetNumber);
      path.pacer.onTransmit(size);
    }
    if (!ackEliciting) return;
    if (!path.sentSinceReceive) {
      path.sentSinceReceive = true;
      core.restartIdle(path, now);
    }
    core.restartKeepAlive(path, now);
  }

  emitDatagram(
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
}

function fillJob(job: SealJob, packet: OpenPacket, payloadEnd: number): void {
  job.bytes = writer.bytes;
  job.headerStart = packet.headerStart;
  job.payloadStart = packet.payloadStart;
  job.payloadEnd = payloadEnd;
  job.pnOffset = packet.pnOffset;
}
