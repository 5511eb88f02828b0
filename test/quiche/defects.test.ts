/**
 * What must not happen to a connection of the quiche engine when quiche, the peer or anybody else does the unexpected.
 */
import { expect, test } from '@jest/globals';
import { toAddr } from '../../src/base/socket-addr.ts';
import { QuicheConnection } from '../../src/quiche/connection.ts';
import type { Transmit } from '../../src/quic/engine.ts';
import type { SimConnection } from '../support/sim-connection.ts';
import { SimRng } from '../support/sim-rng.ts';
import { EngineLink } from './engine-link.ts';

const ELSEWHERE = toAddr('127.0.0.9', 4_002);

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

test.each(['quiche', 'ours'] as const)(
  'network changes take no connection id away for good: server %s',
  (server) => {
    const link = new EngineLink({ server });
    const { ours } = link.connect();
    for (let change = 0; change < 50; change++) {
      link.client.engine.handleNetworkChange(() => ({ recoverable: true }), link.now);
      link.settle(10);
    }
    link.settle();
    ours.quic.openPathEnsure({ remote: ELSEWHERE, local: undefined }, 'backup', link.now);
    link.run(() => ours.has('pathEstablished'), 'another path');
    expect(ours.closeReason).toBeUndefined();
  },
);

test('forged datagrams hide no stall', () => {
  const link = new EngineLink();
  const { ours } = link.connect();
  const rng = new SimRng(3);
  link.cut = () => true;
  ours.sendNew(rng.bytes(100), 'uni');
  let next = 0;
  link.run(() => {
    if (link.now >= next) {
      next = link.now + 10;
      const data = rng.bytes(40);
      data[0] = 0x40 | (data[0]! & 0x3f);
      const from = link.server.addr;
      link.client.engine.handleDatagrams([{ from, local: link.client.addr, data }], link.now);
    }
    return ours.has('pathStalled');
  }, 'stall');
  expect(ours.has('pathResumed')).toBe(false);
});

test('what quiche throws ends one connection, and the others go on', () => {
  const link = new EngineLink();
  const first = link.connect();
  const second = link.connect();
  nativeOf(first.theirs).pathEventNext = () => fail('a defect');
  first.ours.sendNew(new Uint8Array(10), 'uni');
  const id = second.ours.sendNew(new Uint8Array(10), 'uni');
  link.run(() => second.theirs.isFinished(id) && first.theirs.has('closed'), 'both');
  expect(first.theirs.closeReason).toMatchObject({
    type: 'transportError',
    error: { code: 'INTERNAL_ERROR' },
  });
  link.run(() => first.ours.has('closed'), 'the peer learns');
  expect(second.theirs.closeReason).toBeUndefined();
});

test('a move that quiche refuses is tried again', () => {
  const link = new EngineLink();
  const { ours, theirs } = link.connect();
  const native = nativeOf(ours);
  const { migrate } = native;
  native.migrate = () => fail('OutOfIdentifiers');
  ours.quic.openPathEnsure({ remote: ELSEWHERE, local: undefined }, 'available', link.now);
  link.run(() => ours.has('pathEstablished'), 'the path');
  expect(ours.closeReason).toBeUndefined();
  native.migrate = migrate;
  const from = link.sent.length;
  const id = ours.sendNew(new Uint8Array(10), 'uni');
  link.run(() => theirs.isFinished(id), 'data');
  ours.sendNew(new Uint8Array(10), 'uni');
  link.settle();
  expect(link.sent.slice(from).map(({ to }) => to)).toContain(ELSEWHERE);
});

test('an empty datagram finds no room in a full queue', () => {
  const link = new EngineLink({ transport: { datagramSendBufferSize: 4_800 } });
  const { ours } = link.connect();
  while (ours.quic.sendDatagram(new Uint8Array(1), false));
  expect(ours.quic.sendDatagram(new Uint8Array(0), false)).toBe(false);
  expect(ours.quic.sendDatagram(new Uint8Array(0), true)).toBe(true);
});

test('an attempt for which quiche takes no configuration is refused, and the next one is not', () => {
  const link = new EngineLink();
  const { server } = link;
  const { congestionControl } = server.transport;
  const errors: unknown[] = [];
  server.onIncoming = (incoming) => {
    try {
      server.accept(incoming);
    } catch (error) {
      errors.push(error);
    }
  };
  Object.defineProperty(server.transport, 'congestionControl', {
    get: () => fail('a defect'),
    configurable: true,
  });
  const refused = link.dial();
  link.run(() => refused.has('closed'), 'the refusal');
  expect(errors).toMatchObject([{ code: 'INTERNAL_ERROR' }]);
  Object.defineProperty(server.transport, 'congestionControl', { value: congestionControl, writable: true });
  expect(link.connect().theirs.closeReason).toBeUndefined();
});
