/**
 * From datagram to frames: finds packets, removes their protection, recovers packet numbers, finds the path
 * (RFC 9000 §12.2, RFC 9001 §5; draft-ietf-quic-multipath §5).
 *
 * @module
 */
import type { PacketJob } from '#crypto/aead';
import { EMPTY, equalBytes, Reader } from '../base/bytes.ts';
import type { Millis } from '../base/clock.ts';
import type { ConnectionCore } from './connection-core.ts';
import { LOCAL_CID_LENGTH } from './connection-host.ts';
import type { HandshakeLevel } from './crypto-levels.ts';
import type { Datagram } from './engine.ts';
import type { FrameDispatch } from './frame-dispatch.ts';
import type { Handshake } from './handshake.ts';
import type { OpenedPacket } from './incoming.ts';
import type { Multipath } from './multipath.ts';
import type { Path } from './paths/path.ts';
import type { PacketSpace } from './spaces.ts';
import { TransportError } from './transport-error.ts';
import { decodeFrame, isAckEliciting, isProbing, type FrameSpace } from './wire/frames.ts';
import { decodePacketNumber } from './wire/packet-number.ts';
import { decodeLongHeader, type LongHeader, type NumberedHeader, type RetryHeader } from './wire/packet.ts';
import { removeHeaderProtection, type PacketKeys } from './wire/protection.ts';
import { verifyRetryIntegrity } from './wire/retry.ts';

/**
 * Datagrams kept until their keys exist: 1-RTT packets that overtake the handshake, and 0-RTT ones that overtake the
 * Initial. Upstream drops them; ten cover an initial window.
 */
export const MAX_UNDECRYPTABLE = 10;
/** AEAD tag, bytes; same for all suites (RFC 9001 §5.3). */
const TAG_BYTES = 16;
/** Packet number field at most, and so where the header protection sample starts (RFC 9001 §5.4.2). */
const MAX_PACKET_NUMBER_BYTES = 4;
/** Reserved bits of the first byte (RFC 9000 §17.2, §17.3.1). */
const LONG_RESERVED_BITS = 0x0c;
const SHORT_RESERVED_BITS = 0x18;
const KEY_PHASE_BIT = 0x04;

/** The packet that is being opened. Shared by all connections: opening never interleaves, and an idle one keeps nothing. */
const openJob: PacketJob = {
  bytes: EMPTY,
  headerStart: 0,
  payloadStart: 0,
  payloadEnd: 0,
  nonce: new Uint8Array(12),
};

/** Reads datagrams of one connection. */
export class PacketReader {
  readonly #core: ConnectionCore;
  readonly #dispatch: FrameDispatch;
  readonly #handshake: Handshake;
  readonly #multipath: Multipath;
  #undecryptable: Datagram[] = [];
  /** A level got keys since the buffered packets were last tried. */
  #replayDue = false;
  /** The server's address is settled: an authenticated Handshake packet came from it. */
  #remoteLocked = false;
  /** The first packet of the datagram that is being read, where it was decrypted before. */
  #opened: OpenedPacket | undefined;

  constructor(core: ConnectionCore, dispatch: FrameDispatch, handshake: Handshake, multipath: Multipath) {
    this.#core = core;
    this.#dispatch = dispatch;
    this.#handshake = handshake;
    this.#multipath = multipath;
  }

