import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { createController } from '../../../../src/quic/congestion/controller.ts';
import { RttEstimator } from '../../../../src/quic/recovery/rtt.ts';

const rtt = new RttEstimator(50);

// What holds for every controller (RFC 9002 §7).
describe.each(['cubic', 'newReno'] as const)('%s', (name) => {
  test('initial window (RFC 9002 §7.2)', () => {
    expect(createController(name, 1_200).window).toBe(12_000);
    expect(createController(name, 1_452).window).toBe(14_520);
    expect(createController(name, 9_000).window).toBe(18_000);
    expect(createController(name, 1_200).ssthresh).toBe(Infinity);
  });

  test('slow start grows by what is acknowledged (RFC 9002 §7.3.1)', () => {
    const controller = createController(name, 1_200);
    controller.onAcked(50, 0, 1_200, false, rtt);
    controller.onAcked(50, 0, 500, false, rtt);
    expect(controller.window).toBe(13_700);
  });

  test('does not grow while under-used (RFC 9002 §7.8)', () => {
    const controller = createController(name, 1_200);
    for (let i = 0; i < 100; i++) controller.onAcked(50, 0, 1_200, true, rtt);
    expect(controller.window).toBe(12_000);
  });

  test('reacts to loss once per round trip (RFC 9002 §7.3.2)', () => {
    const controller = createController(name, 1_200);
    controller.onCongestionEvent(100, 60, false, false, 1_200, 5);
    const reduced = controller.window;
    expect(reduced).toBeLessThan(12_000);
    expect(controller.ssthresh).toBe(reduced);
    controller.onCongestionEvent(110, 100, false, false, 1_200, 6);
    expect(controller.window).toBe(reduced);
    // Nor does it grow from packets sent before.
    controller.onAcked(120, 100, 1_200, false, rtt);
    expect(controller.window).toBe(reduced);
    controller.onCongestionEvent(160, 100.1, false, false, 1_200, 7);
    expect(controller.window).toBeLessThan(reduced);
  });

  test('persistent congestion leaves the smallest window and slow start, also within recovery (RFC 9002 §7.6.2)', () => {
    const controller = createController(name, 1_200);
    controller.onCongestionEvent(100, 60, false, false, 1_200, 5);
    const { ssthresh } = controller;
    controller.onCongestionEvent(110, 70, true, false, 1_200, 6);
    expect(controller.window).toBe(2_400);
    expect(controller.ssthresh).toBe(ssthresh);
    controller.onAcked(120, 80, 1_200, false, rtt);
    expect(controller.window).toBe(3_600);
  });

  test('a mistaken reduction is taken back, once', () => {
    const controller = createController(name, 1_200);
    controller.onAcked(50, 0, 8_000, false, rtt);
    controller.onCongestionEvent(100, 60, false, false, 1_200, 5);
    controller.onSpuriousCongestion();
    expect([controller.window, controller.ssthresh]).toEqual([20_000, Infinity]);
    // The same round trip may be punished for a real loss.
    controller.onCongestionEvent(110, 70, false, false, 1_200, 6);
    const reduced = controller.window;
    controller.onSpuriousCongestion();
    controller.onSpuriousCongestion();
    expect(controller.window).toBe(20_000);
    expect(reduced).toBeLessThan(20_000);
  });

  test('a reduction by ECN is never a mistake', () => {
    const controller = createController(name, 1_200);
    controller.onCongestionEvent(100, 60, false, false, 1_200, 5);
    controller.onCongestionEvent(200, 160, false, true, 0, 9);
    const reduced = controller.window;
    controller.onSpuriousCongestion();
    expect(controller.window).toBe(reduced);
  });

  test('an undo never shrinks the window', () => {
    const controller = createController(name, 1_200);
    controller.onCongestionEvent(100, 60, false, false, 1_200, 5);
    for (let now = 150; now < 60_000; now += 50) {
      controller.onAcked(now, now - 50, controller.window, false, rtt);
    }
    const grown = controller.window;
    expect(grown).toBeGreaterThan(12_000);
    controller.onSpuriousCongestion();
    expect(controller.window).toBe(grown);
  });

  test('a larger MTU lifts the smallest window', () => {
    const controller = createController(name, 1_200);
    controller.onCongestionEvent(100, 60, true, false, 1_200, 5);
    controller.onMtuUpdate(1_452);
    expect(controller.window).toBe(2_904);
  });

  const step = fc.record({
    wait: fc.nat(200),
    age: fc.nat(300),
    bytes: fc.integer({ min: 1, max: 60_000 }),
    kind: fc.constantFrom('ack', 'ack', 'ack', 'limited', 'loss', 'persistent', 'ecn', 'spurious', 'mtu'),
  });

  test('the window stays finite, whole and at least two datagrams', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
        const controller = createController(name, 1_200);
        let now = 0;
        let mtu = 1_200;
        for (const op of steps) {
          now += op.wait;
          const sentAt = now - op.age;
          if (op.kind === 'spurious') controller.onSpuriousCongestion();
          else if (op.kind === 'mtu') controller.onMtuUpdate((mtu = mtu === 1_200 ? 1_452 : 1_200));
          else if (op.kind === 'ack' || op.kind === 'limited') {
            const before = controller.window;
            controller.onAcked(now, sentAt, op.bytes, op.kind === 'limited', rtt);
            controller.onAcksDone(now, 0, op.kind === 'limited', 0);
            expect(controller.window).toBeGreaterThanOrEqual(before);
            // No controller grows faster than slow start (one datagram for Reno's whole step).
            expect(controller.window).toBeLessThanOrEqual(before + Math.max(op.bytes, mtu) + 1);
          } else {
            const before = controller.window;
            controller.onCongestionEvent(
              now,
              sentAt,
              op.kind === 'persistent',
              op.kind === 'ecn',
              op.bytes,
              0,
            );
            expect(controller.window).toBeLessThanOrEqual(before);
          }
          expect(Number.isSafeInteger(controller.window)).toBe(true);
          expect(controller.window).toBeGreaterThanOrEqual(op.kind === 'spurious' ? 2_400 : 2 * mtu);
        }
      }),
      { numRuns: 300 },
    );
  });
});
