/**
 * Tells a chart when nobody needs it any more: not at once, because whoever closes a connection often opens the next, and the
 * transitions to and fro would take as long as the key exchange of a handshake.
 *
 * @module
 */
import type { Clock, Millis, TimerId } from '../base/clock.ts';

/** A chart is told that it is idle once it has been so for this long, ms. */
export const IDLE_NOTICE_MS = 1_000;

/** What an {@link IdleNotice} is made with. */
export interface IdleNoticeOptions {
  readonly clock: Clock;
  /** The chart ends when it has been idle for this long, ms; several times {@link IDLE_NOTICE_MS}. */
  readonly limitMs: Millis;
  readonly isNeeded: () => boolean;
  /** @param idleForMs - Time since the last use, ms; undefined: it is busy again. */
  readonly tell: (idleForMs: Millis | undefined) => void;
}

/** Decides when one chart is told that it is idle, or busy again. */
export class IdleNotice {
  readonly #options: IdleNoticeOptions;
  #usedAt: Millis = 0;
  /** When the chart will end as things are; `Infinity` while it is busy. */
  #endsAt: Millis = Infinity;
  #timer: TimerId;

  constructor(options: IdleNoticeOptions) {
    this.#options = options;
  }

  /** Something was done, or need not be done any more. */
  used(): void {
    const { clock, isNeeded, tell } = this.#options;
    if (isNeeded()) {
      if (this.#endsAt === Infinity) return;
      this.#endsAt = Infinity;
      tell(undefined);
      return;
    }
    this.#usedAt = clock.now();
    if (this.#endsAt - this.#usedAt > 2 * IDLE_NOTICE_MS) {
      this.#timer ??= clock.setTimeout(() => this.#onTimer(), IDLE_NOTICE_MS);
      return;
    }
    // A notice might come after the end.
    this.cancel();
    this.#tellIdle(0);
  }

  #onTimer(): void {
    const { clock, isNeeded } = this.#options;
    this.#timer = undefined;
    if (isNeeded()) return;
    const idleForMs = clock.now() - this.#usedAt;
    const left = IDLE_NOTICE_MS - idleForMs;
    // Rounded: time has fractions, and what is left of a second may be too small to add to it.
    if (left < 1) this.#tellIdle(idleForMs);
    else this.#timer = clock.setTimeout(() => this.#onTimer(), left);
  }

  #tellIdle(idleForMs: Millis): void {
    this.#endsAt = this.#usedAt + this.#options.limitMs;
    this.#options.tell(idleForMs);
  }

  /** Nothing more is told until the next use. */
  cancel(): void {
    if (this.#timer !== undefined) this.#options.clock.clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
