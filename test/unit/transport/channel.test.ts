/** The three kinds of channels, each against what it promises, with random senders and listeners. */
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { config } from 'rxjs';
import {
  Events,
  Inbox,
  InboxClosedError,
  Reply,
  Watch,
  type ChannelSend,
  type Overflow,
} from '../../../src/transport/channel.ts';

/** What listeners threw, as rxjs reports it. */
let unhandled: unknown[] = [];
beforeEach(() => {
  unhandled = [];
  config.onUnhandledError = (error) => void unhandled.push(error);
});
afterEach(() => {
  config.onUnhandledError = null;
});

const NAMED = { name: 'facts', owner: 'tester' };
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
/** rxjs reports what listeners throw in a timer of its own, which is due before this one. */
const reported = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 1));

type Fact = { readonly type: 'fact'; readonly id: number } | { readonly type: 'other' };

describe('Events', () => {
  test('every listener hears every event once, in one order, whatever listeners send meanwhile', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ id: fc.nat(99), echoes: fc.integer({ min: 0, max: 3 }) }), { maxLength: 20 }),
        fc.integer({ min: 1, max: 4 }),
        fc.nat(3),
        (script, listeners, echoing) => {
          const events = new Events<Fact>(NAMED);
          const heard: number[][] = Array.from({ length: listeners }, () => []);
          heard.forEach((list, index) => {
            events.subscribe(`listener ${index}`, (event) => {
              if (event.type !== 'fact') return;
              list.push(event.id);
              // One of them answers some events at once, while others have not heard them yet.
              const row = script.find(({ id }) => id === event.id);
              if (index === echoing % listeners && row !== undefined)
                for (let i = 0; i < row.echoes; i++) events.send({ type: 'fact', id: 1_000 + i });
            });
          });
          for (const { id } of script) events.send({ type: 'fact', id });
          const expected = script.flatMap(({ id }) => [
            id,
            ...Array.from({ length: script.find((row) => row.id === id)!.echoes }, (_, i) => 1_000 + i),
          ]);
          for (const list of heard) expect(list).toEqual(expected);
        },
      ),
    );
  });

  test('nothing is kept: a listener hears what is sent from now on, until it leaves', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom('send', 'join', 'leave')), (script) => {
        const events = new Events<Fact>(NAMED);
        const present: { heard: number[]; expected: number[]; leave: () => void }[] = [];
        const all: typeof present = [];
        script.forEach((step, id) => {
          if (step === 'send') {
            events.send({ type: 'fact', id });
            for (const { expected } of present) expected.push(id);
          } else if (step === 'join') {
            const heard: number[] = [];
            const subscription = events.subscribe(
              'listener',
              (event) => event.type === 'fact' && heard.push(event.id),
            );
            const row = { heard, expected: [], leave: () => subscription.unsubscribe() };
            present.push(row);
            all.push(row);
          } else {
            present.shift()?.leave();
          }
          expect(events.isObserved).toBe(present.length > 0);
        });
        for (const { heard, expected } of all) expect(heard).toEqual(expected);
      }),
    );
  });

  test('close: what was sent arrives, listeners are told, nothing follows', () => {
    const sends: ChannelSend[] = [];
    const events = new Events<Fact>({ ...NAMED, observer: (send) => sends.push(send) });
    const heard: unknown[] = [];
    events.subscribe('first', (event) => {
      if (event.type === 'fact') {
        events.send({ type: 'other' });
        events.close();
        events.send({ type: 'other' });
      }
    });
    events.events$.subscribe({
      next: ({ type }) => heard.push(type),
      complete: () => heard.push('complete'),
    });
    events.send({ type: 'fact', id: 1 });
    events.send({ type: 'other' });
    events.close();
    expect(heard).toEqual(['fact', 'other', 'complete']);
    expect(sends).toHaveLength(2);
    expect(events.isObserved).toBe(false);
  });

  test('a listener that throws disturbs nobody and is reported', async () => {
    const events = new Events<Fact>(NAMED);
    const heard: string[] = [];
    events.subscribe('bad', () => {
      throw new Error('bad listener');
    });
    events.subscribe('good', ({ type }) => heard.push(type));
    events.send({ type: 'other' });
    events.send({ type: 'fact', id: 1 });
    await reported();
    expect(heard).toEqual(['other', 'fact']);
    expect(unhandled).toHaveLength(2);
  });
});

