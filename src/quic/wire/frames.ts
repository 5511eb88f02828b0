/**
 * QUIC frames: types and decoding. One table says where a frame may appear and how it is read; the loop checks "known?",
 * "allowed here?" and "well formed?" once for all (RFC 9000 §12.4 and §19, RFC 9221, draft-ietf-quic-ack-frequency,
 * draft-ietf-quic-multipath-21 §4, draft-seemann-quic-address-discovery, noq `noq-proto/src/frame.rs`).
 *
 * Byte fields are views into the packet. Writing is in `write-frames.ts`.
 *
 * @module
 */
import { DecodeError, type Reader } from '../../base/bytes.ts';
import { toAddr, type Addr } from '../../base/socket-addr.ts';
import type { Direction, PathId, PathStatus, StreamId } from '../engine.ts';
import { TransportError } from '../transport-error.ts';

export * from './write-frames.ts';

/** Packet types that carry frames, as RFC 9000 table 3 distinguishes them. */
export type FrameSpace = 'initial' | 'handshake' | 'zeroRtt' | 'oneRtt';

/** Frame types by number. */
export const FRAME = {
  PADDING: 0x00,
  PING: 0x01,
  ACK: 0x02,
  ACK_ECN: 0x03,
  RESET_STREAM: 0x04,
  STOP_SENDING: 0x05,
  CRYPTO: 0x06,
  NEW_TOKEN: 0x07,
  STREAM: 0x08,
  MAX_DATA: 0x10,
  MAX_STREAM_DATA: 0x11,
  MAX_STREAMS_BIDI: 0x12,
  MAX_STREAMS_UNI: 0x13,
  DATA_BLOCKED: 0x14,
  STREAM_DATA_BLOCKED: 0x15,
  STREAMS_BLOCKED_BIDI: 0x16,
  STREAMS_BLOCKED_UNI: 0x17,
  NEW_CONNECTION_ID: 0x18,
  RETIRE_CONNECTION_ID: 0x19,
  PATH_CHALLENGE: 0x1a,
  PATH_RESPONSE: 0x1b,
  CONNECTION_CLOSE: 0x1c,
  APPLICATION_CLOSE: 0x1d,
  HANDSHAKE_DONE: 0x1e,
  IMMEDIATE_ACK: 0x1f,
  DATAGRAM: 0x30,
  DATAGRAM_LEN: 0x31,
  PATH_ACK: 0x3e,
  PATH_ACK_ECN: 0x3f,
  ACK_FREQUENCY: 0xaf,
  PATH_ABANDON: 0x3e75,
  PATH_STATUS_BACKUP: 0x3e76,
  PATH_STATUS_AVAILABLE: 0x3e77,
  PATH_NEW_CONNECTION_ID: 0x3e78,
  PATH_RETIRE_CONNECTION_ID: 0x3e79,
  MAX_PATH_ID: 0x3e7a,
  PATHS_BLOCKED: 0x3e7b,
  PATH_CIDS_BLOCKED: 0x3e7c,
  OBSERVED_ADDRESS_V4: 0x9f81a6,
  OBSERVED_ADDRESS_V6: 0x9f81a7,
  ADD_ADDRESS_V4: 0x3d7f90,
  ADD_ADDRESS_V6: 0x3d7f91,
  REACH_OUT_V4: 0x3d7f92,
  REACH_OUT_V6: 0x3d7f93,
  REMOVE_ADDRESS: 0x3d7f94,
} as const;

/** What the type of a STREAM frame also says (RFC 9000 §19.8). */
export const STREAM_FLAG = { OFF: 0x04, LEN: 0x02, FIN: 0x01 } as const;

