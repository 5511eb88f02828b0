/**
 * The bytes that test/interop/rust-peer/src/transfer.rs sends, so that both ends can name a payload by seed and length.
 *
 * @module
 */
import { createHash, type Hash } from 'node:crypto';

/** Length of the repeated block. Coprime with every power of two, so that misplaced chunks change the hash. */
const BLOCK = 1_000_003;
const blocks = new Map<number, Uint8Array>();

/** One period of a linear congruential generator, its top byte each. */
function blockOf(seed: number): Uint8Array {
  let block = blocks.get(seed);
  if (block === undefined) {
    block = new Uint8Array(BLOCK);
    let state = seed | 0;
    // A global costs a look-up through jest's context each time.
    const { imul } = Math;
    for (let i = 0; i < BLOCK; i++) {
      state = (imul(state, 1_664_525) + 1_013_904_223) | 0;
      block[i] = state >>> 24;
    }
    blocks.set(seed, block);
  }
  return block;
}

/** Bytes from `at` on, at most to the end of the block: a view, not to be changed. */
function pieceOf(seed: number, at: number, length: number): Uint8Array {
  const start = at % BLOCK;
  return blockOf(seed).subarray(start, Math.min(start + length, BLOCK));
}

/** `length` bytes from offset `at` of the endless sequence of `seed`. A new seed costs a megabyte of work. */
export function sourceBytes(seed: number, length: number, at = 0): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let filled = 0; filled < length;) {
    const piece = pieceOf(seed, at + filled, length - filled);
    bytes.set(piece, filled);
    filled += piece.length;
  }
  return bytes;
}

/** The same in pieces of at most `chunk` bytes. */
export function* sourceChunks(seed: number, length: number, chunk: number): Generator<Uint8Array, void> {
  for (let at = 0; at < length;) {
    const piece = pieceOf(seed, at, Math.min(chunk, length - at));
    yield piece;
    at += piece.length;
  }
}

/** SHA-256 of what {@link sourceBytes} gives, in hex. */
export function sourceHash(seed: number, length: number): string {
  const hash: Hash = createHash('sha256');
  for (const piece of sourceChunks(seed, length, BLOCK)) hash.update(piece);
  return hash.digest('hex');
}

/** Equality of bytes, at the speed of memcmp (`toEqual` walks elements). */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
