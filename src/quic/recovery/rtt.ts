/**
 * Round-trip time of one path (RFC 9002 §5).
 *
 * @module
 */
import type { Millis } from '../../base/clock.ts';

/** Finest delay that timers are trusted with, ms: kGranularity of RFC 9002 §6.1.2. */
export const TIMER_GRANULARITY_MS = 1;

/** Smoothed RTT, its variation and its minimum. All values in ms. */
export class RttEstimator {
  /** The newest sample; the initial RTT before the first one. */
  latest: Millis;
  smoothed: Millis;
  /** rttvar: mean deviation. */
  variance: Millis;
  min: Millis;
  /** When the first sample was taken, absolute; `Infinity` before. Persistent congestion cannot start earlier. */
  firstSampleAt: Millis = Infinity;

  /** @param initialRttMs - kInitialRtt (RFC 9002 §6.2.2), stands in until there is a sample. */
  constructor(initialRttMs: Millis) {
    this.latest = initialRttMs;
    this.smoothed = initialRttMs;
    this.variance = initialRttMs / 2;
    this.min = initialRttMs;
  }

  get hasSample(): boolean {
    return this.firstSampleAt !== Infinity;
  }

  /**
   * Takes a sample: the largest packet of an ACK was newly acknowledged, and an ack-eliciting packet was (RFC 9002 §5.1).
   * @param sampleMs - Time since that packet was sent.
   * @param ackDelayMs - What the peer says it held the ACK back, already limited to its max_ack_delay once the handshake
   *   is confirmed, and 0 for Initial packets (RFC 9002 §5.3).
   */
  update(sampleMs: Millis, ackDelayMs: Millis, now: Millis): void {
    this.latest = sampleMs;
    if (this.firstSampleAt === Infinity) {
      // RFC 9002 §5.3: the first sample replaces what was assumed.
      this.firstSampleAt = now;
      this.min = sampleMs;
      this.smoothed = sampleMs;
      this.variance = sampleMs / 2;
      return;
    }
    // RFC 9002 §5.2: min_rtt ignores what the peer says about its delay.
    if (sampleMs < this.min) this.min = sampleMs;
    // RFC 9002 §5.3: a delay that would push the sample below min_rtt is not believed.
    const adjusted = sampleMs >= this.min + ackDelayMs ? sampleMs - ackDelayMs : sampleMs;
    this.smoothed = (7 * this.smoothed + adjusted) / 8;
    this.variance = (3 * this.variance + Math.abs(this.smoothed - adjusted)) / 4;
  }

  /** A first idea from something else than an ACK (a PATH_RESPONSE). The first ACK sample still replaces it. */
  seed(sampleMs: Millis): void {
    if (this.hasSample) return;
    this.latest = sampleMs;
    this.smoothed = sampleMs;
    this.variance = sampleMs / 2;
    this.min = sampleMs;
  }

  /** RFC 9002 §5.2: after persistent congestion the path may be another one, so its old minimum says nothing. */
  onPersistentCongestion(): void {
    this.min = this.latest;
  }

  /** The larger of latest and smoothed RTT, for loss detection (RFC 9002 §6.1.2). */
  conservative(): Millis {
    return this.latest > this.smoothed ? this.latest : this.smoothed;
  }

  /** PTO without max_ack_delay and back-off (RFC 9002 §6.2.1). */
  ptoBase(): Millis {
    return this.smoothed + Math.max(4 * this.variance, TIMER_GRANULARITY_MS);
  }
}
