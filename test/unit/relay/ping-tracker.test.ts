import { expect, test } from '@jest/globals';
import { PingTracker } from '../../../src/relay/ping-tracker.ts';
import { SimRng } from '../../support/sim-rng.ts';

test('F11: a pong within its time, measured; a wrong one is no answer; the limit follows the round trip', () => {
  const tracker = new PingTracker(new SimRng(1));
  expect(tracker.deadline).toBeUndefined();
  const first = tracker.newPing(1_000);
  expect(first.length).toBe(8);
  expect(tracker.deadline).toBe(6_000);

  expect(tracker.handlePong(new Uint8Array(8), 1_010)).toBe(false);
  expect(tracker.handlePong(first.subarray(1), 1_010)).toBe(false);
  expect(tracker.deadline).toBe(6_000);
  expect(tracker.rttMs).toBeUndefined();

  expect(tracker.handlePong(first, 1_300)).toBe(true);
  expect(tracker.rttMs).toBe(300);
  expect(tracker.deadline).toBeUndefined();
  // A second pong for the same ping says nothing.
  expect(tracker.handlePong(first, 1_400)).toBe(false);

  tracker.newPing(2_000);
  expect(tracker.deadline).toBe(2_900);
});

test('F11: only the newest ping counts', () => {
  const tracker = new PingTracker(new SimRng(2));
  const old = tracker.newPing(0);
  const newest = tracker.newPing(100);
  expect(tracker.handlePong(old, 150)).toBe(false);
  expect(tracker.deadline).toBe(5_100);
  expect(tracker.handlePong(newest, 150)).toBe(true);
  expect(tracker.rttMs).toBe(50);
});

test.each([
  [1, 500],
  [166, 500],
  [200, 600],
  [1_666, 4_998],
  [60_000, 5_000],
])('F11: after a round trip of %d ms a pong may take %d ms', (rtt, limit) => {
  const tracker = new PingTracker(new SimRng(3));
  tracker.handlePong(tracker.newPing(0), rtt);
  expect(tracker.timeoutMs).toBe(limit);
});
