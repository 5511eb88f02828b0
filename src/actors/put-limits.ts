/**
 * How often an address may put packets (`iroh-dns-server/src/http/rate_limiting.rs`).
 *
 * @module
 */
import type { Millis } from '../base/clock.ts';
import { toAddr } from '../base/socket-addr.ts';
import { toHex } from '../base/bytes.ts';
import { TokenBucket } from '../relay/server/rate-limit.ts';

/** How often. */
export interface PutRateLimit {
  /** Puts at once. Default 2. */
  readonly burst?: number | undefined;
  /** Time after which one more is allowed, ms; up to 100,000. Default 4,000. */
  readonly intervalMs?: number | undefined;
}

/** Addresses that are remembered; the one that put least recently is forgotten first. */
const MAX_ADDRS = 65_536;
/** Tokens of one put: the bucket refills in whole ones, ten times a second. */
const TOKENS_PER_PUT = 1_000_000;
/** Who has IPv6 mostly has so many bytes of it, and all that follows. */
const IPV6_PREFIX_BYTES = 8;

/** A bucket for each address. */
export class PutLimits {
  readonly #buckets = new Map<string, TokenBucket>();
  readonly #burst: number;
  readonly #intervalMs: number;

  /** @throws {RangeError} for a rate that would never let anything through. */
  constructor({ burst = 2, intervalMs = 4_000 }: PutRateLimit) {
    if (!(burst >= 1 && intervalMs > 0)) throw new RangeError('rate limit: not a single put');
    this.#burst = burst;
    this.#intervalMs = intervalMs;
    this.#newBucket(0);
  }

  /** Seconds until a refused put may come again. */
  get retryAfterSeconds(): number {
    return Math.ceil(this.#intervalMs / 1_000);
  }

  /** @param ip - An IP literal. */
  admits(ip: string, now: Millis): boolean {
    const key = toKey(ip);
    const bucket = this.#buckets.get(key) ?? this.#newBucket(now);
    this.#buckets.delete(key);
    this.#buckets.set(key, bucket);
    if (this.#buckets.size > MAX_ADDRS) this.#buckets.delete(this.#buckets.keys().next().value!);
    return bucket.tryTake(TOKENS_PER_PUT, now);
  }

  #newBucket(now: Millis): TokenBucket {
    // A bucket gives as long as anything is in it. So the last put of a burst finds one token.
    return new TokenBucket(
      {
        bytesPerSecond: (TOKENS_PER_PUT * 1_000) / this.#intervalMs,
        maxBurstBytes: (this.#burst - 1) * TOKENS_PER_PUT + 1,
      },
      now,
    );
  }
}

function toKey(ip: string): string {
  const { family, bytes } = toAddr(ip, 0);
  return toHex(family === 4 ? bytes : bytes.subarray(0, IPV6_PREFIX_BYTES));
}
