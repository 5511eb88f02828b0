import { describe, expect, test } from '@jest/globals';
import { isOnLink, type InterfaceState } from '../../../src/base/interface-state.ts';
import { toAddr } from '../../../src/base/socket-addr.ts';

/** One interface with these addresses, `ip/bits`. */
function host(...prefixes: string[]): InterfaceState {
  return {
    interfaces: [
      {
        name: 'eth0',
        mac: '',
        isLoopback: false,
        prefixes: prefixes.map((text) => {
          const [ip, length] = text.split('/');
          return { ip: ip!, length: Number(length), isDeprecated: false };
        }),
      },
    ],
    defaultRoute: 'eth0',
    isExpensive: false,
  };
}

const home = host('192.168.1.5/23', '2001:db8:1:2::5/64');

describe('who is on the link', () => {
  test.each([
    ['the host itself', '192.168.1.5', true],
    ['a neighbour', '192.168.0.77', true],
    ['somebody in the next network', '192.168.2.1', false],
    ['a stranger', '203.0.113.7', false],
    ['a neighbour by IPv6', '2001:db8:1:2:ffff::1', true],
    ['another network of the same site', '2001:db8:1:3::1', false],
    ['a link-local address', 'fe80::1', true],
    ['one without a DHCP server', '169.254.7.7', true],
    ['this host, by loopback', '127.0.0.1', true],
    ['this host, by loopback, IPv6', '::1', true],
  ])('%s: %s is %s', (_who, ip, expected) => {
    expect(isOnLink(home, toAddr(ip, 5_353))).toBe(expected);
  });

  test('a prefix of no bits, and one of all', () => {
    expect(isOnLink(host('10.0.0.1/0'), toAddr('203.0.113.7', 1))).toBe(true);
    expect(isOnLink(host('10.0.0.1/32'), toAddr('10.0.0.1', 1))).toBe(true);
    expect(isOnLink(host('10.0.0.1/32'), toAddr('10.0.0.2', 1))).toBe(false);
    expect(isOnLink({ ...host(), interfaces: [] }, toAddr('10.0.0.2', 1))).toBe(false);
  });
});
