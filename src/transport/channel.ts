/**
 * The pipes between actors: three kinds, typed, each with a name and an owner, and each send can be watched.
 *
 * - {@link Events}: synchronous, in order, no queue. For facts.
 * - {@link Watch}: the latest value; never says the same twice. For state.
 * - {@link Inbox}: a bounded queue in front of one actor. For commands. Only this kind queues.
 *
 * The owner makes and closes a channel; others get a half that can only send or only listen. Who sends while a send is
 * under way comes after it, so that all listeners hear the same order. A listener that throws disturbs nobody: rxjs
 * reports the error as one that nobody caught.
 *
 * @module
 */
import { BehaviorSubject, Observable, Subject, type Subscription } from 'rxjs';

/**
 * What an inspector hears. Types that begin with `@xstate.` are XState's inspection events, `iroh.channel.send` is a
 * `ChannelSend`; `iroh-ts/inspect` has their full types (XState's own do not compile for every consumer).
 */
export interface InspectedEvent {
  /** Tells what it is. */
  readonly type: string;
}

/** One send between actors, for whoever watches. No payload: names only. */
export interface ChannelSend {
  /** What tells it from XState's own events. */
  readonly type: 'iroh.channel.send';
  /** Name of the channel. */
  readonly channel: string;
  /** Facts, state, or commands. */
  readonly kind: 'events' | 'watch' | 'inbox';
  /** Who sends. */
  readonly from: string;
  /** Who receives; `*` for listeners that gave no name. */
  readonly to: string;
  /** The event's type; `value` for kind `watch`. */
  readonly event: string;
  /** Commands that wait in the inbox, this one included; 0 for the other kinds. */
  readonly depth: number;
  /** Commands that the inbox has dropped since it exists. */
  readonly dropped: number;
}

/** Is told of every send. Must not throw. */
export type ChannelObserver = (send: ChannelSend) => void;

/** What a channel is called and who watches it. */
export interface ChannelOptions {
  /** What is said here, e.g. `path events`. */
  readonly name: string;
  /** The actor that made it, e.g. `remote 8a88e3dd74`. */
  readonly owner: string;
  readonly observer?: ChannelObserver | undefined;
}

/** The listening half of {@link Events}. */
export interface EventSource<E extends { readonly type: string }> {
  /** Every event from now on; completes when the channel closes. */
  readonly events$: Observable<E>;
  /** Listens. @param to - The listening actor's name, for whoever watches. */
  subscribe(to: string, listener: (event: E) => void): Subscription;
}

/** Facts from one actor to any number of listeners: delivered at once, in order, never kept. */
export class Events<E extends { readonly type: string }> implements EventSource<E> {
  readonly #options: ChannelOptions;
  readonly #subject = new Subject<E>();
  readonly #listeners = new Listeners();
  /** Sent by a listener while an event is under way. */
  readonly #next: E[] = [];
  #isSending = false;
  #isClosed = false;
  readonly events$: Observable<E> = this.#subject.asObservable();

  constructor(options: ChannelOptions) {
    this.#options = options;
  }

  /** True while anybody listens. */
  get isObserved(): boolean {
    return this.#subject.observed;
  }

  subscribe(to: string, listener: (event: E) => void): Subscription {
    return this.#listeners.add(to, this.#subject.subscribe(listener));
  }

