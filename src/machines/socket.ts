/**
 * What an endpoint does about its own place in the network: notices that the network changed, has reports made about it, and
 * keeps its addresses true (upstream `iroh/src/socket.rs`, `Actor` and `DirectAddrUpdateState`).
 *
 * Four regions run beside each other: `sockets` binds anew after a major change, `notice` tells the QUIC engine once the
 * network can be used, `report` runs one report at a time, and `timer` asks for the next one.
 *
 * @module
 */
import { assign, fromPromise, raise, setup } from 'xstate';
import type { Millis } from '../base/clock.ts';
import { notProvided } from './not-provided.ts';

/** Shortest time from one report to the next, ms; upstream `new_re_stun_timer`. */
export const MIN_RE_STUN_INTERVAL_MS = 20_000;
/** Longest time from one report to the next, ms; upstream `new_re_stun_timer`. */
export const MAX_RE_STUN_INTERVAL_MS = 26_000;
/** A report that takes longer is given up, ms; upstream `iroh/src/defaults.rs` `NET_REPORT_TIMEOUT`. */
export const REPORT_WRAPPER_TIMEOUT_MS = 10_000;
/** First look whether a network that changed can be used, ms; upstream `PendingNetworkChangeNotify`. Doubles each time. */
export const NETWORK_POLL_MS = 100;
/** Upper bound of that, ms. */
export const MAX_NETWORK_POLL_MS = 1_000;
/** After so long the QUIC engine is told of the change in any case, ms. */
export const MAX_NETWORK_WAIT_MS = 5_000;
/** What the actor's own parts get to end in, ms; upstream `iroh/src/socket.rs`, `close`. */
export const ACTOR_GRACE_MS = 100;

/** Why a report is wanted, weakest first. */
export const REPORT_REASONS = [
  'periodic',
  'portMapChange',
  'minorChange',
  'relayMapChange',
  'majorChange',
] as const;
export type ReportReason = (typeof REPORT_REASONS)[number];

/** What is left of two reasons: the stronger one (upstream: the later one, so that a full report can get lost). */
export function strongerReason(a: ReportReason | undefined, b: ReportReason): ReportReason {
  return a !== undefined && REPORT_REASONS.indexOf(a) > REPORT_REASONS.indexOf(b) ? a : b;
}

/** Whether what was known before counts for nothing. */
export function needsFullReport(reason: ReportReason): boolean {
  return reason === 'majorChange' || reason === 'relayMapChange';
}

export type SocketEvent =
  /** The host's network changed, or somebody says so. */
  | { readonly type: 'networkChanged'; readonly isMajor: boolean }
  /** Sockets are bound to the changed network. */
  | { readonly type: 'networkHandled'; readonly isMajor: boolean }
  /** The application believes that the network changed. */
  | { readonly type: 'networkHint' }
  | { readonly type: 'relayMapChanged' }
  /** The router opened a port for us, or closed it. */
  | { readonly type: 'portMapChanged' }
  /** What the direct addresses are made of changed. */
  | { readonly type: 'directRefresh' }
  /** What others are to be told changed: sockets, or the home relay. */
  | { readonly type: 'localAddrsChanged' }
  | { readonly type: 'reportWanted'; readonly reason: ReportReason }
  | { readonly type: 'reportTaken' }
  /** The endpoint is about to close: no more reports. */
  | { readonly type: 'closeStarted' }
  | { readonly type: 'stop' };

export interface SocketContext {
  /** Short form of the endpoint's id. */
  readonly endpoint: string;
  /** Why the running report was started. */
  readonly reason: ReportReason | undefined;
  /** Why another one is to follow. */
  readonly wanted: ReportReason | undefined;
  /** A major change came while sockets were being bound. */
  readonly mustRebindAgain: boolean;
  /** The QUIC engine has not been told of a major change. */
  readonly isPendingMajor: boolean;
  readonly pollMs: Millis;
  readonly waitedMs: Millis;
}

export interface SocketInput {
  readonly endpoint: string;
}

const isMajorOf = ({ event }: { readonly event: SocketEvent }): boolean =>
  'isMajor' in event && event.isMajor;

