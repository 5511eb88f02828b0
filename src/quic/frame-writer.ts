/**
 * Which frames a 1-RTT packet gets: path frames, acknowledgments, control frames, data; in upstream's order
 * (noq `noq-proto/src/connection/mod.rs`).
 *
 * @module
 */
import type { Millis } from '../base/clock.ts';
import { LOCAL_ACK_DELAY_EXPONENT, type ConnectionCore } from './connection-core.ts';
import { MIN_INITIAL_DATAGRAM_BYTES, writer, type OpenPacket, type PacketBuilder } from './packet-builder.ts';
import type { Path } from './paths/path.ts';
import type { SentFrame } from './sent-frame.ts';
import {
  writeHandshakeDone,
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

/** Room that a small control frame needs at most (a NEW_CONNECTION_ID with a path id: 4+4+8+8+1+8+16). */
const CONTROL_FRAME_BYTES = 50;

/** Writes frames of one connection into the open packet. */
export class FrameWriter {
  readonly #core: ConnectionCore;
  readonly #builder: PacketBuilder;

  constructor(core: ConnectionCore, builder: PacketBuilder) {
    this.#core = core;
    this.#builder = builder;
  }

  /** Acknowledgments whose time has come, on any path: all travel on the data path. */
  acksDue(now: Millis): boolean {
    const { list } = this.#core.paths;
    if (this.#core.crypto.oneRtt === undefined) return false;
    for (let i = 0; i < list.length; i++) if (list[i]!.space.received.ackDue(now)) return true;
    return false;
  }

  wantsData(): boolean {
    const core = this.#core;
    return core.streams.wantsData || this.wantsControl() || core.datagrams.wantsSend;
  }

  wantsControl(): boolean {
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
      if (path.abandoned?.framePending === true || this.#isStatusDue(path)) return true;
      if (core.addressDiscovery.isPending(path.id) && path.abandoned === undefined) return true;
    }
    return false;
  }

  /** Not before the peer has answered on the path: it ignores what is said about a path that it does not know. */
  #isStatusDue(path: Path): boolean {
    return path.statusPending && path.validated && path.abandoned === undefined;
  }

  #cidFramesPending(): boolean {
    const { list } = this.#core.cids;
    for (let i = 0; i < list.length; i++) {
      const { local, remote, blockedPending } = list[i]!;
      if (local.wantsFrames || remote.wantsFrames || blockedPending) return true;
    }
    return false;
  }

  /** Frames about the path itself, and acknowledgments. */
  writePathFrames(
    packet: OpenPacket,
    path: Path,
    carriesAcks: boolean,
    mayElicit: boolean,
    now: Millis,
  ): void {
    const core = this.#core;
    const { space } = path;
    if (packet.isLong) return;
    if (space.pingPending && mayElicit) {
      writePing(writer);
      space.pingPending = false;
      this.#builder.ackEliciting = true;
    }
    const { validation } = path;
    if (validation?.pending === true) {
      const base = path.basePto(0);
      const giveUp = this.#validationTimeout(path);
      writePathChallenge(writer, validation.onSend(core.host.rng, now, base, giveUp));
      this.#builder.ackEliciting = true;
      this.#builder.padTo = MIN_INITIAL_DATAGRAM_BYTES;
      core.addressDiscovery.queueReport(path.id);
    }
    if (path.responses.length > 0) {
      writePathResponse(writer, path.responses.shift()!.token);
      this.#builder.ackEliciting = true;
      this.#builder.padTo = MIN_INITIAL_DATAGRAM_BYTES;
      core.addressDiscovery.queueReport(path.id);
    }
    if (core.addressDiscovery.isPending(path.id) && mayElicit && writer.room >= CONTROL_FRAME_BYTES) {
      writeObservedAddress(writer, core.addressDiscovery.onSend(path.id), path.remote);
      packet.frames.push({ type: 'observedAddress', path: path.id });
      this.#builder.ackEliciting = true;
    }
    // Last of these, because they fill what room there is.
    if (carriesAcks) this.writeAcks(packet, now);
  }

  /** RFC 9000 §8.2.4: three PTOs of a path without samples; with multipath the path's idle time, as noq 1.1 does. */
  #validationTimeout(path: Path): Millis {
    const threePto = 3 * Math.max(path.basePto(0), 3 * this.#core.config.initialRttMs);
    return this.#core.multipath && path.id !== 0 ? Math.max(path.maxIdleMs ?? threePto, threePto) : threePto;
  }

  writeAcks(packet: OpenPacket, now: Millis): void {
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

  /**
   * Everything that is not about one path, in upstream's order.
   * @param isFullSize - The packet has all the room that the path gives: a DATAGRAM that does not fit never will.
   */
  writeData(packet: OpenPacket, path: Path, isFullSize: boolean, now: Millis): void {
    const core = this.#core;
    const { frames } = packet;
    const before = writer.pos;
    if (!packet.isLong && this.wantsControl()) this.#writeControl(packet, now);
    if (core.streams.wantsControl) core.streams.writeControl(writer, frames, now, path.rtt.smoothed);
    if (core.datagrams.wantsSend) {
      core.datagrams.write(writer, frames, isFullSize && writer.pos === packet.payloadStart);
    }
    if (core.streams.wantsData) core.streams.writeData(writer, frames);
    if (writer.pos > before) this.#builder.ackEliciting = true;
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
    this.writeAbandons(packet);
    if (core.crypto.application.wantsSend) core.crypto.application.writeFrames(writer, frames);
    for (const path of core.paths.list) {
      if (!this.#isStatusDue(path) || writer.room < CONTROL_FRAME_BYTES) continue;
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

  writeAbandons(packet: OpenPacket): void {
    for (const path of this.#core.paths.list) {
      const { abandoned } = path;
      if (abandoned?.framePending !== true || writer.room < CONTROL_FRAME_BYTES) continue;
      abandoned.framePending = false;
      writePathAbandon(writer, path.id, abandoned.code);
      packet.frames.push({ type: 'pathAbandon', path: path.id });
      this.#builder.ackEliciting = true;
    }
  }

  #writeCidFrames(frames: SentFrame[]): void {
    const core = this.#core;
    for (const cids of core.cids.list) {
      const { path, local, remote } = cids;
      // draft-ietf-quic-multipath §4.4: once multipath is on, path 0 may use either form; upstream uses the new one.
      const named = core.multipath ? path : undefined;
      while (local.wantsFrames && writer.room >= CONTROL_FRAME_BYTES) {
        const next = local.takePending();
        if (next === undefined) break;
        const { host } = core;
        writeNewConnectionId(
          writer,
          named,
          next.sequence,
          0,
          host.cidBytes(next.cid),
          host.resetTokenOf(next.cid),
        );
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
}
