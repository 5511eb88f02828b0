/**
 * Hashes, HMAC and HKDF of the TLS key schedule on `node:crypto`. The browser twin is `kdf.browser.ts`.
 *
 * HKDF is made of HMAC calls: `hkdfSync` costs 7.5 µs where one HMAC block takes 1.4 µs.
 *
 * @module
 */
import { createHash as createNodeHash, createHmac, type Hash } from 'node:crypto';
import { expandLabel, type HashName, type IncrementalHash } from './hkdf-label.ts';

export { hashLength, type HashName, type IncrementalHash } from './hkdf-label.ts';

/** Not the Buffer itself: its slice() shares memory where Uint8Array's copies. */
function plain(buffer: Buffer): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.length);
}

class NodeHash implements IncrementalHash {
  readonly #hash: Hash;

  constructor(name: HashName) {
    this.#hash = createNodeHash(name);
  }

  update(data: Uint8Array): void {
    this.#hash.update(data);
  }

  digest(): Uint8Array {
    return plain(this.#hash.copy().digest());
  }
}

/** Starts a hash. */
export function createHash(name: HashName): IncrementalHash {
  return new NodeHash(name);
}

/** Digest of `data`. */
export function hash(name: HashName, data: Uint8Array): Uint8Array {
  return plain(createNodeHash(name).update(data).digest());
}

/** HMAC (RFC 2104) of `data` under `key`. */
export function hmac(name: HashName, key: Uint8Array, data: Uint8Array): Uint8Array {
  return plain(createHmac(name, key).update(data).digest());
}

/** HKDF-Extract (RFC 5869 §2.2). An empty salt stands for zeros. */
export function hkdfExtract(name: HashName, salt: Uint8Array, ikm: Uint8Array): Uint8Array {
  return hmac(name, salt, ikm);
}

/**
 * HKDF-Expand-Label (RFC 8446 §7.1).
 * @param label - Without the prefix "tls13 ".
 * @param length - Bytes wanted, at most 255 × hash length.
 * @throws {RangeError} when label, context or length are too long.
 */
export function hkdfExpandLabel(
  name: HashName,
  secret: Uint8Array,
  label: string,
  context: Uint8Array,
  length: number,
): Uint8Array {
  return expandLabel(hmac, name, secret, label, context, length);
}
