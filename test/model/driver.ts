/**
 * Drives any machine through random orders of events: what a chart only names is answered by the seed, actors in it settle or
 * fail when the seed says so, and time jumps from deadline to deadline. Counts which states and transitions were reached.
 *
 * @module
 */
import {
  createActor,
  type ActorLogic,
  type AnyActorRef,
  type AnyEventObject,
  type AnyStateMachine,
} from 'xstate';
import type { AnyTransitionDefinition, Snapshot } from 'xstate';
import { allNodes, describeTransition, pathOf, transitionsOf } from '../../src/inspect/chart.ts';
import { SimRng } from '../support/sim-rng.ts';

/** A machine and what may happen to it. */
export interface ModelSubject {
  readonly name: string;
  readonly machine: AnyStateMachine;
  readonly input?: unknown;
  /** Events, as the seed makes them. Those that come by themselves (done, after) are not among them. */
  readonly events: readonly ((random: SimRng) => AnyEventObject)[];
  /** Transitions that cannot be taken as things are, with why they are there nevertheless. */
  readonly belts?: Readonly<Record<string, string>>;
}

/** One step of a run. */
export type ModelStep =
  | { readonly type: 'event'; readonly event: AnyEventObject }
  | { readonly type: 'settle' | 'fail'; readonly actor: string }
  | { readonly type: 'time'; readonly now: number };

/** A run as invariants see it, after each step. */
export interface ModelRun {
  readonly seed: number;
  readonly snapshot: { readonly value: unknown; readonly context: unknown; readonly status: string };
  /** Names of the effects so far, in order, with the event that caused each. */
  readonly effects: readonly { readonly name: string; readonly event: AnyEventObject; readonly at: number }[];
  /** Ids of the actors that run in the machine. */
  readonly children: readonly string[];
  readonly timers: number;
  readonly steps: readonly ModelStep[];
}

/** What was reached, and what not. */
export interface ModelCoverage {
  readonly states: { readonly reached: number; readonly missing: readonly string[] };
  readonly transitions: { readonly reached: number; readonly missing: readonly string[] };
  /** Belts that were needed after all, or that no longer exist: to be taken off the list. */
  readonly wrongBelts: readonly string[];
}

/** An actor that ends when it is told so. */
const settable: ActorLogic<Snapshot<unknown>, AnyEventObject> = {
  transition: (snapshot, { type }) => {
    if (type === 'model.settle') return { status: 'done', output: undefined, error: undefined };
    if (type === 'model.fail')
      return { status: 'error', output: undefined, error: new Error('failed by the model') };
    return type === 'xstate.stop' ? { status: 'stopped', output: undefined, error: undefined } : snapshot;
  },
  getInitialSnapshot: () => ({ status: 'active', output: undefined, error: undefined }),
  getPersistedSnapshot: (snapshot) => snapshot,
};

/** Time that stands still until the next deadline is asked for. */
class ModelClock {
  now = 0;
  readonly #timers = new Map<number, { readonly at: number; readonly run: () => void }>();
  #count = 0;

  get pending(): number {
    return this.#timers.size;
  }

  setTimeout(run: () => void, delay: number): number {
    this.#timers.set(++this.#count, { at: this.now + delay, run });
    return this.#count;
  }

  clearTimeout(id: number): void {
    this.#timers.delete(id);
  }

  /** Goes to the next deadline. */
  advance(): void {
    const [next] = [...this.#timers].sort(([a, x], [b, y]) => x.at - y.at || a - b);
    if (next === undefined) return;
    const [id, { at, run }] = next;
    this.#timers.delete(id);
    this.now = at;
    run();
  }
}

type Implementation = (args: { readonly event: AnyEventObject }, params: unknown) => unknown;

/** One machine with fakes, for many runs. */
export class Model {
  readonly subject: ModelSubject;
  readonly #machine: AnyStateMachine;
  readonly #transitions: ReadonlyMap<AnyTransitionDefinition, string>;
  readonly #states: ReadonlySet<string>;
  readonly #reached = new Set<string>();
  readonly #taken = new Set<AnyTransitionDefinition>();
  #random = new SimRng(0);
  #clock = new ModelClock();
  #effects: { name: string; event: AnyEventObject; at: number }[] = [];

  constructor(subject: ModelSubject) {
    this.subject = subject;
    this.#machine = this.#withFakes(subject.machine);
    const nodes = allNodes(this.#machine.root);
    this.#states = new Set(nodes.slice(1).map(pathOf));
    this.#transitions = new Map(
      nodes.flatMap(transitionsOf).map((transition) => {
        const { source, event, guard, targets, actions } = describeTransition(transition);
        const condition = guard === undefined ? '' : ` [${guard}]`;
        return [
          transition,
          `${source} --${event}${condition}--> ${targets.join(', ') || actions.join(', ')}`,
        ];
      }),
    );
  }

