/**
 * Writing of frames. One function per frame, named after the RFC; callers check the room first.
 *
 * ACK and PATH_ACK are written where their state is (`recovery/received-packets.ts`), STREAM where its data is
 * (`streams/`).
 *
 * @module
 */
import type { Writer } from '../../base/bytes.ts';
import type { Addr } from '../../base/socket-addr.ts';
import type { Direction, PathId, PathStatus, StreamId } from '../engine.ts';

/** Upper bounds of encoded sizes, for checking the room before writing: the type, then 8 bytes per varint. */
export const MAX_RESET_STREAM_BYTES = 25;
export const MAX_STOP_SENDING_BYTES = 17;
/** Of the frame without its data. */
export const MAX_CRYPTO_HEADER_BYTES = 17;
/** Of the frame without its token. */
export const MAX_NEW_TOKEN_HEADER_BYTES = 9;
export const MAX_MAX_DATA_BYTES = 9;
export const MAX_MAX_STREAM_DATA_BYTES = 17;
export const MAX_MAX_STREAMS_BYTES = 9;
export const MAX_BLOCKED_BYTES = 17;
/** With and without a path id, for a connection id of 20 bytes. */
export const MAX_NEW_CONNECTION_ID_BYTES = 63;
export const MAX_RETIRE_CONNECTION_ID_BYTES = 18;
/** PATH_CHALLENGE and PATH_RESPONSE. */
export const PATH_CHALLENGE_BYTES = 9;
/** Of both kinds, without the reason. */
export const MAX_CLOSE_HEADER_BYTES = 25;
/** PATH_ABANDON, PATH_STATUS_*, MAX_PATH_ID, PATHS_BLOCKED and PATH_CIDS_BLOCKED. */
export const MAX_PATH_FRAME_BYTES = 18;
/** OBSERVED_ADDRESS, ADD_ADDRESS, REACH_OUT and REMOVE_ADDRESS. */
export const MAX_ADDRESS_FRAME_BYTES = 30;

/** RFC 9000 §19.2. */
export function writePing(w: Writer): void {
  w.u8(0x01);
}

/** RFC 9000 §19.4. */
export function writeResetStream(w: Writer, id: StreamId, code: bigint, finalSize: number): void {
  w.u8(0x04);
  w.varint(id);
  w.varintBig(code);
  w.varint(finalSize);
}

/** RFC 9000 §19.5. */
export function writeStopSending(w: Writer, id: StreamId, code: bigint): void {
  w.u8(0x05);
  w.varint(id);
  w.varintBig(code);
}

/** RFC 9000 §19.6. */
export function writeCrypto(w: Writer, offset: number, data: Uint8Array): void {
  w.u8(0x06);
  w.varint(offset);
  w.varint(data.length);
  w.put(data);
}

/** RFC 9000 §19.7. */
export function writeNewToken(w: Writer, token: Uint8Array): void {
  w.u8(0x07);
  w.varint(token.length);
  w.put(token);
}

/** RFC 9000 §19.9. */
export function writeMaxData(w: Writer, limit: number): void {
  w.u8(0x10);
  w.varint(limit);
}

/** RFC 9000 §19.10. */
export function writeMaxStreamData(w: Writer, id: StreamId, limit: number): void {
  w.u8(0x11);
  w.varint(id);
  w.varint(limit);
}

/** RFC 9000 §19.11. */
export function writeMaxStreams(w: Writer, dir: Direction, limit: number): void {
  w.u8(dir === 'bi' ? 0x12 : 0x13);
  w.varint(limit);
}

/** RFC 9000 §19.12. */
export function writeDataBlocked(w: Writer, limit: number): void {
  w.u8(0x14);
  w.varint(limit);
}

/** RFC 9000 §19.13. */
export function writeStreamDataBlocked(w: Writer, id: StreamId, limit: number): void {
  w.u8(0x15);
  w.varint(id);
  w.varint(limit);
}

/** RFC 9000 §19.14. */
export function writeStreamsBlocked(w: Writer, dir: Direction, limit: number): void {
  w.u8(dir === 'bi' ? 0x16 : 0x17);
  w.varint(limit);
}

