/**
 * Bounded reading and writing of bytes, hex, concatenation and constant-time comparison.
 *
 * Varints come in three readers, by meaning: `varint()` for lengths, offsets, ids and packet numbers (throws above
 * 2^53 − 1), `varintClamped()` for limits (a peer may announce 2^62 − 1), `varintBig()` for opaque codes.
 *
 * @module
 */
import { MAX_VARINT, varintSize } from './varint.ts';

/** Input ended early or a value does not fit. Decoders turn it into their protocol's own error. */
export class DecodeError extends Error {
  override readonly name = 'DecodeError';
}

const TWO_32 = 0x1_0000_0000;

/** Reads big-endian values from a byte range. Every read is bounds-checked. */
export class Reader {
  readonly bytes: Uint8Array;
  /** Index of the next byte to read. */
  pos: number;
  /** Index after the last readable byte. */
  readonly end: number;

  /** @param bytes - Borrowed; results of {@link take} are views into it. */
  constructor(bytes: Uint8Array, start = 0, end: number = bytes.length) {
    this.bytes = bytes;
    this.pos = start;
    this.end = end;
  }

  /** Bytes left to read. */
  get remaining(): number {
    return this.end - this.pos;
  }

  #advance(count: number): number {
    const at = this.pos;
    // `!(…)` also refuses NaN and negative counts.
    if (!(count >= 0 && count <= this.end - at))
      throw new DecodeError(`need ${count} bytes, ${this.end - at} left`);
    this.pos = at + count;
    return at;
  }

  u8(): number {
    if (this.pos >= this.end) throw new DecodeError('need 1 byte, 0 left');
    return this.bytes[this.pos++]!;
  }

  u16(): number {
    const at = this.#advance(2);
    return (this.bytes[at]! << 8) | this.bytes[at + 1]!;
  }

  u24(): number {
    const at = this.#advance(3);
    return (this.bytes[at]! << 16) | (this.bytes[at + 1]! << 8) | this.bytes[at + 2]!;
  }

  u32(): number {
    const at = this.#advance(4);
    const b = this.bytes;
    return ((b[at]! << 24) | (b[at + 1]! << 16) | (b[at + 2]! << 8) | b[at + 3]!) >>> 0;
  }

  /** A view of the next `count` bytes. */
  take(count: number): Uint8Array {
    const at = this.#advance(count);
    return this.bytes.subarray(at, at + count);
  }

  /** A view of all remaining bytes. */
  rest(): Uint8Array {
    return this.take(this.end - this.pos);
  }

  /** A reader over the next `count` bytes. */
  nested(count: number): Reader {
    const at = this.#advance(count);
    return new Reader(this.bytes, at, at + count);
  }

  /** RFC 9000 §16, for lengths, offsets, ids and packet numbers. @throws {DecodeError} above 2^53 − 1. */
  varint(): number {
    const value = this.#varint();
    if (value > Number.MAX_SAFE_INTEGER) throw new DecodeError('varint above 2^53 - 1');
    return value;
  }

  /** RFC 9000 §16, for limits: values above 2^53 − 1 become 2^53 − 1. */
  varintClamped(): number {
    const value = this.#varint();
    return value > Number.MAX_SAFE_INTEGER ? Number.MAX_SAFE_INTEGER : value;
  }

  /** RFC 9000 §16, for opaque codes: exact. */
  varintBig(): bigint {
    const b = this.bytes;
    const first = this.u8();
    const length = 1 << (first >> 6);
    const at = this.#advance(length - 1);
    let value = BigInt(first & 0x3f);
    for (let i = 0; i < length - 1; i++) value = (value << 8n) | BigInt(b[at + i]!);
    return value;
  }

  /** May be inexact above 2^53. */
  #varint(): number {
    const b = this.bytes;
    const at = this.pos;
    const left = this.end - at;
    if (left < 1) throw new DecodeError('need 1 byte, 0 left');
    const first = b[at]!;
    if (first < 0x40) {
      this.pos = at + 1;
      return first;
    }
    if (first < 0x80) {
      if (left < 2) throw new DecodeError(`need 2 bytes, ${left} left`);
      this.pos = at + 2;
      return ((first & 0x3f) << 8) | b[at + 1]!;
    }
    if (first < 0xc0) {
      if (left < 4) throw new DecodeError(`need 4 bytes, ${left} left`);
      this.pos = at + 4;
      return ((first & 0x3f) << 24) | (b[at + 1]! << 16) | (b[at + 2]! << 8) | b[at + 3]!;
    }
    if (left < 8) throw new DecodeError(`need 8 bytes, ${left} left`);
    this.pos = at + 8;
    const high = ((first & 0x3f) << 24) | (b[at + 1]! << 16) | (b[at + 2]! << 8) | b[at + 3]!;
    const low = ((b[at + 4]! << 24) | (b[at + 5]! << 16) | (b[at + 6]! << 8) | b[at + 7]!) >>> 0;
    return high * TWO_32 + low;
  }
}

/**
 * Writes big-endian values. Either into a given buffer, where overflow is a programming error (RangeError), or into its
 * own, which grows.
 */
export class Writer {
  bytes: Uint8Array;
  /** Index of the next byte to write. */
  pos: number;
  /** Index that a write may not pass; `Infinity` grows the buffer. */
  limit: number;

  /** @param target - Written in place from `start` up to `limit`; without it the writer owns and grows a buffer. */
  constructor(target?: Uint8Array, start = 0, limit: number = target ? target.length : Infinity) {
    this.bytes = target ?? new Uint8Array(256);
    this.pos = start;
    this.limit = limit;
  }

  /** Bytes that may still be written. */
  get room(): number {
    return this.limit - this.pos;
  }

