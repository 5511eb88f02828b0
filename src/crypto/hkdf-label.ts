/**
 * HKDF-Expand-Label (RFC 8446 §7.1) over any HMAC, shared by `kdf.ts` and `kdf.browser.ts`, and the names of the hashes.
 *
 * @module
 */
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
 * Labels remembered. TLS, QUIC and key updates use about twenty; the cap keeps applications that invent exporter labels from
 * growing it.
 */
const MAX_CACHED_LABELS = 64;
const MAX_CACHED_LENGTHS = 4;

/** The start of an HkdfLabel: length and label. */
interface Prefix {
  readonly length: number;
  readonly bytes: Uint8Array;
  /** With an empty context: HkdfLabel plus the counter byte 1 of the first HKDF-Expand block. */
  readonly whole: Uint8Array;
}

/** By label; each is used with one length, or two. */
const cache = new Map<string, Prefix[]>();

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
  const info = infoOf(label, context, length);
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

/** `length u16 | label length u8 | "tls13 " label | context length u8 | context | 1` */
function infoOf(label: string, context: Uint8Array, length: number): Uint8Array {
  const prefix = prefixOf(label, length);
  if (context.length === 0) return prefix.whole;
  if (context.length > 255) throw new RangeError(`hkdf: context of ${context.length} bytes`);
  const { bytes } = prefix;
  const info = new Uint8Array(bytes.length + context.length + 2);
  info.set(bytes);
  info[bytes.length] = context.length;
  info.set(context, bytes.length + 1);
  info[info.length - 1] = 1;
  return info;
}

function prefixOf(label: string, length: number): Prefix {
  let known = cache.get(label);
  const found = known?.find((each) => each.length === length);
  if (found !== undefined) return found;
  const prefix = encodePrefix(label, length);
  if (known === undefined && cache.size < MAX_CACHED_LABELS) cache.set(label, (known = []));
  if (known !== undefined && known.length < MAX_CACHED_LENGTHS) known.push(prefix);
  return prefix;
}

function encodePrefix(label: string, length: number): Prefix {
  const text = encoder.encode(`tls13 ${label}`);
  if (text.length - 6 > MAX_LABEL_BYTES) throw new RangeError(`hkdf: label of ${text.length - 6} bytes`);
  const whole = new Uint8Array(5 + text.length);
  whole[0] = length >>> 8;
  whole[1] = length;
  whole[2] = text.length;
  whole.set(text, 3);
  whole[whole.length - 1] = 1;
  return { length, bytes: whole.subarray(0, 3 + text.length), whole };
}
