/**
 * Writes down what actors do, a line of JSON for each thing: who started, which event came, which transitions it took, what
 * the state is now, who sent what to whom. Bounded, and free of payloads and secrets (see `plain.ts`).
 *
 * @module
 */
import type { AnyActorRef, ActorRefLike, AnyEventObject, InspectionEvent } from 'xstate';
import type { Inspector, ActorInspectionEvent } from '../actors/actor-system.ts';
import type { ChannelSend } from '../transport/channel.ts';
import { describeTransition } from './chart.ts';
import { toPlain, type Plain } from './plain.ts';

/** What a recorder keeps unless told otherwise, bytes. */
export const DEFAULT_RECORDING_BYTES = 4 * 1024 * 1024;

/** How a {@link Recorder} is made. */
export interface RecorderOptions {
  /** Lines above this are dropped, oldest first, and counted; bytes. Default 4 MiB. */
  readonly maxBytes?: number;
  /** The time that lines carry, ms, e.g. `() => performance.now()`. Absent: lines have numbers only. */
  readonly now?: () => number;
  /** Is given each line, with its line feed, when it is written. What it throws reaches nobody. */
  readonly onLine?: (line: string) => void;
}

/** One line of a recording. */
export type RecordedLine = { readonly n: number; readonly t?: number } & (
  | {
      readonly kind: 'actor';
      readonly actor: string;
      /** The machine's id; absent when the actor is no machine. */
      readonly machine?: string;
    }
  | { readonly kind: 'event'; readonly actor: string; readonly from?: string; readonly event: Plain }
  | {
      readonly kind: 'transition';
      readonly actor: string;
      readonly event: string;
      readonly from: string;
      readonly to: readonly string[];
      readonly guard?: string;
      readonly actions?: readonly string[];
    }
  | { readonly kind: 'action'; readonly actor: string; readonly action: string }
  | {
      readonly kind: 'state';
      readonly actor: string;
      readonly status: string;
      readonly value?: Plain;
      readonly context?: Plain;
    }
  | ({ readonly kind: 'channel' } & Omit<ChannelSend, 'type' | 'kind'> & {
        readonly channelKind: ChannelSend['kind'];
      })
);

type Body = RecordedLine extends infer L ? (L extends RecordedLine ? Omit<L, 'n' | 't'> : never) : never;

/** Keeps the latest lines. */
export class Recorder {
  /** Goes to `Endpoint.bind({ inspect })`. */
  readonly inspect: Inspector;
  readonly #maxBytes: number;
  readonly #now: (() => number) | undefined;
  readonly #onLine: ((line: string) => void) | undefined;
  /** From `#first` on; what is before it is dropped and cut off now and then. */
  #lines: string[] = [];
  #first = 0;
  #bytes = 0;
  #dropped = 0;
  #count = 0;
  /** What was last written about an actor's state. */
  readonly #states = new WeakMap<ActorRefLike, string>();

  constructor({ maxBytes = DEFAULT_RECORDING_BYTES, now, onLine }: RecorderOptions = {}) {
    this.#maxBytes = maxBytes;
    this.#now = now;
    this.#onLine = onLine;
    this.inspect = (event) => this.#record(event);
  }

  /** Lines that no longer fitted. */
  get dropped(): number {
    return this.#dropped;
  }

  /** What is kept, UTF-16 code units. */
  get size(): number {
    return this.#bytes;
  }

  /** The lines that are kept, oldest first, parsed. */
  get lines(): RecordedLine[] {
    return this.#lines.slice(this.#first).map((line) => JSON.parse(line) as RecordedLine);
  }

  /** The recording as NDJSON. Its first line says how much is missing. */
  toString(): string {
    const header = JSON.stringify({ kind: 'recording', version: 1, dropped: this.#dropped });
    return `${header}\n${this.#lines.slice(this.#first).join('')}`;
  }

  #record(event: ActorInspectionEvent): void {
    if (event.type === 'iroh.channel.send') {
      const { type: _type, kind: channelKind, ...send } = event;
      this.#write({ kind: 'channel', channelKind, ...send });
      return;
    }
    const actor = actorName(event.actorRef);
    switch (event.type) {
      case '@xstate.actor':
        this.#write({ kind: 'actor', actor, ...machineOf(event.actorRef) });
        return;
      case '@xstate.event':
        this.#write({
          kind: 'event',
          actor,
          ...(event.sourceRef && { from: actorName(event.sourceRef) }),
          event: plainEvent(event.event),
        });
        return;
      case '@xstate.microstep':
        this.#writeTransitions(actor, event);
        return;
      case '@xstate.action':
        this.#write({ kind: 'action', actor, action: event.action.type });
        return;
      case '@xstate.snapshot':
        this.#writeState(actor, event.actorRef, event.snapshot);
        return;
      default:
    }
  }

  #writeTransitions(
    actor: string,
    { event, _transitions }: InspectionEvent & { type: '@xstate.microstep' },
  ): void {
    for (const transition of _transitions) {
      // The way into the first state has no event of its own.
      if ((transition.eventType as string | null) === null) continue;
      const { source, targets, guard, actions } = describeTransition(transition);
      this.#write({
        kind: 'transition',
        actor,
        event: event.type,
        from: source,
        to: targets,
        ...(guard !== undefined && { guard }),
        ...(actions.length > 0 && { actions }),
      });
    }
  }

  #writeState(actor: string, ref: ActorRefLike, snapshot: object): void {
    const { status, value, context } = snapshot as { status: string; value?: unknown; context?: unknown };
    const body: Body = {
      kind: 'state',
      actor,
      status,
      // Only machines have both; what promises return may be anything.
      ...(value !== undefined && { value: toPlain(value), context: toPlain(context) }),
    };
    const text = JSON.stringify(body);
    if (this.#states.get(ref) === text) return;
    this.#states.set(ref, text);
    this.#write(body);
  }

  #write(body: Body): void {
    const time = this.#now?.();
    const line = `${JSON.stringify({
      n: this.#count++,
      ...(time !== undefined && { t: Math.round(time * 1_000) / 1_000 }),
      ...body,
    })}\n`;
    this.#lines.push(line);
    this.#bytes += line.length;
    while (this.#bytes > this.#maxBytes) {
      this.#bytes -= this.#lines[this.#first]!.length;
      this.#lines[this.#first++] = '';
      this.#dropped++;
    }
    if (this.#first > 1_024 && this.#first > this.#lines.length / 2) {
      this.#lines = this.#lines.slice(this.#first);
      this.#first = 0;
    }
    this.#onLine?.(line);
  }
}

/** Keeps what the actors of an endpoint do: `Endpoint.bind({ inspect: recorder.inspect })`. */
export function createRecorder(options?: RecorderOptions): Recorder {
  return new Recorder(options);
}

/** Names of the actor and of those that started it, e.g. `remote 8a88e3dd74/lookup`. */
export function actorName(ref: ActorRefLike): string {
  const { id, _parent } = ref as Partial<Pick<AnyActorRef, 'id' | '_parent'>>;
  const name = id ?? ref.sessionId;
  return _parent === undefined ? name : `${actorName(_parent)}/${name}`;
}

function machineOf(ref: ActorRefLike): { machine?: string } {
  const { logic } = ref as { logic?: { root?: unknown; id?: string } };
  return logic?.root !== undefined && logic.id !== undefined ? { machine: logic.id } : {};
}

/** An event without what children returned: that goes into the context, if at all. */
function plainEvent(event: AnyEventObject): Plain {
  const { output, input, ...rest } = event as AnyEventObject & { output?: unknown; input?: unknown };
  void output;
  void input;
  return toPlain(rest);
}
