/**
 * Time as everything in this library sees it: fractional milliseconds on a monotonic clock.
 *
 * Engines never hold a clock; they take `now` as an argument. Actors and machines are given one, so that a simulated hour
 * runs in milliseconds.
 *
 * @module
 */

/** Milliseconds, fractional, on the caller's monotonic clock; never wall time. */
export type Millis = number;

/** Longest delay of a timer, ms: Node and browsers count in 32 bits with sign, and fire at once above it. */
export const MAX_TIMER_DELAY_MS = 2 ** 31 - 1;

/** Identifies a pending timer of a {@link Clock}; opaque. */
export type TimerId = unknown;

/** A source of time. XState accepts it as an actor clock. */
export interface Clock {
  /** Now, in fractional milliseconds since an arbitrary origin. Never goes back. */
  now(): Millis;
  /** Wall-clock time in milliseconds since 1970, for tickets and token ages only. */
  wallNow(): number;
  /** Calls `fn` once, no earlier than `delayMs` from now. Does not keep a process alive by itself. */
  setTimeout(fn: () => void, delayMs: Millis): TimerId;
  /** Cancels a timer; does nothing if it has fired. */
  clearTimeout(id: TimerId): void;
  /** Calls `fn` once at the end of the current burst of I/O events (Node: the check phase of this loop turn). */
  defer(fn: () => void): void;
  /** Calls `fn` once all promise reactions that are queued now, and those that they queue, have run. */
  afterMicrotasks(fn: () => void): void;
}
