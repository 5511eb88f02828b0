import { expect, test } from '@jest/globals';
import { CHANGES_PER_WRITE_BACK, LEISURE_MS, WriteBack } from '../../../src/transport/write-back.ts';

/** Changes come at a rate, one a time; returns when it is written back, ms. */
function writeBacks(
  writeBack: WriteBack,
  from: { readonly changes: number; readonly at: number },
  perSecond: number,
  count: number,
): number[] {
  const times: number[] = [];
  for (let i = 1; i <= count; i++) {
    const at = from.at + (i / perSecond) * 1_000;
    if (!writeBack.isTime(from.changes + i, at)) continue;
    writeBack.wrote(from.changes + i, at);
    times.push(Math.round(at));
  }
  return times;
}

test('few changes: written back every hundred', () => {
  expect(writeBacks(new WriteBack(0), { changes: 0, at: 0 }, 500, 350)).toEqual([200, 400, 600]);
});

test('many changes: never; the hundred after them that come slowly are enough', () => {
  const writeBack = new WriteBack(0);
  const perSecond = 2 * (CHANGES_PER_WRITE_BACK / LEISURE_MS) * 1_000;
  expect(writeBacks(writeBack, { changes: 0, at: 0 }, perSecond, 120_000)).toEqual([]);
  const [first] = writeBacks(writeBack, { changes: 120_000, at: 60_000 }, 500, 1_000);
  expect(first).toBeLessThanOrEqual(60_400);
});

test('a thousand at once, as when old ones are removed, delay nothing that follows', () => {
  const writeBack = new WriteBack(0);
  expect(writeBack.isTime(1_000, 1)).toBe(false);
  expect(writeBack.isNeeded(1_000)).toBe(true);
  expect(writeBacks(writeBack, { changes: 1_000, at: 1 }, 500, 100)).toEqual([201]);
  expect(writeBack.isNeeded(1_100)).toBe(false);
});