/** Received frames. `ranges` are `[largest, smallest, largest, smallest, …]`, newest first. */
export type Frame =
  | { readonly type: 'padding' }
  | { readonly type: 'ping' }
  | { readonly type: 'ack'; readonly delay: number; readonly ranges: readonly number[] }
  | {
      readonly type: 'pathAck';
      readonly pathId: PathId;
      readonly delay: number;
      readonly ranges: readonly number[];
    }
  | { readonly type: 'resetStream'; readonly id: StreamId; readonly code: bigint; readonly finalSize: number }
  | { readonly type: 'stopSending'; readonly id: StreamId; readonly code: bigint }
  | { readonly type: 'crypto'; readonly offset: number; readonly data: Uint8Array }
  | { readonly type: 'newToken'; readonly token: Uint8Array }
  | {
      readonly type: 'stream';
      readonly id: StreamId;
      readonly offset: number;
      readonly data: Uint8Array;
      readonly fin: boolean;
    }
  | { readonly type: 'maxData'; readonly limit: number }
  | { readonly type: 'maxStreamData'; readonly id: StreamId; readonly limit: number }
  | { readonly type: 'maxStreams'; readonly dir: Direction; readonly limit: number }
  | { readonly type: 'dataBlocked'; readonly limit: number }
  | { readonly type: 'streamDataBlocked'; readonly id: StreamId; readonly limit: number }
  | { readonly type: 'streamsBlocked'; readonly dir: Direction; readonly limit: number }
  | {
      readonly type: 'newConnectionId';
      readonly sequence: number;
      readonly retirePriorTo: number;
      readonly cid: Uint8Array;
      readonly resetToken: Uint8Array;
    }
  | {
      readonly type: 'pathNewConnectionId';
      readonly pathId: PathId;
      readonly sequence: number;
      readonly retirePriorTo: number;
      readonly cid: Uint8Array;
      readonly resetToken: Uint8Array;
    }
  | { readonly type: 'retireConnectionId'; readonly sequence: number }
  | { readonly type: 'pathRetireConnectionId'; readonly pathId: PathId; readonly sequence: number }
  | { readonly type: 'pathChallenge'; readonly data: Uint8Array }
  | { readonly type: 'pathResponse'; readonly data: Uint8Array }
  | {
      readonly type: 'connectionClose';
      readonly code: bigint;
      readonly frameType: number;
      readonly reason: Uint8Array;
    }
  | { readonly type: 'applicationClose'; readonly code: bigint; readonly reason: Uint8Array }
  | { readonly type: 'handshakeDone' }
  | { readonly type: 'immediateAck' }
  | {
      readonly type: 'ackFrequency';
      readonly sequence: number;
      readonly ackElicitingThreshold: number;
      /** µs. */
      readonly maxAckDelay: number;
      readonly reorderingThreshold: number;
    }
  | { readonly type: 'datagram'; readonly data: Uint8Array }
  | { readonly type: 'pathAbandon'; readonly pathId: PathId; readonly code: number }
  | {
      readonly type: 'pathStatus';
      readonly pathId: PathId;
      readonly sequence: number;
      readonly status: PathStatus;
    }
  | { readonly type: 'maxPathId'; readonly max: number }
  | { readonly type: 'pathsBlocked'; readonly max: number }
  | { readonly type: 'pathCidsBlocked'; readonly pathId: PathId; readonly nextSequence: number }
  | { readonly type: 'observedAddress'; readonly sequence: number; readonly addr: Addr }
  | { readonly type: 'addAddress'; readonly sequence: number; readonly addr: Addr }
  | { readonly type: 'reachOut'; readonly round: number; readonly addr: Addr }
  | { readonly type: 'removeAddress'; readonly sequence: number };

interface FrameSpec {
  readonly name: string;
  /** Bits of {@link SPACE_BIT}. */
  readonly spaces: number;
  readonly decode: (r: Reader, type: number) => Frame;
}

const SPACE_BIT: Record<FrameSpace, number> = { initial: 1, handshake: 2, zeroRtt: 4, oneRtt: 8 };
/** I = Initial, H = Handshake, 0 = 0-RTT, 1 = 1-RTT (RFC 9000 table 3). */
const SPACE_LETTERS = 'IH01';
/** Connection ids have 1 to 20 bytes (RFC 9000 §17.2). */
const MAX_CID_BYTES = 20;
const RESET_TOKEN_BYTES = 16;
const MAX_PATH_ID = 2 ** 32 - 1;
/** A stream count above this cannot be expressed as a stream id (RFC 9000 §19.11). */
const MAX_STREAM_COUNT = 2 ** 60;

