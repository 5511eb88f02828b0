import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  DecodeError,
  EMPTY,
  Reader,
  Writer,
  concatBytes,
  equalBytes,
  fromHex,
  fromUtf8,
  toHex,
  utf8,
} from '../../../src/base/bytes.ts';

describe('Reader', () => {
  test('reads big-endian integers', () => {
    const r = new Reader(fromHex('01fffefdfcfbfaf9f8f7f6'));
    expect([r.u8(), r.u16(), r.u24(), r.u32()]).toEqual([1, 0xfffe, 0xfdfcfb, 0xfaf9f8f7]);
    expect(r.remaining).toBe(1);
  });

  test('stays inside its range', () => {
    const r = new Reader(Uint8Array.of(1, 2, 3, 4, 5), 1, 3);
    expect(r.remaining).toBe(2);
    expect([...r.take(2)]).toEqual([2, 3]);
    expect(() => r.u8()).toThrow(DecodeError);
    expect([...r.rest()]).toEqual([]);
  });

  test('take gives views, nested gives a bounded reader', () => {
    const bytes = Uint8Array.of(1, 2, 3, 4);
    const r = new Reader(bytes);
    const inner = r.nested(2);
    expect(r.pos).toBe(2);
    expect(inner.u8()).toBe(1);
    expect(inner.remaining).toBe(1);
    expect(() => inner.take(2)).toThrow(DecodeError);
    const view = r.take(1);
    bytes[2] = 9;
    expect([...view]).toEqual([9]);
  });

  test('refuses absurd counts and does not move', () => {
    const r = new Reader(Uint8Array.of(1, 2));
    for (const count of [3, -1, NaN, Infinity, 2 ** 53]) expect(() => r.take(count)).toThrow(DecodeError);
    for (const read of ['u24', 'u32'] as const) expect(() => r[read]()).toThrow(DecodeError);
    expect(r.pos).toBe(0);
  });
});

describe('Writer', () => {
  test('grows its own buffer', () => {
    const w = new Writer();
    const parts: Uint8Array[] = [];
    for (let i = 0; i < 100; i++) {
      const part = new Uint8Array(i).fill(i);
      parts.push(part);
      w.put(part);
    }
    expect(w.copy()).toEqual(concatBytes(...parts));
  });

  test('stays inside a given buffer', () => {
    const target = new Uint8Array(8).fill(0xee);
    const w = new Writer(target, 2, 6);
    expect(w.room).toBe(4);
    w.u24(0x010203);
    expect(() => w.u16(1)).toThrow(RangeError);
    expect(w.pos).toBe(5);
    w.u8(4);
    expect(() => w.u8(5)).toThrow(RangeError);
    expect(toHex(target)).toBe('eeee01020304eeee');
    expect(toHex(w.written(3))).toBe('020304');
  });

  test('zeros overwrites', () => {
    const w = new Writer(new Uint8Array(4).fill(1), 1);
    w.zeros(2);
    expect(toHex(w.bytes)).toBe('01000001');
  });

  test('copy is a copy, written is a view', () => {
    const w = new Writer();
    w.u8(1);
    const [view, copy] = [w.written(), w.copy()];
    w.bytes[0] = 2;
    expect([view[0], copy[0]]).toEqual([2, 1]);
  });
});

test('what a writer wrote a reader reads', () => {
  const value = fc.oneof(
    fc.record({ kind: fc.constant('u8' as const), value: fc.nat(0xff) }),
    fc.record({ kind: fc.constant('u16' as const), value: fc.nat(0xffff) }),
    fc.record({ kind: fc.constant('u24' as const), value: fc.nat(0xff_ffff) }),
    fc.record({ kind: fc.constant('u32' as const), value: fc.integer({ min: 0, max: 0xffff_ffff }) }),
    fc.record({ kind: fc.constant('varint' as const), value: fc.maxSafeNat() }),
  );
  fc.assert(
    fc.property(fc.array(value), fc.uint8Array(), (values, tail) => {
      const w = new Writer();
      for (const v of values) w[v.kind](v.value);
      w.put(tail);
      const r = new Reader(w.copy());
      for (const v of values) expect(r[v.kind]()).toBe(v.value);
      expect(r.rest()).toEqual(tail);
    }),
  );
});

test('hex comes back in lower case; foreign text is refused', () => {
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      expect(toHex(bytes)).toBe(Buffer.from(bytes).toString('hex'));
      expect(fromHex(toHex(bytes))).toEqual(bytes);
      expect(fromHex(toHex(bytes).toUpperCase())).toEqual(bytes);
    }),
  );
  for (const bad of ['a', '0x', 'zz', ' 00', '00\n', '-1', '1.', '٠٠'])
    expect(() => fromHex(bad)).toThrow(DecodeError);
});

test('equalBytes is equality', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 4 }), fc.uint8Array({ maxLength: 4 }), (a, b) => {
      expect(equalBytes(a, b)).toBe(toHex(a) === toHex(b));
      expect(equalBytes(a, a.slice())).toBe(true);
    }),
  );
  expect(equalBytes(EMPTY, new Uint8Array(0))).toBe(true);
});

test('concatBytes joins into a fresh array', () => {
  const part = Uint8Array.of(1);
  const joined = concatBytes(part);
  part[0] = 2;
  expect([...joined]).toEqual([1]);
  expect(concatBytes()).toEqual(EMPTY);
});

test('text goes through UTF-8; what is not UTF-8 becomes U+FFFD', () => {
  expect(toHex(utf8('é€'))).toBe('c3a9e282ac');
  expect(fromUtf8(fromHex('c3a9e282ac'))).toBe('é€');
  expect(fromUtf8(fromHex('ff61'))).toBe('\ufffda');
});
