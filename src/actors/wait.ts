/**
 * Waiting that can be aborted: every promise that an application may hold for long goes through here.
 *
 * @module
 */
import { MAX_TIMER_DELAY_MS, type Clock } from '../base/clock.ts';
import { TimeoutError } from '../base/errors.ts';

/** Options of every call that may wait. */
export interface WaitOptions {
  /** Gives the wait up; it then rejects with `signal.reason`. */
  readonly signal?: AbortSignal | undefined;
  /** Gives the wait up after so many ms; it then rejects with TimeoutError. */
  readonly timeoutMs?: number | undefined;
}

/** What the next of several waits may take. */
interface RestOptions extends WaitOptions {
  /** The whole limit, for the error. */
  readonly totalMs?: number | undefined;
}

interface Waiter {
  resolve: () => void;
  reject: (reason: unknown) => void;
  /** Removes listeners and timers. */
  release: () => void;
}

/** Those who wait for one thing to happen. Costs a promise each; a listener or timer only where options ask for it. */
export class WaitQueue {
  readonly #clock: Clock;
  #waiters: Waiter[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#waiters.length;
  }

  /** Resolves at the next {@link wakeOne} or {@link wakeAll}; rejects with the abort reason or a TimeoutError. */
  wait(options: RestOptions = {}): Promise<void> {
    const { signal, totalMs } = options;
    const timeoutMs = options.timeoutMs! > MAX_TIMER_DELAY_MS ? undefined : options.timeoutMs;
    if (signal?.aborted === true) return Promise.reject(signal.reason as Error);
    return new Promise<void>((resolve, reject) => {
      const waiter: Waiter = { resolve, reject, release: nothing };
      if (signal !== undefined || timeoutMs !== undefined) this.#limit(waiter, signal, timeoutMs, totalMs);
      this.#waiters.push(waiter);
    });
  }

  #limit(
    waiter: Waiter,
    signal: AbortSignal | undefined,
    timeoutMs: number | undefined,
    totalMs = timeoutMs,
  ): void {
    const giveUp = (reason: unknown): void => {
      waiter.release();
      const index = this.#waiters.indexOf(waiter);
      if (index >= 0) this.#waiters.splice(index, 1);
      waiter.reject(reason);
    };
    const onAbort = (): void => giveUp(signal!.reason);
    const timer =
      timeoutMs === undefined
        ? undefined
        : this.#clock.setTimeout(() => giveUp(new TimeoutError(totalMs!)), timeoutMs);
    signal?.addEventListener('abort', onAbort, { once: true });
    waiter.release = () => {
      signal?.removeEventListener('abort', onAbort);
      if (timer !== undefined) this.#clock.clearTimeout(timer);
    };
  }

  wakeOne(): void {
    const waiter = this.#waiters.shift();
    if (waiter === undefined) return;
    waiter.release();
    waiter.resolve();
  }

  wakeAll(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) {
      waiter.release();
      waiter.resolve();
    }
  }
}

function nothing(): void {
  // No listener and no timer to remove.
}

/** How much of a `timeoutMs` is left for the next of several waits. */
export function deadlineOf(clock: Clock, options: RestOptions): () => RestOptions {
  const { signal, timeoutMs, totalMs = timeoutMs } = options;
  if (timeoutMs === undefined) return () => options;
  const end = clock.now() + timeoutMs;
  return () => ({ signal, timeoutMs: Math.max(0, end - clock.now()), totalMs });
}

/** Waits for `promise` as long as `options` allow. @throws the abort reason, or a TimeoutError. */
export async function settleWithin<T>(clock: Clock, promise: Promise<T>, options: WaitOptions): Promise<T> {
  const limit = new WaitQueue(clock);
  const giveUp = limit.wait(options).then(() => promise);
  try {
    return await Promise.race([promise, giveUp]);
  } finally {
    // Removes the listener and the timer.
    limit.wakeAll();
    giveUp.catch(nothing);
  }
}

/** Who only looks at an outcome, and never waits for it, must not hear of it as an unhandled rejection. */
export function quiet<T>(promise: Promise<T>): Promise<T> {
  promise.catch(nothing);
  return promise;
}

/** A value that is settled once, whose promise exists only if somebody asks, and never is an unhandled rejection. */
export class Deferred<T> {
  #settled: { readonly value: T } | { readonly error: () => unknown } | undefined;
  #promise: Promise<T> | undefined;
  #resolve: ((value: T) => void) | undefined;
  #reject: ((error: unknown) => void) | undefined;

  get isSettled(): boolean {
    return this.#settled !== undefined;
  }

  get promise(): Promise<T> {
    if (this.#promise !== undefined) return this.#promise;
    const settled = this.#settled;
    if (settled === undefined) {
      this.#promise = new Promise<T>((resolve, reject) => {
        this.#resolve = resolve;
        this.#reject = reject;
      });
    } else {
      this.#promise = 'value' in settled ? Promise.resolve(settled.value) : Promise.reject(settled.error());
    }
    // Reading the property must not make a rejection somebody's problem who only looked.
    this.#promise.catch(nothing);
    return this.#promise;
  }

  resolve(value: T): void {
    if (this.#settled !== undefined) return;
    this.#settled = { value };
    this.#resolve?.(value);
  }

  reject(error: unknown): void {
    this.rejectWith(() => error);
  }

  /** As {@link reject}, with an error that is made if somebody asks: making one costs as much as a packet. */
  rejectWith(error: () => unknown): void {
    if (this.#settled !== undefined) return;
    this.#settled = { error };
    this.#reject?.(error());
  }
}
