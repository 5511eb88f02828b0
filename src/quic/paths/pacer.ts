/**
 * Spreads the packets of a window over its round trip (RFC 9002 §7.7): a token bucket.
 *
 * The clock of the outside world sets the limits of what can be spread. Timers in Node are a millisecond coarse and often
 * late, and the engine sends once per turn of the event loop. So the bucket holds several milliseconds of traffic, a
 * blocked sender is woken when half of it is there again (a late wake-up then finds more and loses nothing). Paths
 * whose whole round trip is about a timer tick are not paced at all: within one tick the congestion window is the limit
 * anyway, and waiting a millisecond for a path of 0.1 ms would cost nine tenths of its throughput.
 *
 * @module
 */
import type { Millis } from '../../base/clock.ts';

/** N of RFC 9002 §7.7: faster than one window per RTT, so that variations of the RTT leave no gap. */
const RATE_FACTOR = 1.25;
/** Traffic that may leave at once, ms. */
export const BURST_MS = 4;
/** Traffic that a burst may always hold, ms: two timer ticks. Above the packet limit only beyond about 150 MB/s. */
export const MIN_BURST_MS = 2;
/** A wake-up may be so late without costing throughput, ms: the coarseness of the timer and a busy turn of the loop. */
export const TIMER_LATENESS_MS = 2;
/** Packets that may always leave at once: RFC 9002 §7.7 allows bursts of the initial window. */
export const MIN_BURST_PACKETS = 10;
/** Packets that take upstream a millisecond to make; longer bursts would starve other connections. */
export const MAX_BURST_PACKETS = 256;
/** Paths with a smoothed RTT up to this are not paced, ms. */
export const UNPACED_RTT_MS = 2;

/** Paces one path. */
export class Pacer {
  /** Bytes that may leave now; −1 until the first question. Below 0 after packets that did not ask. */
  #tokens = -1;
  #isFresh = true;
  #refilledAt: Millis = 0;
  // What capacity and rate were computed from.
  #window = 0;
  #rttMs: Millis = 0;
  #mtu = 0;
  #capacity = 0;
  /** Tokens worth being woken for. */
  #wakeAt = 0;
  /** Bytes per ms. */
  #rate = 0;

  /**
   * Asks to send `bytes` now. Does not take them: {@link onTransmit} does.
   * @param rttMs - Smoothed RTT.
   * @param window - Congestion window, bytes.
   * @returns Undefined when they may go; else when to ask again, absolute.
   */
  delay(bytes: number, rttMs: Millis, window: number, mtu: number, now: Millis): Millis | undefined {
    if (rttMs <= UNPACED_RTT_MS) return undefined;
    if (window !== this.#window || rttMs !== this.#rttMs || mtu !== this.#mtu) {
      this.#configure(rttMs, window, mtu, now);
    }
    if (this.#tokens >= bytes) return undefined;
    this.#refill(now);
    const needed = Math.min(bytes, this.#capacity);
    // A byte less will do, or what a rounded time amounts to: else rounding could name the present as the time to ask again, for
    // ever in virtual time.
    if (this.#tokens >= needed - 1 - this.#rate * now * Number.EPSILON) return undefined;
    return now + (Math.max(needed, this.#wakeAt) - this.#tokens) / this.#rate;
  }

  /** Bytes left, whether or not they were asked for. */
  onTransmit(bytes: number): void {
    const tokens = this.#tokens - bytes;
    // A debt is limited, so that packets that may not be delayed (probes, ACKs) delay the others for a burst at most.
    this.#tokens = tokens < -this.#capacity ? -this.#capacity : tokens;
  }

  #configure(rttMs: Millis, window: number, mtu: number, now: Millis): void {
    if (this.#isFresh) {
      this.#isFresh = false;
      this.#refilledAt = now;
      this.#tokens = Infinity;
    } else {
      // Time passed so far counts at the old rate.
      this.#refill(now);
    }
    this.#window = window;
    this.#rttMs = rttMs;
    this.#mtu = mtu;
    this.#rate = (RATE_FACTOR * window) / rttMs;
    this.#capacity = Math.max(
      MIN_BURST_PACKETS * mtu,
      MIN_BURST_MS * this.#rate,
      Math.min(BURST_MS * this.#rate, MAX_BURST_PACKETS * mtu),
    );
    // Half a burst, or less: what comes in while the timer is late must still fit.
    this.#wakeAt = Math.min(this.#capacity / 2, this.#capacity - TIMER_LATENESS_MS * this.#rate);
    if (this.#tokens > this.#capacity) this.#tokens = this.#capacity;
  }

  #refill(now: Millis): void {
    const elapsed = now - this.#refilledAt;
    if (elapsed <= 0) return;
    this.#refilledAt = now;
    const tokens = this.#tokens + elapsed * this.#rate;
    this.#tokens = tokens < this.#capacity ? tokens : this.#capacity;
  }
}
