/**
 * X25519 (RFC 7748) on noble, for browsers. The Node twin is `key-exchange.ts`.
 *
 * @module
 */
import { x25519 } from '@noble/curves/ed25519.js';
import { randomBytes, type Rng } from '../base/rng.ts';
import type { KeyPair } from './key-exchange.ts';

export type { KeyPair } from './key-exchange.ts';

class NobleKeyPair implements KeyPair {
  readonly publicKey: Uint8Array;
  readonly #secret: Uint8Array;

  constructor(secret: Uint8Array) {
    this.#secret = secret;
    this.publicKey = x25519.getPublicKey(secret);
  }

  sharedSecret(peer: Uint8Array): Uint8Array | undefined {
    if (peer.length !== 32) return undefined;
    try {
      return x25519.getSharedSecret(this.#secret, peer);
    } catch {
      // noble refuses an all-zero secret.
      return undefined;
    }
  }
}

/** Makes a fresh key pair. */
export function generateX25519(rng: Rng): KeyPair {
  return new NobleKeyPair(randomBytes(rng, 32));
}

/** The key pair of a known 32-byte secret, clamped as RFC 7748 §5 says. @throws {RangeError} on another length. */
export function x25519FromSecret(secret: Uint8Array): KeyPair {
  if (secret.length !== 32) throw new RangeError(`x25519 secret: expected 32 bytes, got ${secret.length}`);
  return new NobleKeyPair(secret.slice());
}
