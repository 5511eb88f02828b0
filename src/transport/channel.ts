/**
 * The pipes between actors: three kinds, typed, each with a name and an owner, and each send can be watched.
 *
 * - {@link Events}: synchronous, in order, no queue. For facts.
 * - {@link Watch}: the latest value; never says the same twice. For state.
 * - {@link Inbox}: a bounded queue in front of one actor. For commands. Only this kind queues.
 *
 * The owner makes and closes a channel; others get a half that can only send or only listen. A subscriber that throws
 * breaks its own subscription and nothing else: rxjs reports the error.
 *
 * @module
 */
import { BehaviorSubject, Subject, type Observable, type Subscription } from 'rxjs';

/** One send between actors, for whoever watches. No payload: names only. */
export interface ChannelSend {
  readonly type: 'iroh.channel.send';
  /** Name of the channel. */
  readonly channel: string;
  readonly kind: 'events' | 'watch' | 'inbox';
  /** Who sends. */
  readonly from: string;
  /** Who receives; `*` for listeners that gave no name. */
  readonly to: string;
  /** The event's type; `value` for a {@link Watch}. */
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
  readonly #names = new Map<string, number>();
  readonly events$: Observable<E> = this.#subject.asObservable();

  constructor(options: ChannelOptions) {
    this.#options = options;
  }

  /** True while anybody listens. */
  get isObserved(): boolean {
    return this.#subject.observed;
  }

  subscribe(to: string, listener: (event: E) => void): Subscription {
    const subscription = this.#subject.subscribe(listener);
    this.#names.set(to, (this.#names.get(to) ?? 0) + 1);
    subscription.add(() => {
      const left = this.#names.get(to)! - 1;
      if (left === 0) this.#names.delete(to);
      else this.#names.set(to, left);
    });
    return subscription;
  }

  /** Tells all listeners. Does nothing once closed. */
  send(event: E): void {
    if (this.#subject.closed) return;
    observe(this.#options, 'events', this.#names.keys(), event.type);
    this.#subject.next(event);
  }

  /** No more events; listeners are told so. */
  close(): void {
    this.#subject.complete();
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
  readonly #subject: BehaviorSubject<T>;
  readonly #names = new Set<string>();
  readonly changes$: Observable<T>;
  #isClosed = false;

  /** @param equals - When two values are the same; by default `Object.is`. */
  constructor(options: ChannelOptions, initial: T, equals: (a: T, b: T) => boolean = Object.is) {
    this.#options = options;
    this.#equals = equals;
    this.#subject = new BehaviorSubject(initial);
    this.changes$ = this.#subject.asObservable();
  }

  get value(): T {
    return this.#subject.value;
  }

  subscribe(to: string, listener: (value: T) => void): Subscription {
    this.#names.add(to);
    const subscription = this.#subject.subscribe(listener);
    subscription.add(() => this.#names.delete(to));
    return subscription;
  }

  /** Sets the value; returns whether it differs. Does nothing once closed. */
  set(value: T): boolean {
    if (this.#isClosed || this.#equals(value, this.#subject.value)) return false;
    observe(this.#options, 'watch', this.#names, 'value');
    this.#subject.next(value);
    return true;
  }

  /** The last value stays; listeners are told that no other follows. */
  close(): void {
    this.#isClosed = true;
    this.#subject.complete();
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
   * {@link InboxClosedError}. For others: whether it is in.
   */
  send<T extends C['type']>(command: CommandOf<C, T>): O[T] extends 'wait' ? Promise<void> : boolean;
}

/** How an {@link Inbox} is made. */
export interface InboxOptions<
  C extends { readonly type: string },
  O extends Record<C['type'], Overflow>,
> extends ChannelOptions {
  /** Most commands that may wait, for each lane. A lane with a lower number is emptied first. */
  readonly capacities: readonly number[];
  readonly overflow: O;
  /** The lane of a command; 0 unless named. */
  readonly lanes?: Partial<Record<C['type'], number>>;
  /** Takes one command at a time, in a microtask of its own burst. Must not throw. */
  readonly deliver: (command: C) => void;
  /** A command was dropped. */
  readonly onDropped?: (command: C) => void;
}

interface Lane<C> {
  readonly capacity: number;
  readonly queue: C[];
  readonly waiting: { readonly command: C; readonly admit: () => void; readonly refuse: () => void }[];
}

/** Commands for one actor, bounded. One burst is delivered in one microtask, one command at a time. */
export class Inbox<C extends { readonly type: string }, const O extends Record<C['type'], Overflow>> {
  readonly #options: InboxOptions<C, O>;
  readonly #lanes: readonly Lane<C>[];
  #dropped = 0;
  #isScheduled = false;
  #isClosed = false;

  constructor(options: InboxOptions<C, O>) {
    this.#options = options;
    this.#lanes = options.capacities.map((capacity) => ({ capacity, queue: [], waiting: [] }));
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
    return { send: (command) => this.#send(command, from) as never };
  }

  #send(command: C, from: string): Promise<void> | boolean {
    const overflow: Overflow = this.#options.overflow[command.type as C['type']];
    const lane = this.#lanes[this.#options.lanes?.[command.type as C['type']] ?? 0];
    if (this.#isClosed) return overflow === 'wait' ? Promise.reject(new InboxClosedError()) : false;
    if (lane.queue.length < lane.capacity) {
      this.#admit(lane, command, from);
      return overflow === 'wait' ? Promise.resolve() : true;
    }
    if (overflow === 'wait') {
      return new Promise<void>((resolve, reject) => {
        lane.waiting.push({
          command,
          admit: () => {
            this.#admit(lane, command, from);
            resolve();
          },
          refuse: () => reject(new InboxClosedError()),
        });
      });
    }
    this.#dropped++;
    const isNewest = overflow === 'dropNewest';
    const victim = isNewest ? command : lane.queue.shift()!;
    if (isNewest) this.#observe(command, from);
    else this.#admit(lane, command, from);
    this.#options.onDropped?.(victim);
    return !isNewest;
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
      this.#options.deliver(command);
    }
    this.#isScheduled = false;
  }

  #next(): C | undefined {
    if (this.#isClosed) return undefined;
    for (const lane of this.#lanes) {
      const command = lane.queue.shift();
      if (command === undefined) continue;
      lane.waiting.shift()?.admit();
      return command;
    }
    return undefined;
  }

  /** Takes no more. @returns what was in, in the order of delivery, for a successor. Who waited to get in is refused. */
  close(): C[] {
    this.#isClosed = true;
    const leftovers: C[] = [];
    for (const { queue, waiting } of this.#lanes) {
      leftovers.push(...queue.splice(0));
      for (const { refuse } of waiting.splice(0)) refuse();
    }
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