  #withFakes(machine: AnyStateMachine): AnyStateMachine {
    const { actions, guards, delays, actors } = machine.implementations as unknown as Record<
      string,
      Record<string, unknown>
    >;
    const over = (
      some: Record<string, unknown> | undefined,
      fake: (each: unknown, name: string) => unknown,
    ): object =>
      Object.fromEntries(Object.entries(some ?? {}).map(([name, each]) => [name, fake(each, name)]));
    return machine.provide({
      actions: over(actions, (action, name) =>
        isPlainFunction(action) ? this.#answered(action, name, () => undefined, true) : action,
      ),
      guards: over(guards, (guard, name) =>
        isPlainFunction(guard) ? this.#answered(guard, name, () => this.#random.chance(0.5)) : guard,
      ),
      delays: over(delays, (delay, name) =>
        isPlainFunction(delay) ? this.#answered(delay, name, () => this.#random.between(1, 30_000)) : delay,
      ),
      actors: over(actors, () => settable),
    } as never);
  }

  /** The machine's own answer where it has one, else the seed's. */
  #answered(own: Implementation, name: string, answer: () => unknown, isEffect = false): Implementation {
    return (args, params) => {
      if (isEffect) this.#effects.push({ name, event: args.event, at: this.#clock.now });
      try {
        return own(args, params);
      } catch (error) {
        if (error instanceof Error && error.message === `"${name}" is not provided`) return answer();
        throw error;
      }
    };
  }

  /**
   * One run from the beginning until the machine ends or the steps are over.
   *
   * @param check - Is called after the start and after each step; what it throws ends the run, with the seed in the message.
   */
  run(seed: number, maxSteps: number, check: (run: ModelRun) => void = () => undefined): void {
    this.#random = new SimRng(seed);
    this.#clock = new ModelClock();
    this.#effects = [];
    const steps: ModelStep[] = [];
    const actor = createActor(this.#machine, {
      input: this.subject.input,
      clock: this.#clock,
      inspect: (event) => {
        if (event.type !== '@xstate.microstep') return;
        this.#visit((event.snapshot as { value?: unknown }).value, '');
        for (const transition of event._transitions) this.#take(transition);
      },
    });
    let failure: unknown;
    actor.subscribe({ error: (error) => (failure = error) });
    try {
      actor.start();
      for (;;) {
        if (failure !== undefined) throw failure;
        const snapshot = actor.getSnapshot() as ModelRun['snapshot'] & {
          children: Record<string, AnyActorRef>;
        };
        this.#visit(snapshot.value, '');
        check({
          seed,
          snapshot,
          effects: this.#effects,
          children: Object.keys(snapshot.children),
          timers: this.#clock.pending,
          steps,
        });
        if (snapshot.status !== 'active' || steps.length >= maxSteps) break;
        steps.push(this.#step(actor, snapshot.children));
      }
    } catch (cause) {
      const story = steps.map((step) => JSON.stringify(step)).join('\n');
      throw new Error(`${this.subject.name}, seed ${seed}: ${String(cause)}\n${story}`, { cause });
    } finally {
      actor.stop();
    }
    if (this.#clock.pending > 0)
      throw new Error(`${this.subject.name}, seed ${seed}: ${this.#clock.pending} timers are left`);
  }

  #step(actor: AnyActorRef, children: Record<string, AnyActorRef>): ModelStep {
    const running = Object.keys(children).sort();
    const choice = this.#random.float();
    if (running.length > 0 && choice < 0.25) {
      const id = this.#random.pick(running);
      const type = this.#random.chance(0.6) ? 'settle' : 'fail';
      children[id]!.send({ type: `model.${type}` });
      return { type, actor: id };
    }
    if (this.#clock.pending > 0 && choice < 0.5) {
      this.#clock.advance();
      return { type: 'time', now: this.#clock.now };
    }
    const event = this.#random.pick(this.subject.events)(this.#random);
    actor.send(event);
    return { type: 'event', event };
  }

  #take(transition: AnyTransitionDefinition): void {
    this.#taken.add(transition);
    for (const target of transition.target ?? []) {
      const { path } = target;
      for (let i = 1; i <= path.length; i++) this.#reached.add(path.slice(0, i).join('.'));
    }
  }

  #visit(value: unknown, parent: string): void {
    if (typeof value === 'string') this.#reached.add(parent === '' ? value : `${parent}.${value}`);
    if (typeof value !== 'object' || value === null) return;
    for (const [name, inner] of Object.entries(value)) {
      const path = parent === '' ? name : `${parent}.${name}`;
      this.#reached.add(path);
      this.#visit(inner, path);
    }
  }

  /** Over all runs so far. */
  get coverage(): ModelCoverage {
    const missing = [...this.#states].filter((path) => !this.#reached.has(path));
    const never = [...this.#transitions].filter(([each]) => !this.#taken.has(each)).map(([, text]) => text);
    const belts = Object.keys(this.subject.belts ?? {});
    return {
      states: { reached: this.#states.size - missing.length, missing },
      transitions: {
        reached: this.#transitions.size - never.length,
        missing: never.filter((text) => !belts.includes(text)),
      },
      wrongBelts: belts.filter((text) => !never.includes(text)),
    };
  }
}

/** `assign`, `raise`, `and` and the like are functions that carry what they do. */
function isPlainFunction(value: unknown): value is Implementation {
  return typeof value === 'function' && Object.keys(value).length === 0;
}
