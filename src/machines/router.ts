/**
 * The life of a router: it serves what comes, and ends in order: handlers say goodbye while the endpoint still works, then
 * their tasks are told to stop, then the endpoint closes (upstream `iroh/src/protocol.rs`).
 *
 * @module
 */
import { assign, fromPromise, setup } from 'xstate';
import { notProvided } from './not-provided.ts';

/** What the application's filter says about an attempt; `failed` when it threw. */
export type FilterOutcome = 'accept' | 'retry' | 'reject' | 'ignore' | 'failed';

/** What a router hears. */
export type RouterEvent =
  /** Somebody wants to connect, and the filter has been asked. */
  | {
      readonly type: 'attemptArrived';
      readonly attempt: number;
      readonly outcome: FilterOutcome;
      /** The peer has proven its address. */
      readonly isValidated: boolean;
    }
  /** A connection has been served, well or not. */
  | { readonly type: 'taskEnded' }
  /** The endpoint takes no more attempts. */
  | { readonly type: 'endpointClosed' }
  /** Somebody asked for the end. */
  | {
      readonly type: 'shutdown';
      /** Time of the call on the actor's clock, ms. */
      readonly now: number;
      /** How long the handlers' goodbyes may take, ms. */
      readonly limitMs: number | undefined;
    };

export interface RouterContext {
  /** Short form of the endpoint's id. */
  readonly endpoint: string;
  /** Connections that are being served. */
  readonly tasks: number;
  /** When the handlers' goodbyes end at the latest, ms on the actor's clock. */
  readonly until: number | undefined;
  /** How far away that was when it was set, ms. */
  readonly limitMs: number;
}

export interface RouterInput {
  readonly endpoint: string;
}

type Args = { readonly context: RouterContext; readonly event: RouterEvent };

const outcomeOf = ({ event }: Args): FilterOutcome | undefined =>
  event.type === 'attemptArrived' ? event.outcome : undefined;

export const routerMachine = setup({
  types: {} as { context: RouterContext; events: RouterEvent; input: RouterInput },
  actors: {
    'shut down all handlers': fromPromise<void>(notProvided('shut down all handlers')),
    'close endpoint': fromPromise<void>(notProvided('close endpoint')),
  },
  actions: {
    'start handler task': notProvided('start handler task'),
    'ask for retry': notProvided('ask for retry'),
    refuse: notProvided('refuse'),
    ignore: notProvided('ignore'),
    'abort all tasks': notProvided('abort all tasks'),
    'count task in': assign({ tasks: ({ context }) => context.tasks + 1 }),
    'count task out': assign({ tasks: ({ context }) => context.tasks - 1 }),
    'set limit': assign(({ event }) =>
      event.type === 'shutdown' && event.limitMs !== undefined
        ? { until: event.now + event.limitMs, limitMs: event.limitMs }
        : {},
    ),
  },
  guards: {
    'filter accepts': (args: Args) => outcomeOf(args) === 'accept',
    'filter ignores': (args: Args) => outcomeOf(args) === 'ignore',
    // Asking again would not end: the address is proven.
    'filter wants proof that can be had': (args: Args) =>
      outcomeOf(args) === 'retry' && args.event.type === 'attemptArrived' && !args.event.isValidated,
    'has limit': ({ context }: Args) => context.until !== undefined,
    'limit is earlier': ({ context, event }: Args) =>
      event.type === 'shutdown' &&
      event.limitMs !== undefined &&
      (context.until === undefined || event.now + event.limitMs < context.until),
  },
  delays: { 'handler limit': ({ context }) => context.limitMs },
}).createMachine({
  id: 'router',
  context: ({ input }) => ({ endpoint: input.endpoint, tasks: 0, until: undefined, limitMs: 0 }),
  initial: 'listening',
  on: { taskEnded: { actions: 'count task out' } },
  states: {
    listening: {
      on: {
        attemptArrived: [
          { guard: 'filter accepts', actions: ['count task in', 'start handler task'] },
          { guard: 'filter wants proof that can be had', actions: 'ask for retry' },
          { guard: 'filter ignores', actions: 'ignore' },
          { actions: 'refuse' },
        ],
        endpointClosed: 'draining',
        shutdown: { target: 'draining', actions: 'set limit' },
      },
    },
    draining: {
      initial: 'handlers',
      on: { attemptArrived: { actions: 'refuse' } },
      onDone: 'done',
      states: {
        handlers: {
          invoke: {
            id: 'goodbyes',
            src: 'shut down all handlers',
            onDone: 'cancel',
            onError: 'cancel',
          },
          initial: 'choosing',
          on: { shutdown: { guard: 'limit is earlier', target: '.limited', actions: 'set limit' } },
          states: {
            choosing: { always: [{ guard: 'has limit', target: 'limited' }, { target: 'unlimited' }] },
            unlimited: {},
            limited: { after: { 'handler limit': '#router.draining.cancel' } },
          },
        },
        cancel: { entry: 'abort all tasks', always: 'endpoint' },
        endpoint: {
          invoke: { id: 'closing', src: 'close endpoint', onDone: 'closed', onError: 'closed' },
        },
        closed: { type: 'final' },
      },
    },
    done: { type: 'final' },
  },
});
