/**
 * Gives the chart of `machines/endpoint.ts` its body: one step after the other, whatever became of the one before.
 *
 * @module
 */
import { fromPromise, type Actor } from 'xstate';
import { MAX_TIMER_DELAY_MS, type Millis } from '../base/clock.ts';
import { DEFAULT_DRAIN_LIMIT_MS, endpointMachine, type EndpointStep } from '../machines/endpoint.ts';
import type { Log } from '../transport/log.ts';
import type { ActorSystem } from './actor-system.ts';
import type { EndpointState } from './endpoint-state.ts';
import { Deferred } from './wait.ts';

/**
 * Ends one part of an endpoint. What it throws is logged, and the end goes on; so it does when the part takes longer than its
 * limit.
 *
 * @param signal - Aborts at that limit: drop what is left.
 */
export type EndpointStepBody = (signal: AbortSignal) => Promise<void> | void;

/** What happens at an endpoint's end, in this order. The first three begin before `close` returns. */
export interface EndpointSteps {
  /** Tells those who wait for the end or for attempts, gives reports up, refuses what nobody has decided about. */
  readonly announce: () => void;
  /** Takes lookup services away and begins to close them. What it returns is waited for beside the actors, 1 s. */
  readonly lookups: () => Promise<void> | void;
  /** Closes all connections with code 0; resolves when no peer is left to tell. Has the limit of `close`. */
  readonly draining: EndpointStepBody;
  /** This one and the next three run at the same time. 600 ms: a router is told over the network. */
  readonly mapping: EndpointStepBody;
  /** 100 ms, as the next two. */
  readonly socket: EndpointStepBody;
  readonly remotes: EndpointStepBody;
  readonly relays: EndpointStepBody;
  /** Nothing is sent any more. 1 s. */
  readonly drivers: EndpointStepBody;
  /** 1 s. */
  readonly sockets: EndpointStepBody;
  /** Completes what can be observed. The state is `closed` by now. */
  readonly endWatches: () => void;
  /** Instead of all of them: drops everything and tells nobody. */
  readonly abort: () => void;
}

/** How an {@link EndpointLife} is made. */
export interface EndpointLifeOptions {
  readonly system: ActorSystem;
  /** Short form of the endpoint's id. */
  readonly name: string;
  readonly steps: EndpointSteps;
  readonly log: Log;
}

/** From open to closed. */
export class EndpointLife {
  readonly #options: EndpointLifeOptions;
  readonly #actor: Actor<typeof endpointMachine>;
  readonly #closed = new Deferred<void>();
  #state: EndpointState = 'open';
  #lookups: Promise<void> | undefined;

  constructor(options: EndpointLifeOptions) {
    this.#options = options;
    const { name, system } = options;
    this.#actor = system.start(this.#machine(), `endpoint ${name}`, {
      endpoint: name,
      timeoutMs: DEFAULT_DRAIN_LIMIT_MS,
    });
    const end = (): void => {
      this.#state = 'closed';
      this.#closed.resolve();
    };
    this.#actor.subscribe({ complete: end, error: end });
  }

  /** Changes before any step of the end runs. */
  get state(): EndpointState {
    return this.#state;
  }

  /**
   * Begins the end unless it has begun, and waits for it; never rejects.
   * @param timeoutMs - How long peers may take, default 3 s. The earliest limit of all callers counts.
   */
  close(timeoutMs?: Millis): Promise<void> {
    if (this.#state === 'open') this.#state = 'closing';
    if (this.#state === 'closing') {
      this.#actor.send({
        type: 'close',
        now: this.#options.system.clock.now(),
        timeoutMs: timeoutMs === undefined ? undefined : Math.min(Math.max(0, timeoutMs), MAX_TIMER_DELAY_MS),
      });
    }
    return this.#closed.promise;
  }

  /** The end when there is no time for one. Does nothing once an orderly one has begun. */
  abort(): void {
    if (this.#state !== 'open') return;
    this.#state = 'closing';
    this.#actor.send({ type: 'abort' });
  }

  #machine(): typeof endpointMachine {
    const { steps } = this.#options;
    const actor = (step: Exclude<EndpointStep, 'lookups'>) =>
      fromPromise<void>(({ signal }) => this.#run(step, () => steps[step](signal)));
    return endpointMachine.provide({
      actors: {
        'close connections': actor('draining'),
        'release port mapping': actor('mapping'),
        'join lookup services': fromPromise<void>(() => this.#lookups!),
        'stop socket actor': actor('socket'),
        'stop remotes': actor('remotes'),
        'stop relay manager': actor('relays'),
        'stop drivers': actor('drivers'),
        'close sockets': actor('sockets'),
      },
      actions: {
        'announce end': () => this.#try('announce', () => steps.announce()),
        'clear lookup services': () => {
          this.#lookups = this.#run('lookups', () => steps.lookups());
          this.#lookups.catch(() => undefined);
        },
        'end watches': () => {
          this.#state = 'closed';
          this.#try('endWatches', () => steps.endWatches());
        },
        'drop everything': () => this.#try('abort', () => steps.abort()),
        'report overrun': (_, { step }) => this.#log(() => `closing: ${step} takes too long, going on`),
      },
    });
  }

  async #run(step: string, body: () => Promise<void> | void): Promise<void> {
    try {
      await body();
    } catch (error) {
      this.#report(step, error);
      throw error;
    }
  }

  #try(step: string, body: () => void): void {
    try {
      body();
    } catch (error) {
      this.#report(step, error);
    }
  }

  #report(step: string, error: unknown): void {
    this.#log(() => `closing: ${step} failed: ${error instanceof Error ? error.message : typeof error}`);
  }

  #log(line: () => string): void {
    this.#options.log.write('endpoint', () => `${this.#options.name} ${line()}`);
  }
}
