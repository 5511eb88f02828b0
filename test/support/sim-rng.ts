/**
 * Randomness that follows from a seed: the only source of chance in a simulation.
 *
 * @module
 */
import type { Rng } from '../../src/base/rng.ts';

/** xoshiro128** (Blackman and Vigna), seeded through splitmix32. Fast, and the same on every machine. */
export class SimRng implements Rng {
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  /** @param seed - Any integer; its low 32 bits count. */
  constructor(seed: number) {
    let state = seed | 0;
    const next = (): number => {
      state = (state + 0x9e3779b9) | 0;
      let z = state;
      z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
      z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
      return z ^ (z >>> 16);
    };
    this.#a = next();
    this.#b = next();
    this.#c = next();
    this.#d = next();
  }

  /** Uniform integer in [0, 2^32). */
  next(): number {
    const t0 = Math.imul(this.#b, 5);
    const result = Math.imul((t0 << 7) | (t0 >>> 25), 9) >>> 0;
    const t = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= t;
    this.#d = (this.#d << 11) | (this.#d >>> 21);
    return result;
  }

  /** Uniform in [0, 1). */
  float(): number {
    return this.next() / 0x1_0000_0000;
  }

  /** Uniform integer in [0, bound). */
  below(bound: number): number {
    return Math.floor(this.float() * bound);
  }

  /** Uniform integer in [low, high]. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  /** True with probability `p`. */
  chance(p: number): boolean {
    return this.float() < p;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  fill(target: Uint8Array): Uint8Array {
    for (let at = 0; at < target.length; at += 4) {
      const word = this.next();
      target[at] = word;
      if (at + 1 < target.length) target[at + 1] = word >>> 8;
      if (at + 2 < target.length) target[at + 2] = word >>> 16;
      if (at + 3 < target.length) target[at + 3] = word >>> 24;
    }
    return target;
  }

  bytes(length: number): Uint8Array {
    return this.fill(new Uint8Array(length));
  }

  /** An independent stream: what one part draws does not change what another part gets. */
  fork(): SimRng {
    return new SimRng(this.next());
  }
}
