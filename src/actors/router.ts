/**
 * Gives the chart of `machines/router.ts` its body: takes attempts, asks the filter, runs one task for each connection.
 *
 * @module
 */
import { fromPromise, type Actor } from 'xstate';
import { MAX_TIMER_DELAY_MS } from '../base/clock.ts';
import { routerMachine, type FilterOutcome } from '../machines/router.ts';
import type { Log } from '../transport/log.ts';
import type { ActorSystem } from './actor-system.ts';
import { Deferred } from './wait.ts';

/** An attempt to connect that nobody has decided about. */
export interface RoutedAttempt {
  readonly remoteAddrValidated: boolean;
  retry(): void;
  refuse(): void;
  ignore(): void;
}

/** How a {@link RouterActor} is made. */
export interface RouterActorOptions<A extends RoutedAttempt> {
  readonly system: ActorSystem;
  /** Short form of the endpoint's id. */
  readonly name: string;
  /** The next attempt; undefined once the endpoint closes. */
  readonly next: () => Promise<A | undefined>;
  /** What the application says about it. May throw. */
  readonly filter: (attempt: A) => FilterOutcome;
  /** Serves a connection to its end. `signal` aborts when the router is done with it. */
  readonly serve: (attempt: A, signal: AbortSignal) => Promise<void>;
  /** One goodbye of each handler. */
  readonly goodbyes: readonly (() => unknown)[];
  readonly closeEndpoint: () => Promise<void>;
  readonly log: Log;
}

/** One router. */
export class RouterActor<A extends RoutedAttempt> {
  readonly #options: RouterActorOptions<A>;
  readonly #actor: Actor<typeof routerMachine>;
  /** The attempt that the machine is about to decide on. */
  #undecided: A | undefined;
  readonly #tasks = new Set<AbortController>();
  readonly #done = new Deferred<void>();
  #attempts = 0;

  constructor(options: RouterActorOptions<A>) {
    this.#options = options;
    const { name, system } = options;
    this.#actor = system.start(this.#machine(), `router ${name}`, { endpoint: name });
    this.#actor.subscribe({
      complete: () => this.#done.resolve(),
      error: (error: unknown) => this.#done.reject(error),
    });
    void this.#take();
  }

  /** True from the moment that the router begins to end. */
  get isShutdown(): boolean {
    return !this.#actor.getSnapshot().matches('listening');
  }

  /** Connections that are being served. */
  get taskCount(): number {
    return this.#tasks.size;
  }

  /** Begins the end unless it has begun, and waits for it. The earliest limit of all callers counts. */
  shutdown(limitMs: number | undefined): Promise<void> {
    const { clock } = this.#options.system;
    const isLimit = limitMs !== undefined && limitMs <= MAX_TIMER_DELAY_MS;
    this.#send({
      type: 'shutdown',
      now: clock.now(),
      limitMs: isLimit ? Math.max(0, limitMs) : undefined,
    });
    return this.#done.promise;
  }

  #machine(): typeof routerMachine {
    const { closeEndpoint } = this.#options;
    return routerMachine.provide({
      actors: {
        'shut down all handlers': fromPromise(() => this.#sayGoodbye()),
        'close endpoint': fromPromise(async () => {
          await closeEndpoint();
        }),
      },
      actions: {
        'start handler task': () => this.#decide((attempt) => void this.#serve(attempt)),
        'ask for retry': () => this.#decide((attempt) => attempt.retry()),
        refuse: () => this.#decide((attempt) => attempt.refuse()),
        ignore: () => this.#decide((attempt) => attempt.ignore()),
        'abort all tasks': () => {
          for (const task of this.#tasks) task.abort(new Error('the router is shut down'));
        },
      },
    });
  }

  #send(event: Parameters<Actor<typeof routerMachine>['send']>[0]): void {
    if (this.#actor.getSnapshot().status === 'active') this.#actor.send(event);
  }

  async #take(): Promise<void> {
    const { filter, next } = this.#options;
    try {
      for (let attempt = await next(); attempt !== undefined; attempt = await next()) {
        let outcome: FilterOutcome = 'failed';
        // An attempt that comes during the end is refused whatever the filter says.
        if (!this.isShutdown) {
          try {
            outcome = filter(attempt);
          } catch (error) {
            this.#report('incoming filter', error);
          }
        }
        this.#undecided = attempt;
        this.#send({
          type: 'attemptArrived',
          attempt: this.#attempts++,
          outcome,
          isValidated: attempt.remoteAddrValidated,
        });
        // A router that is gone decides nothing.
        this.#decide((left) => left.refuse());
      }
    } catch (error) {
      this.#report('taking attempts', error);
    }
    this.#send({ type: 'endpointClosed' });
  }

  /** Does something with the attempt that waits, if one does. */
  #decide(decision: (attempt: A) => void): void {
    const attempt = this.#undecided;
    if (attempt === undefined) return;
    this.#undecided = undefined;
    try {
      decision(attempt);
    } catch (error) {
      this.#report('an attempt', error);
    }
  }

  async #serve(attempt: A): Promise<void> {
    const task = new AbortController();
    this.#tasks.add(task);
    try {
      await this.#options.serve(attempt, task.signal);
    } catch (error) {
      if (!task.signal.aborted) this.#report('a handler', error);
    }
    this.#tasks.delete(task);
    this.#send({ type: 'taskEnded' });
  }

  async #sayGoodbye(): Promise<void> {
    await Promise.all(
      this.#options.goodbyes.map(async (goodbye) => {
        try {
          await goodbye();
        } catch (error) {
          this.#report("a handler's shutdown", error);
        }
      }),
    );
  }

  #report(where: string, error: unknown): void {
    this.#options.log.write('router', () => `${this.#options.name} ${where} failed: ${describe(error)}`);
  }
}

/** Text of anything thrown; what cannot even be printed must not throw again. */
function describe(error: unknown): string {
  try {
    return String(error);
  } catch {
    return 'an error that cannot be printed';
  }
}
