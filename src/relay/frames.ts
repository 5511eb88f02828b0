/**
 * The frames of the relay protocol after its handshake (`iroh-relay/src/protos/relay.rs`): one frame is one binary
 * WebSocket message, a QUIC varint type and a payload that fills the rest.
 *
 * Client and server send each other the same datagram frames, but for the type and for whose id is in them. So a server
 * rewrites them in place, see {@link forwardDatagrams}, and a batch goes through unchanged.
 *
 * @module
 */
import { DecodeError, Reader, fromUtf8, utf8 } from '../base/bytes.ts';
import { RelayProtocolError } from './protocol-error.ts';

/** Bytes of an endpoint id in a frame. */
export const RELAY_ID_BYTES = 32;
/** Opaque bytes of a ping (`iroh-relay/src/protos/relay.rs`). */
export const PING_BYTES = 8;
/** `MAX_PACKET_SIZE`: most bytes of a frame that is sent, its type included; of a payload that is received, without. */
export const MAX_RELAY_PAYLOAD_BYTES = 65_536;

const SINGLE_HEADER_BYTES = 1 + RELAY_ID_BYTES + 1;
const BATCH_HEADER_BYTES = SINGLE_HEADER_BYTES + 2;

/** Most bytes of one relayed datagram. */
export const MAX_RELAY_DATAGRAM_BYTES = MAX_RELAY_PAYLOAD_BYTES - SINGLE_HEADER_BYTES;
/** Most bytes of a relayed batch. */
export const MAX_RELAY_BATCH_BYTES = MAX_RELAY_PAYLOAD_BYTES - BATCH_HEADER_BYTES;

/** Types on the wire. 0 to 3 belong to the handshake. */
export const FRAME_TYPE = {
  serverChallenge: 0,
  clientAuth: 1,
  serverConfirmsAuth: 2,
  serverDeniesAuth: 3,
  clientDatagram: 4,
  clientDatagramBatch: 5,
  serverDatagram: 6,
  serverDatagramBatch: 7,
  endpointGone: 8,
  ping: 9,
  pong: 10,
  health: 11,
  restarting: 12,
  status: 13,
} as const;

const LAST_FRAME_TYPE = FRAME_TYPE.status;

/** A subprotocol of the WebSocket: the two differ in {@link RelayHealth} and {@link RelayStatusFrame} only. */
export type RelayProtocol = 'iroh-relay-v1' | 'iroh-relay-v2';

/** In order of preference; what a client offers (`iroh-relay/src/http.rs`). */
export const RELAY_PROTOCOLS: readonly RelayProtocol[] = ['iroh-relay-v2', 'iroh-relay-v1'];

/** The best protocol that a client offers in its `Sec-WebSocket-Protocol` header, whatever its order. */
export function chooseRelayProtocol(offered: string): RelayProtocol | undefined {
  const names = offered.split(',').map((name) => name.trim());
  return RELAY_PROTOCOLS.find((protocol) => names.includes(protocol));
}

/** True for a protocol that we speak. */
export function isRelayProtocol(name: string): name is RelayProtocol {
  return (RELAY_PROTOCOLS as readonly string[]).includes(name);
}

/** Datagrams for, or from, an endpoint. Arrays are views into the message. */
export interface RelayDatagrams {
  readonly type: 'datagrams';
  /** From a client: the recipient. From a server: the sender. 32 bytes; not checked to be a point of the curve. */
  readonly peer: Uint8Array;
  /** 0 none, 1 ECT(1), 2 ECT(0), 3 CE (RFC 3168 §5). */
  readonly ecn: number;
  /** Bytes of each datagram but the last; 0 when the contents are one datagram. */
  readonly segmentBytes: number;
  /** Never empty. */
  readonly contents: Uint8Array;
}

/** Eight bytes that come back in a {@link RelayPong}. */
export interface RelayPing {
  readonly type: 'ping';
  readonly payload: Uint8Array;
}

export interface RelayPong {
  readonly type: 'pong';
  readonly payload: Uint8Array;
}

/** An endpoint that had sent to us over this relay has left it. A hint. */
export interface RelayEndpointGone {
  readonly type: 'endpointGone';
  readonly peer: Uint8Array;
}

/** Something is wrong, or right again: text for people (v1 only). */
export interface RelayHealth {
  readonly type: 'health';
  readonly problem: string;
}

