/**
 * Randomness as a dependency, so that a simulated run can be replayed from its seed.
 *
 * @module
 */

/** A source of random bytes. The platform's one is cryptographically secure; a simulation's is seeded. */
export interface Rng {
  /** Fills `target` with random bytes and returns it. */
  fill(target: Uint8Array): Uint8Array;
}

/** Returns `length` random bytes in a fresh array. */
export function randomBytes(rng: Rng, length: number): Uint8Array {
  return rng.fill(new Uint8Array(length));
}

const scratch = new Uint8Array(4);

/** Returns a uniformly distributed integer in `[0, bound)`; `bound` at most 2^32. */
export function randomBelow(rng: Rng, bound: number): number {
  if (!(bound >= 1 && bound <= 0x1_0000_0000))
    throw new RangeError(`random bound: expected 1 to 2^32, got ${bound}`);
  // Rejection keeps the distribution exact: values above the largest multiple of `bound` are drawn again.
  const limit = 0x1_0000_0000 - (0x1_0000_0000 % bound);
  for (;;) {
    rng.fill(scratch);
    const value = ((scratch[0]! << 24) | (scratch[1]! << 16) | (scratch[2]! << 8) | scratch[3]!) >>> 0;
    if (value < limit) return value % bound;
  }
}