  /**
   * Takes a datagram. Whatever is wrong with it is dropped, or ends the connection by `core.fail`.
   * @param first - Its first packet, an Initial, where that was decrypted before there was a connection.
   */
  handleDatagram(datagram: Datagram, now: Millis, first?: OpenedPacket): void {
    const core = this.#core;
    if (core.state === 'drained' || core.state === 'draining') return;
    this.#countBytes(datagram);
    try {
      this.#opened = first;
      this.#readPackets(datagram, now);
      this.#opened = undefined;
      if (this.#undecryptable.length > 0) this.#replay(now);
    } catch (error) {
      core.fail(error, now);
    }
  }

  /** Before the handshake ends, everything belongs to path 0; after it, a packet finds its path by its connection id. */
  #countBytes(datagram: Datagram): void {
    const path = this.#core.paths.list[0];
    if (path === undefined || this.#core.confirmed) return;
    if (datagram.from === path.remote) path.bytesReceived += datagram.data.length;
    path.udpRxDatagrams++;
    path.udpRxBytes += datagram.data.length;
  }

  #readPackets(datagram: Datagram, now: Millis): void {
    const bytes = datagram.data;
    const end = bytes.length;
    let at = 0;
    let firstDcid: Uint8Array | undefined;
    while (at < end) {
      const first = bytes[at]!;
      if ((first & 0x80) === 0) {
        this.#readShort(datagram, at, now);
        return;
      }
      const header = decodeLongHeader(bytes, at, end);
      if (header === undefined) return this.#drop();
      // RFC 9000 §12.2: coalesced packets share their destination; others are ignored.
      if (firstDcid === undefined) firstDcid = header.dcid;
      else if (!equalBytes(firstDcid, header.dcid)) return this.#drop();
      this.#readLong(datagram, header, now);
      if (this.#core.state === 'drained' || this.#core.state === 'draining') return;
      at = header.end;
    }
  }

  #drop(): void {
    this.#core.droppedPackets++;
  }

  /** Keeps a datagram for when its keys exist. */
  #keep(datagram: Datagram, at: number, end: number): void {
    if (this.#undecryptable.length >= MAX_UNDECRYPTABLE) return this.#drop();
    this.#undecryptable.push({ ...datagram, data: datagram.data.subarray(at, end) });
  }

  /** Keys may have become available: tries what was kept, in order of arrival. */
  #replay(now: Millis): void {
    if (!this.#replayDue) return;
    this.#replayDue = false;
    const kept = this.#undecryptable;
    this.#undecryptable = [];
    for (const datagram of kept) {
      if (this.#core.state === 'drained' || this.#core.state === 'draining') return;
      this.#readPackets(datagram, now);
    }
  }

  // --- long headers ---------------------------------------------------------------------------------------------

  #readLong(datagram: Datagram, header: LongHeader, now: Millis): void {
    const core = this.#core;
    switch (header.type) {
      case 'versionNegotiation':
        // RFC 9000 §6.2: only the first answer may be one, and it must not offer what we speak.
        if (core.side === 'client' && this.#handshake.mayAcceptRetry && !header.versions.includes(1)) {
          core.vanish({ type: 'versionMismatch' }, now);
        }
        return;
      case 'retry':
        this.#readRetry(datagram, header);
        return;
      case 'initial':
        this.#readHandshakeLevel(datagram, header, core.crypto.initial, now);
        return;
      case 'handshake':
        this.#readHandshakeLevel(datagram, header, core.crypto.handshake, now);
        return;
      case 'zeroRtt': {
        if (core.side === 'client') return this.#drop();
        if (core.crypto.zeroRtt === undefined) {
          // Before the ClientHello: perhaps later. After a refusal: never.
          if (core.crypto.oneRtt === undefined) this.#keep(datagram, header.start, header.end);
          else this.#drop();
          return;
        }
        const path = core.paths.get(0);
        if (path === undefined) return;
        this.#openLong(datagram, header, core.crypto.zeroRtt, path.space, path, 'zeroRtt', now);
        return;
      }
    }
  }

