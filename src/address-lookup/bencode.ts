/**
 * Bencode, the notation of BitTorrent's messages (BEP 3), read strictly: one whole value, and nothing that could be written
 * in a shorter way. Numbers with a sign where none can be, lengths below 0 or depth without end are no values.
 *
 * @module
 */
import { DecodeError, fromLatin1, concatBytes, toLatin1 } from '../base/bytes.ts';

/** A value. Keys of maps are bytes as Latin-1. */
export type Bencoded = number | Uint8Array | readonly Bencoded[] | BencodedMap;
export type BencodedMap = ReadonlyMap<string, Bencoded>;

/** Messages of the DHT have three levels. */
const MAX_DEPTH = 8;
/** Digits of a safe integer. */
const MAX_DIGITS = 16;

const CODE_0 = 0x30;
const CODE_9 = 0x39;
const CODE_COLON = 0x3a;
const CODE_MINUS = 0x2d;
const CODE_D = 0x64;
const CODE_E = 0x65;
const CODE_I = 0x69;
const CODE_L = 0x6c;

/** Reads one value that takes all of the bytes. Strings are views. @throws {DecodeError} */
export function decodeBencode(bytes: Uint8Array): Bencoded {
  const reader = new BencodeReader(bytes);
  const value = reader.value(0);
  if (!reader.isAtEnd) throw new DecodeError('something follows the value');
  return value;
}

class BencodeReader {
  readonly #bytes: Uint8Array;
  #pos = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.#pos === this.#bytes.length;
  }

  value(depth: number): Bencoded {
    if (depth > MAX_DEPTH) throw new DecodeError('too deep');
    switch (this.#bytes[this.#pos]) {
      case CODE_I:
        this.#pos++;
        return this.#number(CODE_E);
      case CODE_L:
        this.#pos++;
        return this.#list(depth);
      case CODE_D:
        this.#pos++;
        return this.#map(depth);
      default:
        return this.#string();
    }
  }

  #list(depth: number): Bencoded[] {
    const list: Bencoded[] = [];
    while (!this.#takeEnd()) list.push(this.value(depth + 1));
    return list;
  }

  /** Keys need not be in order: not everybody sorts them. */
  #map(depth: number): BencodedMap {
    const map = new Map<string, Bencoded>();
    while (!this.#takeEnd()) {
      const key = toLatin1(this.#string());
      if (map.has(key)) throw new DecodeError('a key twice');
      map.set(key, this.value(depth + 1));
    }
    return map;
  }

  #takeEnd(): boolean {
    if (this.#bytes[this.#pos] !== CODE_E) return false;
    this.#pos++;
    return true;
  }

  #string(): Uint8Array {
    const length = this.#number(CODE_COLON);
    const start = this.#pos;
    if (!(length >= 0 && length <= this.#bytes.length - start))
      throw new DecodeError('a string that ends early');
    this.#pos += length;
    return this.#bytes.subarray(start, this.#pos);
  }

  /** With the byte that ends it. */
  #number(end: number): number {
    const isNegative = this.#bytes[this.#pos] === CODE_MINUS;
    if (isNegative) this.#pos++;
    const start = this.#pos;
    let value = 0;
    for (; this.#pos - start <= MAX_DIGITS; this.#pos++) {
      const code = this.#bytes[this.#pos];
      if (code === undefined || code < CODE_0 || code > CODE_9) break;
      value = value * 10 + (code - CODE_0);
    }
    const digits = this.#pos - start;
    const hasLeadingZero = this.#bytes[start] === CODE_0 && (digits > 1 || isNegative);
    if (digits === 0 || hasLeadingZero || !Number.isSafeInteger(value) || this.#bytes[this.#pos] !== end)
      throw new DecodeError('not a number');
    this.#pos++;
    return isNegative ? -value : value;
  }
}

/** Keys of maps are put in order (BEP 3). */
export function encodeBencode(value: Bencoded): Uint8Array {
  const parts: Uint8Array[] = [];
  write(value, parts);
  return concatBytes(...parts);
}

function write(value: Bencoded, parts: Uint8Array[]): void {
  if (typeof value === 'number') parts.push(fromLatin1(`i${value}e`));
  else if (value instanceof Uint8Array) parts.push(fromLatin1(`${value.length}:`), value);
  else if (value instanceof Map) {
    parts.push(fromLatin1('d'));
    // Latin-1 sorts as its bytes do.
    for (const key of [...(value as BencodedMap).keys()].sort()) {
      write(fromLatin1(key), parts);
      write((value as BencodedMap).get(key)!, parts);
    }
    parts.push(fromLatin1('e'));
  } else {
    parts.push(fromLatin1('l'));
    for (const each of value as readonly Bencoded[]) write(each, parts);
    parts.push(fromLatin1('e'));
  }
}
