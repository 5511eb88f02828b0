/**
 * HKDF-Expand-Label (RFC 8446 §7.1) over any HMAC, shared by `kdf.ts` and `kdf.browser.ts`, and the names of the hashes.
 *
 * @module
 */
import { EMPTY } from '../base/bytes.ts';

/** The hashes of the TLS 1.3 cipher suites. */
export type HashName = 'sha256' | 'sha384';

/** A hash over data that arrives in parts, such as a handshake transcript. */
export interface IncrementalHash {
  update(data: Uint8Array): void;
  /** The digest of everything so far, in a fresh array; hashing may go on. */
  digest(): Uint8Array;
}

/** Digest length in bytes. */
export function hashLength(name: HashName): 32 | 48 {
  return name === 'sha256' ? 32 : 48;
}

/** HMAC of `data` under `key`. */
export type Hmac = (name: HashName, key: Uint8Array, data: Uint8Array) => Uint8Array;

/** Longest label that fits its one-byte length together with the prefix "tls13 " (RFC 8446 §7.1). */
const MAX_LABEL_BYTES = 255 - 6;

/**
 * Labels remembered with an empty context. TLS, QUIC and key updates use about ten; the cap keeps applications that
 * invent exporter labels from growing it.
 */
const MAX_CACHED_LABELS = 64;

// Key: length and label. Value: HkdfLabel plus the counter byte 1 of the first HKDF-Expand block.
const cache = new Map<string, Uint8Array>();

const encoder = new TextEncoder();

/**
 * Expands `secret` (RFC 8446 §7.1).
 * @param label - Without the prefix "tls13 ".
 * @param length - Bytes wanted, at most 255 × hash length (RFC 5869 §2.3).
 * @throws {RangeError} when label, context or length are too long.
 */
export function expandLabel(
  hmac: Hmac,
  name: HashName,
  secret: Uint8Array,
  label: string,
  context: Uint8Array,
  length: number,
): Uint8Array {
  const hashBytes = hashLength(name);
  if (!Number.isInteger(length) || length < 0 || length > 255 * hashBytes)
    throw new RangeError(`hkdf: ${length} bytes are out of reach for ${name}`);
  const info = cachedInfo(label, context, length);
  const first = hmac(name, secret, info);
  if (length <= hashBytes) return length === hashBytes ? first : first.slice(0, length);

  // T(i) = HMAC(secret, T(i−1) ‖ info ‖ i), RFC 5869 §2.3
  const out = new Uint8Array(length);
  const block = new Uint8Array(hashBytes + info.length);
  block.set(info, hashBytes);
  let previous = first;
  out.set(first);
  for (let i = 2, at = hashBytes; at < length; i++, at += hashBytes) {
    block.set(previous);
    block[block.length - 1] = i;
    previous = hmac(name, secret, block);
    out.set(previous.subarray(0, length - at), at);
  }
  return out;
}

function cachedInfo(label: string, context: Uint8Array, length: number): Uint8Array {
  if (context.length > 0) return encodeInfo(label, context, length);
  const key = `${length} ${label}`;
  let info = cache.get(key);
  if (info === undefined) {
    info = encodeInfo(label, EMPTY, length);
    if (cache.size < MAX_CACHED_LABELS) cache.set(key, info);
  }
  return info;
}

/** `length u16 | label length u8 | "tls13 " label | context length u8 | context | 1` */
function encodeInfo(label: string, context: Uint8Array, length: number): Uint8Array {
  const text = encoder.encode(`tls13 ${label}`);
  if (text.length - 6 > MAX_LABEL_BYTES) throw new RangeError(`hkdf: label of ${text.length - 6} bytes`);
  if (context.length > 255) throw new RangeError(`hkdf: context of ${context.length} bytes`);
  const info = new Uint8Array(5 + text.length + context.length);
  info[0] = length >>> 8;
  info[1] = length;
  info[2] = text.length;
  info.set(text, 3);
  info[3 + text.length] = context.length;
  info.set(context, 4 + text.length);
  info[info.length - 1] = 1;
  return info;
}
