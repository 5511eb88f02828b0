/**
 * One connection to a relay: dialled, proven by a pong, kept alive, redialled when it is lost, and given up when nobody needs
 * it (upstream `iroh/src/socket/transports/relay/actor.rs`, `ActiveRelayActor`).
 *
 * Three regions run beside each other: `link` is the connection, `use` says whether it is worth keeping, `queue` lets go of
 * datagrams that waited too long. Datagrams themselves never pass through the chart: its timers look at what the actor
 * remembers of them, and start anew when something happened meanwhile.
 *
 * @module
 */
import { assign, fromPromise, raise, setup } from 'xstate';
import type { Millis } from '../base/clock.ts';
import { notProvided } from './not-provided.ts';

/** The whole attempt, from the name to the relay's confirmation, ms; upstream `CONNECT_TIMEOUT`. */
export const RELAY_CONNECT_TIMEOUT_MS = 10_000;
/** Silence after which the relay is asked whether it is still there, ms; upstream `PING_INTERVAL`. */
export const RELAY_PING_INTERVAL_MS = 15_000;
/** How long nothing may be taken of what is sent, ms; upstream takes `PING_INTERVAL`. */
export const RELAY_SEND_TIMEOUT_MS = 15_000;
/** Without sending for so long a relay that is not home is left, ms; upstream `RELAY_INACTIVE_CLEANUP_TIME`. */
export const RELAY_INACTIVE_CLEANUP_MS = 60_000;
/** Datagrams that waited longer are dropped, ms; upstream `UNDELIVERABLE_DATAGRAM_TIMEOUT`. */
export const UNDELIVERABLE_DATAGRAM_TIMEOUT_MS = 3_000;
/** First wait after a failure, ms; upstream `build_backoff`. Doubles each time. */
export const MIN_RELAY_BACKOFF_MS = 10;
/** Upper bound of that, ms. */
export const MAX_RELAY_BACKOFF_MS = 16_000;
/** How long a relay may take to answer our goodbye, ms; upstream `RelayActor::run`. */
export const RELAY_CLOSE_GRACE_MS = 3_000;

/** How long to wait after so many failures in a row, ms. Up to the same time is added at random, so that clients spread. */
export function relayBackoffMs(failures: number): Millis {
  return Math.min(MIN_RELAY_BACKOFF_MS * 2 ** (failures - 1), MAX_RELAY_BACKOFF_MS);
}

/** Why a connection that was up is given up. */
export type RelayLossReason =
  | 'sendTimeout'
  | 'pongTimeout'
  /** The address that the connection goes out from is gone. */
  | 'localIpInvalid'
  /** The address that the connection goes out from is not known, and the network changed. */
  | 'localAddrMissing'
  | 'closedByRelay'
  | 'broken'
  /** The relay broke the protocol. */
  | 'protocolError';

export type RelayClientEvent =
  /** The relay answered the newest ping. */
  | { readonly type: 'pong' }
  /** The connection is no more, or no good. */
  | { readonly type: 'lost'; readonly reason: RelayLossReason }
  /** The network changed; whether the address that the connection goes out from is still ours. */
  | { readonly type: 'check'; readonly localAddr: 'kept' | 'gone' | 'hidden' }
  /** An attempt may go better now. */
  | { readonly type: 'retry' }
  | { readonly type: 'setHome'; readonly isHome: boolean }
  /** A datagram waits, the first one. */
  | { readonly type: 'held' }
  /** The system takes no more for now. */
  | { readonly type: 'blocked' }
  /** The endpoint closes. */
  | { readonly type: 'stop' };

export interface RelayClientContext {
  /** Host of the relay. Its URL may hold secrets, and charts are shown. */
  readonly relay: string;
  /** Whether others are told to find us at this relay. */
  readonly isHome: boolean;
  /** Attempts that failed in a row. */
  readonly failures: number;
  /** Whether the end is the endpoint's. */
  readonly mustStop: boolean;
}

export interface RelayClientInput {
  readonly relay: string;
  readonly isHome: boolean;
}

