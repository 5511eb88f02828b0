import { expect, test } from '@jest/globals';
import { randomBelow, randomBytes, type Rng } from '../../../src/base/rng.ts';
import { systemRng } from '../../../src/crypto/random.ts';

/** Delivers the given 32-bit values, big-endian, one per call. */
function scripted(...values: number[]): Rng {
  return {
    fill(target) {
      new DataView(target.buffer, target.byteOffset).setUint32(0, values.shift()!);
      return target;
    },
  };
}

test('randomBytes fills a fresh array', () => {
  const bytes = randomBytes(systemRng, 32);
  expect(bytes.length).toBe(32);
  expect(randomBytes(systemRng, 32)).not.toEqual(bytes);
  expect(randomBytes(systemRng, 0).length).toBe(0);
});

test('randomBelow draws again above the largest multiple of the bound', () => {
  // 2^32 = 3 · 1431655765 + 1: only the last value is over.
  expect(randomBelow(scripted(0xffff_ffff, 5), 3)).toBe(2);
  expect(randomBelow(scripted(0xffff_fffe), 3)).toBe(0xffff_fffe % 3);
  expect(randomBelow(scripted(0xffff_ffff), 0x1_0000_0000)).toBe(0xffff_ffff);
  expect(randomBelow(scripted(0xffff_ffff), 1)).toBe(0);
});

test('randomBelow stays below and reaches everything', () => {
  const seen = new Set<number>();
  for (let i = 0; i < 1000; i++) seen.add(randomBelow(systemRng, 7));
  expect([...seen].sort()).toEqual([0, 1, 2, 3, 4, 5, 6]);
});

test('bounds outside 1 to 2^32 are refused', () => {
  for (const bound of [0, -1, NaN, 0x1_0000_0001])
    expect(() => randomBelow(systemRng, bound)).toThrow(RangeError);
});
