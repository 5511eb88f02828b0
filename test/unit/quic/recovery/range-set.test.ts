import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { RangeSet } from '../../../../src/quic/recovery/range-set.ts';
import { NaiveRangeSet } from '../../../support/naive-range-set.ts';

function ranges(set: RangeSet): [number, number][] {
  return Array.from({ length: set.size }, (_, i): [number, number] => [set.low(i), set.high(i)]);
}

describe('RangeSet', () => {
  test('is empty at first', () => {
    const set = new RangeSet();
    expect([set.size, set.min, set.max, set.contains(0), set.removeLowest()]).toEqual([0, -1, -1, false, -1]);
  });

  test('joins neighbours and keeps gaps', () => {
    const set = new RangeSet();
    for (const value of [5, 6, 9, 2, 7, 8, 3]) expect(set.insert(value)).toBe(true);
    expect(ranges(set)).toEqual([
      [2, 3],
      [5, 9],
    ]);
    expect(set.insert(4)).toBe(true);
    expect(ranges(set)).toEqual([[2, 9]]);
    expect(set.insert(9)).toBe(false);
    expect(set.insert(2)).toBe(false);
  });

  test('a range swallows what it covers and touches', () => {
    const set = new RangeSet();
    for (const value of [0, 3, 5, 7, 11]) set.insert(value);
    set.insertRange(4, 10);
    expect(ranges(set)).toEqual([
      [0, 0],
      [3, 11],
    ]);
  });

  test('numbers beyond 2^31 are exact', () => {
    const set = new RangeSet();
    set.insert(2 ** 40);
    set.insert(2 ** 40 + 1);
    set.insert(2 ** 52);
    expect(ranges(set)).toEqual([
      [2 ** 40, 2 ** 40 + 1],
      [2 ** 52, 2 ** 52],
    ]);
  });

  const value = fc.nat(60);
  const operation = fc.oneof(
    { weight: 6, arbitrary: fc.record({ do: fc.constant('insert' as const), value }) },
    {
      weight: 2,
      arbitrary: fc.record({ do: fc.constant('insertRange' as const), value, length: fc.nat(12) }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('removeBelow' as const), value }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('removeLowest' as const) }) },
  );

  test('agrees with its naive twin', () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 80 }), (operations) => {
        const set = new RangeSet();
        const twin = new NaiveRangeSet();
        for (const op of operations) {
          if (op.do === 'insert') expect(set.insert(op.value)).toBe(twin.insert(op.value));
          else if (op.do === 'removeLowest') expect(set.removeLowest()).toBe(twin.removeLowest());
          else if (op.do === 'removeBelow') {
            set.removeBelow(op.value);
            twin.removeBelow(op.value);
          } else {
            set.insertRange(op.value, op.value + op.length);
            twin.insertRange(op.value, op.value + op.length);
          }
          const expected = twin.ranges();
          expect(ranges(set)).toEqual(expected);
          expect([set.min, set.max]).toEqual([expected[0]?.[0] ?? -1, expected.at(-1)?.[1] ?? -1]);
          for (let v = 0; v <= 75; v++) {
            expect(set.contains(v)).toBe(twin.members.has(v));
            expect(set.indexAtOrBelow(v)).toBe(expected.filter(([low]) => low <= v).length - 1);
          }
        }
      }),
      { numRuns: 40 },
    );
  });
});
