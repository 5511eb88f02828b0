/** H06: which changes of a host's network are major. */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { localIps, scopeOf, type InterfaceState } from '../../../src/base/interface-state.ts';
import { compareNetworks, isNetworkUsable, networkKey } from '../../../src/machines/network-change.ts';

type Interfaces = Readonly<Record<string, readonly string[]>>;

function network(interfaces: Interfaces, defaultRoute: string | undefined = 'eth0'): InterfaceState {
  return {
    interfaces: Object.entries(interfaces).map(([name, ips]) => ({
      name,
      mac: '',
      isLoopback: name === 'lo',
      prefixes: ips.map((ip) => ({ ip, length: ip.includes(':') ? 64 : 24, isDeprecated: false })),
    })),
    defaultRoute,
    isExpensive: false,
  };
}

const HOME = { lo: ['127.0.0.1', '::1'], eth0: ['192.168.1.5', '2001:db8::5', 'fe80::5'] };

describe('H06', () => {
  test.each<[string, InterfaceState, 'none' | 'minor' | 'major']>([
    ['equal', network(HOME), 'none'],
    [
      'another order',
      network({ eth0: ['fe80::5', '2001:db8::5', '192.168.1.5'], lo: ['::1', '127.0.0.1'] }),
      'none',
    ],
    [
      'another link-local address',
      network({ ...HOME, eth0: ['192.168.1.5', '2001:db8::5', 'fe80::6'] }),
      'minor',
    ],
    ['another loopback address', network({ ...HOME, lo: ['127.0.0.1', '127.0.0.2', '::1'] }), 'minor'],
    ['an interface of Apple’s own', network({ ...HOME, awdl0: ['2001:db8:1::9'] }), 'minor'],
    ['an address more', network({ ...HOME, eth0: [...HOME.eth0, '2001:db8::6'] }), 'major'],
    ['an interface more', network({ ...HOME, wlan0: ['192.168.2.5'] }), 'major'],
    ['the default route moved', network(HOME, 'wlan0'), 'major'],
    ['no default route', { ...network(HOME), defaultRoute: undefined }, 'major'],
    ['IPv6 lost', network({ ...HOME, eth0: ['192.168.1.5', 'fe80::5'] }), 'major'],
    ['it costs now', { ...network(HOME), isExpensive: true }, 'major'],
  ])('%s', (_name, after, expected) => {
    expect(compareNetworks(network(HOME), after)).toBe(expected);
    expect(compareNetworks(after, network(HOME))).toBe(expected);
  });

  test('unsuspend alone: the state is the same, and what the monitor tells of counts as minor', () => {
    // `h-socket.test.ts` shows the whole way; no comparison can see a sleep.
    expect(compareNetworks(network(HOME), network(HOME))).not.toBe('major');
  });
});

test('usable: a way out and an address for it', () => {
  expect(isNetworkUsable(network(HOME))).toBe(true);
  expect(isNetworkUsable({ ...network(HOME), defaultRoute: undefined })).toBe(false);
  expect(isNetworkUsable(network({ lo: ['127.0.0.1'], eth0: ['fe80::5'] }))).toBe(false);
  // Browsers.
  expect(isNetworkUsable(network({}))).toBe(true);
});

test('unique local addresses count where there is nothing better', () => {
  expect(localIps(network({ eth0: ['fd00::5', 'fe80::5'] })).regular).toEqual(['fd00::5']);
  expect(localIps(network({ eth0: ['fd00::5', '10.0.0.1'] })).regular).toEqual(['10.0.0.1']);
});

test.each([
  ['127.3.2.1', 'loopback'],
  ['::1', 'loopback'],
  ['169.254.3.4', 'linkLocal'],
  ['fe80::1', 'linkLocal'],
  ['febf::1', 'linkLocal'],
  ['fec0::1', 'other'],
  ['fc00::1', 'uniqueLocal'],
  ['fdff::1', 'uniqueLocal'],
  ['224.0.0.1', 'multicast'],
  ['ff02::1', 'multicast'],
  ['0.0.0.0', 'unspecified'],
  ['::', 'unspecified'],
  ['10.0.0.1', 'other'],
  ['2001:db8::1', 'other'],
])('%s is %s', (ip, scope) => {
  expect(scopeOf(ip)).toBe(scope);
});

test('for all pairs: none exactly when equal, and the same from both sides', () => {
  const ip = fc.constantFrom(
    '127.0.0.1',
    '10.0.0.1',
    '10.0.0.2',
    'fe80::1',
    'fe80::2',
    'fd00::1',
    '2001:db8::1',
  );
  const state = fc
    .tuple(
      fc.dictionary(fc.constantFrom('lo', 'eth0', 'wlan0', 'awdl0'), fc.uniqueArray(ip)),
      fc.constantFrom('eth0', 'wlan0', undefined),
    )
    .map(([interfaces, route]) => ({ ...network(interfaces), defaultRoute: route }));
  fc.assert(
    fc.property(state, state, (a, b) => {
      expect(compareNetworks(a, b)).toBe(compareNetworks(b, a));
      expect(compareNetworks(a, b) === 'none').toBe(networkKey(a) === networkKey(b));
      expect(compareNetworks(a, a)).toBe('none');
    }),
  );
});
