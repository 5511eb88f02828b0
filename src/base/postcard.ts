/**
 * The few pieces of the postcard format that iroh's tickets need: varints, byte strings and text
 * (https://postcard.jamesmunns.com/wire-format). Not the varints of QUIC.
 *
 * @module
 */
import { DecodeError, utf8, type Reader, type Writer } from './bytes.ts';

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Reads an unsigned LEB128 integer of at most `bits` bits. Longer than needed is allowed, as in postcard, up to
 * ⌈bits / 7⌉ bytes.
 * @throws {DecodeError} when it is cut off or does not fit into `bits`.
 */
export function readPostcardBig(reader: Reader, bits: 16 | 32 | 64): bigint {
  let value = 0n;
  for (let shift = 0; shift < bits; shift += 7) {
    const byte = reader.u8();
    value |= BigInt(byte & 0x7f) << BigInt(shift);
    if (byte < 0x80) {
      if (value >> BigInt(bits) !== 0n) break;
      return value;
    }
  }
  throw new DecodeError(`postcard: integer above ${bits} bits`);
}

/** As {@link readPostcardBig}, for lengths and ports. @throws {DecodeError} also above 2^53 − 1. */
export function readPostcardNumber(reader: Reader, bits: 16 | 32 | 64): number {
  const value = readPostcardBig(reader, bits);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new DecodeError('postcard: integer above 2^53 - 1');
  return Number(value);
}

/** Reads a byte string with its length in front; a view. @throws {DecodeError} */
export function readPostcardBytes(reader: Reader): Uint8Array {
  return reader.take(readPostcardNumber(reader, 64));
}

/** Reads UTF-8 text with its length in front. @throws {DecodeError} also on invalid UTF-8. */
export function readPostcardText(reader: Reader): string {
  const bytes = readPostcardBytes(reader);
  try {
    return strictUtf8.decode(bytes);
  } catch {
    throw new DecodeError('postcard: text is not UTF-8');
  }
}

/** Writes an unsigned LEB128 integer, shortest form. */
export function writePostcardInteger(writer: Writer, value: number | bigint): void {
  let rest = BigInt(value);
  while (rest >= 0x80n) {
    writer.u8(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  writer.u8(Number(rest));
}

export function writePostcardBytes(writer: Writer, bytes: Uint8Array): void {
  writePostcardInteger(writer, bytes.length);
  writer.put(bytes);
}

export function writePostcardText(writer: Writer, text: string): void {
  writePostcardBytes(writer, utf8(text));
}
