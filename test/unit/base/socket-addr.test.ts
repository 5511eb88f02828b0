import { expect, test } from '@jest/globals';
import { isIPv4, isIPv6 } from 'node:net';
import fc from 'fast-check';
import { DecodeError, fromHex } from '../../../src/base/bytes.ts';
import { isUnspecified, parseAddr, toAddr } from '../../../src/base/socket-addr.ts';

test.each([
  // RFC 5952 §1, §2, §4
  ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
  ['2001:0db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
  ['2001:db8::1:0:0:1', '2001:db8::1:0:0:1'],
  ['2001:db8::0:1:0:0:1', '2001:db8::1:0:0:1'],
  ['2001:DB8:0:0:1::1', '2001:db8::1:0:0:1'],
  ['2001:db8:aaaa:bbbb:cccc:dddd:eeee:0001', '2001:db8:aaaa:bbbb:cccc:dddd:eeee:1'],
  ['2001:db8:0:0:0:0:2:1', '2001:db8::2:1'],
  ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'], // one group is no run
  ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'], // the longer run
  ['0:0:0:0:0:0:0:0', '::'],
  ['0:0:0:0:0:0:0:1', '::1'],
  ['1:0:0:0:0:0:0:0', '1::'],
  ['::', '::'],
  ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
  ['::2:3:4:5:6:7:8', '0:2:3:4:5:6:7:8'],
  ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
  ['fe80::1%eth0', 'fe80::1'],
  ['::ffff:192.0.2.1', '192.0.2.1'],
  ['::ffff:c000:201', '192.0.2.1'],
  ['::192.0.2.1', '::c000:201'], // deprecated "compatible" form stays IPv6
  ['192.0.2.1', '192.0.2.1'],
])('%s is written %s', (text, canonical) => {
  const addr = toAddr(text, 443);
  expect(addr.ip).toBe(canonical);
  expect(addr.family).toBe(canonical.includes(':') ? 6 : 4);
  expect(addr.text).toBe(canonical.includes(':') ? `[${canonical}]:443` : `${canonical}:443`);
  expect(toAddr(canonical, 443)).toBe(addr);
  expect(parseAddr(addr.text)).toBe(addr);
});

test.each([
  '',
  '1.2.3',
  '1.2.3.4.5',
  '1.2.3.256',
  '01.2.3.4',
  '1.2.3.4 ',
  '1.2.3.-4',
  '1.2.3.4e0',
  '0x7f.0.0.1',
  '1.2.3.4%eth0',
  ':',
  ':::',
  '1::2::3',
  '1:2:3:4:5:6:7',
  '1:2:3:4:5:6:7:8:9',
  '1:2:3:4:5:6:7:8::',
  '12345::',
  'g::',
  ':1::',
  '1.2.3.4::',
  '::1.2.3',
  '::1.2.3.4:5',
  '[::1]',
  'localhost',
])('%j is no ip address', (text) => {
  expect(() => toAddr(text, 1)).toThrow(DecodeError);
});

test.each([
  '1.2.3.4',
  '1.2.3.4:',
  '1.2.3.4:65536',
  '1.2.3.4:-1',
  '1.2.3.4:1x',
  '::1:80',
  '[::1]',
  '[::1]:',
  '[1.2.3.4',
  ':80',
  '[]:1',
])('%j is no socket address', (text) => {
  expect(() => parseAddr(text)).toThrow(DecodeError);
});

test('ports are 0 to 65535', () => {
  expect(toAddr('::', 0).port).toBe(0);
  expect(toAddr('::', 65_535).port).toBe(65_535);
  for (const port of [-1, 65_536, 1.5, NaN]) expect(() => toAddr('::', port)).toThrow(DecodeError);
});

test('bytes of other lengths are refused, and bytes are copied', () => {
  expect(() => toAddr(new Uint8Array(5), 1)).toThrow(DecodeError);
  const bytes = Uint8Array.of(10, 0, 0, 1);
  const addr = toAddr(bytes, 1);
  bytes[0] = 11;
  expect(addr.ip).toBe('10.0.0.1');
  expect([...addr.bytes]).toEqual([10, 0, 0, 1]);
});

test('equal addresses are the same object, whatever they were made from', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array({ minLength: 4, maxLength: 4 }),
        fc.uint8Array({ minLength: 16, maxLength: 16 }),
        // zero-heavy, so that runs of zeros and mapped addresses occur
        fc
          .array(fc.constantFrom(0, 0, 0, 0xff, 1), { minLength: 16, maxLength: 16 })
          .map((a) => Uint8Array.from(a)),
      ),
      fc.integer({ min: 0, max: 65_535 }),
      (bytes, port) => {
        const addr = toAddr(bytes, port);
        expect(toAddr(addr.bytes, port)).toBe(addr);
        expect(toAddr(addr.ip, port)).toBe(addr);
        expect(parseAddr(addr.text)).toBe(addr);
        expect(addr.family === 4 ? isIPv4(addr.ip) : isIPv6(addr.ip)).toBe(true);
        expect(toAddr(addr.ip, port ^ 1)).not.toBe(addr);
        expect(JSON.stringify(addr)).toBe(JSON.stringify(addr.text));
      },
    ),
  );
});

test('IPv6 text agrees with the URL standard', () => {
  fc.assert(
    fc.property(fc.ipV6(), (text) => {
      const ours = toAddr(text, 1);
      const theirs = new URL(`http://[${text}]/`).hostname.slice(1, -1);
      // The URL standard keeps mapped addresses as IPv6.
      if (ours.family === 6) expect(ours.ip).toBe(theirs);
      else expect(toAddr(theirs, 1)).toBe(ours);
    }),
  );
});

test('any text either parses or is a DecodeError', () => {
  const text = fc.oneof(fc.string(), fc.stringMatching(/^[0-9a-f:.[\]%]{0,45}$/));
  fc.assert(
    fc.property(text, (input) => {
      for (const parse of [parseAddr, (ip: string) => toAddr(ip, 1)]) {
        try {
          parse(input);
        } catch (error) {
          expect(error).toBeInstanceOf(DecodeError);
        }
      }
    }),
  );
});

test('isUnspecified', () => {
  expect(isUnspecified(toAddr('0.0.0.0', 5))).toBe(true);
  expect(isUnspecified(toAddr('::', 0))).toBe(true);
  expect(isUnspecified(toAddr(fromHex('00000001'), 0))).toBe(false);
});