/** The server restarts. */
export interface RelayRestarting {
  readonly type: 'restarting';
  /** When to connect again, ms from now. */
  readonly reconnectInMs: number;
  /** How long to go on trying, ms. */
  readonly tryForMs: number;
}

/** What {@link RelayStatusFrame} says (`iroh-relay/src/protos/relay.rs`, `Status`). */
export const RELAY_STATUS = { healthy: 0, sameEndpointId: 1, rateLimited: 2 } as const;

/** How the server sees this client (v2 only). */
export interface RelayStatusFrame {
  readonly type: 'status';
  /** One of {@link RELAY_STATUS}, or a number that we do not know. */
  readonly status: number;
}

/** What a client may send once it is authenticated. */
export type ClientFrame = RelayDatagrams | RelayPing | RelayPong;

/** What a server may send once it has confirmed. */
export type ServerFrame =
  | RelayDatagrams
  | RelayPing
  | RelayPong
  | RelayEndpointGone
  | RelayHealth
  | RelayRestarting
  | RelayStatusFrame;

/** The type in front of a message. Leaves `reader` at the payload. @throws {RelayProtocolError} */
export function readFrameType(reader: Reader): number {
  if (reader.remaining === 0) throw new RelayProtocolError('truncated', 'empty message');
  const start = reader.pos;
  let type: number;
  try {
    type = reader.varint();
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    // Above 2^53 − 1 it is no frame that anybody knows, either.
    throw new RelayProtocolError(reader.pos === start ? 'truncated' : 'unknownFrame', error.message);
  }
  if (type > LAST_FRAME_TYPE) throw new RelayProtocolError('unknownFrame', `unknown frame type ${type}`);
  if (reader.remaining > MAX_RELAY_PAYLOAD_BYTES)
    throw new RelayProtocolError('tooLarge', `payload of ${reader.remaining} bytes`);
  return type;
}

/**
 * Reads what a client sent. @param message - Borrowed; results are views into it.
 * @throws {RelayProtocolError}
 */
export function decodeClientFrame(message: Uint8Array): ClientFrame {
  const reader = new Reader(message);
  const type = readFrameType(reader);
  switch (type) {
    case FRAME_TYPE.clientDatagram:
    case FRAME_TYPE.clientDatagramBatch:
      return readDatagrams(reader, type === FRAME_TYPE.clientDatagramBatch);
    case FRAME_TYPE.ping:
    case FRAME_TYPE.pong:
      return readPing(reader, type);
    default:
      throw new RelayProtocolError('unexpectedFrame', `frame type ${type} from a client`);
  }
}

/**
 * Reads what a server sent. @param message - Borrowed; results are views into it.
 * @throws {RelayProtocolError} also for a frame of the other version.
 */
export function decodeServerFrame(message: Uint8Array, protocol: RelayProtocol): ServerFrame {
  const reader = new Reader(message);
  const type = readFrameType(reader);
  switch (type) {
    case FRAME_TYPE.serverDatagram:
    case FRAME_TYPE.serverDatagramBatch:
      return readDatagrams(reader, type === FRAME_TYPE.serverDatagramBatch);
    case FRAME_TYPE.ping:
    case FRAME_TYPE.pong:
      return readPing(reader, type);
    case FRAME_TYPE.endpointGone:
      exactly(reader, RELAY_ID_BYTES, type);
      return { type: 'endpointGone', peer: reader.rest() };
    case FRAME_TYPE.restarting:
      exactly(reader, 8, type);
      return { type: 'restarting', reconnectInMs: reader.u32(), tryForMs: reader.u32() };
    case FRAME_TYPE.health:
      if (protocol !== 'iroh-relay-v1') break;
      return { type: 'health', problem: fromUtf8(reader.rest()) };
    case FRAME_TYPE.status:
      if (protocol !== 'iroh-relay-v2') break;
      if (reader.remaining === 0) throw new RelayProtocolError('truncated', 'status without a value');
      return { type: 'status', status: reader.u8() };
    default:
  }
  throw new RelayProtocolError('unexpectedFrame', `frame type ${type} from a server of ${protocol}`);
}

function exactly(reader: Reader, bytes: number, type: number): void {
  if (reader.remaining !== bytes)
    throw new RelayProtocolError(
      'wrongLength',
      `frame type ${type}: ${reader.remaining} bytes, not ${bytes}`,
    );
}

