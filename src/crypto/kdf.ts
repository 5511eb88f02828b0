/**
 * Hashes, HMAC and HKDF of the TLS key schedule: SHA-256 on WebAssembly, SHA-384 and what runs without it on `node:crypto`.
 * The browser twin is `kdf.browser.ts`.
 *
 * A handshake makes forty HMACs per side. One costs 2.2 µs on WebAssembly where `node:crypto` takes 7.3 µs and makes an
 * object that has to be collected; `hkdfSync` takes more still.
 *
 * @module
 */
import { createHash as createNodeHash, createHmac, type Hash } from 'node:crypto';
import { expandLabel, type HashName, type IncrementalHash } from './hkdf-label.ts';
import { WasmSha256, hasWasmSha256, wasmHmacSha256, wasmSha256 } from './wasm-sha256.ts';

export { hashLength, type HashName, type IncrementalHash } from './hkdf-label.ts';

/** Not the Buffer itself: its slice() shares memory where Uint8Array's copies. */
function plain(buffer: Buffer): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.length);
}

function isWasm(name: HashName): boolean {
  return name === 'sha256' && hasWasmSha256();
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
  return isWasm(name) ? new WasmSha256() : new NodeHash(name);
}

/** Digest of `data`. */
export function hash(name: HashName, data: Uint8Array): Uint8Array {
  return isWasm(name) ? wasmSha256(data) : plain(createNodeHash(name).update(data).digest());
}

/** HMAC (RFC 2104) of `data` under `key`. @throws {RangeError} when `data` has more than 32,768 bytes. */
export function hmac(name: HashName, key: Uint8Array, data: Uint8Array): Uint8Array {
  return isWasm(name) ? wasmHmacSha256(key, data) : plain(createHmac(name, key).update(data).digest());
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
