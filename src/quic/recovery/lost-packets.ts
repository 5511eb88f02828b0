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
  readonly #numbers: number[] = [];
  readonly #sentAt: Millis[] = [];
  /** A loss of the present group proved real (or was forgotten): the congestion event was no mistake. */
  #hasRealLoss = false;

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

  /**
   * The peer acknowledged the numbers from `low` to `high`, both included.
   * @returns How many of them had been declared lost.
   */
  onAcked(low: number, high: number): number {
    const numbers = this.#numbers;
    const length = numbers.length;
    // Nearly every call ends here: acknowledgments move on, losses lie behind.
    if (length === 0 || numbers[length - 1]! < low || numbers[0]! > high) return 0;
    const first = lowerBound(numbers, low);
    const end = lowerBound(numbers, high + 1);
    if (end > first) {
      numbers.splice(first, end - first);
      this.#sentAt.splice(first, end - first);
    }
    return end - first;
  }

  /**
   * To be asked once after all ranges of an ACK in which {@link onAcked} found something: true when every loss since the
   * last time the record was empty turned out spurious, so that the congestion response can be undone.
   */
  takeAllSpurious(): boolean {
    if (this.#numbers.length > 0) return false;
    const spurious = !this.#hasRealLoss;
    this.#hasRealLoss = false;
    return spurious;
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
