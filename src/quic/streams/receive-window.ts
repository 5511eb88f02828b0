/**
 * A receive window that grows when the application keeps up with the network (RFC 9000 §4; the idea of auto-tuning is
 * TCP's, and quic-go's and quiche's).
 *
 * @module
 */
import type { Millis } from '../../base/clock.ts';

/** Credit goes out when at least this part of the window would be returned; noq uses the same. */
const RETURN_FRACTION = 1 / 8;
/** A window that is used up faster than this many RTTs limits the sender: it doubles. */
const GROW_WITHIN_RTTS = 2;

/** Credit for all streams of a connection together. */
export class ReceiveWindow {
  window: number;
  /** Upper bound of {@link window}. */
  max: number;
  /** What the peer may send in total. */
  limit: number;
  /** What it has sent. */
  received = 0;
  /** What was read or thrown away. */
  consumed = 0;
  #grantedAt: Millis = -Infinity;

  constructor(window: number, max: number) {
    this.window = window;
    this.max = Math.max(window, max);
    this.limit = window;
  }

  /** True when a MAX_DATA is worth sending. */
  get isDue(): boolean {
    return this.consumed + this.window - this.limit >= this.window * RETURN_FRACTION;
  }

  /** The new limit to announce; grows the window if the old one was used up quickly. */
  grant(now: Millis, rttMs: Millis): number {
    if (this.window < this.max && now - this.#grantedAt < GROW_WITHIN_RTTS * rttMs * RETURN_FRACTION) {
      this.window = Math.min(this.window * 2, this.max);
    }
    this.#grantedAt = now;
    this.limit = Math.max(this.limit, this.consumed + this.window);
    return this.limit;
  }
}

/** The same rule for one stream: its window as it should be after `consumed` bytes were read. */
export function isStreamCreditDue(consumed: number, window: number, limit: number): boolean {
  return consumed + window - limit >= window * RETURN_FRACTION;
}

/** The window of a stream whose last credit was granted at `grantedAt`. */
export function tunedWindow(
  window: number,
  max: number,
  grantedAt: Millis,
  now: Millis,
  rttMs: Millis,
): number {
  const wasUsedUpQuickly = now - grantedAt < GROW_WITHIN_RTTS * rttMs * RETURN_FRACTION;
  return wasUsedUpQuickly ? Math.min(window * 2, max) : window;
}
