/**
 * The time of a process that stands still for a while, as SIGSTOP or a closed lid have it.
 *
 * @module
 */
import type { Clock, TimerId } from '../../src/base/clock.ts';

/** A clock of a process that can be stopped. Timers that come due meanwhile fire when it goes on. */
export class StoppableClock implements Clock {
  readonly #inner: Clock;
  readonly #isSuspended: boolean;
  readonly #late = new Set<() => void>();
  #isStopped = false;
  #stoppedAt = 0;
  #lostMs = 0;

  /** @param isSuspended - The whole machine stops, and its monotonic clock with it. */
  constructor(inner: Clock, isSuspended: boolean) {
    this.#inner = inner;
    this.#isSuspended = isSuspended;
  }

  stop(): void {
    this.#isStopped = true;
    this.#stoppedAt = this.#inner.now();
  }

  goOn(): void {
    this.#isStopped = false;
    if (this.#isSuspended) this.#lostMs += this.#inner.now() - this.#stoppedAt;
    const late = [...this.#late];
    this.#late.clear();
    for (const fn of late) fn();
  }

  now(): number {
    return this.#inner.now() - this.#lostMs;
  }

  wallNow(): number {
    return this.#inner.wallNow();
  }

  setTimeout(fn: () => void, delayMs: number): TimerId {
    const run = (): void => fn();
    // Never for less than the difference of two times can be wrong by.
    return { run, id: this.#inner.setTimeout(() => this.#later(run), Math.max(delayMs, 1e-6)) };
  }

  clearTimeout(id: TimerId): void {
    if (id === undefined) return;
    const timer = id as { readonly run: () => void; readonly id: TimerId };
    this.#late.delete(timer.run);
    this.#inner.clearTimeout(timer.id);
  }

  defer(fn: () => void): void {
    this.#inner.defer(() => this.#later(fn));
  }

  afterMicrotasks(fn: () => void): void {
    this.#inner.afterMicrotasks(() => this.#later(fn));
  }

  #later(fn: () => void): void {
    if (this.#isStopped) this.#late.add(fn);
    else fn();
  }
}
