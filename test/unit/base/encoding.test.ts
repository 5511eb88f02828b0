import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { DecodeError, fromHex, utf8 } from '../../../src/base/bytes.ts';
import {
  decodeBase32,
  decodeBase32Hex,
  decodeZ32,
  encodeBase32,
  encodeBase32Hex,
  encodeZ32,
} from '../../../src/base/encoding.ts';

// RFC 4648 §10, lower case, without padding
test.each([
  ['', '', ''],
  ['f', 'my', 'co'],
  ['fo', 'mzxq', 'cpng'],
  ['foo', 'mzxw6', 'cpnmu'],
  ['foob', 'mzxw6yq', 'cpnmuog'],
  ['fooba', 'mzxw6ytb', 'cpnmuoj1'],
  ['foobar', 'mzxw6ytboi', 'cpnmuoj1e8'],
])('%j is %j in base32 and %j in base32hex', (text, base32, base32hex) => {
  expect(encodeBase32(utf8(text))).toBe(base32);
  expect(encodeBase32Hex(utf8(text))).toBe(base32hex);
  expect(decodeBase32(base32.toUpperCase())).toEqual(utf8(text));
  expect(decodeBase32Hex(base32hex.toUpperCase())).toEqual(utf8(text));
});

test('an endpoint id in z-base-32, as the pkarr tools print it', () => {
  const id = fromHex('197f6b23e16c8532c6abc838facd5ea789be0c76b2920334039bfa8b3d368d61');
  expect(encodeZ32(id)).toBe('df9sse9bp1nuftim3yhxiuk6w6r5hddsskjygpydux7esxjstioo');
  expect(encodeBase32(id)).toBe('df7wwi7bnsctfrvlza4pvtk6u6e34ddwwkjagnadtp5iwpjwrvqq');
});

describe.each([
  ['base32', encodeBase32, decodeBase32, 'abcdefghijklmnopqrstuvwxyz234567'],
  ['base32hex', encodeBase32Hex, decodeBase32Hex, '0123456789abcdefghijklmnopqrstuv'],
  ['z-base-32', encodeZ32, decodeZ32, 'ybndrfg8ejkmcpqxot1uwisza345h769'],
])('%s', (name, encode, decode, alphabet) => {
  test('comes back', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        const text = encode(bytes);
        expect(text).toBe(naive(bytes, alphabet));
        expect(decode(text)).toEqual(bytes);
        if (name !== 'z-base-32') expect(decode(text.toUpperCase())).toEqual(bytes);
      }),
    );
  });

  test('each byte string has one spelling; all else is a DecodeError', () => {
    const text = fc.oneof(
      fc.string(),
      fc.array(fc.constantFrom(...alphabet), { maxLength: 20 }).map((a) => a.join('')),
    );
    fc.assert(
      fc.property(text, (input) => {
        let bytes: Uint8Array;
        try {
          bytes = decode(input);
        } catch (error) {
          expect(error).toBeInstanceOf(DecodeError);
          return;
        }
        expect(encode(bytes)).toBe(input.toLowerCase());
      }),
      { numRuns: 500 },
    );
  });

  test('refuses padding, space, impossible lengths, trailing bits, look-alikes', () => {
    const zero = alphabet[0]!;
    const one = alphabet[1]!;
    for (const bad of [
      `${zero}${zero}======`,
      ` ${zero}${zero}`,
      `${zero}${zero}\n`,
      zero,
      zero.repeat(3),
      zero.repeat(6),
      `${zero}${one}`,
      'ıı',
      'ſſ',
      'ßß',
    ])
      expect(() => decode(bad)).toThrow(DecodeError);
  });
});

test('z-base-32 is lower case only', () => {
  expect(() => decodeZ32('YY')).toThrow(DecodeError);
});

/** By the definition: five bits at a time, most significant first, zero bits at the end. */
function naive(bytes: Uint8Array, alphabet: string): string {
  const bits = [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  return (bits.match(/.{1,5}/g) ?? [])
    .map((five) => alphabet[Number.parseInt(five.padEnd(5, '0'), 2)]!)
    .join('');
}