describe('Watch', () => {
  test('a listener hears the latest first, never the same twice, and ends with the latest', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ value: fc.nat(3), answer: fc.option(fc.nat(3)) }), { maxLength: 30 }),
        fc.nat(30),
        (script, joinsAt) => {
          const watch = new Watch(NAMED, 0);
          const heard: number[][] = [];
          let answer: number | null = null;
          watch.subscribe('answering', () => {
            if (answer === null) return;
            const value = answer;
            answer = null;
            watch.set(value);
          });
          const join = (): void => {
            const list: number[] = [];
            watch.subscribe('listener', (value) => list.push(value));
            expect(list).toEqual([watch.value]);
            heard.push(list);
          };
          join();
          script.forEach((step, i) => {
            if (i === joinsAt) join();
            const before = watch.value;
            answer = step.answer;
            expect(watch.set(step.value)).toBe(step.value !== before);
            answer = null;
            for (const list of heard) expect(list.at(-1)).toBe(watch.value);
          });
          for (const list of heard)
            for (let i = 1; i < list.length; i++) expect(list[i]).not.toBe(list[i - 1]);
        },
      ),
    );
  });

  test('what is equal is the equality’s to say, also when nothing equals itself', () => {
    const watch = new Watch<{ id: number; at: number }>(NAMED, { id: 1, at: 0 }, (a, b) => a.id === b.id);
    const heard: number[] = [];
    watch.subscribe('listener', ({ at }) => heard.push(at));
    expect(watch.set({ id: 1, at: 1 })).toBe(false);
    expect(watch.set({ id: 2, at: 2 })).toBe(true);
    expect(heard).toEqual([0, 2]);
    const always = new Watch(NAMED, 0, () => false);
    const every: number[] = [];
    always.subscribe('listener', (value) => every.push(value));
    always.set(0);
    expect(every).toEqual([0, 0]);
  });

  test('after close the value stays, also for who comes late', () => {
    const watch = new Watch(NAMED, 'first');
    const early: string[] = [];
    watch.changes$.subscribe({ next: (value) => early.push(value), complete: () => early.push('complete') });
    watch.set('last');
    watch.close();
    expect(watch.set('ignored')).toBe(false);
    const late: string[] = [];
    watch.changes$.subscribe({ next: (value) => late.push(value), complete: () => late.push('complete') });
    expect([watch.value, early, late]).toEqual(['last', ['first', 'last', 'complete'], ['last', 'complete']]);
  });

  test('closed by a listener: those after it hear the value, then the end', () => {
    const watch = new Watch(NAMED, 1);
    const heard: unknown[] = [];
    watch.subscribe('closing', (value) => value === 2 && watch.close());
    watch.changes$.subscribe({ next: (value) => heard.push(value), complete: () => heard.push('complete') });
    watch.set(2);
    expect(heard).toEqual([1, 2, 'complete']);
  });
});

type Command =
  | { readonly type: 'urgent'; readonly id: number }
  | { readonly type: 'patient'; readonly id: number }
  | { readonly type: 'newest'; readonly id: number }
  | { readonly type: 'oldest'; readonly id: number };

const overflow = {
  urgent: 'dropNewest',
  patient: 'wait',
  newest: 'dropNewest',
  oldest: 'dropOldest',
} as const satisfies Record<Command['type'], Overflow>;

const TYPES = ['urgent', 'patient', 'newest', 'oldest'] as const;

interface Setup {
  readonly deliver: (command: Command) => void;
  readonly onDropped?: (command: Command) => void;
  readonly observer?: (send: ChannelSend) => void;
}

/** Lane 0 takes what is urgent, each other command has a lane of its own. */
const inboxOf = (capacity: number, setup: Setup): Inbox<Command, typeof overflow> =>
  new Inbox<Command, typeof overflow>({
    ...NAMED,
    capacities: [capacity, capacity, capacity, capacity],
    overflow,
    lanes: { patient: 1, newest: 2, oldest: 3 },
    ...setup,
  });

