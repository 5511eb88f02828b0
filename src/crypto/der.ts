/**
 * Reading and writing the DER encoding (ITU-T X.690) as far as certificates need it: definite lengths, one-byte tags.
 *
 * @module
 */
import type { Reader } from '../base/bytes.ts';
import { DecodeError, concatBytes, toHex } from '../base/bytes.ts';

/** Identifier octets, class and constructed bit included. */
export const DER = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utf8String: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** One element. */
export interface DerElement {
  readonly tag: number;
  /** A reader over the content. */
  readonly body: Reader;
}

/** Reads the next element. @throws {DecodeError} */
export function readDer(reader: Reader): DerElement {
  const tag = reader.u8();
  if ((tag & 0x1f) === 0x1f) throw new DecodeError('der: tag of several bytes');
  let length = reader.u8();
  if (length >= 0x80) {
    const bytes = length - 0x80;
    if (bytes === 0 || bytes > 3) throw new DecodeError('der: indefinite or huge length');
    length = 0;
    for (let i = 0; i < bytes; i++) length = (length << 8) | reader.u8();
  }
  return { tag, body: reader.nested(length) };
}

/** Reads the next element, which must have `tag`; its content. @throws {DecodeError} */
export function expectDer(reader: Reader, tag: number): Reader {
  const element = readDer(reader);
  if (element.tag !== tag) throw new DecodeError(`der: expected tag ${tag}, got ${element.tag}`);
  return element.body;
}

/** Reads the next element if it has `tag`. */
export function optionalDer(reader: Reader, tag: number): Reader | undefined {
  return reader.remaining > 0 && reader.bytes[reader.pos] === tag ? readDer(reader).body : undefined;
}

/** Reads an OBJECT IDENTIFIER as the hex of its content bytes. @throws {DecodeError} */
export function readOid(reader: Reader): string {
  return toHex(expectDer(reader, DER.oid).rest());
}

/** Reads a BIT STRING of whole bytes. @throws {DecodeError} */
export function readBitString(reader: Reader): Uint8Array {
  const body = expectDer(reader, DER.bitString);
  if (body.u8() !== 0) throw new DecodeError('der: bit string with a partial byte');
  return body.rest();
}

/** Reads a UTCTime or GeneralizedTime as ms since 1970 (RFC 5280 §4.1.2.5: always UTC, always with seconds). @throws {DecodeError} */
export function readTime(reader: Reader): number {
  const { tag, body } = readDer(reader);
  let text = '';
  for (const byte of body.rest()) text += String.fromCharCode(byte);
  if (tag === DER.utcTime && /^\d{12}Z$/.test(text)) {
    // RFC 5280 §4.1.2.5.1: 50 to 99 are of the 20th century.
    text = (Number(text.slice(0, 2)) >= 50 ? '19' : '20') + text;
  } else if (tag !== DER.generalizedTime || !/^\d{14}Z$/.test(text)) {
    throw new DecodeError('der: not a time');
  }
  const at = (start: number, length: number): number => Number(text.slice(start, start + length));
  return Date.UTC(at(0, 4), at(4, 2) - 1, at(6, 2), at(8, 2), at(10, 2), at(12, 2));
}

/** Encodes an element from the encodings of its parts. */
export function der(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const content = concatBytes(...parts);
  const n = content.length;
  const header = n < 0x80 ? [tag, n] : n < 0x100 ? [tag, 0x81, n] : [tag, 0x82, n >> 8, n & 0xff];
  return concatBytes(Uint8Array.from(header), content);
}
