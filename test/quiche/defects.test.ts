/**
 * What must not happen to a connection of the quiche engine when quiche, the peer or anybody else does the unexpected.
 */
import { expect, test } from '@jest/globals';
import { QuicheConnection } from '../../src/quiche/connection.ts';
import type { Transmit } from '../../src/quic/engine.ts';
import type { SimConnection } from '../support/sim-connection.ts';
import { EngineLink } from './engine-link.ts';

/** The native side, to make calls of it fail. */
function nativeOf({ quic }: SimConnection): QuicheConnection['native'] {
  if (!(quic instanceof QuicheConnection)) throw new TypeError('not of quiche');
  return quic.native;
}

function fail(name: string): never {
  throw new Error(name);
}

test('a path that is gone may be pinged and configured', () => {
  const link = new EngineLink();
  const { ours } = link.connect();
  expect(() => {
    ours.quic.pingPath(77);
    ours.quic.setPathKeepAlive(77, 100, link.now);
    ours.quic.setPathMaxIdleTimeout(77, 100, link.now);
  }).not.toThrow();
});

test('a connection that quiche cannot send on is asked a bounded number of times', () => {
  const link = new EngineLink();
  const { ours } = link.connect();
  const native = nativeOf(ours);
  let calls = 0;
  native.send = native.sendOnPath = () => {
    // A failure of the test instead of an endless loop.
    if (++calls > 1_000) return null;
    return fail('InvalidState');
  };
  native.migrate = native.probePath = () => fail('OutOfIdentifiers');
  ours.quic.pingPath(0);
  const out: Transmit[] = [];
  link.client.engine.pollTransmits(out, 256, link.now);
  expect(out).toEqual([]);
  expect(calls).toBeLessThan(10);
});
