/**
 * The identity of an endpoint: its Ed25519 public key as a value. Text forms as iroh has them
 * (`iroh-base/src/key.rs`); verifying with it is `Signature.verify` in `src/crypto/keys.ts`.
 *
 * @module
 */
import { DecodeError, equalBytes, fromHex, toHex } from './bytes.ts';
import { isEdwardsPoint } from './edwards-point.ts';
import { decodeBase32, decodeZ32, encodeZ32 } from './encoding.ts';
import { ParseError } from './parse-error.ts';

/** Bytes of an endpoint id. */
export const ENDPOINT_ID_BYTES = 32;

/**
 * The Ed25519 public key that names an endpoint, 32 bytes. Equality and order are those of the bytes: two encodings of
 * one point are two ids.
 */
export class EndpointId {
  readonly #bytes: Uint8Array;
  #hex: string | undefined;

  private constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /**
   * Takes 32 bytes, copied. Whoever can decompress to a point is a key, as in iroh: small-order and non-canonical keys
   * are ids too, only that nobody can sign for them.
   * @throws {ParseError} `EndpointId.Length`, `EndpointId.NotAPoint`
   */
  static fromBytes(bytes: Uint8Array): EndpointId {
    const id = EndpointId.fromVerified(bytes);
    if (!isEdwardsPoint(bytes))
      throw new ParseError('ParseError.EndpointId.NotAPoint', `no public key: ${toHex(bytes)}`);
    return id;
  }

  /**
   * Takes 32 bytes, copied, that are known to be a key, for instance because a signature verified with them: saves the
   * check for a point (0.1 ms).
   * @throws {ParseError} `EndpointId.Length`
   */
  static fromVerified(bytes: Uint8Array): EndpointId {
    if (bytes.length !== ENDPOINT_ID_BYTES)
      throw new ParseError(
        'ParseError.EndpointId.Length',
        `endpoint id: expected ${ENDPOINT_ID_BYTES} bytes, got ${bytes.length}`,
      );
    // Not slice(): on a Buffer it would share memory.
    return new EndpointId(new Uint8Array(bytes));
  }

  /**
   * Parses 64 lower-case hex characters, or 52 characters of base32 in either case.
   * @throws {ParseError} `EndpointId.Length`, `EndpointId.Encoding`, `EndpointId.NotAPoint`
   */
  static parse(text: string): EndpointId {
    return EndpointId.fromBytes(parseKeyText(text, 'EndpointId'));
  }

  /** Parses 52 characters of lower-case z-base-32. @throws {ParseError} as {@link parse} */
  static fromZ32(text: string): EndpointId {
    if (text.length !== 52)
      throw new ParseError('ParseError.EndpointId.Length', `z-base-32 id: ${text.length} characters, not 52`);
    let bytes: Uint8Array;
    try {
      bytes = decodeZ32(text);
    } catch (cause) {
      throw new ParseError(
        'ParseError.EndpointId.Encoding',
        `z-base-32 id: ${(cause as Error).message}`,
        cause,
      );
    }
    return EndpointId.fromBytes(bytes);
  }

  /** A copy of the 32 bytes. */
  toBytes(): Uint8Array {
    return this.#bytes.slice();
  }

  /** 64 lower-case hex characters; the same string object each time, so fit for a map key. */
  toString(): string {
    return (this.#hex ??= toHex(this.#bytes));
  }

  /** The first ten hex characters, for logs. */
  short(): string {
    return this.toString().slice(0, 10);
  }

  /** 52 characters of z-base-32: the label in pkarr and DNS. */
  toZ32(): string {
    return encodeZ32(this.#bytes);
  }

  /** True for the same 32 bytes. */
  equals(other: EndpointId): boolean {
    return this === other || equalBytes(this.#bytes, other.#bytes);
  }

  /** Negative, zero or positive, by bytes. */
  compare(other: EndpointId): number {
    for (let i = 0; i < ENDPOINT_ID_BYTES; i++) {
      const difference = this.#bytes[i]! - other.#bytes[i]!;
      if (difference !== 0) return difference;
    }
    return 0;
  }

  /** The same as {@link toString}. */
  toJSON(): string {
    return this.toString();
  }

  /** What `console.log` shows in Node. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return `EndpointId(${this.toString()})`;
  }
}

/** The same value under the name it has where identity is not the point. */
export { EndpointId as PublicKey };

/** The text forms that public and secret keys share. Messages do not repeat the text, it may be a secret. */
export function parseKeyText(text: string, kind: 'EndpointId' | 'SecretKey'): Uint8Array {
  // iroh decides by the length in UTF-8; that a foreign character ends as another error there is no matter.
  if (text.length !== 64 && text.length !== 52)
    throw new ParseError(
      `ParseError.${kind}.Length`,
      `key text: expected 64 hex or 52 base32 characters, got ${text.length}`,
    );
  try {
    if (text.length === 52) return decodeBase32(text);
    if (!/^[0-9a-f]*$/.test(text)) throw new DecodeError('not lower-case hex');
    return fromHex(text);
  } catch (cause) {
    throw new ParseError(`ParseError.${kind}.Encoding`, `key text: ${(cause as Error).message}`, cause);
  }
}
