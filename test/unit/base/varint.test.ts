import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { DecodeError, Reader, Writer, fromHex, toHex } from '../../../src/base/bytes.ts';
import { MAX_VARINT, varintSize } from '../../../src/base/varint.ts';

test.each([
  // RFC 9000 §A.1
  ['c2197c5eff14e88c', 151_288_809_941_952_652n],
  ['9d7f3e7d', 494_878_333n],
  ['7bbd', 15_293n],
  ['25', 37n],
  ['4025', 37n],
])('decodes %s as RFC 9000 §A.1 shows', (hex, value) => {
  expect(new Reader(fromHex(hex)).varintBig()).toBe(value);
  if (value <= BigInt(Number.MAX_SAFE_INTEGER)) expect(new Reader(fromHex(hex)).varint()).toBe(Number(value));
  else expect(() => new Reader(fromHex(hex)).varint()).toThrow(DecodeError);
});

test.each([
  [0, '00'],
  [0x3f, '3f'],
  [0x40, '4040'],
  [0x3fff, '7fff'],
  [0x4000, '80004000'],
  [0x3fff_ffff, 'bfffffff'],
  [0x4000_0000, 'c000000040000000'],
  [Number.MAX_SAFE_INTEGER, 'c01fffffffffffff'],
])('encodes %d in the shortest form', (value, hex) => {
  const w = new Writer();
  w.varint(value);
  expect(toHex(w.written())).toBe(hex);
  expect(varintSize(value)).toBe(hex.length / 2);
});

test('limits clamp, codes are exact, lengths throw above 2^53 − 1', () => {
  const max = fromHex('ffffffffffffffff');
  expect(new Reader(max).varintClamped()).toBe(Number.MAX_SAFE_INTEGER);
  expect(new Reader(max).varintBig()).toBe(MAX_VARINT);
  expect(() => new Reader(max).varint()).toThrow(DecodeError);
  const firstUnsafe = fromHex('c020000000000000');
  expect(new Reader(firstUnsafe).varintClamped()).toBe(Number.MAX_SAFE_INTEGER);
  expect(() => new Reader(firstUnsafe).varint()).toThrow(DecodeError);
});

test('numbers come back, in every size that holds them', () => {
  const sizes = [1, 2, 4, 8] as const;
  fc.assert(
    fc.property(fc.maxSafeNat(), fc.constantFrom(...sizes), (value, size) => {
      const used = Math.max(size, varintSize(value)) as (typeof sizes)[number];
      const w = new Writer();
      w.varintSized(value, used);
      expect(w.pos).toBe(used);
      for (const read of ['varint', 'varintClamped'] as const)
        expect(new Reader(w.written())[read]()).toBe(value);
      expect(new Reader(w.written()).varintBig()).toBe(BigInt(value));
    }),
  );
});

test('bigints come back up to 2^62 − 1 and are refused above', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: MAX_VARINT }), (value) => {
      const w = new Writer();
      w.varintBig(value);
      const r = new Reader(w.written());
      expect(r.varintBig()).toBe(value);
      expect(r.remaining).toBe(0);
    }),
  );
  expect(() => new Writer().varintBig(MAX_VARINT + 1n)).toThrow(RangeError);
  expect(() => new Writer().varintBig(-1n)).toThrow(RangeError);
});

test('a varint that is cut off throws and moves nothing', () => {
  for (const hex of ['', '40', '8000', '800000', 'c0', 'c0000000000000']) {
    for (const read of ['varint', 'varintClamped'] as const) {
      const r = new Reader(fromHex(hex));
      expect(() => r[read]()).toThrow(DecodeError);
      expect(r.pos).toBe(0);
    }
    expect(() => new Reader(fromHex(hex)).varintBig()).toThrow(DecodeError);
  }
});
