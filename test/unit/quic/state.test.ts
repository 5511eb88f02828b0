import { expect, test } from '@jest/globals';
import { connectionTable, type ConnectionState, type ConnectionTransition } from '../../../src/quic/state.ts';

test('every state answers every transition as written down here', () => {
  const transitions: ConnectionTransition[] = [
    'handshakeComplete',
    'closeLocally',
    'closedByPeer',
    'vanish',
    'closeTimeout',
  ];
  const rows = (Object.keys(connectionTable) as ConnectionState[]).map(
    (state) =>
      `${state}: ${transitions.map((t) => `${t} → ${connectionTable[state][t] ?? 'ignored'}`).join(', ')}`,
  );
  expect(rows).toEqual([
    'handshaking: handshakeComplete → established, closeLocally → closing, closedByPeer → draining, vanish → drained, closeTimeout → ignored',
    'established: handshakeComplete → ignored, closeLocally → closing, closedByPeer → draining, vanish → drained, closeTimeout → ignored',
    'closing: handshakeComplete → ignored, closeLocally → ignored, closedByPeer → draining, vanish → drained, closeTimeout → drained',
    'draining: handshakeComplete → ignored, closeLocally → ignored, closedByPeer → ignored, vanish → drained, closeTimeout → drained',
    'drained: handshakeComplete → ignored, closeLocally → ignored, closedByPeer → ignored, vanish → ignored, closeTimeout → ignored',
  ]);
});