const PADDING: Frame = { type: 'padding' };
const PING: Frame = { type: 'ping' };
const HANDSHAKE_DONE: Frame = { type: 'handshakeDone' };
const IMMEDIATE_ACK: Frame = { type: 'immediateAck' };

/** PADDING comes in long runs: all of it is one frame. */
function padding(r: Reader): Frame {
  const { bytes, end } = r;
  let at = r.pos;
  while (at < end && bytes[at] === 0) at++;
  r.pos = at;
  return PADDING;
}

/** RFC 9000 §19.3; with a path id, draft-ietf-quic-multipath-21 §4.1. ECN counts are read over: we cannot see ECN. */
function ack(r: Reader, path: PathId | undefined, hasEcn: boolean): Frame {
  const largest = r.varint();
  const delay = r.varintClamped();
  const ranges = ackRanges(r, largest);
  if (hasEcn) {
    r.varintClamped();
    r.varintClamped();
    r.varintClamped();
  }
  return path === undefined
    ? { type: 'ack', delay, ranges }
    : { type: 'pathAck', pathId: path, delay, ranges };
}

/** RFC 9000 §19.3.1. */
function ackRanges(r: Reader, largest: number): number[] {
  const count = r.varint();
  const ranges: number[] = [];
  let high = largest;
  let low = high - r.varint();
  if (low < 0) throw new DecodeError('ack range below zero');
  ranges.push(high, low);
  // Each further range takes at least two bytes, so the packet bounds the work.
  for (let i = 0; i < count; i++) {
    high = low - r.varint() - 2;
    low = high - r.varint();
    if (low < 0) throw new DecodeError('ack range below zero');
    ranges.push(high, low);
  }
  return ranges;
}

/** RFC 9000 §19.8. The most frequent frame: one object, its data a view. */
function stream(r: Reader, type: number): Frame {
  const id = r.varint();
  const offset = (type & STREAM_FLAG.OFF) !== 0 ? r.varint() : 0;
  const data = (type & STREAM_FLAG.LEN) !== 0 ? r.take(r.varint()) : r.rest();
  return { type: 'stream', id, offset, data, fin: (type & STREAM_FLAG.FIN) !== 0 };
}

function pathId(r: Reader): PathId {
  const id = r.varint();
  if (id > MAX_PATH_ID) throw new DecodeError('path id above 2^32 - 1');
  return id;
}

function cidAndToken(r: Reader): {
  sequence: number;
  retirePriorTo: number;
  cid: Uint8Array;
  resetToken: Uint8Array;
} {
  const sequence = r.varint();
  const retirePriorTo = r.varint();
  const length = r.u8();
  // RFC 9000 §19.15: both are FRAME_ENCODING_ERROR.
  if (length < 1 || length > MAX_CID_BYTES) throw new DecodeError(`connection id of ${length} bytes`);
  if (retirePriorTo > sequence) throw new DecodeError('retire_prior_to above the sequence number');
  return { sequence, retirePriorTo, cid: r.take(length), resetToken: r.take(RESET_TOKEN_BYTES) };
}

function streamCount(r: Reader): number {
  const limit = r.varintClamped();
  // Clamped values are at most 2^53 − 1; only exact ones above 2^60 are illegal, which clamping hides: re-checked here.
  if (limit === Number.MAX_SAFE_INTEGER && isAboveStreamLimit(r))
    throw new DecodeError('stream count above 2^60');
  return limit;
}

/** Looks at the eight bytes just read. */
function isAboveStreamLimit(r: Reader): boolean {
  let value = BigInt(r.bytes[r.pos - 8]! & 0x3f);
  for (let i = 7; i > 0; i--) value = (value << 8n) | BigInt(r.bytes[r.pos - i]!);
  return value > BigInt(MAX_STREAM_COUNT);
}

