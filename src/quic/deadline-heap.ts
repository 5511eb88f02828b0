/**
 * The one timer structure of an endpoint: items ordered by their deadline.
 *
 * A binary heap that knows where each item sits, because the item carries its index: moving a deadline is O(log n) and
 * allocates nothing. An idle item costs nothing until it is due.
 *
 * @module
 */
import type { Millis } from '../base/clock.ts';

/** What a heap needs to store in its items; written by the heap only. An item is in one heap at most. */
export interface HeapItem {
  /** −1 while not in the heap; start with that. */
  heapIndex: number;
  /** Absolute; meaningless while not in the heap. */
  deadline: Millis;
}

/** Items with deadlines, the earliest at hand. */
export class DeadlineHeap<T extends HeapItem> {
  readonly #items: T[] = [];

  /** Items that have a deadline. */
  get size(): number {
    return this.#items.length;
  }

  /** Sets, moves or (undefined, `Infinity`) removes the deadline of `item`. */
  set(item: T, deadline: Millis | undefined): void {
    if (deadline === undefined || deadline === Infinity) {
      if (item.heapIndex >= 0) this.#remove(item);
      return;
    }
    if (item.heapIndex < 0) {
      item.deadline = deadline;
      item.heapIndex = this.#items.length;
      this.#items.push(item);
      this.#up(item);
      return;
    }
    const before = item.deadline;
    if (deadline === before) return;
    item.deadline = deadline;
    if (deadline < before) this.#up(item);
    else this.#down(item);
  }

  /** The earliest deadline, undefined when there is none. */
  peekDeadline(): Millis | undefined {
    return this.#items.length === 0 ? undefined : this.#items[0]!.deadline;
  }

  /** Removes and returns the item with the earliest deadline if it is not after `now`. */
  popDue(now: Millis): T | undefined {
    const first = this.#items[0];
    if (first === undefined || first.deadline > now) return undefined;
    this.#remove(first);
    return first;
  }

  #remove(item: T): void {
    const items = this.#items;
    const last = items.pop()!;
    const at = item.heapIndex;
    item.heapIndex = -1;
    if (last === item) return;
    last.heapIndex = at;
    items[at] = last;
    // It came from elsewhere in the tree: either direction is possible.
    this.#up(last);
    this.#down(last);
  }

  #up(item: T): void {
    const items = this.#items;
    let at = item.heapIndex;
    while (at > 0) {
      const parentAt = (at - 1) >> 1;
      const parent = items[parentAt]!;
      if (parent.deadline <= item.deadline) break;
      items[at] = parent;
      parent.heapIndex = at;
      at = parentAt;
    }
    items[at] = item;
    item.heapIndex = at;
  }

  #down(item: T): void {
    const items = this.#items;
    const length = items.length;
    let at = item.heapIndex;
    for (;;) {
      let childAt = 2 * at + 1;
      if (childAt >= length) break;
      let child = items[childAt]!;
      if (childAt + 1 < length && items[childAt + 1]!.deadline < child.deadline) child = items[++childAt]!;
      if (item.deadline <= child.deadline) break;
      items[at] = child;
      child.heapIndex = at;
      at = childAt;
    }
    items[at] = item;
    item.heapIndex = at;
  }
}