describe('Inbox', () => {
  test('no loss but what is counted, no duplicates, FIFO in each lane, bounded, leftovers once', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 4 }),
        fc.array(
          fc.oneof({ arbitrary: fc.constantFrom(...TYPES), weight: 5 }, fc.constant('turn' as const)),
          {
            maxLength: 60,
          },
        ),
        fc.boolean(),
        async (capacity, script, closes) => {
          const delivered: Command[] = [];
          const dropped: Command[] = [];
          const inbox = inboxOf(capacity, {
            deliver: (command) => delivered.push(command),
            onDropped: (command) => dropped.push(command),
            observer: ({ depth }) => expect(depth).toBeLessThanOrEqual(capacity * 4),
          });
          const sender = inbox.sender('tester');
          const sent: Command[] = [];
          const refused: Command[] = [];
          for (const [id, step] of script.entries()) {
            if (step === 'turn') {
              await settled();
              continue;
            }
            const command = { type: step, id } as const;
            sent.push(command);
            if (command.type === 'patient')
              void sender.send(command as { type: 'patient'; id: number }).catch((error: unknown) => {
                expect(error).toBeInstanceOf(InboxClosedError);
                refused.push(command);
              });
            else sender.send(command as { type: 'newest'; id: number });
            expect(inbox.size).toBeLessThanOrEqual(capacity * 4);
          }
          const leftovers = closes ? inbox.close() : [];
          await settled();
          expect(inbox.close()).toEqual([]);
          expect(inbox.dropped).toBe(dropped.length);
          const all = [...delivered, ...leftovers, ...dropped, ...refused];
          expect(all.length).toBe(sent.length);
          expect(new Set(all.map(({ id }) => id)).size).toBe(sent.length);
          for (const type of TYPES) {
            const order = [...delivered, ...leftovers].filter((command) => command.type === type);
            expect(order).toEqual([...order].sort((a, b) => a.id - b.id));
          }
        },
      ),
      { numRuns: 200 },
    );
  });

  test('a burst is delivered lane by lane, in one microtask, one command at a time', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.constantFrom(...TYPES), { maxLength: 16 }), async (script) => {
        const delivered: Command[] = [];
        let depth = 0;
        const inbox = inboxOf(20, {
          deliver: (command) => {
            expect(depth++).toBe(0);
            delivered.push(command);
            depth--;
          },
        });
        const sender = inbox.sender('tester');
        for (const [id, type] of script.entries()) void sender.send({ type: type as 'newest', id });
        expect(delivered).toEqual([]);
        await Promise.resolve();
        expect(delivered.length).toBe(script.length);
        const lanes = delivered.map(({ type }) => TYPES.indexOf(type));
        expect(lanes).toEqual([...lanes].sort());
      }),
    );
  });

  test('each overflow does what it says', async () => {
    const dropped: number[] = [];
    const inbox = inboxOf(2, { deliver: () => undefined, onDropped: ({ id }) => dropped.push(id) });
    const sender = inbox.sender('tester');
    expect([1, 2, 3].map((id) => sender.send({ type: 'newest', id }))).toEqual([true, true, false]);
    expect([4, 5, 6].map((id) => sender.send({ type: 'oldest', id }))).toEqual([true, true, true]);
    expect(dropped).toEqual([3, 4]);
    const admitted: number[] = [];
    for (const id of [7, 8, 9]) void sender.send({ type: 'patient', id }).then(() => admitted.push(id));
    expect(inbox.size).toBe(6);
    await settled();
    expect(admitted).toEqual([7, 8, 9]);
    expect(inbox.dropped).toBe(2);
  });

  test('a wait for room ends with its signal, and then nothing was sent', async () => {
    const delivered: number[] = [];
    const inbox = inboxOf(1, { deliver: ({ id }) => delivered.push(id) });
    const sender = inbox.sender('tester');
    const stop = new AbortController();
    const first = sender.send({ type: 'patient', id: 1 }, { signal: stop.signal });
    const second = sender.send({ type: 'patient', id: 2 }, { signal: stop.signal });
    const third = sender.send({ type: 'patient', id: 3 });
    stop.abort(new Error('enough'));
    await expect(second).rejects.toThrow('enough');
    await expect(sender.send({ type: 'patient', id: 4 }, { signal: stop.signal })).rejects.toThrow('enough');
    await Promise.all([first, third]);
    await settled();
    expect(delivered).toEqual([1, 3]);
  });

  test('closed: refused, and outstanding replies are rejected; those of leftovers go to the successor', async () => {
    type Ask = { readonly type: 'ask'; readonly reply: Reply<number> };
    const asked: Ask[] = [];
    const inbox = new Inbox<Ask, { ask: 'wait' }>({
      ...NAMED,
      capacities: [1],
      overflow: { ask: 'wait' },
      deliver: (command) => asked.push(command),
    });
    const sender = inbox.sender('tester');
    const ask = (): Ask => ({ type: 'ask', reply: new Reply<number>() });
    const [answered, open, left, waiting] = [ask(), ask(), ask(), ask()];
    await sender.send(answered);
    await sender.send(open);
    await settled();
    answered.reply.resolve(1);
    void sender.send(left);
    const refused = sender.send(waiting);
    expect(inbox.close(new Error('stopped'))).toEqual([left]);
    expect(inbox.isClosed).toBe(true);
    await expect(refused).rejects.toThrow('stopped');
    await expect(sender.send(ask())).rejects.toBeInstanceOf(InboxClosedError);
    await expect(open.reply.promise).rejects.toThrow('stopped');
    expect(await answered.reply.promise).toBe(1);
    expect([left.reply.isDone, waiting.reply.isDone]).toEqual([false, false]);
    await settled();
    expect(asked).toEqual([answered, open]);
  });

  test('closed by its own actor in the midst of a burst: the rest is left over', async () => {
    const delivered: number[] = [];
    let leftovers: Command[] = [];
    const inbox: Inbox<Command, typeof overflow> = inboxOf(4, {
      deliver: ({ id }) => {
        delivered.push(id);
        if (id === 2) leftovers = inbox.close();
      },
    });
    const sender = inbox.sender('tester');
    for (const id of [1, 2, 3]) sender.send({ type: 'newest', id });
    await settled();
    expect([delivered, leftovers.map(({ id }) => id)]).toEqual([[1, 2], [3]]);
    expect(sender.send({ type: 'newest', id: 4 })).toBe(false);
  });

  test('an actor that throws is reported, and the next command still arrives', async () => {
    const delivered: number[] = [];
    const inbox = inboxOf(4, {
      deliver: ({ id }) => {
        if (id === 1) throw new Error('bad actor');
        delivered.push(id);
      },
    });
    const sender = inbox.sender('tester');
    for (const id of [1, 2]) sender.send({ type: 'newest', id });
    await settled();
    sender.send({ type: 'newest', id: 3 });
    await reported();
    expect([delivered, unhandled.map(String)]).toEqual([[2, 3], ['Error: bad actor']]);
  });

  test('an inbox without room, or a lane that does not exist, is a mistake', () => {
    const make = (capacities: number[], lane: number): unknown =>
      new Inbox<Command, typeof overflow>({
        ...NAMED,
        capacities,
        overflow,
        lanes: { urgent: lane },
        deliver: () => undefined,
      });
    expect(() => make([], 0)).toThrow(RangeError);
    expect(() => make([0], 0)).toThrow(RangeError);
    expect(() => make([1.5], 0)).toThrow(RangeError);
    expect(() => make([1], 1)).toThrow(RangeError);
  });
});

