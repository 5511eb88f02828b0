/**
 * Ed25519 (RFC 8032) on @noble/ed25519, strict in verification, for browsers. The Node twin is `signature.ts`.
 *
 * @module
 */
import * as ed from '@noble/ed25519';
import { sha512 } from '@noble/hashes/sha2.js';
import { equalBytes } from '../base/bytes.ts';
import { isStrictSignature } from './strict-ed25519.ts';

// The synchronous half of @noble/ed25519 comes without a hash.
ed.hashes.sha512 ??= sha512;

function checkSeed(seed: Uint8Array): void {
  if (seed.length !== 32) throw new RangeError(`ed25519 seed: expected 32 bytes, got ${seed.length}`);
}

/** The 32-byte public key of a 32-byte seed. @throws {RangeError} on another length. */
export function ed25519PublicKey(seed: Uint8Array): Uint8Array {
  checkSeed(seed);
  return ed.getPublicKey(seed);
}

/** Signs `message`; 64 bytes. @param seed - 32 bytes. @throws {RangeError} on another length. */
export function ed25519Sign(seed: Uint8Array, message: Uint8Array): Uint8Array {
  checkSeed(seed);
  return ed.sign(message, seed);
}

/**
 * Verifies like dalek's `verify_strict`: no cofactor, canonical encodings only, no points of small order. Any input is
 * allowed; wrong lengths are a plain false.
 *
 * Not `ed.verify`, which multiplies by the cofactor and so takes an R with a small-order part that dalek and OpenSSL
 * refuse.
 */
export function ed25519Verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (!isStrictSignature(publicKey, signature)) return false;
  const r = signature.subarray(0, 32);
  let a: ed.Point;
  try {
    a = ed.Point.fromBytes(publicKey);
  } catch {
    return false; // y has no point on the curve
  }
  // R = [s]B − [k]A with k = SHA-512(R ‖ A ‖ M) mod L, compared as bytes (RFC 8032 §5.1.7)
  const digest = sha512.create().update(r).update(publicKey).update(message).digest();
  const k = littleEndian(digest) % ed.Point.CURVE().n;
  const s = littleEndian(signature.subarray(32));
  const expected = ed.Point.BASE.multiply(s, false).subtract(a.multiply(k, false));
  return equalBytes(expected.toBytes(), r);
}

function littleEndian(bytes: Uint8Array): bigint {
  let value = 0n;
  for (let i = bytes.length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i]!);
  return value;
}
