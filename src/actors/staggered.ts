/**
 * The same question several times, each a bit after the one before, until one is answered: a packet that got lost costs a
 * moment, and a server that is slow is not asked in vain (upstream `iroh-dns/src/dns.rs`, `stagger_call`).
 *
 * @module
 */
import type { Clock, Millis } from '../base/clock.ts';
import { randomBelow, type Rng } from '../base/rng.ts';

/** When attempts start after the first one, ms; upstream `DNS_STAGGERING_MS`. */
export const STAGGERING_MS = [200, 300, 600, 1_000, 2_000, 3_000] as const;
/** Each of these may be so much earlier or later, %; upstream `MAX_JITTER_PERCENT`. */
export const MAX_JITTER_PERCENT = 20;
/** One attempt may take so long, ms; upstream `DNS_TIMEOUT`. */
export const ATTEMPT_TIMEOUT_MS = 3_000;

/** How {@link askStaggered} asks. */
export interface StaggeredOptions<T> {
  readonly clock: Clock;
  readonly rng: Rng;
  /** Gives all attempts up. */
  readonly signal: AbortSignal;
  /** Resolves with undefined when the answer is that there is nothing; others are asked all the same. */
  readonly ask: (signal: AbortSignal) => Promise<T | undefined>;
}

/**
 * The first answer with something in it; undefined when there is nothing.
 * @throws the signal's reason; the last error when no attempt was answered.
 */
export function askStaggered<T>(options: StaggeredOptions<T>): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    if (options.signal.aborted) return reject(options.signal.reason as Error);
    new Staggered(options, resolve, reject).start();
  });
}

class Staggered<T> {
  readonly #options: StaggeredOptions<T>;
  readonly #resolve: (answer: T | undefined) => void;
  readonly #reject: (reason: unknown) => void;
  readonly #over = new AbortController();
  /** Of attempts that wait to start, and limits of those under way. */
  readonly #timers = new Set<unknown>();
  #open = STAGGERING_MS.length + 1;
  #isNothing = false;
  #lastError: unknown;

  constructor(
    options: StaggeredOptions<T>,
    resolve: (answer: T | undefined) => void,
    reject: (reason: unknown) => void,
  ) {
    this.#options = options;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  start(): void {
    this.#options.signal.addEventListener('abort', this.#onAbort, { once: true });
    for (const delayMs of STAGGERING_MS) this.#after(this.#jittered(delayMs), () => this.#attempt());
    this.#attempt();
  }

  readonly #onAbort = (): void => {
    this.#end();
    this.#reject(this.#options.signal.reason);
  };

  #jittered(delayMs: Millis): Millis {
    const percent = randomBelow(this.#options.rng, 2 * MAX_JITTER_PERCENT + 1) - MAX_JITTER_PERCENT;
    return delayMs * (1 + percent / 100);
  }

  #after(delayMs: Millis, run: () => void): unknown {
    const timer = this.#options.clock.setTimeout(() => {
      this.#timers.delete(timer);
      run();
    }, delayMs);
    this.#timers.add(timer);
    return timer;
  }

  #cancel(timer: unknown): void {
    this.#timers.delete(timer);
    this.#options.clock.clearTimeout(timer);
  }

  #attempt(): void {
    const own = new AbortController();
    const onOver = (): void => own.abort(this.#over.signal.reason);
    this.#over.signal.addEventListener('abort', onOver, { once: true });
    let isSettled = false;
    const settle = (act: () => void): void => {
      if (isSettled) return;
      isSettled = true;
      this.#cancel(limit);
      this.#over.signal.removeEventListener('abort', onOver);
      if (!this.#over.signal.aborted) act();
    };
    const limit = this.#after(ATTEMPT_TIMEOUT_MS, () =>
      settle(() => {
        const error = new Error(`no answer within ${ATTEMPT_TIMEOUT_MS} ms`);
        own.abort(error);
        this.#failed(error);
      }),
    );
    this.#options.ask(own.signal).then(
      (answer) => settle(() => this.#answered(answer)),
      (error: unknown) => settle(() => this.#failed(error)),
    );
  }

  #answered(answer: T | undefined): void {
    if (answer === undefined) {
      this.#isNothing = true;
      return this.#ended();
    }
    this.#end();
    this.#resolve(answer);
  }

  #failed(error: unknown): void {
    this.#lastError = error;
    this.#ended();
  }

  /** One attempt is over. */
  #ended(): void {
    if (--this.#open > 0) return;
    this.#end();
    if (this.#isNothing) this.#resolve(undefined);
    else this.#reject(this.#lastError);
  }

  #end(): void {
    this.#options.signal.removeEventListener('abort', this.#onAbort);
    for (const timer of this.#timers) this.#options.clock.clearTimeout(timer);
    this.#timers.clear();
    this.#over.abort(new Error('the question is answered, or nobody wants to know any more'));
  }
}