describe('Reply', () => {
  test('is one-shot, and one that nobody awaits is no unhandled rejection', async () => {
    const reply = new Reply<number>();
    reply.resolve(1);
    reply.resolve(2);
    reply.reject(new Error('late'));
    expect([await reply.promise, reply.isDone]).toEqual([1, true]);
    new Reply<number>().reject(new Error('nobody listens'));
    await settled();
  });
});

describe('who watches', () => {
  test('each send tells sender, receivers, event and depth, and no payload', async () => {
    const sends: ChannelSend[] = [];
    const options = { ...NAMED, observer: (send: ChannelSend) => sends.push(send) };
    const events = new Events<Fact>(options);
    events.send({ type: 'other' });
    events.subscribe('a', () => undefined);
    events.subscribe('b', () => undefined);
    const again = events.subscribe('b', () => undefined);
    events.send({ type: 'fact', id: 7 });
    again.unsubscribe();
    events.send({ type: 'other' });
    expect(sends.map(({ from, to, event }) => [from, to, event])).toEqual([
      ['tester', '*', 'other'],
      ['tester', 'a', 'fact'],
      ['tester', 'b', 'fact'],
      ['tester', 'a', 'other'],
      ['tester', 'b', 'other'],
    ]);
    sends.length = 0;
    const watch = new Watch(options, 1);
    const leaving = watch.subscribe('a', () => undefined);
    watch.subscribe('a', () => undefined);
    leaving.unsubscribe();
    watch.set(1);
    watch.set(2);
    const inbox = inboxOf(1, { deliver: () => undefined, observer: options.observer });
    for (const id of [1, 2]) inbox.sender('sender').send({ type: 'newest', id });
    await settled();
    expect(
      sends.map(({ kind, from, to, event, depth, dropped }) => [kind, from, to, event, depth, dropped]),
    ).toEqual([
      ['watch', 'tester', 'a', 'value', 0, 0],
      ['inbox', 'sender', 'tester', 'newest', 1, 0],
      ['inbox', 'sender', 'tester', 'newest', 1, 1],
    ]);
    for (const send of sends)
      expect(Object.values(send).every((value) => ['string', 'number'].includes(typeof value))).toBe(true);
  });
});
