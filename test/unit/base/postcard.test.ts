import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { DecodeError, Reader, Writer, fromHex, toHex } from '../../../src/base/bytes.ts';
import {
  readPostcardBig,
  readPostcardBytes,
  readPostcardNumber,
  readPostcardText,
  writePostcardBytes,
  writePostcardInteger,
  writePostcardText,
} from '../../../src/base/postcard.ts';

test.each([
  // the format's own examples (postcard wire format, "Varint encoded integers", u16)
  [0, '00'],
  [127, '7f'],
  [128, '8001'],
  [16_383, 'ff7f'],
  [16_384, '808001'],
  [16_385, '818001'],
  [65_535, 'ffff03'],
])('%d is %s', (value, hex) => {
  const w = new Writer();
  writePostcardInteger(w, value);
  expect(toHex(w.written())).toBe(hex);
  expect(readPostcardNumber(new Reader(fromHex(hex)), 16)).toBe(value);
});

test('what does not fit is refused, longer than needed is read', () => {
  expect(() => readPostcardNumber(new Reader(fromHex('808004')), 16)).toThrow(DecodeError);
  expect(() => readPostcardNumber(new Reader(fromHex('80808000')), 16)).toThrow(DecodeError);
  expect(readPostcardNumber(new Reader(fromHex('818000')), 16)).toBe(1);
  expect(readPostcardBig(new Reader(fromHex('ffffffffffffffffff01')), 64)).toBe(2n ** 64n - 1n);
  expect(() => readPostcardBig(new Reader(fromHex('ffffffffffffffffff02')), 64)).toThrow(DecodeError);
  expect(() => readPostcardBig(new Reader(fromHex('80')), 64)).toThrow(DecodeError);
  expect(() => readPostcardNumber(new Reader(fromHex('ffffffffffffffffff01')), 64)).toThrow(DecodeError);
});

test('integers, bytes and text come back', () => {
  fc.assert(
    fc.property(
      fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      fc.uint8Array({ maxLength: 300 }),
      fc.string({ unit: 'grapheme' }),
      (integer, bytes, text) => {
        const w = new Writer();
        writePostcardInteger(w, integer);
        writePostcardBytes(w, bytes);
        writePostcardText(w, text);
        const r = new Reader(w.written());
        expect(readPostcardBig(r, 64)).toBe(integer);
        expect(readPostcardBytes(r)).toEqual(bytes);
        expect(readPostcardText(r)).toBe(text);
        expect(r.remaining).toBe(0);
      },
    ),
  );
});

test('a length beyond the input allocates nothing and throws', () => {
  expect(() => readPostcardBytes(new Reader(fromHex('ffffffffffff7f00')))).toThrow(DecodeError);
});

test('text must be UTF-8; a byte order mark is kept', () => {
  expect(() => readPostcardText(new Reader(fromHex('02c328')))).toThrow(DecodeError);
  expect(readPostcardText(new Reader(fromHex('03efbbbf')))).toBe('\ufeff');
});
