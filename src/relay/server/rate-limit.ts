/**
 * How fast a relay reads from one client (`iroh-relay/src/server/streams.rs`): a bucket of tokens that may go below zero,
 * because a frame is read before its size is known.
 *
 * @module
 */
import type { Millis } from '../../base/clock.ts';

/** How often the bucket is refilled (`iroh-relay/src/server/streams.rs`). */
export const REFILL_INTERVAL_MS = 100;

/** A rate, as configured. */
export interface RateLimit {
  /** At least 10: less would never refill. */
  readonly bytesPerSecond: number;
  /** Capacity of the bucket; by default what flows in {@link REFILL_INTERVAL_MS}. */
  readonly maxBurstBytes?: number | undefined;
}

/** Tokens for bytes. Filled lazily: holds no timer. */
export class TokenBucket {
  readonly #refill: number;
  readonly #capacity: number;
  #tokens: number;
  #filledAt: Millis;

  /** @throws {RangeError} for a rate that would never let anything through. */
  constructor({ bytesPerSecond, maxBurstBytes }: RateLimit, now: Millis) {
    this.#refill = Math.floor((bytesPerSecond * REFILL_INTERVAL_MS) / 1_000);
    if (!(this.#refill > 0))
      throw new RangeError(`rate limit: ${bytesPerSecond} bytes per second is too little`);
    this.#capacity = maxBurstBytes ?? this.#refill;
    if (!(this.#capacity > 0)) throw new RangeError('rate limit: a burst of no bytes');
    this.#tokens = this.#capacity;
    this.#filledAt = now;
  }

  /** Takes tokens if there are any. @returns false when there are none, and takes nothing then. */
  tryTake(bytes: number, now: Millis): boolean {
    this.#fill(now);
    if (this.#tokens <= 0) return false;
    this.#tokens -= bytes;
    return true;
  }

  /** Takes tokens for what was read. @returns how long not to read any more, ms; 0 to go on. */
  take(bytes: number, now: Millis): Millis {
    this.#fill(now);
    this.#tokens -= bytes;
    if (this.#tokens > 0) return 0;
    const missing = Math.floor(-this.#tokens / this.#refill) + 1;
    return this.#filledAt + missing * REFILL_INTERVAL_MS - now;
  }

  #fill(now: Millis): void {
    const intervals = Math.floor((now - this.#filledAt) / REFILL_INTERVAL_MS);
    if (intervals > 0) {
      this.#filledAt += intervals * REFILL_INTERVAL_MS;
      this.#tokens = Math.min(this.#capacity, this.#tokens + intervals * this.#refill);
    }
  }
}
