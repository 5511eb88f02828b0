/**
 * Virtual time. It stands still until somebody steps it from deadline to deadline, so an hour takes milliseconds and a run
 * is the same every time.
 *
 * @module
 */
import type { Clock, Millis, TimerId } from '../../src/base/clock.ts';

/** Wall-clock time at virtual 0: 2025-06-15T13:46:40Z. */
export const SIM_EPOCH_MS = 1_750_000_000_000;

/** Timers that fire at one instant after which time is held to stand still. */
const MAX_TIMERS_PER_INSTANT = 100_000;

class SimTimer {
  readonly at: Millis;
  /** Ties fire in the order of their making. */
  readonly sequence: number;
  fn: (() => void) | undefined;

  constructor(at: Millis, sequence: number, fn: () => void) {
    this.at = at;
    this.sequence = sequence;
    this.fn = fn;
  }
}

/** A clock that moves only when told. */
export class SimClock implements Clock {
  /** Counts everything asked of the clock, and everything it calls: when it stands still over a turn, nothing is going on any more. */
  activity = 0;
  #now: Millis = 0;
  #sequence = 0;
  #live = 0;
  readonly #heap: SimTimer[] = [];
  #deferred: (() => void)[] = [];
  #afterMicrotasks: (() => void)[] = [];

  now(): Millis {
    return this.#now;
  }

  wallNow(): number {
    return SIM_EPOCH_MS + this.#now;
  }

  setTimeout(fn: () => void, delayMs: Millis): TimerId {
    return this.at(this.#now + Math.max(0, delayMs), fn);
  }

  /** Calls `fn` at an absolute time. */
  at(time: Millis, fn: () => void): TimerId {
    this.activity++;
    const timer = new SimTimer(Math.max(time, this.#now), this.#sequence++, fn);
    this.#live++;
    this.#push(timer);
    return timer;
  }

  clearTimeout(id: TimerId): void {
    if (!(id instanceof SimTimer) || id.fn === undefined) return;
    this.activity++;
    id.fn = undefined;
    this.#live--;
  }

  defer(fn: () => void): void {
    this.activity++;
    this.#deferred.push(fn);
  }

  afterMicrotasks(fn: () => void): void {
    this.activity++;
    this.#afterMicrotasks.push(fn);
  }

  /** Timers that are armed. */
  get pendingTimers(): number {
    return this.#live;
  }

  /** When the next timer fires. */
  nextAt(): Millis | undefined {
    while (this.#heap.length > 0 && this.#heap[0]!.fn === undefined) this.#pop();
    return this.#heap[0]?.at;
  }

  /** Moves to `time` and fires every timer due by then, in order; timers that they set for the same time fire too. @throws {Error} when there is no end of those. */
  advanceTo(time: Millis): void {
    let fired = 0;
    for (let at = this.nextAt(); at !== undefined && at <= time; at = this.nextAt()) {
      fired = at > this.#now ? 0 : fired + 1;
      if (fired > MAX_TIMERS_PER_INSTANT) throw new Error(`time stands still at ${at} ms`);
      this.#now = Math.max(this.#now, at);
      const timer = this.#pop();
      const fn = timer.fn!;
      timer.fn = undefined;
      this.#live--;
      fn();
    }
    this.#now = Math.max(this.#now, time);
  }

  /** Runs what waits for the end of promise reactions; the caller has let them run. */
  runAfterMicrotasks(): void {
    const due = this.#afterMicrotasks;
    this.#afterMicrotasks = [];
    this.activity += due.length;
    for (const fn of due) fn();
  }

  /** Runs what waits for the end of the burst. */
  runDeferred(): void {
    const due = this.#deferred;
    this.#deferred = [];
    this.activity += due.length;
    for (const fn of due) fn();
  }

  #push(timer: SimTimer): void {
    const heap = this.#heap;
    let at = heap.push(timer) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(timer, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = timer;
  }

  #pop(): SimTimer {
    const heap = this.#heap;
    const top = heap[0]!;
    const last = heap.pop()!;
    if (heap.length > 0) {
      let at = 0;
      for (;;) {
        let child = 2 * at + 1;
        if (child >= heap.length) break;
        if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
        if (!isBefore(heap[child]!, last)) break;
        heap[at] = heap[child]!;
        at = child;
      }
      heap[at] = last;
    }
    return top;
  }
}

function isBefore(a: SimTimer, b: SimTimer): boolean {
  return a.at < b.at || (a.at === b.at && a.sequence < b.sequence);
}