export const relayClientMachine = setup({
  types: {} as { context: RelayClientContext; events: RelayClientEvent; input: RelayClientInput },
  actors: {
    'dial relay': fromPromise<void>(notProvided('dial relay')),
    /** Resolves once the relay has confirmed who we are; rejects when it denies that. */
    'prove who we are': fromPromise<void>(notProvided('prove who we are')),
    /** Resolves once everything is read that the system has for us. */
    'read what has come': fromPromise<void>(notProvided('read what has come')),
    /** Resolves once the relay has answered. */
    'say goodbye': fromPromise<void>(notProvided('say goodbye')),
  },
  actions: {
    /** Others hear of it while this relay is home. */
    'set status': (_, _params: { readonly state: 'connecting' | 'connected' | 'disconnected' }): void =>
      notProvided('set status')(),
    'publish status': notProvided('publish status'),
    'send what waits': notProvided('send what waits'),
    'send ping': notProvided('send ping'),
    'note time-out of attempt': notProvided('note time-out of attempt'),
    'note loss': notProvided('note loss'),
    'drop connection': notProvided('drop connection'),
    'drop stale datagrams': notProvided('drop stale datagrams'),
    'count as use': notProvided('count as use'),
    'note what is sent': notProvided('note what is sent'),
    'say that connection is lost': raise(
      (_, { reason }: { reason: RelayLossReason }) => ({ type: 'lost', reason }) as const,
    ),
    'count failure': assign({ failures: ({ context }) => context.failures + 1 }),
    'forget failures': assign({ failures: 0 }),
    'remember home': assign(({ event }) => (event.type === 'setHome' ? { isHome: event.isHome } : {})),
    'remember to stop': assign({ mustStop: true }),
  },
  guards: {
    'is home': ({ context }) => context.isHome,
    'becomes home': ({ event }) => event.type === 'setHome' && event.isHome,
    'is home no more': ({ event }) => event.type === 'setHome' && !event.isHome,
    'local address is kept': ({ event }) => event.type === 'check' && event.localAddr === 'kept',
    'local address is gone': ({ event }) => event.type === 'check' && event.localAddr === 'gone',
    'must stop': ({ context }) => context.mustStop,
    'heard something': notProvided('heard something'),
    'sent something': notProvided('sent something'),
    'holds datagrams': notProvided('holds datagrams'),
    'all is taken': notProvided('all is taken'),
    'some is taken': notProvided('some is taken'),
  },
  delays: {
    'connect limit': RELAY_CONNECT_TIMEOUT_MS,
    /** {@link relayBackoffMs} and a random part. */
    'back-off': notProvided('back-off'),
    /** From the last round trip. */
    'pong limit': notProvided('pong limit'),
    /** Since something was heard. */
    'silence limit': notProvided('silence limit'),
    'send limit': RELAY_SEND_TIMEOUT_MS,
    /** Since something was sent. */
    'idle limit': notProvided('idle limit'),
    /** Since the oldest datagram came. */
    'undeliverable limit': notProvided('undeliverable limit'),
    'close grace': RELAY_CLOSE_GRACE_MS,
  },
}).createMachine({
  id: 'relayClient',
  context: ({ input }) => ({ relay: input.relay, isHome: input.isHome, failures: 0, mustStop: false }),
  initial: 'active',
  states: {
    active: {
      type: 'parallel',
      on: { stop: { target: 'closing', actions: 'remember to stop' } },
      states: {
        link: {
          initial: 'connecting',
          states: {
            connecting: {
              entry: { type: 'set status', params: { state: 'connecting' } },
              initial: 'dialing',
              on: { lost: { target: 'backoff', actions: ['note loss', 'drop connection'] } },
              after: {
                'connect limit': {
                  target: 'backoff',
                  actions: ['note time-out of attempt', 'drop connection'],
                },
              },
              states: {
                dialing: {
                  invoke: {
                    id: 'dial',
                    src: 'dial relay',
                    onDone: 'handshaking',
                    onError: '#relayClient.active.link.backoff',
                  },
                },
                handshaking: {
                  invoke: {
                    id: 'handshake',
                    src: 'prove who we are',
                    onDone: '#relayClient.active.link.connected',
                    onError: {
                      target: '#relayClient.active.link.backoff',
                      actions: 'drop connection',
                    },
                  },
                },
              },
            },
            backoff: {
              entry: ['count failure', { type: 'set status', params: { state: 'disconnected' } }],
              on: { retry: 'connecting' },
              after: { 'back-off': 'connecting' },
            },
            connected: {
              type: 'parallel',
              entry: [{ type: 'set status', params: { state: 'connected' } }, 'send what waits'],
              states: {
                proof: {
                  initial: 'probing',
                  states: {
                    probing: {
                      on: {
                        pong: 'established',
                        lost: {
                          target: '#relayClient.active.link.backoff',
                          actions: ['note loss', 'drop connection'],
                        },
                      },
                    },
                    established: {
                      entry: 'forget failures',
                      on: {
                        lost: {
                          target: '#relayClient.active.link.connecting',
                          actions: [
                            'note loss',
                            'drop connection',
                            { type: 'set status', params: { state: 'disconnected' } },
                          ],
                        },
                      },
                    },
                  },
                },
                pings: {
                  initial: 'asking',
                  on: {
                    check: [
                      { guard: 'local address is kept', target: '.asking' },
                      {
                        guard: 'local address is gone',
                        actions: {
                          type: 'say that connection is lost',
                          params: { reason: 'localIpInvalid' },
                        },
                      },
                      {
                        actions: {
                          type: 'say that connection is lost',
                          params: { reason: 'localAddrMissing' },
                        },
                      },
                    ],
                  },
                  states: {
                    asking: {
                      entry: 'send ping',
                      on: { pong: 'listening' },
                      after: { 'pong limit': 'doubting' },
                    },
                    // It may be us who were late: half a second is all that a near relay has.
                    doubting: {
                      on: { pong: 'listening' },
                      invoke: {
                        id: 'look',
                        src: 'read what has come',
                        onDone: {
                          actions: { type: 'say that connection is lost', params: { reason: 'pongTimeout' } },
                        },
                        onError: {
                          actions: { type: 'say that connection is lost', params: { reason: 'pongTimeout' } },
                        },
                      },
                    },
                    listening: {
                      after: {
                        'silence limit': [
                          { guard: 'heard something', target: 'listening', reenter: true },
                          { target: 'asking' },
                        ],
                      },
                    },
                  },
                },
                writes: {
                  initial: 'flowing',
                  states: {
                    flowing: { on: { blocked: 'blocked' } },
                    blocked: {
                      entry: 'note what is sent',
                      after: {
                        'send limit': [
                          { guard: 'all is taken', target: 'flowing' },
                          { guard: 'some is taken', target: 'blocked', reenter: true },
                          {
                            actions: {
                              type: 'say that connection is lost',
                              params: { reason: 'sendTimeout' },
                            },
                          },
                        ],
                      },
                    },
                  },
                },
              },
            },
          },
        },
        use: {
          initial: 'deciding',
          states: {
            deciding: { always: [{ guard: 'is home', target: 'kept' }, { target: 'counting' }] },
            kept: {
              on: {
                setHome: {
                  guard: 'is home no more',
                  target: 'counting',
                  // Others may not know of the new home yet.
                  actions: ['remember home', 'count as use'],
                },
              },
            },
            counting: {
              on: {
                setHome: {
                  guard: 'becomes home',
                  target: 'kept',
                  actions: ['remember home', 'publish status'],
                },
              },
              after: {
                'idle limit': [
                  { guard: 'sent something', target: 'counting', reenter: true },
                  { target: '#relayClient.closing' },
                ],
              },
            },
          },
        },
        queue: {
          initial: 'looking',
          states: {
            looking: { always: [{ guard: 'holds datagrams', target: 'holding' }, { target: 'empty' }] },
            empty: { on: { held: 'holding' } },
            holding: {
              after: { 'undeliverable limit': { target: 'looking', actions: 'drop stale datagrams' } },
            },
          },
        },
      },
    },
    closing: {
      entry: { type: 'set status', params: { state: 'disconnected' } },
      on: { setHome: { actions: 'remember home' }, stop: { actions: 'remember to stop' } },
      invoke: { id: 'goodbye', src: 'say goodbye', onDone: 'closed', onError: 'closed' },
      after: { 'close grace': { target: 'closed', actions: 'drop connection' } },
    },
    closed: {
      // Somebody may have come back while the relay took its time to answer; there is one connection to a relay at most.
      always: [
        { guard: 'must stop', target: 'stopped' },
        { guard: 'is home', target: 'active' },
        { guard: 'holds datagrams', target: 'active' },
        { target: 'stopped' },
      ],
    },
    stopped: { type: 'final' },
  },
});
