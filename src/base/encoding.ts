/**
 * The three base-32 alphabets of iroh, all without padding: RFC 4648 (tickets, key text), its "extended hex" form (TLS
 * names) and z-base-32 (pkarr, DNS); and base64url (DNS over HTTPS).
 *
 * Decoding is strict: impossible lengths and non-zero bits after the last byte are refused, so that each byte string has
 * one spelling up to case. Hex lives in `bytes.ts`.
 *
 * @module
 */
import { base32hexnopad, base32nopad, base64urlnopad } from '@scure/base';
import { DecodeError } from './bytes.ts';

const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
const Z32 = 'ybndrfg8ejkmcpqxot1uwisza345h769';

const toZ32: ReadonlyMap<string, string> = new Map([...BASE32].map((c, i) => [c, Z32[i]!]));
const fromZ32: ReadonlyMap<string, string> = new Map([...Z32].map((c, i) => [c, BASE32[i]!]));

/** Lower-case RFC 4648 §6 base32. */
export function encodeBase32(bytes: Uint8Array): string {
  return base32nopad.encode(bytes).toLowerCase();
}

/** Takes either case. @throws {DecodeError} */
export function decodeBase32(text: string): Uint8Array {
  // Checked before changing case: the upper case of "ı" is "I".
  if (!/^[A-Za-z2-7]*$/.test(text)) throw new DecodeError('base32: foreign character');
  return decode(base32nopad, text.toUpperCase(), 'base32');
}

/** Lower-case RFC 4648 §7 base32hex. */
export function encodeBase32Hex(bytes: Uint8Array): string {
  return base32hexnopad.encode(bytes).toLowerCase();
}

/** Takes either case. @throws {DecodeError} */
export function decodeBase32Hex(text: string): Uint8Array {
  if (!/^[0-9A-Va-v]*$/.test(text)) throw new DecodeError('base32hex: foreign character');
  return decode(base32hexnopad, text.toUpperCase(), 'base32hex');
}

/** z-base-32 as pkarr writes it: base32 with another alphabet, most significant bit first. */
export function encodeZ32(bytes: Uint8Array): string {
  let text = '';
  for (const character of base32nopad.encode(bytes)) text += toZ32.get(character)!;
  return text;
}

/** Takes lower case only, as iroh does. @throws {DecodeError} */
export function decodeZ32(text: string): Uint8Array {
  let translated = '';
  for (const character of text) {
    const other = fromZ32.get(character);
    if (other === undefined) throw new DecodeError('z-base-32: foreign character');
    translated += other;
  }
  return decode(base32nopad, translated, 'z-base-32');
}

/** RFC 4648 §5, without padding. */
export function encodeBase64Url(bytes: Uint8Array): string {
  return base64urlnopad.encode(bytes);
}

/** Takes no padding. @throws {DecodeError} */
export function decodeBase64Url(text: string): Uint8Array {
  return decode(base64urlnopad, text, 'base64url');
}

function decode(coder: { decode(text: string): Uint8Array }, text: string, name: string): Uint8Array {
  try {
    return coder.decode(text);
  } catch (cause) {
    const error = new DecodeError(`${name}: impossible length, foreign character or trailing bits`);
    error.cause = cause;
    throw error;
  }
}