  #reserve(count: number): number {
    const at = this.pos;
    const next = at + count;
    if (next > this.limit) throw new RangeError(`writer: ${count} bytes do not fit into ${this.limit - at}`);
    if (next > this.bytes.length) {
      const grown = new Uint8Array(Math.max(next, this.bytes.length * 2));
      grown.set(this.bytes);
      this.bytes = grown;
    }
    this.pos = next;
    return at;
  }

  u8(value: number): void {
    const at = this.#reserve(1);
    this.bytes[at] = value;
  }

  u16(value: number): void {
    const at = this.#reserve(2);
    this.bytes[at] = value >>> 8;
    this.bytes[at + 1] = value;
  }

  u24(value: number): void {
    const at = this.#reserve(3);
    this.bytes[at] = value >>> 16;
    this.bytes[at + 1] = value >>> 8;
    this.bytes[at + 2] = value;
  }

  u32(value: number): void {
    const at = this.#reserve(4);
    const b = this.bytes;
    b[at] = value >>> 24;
    b[at + 1] = value >>> 16;
    b[at + 2] = value >>> 8;
    b[at + 3] = value;
  }

  /** Copies `source`. */
  put(source: Uint8Array): void {
    const at = this.#reserve(source.length);
    this.bytes.set(source, at);
  }

  /** Writes `count` zero bytes. */
  zeros(count: number): void {
    const at = this.#reserve(count);
    this.bytes.fill(0, at, at + count);
  }

  /** RFC 9000 §16, shortest form. `value` is a non-negative integer up to 2^53 − 1. */
  varint(value: number): void {
    this.varintSized(value, varintSize(value));
  }

  /** RFC 9000 §16 in exactly `size` bytes, which must be enough. */
  varintSized(value: number, size: 1 | 2 | 4 | 8): void {
    const at = this.#reserve(size);
    const b = this.bytes;
    if (size === 1) {
      b[at] = value;
    } else if (size === 2) {
      b[at] = 0x40 | (value >>> 8);
      b[at + 1] = value;
    } else if (size === 4) {
      b[at] = 0x80 | (value >>> 24);
      b[at + 1] = value >>> 16;
      b[at + 2] = value >>> 8;
      b[at + 3] = value;
    } else {
      const high = Math.floor(value / TWO_32);
      const low = value >>> 0;
      b[at] = 0xc0 | (high >>> 24);
      b[at + 1] = high >>> 16;
      b[at + 2] = high >>> 8;
      b[at + 3] = high;
      b[at + 4] = low >>> 24;
      b[at + 5] = low >>> 16;
      b[at + 6] = low >>> 8;
      b[at + 7] = low;
    }
  }

  /** RFC 9000 §16 for values up to 2^62 − 1. @throws {RangeError} outside. */
  varintBig(value: bigint): void {
    if (value < 0n || value > MAX_VARINT) throw new RangeError(`varint: ${value} is outside 0 to 2^62 - 1`);
    if (value <= BigInt(Number.MAX_SAFE_INTEGER)) return this.varint(Number(value));
    const at = this.#reserve(8);
    for (let i = 7; i >= 0; i--, value >>= 8n) this.bytes[at + i] = Number(value & 0xffn);
    this.bytes[at]! |= 0xc0;
  }

  /** A view of what was written from `start` (default 0) on. */
  written(start = 0): Uint8Array {
    return this.bytes.subarray(start, this.pos);
  }

  /** A copy of what was written from `start` (default 0) on. */
  copy(start = 0): Uint8Array {
    return this.bytes.slice(start, this.pos);
  }
}

/** The empty byte string; shared, has nothing to mutate. */
export const EMPTY = new Uint8Array(0);

/** Joins byte strings into a fresh one. */
export function concatBytes(...parts: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  const joined = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

/** Compares without early exit, so that the time tells nothing about where two secrets differ. Lengths are not secret. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= a[i]! ^ b[i]!;
  return difference === 0;
}

const HEX_DIGITS = new TextEncoder().encode('0123456789abcdef');
/** Characters per call: arguments lie on the stack. */
const HEX_PIECE = 4_096;

/** Lower-case hex. In one piece: a string that grows by two characters is a chain of small ones for as long as it lives. */
export function toHex(bytes: Uint8Array): string {
  const characters = new Uint8Array(2 * bytes.length);
  for (let i = 0; i < bytes.length; i++) {
    characters[2 * i] = HEX_DIGITS[bytes[i]! >>> 4]!;
    characters[2 * i + 1] = HEX_DIGITS[bytes[i]! & 0x0f]!;
  }
  if (characters.length <= HEX_PIECE) return toLatin1(characters);
  let text = '';
  for (let at = 0; at < characters.length; at += HEX_PIECE)
    text += toLatin1(characters.subarray(at, at + HEX_PIECE));
  return text;
}

/** Parses hex of either case. @throws {DecodeError} on odd length or a foreign character. */
export function fromHex(text: string): Uint8Array {
  if (text.length % 2 !== 0 || /[^0-9a-fA-F]/.test(text)) throw new DecodeError('not a hex string');
  const bytes = new Uint8Array(text.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** UTF-8 bytes of `text`. */
export function utf8(text: string): Uint8Array {
  return encoder.encode(text);
}

/** Text of UTF-8 `bytes`; invalid sequences become U+FFFD. */
export function fromUtf8(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}

/** Bytes as a string of as many characters, 0 to 255 each: the smallest form in which a few bytes can be kept. */
export function toLatin1(bytes: Uint8Array): string {
  // Not spread: an iterator step per byte costs more than all the rest.
  return String.fromCharCode.apply(null, bytes as unknown as number[]);
}

/** The reverse of {@link toLatin1}. */
export function fromLatin1(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}