function readPing(reader: Reader, type: number): RelayPing | RelayPong {
  exactly(reader, PING_BYTES, type);
  return { type: type === FRAME_TYPE.ping ? 'ping' : 'pong', payload: reader.rest() };
}

function readDatagrams(reader: Reader, isBatch: boolean): RelayDatagrams {
  const { bytes: message, pos: at } = reader;
  checkDatagrams(message, at, isBatch);
  const header = at + RELAY_ID_BYTES;
  return {
    type: 'datagrams',
    peer: message.subarray(at, header),
    ecn: message[header]! & 0b11,
    segmentBytes: isBatch ? (message[header + 1]! << 8) | message[header + 2]! : 0,
    contents: message.subarray(isBatch ? header + 3 : header + 1),
  };
}

/** @param at - Where the payload begins. */
function checkDatagrams(message: Uint8Array, at: number, isBatch: boolean): void {
  const headerBytes = isBatch ? BATCH_HEADER_BYTES - 1 : SINGLE_HEADER_BYTES - 1;
  const length = message.length - at;
  if (length < headerBytes) throw new RelayProtocolError('truncated', `datagram frame of ${length} bytes`);
  // The encoder of the reference refuses both of these; passed on, they would end the recipient's connection.
  if (length === headerBytes) throw new RelayProtocolError('emptyDatagram', 'datagram without contents');
  if (length >= MAX_RELAY_PAYLOAD_BYTES)
    throw new RelayProtocolError('tooLarge', `datagram frame of ${length} bytes`);
}

/**
 * For the server's hot path: where the recipient's id begins when `message` is a frame of datagrams, or −1 when it is
 * another frame. @throws {RelayProtocolError} for a frame of datagrams that must not be passed on.
 */
export function datagramsOffset(message: Uint8Array): number {
  const first = message[0];
  if (first === FRAME_TYPE.clientDatagram || first === FRAME_TYPE.clientDatagramBatch) {
    checkDatagrams(message, 1, first === FRAME_TYPE.clientDatagramBatch);
    return 1;
  }
  // A type in 2, 4 or 8 bytes is legal, and nobody sends it.
  if (first === undefined || first < 0x40) return -1;
  const reader = new Reader(message);
  const type = readFrameType(reader);
  if (type !== FRAME_TYPE.clientDatagram && type !== FRAME_TYPE.clientDatagramBatch) return -1;
  checkDatagrams(message, reader.pos, type === FRAME_TYPE.clientDatagramBatch);
  return reader.pos;
}

/**
 * Turns a client's frame into the one for its recipient, in place.
 * @param message - Changed. @param at - From {@link datagramsOffset}. @param source - The sender's id, 32 bytes.
 * @returns `message`, or a view of it.
 */
export function forwardDatagrams(message: Uint8Array, at: number, source: Uint8Array): Uint8Array {
  // The last byte of a varint holds its low bits, however long it is.
  message[at - 1] = (message[at - 1]! & 1) === 0 ? FRAME_TYPE.serverDatagram : FRAME_TYPE.serverDatagramBatch;
  message.set(source, at);
  return at === 1 ? message : message.subarray(at - 1);
}

/** Who encodes a frame of datagrams. */
export type RelaySide = 'client' | 'server';

/**
 * One frame of datagrams.
 * @param segmentBytes - 0 for one datagram.
 * @throws {RangeError} on contents that are empty or do not fit: see {@link MAX_RELAY_DATAGRAM_BYTES}, {@link MAX_RELAY_BATCH_BYTES}.
 */
export function encodeDatagrams(side: RelaySide, frame: Omit<RelayDatagrams, 'type'>): Uint8Array {
  const { peer, ecn, segmentBytes, contents } = frame;
  const isBatch = segmentBytes !== 0;
  const message = startDatagrams(side, peer, ecn, segmentBytes, contents.length);
  message.set(contents, isBatch ? BATCH_HEADER_BYTES : SINGLE_HEADER_BYTES);
  return message;
}

