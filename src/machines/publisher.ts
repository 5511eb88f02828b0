/**
 * Tells one server, or the DHT, where we are: when it changes, again before it is forgotten, and once more when it did not work
 * (upstream `iroh/src/address_lookup/pkarr.rs`, `PublisherService`, and `iroh-mainline-address-lookup`).
 *
 * One request at a time. What changes meanwhile is sent after it, without a wait.
 *
 * @module
 */
import { assign, fromPromise, setup } from 'xstate';
import type { Millis } from '../base/clock.ts';
import { notProvided } from './not-provided.ts';

/** What did not change is sent again after so long, ms; upstream `DEFAULT_REPUBLISH_INTERVAL`. */
export const REPUBLISH_INTERVAL_MS = 300_000;
/** A server may take so long, ms. Upstream waits for ever; a server that stalls would silence us. */
export const PUBLISH_TIMEOUT_MS = 10_000;
/** Each failure in a row makes the wait so much longer, ms; upstream `PublisherService::run`. */
export const PUBLISH_RETRY_STEP_MS = 1_000;

export type PublisherEvent =
  /** There is something new to say. */
  { readonly type: 'changed' } | { readonly type: 'close' };

export interface PublisherContext {
  /** Host of the server, or the DHT. URLs may hold secrets, and charts are shown. */
  readonly server: string;
  readonly republishIntervalMs: Millis;
  /** Changes within so long are one. */
  readonly debounceMs: Millis;
  /** One request may take so long. */
  readonly timeLimitMs: Millis;
  /** Attempts that failed in a row. */
  readonly failures: number;
  /** Whether something changed since the request under way was made. */
  readonly hasNews: boolean;
}

export type PublisherInput = Pick<
  PublisherContext,
  'server' | 'republishIntervalMs' | 'debounceMs' | 'timeLimitMs'
>;

export const publisherMachine = setup({
  types: {} as { context: PublisherContext; events: PublisherEvent; input: PublisherInput },
  actors: {
    /** Resolves once the server has taken the packet. */
    'put packet': fromPromise<void>(notProvided('put packet')),
  },
  actions: {
    'note failure': notProvided('note failure'),
    'note time-out': notProvided('note time-out'),
    'count failure': assign({ failures: ({ context }) => context.failures + 1 }),
    'forget failures': assign({ failures: 0 }),
    'remember news': assign({ hasNews: true }),
    'forget news': assign({ hasNews: false }),
  },
  guards: {
    'has news': ({ context }) => context.hasNews,
  },
  delays: {
    'debounce time': ({ context }) => context.debounceMs,
    'publish limit': ({ context }) => context.timeLimitMs,
    'republish interval': ({ context }) => context.republishIntervalMs,
    /** No longer than between two publications that go well. */
    'back-off': ({ context }) =>
      Math.min(context.failures * PUBLISH_RETRY_STEP_MS, context.republishIntervalMs),
  },
}).createMachine({
  id: 'publisher',
  context: ({ input }) => ({ ...input, failures: 0, hasNews: false }),
  initial: 'idle',
  on: { close: '.closed' },
  states: {
    idle: { on: { changed: 'gathering' } },
    /** From the first change on, so that one who changes all the time is heard, too. */
    gathering: { after: { 'debounce time': 'publishing' } },
    publishing: {
      entry: 'forget news',
      on: { changed: { actions: 'remember news' } },
      invoke: {
        id: 'put',
        src: 'put packet',
        onDone: [
          { guard: 'has news', target: 'publishing', reenter: true, actions: 'forget failures' },
          { target: 'published', actions: 'forget failures' },
        ],
        onError: [
          {
            guard: 'has news',
            target: 'publishing',
            reenter: true,
            actions: ['count failure', 'note failure'],
          },
          { target: 'waiting', actions: ['count failure', 'note failure'] },
        ],
      },
      after: {
        'publish limit': [
          {
            guard: 'has news',
            target: 'publishing',
            reenter: true,
            actions: ['count failure', 'note time-out'],
          },
          { target: 'waiting', actions: ['count failure', 'note time-out'] },
        ],
      },
    },
    published: { on: { changed: 'gathering' }, after: { 'republish interval': 'publishing' } },
    waiting: { on: { changed: 'gathering' }, after: { 'back-off': 'publishing' } },
    closed: { type: 'final' },
  },
});
