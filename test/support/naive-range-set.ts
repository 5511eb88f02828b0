/**
 * The obvious range set: a sorted list of its members. For comparison with `src/quic/recovery/range-set.ts`.
 *
 * @module
 */

export class NaiveRangeSet {
  readonly members = new Set<number>();

  insert(value: number): boolean {
    const isNew = !this.members.has(value);
    this.members.add(value);
    return isNew;
  }

  insertRange(low: number, high: number): void {
    for (let value = low; value <= high; value++) this.members.add(value);
  }

  removeBelow(bound: number): void {
    for (const value of this.members) if (value < bound) this.members.delete(value);
  }

  removeLowest(): number {
    const first = this.ranges()[0];
    if (first === undefined) return -1;
    for (let value = first[0]; value <= first[1]; value++) this.members.delete(value);
    return first[1];
  }

  /** `[low, high]` of every range, ascending. */
  ranges(): [number, number][] {
    const ranges: [number, number][] = [];
    for (const value of [...this.members].sort((a, b) => a - b)) {
      const last = ranges[ranges.length - 1];
      if (last !== undefined && last[1] === value - 1) last[1] = value;
      else ranges.push([value, value]);
    }
    return ranges;
  }
}
