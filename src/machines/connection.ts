/**
 * The life of one connection as an application meets it: from the first packet to the last trace (RFC 9000 §10, RFC 9001
 * §4.1). The engine decides; this is what it says, for people to look at.
 *
 * An endpoint may have thousands of these, so the chart has no context, no timer and no children, and hears of about five
 * things in all. What streams, datagrams and paths do is not among them.
 *
 * @module
 */
import { setup } from 'xstate';
import type { CloseReason, Side } from '../quic/engine.ts';

/** What a connection goes through. All but the first and the last have the name of the engine's event. */
export type ConnectionLifeEvent =
  /** Streams can be used before the handshake is complete (0-RTT). */
  | { readonly type: 'earlyDataStarted' }
  /** The server did not take what came early; the handshake goes on. */
  | { readonly type: 'zeroRttRejected' }
  /** TLS is complete on this side, and the peer is who it should be. */
  | { readonly type: 'connected'; readonly side: Side }
  | { readonly type: 'handshakeConfirmed' }
  /** It is over for the application. */
  | { readonly type: 'closed'; readonly reason: CloseReason['type'] }
  /** The other side knows, or cannot be told. */
  | { readonly type: 'draining' }
  /** The engine has forgotten the connection. */
  | { readonly type: 'drained' }
  /** The endpoint ended before that: nothing more will be heard. */
  | { readonly type: 'endpointEnded' };

const isReason =
  (...reasons: CloseReason['type'][]) =>
  ({ event }: { readonly event: ConnectionLifeEvent }): boolean =>
    event.type === 'closed' && reasons.includes(event.reason);

export const connectionMachine = setup({
  types: {} as { context: Record<string, never>; events: ConnectionLifeEvent },
  guards: {
    // RFC 9001 §4.1.2: for a server the handshake is confirmed as soon as it is complete.
    'is server': ({ event }) => event.type === 'connected' && event.side === 'server',
    'closed by peer': isReason('applicationClosed', 'connectionClosed'),
    'timed out': isReason('timedOut'),
    'peer knows nothing of it': isReason('reset', 'versionMismatch'),
  },
}).createMachine({
  id: 'connection',
  context: {},
  initial: 'open',
  on: { endpointEnded: '.dropped' },
  states: {
    open: {
      initial: 'handshaking',
      on: {
        closed: [
          { guard: 'closed by peer', target: 'closedByPeer' },
          { guard: 'timed out', target: 'timedOut' },
          { guard: 'peer knows nothing of it', target: 'lost' },
          { target: 'closedLocally' },
        ],
      },
      states: {
        handshaking: {
          on: {
            earlyDataStarted: 'early',
            connected: [{ guard: 'is server', target: 'confirmed' }, { target: 'connected' }],
          },
        },
        early: {
          on: {
            zeroRttRejected: 'handshaking',
            connected: [{ guard: 'is server', target: 'confirmed' }, { target: 'connected' }],
          },
        },
        connected: { on: { handshakeConfirmed: 'confirmed' } },
        confirmed: {},
      },
    },
    closedLocally: {
      initial: 'closing',
      on: { drained: 'drained' },
      states: {
        // What the peer still sends is answered with our close (RFC 9000 §10.2.1).
        closing: { on: { draining: 'draining' } },
        draining: {},
      },
    },
    // Nothing is sent any more but one answer (RFC 9000 §10.2.2).
    closedByPeer: { on: { drained: 'drained' } },
    timedOut: { on: { drained: 'drained' } },
    lost: { on: { drained: 'drained' } },
    drained: { type: 'final' },
    dropped: { type: 'final' },
  },
});
