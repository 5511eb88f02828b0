import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { EndpointAddr } from '../../../src/base/endpoint-addr.ts';
import { EndpointId } from '../../../src/base/endpoint-id.ts';
import { ParseError } from '../../../src/base/parse-error.ts';
import { RelayUrl } from '../../../src/base/relay-url.ts';
import { parseAddr } from '../../../src/base/socket-addr.ts';
import { parseTransportAddr } from '../../../src/base/transport-addr.ts';
import { anyEndpointAddr } from '../../support/arbitraries.ts';

const ID = EndpointId.parse('197f6b23e16c8532c6abc838facd5ea789be0c76b2920334039bfa8b3d368d61');

test('is a sorted set with views by kind', () => {
  const bare = new EndpointAddr(ID);
  expect(bare.isEmpty).toBe(true);
  const relay = RelayUrl.parse('https://relay.example.com');
  const addr = bare
    .withIp(parseAddr('[::1]:5'))
    .withIp(parseAddr('127.0.0.1:1024'))
    .withRelay(relay)
    .withIp(parseAddr('127.0.0.1:1024'))
    .withAddrs([parseTransportAddr('custom:20_ff')]);
  expect(bare.isEmpty).toBe(true);
  expect(addr.isEmpty).toBe(false);
  expect(addr.ips).toEqual([parseAddr('127.0.0.1:1024'), parseAddr('[::1]:5')]);
  expect(addr.relays.map(String)).toEqual(['https://relay.example.com/']);
  expect(`${addr}`).toBe(`${ID} relay:https://relay.example.com/ ip:127.0.0.1:1024 ip:[::1]:5 custom:20_ff`);
});

test('JSON is what serde writes, and comes back', () => {
  const addr = new EndpointAddr(ID).withIp(parseAddr('1.2.3.4:5')).withRelay(RelayUrl.parse('https://a'));
  expect(JSON.stringify(addr)).toBe(`{"id":"${ID}","addrs":[{"Relay":"https://a/"},{"Ip":"1.2.3.4:5"}]}`);
  fc.assert(
    fc.property(anyEndpointAddr, (any) => {
      expect(EndpointAddr.fromJSON(JSON.parse(JSON.stringify(any))).equals(any)).toBe(true);
    }),
  );
  for (const bad of [null, 1, {}, { id: 'x', addrs: [] }, { id: `${ID}` }, { id: `${ID}`, addrs: [1] }])
    expect(() => EndpointAddr.fromJSON(bad)).toThrow(ParseError);
});

test('equality is that of id and set', () => {
  fc.assert(
    fc.property(anyEndpointAddr, anyEndpointAddr, (a, b) => {
      expect(a.equals(new EndpointAddr(a.id, [...a.addrs].reverse()))).toBe(true);
      expect(a.equals(b)).toBe(a.toTicket() === b.toTicket());
      expect(a.equals(new EndpointAddr(b.id, a.addrs))).toBe(a.id.equals(b.id));
    }),
  );
});

test('from takes what one may dial', () => {
  const addr = new EndpointAddr(ID, [parseTransportAddr('ip:1.2.3.4:5')]);
  expect(EndpointAddr.from(addr)).toBe(addr);
  expect(EndpointAddr.from(ID).equals(new EndpointAddr(ID))).toBe(true);
  expect(EndpointAddr.from(addr.toTicket()).equals(addr)).toBe(true);
  expect(EndpointAddr.from(new EndpointAddr(ID).toTicket()).equals(new EndpointAddr(ID))).toBe(true);
  expect(EndpointAddr.from(ID.toString()).equals(new EndpointAddr(ID))).toBe(true);
  expect(EndpointAddr.from('df7wwi7bnsctfrvlza4pvtk6u6e34ddwwkjagnadtp5iwpjwrvqq').id.equals(ID)).toBe(true);
  for (const bad of ['', 'endpoint', 'https://a/', `node${addr.toTicket().slice(8)}`])
    expect(() => EndpointAddr.from(bad)).toThrow(ParseError);
});
