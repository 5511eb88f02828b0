/**
 * A set of integers kept as sorted, disjoint, non-adjacent ranges, oldest first.
 *
 * Made for packet numbers: adding the number after the largest is O(1); anything else is a binary search and at most one
 * shift of a short array. Both ends of a range are inclusive. The set does not limit itself: its owner does.
 *
 * @module
 */

/** Sorted disjoint ranges of non-negative integers. */
export class RangeSet {
  // Parallel arrays of plain numbers: no object per range, and both stay packed.
  readonly #lows: number[] = [];
  readonly #highs: number[] = [];

  /** Number of ranges. */
  get size(): number {
    return this.#lows.length;
  }

  /** Smallest member, −1 when empty. */
  get min(): number {
    return this.#lows.length === 0 ? -1 : this.#lows[0]!;
  }

  /** Largest member, −1 when empty. */
  get max(): number {
    const length = this.#highs.length;
    return length === 0 ? -1 : this.#highs[length - 1]!;
  }

  /** First member of range `index`; 0 is the range with the smallest numbers. */
  low(index: number): number {
    return this.#lows[index]!;
  }

  /** Last member of range `index`. */
  high(index: number): number {
    return this.#highs[index]!;
  }

  /** Index of the last range that starts at or below `value`, −1 for none. */
  indexAtOrBelow(value: number): number {
    const lows = this.#lows;
    let low = 0;
    let high = lows.length;
    // Most questions are about the newest range.
    if (high > 0 && lows[high - 1]! <= value) return high - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (lows[middle]! <= value) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  contains(value: number): boolean {
    const at = this.indexAtOrBelow(value);
    return at >= 0 && value <= this.#highs[at]!;
  }

  /** Adds one number. Returns false when it was a member already. */
  insert(value: number): boolean {
    const highs = this.#highs;
    const last = highs.length - 1;
    // In order: the newest range grows by one.
    if (last >= 0 && highs[last] === value - 1) {
      highs[last] = value;
      return true;
    }
    if (last < 0 || value > highs[last]!) {
      this.#lows.push(value);
      highs.push(value);
      return true;
    }
    return this.#insertBelowMax(value);
  }

  #insertBelowMax(value: number): boolean {
    const lows = this.#lows;
    const highs = this.#highs;
    const at = this.indexAtOrBelow(value);
    if (at >= 0 && value <= highs[at]!) return false;
    const joinsBelow = at >= 0 && highs[at] === value - 1;
    // A range above exists, else the value would be above the maximum.
    const joinsAbove = lows[at + 1] === value + 1;
    if (joinsBelow && joinsAbove) {
      highs[at] = highs[at + 1]!;
      lows.splice(at + 1, 1);
      highs.splice(at + 1, 1);
    } else if (joinsBelow) {
      highs[at] = value;
    } else if (joinsAbove) {
      lows[at + 1] = value;
    } else {
      lows.splice(at + 1, 0, value);
      highs.splice(at + 1, 0, value);
    }
    return true;
  }

  /** Adds every number from `low` to `high`, both included; `low` must not exceed `high`. */
  insertRange(low: number, high: number): void {
    const lows = this.#lows;
    const highs = this.#highs;
    // Ranges first … last − 1 touch or overlap [low, high] and melt into it.
    let first = this.indexAtOrBelow(low);
    if (first < 0 || highs[first]! < low - 1) first++;
    let last = first;
    let joinedLow = low;
    let joinedHigh = high;
    while (last < lows.length && lows[last]! <= high + 1) {
      if (lows[last]! < joinedLow) joinedLow = lows[last]!;
      if (highs[last]! > joinedHigh) joinedHigh = highs[last]!;
      last++;
    }
    lows.splice(first, last - first, joinedLow);
    highs.splice(first, last - first, joinedHigh);
  }

  /** Removes every number below `bound`. */
  removeBelow(bound: number): void {
    const lows = this.#lows;
    const highs = this.#highs;
    let gone = 0;
    while (gone < highs.length && highs[gone]! < bound) gone++;
    if (gone > 0) {
      lows.splice(0, gone);
      highs.splice(0, gone);
    }
    if (lows.length > 0 && lows[0]! < bound) lows[0] = bound;
  }

  /** Removes the range with the smallest numbers and returns its last member, −1 when there was none. */
  removeLowest(): number {
    this.#lows.shift();
    return this.#highs.shift() ?? -1;
  }
}
