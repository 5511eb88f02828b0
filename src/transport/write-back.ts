/**
 * When a database writes back its log: often while there is little to do, so that it never takes long; not at all while there is
 * much, because a page that changes often is then written once.
 *
 * @module
 */
import type { Millis } from '../base/clock.ts';

/** Changes after which it is written back at leisure: that takes 10 ms, and 0.4 s when the log is full. */
export const CHANGES_PER_WRITE_BACK = 100;
/** There is leisure while so many changes take this long or longer, ms. */
export const LEISURE_MS: Millis = 100;

/** Judges by the last hundred changes. */
export class WriteBack {
  #writtenAt = 0;
  #lookedAt = 0;
  #lookTime: Millis;

  constructor(now: Millis) {
    this.#lookTime = now;
  }

  /** True when something was changed since {@link wrote}. */
  isNeeded(changes: number): boolean {
    return changes > this.#writtenAt;
  }

  /** Whether now is a good time. @param changes - As many as there ever were. */
  isTime(changes: number, now: Millis): boolean {
    const count = changes - this.#lookedAt;
    if (count < CHANGES_PER_WRITE_BACK) return false;
    const isAtLeisure = (now - this.#lookTime) * CHANGES_PER_WRITE_BACK >= count * LEISURE_MS;
    this.#lookedAt = changes;
    this.#lookTime = now;
    return isAtLeisure;
  }

  /** It was written back, or that was tried. */
  wrote(changes: number, now: Millis): void {
    this.#writtenAt = this.#lookedAt = changes;
    this.#lookTime = now;
  }
}