  /** Tells all listeners. Does nothing once closed. */
  send(event: E): void {
    if (this.#isClosed) return;
    if (this.#options.observer) observe(this.#options, 'events', this.#listeners.names, event.type);
    if (this.#isSending) {
      this.#next.push(event);
      return;
    }
    this.#isSending = true;
    for (let each: E | undefined = event; each !== undefined; each = this.#next.shift())
      this.#subject.next(each);
    this.#isSending = false;
    if (this.#isClosed) this.#subject.complete();
  }

  /** No more events; listeners are told so, after what was sent. */
  close(): void {
    this.#isClosed = true;
    if (!this.#isSending) this.#subject.complete();
  }
}

/** The listening half of a {@link Watch}. */
export interface Watched<T> {
  /** The latest value. */
  readonly value: T;
  /** The latest value now, then each different one; completes when the channel closes. */
  readonly changes$: Observable<T>;
  /** Listens, beginning with the latest value. @param to - The listening actor's name. */
  subscribe(to: string, listener: (value: T) => void): Subscription;
}

/** A value that one actor sets and others follow. */
export class Watch<T> implements Watched<T> {
  readonly #options: ChannelOptions;
  readonly #equals: (a: T, b: T) => boolean;
  /** What listeners heard last. */
  readonly #heard: BehaviorSubject<T>;
  readonly #listeners = new Listeners();
  readonly changes$: Observable<T>;
  #value: T;
  #isTelling = false;
  #isClosed = false;

  /** @param equals - When two values are the same; by default `Object.is`. */
  constructor(options: ChannelOptions, initial: T, equals: (a: T, b: T) => boolean = Object.is) {
    this.#options = options;
    this.#equals = equals;
    this.#value = initial;
    this.#heard = new BehaviorSubject(initial);
    this.changes$ = new Observable((subscriber) => {
      // A subject that has completed says nothing more, not even its last value.
      if (this.#isClosed && !this.#isTelling) subscriber.next(this.#value);
      return this.#heard.subscribe(subscriber);
    });
  }

  get value(): T {
    return this.#value;
  }

  subscribe(to: string, listener: (value: T) => void): Subscription {
    return this.#listeners.add(to, this.changes$.subscribe(listener));
  }

  /** Sets the value; returns whether it differs. Does nothing once closed. */
  set(value: T): boolean {
    if (this.#isClosed || this.#equals(value, this.#value)) return false;
    this.#value = value;
    observe(this.#options, 'watch', this.#listeners.names, 'value');
    if (this.#isTelling) return true;
    this.#isTelling = true;
    // A listener may set the value again; those after it must not hear the older one last.
    do this.#heard.next(this.#value);
    while (!Object.is(this.#heard.value, this.#value) && !this.#equals(this.#heard.value, this.#value));
    this.#isTelling = false;
    if (this.#isClosed) this.#heard.complete();
    return true;
  }

  /** The last value stays; listeners are told that no other follows. */
  close(): void {
    this.#isClosed = true;
    if (!this.#isTelling) this.#heard.complete();
  }
}

/** Who listens, by name. Several subscriptions may share one. */
class Listeners {
  readonly #counts = new Map<string, number>();

  get names(): Iterable<string> {
    return this.#counts.keys();
  }

  add(name: string, subscription: Subscription): Subscription {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1);
    subscription.add(() => {
      const left = this.#counts.get(name)! - 1;
      if (left === 0) this.#counts.delete(name);
      else this.#counts.set(name, left);
    });
    return subscription;
  }
}

function observe(
  { name, owner, observer }: ChannelOptions,
  kind: 'events' | 'watch',
  listeners: Iterable<string>,
  event: string,
): void {
  if (observer === undefined) return;
  const send = {
    type: 'iroh.channel.send',
    channel: name,
    kind,
    from: owner,
    event,
    depth: 0,
    dropped: 0,
  } as const;
  let isNamed = false;
  for (const to of listeners) {
    isNamed = true;
    observer({ ...send, to });
  }
  if (!isNamed) observer({ ...send, to: '*' });
}

/** What happens to a command that finds its inbox full. */
export type Overflow =
  /** `send` returns a promise that resolves once there was room. */
  | 'wait'
  /** The command is dropped; `send` returns false. */
  | 'dropNewest'
  /** The oldest command of its lane is dropped for it. */
  | 'dropOldest';

/** The inbox was closed before the command got in. */
export class InboxClosedError extends Error {
  override readonly name = 'InboxClosedError';
}

type CommandOf<C extends { readonly type: string }, T extends C['type']> = Extract<C, { readonly type: T }>;

/** The sending half of an {@link Inbox}. */
export interface Sender<C extends { readonly type: string }, O extends Record<C['type'], Overflow>> {
  /**
   * Puts a command in. For commands that wait: a promise that resolves when the command is in, and rejects with
   * {@link InboxClosedError}, or with the signal's reason. For others: whether it is in.
   */
  send<T extends C['type']>(
    command: CommandOf<C, T>,
    options?: { readonly signal?: AbortSignal | undefined },
  ): O[T] extends 'wait' ? Promise<void> : boolean;
}

/** How an {@link Inbox} is made. */
export interface InboxOptions<
  C extends { readonly type: string },
  O extends Record<C['type'], Overflow>,
> extends ChannelOptions {
  /** Most commands that may wait, for each lane, at least 1. A lane with a lower number is emptied first. */
  readonly capacities: readonly number[];
  readonly overflow: O;
  /** The lane of a command; 0 unless named. */
  readonly lanes?: Partial<Record<C['type'], number>>;
  /** Takes one command at a time, in the microtask of its burst. */
  readonly deliver: (command: C) => void;
  /** A command was dropped. */
  readonly onDropped?: (command: C) => void;
}

/** A command that found its lane full. */
interface Waiter<C> {
  readonly command: C;
  readonly from: string;
  readonly admitted: () => void;
  readonly refused: (reason: unknown) => void;
}

interface Lane<C> {
  readonly capacity: number;
  readonly queue: C[];
  readonly waiting: Set<Waiter<C>>;
}

/** Commands for one actor, bounded. One burst is delivered in one microtask, one command at a time. */
export class Inbox<C extends { readonly type: string }, const O extends Record<C['type'], Overflow>> {
  readonly #options: InboxOptions<C, O>;
  readonly #lanes: readonly Lane<C>[];
  /** A subject, so that an actor that throws is reported as a listener would be. */
  readonly #delivery = new Subject<C>();
  /** Delivered with their commands, and not answered. */
  readonly #replies = new Set<Reply<unknown>>();
  #dropped = 0;
  #isScheduled = false;
  #isClosed = false;

  /** @throws RangeError when a lane has no room, or a command's lane does not exist. */
  constructor(options: InboxOptions<C, O>) {
    this.#options = options;
    const { capacities, lanes = {}, name } = options;
    if (
      capacities.length === 0 ||
      !capacities.every((capacity) => Number.isInteger(capacity) && capacity > 0)
    )
      throw new RangeError(`inbox "${name}": each capacity must be a positive integer`);
    for (const lane of Object.values<number>(lanes))
      if (capacities[lane] === undefined) throw new RangeError(`inbox "${name}": there is no lane ${lane}`);
    this.#lanes = capacities.map((capacity) => ({ capacity, queue: [], waiting: new Set() }));
    this.#delivery.subscribe(options.deliver);
  }

  /** Commands that are in and not delivered. */
  get size(): number {
    return this.#lanes.reduce((sum, { queue }) => sum + queue.length, 0);
  }

  /** Commands dropped since the inbox exists. */
  get dropped(): number {
    return this.#dropped;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** The sending half for one actor. @param from - Its name. */
  sender(from: string): Sender<C, O> {
    // The overflow decides which of the two it is; the compiler cannot follow that.
    return { send: (command, options) => this.#send(command, from, options?.signal) as never };
  }

  #send(command: C, from: string, signal: AbortSignal | undefined): Promise<void> | boolean {
    const overflow: Overflow = this.#options.overflow[command.type as C['type']];
    const lane = this.#lanes[this.#options.lanes?.[command.type as C['type']] ?? 0];
    if (overflow === 'wait') {
      if (this.#isClosed) return Promise.reject(new InboxClosedError());
      if (signal?.aborted) return Promise.reject(signal.reason);
      if (lane.queue.length >= lane.capacity) return this.#wait(lane, command, from, signal);
      this.#admit(lane, command, from);
      return Promise.resolve();
    }
    if (this.#isClosed) return false;
    if (lane.queue.length < lane.capacity) {
      this.#admit(lane, command, from);
      return true;
    }
    this.#dropped++;
    const isNewest = overflow === 'dropNewest';
    const victim = isNewest ? command : lane.queue.shift()!;
    if (isNewest) this.#observe(command, from);
    else this.#admit(lane, command, from);
    this.#options.onDropped?.(victim);
    return !isNewest;
  }

  #wait(lane: Lane<C>, command: C, from: string, signal: AbortSignal | undefined): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      const abort = (): void => {
        lane.waiting.delete(waiter);
        reject(signal!.reason);
      };
      const waiter: Waiter<C> = {
        command,
        from,
        admitted: () => {
          signal?.removeEventListener('abort', abort);
          resolve();
        },
        refused: (reason) => {
          signal?.removeEventListener('abort', abort);
          reject(reason);
        },
      };
      lane.waiting.add(waiter);
      signal?.addEventListener('abort', abort, { once: true });
    });
  }

  #admit(lane: Lane<C>, command: C, from: string): void {
    lane.queue.push(command);
    this.#observe(command, from);
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    queueMicrotask(() => this.#drain());
  }

  #observe(command: C, from: string): void {
    const { name, owner, observer } = this.#options;
    observer?.({
      type: 'iroh.channel.send',
      channel: name,
      kind: 'inbox',
      from,
      to: owner,
      event: command.type,
      depth: this.size,
      dropped: this.#dropped,
    });
  }

  #drain(): void {
    for (let command = this.#next(); command !== undefined; command = this.#next()) {
      if ('reply' in command && command.reply instanceof Reply) this.#remember(command.reply);
      this.#delivery.next(command);
    }
    this.#isScheduled = false;
  }

  #next(): C | undefined {
    if (this.#isClosed) return undefined;
    for (const lane of this.#lanes) {
      const command = lane.queue.shift();
      if (command === undefined) continue;
      const [first] = lane.waiting;
      if (first !== undefined) {
        lane.waiting.delete(first);
        this.#admit(lane, first.command, first.from);
        first.admitted();
      }
      return command;
    }
    return undefined;
  }

  #remember(reply: Reply<unknown>): void {
    if (reply.isDone) return;
    this.#replies.add(reply);
    const forget = (): void => void this.#replies.delete(reply);
    reply.promise.then(forget, forget);
  }

  /**
   * Takes no more. Who waits to get in, and who waits for the {@link Reply} (`command.reply`) to a delivered command, hears
   * `reason`. A reply to a command that was not delivered goes with it.
   *
   * @returns what was in, in the order of delivery, for a successor; nothing the second time.
   */
  close(reason: unknown = new InboxClosedError()): C[] {
    this.#isClosed = true;
    const leftovers: C[] = [];
    for (const { queue, waiting } of this.#lanes) {
      leftovers.push(...queue.splice(0));
      for (const { refused } of waiting) refused(reason);
      waiting.clear();
    }
    for (const reply of this.#replies) if (!reply.isDone) reply.reject(reason);
    this.#replies.clear();
    return leftovers;
  }
}

/** A one-shot answer to a command. */
export class Reply<T> {
  readonly promise: Promise<T>;
  #resolve!: (value: T) => void;
  #reject!: (error: unknown) => void;
  #isDone = false;

  constructor() {
    this.promise = new Promise<T>((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // Nobody may be waiting for it any more.
    this.promise.catch(() => undefined);
  }

  get isDone(): boolean {
    return this.#isDone;
  }

  resolve(value: T): void {
    this.#isDone = true;
    this.#resolve(value);
  }

  reject(error: unknown): void {
    this.#isDone = true;
    this.#reject(error);
  }
}
