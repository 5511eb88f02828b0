/**
 * What an engine has to tell, until somebody asks.
 *
 * @module
 */
import type { EngineEvent } from './engine.ts';

/** First in, first out. Its array is dropped, not emptied, so that a burst leaves no large one behind. */
export class EventQueue {
  #events: EngineEvent[] = [];
  #head = 0;

  push(event: EngineEvent): void {
    this.#events.push(event);
  }

  /** The oldest event, which it forgets. */
  poll(): EngineEvent | undefined {
    const event = this.#events[this.#head];
    if (event !== undefined) this.#head++;
    else if (this.#head > 0) {
      this.#events = [];
      this.#head = 0;
    }
    return event;
  }
}
