import { describe, expect, test } from '@jest/globals';
import { ptoInterval } from '../../../../src/quic/recovery/pto.ts';
import { RttEstimator } from '../../../../src/quic/recovery/rtt.ts';

function rttOf(ms: number): RttEstimator {
  const rtt = new RttEstimator(333);
  // Many equal samples: the variance is gone.
  for (let i = 0; i < 100; i++) rtt.update(ms, 0, i);
  return rtt;
}

function intervals(rtt: RttEstimator, maxAckDelay: number, idle?: number): number[] {
  return [0, 1, 2, 3, 4, 5, 10, 60].map((count) => Math.round(ptoInterval(rtt, maxAckDelay, count, idle)));
}

describe('ptoInterval', () => {
  test('doubles up to 2 s', () => {
    expect(intervals(rttOf(99), 25)).toEqual([125, 250, 500, 1000, 2000, 2000, 2000, 2000]);
  });

  test('up to 1 s when the idle time-out is at most 25 s', () => {
    expect(intervals(rttOf(99), 25, 25_000)).toEqual([125, 250, 500, 1000, 1000, 1000, 1000, 1000]);
    expect(intervals(rttOf(99), 25, 25_001)).toEqual([125, 250, 500, 1000, 2000, 2000, 2000, 2000]);
  });

  test('up to 1.5 RTT on slow paths, whatever the idle time-out', () => {
    expect(intervals(rttOf(1_400), 0, 15_000).slice(0, 3)).toEqual([1401, 2100, 2100]);
  });

  test('never below the PTO itself (RFC 9002 §6.2.1)', () => {
    const rtt = new RttEstimator(1_200); // 1,200 + 4 × 600
    expect(intervals(rtt, 0).slice(0, 3)).toEqual([3_600, 3_600, 3_600]);
  });

  test('the first handshake PTO is a second', () => {
    expect(ptoInterval(new RttEstimator(333), 0, 0)).toBeCloseTo(999);
  });
});
