/** What is read from the kernel's tables, and what this host says. */
import { expect, test } from '@jest/globals';
import { existsSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import {
  defaultRouteV4,
  defaultRouteV6,
  deprecatedIps,
  readHostNetwork,
} from '../../../src/transport/host-network.ts';

const rows = (text: string): string[][] => text.split('\n').map((line) => line.trim().split(/\s+/));

test('IPv4: the default route with the lowest metric that is up and does not reject', () => {
  const table = `Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT
    wlan0 00000000 0101A8C0 0003 0 0 600 00000000 0 0 0
    eth0 00000000 0102A8C0 0003 0 0 100 00000000 0 0 0
    eth0 0002A8C0 00000000 0001 0 0 0 00FFFFFF 0 0 0
    tun0 00000000 00000000 0001 0 0 50 00000080 0 0 0
    down0 00000000 00000000 0002 0 0 1 00000000 0 0 0
    bad0 00000000 00000000 0201 0 0 1 00000000 0 0 0`;
  expect(defaultRouteV4(rows(table))).toEqual({ name: 'eth0', metric: 100, gateway: '192.168.2.1' });
  expect(defaultRouteV4([])).toBeUndefined();
});

test('a default route without a router, and one with a router that is none', () => {
  const routeTo = (gateway: string): string => `tun0 00000000 ${gateway} 0003 0 0 0 00000000 0 0 0`;
  for (const gateway of ['00000000', 'nonsense', '01020304FF'])
    expect(defaultRouteV4(rows(routeTo(gateway)))).toEqual({ name: 'tun0', metric: 0, gateway: undefined });
});

test('IPv6: the same; the kernel’s own rejecting route is none', () => {
  const zeros = '0'.repeat(32);
  const table = `${zeros} 00 ${zeros} 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003 wlan0
    ${zeros} 00 ${zeros} 00 fe800000000000000000000000000001 00000064 00000001 00000000 00000003 eth0
    ${zeros} 00 ${zeros} 00 ${zeros} ffffffff 00000001 00000000 00200200 lo`;
  expect(defaultRouteV6(rows(table))?.name).toBe('eth0');
});

test('deprecated IPv6 addresses', () => {
  const table = `20010db8000000000000000000000001 02 40 00 20 eth0
    20010db8000000000000000000000002 02 40 00 80 eth0
    nonsense`;
  expect(deprecatedIps(rows(table))).toEqual(new Set(['2001:db8::1']));
});

test('this host', () => {
  const state = readHostNetwork();
  expect(state.interfaces.map(({ name }) => name)).toEqual(Object.keys(networkInterfaces()).sort());
  const addresses = Object.values(networkInterfaces()).flatMap((each) => each!.map(({ address }) => address));
  expect(state.interfaces.flatMap(({ prefixes }) => prefixes.map(({ ip }) => ip)).sort()).toEqual(
    addresses.sort(),
  );
});

test('a look that finds nothing new gives the object of the look before', () => {
  const [first, second, third] = [readHostNetwork(), readHostNetwork(), readHostNetwork()];
  expect(second).toEqual(first);
  // Now and then a look is a whole one; never two in turn, where the kernel has all tables.
  if (existsSync('/proc/net/fib_trie') && existsSync('/sys/class/net'))
    expect(first === second || second === third).toBe(true);
});
