/**
 * What an endpoint does about one peer: finding addresses, hole punching, opening paths, choosing one, and ending when nobody
 * needs the peer any more (upstream `iroh/src/socket/remote_map/remote_state.rs`).
 *
 * Five regions run beside each other. The tables (addresses, connections, paths) are the actor's; what is decided from them
 * arrives in the events, so that the chart alone says what may come next. `selected` is the story that people ask for:
 * relayed → direct → relayed, each change with its reason.
 *
 * @module
 */
import { assign, fromPromise, setup } from 'xstate';
import type { Millis } from '../base/clock.ts';
import { notProvided } from './not-provided.ts';
import type { SelectionReason } from './path-selection.ts';

/** Without connections and commands the actor ends after, ms; upstream `ACTOR_MAX_IDLE_TIMEOUT`. */
export const ACTOR_MAX_IDLE_TIMEOUT_MS = 60_000;
/** How often paths are looked at for a better one, ms; upstream `UPGRADE_INTERVAL`. */
export const UPGRADE_INTERVAL_MS = 60_000;
/** A path that could not be opened for lack of ids is tried again after, ms; upstream `remote_state.rs`. */
export const OPEN_RETRY_MS = 333;
/** First repetition of a round that could not start, ms; upstream `remote_state.rs`. Doubles each time, see below. */
export const PUNCH_RETRY_MS = 100;
/** Upper bound of that, ms. Upstream repeats every 100 ms for ever. */
export const MAX_PUNCH_RETRY_MS = 5_000;

/** Kinds of the selected path. */
export type SelectedKind = 'relayed' | 'direct' | 'custom';

/** The ends of the selected path, as text. Relay and custom ends are named, never shown as mapped addresses. */
export interface SelectedPath {
  readonly kind: SelectedKind;
  readonly remote: string;
  readonly local: string | undefined;
}

export type RemoteEvent =
  /** Commands were handled, and nobody needs the peer any more since then. */
  | { readonly type: 'idle'; readonly forMs: Millis }
  /** Somebody needs the peer again. */
  | { readonly type: 'busy' }
  /** Somebody wants addresses, and no path is selected. */
  | { readonly type: 'lookUp' }
  /** Something changed that a round of hole punching may profit from; what was decided about it. */
  | { readonly type: 'punch'; readonly decision: 'none' | 'wait' | 'now' | 'later'; readonly delayMs: Millis }
  /** The engine started a round. */
  | { readonly type: 'punchStarted' }
  /** The engine could not start a round now. */
  | { readonly type: 'punchFailed' }
  /** A path could not be opened for lack of path or connection ids. */
  | { readonly type: 'openBlocked' }
  /** Data goes another way. */
  | {
      readonly type: 'select';
      readonly path: SelectedPath;
      readonly reason: SelectionReason;
    }
  /** No path is left. */
  | { readonly type: 'deselect'; readonly reason: SelectionReason }
  /** The endpoint closes. */
  | { readonly type: 'stop' };

export interface RemoteContext {
  /** Short form of the peer's id. */
  readonly remote: string;
  readonly selected: SelectedPath | undefined;
  readonly reason: SelectionReason | undefined;
  readonly punchDelayMs: Millis;
  readonly punchFailures: number;
}

export interface RemoteInput {
  readonly remote: string;
}

