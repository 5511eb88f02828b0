/**
 * Has the router keep a port open for an endpoint: finds out how it wants to be asked, renews what it grants, and gives it back
 * at the end (upstream: net-tools `portmapper/src/lib.rs`, `Service`).
 *
 * Unlike upstream a router is probed before it is asked, a renewal that fails is tried again before the lease ends, a lease of
 * another router is dropped, and the lease is given back at the end.
 *
 * @module
 */
import { assign, fromPromise, setup } from 'xstate';
import { notProvided } from './not-provided.ts';

/** Looking for services takes no longer, ms: UPnP's search of 1 s, and the description that it leads to. */
export const PROBE_LIMIT_MS = 3_000;
/** Asking for a mapping takes no longer, ms: several services, and several ports of one that has no free one. */
export const MAPPING_LIMIT_MS = 10_000;
/** What a router gets to hear that we go, ms. Upstream does not tell it. */
export const RELEASE_GRACE_MS = 500;
/**
 * A renewal that failed is tried again after so long, ms, then after twice as long, and so on up to an eighth of the lease
 * (RFC 6887 §8.1.1, §11.2.1).
 */
export const RENEWAL_RETRY_MS = 4_000;

export type PortMapperEvent =
  /** Which port is to be mapped; undefined: none. */
  | { readonly type: 'setPort'; readonly port: number | undefined }
  /** A mapping is wanted, unless there is one. */
  | { readonly type: 'procure' }
  /** The external address may be another one: the lease is worth a question. */
  | { readonly type: 'check' }
  /** The endpoint is about to close: what runs is given up, what is mapped stays until the end. */
  | { readonly type: 'closeStarted' }
  | { readonly type: 'stop' };

export interface PortMapperContext {
  /** Short form of the endpoint's id. */
  readonly endpoint: string;
  /** The port to be mapped. */
  readonly port: number | undefined;
  /** Renewals that failed since the last one that did not, and since the last check. */
  readonly failedRenewals: number;
}

export interface PortMapperInput {
  readonly endpoint: string;
}

export const portMapperMachine = setup({
  types: {} as { context: PortMapperContext; events: PortMapperEvent; input: PortMapperInput },
  actors: {
    'probe gateway': fromPromise<void>(notProvided('probe gateway')),
    'map port': fromPromise<void, { readonly port: number }>(notProvided('map port')),
    'renew lease': fromPromise<void>(notProvided('renew lease')),
    'give lease back': fromPromise<void>(notProvided('give lease back')),
  },
  actions: {
    'tell address': notProvided('tell address'),
    'tell no address': notProvided('tell no address'),
    'release lease': notProvided('release lease'),
    'forget lease': notProvided('forget lease'),
    'count failed renewal': assign({ failedRenewals: ({ context }) => context.failedRenewals + 1 }),
    'forget failed renewals': assign({ failedRenewals: 0 }),
    'remember port': assign(({ event }) => (event.type === 'setPort' ? { port: event.port } : {})),
  },
  guards: {
    'can ask a router': notProvided('can ask a router'),
    'knows a service': notProvided('knows a service'),
    'may probe': notProvided('may probe'),
    'lease is of no use': notProvided('lease is of no use'),
    'is the same port': ({ context, event }) => event.type === 'setPort' && event.port === context.port,
    'is a port': ({ event }) => event.type === 'setPort' && event.port !== undefined,
  },
  delays: {
    'probe limit': PROBE_LIMIT_MS,
    'mapping limit': MAPPING_LIMIT_MS,
    'release grace': RELEASE_GRACE_MS,
    'half of lease': notProvided('half of lease'),
    'renewal interval': notProvided('renewal interval'),
  },
}).createMachine({
  id: 'portMapper',
  context: ({ input }) => ({ endpoint: input.endpoint, port: undefined, failedRenewals: 0 }),
  initial: 'disabled',
  states: {
    /** Browsers have no UDP, and stay here. */
    disabled: {
      always: { guard: 'can ask a router', target: 'enabled' },
      on: { stop: 'stopped' },
    },
    enabled: {
      initial: 'idle',
      on: {
        stop: 'releasing',
        setPort: [
          { guard: 'is the same port' },
          { guard: 'is a port', target: '.ready', actions: ['release lease', 'remember port'] },
          { target: '.idle', actions: ['release lease', 'remember port'] },
        ],
      },
      states: {
        idle: {},
        ready: {
          on: {
            procure: [
              { guard: 'knows a service', target: 'mapping' },
              { guard: 'may probe', target: 'probing' },
            ],
          },
        },
        probing: {
          invoke: {
            id: 'probe',
            src: 'probe gateway',
            onDone: [{ guard: 'knows a service', target: 'mapping' }, { target: 'ready' }],
            onError: 'ready',
          },
          on: { closeStarted: 'ready' },
          after: { 'probe limit': 'ready' },
        },
        mapping: {
          invoke: {
            id: 'map',
            src: 'map port',
            input: ({ context }) => ({ port: context.port! }),
            onDone: 'mapped',
            onError: 'ready',
          },
          on: {
            closeStarted: { target: 'ready', actions: 'release lease' },
            // Who has asked for one port asks for the other at once.
            setPort: [
              { guard: 'is the same port' },
              {
                guard: 'is a port',
                target: 'mapping',
                reenter: true,
                actions: ['release lease', 'remember port'],
              },
              { target: 'idle', actions: ['release lease', 'remember port'] },
            ],
          },
          // A grant may come in that very moment.
          after: { 'mapping limit': { target: 'ready', actions: 'release lease' } },
        },
        mapped: {
          entry: 'tell address',
          exit: 'tell no address',
          initial: 'fresh',
          on: {
            procure: { guard: 'lease is of no use', target: 'mapping', actions: 'forget lease' },
            setPort: [
              { guard: 'is the same port' },
              { guard: 'is a port', target: 'mapping', actions: ['release lease', 'remember port'] },
              { target: 'idle', actions: ['release lease', 'remember port'] },
            ],
          },
          states: {
            fresh: {
              entry: 'forget failed renewals',
              on: { check: 'renewDue' },
              after: { 'half of lease': 'renewDue' },
            },
            renewDue: {
              initial: 'renewing',
              after: {
                'half of lease': { target: '#portMapper.enabled.mapping', actions: 'forget lease' },
              },
              states: {
                renewing: {
                  invoke: {
                    id: 'renew',
                    src: 'renew lease',
                    onDone: { target: '#portMapper.enabled.mapped.fresh', actions: 'tell address' },
                    onError: 'waiting',
                  },
                  // What is asked already will do, but if it fails there is a new reason for haste.
                  on: { closeStarted: 'waiting', check: { actions: 'forget failed renewals' } },
                  after: { 'mapping limit': 'waiting' },
                },
                waiting: {
                  entry: 'count failed renewal',
                  on: { check: { target: 'renewing', actions: 'forget failed renewals' } },
                  after: { 'renewal interval': 'renewing' },
                },
              },
            },
          },
        },
      },
    },
    releasing: {
      invoke: { id: 'release', src: 'give lease back', onDone: 'stopped', onError: 'stopped' },
      after: { 'release grace': 'stopped' },
    },
    stopped: { type: 'final' },
  },
});
