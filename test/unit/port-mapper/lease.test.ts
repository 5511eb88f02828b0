import { expect, test } from '@jest/globals';
import { fromHex } from '../../../src/base/bytes.ts';
import { MAX_LEASE_MS, MIN_LEASE_MS, toExternalAddr, toLifetimeMs } from '../../../src/port-mapper/lease.ts';
import { faultOf } from '../../support/port-map-faults.ts';

test('a lease is neither too short to be renewed nor believed for ever', () => {
  expect(toLifetimeMs(3_600)).toBe(3_600_000);
  expect(toLifetimeMs(MIN_LEASE_MS / 1_000)).toBe(MIN_LEASE_MS);
  expect(toLifetimeMs(0xffff_ffff)).toBe(MAX_LEASE_MS);
  for (const lifetimeS of [0, 7]) expect(faultOf(() => toLifetimeMs(lifetimeS))).toBe('unusable');
});

test('an external address is one that others could send to', () => {
  expect(toExternalAddr(fromHex('00000000000000000000ffffcb007107'), 80).text).toBe('203.0.113.7:80');
  expect(toExternalAddr('10.0.0.7', 80).text).toBe('10.0.0.7:80');
  expect(faultOf(() => toExternalAddr('203.0.113.7', 0))).toBe('unusable');
  for (const ip of [
    '0.0.0.0',
    '0.1.2.3',
    '127.0.0.1',
    '169.254.1.1',
    '224.0.0.1',
    '255.255.255.255',
    '2001:db8::1',
    '::',
  ])
    expect([ip, faultOf(() => toExternalAddr(ip, 80))]).toEqual([ip, 'unusable']);
});
