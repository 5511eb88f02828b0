/**
 * The coarse life of a connection, as a table: which state, and what may come next (RFC 9000 §10).
 *
 * Explicit like a statechart, free like a lookup; test/unit/quic/state.test.ts snapshots it whole.
 *
 * @module
 */

/**
 * - `handshaking`: until TLS is complete on this side.
 * - `established`: until somebody closes.
 * - `closing`: we closed; packets of the peer are answered with our close (RFC 9000 §10.2.1).
 * - `draining`: the peer closed, or the connection vanished; nothing is sent any more (RFC 9000 §10.2.2).
 * - `drained`: everything is forgotten.
 */
export type ConnectionState = 'handshaking' | 'established' | 'closing' | 'draining' | 'drained';

/** What moves a connection from state to state. */
export type ConnectionTransition =
  /** TLS completed. */
  | 'handshakeComplete'
  /** This side ends it: by the application, or because of an error that the peer should hear of. */
  | 'closeLocally'
  /** The peer sent CONNECTION_CLOSE. */
  | 'closedByPeer'
  /** Nothing can or should be sent any more: idle time-out, stateless reset, version mismatch. */
  | 'vanish'
  /** Three PTOs after the close (RFC 9000 §10.2). */
  | 'closeTimeout';

/** No entry: not allowed in this state, and ignored. */
export const connectionTable: Record<
  ConnectionState,
  Partial<Record<ConnectionTransition, ConnectionState>>
> = {
  handshaking: {
    handshakeComplete: 'established',
    closeLocally: 'closing',
    closedByPeer: 'draining',
    vanish: 'drained',
  },
  established: { closeLocally: 'closing', closedByPeer: 'draining', vanish: 'drained' },
  closing: { closedByPeer: 'draining', closeTimeout: 'drained', vanish: 'drained' },
  draining: { closeTimeout: 'drained', vanish: 'drained' },
  drained: {},
};
