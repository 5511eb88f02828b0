/**
 * Tells a chart when nobody needs it any more: not at once, because whoever closes a connection often opens the next, and a
 * transition of a chart costs more than the handshake's cryptography on one side.
 *
 * @module
 */
import type { Clock, Millis, TimerId } from '../base/clock.ts';

/** Idle for so long, ms, the chart is told, and how long it was. */
export const IDLE_NOTICE_MS = 1_000;

/** What an {@link IdleNotice} is made with. */
export interface IdleNoticeOptions {
  readonly clock: Clock;
  /** How long the chart waits, counted from the last use, before it ends, ms; more than twice {@link IDLE_NOTICE_MS}. */
  readonly limitMs: Millis;
  readonly isNeeded: () => boolean;
  /** @param idleForMs - Time since the last use, ms; undefined: it is busy again. */
  readonly tell: (idleForMs: Millis | undefined) => void;
}

/** When one chart is told that it is idle, or is not any more. */
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
    if (this.#endsAt - this.#usedAt <= 2 * IDLE_NOTICE_MS) this.#tellIdle(0);
    else this.#timer ??= clock.setTimeout(() => this.#onTimer(), IDLE_NOTICE_MS);
  }

  #onTimer(): void {
    const { clock, isNeeded } = this.#options;
    this.#timer = undefined;
    if (isNeeded()) return;
    const idleForMs = clock.now() - this.#usedAt;
    if (idleForMs >= IDLE_NOTICE_MS) this.#tellIdle(idleForMs);
    else this.#timer = clock.setTimeout(() => this.#onTimer(), IDLE_NOTICE_MS - idleForMs);
  }

  #tellIdle(idleForMs: Millis): void {
    this.#endsAt = this.#usedAt + this.#options.limitMs;
    this.#options.tell(idleForMs);
  }

  /** The chart has ended. */
  end(): void {
    if (this.#timer !== undefined) this.#options.clock.clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
