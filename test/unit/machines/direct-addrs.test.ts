/** H09: the direct address set, source by source. */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { InterfaceState } from '../../../src/base/interface-state.ts';
import { parseAddr, toAddr } from '../../../src/base/socket-addr.ts';
import {
  composeDirectAddrs,
  equalDirectAddrs,
  type DirectAddrFacts,
} from '../../../src/machines/direct-addrs.ts';

const LOOPBACK = { name: 'lo', mac: '', isLoopback: true, prefixes: ['127.0.0.1', '::1'].map(toPrefix) };

function toPrefix(ip: string): { ip: string; length: number; isDeprecated: boolean } {
  return { ip, length: ip.includes(':') ? 64 : 24, isDeprecated: ip.endsWith('::dead') };
}

function network(...ips: string[]): InterfaceState {
  const eth0 = { name: 'eth0', mac: '', isLoopback: false, prefixes: ips.map(toPrefix) };
  return { interfaces: [LOOPBACK, eth0], defaultRoute: 'eth0', isExpensive: false };
}

const V4 = { addr: toAddr('0.0.0.0', 4_000), requestedPort: 0 };
const V6 = { addr: toAddr('::', 6_000), requestedPort: 0 };
const NOTHING: DirectAddrFacts = {
  portMapped: undefined,
  report: undefined,
  sockets: [V4, V6],
  network: network(),
  configured: [],
};
const REPORT = {
  globalV4: parseAddr('203.0.113.5:999'),
  globalV6: parseAddr('[2001:db8::9]:998'),
  mappingVariesByDestV4: false as boolean | undefined,
};

function compose(facts: Partial<DirectAddrFacts>): string[] {
  return composeDirectAddrs({ ...NOTHING, ...facts }).map(({ addr, type }) => `${type} ${addr.text}`);
}

describe('H09', () => {
  test('all sources, in their order', () => {
    expect(
      compose({
        portMapped: parseAddr('198.51.100.1:1'),
        report: REPORT,
        sockets: [V4, V6, { addr: parseAddr('10.0.0.8:44'), requestedPort: 44 }],
        network: network('10.0.0.7', '2001:db8::7'),
        configured: [parseAddr('192.0.2.1:80')],
      }),
    ).toEqual([
      'portmapped 198.51.100.1:1',
      'qad 203.0.113.5:999',
      'qad [2001:db8::9]:998',
      'local 10.0.0.7:4000',
      'local [2001:db8::7]:6000',
      'local 10.0.0.8:44',
      'config 192.0.2.1:80',
    ]);
  });

  test.each([
    ['the mapping varies and the port was chosen', true, 4_000, true],
    ['the mapping varies, any port', true, 0, false],
    ['the mapping does not vary', false, 4_000, false],
    ['not known', undefined, 4_000, false],
  ])('our own port beside the seen address: %s', (_name, mappingVariesByDestV4, requestedPort, isThere) => {
    const addrs = compose({
      report: { ...REPORT, mappingVariesByDestV4 },
      sockets: [{ ...V4, requestedPort }],
    });
    expect(addrs.includes('qad4LocalPort 203.0.113.5:4000')).toBe(isThere);
  });

  test('loopback only where there is nothing else', () => {
    expect(compose({})).toEqual(['local 127.0.0.1:4000', 'local [::1]:6000']);
    expect(compose({ network: network('10.0.0.7') })).toEqual(['local 10.0.0.7:4000']);
    expect(compose({ report: { ...REPORT, globalV6: undefined } })).toEqual(['qad 203.0.113.5:999']);
    expect(compose({ network: network('fe80::1') })).toEqual(['local 127.0.0.1:4000', 'local [::1]:6000']);
  });

  test('deprecated IPv6 addresses are left out, whoever names them', () => {
    const facts = {
      network: network('10.0.0.7', '2001:db8::dead'),
      configured: [parseAddr('[2001:db8::dead]:80')],
    };
    expect(compose(facts)).toEqual(['local 10.0.0.7:4000']);
  });

  test('the first source decides the type', () => {
    const same = parseAddr('203.0.113.5:999');
    expect(
      compose({ portMapped: same, report: { ...REPORT, globalV6: undefined }, configured: [same] }),
    ).toEqual(['portmapped 203.0.113.5:999']);
  });
});

test('inv-S4: each address once, none deprecated, the same for the same facts', () => {
  const ip = fc.constantFrom(
    '10.0.0.7',
    '10.0.0.8',
    '127.0.0.1',
    'fe80::1',
    'fd00::1',
    '2001:db8::7',
    '2001:db8::dead',
  );
  const addr = fc.tuple(ip, fc.integer({ min: 1, max: 3 })).map(([each, port]) => toAddr(each, port));
  const maybe = fc.option(addr, { nil: undefined });
  fc.assert(
    fc.property(
      fc.uniqueArray(ip),
      fc.array(addr),
      fc.array(addr),
      maybe,
      maybe,
      maybe,
      fc.constantFrom(true, false, undefined),
      (ips, bound, configured, portMapped, globalV4, globalV6, mappingVariesByDestV4) => {
        const sockets = [V4, V6, ...bound.map((each) => ({ addr: each, requestedPort: each.port }))];
        const report = { globalV4, globalV6, mappingVariesByDestV4 };
        const facts = { portMapped, report, sockets, network: network(...ips), configured };
        const found = composeDirectAddrs(facts);
        expect(new Set(found.map((each) => each.addr)).size).toBe(found.length);
        if (ips.includes('2001:db8::dead'))
          expect(found.filter((each) => each.addr.ip.endsWith('::dead'))).toEqual([]);
        expect(equalDirectAddrs(found, composeDirectAddrs(facts))).toBe(true);
      },
    ),
  );
});
