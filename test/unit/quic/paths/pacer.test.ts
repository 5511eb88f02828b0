import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  BURST_MS,
  MAX_BURST_PACKETS,
  MIN_BURST_PACKETS,
  Pacer,
  UNPACED_RTT_MS,
} from '../../../../src/quic/paths/pacer.ts';

const MTU = 1_200;

/** Packets that leave at `now` before the pacer objects. */
function burst(pacer: Pacer, rttMs: number, window: number, now: number): number {
  let packets = 0;
  while (pacer.delay(MTU, rttMs, window, MTU, now) === undefined && packets < 100_000) {
    pacer.onTransmit(MTU);
    packets++;
  }
  return packets;
}

/** Bytes sent in `ms` by a sender whose timers tick every `tickMs` and come up to `lateMs` late. */
function send(pacer: Pacer, rttMs: number, window: number, ms: number, tickMs: number, lateMs = 0): number {
  let bytes = 0;
  for (let now = 0; now < ms;) {
    bytes += MTU * burst(pacer, rttMs, window, now);
    const at = pacer.delay(MTU, rttMs, window, MTU, now)!;
    expect(at).toBeGreaterThan(now);
    now = Math.ceil((at + lateMs) / tickMs) * tickMs;
  }
  return bytes;
}

describe('Pacer', () => {
  test('ten packets may always leave at once (RFC 9002 §7.7)', () => {
    expect(burst(new Pacer(), 333, 12_000, 0)).toBe(MIN_BURST_PACKETS);
    expect(burst(new Pacer(), 1_000, 2_400, 0)).toBe(MIN_BURST_PACKETS);
  });

  test('on faster paths some milliseconds of traffic, up to a limit of packets', () => {
    // 1.25 × 1,200,000 / 50 = 30 bytes per µs.
    expect(burst(new Pacer(), 50, 1_200_000, 0)).toBe((BURST_MS * 30_000) / MTU);
    // 1.25 × 12,000,000 / 100 = 150 MB/s: 4 ms would be 500 packets.
    expect(burst(new Pacer(), 100, 12_000_000, 0)).toBe(MAX_BURST_PACKETS);
  });

  test('beyond that two milliseconds, whatever the packets', () => {
    // 1.25 × 60,000,000 / 100 = 750 MB/s.
    expect(burst(new Pacer(), 100, 60_000_000, 0)).toBe(1_250);
  });

  test('asks to wait until half the burst is there again', () => {
    const pacer = new Pacer();
    burst(pacer, 50, 1_200_000, 0); // 30,000 bytes per ms, 120,000 at once
    expect(pacer.delay(MTU, 50, 1_200_000, MTU, 0)).toBeCloseTo(2);
    expect(burst(pacer, 50, 1_200_000, 2)).toBe(50);
    // A wake-up that is 2 ms late finds the rest as well.
    expect(pacer.delay(MTU, 50, 1_200_000, MTU, 2)).toBeCloseTo(4);
    expect(burst(pacer, 50, 1_200_000, 6)).toBe(100);
  });

  test('never delays paths that are faster than timers', () => {
    const pacer = new Pacer();
    expect(burst(pacer, 0.1, 12_000, 0)).toBe(100_000);
    expect(burst(pacer, UNPACED_RTT_MS, 12_000, 0)).toBe(100_000);
    expect(burst(pacer, UNPACED_RTT_MS + 0.1, 12_000, 0)).toBeLessThan(100);
  });

  test.each([
    ['a megabyte per second', 100, 100_000],
    ['ten', 50, 500_000],
    ['a hundred', 20, 2_000_000],
    ['145 over a short path', 3, 435_000],
  ])('%s: coarse, late timers cost no throughput', (_name, rttMs, window) => {
    const ms = 4_000;
    const bytes = send(new Pacer(), rttMs, window, ms, 1, 0.9);
    const fair = (window / rttMs) * ms;
    // Pacing runs at 1.25 windows per RTT, so that the window stays the limit.
    expect(bytes).toBeGreaterThan(1.2 * fair);
    expect(bytes).toBeLessThan(1.26 * fair + MAX_BURST_PACKETS * MTU);
  });

  test('a smaller window shrinks what is saved up', () => {
    const pacer = new Pacer();
    expect(pacer.delay(MTU, 50, 1_200_000, MTU, 0)).toBeUndefined();
    expect(burst(pacer, 50, 12_000, 0)).toBe(MIN_BURST_PACKETS);
  });

  test('packets that did not ask are paid back, up to one burst', () => {
    const pacer = new Pacer();
    burst(pacer, 100, 12_000, 0); // 150 bytes per ms, 12,000 at once
    for (let i = 0; i < 1_000; i++) pacer.onTransmit(MTU);
    const at = pacer.delay(MTU, 100, 12_000, MTU, 0)!;
    expect(at).toBeCloseTo((12_000 + 6_000) / 150);
  });

  test('the time it names is enough at 1.25 GB/s after 115 days, when times are rounded to 2 ns', () => {
    const pacer = new Pacer();
    let now = 1e10 + 0.1;
    for (let i = 0; i < 20_000; i++) {
      const at = pacer.delay(MTU, 2.6, 2_600_000, MTU, now);
      if (at !== undefined) expect(pacer.delay(MTU, 2.6, 2_600_000, MTU, (now = at))).toBeUndefined();
      pacer.onTransmit(MTU);
    }
    expect(now).toBeGreaterThan(1e10 + 1);
  });

  test('a clock that stands still or goes back does no harm', () => {
    const pacer = new Pacer();
    burst(pacer, 100, 12_000, 10);
    expect(pacer.delay(MTU, 100, 12_000, MTU, 5)).toBeGreaterThan(5);
    expect(pacer.delay(MTU, 100, 12_000, MTU, 10)).toBeGreaterThan(10);
  });

  test('never exceeds its rate by more than one burst; the time it names is enough', () => {
    const step = fc.record({
      wait: fc.double({ min: 0, max: 30, noNaN: true }),
      ask: fc.integer({ min: 1, max: 40 }),
    });
    fc.assert(
      fc.property(
        fc.double({ min: 2.5, max: 400, noNaN: true }),
        fc.integer({ min: 2 * MTU, max: 5_000_000 }),
        fc.constantFrom(0, 1e6, 1e10),
        fc.array(step, { maxLength: 60 }),
        (rttMs, window, start, steps) => {
          const pacer = new Pacer();
          const rate = (1.25 * window) / rttMs;
          const most = Math.max(10 * MTU, 2 * rate, Math.min(4 * rate, 256 * MTU));
          let now: number = start;
          let sent = 0;
          for (const op of steps) {
            now += op.wait;
            for (let i = 0; i < op.ask; i++) {
              const at = pacer.delay(MTU, rttMs, window, MTU, now);
              if (at !== undefined) {
                expect(at).toBeGreaterThan(now);
                expect(at - now).toBeLessThanOrEqual(most / 2 / rate + 1e-5);
                now = at;
                expect(pacer.delay(MTU, rttMs, window, MTU, now)).toBeUndefined();
              }
              pacer.onTransmit(MTU);
              sent += MTU;
              expect(sent).toBeLessThanOrEqual(most + rate * (now - start) + 1 + 1e-6 * rate);
            }
          }
        },
      ),
    );
  });
});
