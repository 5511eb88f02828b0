/**
 * How an endpoint ends: everybody is told, peers hear of it, then what runs is stopped, then the sockets go (upstream
 * `iroh/src/endpoint.rs`, `Endpoint::close`, and `iroh/src/socket.rs`, `close`).
 *
 * Every step has a limit, and one that fails or hangs does not keep the next ones from running. Unlike upstream, a second
 * close waits for the first one, and port mapping and sockets are free at the end. The first three steps follow at once: who
 * asks for the end just before a page unloads has told all peers.
 *
 * @module
 */
import { assign, fromPromise, setup } from 'xstate';
import type { Millis } from '../base/clock.ts';
import { notProvided } from './not-provided.ts';
import { RELEASE_GRACE_MS } from './port-mapper.ts';
import { ACTOR_GRACE_MS } from './socket.ts';

/** A closing endpoint waits at most this long for its peers unless told otherwise, ms: three PTOs of a slow path. */
export const DEFAULT_DRAIN_LIMIT_MS = 3_000;
/** What drivers and sockets get to end in, ms each. Upstream has no limit. */
export const RUNTIME_GRACE_MS = 1_000;
/** What the port mapper gets, ms: what it gives the router, and a moment more. */
export const MAPPING_GRACE_MS = RELEASE_GRACE_MS + ACTOR_GRACE_MS;
/** What lookup services get once the peers know, ms: as long as their registry gives them in all. */
export const LOOKUP_GRACE_MS = 1_000;

/** A step that may take time. */
export type EndpointStep =
  'draining' | 'mapping' | 'lookups' | 'socket' | 'remotes' | 'relays' | 'drivers' | 'sockets';

export type EndpointEvent =
  /** Somebody asked for the end. While it is under way, an earlier limit counts. */
  | {
      readonly type: 'close';
      /** Time of the call on the actor's clock, ms. */
      readonly now: Millis;
      /** How long the peers may take, ms; undefined: as the endpoint was made. */
      readonly timeoutMs: Millis | undefined;
    }
  /** There is no time for an orderly end. */
  | { readonly type: 'abort' };

export interface EndpointContext {
  /** Short form of the endpoint's id. */
  readonly endpoint: string;
  /** How long the peers may take, ms. */
  readonly timeoutMs: Millis;
  /** When that is over, ms on the actor's clock; Infinity while the endpoint is open. */
  readonly until: Millis;
}

export interface EndpointInput {
  readonly endpoint: string;
  /** How long the peers may take unless a close says otherwise, ms. */
  readonly timeoutMs: Millis;
}

interface EndpointStepParams {
  readonly step: EndpointStep;
}

const overrunOf = (step: EndpointStep) => ({ type: 'report overrun', params: { step } }) as const;

/** A region that ends when its actor does, or when it has had its time. */
const partOf = <
  const Source extends string,
  const Grace extends 'actor grace' | 'mapping grace' | 'lookup grace',
>(
  step: EndpointStep,
  src: Source,
  grace: Grace,
) =>
  ({
    initial: 'stopping',
    states: {
      stopping: {
        invoke: { id: step, src, onDone: 'stopped', onError: 'stopped' },
        after: { [grace]: { target: 'stopped', actions: overrunOf(step) } } as Record<
          Grace,
          { readonly target: 'stopped'; readonly actions: ReturnType<typeof overrunOf> }
        >,
      },
      stopped: { type: 'final' },
    },
  }) as const;

export const endpointMachine = setup({
  types: {} as { context: EndpointContext; events: EndpointEvent; input: EndpointInput },
  actors: {
    'close connections': fromPromise<void>(notProvided('close connections')),
    'release port mapping': fromPromise<void>(notProvided('release port mapping')),
    'join lookup services': fromPromise<void>(notProvided('join lookup services')),
    'stop socket actor': fromPromise<void>(notProvided('stop socket actor')),
    'stop remotes': fromPromise<void>(notProvided('stop remotes')),
    'stop relay manager': fromPromise<void>(notProvided('stop relay manager')),
    'stop drivers': fromPromise<void>(notProvided('stop drivers')),
    'close sockets': fromPromise<void>(notProvided('close sockets')),
  },
  actions: {
    'announce end': notProvided('announce end'),
    'clear lookup services': notProvided('clear lookup services'),
    'end watches': notProvided('end watches'),
    'drop everything': notProvided('drop everything'),
    'report overrun': notProvided('report overrun') as (args: unknown, params: EndpointStepParams) => never,
    'set limit': assign(({ context, event }) => {
      if (event.type !== 'close') return {};
      const { now, timeoutMs = context.timeoutMs } = event;
      return { timeoutMs, until: now + timeoutMs };
    }),
  },
  guards: {
    'limit is earlier': ({ context, event }) =>
      event.type === 'close' && event.timeoutMs !== undefined && event.now + event.timeoutMs < context.until,
  },
  delays: {
    'drain limit': ({ context }) => context.timeoutMs,
    'actor grace': ACTOR_GRACE_MS,
    'mapping grace': MAPPING_GRACE_MS,
    'lookup grace': LOOKUP_GRACE_MS,
    'runtime grace': RUNTIME_GRACE_MS,
  },
}).createMachine({
  id: 'endpoint',
  context: ({ input: { endpoint, timeoutMs } }) => ({ endpoint, timeoutMs, until: Infinity }),
  initial: 'open',
  states: {
    open: {
      on: {
        close: { target: 'closing', actions: 'set limit' },
        abort: 'aborted',
      },
    },
    closing: {
      initial: 'announce',
      onDone: 'closed',
      states: {
        announce: { entry: 'announce end', always: 'lookups' },
        lookups: { entry: 'clear lookup services', always: 'draining' },
        draining: {
          // A peer that does not answer is not worth more than its limit.
          invoke: { id: 'draining', src: 'close connections', onDone: 'actors', onError: 'actors' },
          on: { close: { guard: 'limit is earlier', target: '.waiting', actions: 'set limit' } },
          initial: 'waiting',
          states: {
            waiting: {
              after: {
                'drain limit': {
                  target: '#endpoint.closing.actors',
                  actions: overrunOf('draining'),
                },
              },
            },
          },
        },
        // All hear at the same time that it is over, and each has its own time.
        actors: {
          type: 'parallel',
          onDone: 'runtime',
          states: {
            mapping: partOf('mapping', 'release port mapping', 'mapping grace'),
            lookups: partOf('lookups', 'join lookup services', 'lookup grace'),
            socket: partOf('socket', 'stop socket actor', 'actor grace'),
            remotes: partOf('remotes', 'stop remotes', 'actor grace'),
            relays: partOf('relays', 'stop relay manager', 'actor grace'),
          },
        },
        runtime: {
          initial: 'drivers',
          onDone: 'done',
          states: {
            drivers: {
              invoke: { id: 'drivers', src: 'stop drivers', onDone: 'sockets', onError: 'sockets' },
              after: {
                'runtime grace': {
                  target: 'sockets',
                  actions: overrunOf('drivers'),
                },
              },
            },
            sockets: {
              invoke: { id: 'sockets', src: 'close sockets', onDone: 'done', onError: 'done' },
              after: {
                'runtime grace': {
                  target: 'done',
                  actions: overrunOf('sockets'),
                },
              },
            },
            done: { type: 'final' },
          },
        },
        done: { type: 'final' },
      },
    },
    closed: { entry: 'end watches', type: 'final' },
    aborted: { entry: 'drop everything', type: 'final' },
  },
});
