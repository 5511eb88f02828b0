/**
 * Numbers of packets that were declared lost a short while ago, so that a late acknowledgment shows the mistake
 * (RFC 9438 §4.9.2). The packets themselves are gone: nothing is released twice.
 *
 * @module
 */
import type { Millis } from '../../base/clock.ts';

/** Losses remembered per space; a whole window lost at once is no reordering, so more would not help. */
export const MAX_TRACKED_LOSSES = 4_096;

/** Recently lost packet numbers of one space, ascending. */
export class LostPackets {
  /** Packets that were declared lost and acknowledged later, ever. */
  spuriousCount = 0;
  readonly #numbers: number[] = [];
  readonly #sentAt: Millis[] = [];
  /** A loss since the record was last empty proved real, or was forgotten: the congestion response was no mistake. */
  #hasRealLoss = false;
  /** A spurious loss was found since {@link takeVerdict} was asked. */
  #hasNews = false;

  /** Losses whose fate is open. */
  get count(): number {
    return this.#numbers.length;
  }

  /** Remembers a loss. Numbers must ascend, which they do: the oldest packets are lost first. */
  add(packetNumber: number, sentAt: Millis): void {
    if (this.#numbers.length === MAX_TRACKED_LOSSES) {
      this.#numbers.shift();
      this.#sentAt.shift();
      this.#hasRealLoss = true;
    }
    this.#numbers.push(packetNumber);
    this.#sentAt.push(sentAt);
  }

  /** The peer acknowledged `low` to `high`, both included; what of it was declared lost was declared so wrongly. */
  onAcked(low: number, high: number): void {
    const numbers = this.#numbers;
    const length = numbers.length;
    // Nearly every call ends here: acknowledgments move on, losses lie behind.
    if (length === 0 || numbers[length - 1]! < low || numbers[0]! > high) return;
    const first = lowerBound(numbers, low);
    const spurious = lowerBound(numbers, high + 1) - first;
    if (spurious === 0) return;
    numbers.splice(first, spurious);
    this.#sentAt.splice(first, spurious);
    this.spuriousCount += spurious;
    this.#hasNews = true;
  }

  /**
   * To be asked after all ranges of an ACK: true once when, by this ACK, every loss since the record was last empty has
   * turned out spurious, so that the congestion response can be undone. One packet that stays lost justifies it.
   */
  takeVerdict(): boolean {
    if (!this.#hasNews) return false;
    this.#hasNews = false;
    if (this.#numbers.length > 0) return false;
    const isSpurious = !this.#hasRealLoss;
    this.#hasRealLoss = false;
    return isSpurious;
  }

  /**
   * Forgets packets sent before `now − ageMs`: their acknowledgment will not come any more. Upstream and msquic wait two
   * PTOs (noq `noq-proto/src/connection/mod.rs`, `drain_lost_packets`).
   */
  forgetOlderThan(ageMs: Millis, now: Millis): void {
    const sentAt = this.#sentAt;
    let gone = 0;
    while (gone < sentAt.length && now - sentAt[gone]! > ageMs) gone++;
    if (gone === 0) return;
    this.#numbers.splice(0, gone);
    sentAt.splice(0, gone);
    // With nothing left open the next loss starts a group of its own.
    this.#hasRealLoss = this.#numbers.length > 0;
  }
}

/** Index of the first element that is at least `value`. */
function lowerBound(sorted: readonly number[], value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