  #readRetry(datagram: Datagram, header: RetryHeader): void {
    const { originalDcid } = this.#handshake.cids;
    // RFC 9000 §17.2.5.2: once, before anything else, with a token, from another id than ours; RFC 9001 §5.8.
    if (
      !this.#handshake.mayAcceptRetry ||
      header.token.length === 0 ||
      equalBytes(header.scid, originalDcid) ||
      !verifyRetryIntegrity(originalDcid, datagram.data.subarray(header.start, header.end))
    ) {
      return this.#drop();
    }
    this.#handshake.onRetry(header.scid.slice(), header.token.slice());
  }

  #readHandshakeLevel(datagram: Datagram, header: NumberedHeader, level: HandshakeLevel, now: Millis): void {
    const core = this.#core;
    if (level.discarded) return this.#drop();
    if (level.keys === undefined) {
      this.#keep(datagram, header.start, header.end);
      return;
    }
    const path = core.paths.get(0);
    if (path === undefined || !this.#mayComeFrom(datagram, path)) return this.#drop();
    const { remoteScid } = this.#handshake.cids;
    // RFC 9000 §7.2: the peer's id does not change during the handshake.
    if (remoteScid !== undefined && !equalBytes(remoteScid, header.scid)) return this.#drop();
    this.#openLong(datagram, header, level.keys.read, level.space, path, level.name, now);
  }

  /** Client: until a Handshake packet proves where the server is, it may answer from any of its addresses. */
  #mayComeFrom(datagram: Datagram, path: Path): boolean {
    if (this.#core.side === 'server' || datagram.from === path.remote) return true;
    return this.#core.config.serverHandshakeMigration && !this.#remoteLocked;
  }

  #openLong(
    datagram: Datagram,
    header: NumberedHeader,
    keys: PacketKeys,
    space: PacketSpace,
    path: Path,
    frameSpace: FrameSpace,
    now: Millis,
  ): void {
    const core = this.#core;
    const opened =
      (header.start === 0 ? this.#opened : undefined) ?? openPacket(datagram.data, header, keys, space);
    if (opened === undefined) return this.#drop();
    const { payload, packetNumber } = opened;
    if (header.type === 'initial') {
      this.#handshake.onFirstInitial(header.scid.slice());
      // RFC 9000 §17.2.2: a server never sends a token.
      if (core.side === 'client' && header.token.length > 0) {
        throw new TransportError('PROTOCOL_VIOLATION', 'Initial of a server with a token');
      }
    }
    if (header.type === 'handshake') this.#onHandshakePacket(datagram, path, now);
    if (space.received.isDuplicate(packetNumber)) return this.#drop();
    const hadHandshakeKeys = core.crypto.handshake.keys !== undefined;
    const hadOneRtt = core.crypto.mayReadOneRtt;
    const hadZeroRtt = core.crypto.zeroRtt !== undefined;
    this.#processFrames(payload, space, path, frameSpace, packetNumber, datagram, now);
    if (
      hadHandshakeKeys !== (core.crypto.handshake.keys !== undefined) ||
      hadOneRtt !== core.crypto.mayReadOneRtt ||
      hadZeroRtt !== (core.crypto.zeroRtt !== undefined)
    ) {
      this.#replayDue = true;
    }
  }

  /** An authenticated Handshake packet: the address is real, Initial keys have done their work. */
  #onHandshakePacket(datagram: Datagram, path: Path, now: Millis): void {
    const core = this.#core;
    if (core.side === 'server') {
      // RFC 9000 §8.1: only who received our Initial could make it. RFC 9001 §4.9.1: drop Initial keys now.
      if (!path.validated && datagram.from === path.remote) {
        path.validated = true;
      }
      this.#handshake.discard(core.crypto.initial);
    } else if (!this.#remoteLocked) {
      this.#remoteLocked = true;
      path.validated = true;
      if (datagram.from !== path.remote) {
        path.remote = datagram.from;
        core.emit({
          type: 'pathMigrated',
          path: path.id,
          to: { remote: datagram.from, local: datagram.local },
        });
      }
      path.local ??= datagram.local;
      void now;
    }
  }

  // --- short headers --------------------------------------------------------------------------------------------

  #readShort(datagram: Datagram, at: number, now: Millis): void {
    const core = this.#core;
    const bytes = datagram.data;
    const end = bytes.length;
    const phases = core.crypto.oneRtt;
    const pnOffset = at + 1 + LOCAL_CID_LENGTH;
    if (end - pnOffset < MAX_PACKET_NUMBER_BYTES + TAG_BYTES) return this.#drop();
    if (phases === undefined || !core.crypto.mayReadOneRtt) {
      // RFC 9001 §5.7: not before the handshake is complete.
      this.#keep(datagram, at, end);
      return;
    }
    const pathId = core.host.pathOfCid(bytes, at + 1, core.self);
    if (pathId === undefined) return this.#unknownOrReset(datagram, undefined, now);
    const known = core.paths.get(pathId);
    if (known === undefined && !this.#mayOpen(pathId)) return this.#drop();
    if (known !== undefined && !this.#mayArriveOn(datagram, known)) return this.#drop();

    const space = known?.space;
    const sampleAt = pnOffset + MAX_PACKET_NUMBER_BYTES;
    const mask = phases.read.headerKey.masks(bytes.subarray(sampleAt, sampleAt + 16), 1);
    const pnLength = removeHeaderProtection(bytes, at, pnOffset, mask, 0);
    const largest = space === undefined ? -1 : space.received.largestReceived;
    const packetNumber = readPacketNumber(bytes, pnOffset, pnLength, largest);
    const job = openJob;
    job.bytes = bytes;
    job.headerStart = at;
    job.payloadStart = pnOffset + pnLength;
    job.payloadEnd = end;
    const opened = phases.open(job, (bytes[at]! & KEY_PHASE_BIT) === 0 ? 0 : 1, pathId, packetNumber);
    if (opened === undefined) return this.#unknownOrReset(datagram, known, now);
    if ((bytes[at]! & SHORT_RESERVED_BITS) !== 0) {
      throw new TransportError('PROTOCOL_VIOLATION', 'reserved bits are set');
    }
    // RFC 9001 §6.5: the time for old keys counts from the first packet of the new phase, whoever started it.
    if (opened.isFirstOfPhase && phases.holdsPrevious) this.#handshake.scheduleKeyDiscard(now);
    if (opened.isPeerUpdate) {
      phases.onPeerUpdate(packetNumber > largest);
      for (const each of core.paths.list) each.space.firstInKeyPhase = each.space.next;
      this.#handshake.scheduleKeyDiscard(now);
    }
    const path =
      known ?? this.#multipath.acceptPath(pathId, { remote: datagram.from, local: datagram.local }, now);
    if (core.confirmed) {
      if (datagram.from === path.remote) path.bytesReceived += bytes.length;
      path.udpRxDatagrams++;
      path.udpRxBytes += bytes.length;
    }
    if (path.space.received.isDuplicate(packetNumber)) return this.#drop();
    this.#processFrames(opened.payload, path.space, path, 'oneRtt', packetNumber, datagram, now);
  }

  /** Server: the client opens a path by sending on it (draft-ietf-quic-multipath §3.1). */
  #mayOpen(pathId: number): boolean {
    const core = this.#core;
    return (
      core.side === 'server' &&
      core.multipath &&
      core.isOpen &&
      pathId <= core.paths.maxPathId &&
      !core.paths.wasUsed(pathId)
    );
  }

  /** Clients do not follow a server that moves; only probes for hole punching may come from elsewhere. */
  #mayArriveOn(datagram: Datagram, path: Path): boolean {
    if (datagram.from === path.remote || this.#core.side === 'server') return true;
    if (!this.#core.confirmed) return this.#mayComeFrom(datagram, path);
    return this.#core.nat !== undefined;
  }

  /** A packet that does not authenticate may be a stateless reset (RFC 9000 §10.3.1). */
  #unknownOrReset(datagram: Datagram, path: Path | undefined, now: Millis): void {
    const core = this.#core;
    this.#drop();
    if (path !== undefined && path.abandoned !== undefined) return;
    const { data } = datagram;
    const token = data.subarray(data.length - 16);
    for (const each of core.paths.list) {
      // After an abandonment the peer may have forgotten the path's ids; that says nothing about the connection.
      if (each.abandoned !== undefined || each.remote !== datagram.from) continue;
      const active = core.cids.get(each.id)?.remote.active;
      if (active?.resetToken !== undefined && equalBytes(active.resetToken, token)) {
        core.self.handleStatelessReset(now);
        return;
      }
    }
  }

  // --- frames ---------------------------------------------------------------------------------------------------

  #processFrames(
    payload: Uint8Array,
    space: PacketSpace,
    path: Path,
    frameSpace: FrameSpace,
    packetNumber: number,
    datagram: Datagram,
    now: Millis,
  ): void {
    const core = this.#core;
    core.receivedPackets++;
    if (core.state === 'closing') return this.#readWhileClosing(payload, frameSpace, now);
    // RFC 9000 §12.4.
    if (payload.length === 0) throw new TransportError('PROTOCOL_VIOLATION', 'packet without frames');
    const reader = new Reader(payload);
    const isNewest = packetNumber > space.received.largestReceived;
    let ackEliciting = false;
    let probing = true;
    core.qlog?.packetReceived(frameSpace, path, packetNumber, payload, now);
    while (reader.pos < reader.end) {
      if (payload[reader.pos] === 0) {
        // PADDING comes in long runs.
        do reader.pos++;
        while (reader.pos < reader.end && payload[reader.pos] === 0);
        continue;
      }
      const frame = decodeFrame(reader, frameSpace);
      if (!ackEliciting && isAckEliciting(frame)) ackEliciting = true;
      if (probing && !isProbing(frame)) probing = false;
      this.#dispatch.handle(frame, space, path, datagram, now);
      if (!core.isOpen) return;
    }
    space.received.onReceived(packetNumber, ackEliciting, now);
    path.sentSinceReceive = false;
    path.receivedAt = now;
    core.restartIdle(path, now);
    // Our acknowledgments travel on the data path: elsewhere only what we send keeps the path alive at the peer.
    core.restartKeepAlive(path === core.paths.dataPath(true) ? path : undefined, now);
    if (frameSpace !== 'oneRtt' || path.abandoned !== undefined) return;
    if (datagram.from !== path.remote) {
      if (!probing && isNewest) this.#onNewRemote(path, datagram);
    } else if (path.local === undefined) {
      path.local = datagram.local;
    } else if (datagram.local !== path.local && !probing && isNewest) {
      // The peer now sends to another of our addresses; answer from there.
      path.local = datagram.local;
    }
  }

  /** RFC 9000 §9.3: a newest, non-probing packet from another address moves the path. */
  #onNewRemote(path: Path, datagram: Datagram): void {
    const core = this.#core;
    if (core.side === 'client' || !core.confirmed || !core.config.migration) return;
    this.#multipath.migrate(path, { remote: datagram.from, local: datagram.local });
    path.bytesReceived += datagram.data.length;
  }

  /** RFC 9000 §10.2.1: while closing only the peer's own close matters; anything else gets ours again. */
  #readWhileClosing(payload: Uint8Array, frameSpace: FrameSpace, now: Millis): void {
    const core = this.#core;
    const reader = new Reader(payload);
    try {
      while (reader.pos < reader.end) {
        const frame = decodeFrame(reader, frameSpace);
        if (frame.type !== 'connectionClose' && frame.type !== 'applicationClose') continue;
        core.closedByPeer({ type: 'locallyClosed' }, now);
        return;
      }
    } catch (error) {
      if (!(error instanceof TransportError)) throw error;
    }
    core.closing?.onPacketReceived();
    core.wake();
  }
}

