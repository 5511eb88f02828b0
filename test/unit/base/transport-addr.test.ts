import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { ParseError } from '../../../src/base/parse-error.ts';
import { RelayUrl } from '../../../src/base/relay-url.ts';
import { parseAddr } from '../../../src/base/socket-addr.ts';
import {
  compareTransportAddrs,
  formatTransportAddr,
  parseTransportAddr,
  sortedTransportAddrs,
  transportAddrFromJson,
  transportAddrToJson,
} from '../../../src/base/transport-addr.ts';
import { anyTransportAddr } from '../../support/arbitraries.ts';

test('sorts as Rust sorts: relays, IPv4, IPv6, custom by id, short data, long data', () => {
  const sorted = [
    'relay:http://b/',
    'relay:https://a/',
    'ip:1.2.3.4:5',
    'ip:1.2.3.4:80',
    'ip:10.0.0.1:1',
    'ip:[::1]:1',
    'ip:[2001:db8::1]:1',
    'custom:1_',
    'custom:1_ff',
    'custom:1_0000',
    'custom:1_ff00',
    `custom:1_${'ff'.repeat(30)}`,
    `custom:1_${'00'.repeat(40)}`,
    `custom:1_${'01'.repeat(31)}`,
    'custom:2_',
    'custom:ffffffffffffffff_',
  ];
  const shuffled = [...sorted].reverse().concat(sorted[3]!, sorted[8]!);
  expect(sortedTransportAddrs(shuffled.map(parseTransportAddr)).map(formatTransportAddr)).toEqual(sorted);
});

test('text and JSON come back, the order is total', () => {
  fc.assert(
    fc.property(anyTransportAddr, anyTransportAddr, (a, b) => {
      expect(compareTransportAddrs(parseTransportAddr(formatTransportAddr(a)), a)).toBe(0);
      const json: unknown = JSON.parse(JSON.stringify(transportAddrToJson(a)));
      expect(compareTransportAddrs(transportAddrFromJson(json), a)).toBe(0);
      expect(Math.sign(compareTransportAddrs(a, b))).toBe(-Math.sign(compareTransportAddrs(b, a)) + 0);
      expect(compareTransportAddrs(a, b) === 0).toBe(formatTransportAddr(a) === formatTransportAddr(b));
    }),
  );
});

test('JSON is what serde writes', () => {
  expect(transportAddrToJson({ type: 'relay', url: RelayUrl.parse('https://a') })).toEqual({
    Relay: 'https://a/',
  });
  expect(transportAddrToJson({ type: 'ip', addr: parseAddr('[::1]:5') })).toEqual({ Ip: '[::1]:5' });
  expect(transportAddrToJson({ type: 'custom', id: 32n, data: Uint8Array.of(1, 2) })).toEqual({
    Custom: { id: 32, data: [1, 2] },
  });
});

test.each([
  '',
  'relay',
  'relay:',
  'ip:',
  'ip:1.2.3.4',
  'ip:localhost:1',
  'custom:',
  'custom:0',
  'custom:_',
  'custom:1_0',
  'custom:1_AA',
  'custom:A_',
  'custom:10000000000000000_',
  'udp:1.2.3.4:5',
  ':',
])('%j is no transport address', (text) => {
  expect(() => parseTransportAddr(text)).toThrow(ParseError);
});

test.each([
  null,
  7,
  'relay:https://a',
  [],
  {},
  { Relay: 7 },
  { Relay: 'x' },
  { Ip: '1.2.3.4' },
  { Custom: null },
  { Custom: { id: -1, data: [] } },
  { Custom: { id: '18446744073709551616', data: [] } },
  { Custom: { id: 1, data: [256] } },
  { Custom: { id: 1, data: ['1'] } },
  { Custom: { id: 1, data: 'ff' } },
])('%j is no transport address in JSON', (json) => {
  expect(() => transportAddrFromJson(json)).toThrow(ParseError);
});
