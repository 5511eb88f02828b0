import { describe, expect, test } from '@jest/globals';
import { KEEP_ALIVE_GRID_MS } from '../../../src/quic/connection-core.ts';
import { Pair } from '../../support/pair.ts';
import { delay } from '../../support/sim-network.ts';

const OFF = { keepAliveIntervalMs: undefined, pathKeepAliveIntervalMs: undefined };
const IDLE_MS = 10_000;

describe('keep-alives', () => {
  test.each(['client', 'server'] as const)(
    'of a %s alone beat an idle time-out that is close behind',
    (side) => {
      const limits = { maxIdleTimeoutMs: IDLE_MS, pathMaxIdleTimeoutMs: undefined };
      const eager = { keepAliveIntervalMs: IDLE_MS - KEEP_ALIVE_GRID_MS, pathKeepAliveIntervalMs: undefined };
      const pair = new Pair({
        seed: 1,
        links: [delay(10)],
        clientTransport: { ...limits, ...(side === 'client' ? eager : OFF) },
        serverTransport: { ...limits, ...(side === 'server' ? eager : OFF) },
      });
      const client = pair.dial();
      pair.runUntil(() => client.has('handshakeConfirmed'));
      pair.runFor(20 * IDLE_MS);
      expect(client.closeReason).toBeUndefined();
      expect(pair.server.connections[0]!.closeReason).toBeUndefined();
      pair.end();
    },
  );
});
