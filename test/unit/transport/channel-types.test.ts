/** What must not compile does not: `npm run check` fails where an expected error is missing. Run time has no say here. */
/* eslint @typescript-eslint/no-unsafe-call: off -- calls that do not compile have no type */
import { expect, test } from '@jest/globals';
import {
  Events,
  Inbox,
  Watch,
  type EventSource,
  type Sender,
  type Watched,
} from '../../../src/transport/channel.ts';

type Fact = { readonly type: 'opened'; readonly path: number } | { readonly type: 'closed' };
type Command =
  | { readonly type: 'resolve'; readonly id: string }
  | { readonly type: 'hint' }
  | { readonly type: 'initial'; readonly size: number };
type Overflows = { resolve: 'wait'; hint: 'dropNewest'; initial: 'dropOldest' };

/** Never called: only the compiler reads it. */
function neverCompiles(): void {
  const options = { name: 'n', owner: 'o' };
  const events = new Events<Fact>(options);
  events.send({ type: 'opened', path: 1 });
  // @ts-expect-error an event of another channel
  events.send({ type: 'renamed' });
  // @ts-expect-error a field is missing
  events.send({ type: 'opened' });
  // @ts-expect-error a field of another event
  events.send({ type: 'closed', path: 1 });
  // @ts-expect-error events have a type
  new Events<{ path: number }>(options);
  const source: EventSource<Fact> = events;
  // @ts-expect-error the listening half cannot send
  source.send({ type: 'closed' });
  // @ts-expect-error nor close
  source.close();
  // @ts-expect-error a listener must name itself
  source.subscribe((event: Fact) => event);
  // @ts-expect-error a listener for other events
  source.subscribe('me', (event: { type: 'renamed' }) => event);
  // @ts-expect-error an observable has no way in
  events.events$.next({ type: 'closed' });

  const watch = new Watch<number | undefined>(options, undefined);
  watch.set(1);
  // @ts-expect-error another kind of value
  watch.set('1');
  const watched: Watched<number | undefined> = watch;
  // @ts-expect-error the listening half cannot set
  watched.set(1);
  // @ts-expect-error nor assign
  watched.value = 1;
  // @ts-expect-error nor close
  watched.close();

  const inbox = new Inbox<Command, Overflows>({
    ...options,
    capacities: [1],
    overflow: { resolve: 'wait', hint: 'dropNewest', initial: 'dropOldest' },
    deliver: () => undefined,
  });
  const sender: Sender<Command, Overflows> = inbox.sender('me');
  void sender.send({ type: 'resolve', id: '' }).then(() => undefined);
  const isIn: boolean = sender.send({ type: 'hint' });
  // @ts-expect-error what waits must be awaited
  const isResolved: boolean = sender.send({ type: 'resolve', id: '' });
  // @ts-expect-error what is dropped does not wait
  sender.send({ type: 'hint' }).then(() => undefined);
  // @ts-expect-error a command of another actor
  void sender.send({ type: 'connect' });
  // @ts-expect-error a field of another command
  void sender.send({ type: 'hint', id: '' });
  // @ts-expect-error the sending half cannot close
  sender.close();
  // @ts-expect-error nor look in
  void sender.size;
  // @ts-expect-error who sends must name itself
  void inbox.send({ type: 'hint' });
  new Inbox<Command, Overflows>({
    ...options,
    capacities: [1],
    // @ts-expect-error every command says what happens when the inbox is full
    overflow: { resolve: 'wait', hint: 'dropNewest' },
    deliver: () => undefined,
  });
  // @ts-expect-error a policy that does not exist
  type Wrong = Sender<Command, { resolve: 'wait'; hint: 'forget'; initial: 'dropOldest' }>;
  expect([isIn, isResolved] satisfies [boolean, boolean] as unknown as Wrong).toBeDefined();
}

test('the compiler reads this file', () => {
  expect(neverCompiles).toBeInstanceOf(Function);
});
