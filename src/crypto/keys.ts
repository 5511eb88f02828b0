/**
 * Secret keys and signatures as values (`iroh-base/src/key.rs`). The public half, {@link EndpointId}, needs no
 * cryptography and lives in `base`.
 *
 * @module
 */
import { ed25519PublicKey, ed25519Sign, ed25519Verify } from '#crypto/signature';
import { systemRng } from '#crypto/random';
import { equalBytes, fromHex, toHex } from '../base/bytes.ts';
import { EndpointId, parseKeyText } from '../base/endpoint-id.ts';
import { ParseError } from '../base/parse-error.ts';
import { randomBytes, type Rng } from '../base/rng.ts';

export { EndpointId, PublicKey } from '../base/endpoint-id.ts';

/** Bytes of a secret key. */
export const SECRET_KEY_BYTES = 32;

/** Bytes of a signature. */
export const SIGNATURE_BYTES = 64;

/** An Ed25519 seed (RFC 8032 §5.1.5), 32 bytes: the long-term secret of an endpoint. Its bytes appear in no text or JSON. */
export class SecretKey {
  // Always the same array: the signature module remembers its imported form by identity.
  readonly #seed: Uint8Array;
  #publicKey: EndpointId | undefined;

  private constructor(seed: Uint8Array) {
    this.#seed = seed;
  }

  /** Makes a new key. @param rng - Default: the system's secure one. */
  static generate(rng: Rng = systemRng): SecretKey {
    return new SecretKey(randomBytes(rng, SECRET_KEY_BYTES));
  }

  /** Takes 32 bytes, copied; any are a key. @throws {ParseError} `SecretKey.Length` */
  static fromBytes(bytes: Uint8Array): SecretKey {
    if (bytes.length !== SECRET_KEY_BYTES)
      throw new ParseError(
        'ParseError.SecretKey.Length',
        `secret key: expected ${SECRET_KEY_BYTES} bytes, got ${bytes.length}`,
      );
    return new SecretKey(new Uint8Array(bytes));
  }

  /**
   * Parses 64 lower-case hex characters, or 52 characters of base32 in either case.
   * @throws {ParseError} `SecretKey.Length`, `SecretKey.Encoding`
   */
  static parse(text: string): SecretKey {
    return new SecretKey(parseKeyText(text, 'SecretKey'));
  }

  /** The id of the endpoint that has this key. */
  get publicKey(): EndpointId {
    return (this.#publicKey ??= EndpointId.fromVerified(ed25519PublicKey(this.#seed)));
  }

  /** Signs a message of any length (Ed25519, RFC 8032 §5.1.6: the same message gives the same signature). */
  sign(message: Uint8Array): Signature {
    return Signature.fromBytes(ed25519Sign(this.#seed, message));
  }

  /** A copy of the 32 secret bytes, for storing. */
  toBytes(): Uint8Array {
    return this.#seed.slice();
  }

  /** Takes the same time whatever differs. */
  equals(other: SecretKey): boolean {
    return equalBytes(this.#seed, other.#seed);
  }

  /** Redacted. */
  toString(): string {
    return 'SecretKey(..)';
  }

  /** Redacted. */
  toJSON(): string {
    return this.toString();
  }

  /** What `console.log` shows in Node: redacted. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }
}

/** An Ed25519 signature, 64 bytes: R, then s. */
export class Signature {
  readonly #bytes: Uint8Array;

  private constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Takes 64 bytes, copied; whether they mean anything shows in {@link verify}. @throws {ParseError} `Signature` */
  static fromBytes(bytes: Uint8Array): Signature {
    if (bytes.length !== SIGNATURE_BYTES)
      throw new ParseError(
        'ParseError.Signature',
        `signature: expected ${SIGNATURE_BYTES} bytes, got ${bytes.length}`,
      );
    return new Signature(new Uint8Array(bytes));
  }

  /** Parses 128 hex characters. @throws {ParseError} `Signature` */
  static parse(text: string): Signature {
    try {
      return Signature.fromBytes(fromHex(text));
    } catch (cause) {
      throw new ParseError('ParseError.Signature', 'signature: expected 128 hex characters', cause);
    }
  }

  /** True when `signer` signed `message`. Strict as dalek's `verify_strict`: small-order keys never verify. */
  verify(signer: EndpointId, message: Uint8Array): boolean {
    return ed25519Verify(signer.toBytes(), message, this.#bytes);
  }

  /** A copy of the 64 bytes. */
  toBytes(): Uint8Array {
    return this.#bytes.slice();
  }

  /** True for the same 64 bytes. */
  equals(other: Signature): boolean {
    return equalBytes(this.#bytes, other.#bytes);
  }

  /** 128 lower-case hex characters. */
  toString(): string {
    return toHex(this.#bytes);
  }

  /** 64 numbers, as serde writes it. */
  toJSON(): number[] {
    return [...this.#bytes];
  }
}
