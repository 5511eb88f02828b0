/**
 * Ed25519 (RFC 8032) on `node:crypto`, strict in verification. The browser twin is `signature.browser.ts`.
 *
 * @module
 */
import { sign, verify, type KeyObject } from 'node:crypto';
import { equalBytes } from '../base/bytes.ts';
import { exportPublicKey, importPublicKey, importSecretKey } from './okp-keys.ts';
import { isStrictSignature } from './strict-ed25519.ts';

/** An imported seed. The copy detects a caller that overwrote the array it had passed. */
interface ImportedSeed {
  readonly seed: Uint8Array;
  readonly key: KeyObject;
}

// By identity, so that an endpoint that keeps its seed in one array imports it once (27 µs) and not per handshake, and
// that the key goes away with the array.
const imported = new WeakMap<Uint8Array, ImportedSeed>();

function importSeed(seed: Uint8Array): KeyObject {
  if (seed.length !== 32) throw new RangeError(`ed25519 seed: expected 32 bytes, got ${seed.length}`);
  const known = imported.get(seed);
  if (known !== undefined && equalBytes(known.seed, seed)) return known.key;
  const key = importSecretKey('Ed25519', seed);
  imported.set(seed, { seed: seed.slice(), key });
  return key;
}

/** The 32-byte public key of a 32-byte seed. @throws {RangeError} on another length. */
export function ed25519PublicKey(seed: Uint8Array): Uint8Array {
  return exportPublicKey(importSeed(seed));
}

/**
 * Signs `message`; 64 bytes.
 * @param seed - 32 bytes; pass the same array each time, its imported form is remembered.
 * @throws {RangeError} on another length.
 */
export function ed25519Sign(seed: Uint8Array, message: Uint8Array): Uint8Array {
  const signature = sign(null, message, importSeed(seed));
  return new Uint8Array(signature.buffer, signature.byteOffset, signature.length);
}

/**
 * Verifies like dalek's `verify_strict`: no cofactor, canonical encodings only, no points of small order. Any input is
 * allowed; wrong lengths are a plain false.
 */
export function ed25519Verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (!isStrictSignature(publicKey, signature)) return false;
  try {
    return verify(null, message, importPublicKey('Ed25519', publicKey), signature);
  } catch {
    // Some versions of OpenSSL complain at import about a y without a point.
    return false;
  }
}
