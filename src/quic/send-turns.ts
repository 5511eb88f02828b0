/**
 * Which connection sends next: each in its turn, so that a busy one does not keep the others waiting.
 *
 * @module
 */

/** Datagrams that one connection may send before the next one's turn. */
export const TRANSMITS_PER_TURN = 32;

/** What waits for its turn carries the mark that it does. */
export interface TurnItem {
  isReady: boolean;
}

/** Round robin over those that have something to send. */
export class SendTurns<T extends TurnItem> {
  #now: T[] = [];
  #next: T[] = [];

  /** To the end of the line, unless it waits there. */
  add(item: T): void {
    if (item.isReady) return;
    item.isReady = true;
    this.#next.push(item);
  }

  /** Whose turn it is; its mark stays until the caller takes it away. Undefined when nobody waits. */
  take(): T | undefined {
    if (this.#now.length === 0 && this.#next.length > 0) {
      // Reversed once, so that taking from the front is a pop.
      this.#now = this.#next.reverse();
      this.#next = [];
    }
    return this.#now.pop();
  }
}