function readPacketNumber(bytes: Uint8Array, at: number, length: number, largest: number): number {
  let truncated = 0;
  for (let i = 0; i < length; i++) truncated = truncated * 256 + bytes[at + i]!;
  return decodePacketNumber(truncated, length, largest);
}

/**
 * Decrypts a packet with a long header in place.
 * @returns undefined when it does not authenticate.
 * @throws {TransportError} PROTOCOL_VIOLATION on reserved bits (RFC 9000 §17.2).
 */
function openPacket(
  bytes: Uint8Array,
  { start, end, pnOffset }: NumberedHeader,
  keys: PacketKeys,
  space: PacketSpace,
): OpenedPacket | undefined {
  if (end - pnOffset < MAX_PACKET_NUMBER_BYTES + TAG_BYTES) return undefined;
  const sampleAt = pnOffset + MAX_PACKET_NUMBER_BYTES;
  const mask = keys.headerKey.masks(bytes.subarray(sampleAt, sampleAt + 16), 1);
  const pnLength = removeHeaderProtection(bytes, start, pnOffset, mask, 0);
  const packetNumber = readPacketNumber(bytes, pnOffset, pnLength, space.received.largestReceived);
  const job = openJob;
  job.bytes = bytes;
  job.headerStart = start;
  job.payloadStart = pnOffset + pnLength;
  job.payloadEnd = end;
  keys.writeNonce(job.nonce, 0, packetNumber);
  const payload = keys.aead.open(job);
  if (payload === undefined) return undefined;
  if ((bytes[start]! & LONG_RESERVED_BITS) !== 0) {
    throw new TransportError('PROTOCOL_VIOLATION', 'reserved bits are set');
  }
  return { payload, packetNumber };
}
