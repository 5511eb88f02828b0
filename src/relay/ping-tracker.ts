/**
 * Whether the other end of a relay connection still answers (`iroh-relay/src/ping_tracker.rs`).
 *
 * Only the newest ping counts. How long its pong may take follows from the last round trip.
 *
 * @module
 */
import type { Millis } from '../base/clock.ts';
import { equalBytes } from '../base/bytes.ts';
import { randomBytes, type Rng } from '../base/rng.ts';
import { PING_BYTES } from './frames.ts';

/** Limit for a pong while no round trip is known, and the upper bound of all others (`iroh-relay/src/ping_tracker.rs`). */
export const MAX_PONG_TIMEOUT_MS = 5_000;
/** Lower bound of the limit (`iroh-relay/src/ping_tracker.rs`). */
export const MIN_PONG_TIMEOUT_MS = 500;
/** The limit is so many times the last round trip (`iroh-relay/src/ping_tracker.rs`). */
export const PONG_TIMEOUT_RTTS = 3;

/** The pings of one connection. Takes time and randomness as arguments, holds no timer. */
export class PingTracker {
  readonly #rng: Rng;
  #payload: Uint8Array | undefined;
  #sentAt: Millis = 0;
  #rttMs: Millis | undefined;
  #deadline: Millis | undefined;

  constructor(rng: Rng) {
    this.#rng = rng;
  }

  /** The last round trip; undefined until there was one. */
  get rttMs(): Millis | undefined {
    return this.#rttMs;
  }

  /** How long the pong of a ping sent now may take. */
  get timeoutMs(): Millis {
    if (this.#rttMs === undefined) return MAX_PONG_TIMEOUT_MS;
    return Math.min(Math.max(PONG_TIMEOUT_RTTS * this.#rttMs, MIN_PONG_TIMEOUT_MS), MAX_PONG_TIMEOUT_MS);
  }

  /** When the other end counts as dead; undefined while no pong is due. */
  get deadline(): Millis | undefined {
    return this.#deadline;
  }

  /** The 8 bytes of a new ping; those of older pings count no more. */
  newPing(now: Millis): Uint8Array {
    this.#payload = randomBytes(this.#rng, PING_BYTES);
    this.#sentAt = now;
    this.#deadline = now + this.timeoutMs;
    // The caller gets a copy: it becomes part of a message.
    return this.#payload.slice();
  }

  /** Takes a pong; false when it answers no ping that counts. */
  handlePong(payload: Uint8Array, now: Millis): boolean {
    if (this.#payload === undefined || !equalBytes(payload, this.#payload)) return false;
    this.#payload = undefined;
    this.#deadline = undefined;
    this.#rttMs = now - this.#sentAt;
    return true;
  }
}
