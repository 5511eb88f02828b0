import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { RttEstimator } from '../../../../src/quic/recovery/rtt.ts';

describe('RttEstimator', () => {
  test('starts from the initial RTT (RFC 9002 §6.2.2)', () => {
    const rtt = new RttEstimator(333);
    expect([rtt.smoothed, rtt.variance, rtt.hasSample]).toEqual([333, 166.5, false]);
    expect(rtt.ptoBase()).toBeCloseTo(999);
  });

  test('the first sample replaces the assumption, without its ack delay (RFC 9002 §5.3)', () => {
    const rtt = new RttEstimator(333);
    rtt.update(40, 10, 1_000);
    expect([rtt.latest, rtt.smoothed, rtt.variance, rtt.min, rtt.firstSampleAt]).toEqual([
      40, 40, 20, 40, 1_000,
    ]);
  });

  test('later samples are smoothed, less the ack delay (RFC 9002 §5.3)', () => {
    const rtt = new RttEstimator(333);
    rtt.update(40, 0, 0);
    rtt.update(60, 12, 100);
    expect(rtt.smoothed).toBe(41); // 7/8 × 40 + 1/8 × 48
    expect(rtt.variance).toBe(16.75); // 3/4 × 20 + 1/4 × |41 − 48|
    expect([rtt.latest, rtt.min, rtt.firstSampleAt]).toEqual([60, 40, 0]);
  });

  test('a delay that would undercut the minimum is ignored (RFC 9002 §5.3)', () => {
    const rtt = new RttEstimator(333);
    rtt.update(40, 0, 0);
    rtt.update(48, 20, 1);
    expect(rtt.smoothed).toBe(41); // 7/8 × 40 + 1/8 × 48
    rtt.update(32, 20, 2);
    expect(rtt.min).toBe(32);
  });

  test('a seed stands in until the first sample', () => {
    const rtt = new RttEstimator(333);
    rtt.seed(50);
    expect([rtt.smoothed, rtt.variance, rtt.hasSample]).toEqual([50, 25, false]);
    rtt.update(20, 0, 5);
    expect([rtt.smoothed, rtt.min]).toEqual([20, 20]);
    rtt.seed(99);
    expect(rtt.smoothed).toBe(20);
  });

  test('persistent congestion restarts the minimum (RFC 9002 §5.2)', () => {
    const rtt = new RttEstimator(333);
    rtt.update(10, 0, 0);
    rtt.update(80, 0, 1);
    rtt.onPersistentCongestion();
    expect(rtt.min).toBe(80);
    expect(rtt.conservative()).toBe(80);
  });

  test('the PTO is at least a timer tick above the RTT', () => {
    const rtt = new RttEstimator(333);
    for (let i = 0; i < 200; i++) rtt.update(0.1, 0, i);
    expect(rtt.ptoBase()).toBeCloseTo(1.1);
  });

  test('stays within the samples, whatever the peer claims', () => {
    const sample = fc.record({
      rtt: fc.double({ min: 0.05, max: 5_000, noNaN: true }),
      delay: fc.nat(20_000),
    });
    fc.assert(
      fc.property(fc.array(sample, { minLength: 1, maxLength: 50 }), (samples) => {
        const rtt = new RttEstimator(333);
        samples.forEach((s, i) => rtt.update(s.rtt, s.delay, i));
        const all = samples.map((s) => s.rtt);
        expect(rtt.min).toBe(Math.min(...all));
        expect(rtt.smoothed).toBeGreaterThanOrEqual(rtt.min * (1 - 1e-9));
        expect(rtt.smoothed).toBeLessThanOrEqual(Math.max(...all) * (1 + 1e-9));
        expect(rtt.variance).toBeGreaterThanOrEqual(0);
      }),
    );
  });
});
