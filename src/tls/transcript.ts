/**
 * The transcript hash of a handshake (RFC 8446 §4.4.1): every handshake message is hashed once, as it passes.
 *
 * @module
 */
import { createHash, hash, hashLength, type HashName, type IncrementalHash } from '#crypto/kdf';
import { HANDSHAKE } from './messages.ts';

/** Runs along with one handshake. */
export class Transcript {
  readonly hash: HashName;
  readonly #state: IncrementalHash;

  constructor(hash: HashName) {
    this.hash = hash;
    this.#state = createHash(hash);
  }

  /** Continues after a HelloRetryRequest: the first ClientHello is replaced by a `message_hash` message (RFC 8446 §4.4.1). */
  static afterRetry(hashName: HashName, firstClientHello: Uint8Array): Transcript {
    const transcript = new Transcript(hashName);
    transcript.update(Uint8Array.of(HANDSHAKE.messageHash, 0, 0, hashLength(hashName)));
    transcript.update(hash(hashName, firstClientHello));
    return transcript;
  }

  /** Adds one or more whole messages with their headers, or a part of one. */
  update(bytes: Uint8Array): void {
    this.#state.update(bytes);
  }

  /** Hash of all so far, fresh. */
  digest(): Uint8Array {
    return this.#state.digest();
  }
}
