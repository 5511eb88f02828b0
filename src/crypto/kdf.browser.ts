/**
 * Hashes, HMAC and HKDF of the TLS key schedule for browsers: SHA-256 on WebAssembly, SHA-384 and what runs without it on
 * noble. The Node twin is `kdf.ts`.
 *
 * @module
 */
import { hmac as nobleHmac } from '@noble/hashes/hmac.js';
import { sha256, sha384 } from '@noble/hashes/sha2.js';
import { expandLabel, type HashName, type IncrementalHash } from './hkdf-label.ts';
import { WasmSha256, hasWasmSha256, wasmHmacSha256, wasmSha256 } from './wasm-sha256.ts';

export { hashLength, type HashName, type IncrementalHash } from './hkdf-label.ts';

function isWasm(name: HashName): boolean {
  return name === 'sha256' && hasWasmSha256();
}

function implementation(name: HashName): typeof sha256 | typeof sha384 {
  return name === 'sha256' ? sha256 : sha384;
}

class NobleHash implements IncrementalHash {
  readonly #hash: ReturnType<(typeof sha256)['create']> | ReturnType<(typeof sha384)['create']>;

  constructor(name: HashName) {
    this.#hash = implementation(name).create();
  }

  update(data: Uint8Array): void {
    this.#hash.update(data);
  }

  digest(): Uint8Array {
    return this.#hash.clone().digest();
  }
}

/** Starts a hash. */
export function createHash(name: HashName): IncrementalHash {
  return isWasm(name) ? new WasmSha256() : new NobleHash(name);
}

/** Digest of `data`. */
export function hash(name: HashName, data: Uint8Array): Uint8Array {
  return isWasm(name) ? wasmSha256(data) : implementation(name)(data);
}

/** HMAC (RFC 2104) of `data` under `key`. @throws {RangeError} when `data` has more than 32,768 bytes. */
export function hmac(name: HashName, key: Uint8Array, data: Uint8Array): Uint8Array {
  return isWasm(name) ? wasmHmacSha256(key, data) : nobleHmac(implementation(name), key, data);
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