export const socketMachine = setup({
  types: {} as { context: SocketContext; events: SocketEvent; input: SocketInput },
  actors: {
    'bind sockets anew': fromPromise<void>(notProvided('bind sockets anew')),
    'make net report': fromPromise<void, { readonly isFull: boolean }>(notProvided('make net report')),
    'stop own parts': fromPromise<void>(notProvided('stop own parts')),
  },
  actions: {
    'read interfaces': notProvided('read interfaces'),
    'refresh direct addresses': notProvided('refresh direct addresses'),
    publish: notProvided('publish'),
    'check relay connections': notProvided('check relay connections'),
    'ask for port mapping': notProvided('ask for port mapping'),
    'forget report': notProvided('forget report'),
    'tell QUIC of change': notProvided('tell QUIC of change'),
    'end reports': notProvided('end reports'),
    'count tick': notProvided('count tick'),
    'want report': raise(
      (_, { reason }: { reason: ReportReason }) => ({ type: 'reportWanted', reason }) as const,
    ),
    'say that change is handled': raise(
      (_, { isMajor }: { isMajor: boolean }) => ({ type: 'networkHandled', isMajor }) as const,
    ),
    'say that report is taken': raise({ type: 'reportTaken' }),
    'remember reason': assign(({ event }) =>
      event.type === 'reportWanted' ? { reason: event.reason, wanted: undefined } : {},
    ),
    'remember stronger reason': assign(({ context, event }) =>
      event.type === 'reportWanted' ? { wanted: strongerReason(context.wanted, event.reason) } : {},
    ),
    'want what was wanted meanwhile': raise(
      ({ context }) => ({ type: 'reportWanted', reason: context.wanted! }) as const,
    ),
    'forget reasons': assign({ reason: undefined, wanted: undefined }),
    'note to bind again': assign({ mustRebindAgain: true }),
    'bind once': assign({ mustRebindAgain: false }),
    'add to pending change': assign((args) => ({
      isPendingMajor: args.context.isPendingMajor || isMajorOf(args),
    })),
    'forget pending change': assign({ isPendingMajor: false }),
    'wait shortly': assign({ pollMs: NETWORK_POLL_MS, waitedMs: 0 }),
    'wait longer': assign(({ context: { pollMs, waitedMs } }) => ({
      waitedMs: waitedMs + pollMs,
      pollMs: Math.min(2 * pollMs, MAX_NETWORK_POLL_MS, MAX_NETWORK_WAIT_MS - waitedMs - pollMs),
    })),
  },
  guards: {
    'network is usable': notProvided('network is usable'),
    'has local addresses': notProvided('has local addresses'),
    'has no relays': notProvided('has no relays'),
    'is major': isMajorOf,
    'another report is wanted': ({ context }) => context.wanted !== undefined,
    'must bind again': ({ context }) => context.mustRebindAgain,
    'waited long enough': ({ context }) => context.waitedMs + context.pollMs >= MAX_NETWORK_WAIT_MS,
  },
  delays: {
    /** Drawn anew each time, so that the reports of many endpoints spread. */
    're-STUN interval': notProvided('re-STUN interval'),
    'report time limit': REPORT_WRAPPER_TIMEOUT_MS,
    'network poll': ({ context }) => context.pollMs,
    'actor grace': ACTOR_GRACE_MS,
  },
}).createMachine({
  id: 'socket',
  context: ({ input }) => ({
    endpoint: input.endpoint,
    reason: undefined,
    wanted: undefined,
    mustRebindAgain: false,
    isPendingMajor: false,
    pollMs: NETWORK_POLL_MS,
    waitedMs: 0,
  }),
  initial: 'running',
  states: {
    running: {
      type: 'parallel',
      entry: ['refresh direct addresses', 'publish', { type: 'want report', params: { reason: 'periodic' } }],
      on: {
        networkHint: { actions: 'read interfaces' },
        relayMapChanged: { actions: { type: 'want report', params: { reason: 'relayMapChange' } } },
        // Upstream waits for the report before it says so.
        portMapChanged: {
          actions: ['refresh direct addresses', { type: 'want report', params: { reason: 'portMapChange' } }],
        },
        directRefresh: { actions: 'refresh direct addresses' },
        localAddrsChanged: { guard: 'has local addresses', actions: 'publish' },
        stop: 'stopping',
      },
      states: {
        sockets: {
          initial: 'bound',
          states: {
            bound: {
              on: {
                networkChanged: [
                  { guard: 'is major', target: 'binding' },
                  {
                    actions: [
                      'refresh direct addresses',
                      { type: 'want report', params: { reason: 'minorChange' } },
                      { type: 'say that change is handled', params: { isMajor: false } },
                    ],
                  },
                ],
              },
            },
            binding: {
              entry: 'bind once',
              // A minor change is covered by the major one that is being handled.
              on: { networkChanged: { guard: 'is major', actions: 'note to bind again' } },
              // Failed or not, the endpoint has to live with the sockets that it has.
              invoke: { id: 'bind', src: 'bind sockets anew', onDone: 'settled', onError: 'settled' },
            },
            settled: {
              always: [
                { guard: 'must bind again', target: 'binding' },
                {
                  target: 'bound',
                  actions: [
                    'refresh direct addresses',
                    'check relay connections',
                    { type: 'want report', params: { reason: 'majorChange' } },
                    { type: 'say that change is handled', params: { isMajor: true } },
                  ],
                },
              ],
            },
          },
        },
        notice: {
          initial: 'given',
          states: {
            given: {
              on: {
                networkHandled: { target: 'deciding', actions: ['wait shortly', 'add to pending change'] },
              },
            },
            deciding: {
              always: [
                {
                  guard: 'network is usable',
                  target: 'given',
                  actions: ['tell QUIC of change', 'forget pending change'],
                },
                { target: 'awaitingNetwork' },
              ],
            },
            awaitingNetwork: {
              on: {
                networkHandled: [
                  { guard: 'network is usable', target: 'deciding', actions: 'add to pending change' },
                  { actions: 'add to pending change' },
                ],
              },
              after: {
                'network poll': [
                  { guard: 'network is usable', target: 'deciding' },
                  {
                    guard: 'waited long enough',
                    target: 'given',
                    actions: ['tell QUIC of change', 'forget pending change'],
                  },
                  { target: 'awaitingNetwork', reenter: true, actions: 'wait longer' },
                ],
              },
            },
          },
        },
        report: {
          initial: 'idle',
          on: { closeStarted: { target: '.closed', actions: 'end reports' } },
          states: {
            idle: {
              on: {
                reportWanted: [
                  // A router is asked all the same, which upstream does not do.
                  { guard: 'has no relays', actions: ['ask for port mapping', 'forget report'] },
                  { target: 'running', actions: ['ask for port mapping', 'remember reason'] },
                ],
              },
            },
            running: {
              invoke: {
                id: 'report',
                src: 'make net report',
                input: ({ context }) => ({ isFull: needsFullReport(context.reason ?? 'periodic') }),
                onDone: { target: 'finished', actions: 'say that report is taken' },
                onError: 'finished',
              },
              on: { reportWanted: { actions: 'remember stronger reason' } },
              after: { 'report time limit': 'finished' },
            },
            finished: {
              always: [
                {
                  guard: 'another report is wanted',
                  target: 'idle',
                  actions: ['want what was wanted meanwhile', 'forget reasons'],
                },
                { target: 'idle', actions: 'forget reasons' },
              ],
            },
            closed: {},
          },
        },
        timer: {
          initial: 'armed',
          states: {
            armed: {
              on: { reportTaken: { target: 'armed', reenter: true } },
              after: {
                're-STUN interval': {
                  target: 'armed',
                  reenter: true,
                  actions: ['count tick', { type: 'want report', params: { reason: 'periodic' } }],
                },
              },
            },
          },
        },
      },
    },
    stopping: {
      invoke: { id: 'parts', src: 'stop own parts', onDone: 'stopped', onError: 'stopped' },
      after: { 'actor grace': 'stopped' },
    },
    stopped: { type: 'final' },
  },
});
