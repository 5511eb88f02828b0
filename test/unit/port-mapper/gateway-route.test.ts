import { expect, test } from '@jest/globals';
import type { InterfaceState } from '../../../src/base/interface-state.ts';
import { gatewayRoute } from '../../../src/port-mapper/gateway-route.ts';

/** `eth0` with these prefixes has the default route; `eth1` has another network. */
function stateOf(prefixes: readonly string[], gateway: string | undefined): InterfaceState {
  const toPrefix = (text: string) => {
    const [ip, length] = text.split('/') as [string, string];
    return { ip, length: Number(length), isDeprecated: false };
  };
  const base = { mac: '', isLoopback: false };
  return {
    interfaces: [
      { ...base, name: 'eth1', prefixes: [toPrefix('192.168.1.9/24')] },
      { ...base, name: 'eth0', prefixes: prefixes.map(toPrefix) },
    ],
    defaultRoute: 'eth0',
    gateway,
    isExpensive: false,
  };
}

test.each([
  ['the only address', ['192.168.1.20/24'], '192.168.1.1', '192.168.1.20'],
  ['the one in its network', ['10.0.0.5/8', 'fe80::1/64', '192.168.1.20/24'], '192.168.1.1', '192.168.1.20'],
  ['a network of every length', ['172.16.0.9/12', '172.31.0.9/31'], '172.31.0.8', '172.16.0.9'],
  ['any, where none is in its network', ['10.0.0.5/32'], '192.168.1.1', '10.0.0.5'],
  ['high bits', ['223.255.255.9/24'], '223.255.255.1', '223.255.255.9'],
] as const)('%s', (_name, prefixes, gateway, localIp) => {
  expect(gatewayRoute(stateOf(prefixes, gateway))).toEqual({ gateway, localIp });
});

test('no router, or no address to talk to it with', () => {
  expect(gatewayRoute(stateOf(['192.168.1.20/24'], undefined))).toBeUndefined();
  expect(gatewayRoute(stateOf(['2001:db8::1/64', '169.254.1.1/16'], '192.168.1.1'))).toBeUndefined();
  expect(gatewayRoute({ ...stateOf([], '192.168.1.1'), interfaces: [] })).toBeUndefined();
});
