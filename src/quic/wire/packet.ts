/**
 * Packet headers (RFC 9000 §17; invariants RFC 8999).
 *
 * Everything before header protection is removed; packet number and the low bits of the first byte are still covered.
 *
 * @module
 */
import { DecodeError, Reader, type Writer } from '../../base/bytes.ts';

/** The only version that we speak. Upstream also takes the drafts 29 to 34, which nobody sends any more. */
export const QUIC_VERSION_1 = 0x0000_0001;
/** Version 1 connection ids have at most 20 bytes (RFC 9000 §17.2). */
export const MAX_CID_BYTES = 20;
/** Set in every packet of version 1 (RFC 9000 §17.2); without it a datagram is not QUIC for us. */
export const FIXED_BIT = 0x40;
/** Versions read from a Version Negotiation packet; more are ignored. */
const MAX_VERSIONS = 64;
/** Length is written in two bytes, as upstream does, and filled in when the payload is known. */
const LENGTH_BYTES = 2;

interface HeaderBase {
  /** Positions in the datagram: first byte of the packet, and the one after its last. */
  readonly start: number;
  readonly end: number;
  readonly version: number;
  /** Views. */
  readonly dcid: Uint8Array;
  readonly scid: Uint8Array;
}

/** Header of a packet with a number. */
export interface NumberedHeader extends HeaderBase {
  readonly type: 'initial' | 'handshake' | 'zeroRtt';
  /** Where the protected packet number begins. */
  readonly pnOffset: number;
  /** Initial only, else empty. */
  readonly token: Uint8Array;
}

export interface RetryHeader extends HeaderBase {
  readonly type: 'retry';
  readonly token: Uint8Array;
}

export interface VersionNegotiationHeader extends HeaderBase {
  readonly type: 'versionNegotiation';
  readonly versions: readonly number[];
}

export type LongHeader = NumberedHeader | RetryHeader | VersionNegotiationHeader;

/** What RFC 8999 §5.1 lets us read of any long header, whatever its version. */
export interface InvariantHeader {
  readonly version: number;
  readonly dcid: Uint8Array;
  readonly scid: Uint8Array;
}

/** Reads version and connection ids of a long header; undefined when it is cut short. */
export function decodeInvariantHeader(bytes: Uint8Array): InvariantHeader | undefined {
  try {
    const r = new Reader(bytes, 1);
    const version = r.u32();
    return { version, dcid: r.take(r.u8()), scid: r.take(r.u8()) };
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
}

/** Decodes the long header at `start`; undefined when malformed or of another version: the rest is dropped. */
export function decodeLongHeader(bytes: Uint8Array, start: number, end: number): LongHeader | undefined {
  try {
    const r = new Reader(bytes, start, end);
    const first = r.u8();
    const version = r.u32();
    const dcidLength = r.u8();
    if (dcidLength > MAX_CID_BYTES) return undefined;
    const dcid = r.take(dcidLength);
    const scidLength = r.u8();
    if (scidLength > MAX_CID_BYTES) return undefined;
    const scid = r.take(scidLength);
    if (version === 0) {
      // RFC 9000 §17.2.1.
      const versions: number[] = [];
      while (r.remaining >= 4 && versions.length < MAX_VERSIONS) versions.push(r.u32());
      return { type: 'versionNegotiation', start, end, version, dcid, scid, versions };
    }
    if (version !== QUIC_VERSION_1 || (first & FIXED_BIT) === 0) return undefined;
    const kind = (first >> 4) & 0x03;
    if (kind === 3) {
      // RFC 9000 §17.2.5: token, then the integrity tag of 16 bytes.
      if (r.remaining < 16) return undefined;
      return { type: 'retry', start, end, version, dcid, scid, token: r.take(r.remaining - 16) };
    }
    const token = kind === 0 ? r.take(r.varint()) : bytes.subarray(0, 0);
    const length = r.varint();
    const pnOffset = r.pos;
    if (length > r.remaining) return undefined;
    const type = kind === 0 ? 'initial' : kind === 1 ? 'zeroRtt' : 'handshake';
    return { type, start, end: pnOffset + length, version, dcid, scid, pnOffset, token };
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
}

/**
 * Writes a long header up to and including the packet number (RFC 9000 §17.2.2 to §17.2.4).
 * @param token - Initial packets only; undefined writes no token field for other types and an empty one for Initial.
 * @returns Where the two-byte Length is; {@link finishLongHeader} fills it in.
 */
export function writeLongHeader(
  w: Writer,
  type: 'initial' | 'handshake' | 'zeroRtt',
  dcid: Uint8Array,
  scid: Uint8Array,
  token: Uint8Array | undefined,
  packetNumber: number,
  packetNumberLength: number,
): number {
  const kind = type === 'initial' ? 0 : type === 'zeroRtt' ? 1 : 2;
  w.u8(0x80 | FIXED_BIT | (kind << 4) | (packetNumberLength - 1));
  w.u32(QUIC_VERSION_1);
  w.u8(dcid.length);
  w.put(dcid);
  w.u8(scid.length);
  w.put(scid);
  if (type === 'initial') {
    w.varint(token?.length ?? 0);
    if (token !== undefined) w.put(token);
  }
  const lengthAt = w.pos;
  w.zeros(LENGTH_BYTES);
  writePacketNumber(w, packetNumber, packetNumberLength);
  return lengthAt;
}

/** Fills in Length: bytes of packet number, payload and tag, at most 16,383. */
export function finishLongHeader(bytes: Uint8Array, lengthAt: number, length: number): void {
  bytes[lengthAt] = 0x40 | (length >>> 8);
  bytes[lengthAt + 1] = length;
}

/** Writes a short header up to and including the packet number (RFC 9000 §17.3.1). The spin bit stays 0. */
export function writeShortHeader(
  w: Writer,
  dcid: Uint8Array,
  packetNumber: number,
  packetNumberLength: number,
  keyPhase: 0 | 1,
): void {
  w.u8(FIXED_BIT | (keyPhase << 2) | (packetNumberLength - 1));
  w.put(dcid);
  writePacketNumber(w, packetNumber, packetNumberLength);
}

function writePacketNumber(w: Writer, packetNumber: number, length: number): void {
  // The low four bytes, most significant first; numbers above 2^32 are truncated on purpose.
  const low = packetNumber % 0x1_0000_0000;
  if (length === 4) w.u32(low);
  else if (length === 3) w.u24(low & 0xff_ffff);
  else if (length === 2) w.u16(low & 0xffff);
  else w.u8(low & 0xff);
}
