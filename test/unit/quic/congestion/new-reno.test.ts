import { describe, expect, test } from '@jest/globals';
import { NewReno } from '../../../../src/quic/congestion/new-reno.ts';

describe('NewReno', () => {
  test('halves on loss (RFC 9002 §7.3.2)', () => {
    const reno = new NewReno(1_200);
    reno.onAcked(50, 0, 8_000, false);
    reno.onCongestionEvent(100, 60, false, false);
    expect([reno.window, reno.ssthresh]).toEqual([10_000, 10_000]);
  });

  test('then adds a datagram per window (RFC 9002 §7.3.3)', () => {
    const reno = new NewReno(1_200);
    reno.onCongestionEvent(100, 60, false, false); // 6,000
    for (let i = 0; i < 4; i++) reno.onAcked(200, 150, 1_200, false);
    expect(reno.window).toBe(6_000);
    reno.onAcked(200, 150, 1_200, false);
    expect(reno.window).toBe(7_200);
    for (let i = 0; i < 6; i++) reno.onAcked(250, 200, 1_200, false);
    expect(reno.window).toBe(8_400);
  });

  test('what slow start acknowledges beyond the threshold counts for congestion avoidance', () => {
    const reno = new NewReno(1_200);
    reno.onCongestionEvent(100, 60, true, false); // threshold 6,000, window 2,400
    reno.onAcked(200, 150, 4_000, false); // 6,400
    reno.onAcked(200, 150, 5_999, false);
    expect(reno.window).toBe(6_400);
    reno.onAcked(200, 150, 1, false);
    expect(reno.window).toBe(7_600);
  });

  test('the first packet counts although it was sent when the controller was made', () => {
    const reno = new NewReno(1_200);
    reno.onAcked(30, 0, 1_200, false);
    expect(reno.window).toBe(13_200);
  });
});
