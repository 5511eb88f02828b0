/**
 * What all actors of one endpoint share: clock, inspector, names, and the book of who still runs.
 *
 * @module
 */
import { createActor, type Actor, type AnyStateMachine, type InputFrom, type InspectionEvent } from 'xstate';
import type { Clock } from '../base/clock.ts';
import {
  Events,
  Inbox,
  Watch,
  type ChannelSend,
  type InboxOptions,
  type Overflow,
} from '../transport/channel.ts';

/** Everything an inspector hears: XState's own events, and the sends between actors. */
export type ActorInspectionEvent = InspectionEvent | ChannelSend;

/** Watches all actors of an endpoint. What it throws is ignored. */
export type Inspector = (event: ActorInspectionEvent) => void;

/** How an {@link ActorSystem} is made. */
export interface ActorSystemOptions {
  readonly clock: Clock;
  /** Costs nothing when absent. */
  readonly inspect?: Inspector | undefined;
  /** A machine's action failed, which ends that actor. */
  readonly onError: (actor: string, error: unknown) => void;
}

/** The actors of one endpoint. */
export class ActorSystem {
  readonly clock: Clock;
  readonly #inspect: Inspector | undefined;
  readonly #onError: (actor: string, error: unknown) => void;
  readonly #running = new Set<string>();

  constructor({ clock, inspect, onError }: ActorSystemOptions) {
    this.clock = clock;
    this.#onError = onError;
    this.#inspect =
      inspect &&
      ((event) => {
        try {
          inspect(event);
        } catch {
          // Who watches must not change what happens.
        }
      });
  }

  /** Whether anybody watches. */
  get isInspected(): boolean {
    return this.#inspect !== undefined;
  }

  /** Names of the actors that run. */
  get running(): ReadonlySet<string> {
    return this.#running;
  }

  /**
   * Starts a machine.
   * @param id - Unique among the actors that run, e.g. `remote 8a88e3dd74`.
   * @param prepare - Called with the actor before its first action.
   */
  start<M extends AnyStateMachine>(
    machine: M,
    id: string,
    input: InputFrom<M>,
    prepare?: (actor: Actor<M>) => void,
  ): Actor<M> {
    const actor = createActor(machine as AnyStateMachine, {
      id,
      input,
      clock: this.clock,
      ...(this.#inspect && { inspect: this.#inspect }),
    }) as Actor<M>;
    this.#running.add(id);
    const end = (): void => void this.#running.delete(id);
    actor.subscribe({
      complete: end,
      error: (error: unknown) => {
        end();
        this.#onError(id, error);
      },
    });
    prepare?.(actor);
    return actor.start();
  }

  /** A channel for facts. */
  events<E extends { readonly type: string }>(name: string, owner: string): Events<E> {
    return new Events<E>({ name, owner, observer: this.#inspect });
  }

  /** A channel for state. */
  watch<T>(name: string, owner: string, initial: T, equals?: (a: T, b: T) => boolean): Watch<T> {
    return new Watch<T>({ name, owner, observer: this.#inspect }, initial, equals);
  }

  /** A channel for commands. */
  inbox<C extends { readonly type: string }, const O extends Record<C['type'], Overflow>>(
    options: Omit<InboxOptions<C, O>, 'observer'>,
  ): Inbox<C, O> {
    return new Inbox<C, O>({ ...options, observer: this.#inspect });
  }
}