/** NEW_CONNECTION_ID (RFC 9000 §19.15), or with a path id PATH_NEW_CONNECTION_ID (multipath draft §4.4). */
export function writeNewConnectionId(
  w: Writer,
  path: PathId | undefined,
  sequence: number,
  retirePriorTo: number,
  cid: Uint8Array,
  resetToken: Uint8Array,
): void {
  if (path === undefined) {
    w.u8(0x18);
  } else {
    w.u16(0x7e78);
    w.varint(path);
  }
  w.varint(sequence);
  w.varint(retirePriorTo);
  w.u8(cid.length);
  w.put(cid);
  w.put(resetToken);
}

/** RETIRE_CONNECTION_ID (RFC 9000 §19.16), or with a path id PATH_RETIRE_CONNECTION_ID (multipath draft §4.5). */
export function writeRetireConnectionId(w: Writer, path: PathId | undefined, sequence: number): void {
  if (path === undefined) {
    w.u8(0x19);
  } else {
    w.u16(0x7e79);
    w.varint(path);
  }
  w.varint(sequence);
}

/** RFC 9000 §19.17; `data` is 8 bytes. */
export function writePathChallenge(w: Writer, data: Uint8Array): void {
  w.u8(0x1a);
  w.put(data);
}

/** RFC 9000 §19.18; `data` is 8 bytes. */
export function writePathResponse(w: Writer, data: Uint8Array): void {
  w.u8(0x1b);
  w.put(data);
}

/** RFC 9000 §19.19, type 0x1c. */
export function writeConnectionClose(w: Writer, code: number, frameType: number, reason: Uint8Array): void {
  w.u8(0x1c);
  w.varint(code);
  w.varint(frameType);
  w.varint(reason.length);
  w.put(reason);
}

/** RFC 9000 §19.19, type 0x1d. */
export function writeApplicationClose(w: Writer, code: bigint, reason: Uint8Array): void {
  w.u8(0x1d);
  w.varintBig(code);
  w.varint(reason.length);
  w.put(reason);
}

/** RFC 9000 §19.20. */
export function writeHandshakeDone(w: Writer): void {
  w.u8(0x1e);
}

/** draft-ietf-quic-ack-frequency §5. */
export function writeImmediateAck(w: Writer): void {
  w.u8(0x1f);
}

/** draft-ietf-quic-multipath-21 §4.2. */
export function writePathAbandon(w: Writer, path: PathId, code: number): void {
  w.u16(0x7e75);
  w.varint(path);
  w.varint(code);
}

/** draft-ietf-quic-multipath-21 §4.3. */
export function writePathStatus(w: Writer, path: PathId, sequence: number, status: PathStatus): void {
  w.u16(status === 'backup' ? 0x7e76 : 0x7e77);
  w.varint(path);
  w.varint(sequence);
}

/** draft-ietf-quic-multipath-21 §4.6. */
export function writeMaxPathId(w: Writer, max: number): void {
  w.u16(0x7e7a);
  w.varint(max);
}

/** draft-ietf-quic-multipath-21 §4.7. */
export function writePathsBlocked(w: Writer, max: number): void {
  w.u16(0x7e7b);
  w.varint(max);
}

/** draft-ietf-quic-multipath-21 §4.8. */
export function writePathCidsBlocked(w: Writer, path: PathId, nextSequence: number): void {
  w.u16(0x7e7c);
  w.varint(path);
  w.varint(nextSequence);
}

/** draft-seemann-quic-address-discovery. */
export function writeObservedAddress(w: Writer, sequence: number, addr: Addr): void {
  w.u32(addr.family === 4 ? 0x809f_81a6 : 0x809f_81a7);
  w.varint(sequence);
  writeAddr(w, addr);
}

/** noq `noq-proto/src/frame.rs`. */
export function writeAddAddress(w: Writer, sequence: number, addr: Addr): void {
  w.u32(addr.family === 4 ? 0x803d_7f90 : 0x803d_7f91);
  w.varint(sequence);
  writeAddr(w, addr);
}

/** noq `noq-proto/src/frame.rs`. */
export function writeReachOut(w: Writer, round: number, addr: Addr): void {
  w.u32(addr.family === 4 ? 0x803d_7f92 : 0x803d_7f93);
  w.varint(round);
  writeAddr(w, addr);
}

/** noq `noq-proto/src/frame.rs`. */
export function writeRemoveAddress(w: Writer, sequence: number): void {
  w.u32(0x803d_7f94);
  w.varint(sequence);
}

function writeAddr(w: Writer, addr: Addr): void {
  w.put(addr.bytes);
  w.u16(addr.port);
}
