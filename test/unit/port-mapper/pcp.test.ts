import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { fromHex, toHex } from '../../../src/base/bytes.ts';
import { toAddr } from '../../../src/base/socket-addr.ts';
import {
  checkPcpAnnounce,
  decodePcpMap,
  encodePcpAnnounce,
  encodePcpMap,
  type PcpMapRequest,
} from '../../../src/port-mapper/pcp.ts';
import { faultOf } from '../../support/port-map-faults.ts';

const REQUEST: PcpMapRequest = {
  clientIp: '192.168.1.20',
  nonce: fromHex('81700918f1d0fb2d9d4c0abc'),
  localPort: 1_234,
  suggested: undefined,
  lifetimeS: 3_600,
};
const HEADER = (opcode: number, result: number, lifetime = '00000e10'): string =>
  `02${(0x80 | opcode).toString(16)}00${result.toString(16).padStart(2, '0')}${lifetime}00000001${'00'.repeat(12)}`;
const MAP = '81700918f1d0fb2d9d4c0abc1100000004d204d200000000000000000000ffff87b4aff6';

describe('requests, RFC 6887', () => {
  test('§14.1: ANNOUNCE is the header alone', () => {
    expect(toHex(encodePcpAnnounce('192.168.1.20'))).toBe('020000000000000000000000000000000000ffffc0a80114');
  });

  test('§11.1: MAP without and with a suggestion', () => {
    const head = '020100000000 0e10 00000000000000000000ffffc0a80114 81700918f1d0fb2d9d4c0abc 11000000 04d2';
    const compact = head.replaceAll(' ', '');
    expect(toHex(encodePcpMap(REQUEST))).toBe(`${compact}000000000000000000000000ffff00000000`);
    const suggested = toAddr('203.0.113.7', 4_321);
    expect(toHex(encodePcpMap({ ...REQUEST, suggested }))).toBe(
      `${compact}10e100000000000000000000ffffcb007107`,
    );
  });
});

describe('answers', () => {
  test('of a real server (a vector of net-tools `portmapper/src/pcp/protocol/response.rs`)', () => {
    const bytes = fromHex(`0281000000001c2000029bed${'00'.repeat(12)}${MAP}`);
    expect(decodePcpMap(bytes, REQUEST)).toEqual({
      externalIp: fromHex('00000000000000000000ffff87b4aff6'),
      externalPort: 1_234,
      lifetimeS: 7_200,
    });
  });

  test('options behind it are passed over', () => {
    const bytes = fromHex(`${HEADER(1, 0)}${MAP}02000000`);
    expect(decodePcpMap(bytes, REQUEST).externalPort).toBe(1_234);
  });

  test.each([
    ['nothing', '', 'wrongLength'],
    ['a header that ends early', HEADER(1, 0).slice(0, -8), 'wrongLength'],
    ['an odd length', `${HEADER(1, 0)}${MAP}00`, 'wrongLength'],
    ['MAP without its data', HEADER(1, 0), 'wrongLength'],
    ['more than 1,100 bytes', `${HEADER(1, 0)}${MAP}${'00'.repeat(1_044)}`, 'tooLarge'],
    ['NAT-PMP, unsupported version', '0080000100000000', 'wrongVersion'],
    ['unsupported version', HEADER(1, 1), 'wrongVersion'],
    ['a request', `02010000${'00'.repeat(20)}${MAP}`, 'unasked'],
    ['another opcode', `${HEADER(2, 0)}${MAP}`, 'unasked'],
    ['another nonce', `${HEADER(1, 0)}00${MAP.slice(2)}`, 'unasked'],
    ['an error with another nonce', `${HEADER(1, 2)}00${MAP.slice(2)}`, 'unasked'],
    ['TCP', `${HEADER(1, 0)}${MAP.replace('11000000', '06000000')}`, 'unasked'],
    ['another port', `${HEADER(1, 0)}${MAP.replace('04d204d2', '04d304d2')}`, 'unasked'],
    ['not authorized', `${HEADER(1, 2)}${MAP}`, 'refused'],
    ['an error without data', HEADER(1, 8), 'refused'],
  ] as const)('%s: %s', (_name, hex, fault) => {
    expect(faultOf(() => decodePcpMap(fromHex(hex), REQUEST))).toBe(fault);
  });

  test('to ANNOUNCE', () => {
    expect(() => checkPcpAnnounce(fromHex(HEADER(0, 0)))).not.toThrow();
    expect(faultOf(() => checkPcpAnnounce(fromHex(HEADER(0, 5))))).toBe('refused');
    expect(faultOf(() => checkPcpAnnounce(fromHex(`${HEADER(1, 0)}${MAP}`)))).toBe('unasked');
  });

  test('any bytes are read or refused with a reason', () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 1_200 }),
      fc
        .tuple(fc.nat(59), fc.nat(255))
        .map(([at, value]) => fromHex(`${HEADER(1, 0)}${MAP}`).fill(value, at, at + 1)),
    );
    fc.assert(
      fc.property(bytes, (each) => {
        for (const read of [() => decodePcpMap(each, REQUEST), () => checkPcpAnnounce(each)])
          expect(faultOf(read)).not.toBe('another error');
      }),
    );
  });
});
