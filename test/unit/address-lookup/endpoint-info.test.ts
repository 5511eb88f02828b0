import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  MAX_ADDRS_PER_ANSWER,
  MAX_USER_DATA_BYTES,
  fromTxtStrings,
  toTxtStrings,
  txtNameOf,
} from '../../../src/address-lookup/endpoint-info.ts';
import { utf8 } from '../../../src/base/bytes.ts';
import { EndpointAddr } from '../../../src/base/endpoint-addr.ts';
import { RelayUrl } from '../../../src/base/relay-url.ts';
import { parseAddr, toAddr } from '../../../src/base/socket-addr.ts';
import type { TransportAddr } from '../../../src/base/transport-addr.ts';
import { SecretKey } from '../../../src/crypto/keys.ts';

const ID = SecretKey.fromBytes(new Uint8Array(32).fill(0x2a)).publicKey;
const ip = (text: string): TransportAddr => ({ type: 'ip', addr: parseAddr(text) });
const relay = (url: string): TransportAddr => ({ type: 'relay', url: RelayUrl.parse(url) });
const custom: TransportAddr = { type: 'custom', id: 0xabcn, data: Uint8Array.of(1, 0xff) };

const anyAddr: fc.Arbitrary<TransportAddr> = fc.oneof(
  fc
    .tuple(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.integer({ min: 1, max: 65_535 }))
    .map(([bytes, port]) => ({ type: 'ip' as const, addr: toAddr(bytes, port) })),
  fc
    .tuple(fc.uint8Array({ minLength: 16, maxLength: 16 }), fc.integer({ min: 1, max: 65_535 }))
    .map(([bytes, port]) => ({ type: 'ip' as const, addr: toAddr(bytes, port) })),
  fc.stringMatching(/^[a-z]{1,20}$/).map((host) => relay(`https://${host}.example./`)),
  fc
    .tuple(fc.bigInt(0n, (1n << 64n) - 1n), fc.uint8Array({ maxLength: 60 }))
    .map(([id, data]) => ({ type: 'custom' as const, id, data })),
);

describe('endpoint info as TXT records', () => {
  test('the name: label, id, origin', () => {
    const z32 = ID.toZ32();
    expect(z32).toHaveLength(52);
    expect(txtNameOf(ID)).toBe(`_iroh.${z32}`);
    expect(txtNameOf(ID, 'dns.iroh.link.')).toBe(`_iroh.${z32}.dns.iroh.link.`);
    expect(txtNameOf(ID, '.example')).toBe(`_iroh.${z32}.example`);
    expect(txtNameOf(ID, '.')).toBe(`_iroh.${z32}`);
  });

  test('relays first, then addresses, then the text, as upstream writes them', () => {
    const addr = new EndpointAddr(ID, [
      custom,
      ip('[2001:db8::1]:11205'),
      ip('192.0.2.10:11204'),
      relay('https://relay.example.com'),
    ]);
    const strings = toTxtStrings({ addr, userData: 'hello' });
    expect(strings).toEqual([
      'relay=https://relay.example.com/',
      'addr=192.0.2.10:11204',
      'addr=[2001:db8::1]:11205',
      'addr=abc_01ff',
      'user-data=hello',
    ]);
    expect(fromTxtStrings(ID, strings)).toEqual({ addr, userData: 'hello' });
  });

  test('a round trip', () => {
    const userData = fc.option(
      fc.string({ maxLength: 80, unit: 'binary' }).filter((text) => utf8(text).length <= MAX_USER_DATA_BYTES),
      { nil: undefined },
    );
    fc.assert(
      fc.property(fc.array(anyAddr, { maxLength: 20 }), userData, (addrs, userData) => {
        const addr = new EndpointAddr(ID, addrs);
        const read = fromTxtStrings(ID, toTxtStrings({ addr, userData }));
        expect(read.addr.equals(addr)).toBe(true);
        expect(read.userData).toBe(userData);
      }),
    );
  });

  test('what is too long for a string of a TXT record is left out, and nothing else', () => {
    const addr = new EndpointAddr(ID, [relay(`https://a.example/${'x'.repeat(250)}`), ip('192.0.2.1:1')]);
    expect(toTxtStrings({ addr, userData: 'é'.repeat(123) })).toEqual(['addr=192.0.2.1:1']);
    const longest = `https://a.example/${'x'.repeat(231)}`;
    expect(longest).toHaveLength(249);
    expect(toTxtStrings({ addr: new EndpointAddr(ID, [relay(longest)]) })).toEqual([`relay=${longest}`]);
  });

  test('valid records count, whatever is among them', () => {
    const info = fromTxtStrings(ID, [
      '',
      '=',
      'relay',
      'relay=',
      'relay=not a url',
      'relay=https://a.example/?token=x=y',
      'relays=https://b.example/',
      'RELAY=https://c.example/',
      'addr=192.0.2.1',
      'addr=192.0.2.1:0',
      'addr=192.0.2.1:99999',
      'addr=192.0.2.1:1 192.0.2.2:2',
      'addr=host.example:1',
      'addr=xyz_01',
      'addr=ABC_01',
      'addr=_',
      'addr=192.0.2.3:3',
      `user-data=${'x'.repeat(246)}`,
      'user-data=a=b',
      'user-data=second',
      'future-attribute=1',
    ]);
    expect(
      info.addr.equals(new EndpointAddr(ID, [relay('https://a.example/?token=x=y'), ip('192.0.2.3:3')])),
    ).toBe(true);
    expect(info.userData).toBe('a=b');
  });

  test('no answer has more addresses than an endpoint can have', () => {
    const strings = Array.from({ length: 2_000 }, (_, i) => `addr=192.0.2.1:${i + 1}`);
    expect(fromTxtStrings(ID, strings).addr.addrs).toHaveLength(MAX_ADDRS_PER_ANSWER);
  });

  test('nothing throws', () => {
    const attribute = fc.constantFrom('relay=', 'addr=', 'user-data=', '', 'x=');
    const strings = fc.array(fc.tuple(attribute, fc.string({ unit: 'binary' })).map(([a, b]) => a + b));
    fc.assert(fc.property(strings, (each) => fromTxtStrings(ID, each).addr.id === ID));
  });
});