function addrV4(r: Reader): Addr {
  const ip = r.take(4);
  return toAddr(ip, r.u16());
}

function addrV6(r: Reader): Addr {
  const ip = r.take(16);
  return toAddr(ip, r.u16());
}

const closeReason = (r: Reader): Uint8Array => r.take(r.varint());

const specs = new Map<number, FrameSpec>();
function define(type: number, name: string, spaces: string, decode: FrameSpec['decode']): void {
  let bits = 0;
  for (const letter of spaces) bits |= 1 << SPACE_LETTERS.indexOf(letter);
  specs.set(type, { name, spaces: bits, decode });
}

define(FRAME.PADDING, 'PADDING', 'IH01', padding); // §19.1
define(FRAME.PING, 'PING', 'IH01', () => PING); // §19.2
for (const type of [FRAME.ACK, FRAME.ACK_ECN]) {
  define(type, 'ACK', 'IH1', (r, t) => ack(r, undefined, t === FRAME.ACK_ECN)); // §19.3
}
define(FRAME.RESET_STREAM, 'RESET_STREAM', '01', (r) => ({
  type: 'resetStream', // §19.4
  id: r.varint(),
  code: r.varintBig(),
  finalSize: r.varint(),
}));
define(FRAME.STOP_SENDING, 'STOP_SENDING', '01', (r) => ({
  type: 'stopSending', // §19.5
  id: r.varint(),
  code: r.varintBig(),
}));
define(FRAME.CRYPTO, 'CRYPTO', 'IH1', (r) => {
  const offset = r.varint(); // §19.6
  return { type: 'crypto', offset, data: r.take(r.varint()) };
});
define(FRAME.NEW_TOKEN, 'NEW_TOKEN', '1', (r) => {
  const token = r.take(r.varint());
  if (token.length === 0) throw new DecodeError('empty token'); // §19.7
  return { type: 'newToken', token };
});
for (let flags = 0; flags < 8; flags++) define(FRAME.STREAM | flags, 'STREAM', '01', stream); // §19.8
define(FRAME.MAX_DATA, 'MAX_DATA', '01', (r) => ({ type: 'maxData', limit: r.varintClamped() })); // §19.9
define(FRAME.MAX_STREAM_DATA, 'MAX_STREAM_DATA', '01', (r) => ({
  type: 'maxStreamData', // §19.10
  id: r.varint(),
  limit: r.varintClamped(),
}));
for (const [type, dir] of [
  [FRAME.MAX_STREAMS_BIDI, 'bi'],
  [FRAME.MAX_STREAMS_UNI, 'uni'],
] as const) {
  define(type, 'MAX_STREAMS', '01', (r) => ({ type: 'maxStreams', dir, limit: streamCount(r) })); // §19.11
}
define(FRAME.DATA_BLOCKED, 'DATA_BLOCKED', '01', (r) => ({ type: 'dataBlocked', limit: r.varintClamped() })); // §19.12
define(FRAME.STREAM_DATA_BLOCKED, 'STREAM_DATA_BLOCKED', '01', (r) => ({
  type: 'streamDataBlocked', // §19.13
  id: r.varint(),
  limit: r.varintClamped(),
}));
for (const [type, dir] of [
  [FRAME.STREAMS_BLOCKED_BIDI, 'bi'],
  [FRAME.STREAMS_BLOCKED_UNI, 'uni'],
] as const) {
  define(type, 'STREAMS_BLOCKED', '01', (r) => ({ type: 'streamsBlocked', dir, limit: streamCount(r) })); // §19.14
}
define(FRAME.NEW_CONNECTION_ID, 'NEW_CONNECTION_ID', '01', (r) => ({
  type: 'newConnectionId', // §19.15
  ...cidAndToken(r),
}));
// Table 3 would allow it in 0-RTT, §12.5 forbids it; upstream forbids it too.
define(FRAME.RETIRE_CONNECTION_ID, 'RETIRE_CONNECTION_ID', '1', (r) => ({
  type: 'retireConnectionId', // §19.16
  sequence: r.varint(),
}));
define(FRAME.PATH_CHALLENGE, 'PATH_CHALLENGE', '01', (r) => ({ type: 'pathChallenge', data: r.take(8) })); // §19.17
define(FRAME.PATH_RESPONSE, 'PATH_RESPONSE', '1', (r) => ({ type: 'pathResponse', data: r.take(8) })); // §19.18
define(FRAME.CONNECTION_CLOSE, 'CONNECTION_CLOSE', 'IH01', (r) => ({
  type: 'connectionClose', // §19.19
  code: r.varintBig(),
  frameType: r.varintClamped(),
  reason: closeReason(r),
}));
// In Initial and Handshake packets 0x1d is forbidden (§12.5), but upstream takes it for a close: so do we.
define(FRAME.APPLICATION_CLOSE, 'APPLICATION_CLOSE', 'IH01', (r) => ({
  type: 'applicationClose', // §19.19
  code: r.varintBig(),
  reason: closeReason(r),
}));
define(FRAME.HANDSHAKE_DONE, 'HANDSHAKE_DONE', '1', () => HANDSHAKE_DONE); // §19.20
define(FRAME.IMMEDIATE_ACK, 'IMMEDIATE_ACK', '1', () => IMMEDIATE_ACK); // draft-ietf-quic-ack-frequency §5
define(FRAME.DATAGRAM, 'DATAGRAM', '01', (r) => ({ type: 'datagram', data: r.rest() })); // RFC 9221 §4
define(FRAME.DATAGRAM_LEN, 'DATAGRAM', '01', (r) => ({ type: 'datagram', data: r.take(r.varint()) }));
define(FRAME.ACK_FREQUENCY, 'ACK_FREQUENCY', '1', (r) => ({
  type: 'ackFrequency', // draft-ietf-quic-ack-frequency §4
  sequence: r.varint(),
  ackElicitingThreshold: r.varintClamped(),
  maxAckDelay: r.varintClamped(),
  reorderingThreshold: r.varintClamped(),
}));
for (const type of [FRAME.PATH_ACK, FRAME.PATH_ACK_ECN]) {
  // draft-ietf-quic-multipath-21 §4.1.
  define(type, 'PATH_ACK', '1', (r, t) => ack(r, pathId(r), t === FRAME.PATH_ACK_ECN));
}
define(FRAME.PATH_ABANDON, 'PATH_ABANDON', '1', (r) => ({
  type: 'pathAbandon', // §4.2
  pathId: pathId(r),
  code: r.varintClamped(),
}));
for (const [type, status] of [
  [FRAME.PATH_STATUS_BACKUP, 'backup'],
  [FRAME.PATH_STATUS_AVAILABLE, 'available'],
] as const) {
  define(type, 'PATH_STATUS', '1', (r) => ({
    type: 'pathStatus',
    pathId: pathId(r),
    sequence: r.varint(),
    status,
  })); // §4.3
}
define(FRAME.PATH_NEW_CONNECTION_ID, 'PATH_NEW_CONNECTION_ID', '1', (r) => ({
  type: 'pathNewConnectionId', // §4.4
  pathId: pathId(r),
  ...cidAndToken(r),
}));
define(FRAME.PATH_RETIRE_CONNECTION_ID, 'PATH_RETIRE_CONNECTION_ID', '1', (r) => ({
  type: 'pathRetireConnectionId', // §4.5
  pathId: pathId(r),
  sequence: r.varint(),
}));
define(FRAME.MAX_PATH_ID, 'MAX_PATH_ID', '1', (r) => ({ type: 'maxPathId', max: pathId(r) })); // §4.6
define(FRAME.PATHS_BLOCKED, 'PATHS_BLOCKED', '1', (r) => ({ type: 'pathsBlocked', max: pathId(r) })); // §4.7
define(FRAME.PATH_CIDS_BLOCKED, 'PATH_CIDS_BLOCKED', '1', (r) => ({
  type: 'pathCidsBlocked', // §4.8
  pathId: pathId(r),
  nextSequence: r.varint(),
}));
for (const [type, addr] of [
  [FRAME.OBSERVED_ADDRESS_V4, addrV4],
  [FRAME.OBSERVED_ADDRESS_V6, addrV6],
] as const) {
  define(type, 'OBSERVED_ADDRESS', '1', (r) => ({
    type: 'observedAddress',
    sequence: r.varint(),
    addr: addr(r),
  }));
}
for (const [type, addr] of [
  [FRAME.ADD_ADDRESS_V4, addrV4],
  [FRAME.ADD_ADDRESS_V6, addrV6],
] as const) {
  define(type, 'ADD_ADDRESS', '1', (r) => ({ type: 'addAddress', sequence: r.varint(), addr: addr(r) }));
}
for (const [type, addr] of [
  [FRAME.REACH_OUT_V4, addrV4],
  [FRAME.REACH_OUT_V6, addrV6],
] as const) {
  define(type, 'REACH_OUT', '1', (r) => ({ type: 'reachOut', round: r.varint(), addr: addr(r) }));
}
define(FRAME.REMOVE_ADDRESS, 'REMOVE_ADDRESS', '1', (r) => ({ type: 'removeAddress', sequence: r.varint() }));

