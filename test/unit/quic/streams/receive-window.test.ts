import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  isStreamCreditDue,
  ReceiveWindow,
  tunedWindow,
} from '../../../../src/quic/streams/receive-window.ts';

describe('credit of a connection', () => {
  test('is returned when an eighth of the window was read', () => {
    const window = new ReceiveWindow(800, 800);
    window.consumed = 99;
    expect(window.isDue).toBe(false);
    window.consumed = 100;
    expect(window.isDue).toBe(true);
    expect(window.grant(0, 50)).toBe(900);
    expect(window.isDue).toBe(false);
  });

  test('grows while it is used up faster than two round trips, up to the maximum', () => {
    const window = new ReceiveWindow(800, 3_000);
    const grants: number[] = [];
    for (let now = 0; now < 5; now++) {
      window.consumed = window.limit;
      window.grant(now, 50);
      grants.push(window.window);
    }
    // The first grant has nothing to compare with.
    expect(grants).toEqual([800, 1_600, 3_000, 3_000, 3_000]);
  });

  test('does not grow for a slow reader', () => {
    const window = new ReceiveWindow(800, 3_000);
    for (let now = 0; now < 1_000; now += 100) {
      window.consumed += 100;
      window.grant(now, 50);
    }
    expect(window.window).toBe(800);
  });

  test('never shrinks what was promised, and is never more than maximum plus what was read', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(500), fc.nat(100), fc.nat(2_000)), { maxLength: 60 }), (steps) => {
        const window = new ReceiveWindow(800, 10_000);
        let now = 0;
        for (const [read, ms, size] of steps) {
          now += ms;
          const before = window.limit;
          if (size > 1_900) window.window = size - 1_000;
          window.consumed = Math.min(window.limit, window.consumed + read);
          if (window.isDue) window.grant(now, 20);
          expect(window.limit).toBeGreaterThanOrEqual(before);
          expect(window.limit).toBeLessThanOrEqual(window.consumed + 10_000);
        }
      }),
    );
  });
});

describe('credit of a stream', () => {
  test.each([
    [0, 800, 800, false],
    [99, 800, 800, false],
    [100, 800, 800, true],
    [800, 800, 800, true],
  ])('read %d of a window of %d, limit %d: due %s', (consumed, window, limit, due) => {
    expect(isStreamCreditDue(consumed, window, limit)).toBe(due);
  });

  test.each([
    ['used up at once', 100, 101, 1_600],
    ['just in time', 100, 112, 1_600],
    ['slowly', 100, 113, 800],
    ['first grant', -Infinity, 0, 800],
  ])('%s', (_, grantedAt, now, expected) => {
    // Two round trips of 50 ms, an eighth of the window at a time: 12.5 ms.
    expect(tunedWindow(800, 3_000, grantedAt, now, 50)).toBe(expected);
    expect(tunedWindow(800, 1_000, 100, 101, 50)).toBe(1_000);
  });
});