export const remoteMachine = setup({
  types: {} as { context: RemoteContext; events: RemoteEvent; input: RemoteInput },
  actors: {
    'look up addresses': fromPromise<void, { readonly remote: string }>(notProvided('look up addresses')),
  },
  actions: {
    'answer waiting resolves': notProvided('answer waiting resolves'),
    'start punch round': notProvided('start punch round'),
    'decide about punching': notProvided('decide about punching'),
    'retry blocked opens': notProvided('retry blocked opens'),
    'check paths': notProvided('check paths'),
    'remember selection': assign(({ event, context }) =>
      event.type === 'select'
        ? { selected: event.path, reason: event.reason }
        : event.type === 'deselect'
          ? { selected: undefined, reason: event.reason }
          : context,
    ),
    'remember punch delay': assign(({ event }) =>
      event.type === 'punch' ? { punchDelayMs: event.delayMs } : {},
    ),
    'lengthen punch delay': assign(({ context: { punchFailures } }) => ({
      punchFailures: punchFailures + 1,
      punchDelayMs: Math.min(PUNCH_RETRY_MS * 2 ** punchFailures, MAX_PUNCH_RETRY_MS),
    })),
    'forget punch failures': assign({ punchFailures: 0 }),
  },
  guards: {
    'is of kind': ({ event }, { kind }: { kind: SelectedKind }) =>
      event.type === 'select' && event.path.kind === kind,
    'is worth a round': ({ event }) => event.type === 'punch' && event.decision === 'now',
    'is too early': ({ event }) => event.type === 'punch' && event.decision === 'later',
  },
  delays: {
    'punch due': ({ context }) => context.punchDelayMs,
    'open retry': OPEN_RETRY_MS,
    'upgrade interval': UPGRADE_INTERVAL_MS,
    'idle limit': ({ event }) => ACTOR_MAX_IDLE_TIMEOUT_MS - (event.type === 'idle' ? event.forMs : 0),
  },
}).createMachine({
  id: 'remote',
  context: ({ input }) => ({
    remote: input.remote,
    selected: undefined,
    reason: undefined,
    punchDelayMs: 0,
    punchFailures: 0,
  }),
  initial: 'active',
  states: {
    active: {
      type: 'parallel',
      on: { stop: 'terminated' },
      states: {
        lookup: {
          initial: 'idle',
          states: {
            idle: { on: { lookUp: 'running' } },
            running: {
              invoke: {
                id: 'lookup',
                src: 'look up addresses',
                input: ({ context }) => ({ remote: context.remote }),
                // Failed or not, the actor knows what came of it.
                onDone: { target: 'idle', actions: 'answer waiting resolves' },
                onError: { target: 'idle', actions: 'answer waiting resolves' },
              },
            },
          },
        },
        punch: {
          initial: 'idle',
          states: {
            idle: {
              on: {
                punch: [
                  { guard: 'is worth a round', actions: 'start punch round' },
                  { guard: 'is too early', target: 'scheduled', actions: 'remember punch delay' },
                ],
                punchStarted: { actions: 'forget punch failures' },
                punchFailed: { target: 'scheduled', actions: 'lengthen punch delay' },
              },
            },
            scheduled: {
              on: {
                punch: {
                  guard: 'is worth a round',
                  target: 'idle',
                  actions: 'start punch round',
                },
              },
              after: { 'punch due': { target: 'idle', actions: 'decide about punching' } },
            },
          },
        },
        open: {
          initial: 'idle',
          states: {
            idle: { on: { openBlocked: 'scheduled' } },
            scheduled: { after: { 'open retry': { target: 'idle', actions: 'retry blocked opens' } } },
          },
        },
        check: {
          initial: 'waiting',
          states: {
            waiting: {
              after: { 'upgrade interval': { target: 'waiting', reenter: true, actions: 'check paths' } },
            },
          },
        },
        selected: {
          initial: 'none',
          on: {
            select: [
              {
                guard: { type: 'is of kind', params: { kind: 'direct' } },
                target: '.direct',
                actions: 'remember selection',
              },
              {
                guard: { type: 'is of kind', params: { kind: 'relayed' } },
                target: '.relayed',
                actions: 'remember selection',
              },
              { target: '.custom', actions: 'remember selection' },
            ],
            deselect: { target: '.none', actions: 'remember selection' },
          },
          states: { none: {}, relayed: {}, direct: {}, custom: {} },
        },
        life: {
          initial: 'busy',
          states: {
            busy: { on: { idle: 'idleCountdown' } },
            idleCountdown: {
              on: {
                busy: 'busy',
                // Used, though nothing came of it: the countdown starts anew.
                idle: { target: 'idleCountdown', reenter: true },
              },
              after: { 'idle limit': '#remote.terminated' },
            },
          },
        },
      },
    },
    terminated: { type: 'final' },
  },
});