// One-byte types, the ones on every packet, by index instead of by hash.
const byByte: (FrameSpec | undefined)[] = Array.from({ length: 64 }, (_, type) => specs.get(type));

/** Name of a frame type for messages and logs. */
export function frameTypeName(type: number): string {
  return specs.get(type)?.name ?? `0x${type.toString(16)}`;
}

/**
 * Decodes the next frame.
 * @throws {TransportError} FRAME_ENCODING_ERROR when unknown or malformed, PROTOCOL_VIOLATION when not allowed in `space`
 *   (RFC 9000 §12.4); both name the frame type.
 */
export function decodeFrame(r: Reader, space: FrameSpace): Frame {
  // Bytes behind the reader's end may belong to something else: without any, the varint reader says so.
  const first = r.pos < r.end ? r.bytes[r.pos]! : 0xff;
  let type = 0;
  let spec: FrameSpec | undefined;
  try {
    if (first < 0x40) {
      r.pos++;
      type = first;
      spec = byByte[first];
    } else {
      type = r.varintClamped();
      spec = specs.get(type);
    }
    if (spec === undefined) {
      throw new TransportError('FRAME_ENCODING_ERROR', `unknown frame type 0x${type.toString(16)}`, {
        frameType: type,
      });
    }
    if ((spec.spaces & SPACE_BIT[space]) === 0) {
      throw new TransportError('PROTOCOL_VIOLATION', `${spec.name} in a ${space} packet`, {
        frameType: type,
      });
    }
    return spec.decode(r, type);
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    throw new TransportError('FRAME_ENCODING_ERROR', `${spec?.name ?? 'frame type'}: ${error.message}`, {
      frameType: type,
      cause: error,
    });
  }
}

/** RFC 9000 §13.2, draft-ietf-quic-multipath §4: everything but acknowledgments, PADDING and CONNECTION_CLOSE. */
export function isAckEliciting(frame: Frame): boolean {
  switch (frame.type) {
    case 'ack':
    case 'pathAck':
    case 'padding':
    case 'connectionClose':
    case 'applicationClose':
      return false;
    default:
      return true;
  }
}

/** Frames that do not move a path by themselves: RFC 9000 §9.1, noq `noq-proto/src/frame.rs`. */
export function isProbing(frame: Frame): boolean {
  switch (frame.type) {
    case 'padding':
    case 'pathChallenge':
    case 'pathResponse':
    case 'newConnectionId':
    case 'pathNewConnectionId':
    case 'observedAddress':
      return true;
    default:
      return false;
  }
}
