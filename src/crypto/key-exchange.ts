/**
 * X25519 (RFC 7748) on `node:crypto`. The browser twin is `key-exchange.browser.ts`.
 *
 * @module
 */
import { diffieHellman, type KeyObject } from 'node:crypto';
import { randomBytes, type Rng } from '../base/rng.ts';
import { exportPublicKey, importPublicKey, importSecretKey } from './okp-keys.ts';

/** An X25519 key pair for one handshake. */
export interface KeyPair {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /**
   * The 32-byte shared secret with `peer`.
   * @returns undefined when `peer` is not 32 bytes or the secret is all zero (RFC 7748 §6.1, RFC 8446 §7.4.2).
   */
  sharedSecret(peer: Uint8Array): Uint8Array | undefined;
}

class NodeKeyPair implements KeyPair {
  readonly publicKey: Uint8Array;
  readonly #secretKey: KeyObject;

  constructor(secret: Uint8Array) {
    this.#secretKey = importSecretKey('X25519', secret);
    this.publicKey = exportPublicKey(this.#secretKey);
  }

  sharedSecret(peer: Uint8Array): Uint8Array | undefined {
    if (peer.length !== 32) return undefined;
    try {
      const publicKey = importPublicKey('X25519', peer);
      const secret = diffieHellman({ privateKey: this.#secretKey, publicKey });
      return new Uint8Array(secret.buffer, secret.byteOffset, secret.length);
    } catch {
      // OpenSSL refuses small-order points, which is the all-zero check.
      return undefined;
    }
  }
}

/** Makes a fresh key pair. */
export function generateX25519(rng: Rng): KeyPair {
  return new NodeKeyPair(randomBytes(rng, 32));
}

/** The key pair of a known 32-byte secret, clamped as RFC 7748 §5 says. @throws {RangeError} on another length. */
export function x25519FromSecret(secret: Uint8Array): KeyPair {
  if (secret.length !== 32) throw new RangeError(`x25519 secret: expected 32 bytes, got ${secret.length}`);
  return new NodeKeyPair(secret);
}
