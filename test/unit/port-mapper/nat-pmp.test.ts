import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { fromHex, toHex } from '../../../src/base/bytes.ts';
import {
  decodeNatPmpAddress,
  decodeNatPmpMap,
  encodeNatPmpAddress,
  encodeNatPmpMap,
} from '../../../src/port-mapper/nat-pmp.ts';
import { faultOf } from '../../support/port-map-faults.ts';

const REQUEST = { localPort: 1_234, suggestedPort: 0, lifetimeS: 7_200 };
const GRANT = '00810000000000ff04d2162e00001c20';

test('requests, RFC 6886 §3.2 and §3.3', () => {
  expect(toHex(encodeNatPmpAddress())).toBe('0000');
  expect(toHex(encodeNatPmpMap(REQUEST))).toBe('0001000004d2000000001c20');
  expect(toHex(encodeNatPmpMap({ ...REQUEST, suggestedPort: 5_678 }))).toBe('0001000004d2162e00001c20');
});

describe('answers', () => {
  test('the address, the mapping', () => {
    expect(decodeNatPmpAddress(fromHex('00800000000000ffcb007107'))).toEqual(fromHex('cb007107'));
    expect(decodeNatPmpMap(fromHex(GRANT), REQUEST)).toEqual({ externalPort: 5_678, lifetimeS: 7_200 });
  });

  test.each([
    ['nothing', '', 'wrongLength'],
    ['a header that ends early', '0081000000', 'wrongLength'],
    ['a mapping that ends early', GRANT.slice(0, -2), 'wrongLength'],
    ['a mapping with more', `${GRANT}00`, 'wrongLength'],
    ['PCP', '0281000100000000', 'wrongVersion'],
    ['unsupported version', '0081000100000000', 'wrongVersion'],
    ['a request', '0001000004d2000000001c20', 'unasked'],
    ['another port', GRANT.replace('04d2', '04d3'), 'unasked'],
    ['an address', '00800000000000ffcb007107', 'unasked'],
    ['not authorized', '0081000200000000', 'refused'],
    ['out of resources', '0081000400000000000000000000ffff', 'refused'],
  ] as const)('%s: %s', (_name, hex, fault) => {
    expect(faultOf(() => decodeNatPmpMap(fromHex(hex), REQUEST))).toBe(fault);
  });

  test('any bytes are read or refused with a reason', () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      fc.tuple(fc.nat(15), fc.nat(255)).map(([at, value]) => fromHex(GRANT).fill(value, at, at + 1)),
    );
    fc.assert(
      fc.property(bytes, (each) => {
        for (const read of [() => decodeNatPmpMap(each, REQUEST), () => decodeNatPmpAddress(each)])
          expect(faultOf(read)).not.toBe('another error');
      }),
    );
  });
});