function startDatagrams(
  side: RelaySide,
  peer: Uint8Array,
  ecn: number,
  segmentBytes: number,
  contentsBytes: number,
): Uint8Array {
  const isBatch = segmentBytes !== 0;
  if (contentsBytes < 1 || contentsBytes > (isBatch ? MAX_RELAY_BATCH_BYTES : MAX_RELAY_DATAGRAM_BYTES))
    throw new RangeError(`relay frame: cannot carry ${contentsBytes} bytes`);
  const headerBytes = isBatch ? BATCH_HEADER_BYTES : SINGLE_HEADER_BYTES;
  const message = new Uint8Array(headerBytes + contentsBytes);
  const single = side === 'client' ? FRAME_TYPE.clientDatagram : FRAME_TYPE.serverDatagram;
  message[0] = isBatch ? single + 1 : single;
  message.set(peer, 1);
  message[1 + RELAY_ID_BYTES] = ecn;
  if (isBatch) {
    message[SINGLE_HEADER_BYTES] = segmentBytes >>> 8;
    message[SINGLE_HEADER_BYTES + 1] = segmentBytes;
  }
  return message;
}

/** Some of a sequence of datagrams for one peer, as one frame. */
export interface PackedDatagrams {
  readonly message: Uint8Array;
  /** How many datagrams are in it. */
  readonly count: number;
}

/**
 * Packs as many datagrams from `from` on as one frame takes: equal in size but for the last, which may be shorter. The
 * caller skips what {@link isRelayable} refuses. Datagrams are copied.
 * @param maxCount - Most datagrams in a frame.
 */
export function packDatagrams(
  side: RelaySide,
  peer: Uint8Array,
  ecn: number,
  datagrams: readonly Uint8Array[],
  from: number,
  to: number,
  maxCount = Infinity,
): PackedDatagrams {
  const size = datagrams[from]!.length;
  let count = 1;
  let bytes = size;
  for (let i = from + 1; i < to && count < maxCount; i++) {
    const { length } = datagrams[i]!;
    if (length > size || length === 0 || bytes + length > MAX_RELAY_BATCH_BYTES) break;
    bytes += length;
    count++;
    if (length < size) break;
  }
  const message = startDatagrams(side, peer, ecn, count === 1 ? 0 : size, bytes);
  let at = count === 1 ? SINGLE_HEADER_BYTES : BATCH_HEADER_BYTES;
  for (let i = from; i < from + count; i++) {
    message.set(datagrams[i]!, at);
    at += datagrams[i]!.length;
  }
  return { message, count };
}

/** True for a datagram that fits into a frame. */
export function isRelayable(datagram: Uint8Array): boolean {
  return datagram.length > 0 && datagram.length <= MAX_RELAY_DATAGRAM_BYTES;
}

/**
 * Cuts a frame at its segment borders, appending views to `out`.
 * @param maxBytes - Longer datagrams are left out.
 * @returns how many were left out.
 */
export function splitDatagrams(
  { contents, segmentBytes }: Pick<RelayDatagrams, 'contents' | 'segmentBytes'>,
  maxBytes: number,
  out: Uint8Array[],
): number {
  const { length } = contents;
  const step = segmentBytes === 0 ? length : segmentBytes;
  let dropped = 0;
  for (let at = 0; at < length; at += step) {
    const end = Math.min(at + step, length);
    if (end - at > maxBytes) dropped++;
    else out.push(step >= length ? contents : contents.subarray(at, end));
  }
  return dropped;
}

/** @param payload - 8 bytes. */
export function encodePing(payload: Uint8Array): Uint8Array {
  return prefixed(FRAME_TYPE.ping, payload);
}

/** @param payload - The 8 bytes of the ping. */
export function encodePong(payload: Uint8Array): Uint8Array {
  return prefixed(FRAME_TYPE.pong, payload);
}

/** @param peer - 32 bytes. */
export function encodeEndpointGone(peer: Uint8Array): Uint8Array {
  return prefixed(FRAME_TYPE.endpointGone, peer);
}

/** v1 only. */
export function encodeHealth(problem: string): Uint8Array {
  return prefixed(FRAME_TYPE.health, utf8(problem));
}

/** v2 only. @param status - One of {@link RELAY_STATUS}. */
export function encodeStatus(status: number): Uint8Array {
  return Uint8Array.of(FRAME_TYPE.status, status);
}

export function encodeRestarting(reconnectInMs: number, tryForMs: number): Uint8Array {
  const message = new Uint8Array(9);
  const view = new DataView(message.buffer);
  message[0] = FRAME_TYPE.restarting;
  view.setUint32(1, reconnectInMs);
  view.setUint32(5, tryForMs);
  return message;
}

function prefixed(type: number, payload: Uint8Array): Uint8Array {
  const message = new Uint8Array(1 + payload.length);
  message[0] = type;
  message.set(payload, 1);
  return message;
}
