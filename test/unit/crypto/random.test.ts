import { expect, test } from '@jest/globals';
import * as browser from '../../../src/crypto/random.browser.ts';
import * as node from '../../../src/crypto/random.ts';

test.each([
  ['node', node],
  ['browser', browser],
])('%s fills arrays of any length', (_, { systemRng }) => {
  for (const length of [0, 1, 32, 65_536, 200_000]) {
    const target = new Uint8Array(length);
    expect(systemRng.fill(target)).toBe(target);
    // 64 zero bytes in a row do not happen.
    for (let at = 0; at + 64 <= length; at += 64)
      expect(target.subarray(at, at + 64).some((byte) => byte !== 0)).toBe(true);
  }
});
