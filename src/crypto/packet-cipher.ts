/**
 * What packet protection needs from a cipher: sealing and opening in place inside a datagram buffer, and header masks.
 * Implemented by `aead.ts` (Node) and `aead.browser.ts`.
 *
 * @module
 */

/** The AEADs of the three TLS 1.3 cipher suites that QUIC uses (RFC 9001 §5.3). */
export type AeadName = 'aes-128-gcm' | 'aes-256-gcm' | 'chacha20-poly1305';

/** Key lengths in bytes (RFC 5116 §5.1, §5.2; RFC 8439 §2.8); the header key of a suite has the same length. */
export const AEAD_KEY_BYTES = {
  'aes-128-gcm': 16,
  'aes-256-gcm': 32,
  'chacha20-poly1305': 32,
} as const satisfies Record<AeadName, number>;

/** All three AEADs take 12-byte nonces. */
export const AEAD_NONCE_BYTES = 12;

/** All three AEADs add a 16-byte tag (RFC 9001 §5.3). */
export const AEAD_TAG_BYTES = 16;

/** A header protection sample and the block made from it (RFC 9001 §5.4.2). */
export const HEADER_SAMPLE_BYTES = 16;

/**
 * One packet to seal or open, all inside one buffer: `[ … | header | payload | tag 16 B | … ]`. Meant to be reused from
 * packet to packet.
 */
export interface PacketJob {
  /** The buffer; changed in place by sealing, perhaps by opening. */
  bytes: Uint8Array;
  /** Index of the header's first byte; the header is the associated data. */
  headerStart: number;
  /** Index after the packet number, where the payload starts. */
  payloadStart: number;
  /** Sealing: index after the plaintext, 16 bytes must follow. Opening: index after the tag. */
  payloadEnd: number;
  /** 12 bytes, owned by the job and overwritten for each packet. */
  readonly nonce: Uint8Array;
}

/** An AEAD with its key. Synchronous; safe to use for any number of packets within the suite's limits (RFC 9001 §6.6). */
export interface Aead {
  readonly name: AeadName;
  /**
   * Encrypts `[payloadStart, payloadEnd)` in place and writes the 16-byte tag at `payloadEnd`; the associated data is
   * `[headerStart, payloadStart)`.
   */
  seal(job: PacketJob): void;
  /** Seals the first `count` of `jobs`. */
  sealBatch(jobs: readonly PacketJob[], count: number): void;
  /**
   * Decrypts `[payloadStart, payloadEnd − 16)` and checks the tag behind it.
   * @returns The plaintext, in an array of its own or in place in `bytes`; undefined when it does not authenticate or is
   * shorter than a tag, and then `bytes` are as they were.
   */
  open(job: PacketJob): Uint8Array | undefined;
}

/** Makes header protection masks. */
export interface HeaderKey {
  /**
   * Computes `count` masks at once (RFC 9001 §5.4.3, §5.4.4).
   * @param samples - At least `count` samples of 16 bytes back to back.
   * @returns One 16-byte block per sample; the first 5 bytes of each block are the mask. Valid until the next call.
   */
  masks(samples: Uint8Array, count: number): Uint8Array;
}

/** @throws {RangeError} unless `key` has the length that `name` takes. */
export function checkKeyLength(name: AeadName, key: Uint8Array): void {
  const expected = AEAD_KEY_BYTES[name];
  if (key.length !== expected)
    throw new RangeError(`${name}: expected a key of ${expected} bytes, got ${key.length}`);
}
