/** Messages of the DHT: bencode by examples of BEP 3, strictness, round trips, and what hostile datagrams become. */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { decodeBencode, encodeBencode, type Bencoded } from '../../../src/address-lookup/bencode.ts';
import {
  encodeReply,
  readQuery,
  readReply,
  toItem,
  toSignedPacket,
  usableContacts,
} from '../../../src/address-lookup/dht-messages.ts';
import { SignedPacket } from '../../../src/address-lookup/signed-packet.ts';
import { concatBytes, fromLatin1, toLatin1, utf8 } from '../../../src/base/bytes.ts';
import { DecodeError } from '../../../src/base/bytes.ts';
import { DhtError, SecretKey } from '../../../src/index.ts';

const bytes = fromLatin1;
const noTarget = (): Uint8Array => new Uint8Array(20);

describe('bencode', () => {
  test.each<[string, Bencoded]>([
    ['4:spam', utf8('spam')],
    ['0:', new Uint8Array(0)],
    ['i3e', 3],
    ['i-3e', -3],
    ['i0e', 0],
    ['i9007199254740991e', 9_007_199_254_740_991],
    ['l4:spam4:eggse', [utf8('spam'), utf8('eggs')]],
    ['le', []],
    [
      'd3:cow3:moo4:spam4:eggse',
      new Map([
        ['cow', utf8('moo')],
        ['spam', utf8('eggs')],
      ]),
    ],
    ['d4:spaml1:a1:bee', new Map([['spam', [utf8('a'), utf8('b')]]])],
  ])('%s (BEP 3)', (text, value) => {
    expect(decodeBencode(bytes(text))).toEqual(value);
    expect(toLatin1(encodeBencode(value))).toBe(text);
  });

  test('keys are written in order, and read in any', () => {
    const value = decodeBencode(bytes('d1:bi1e1:ai2ee'));
    expect(toLatin1(encodeBencode(value))).toBe('d1:ai2e1:bi1ee');
  });

  test.each([
    '',
    'i',
    'ie',
    'i-e',
    'i03e',
    'i-0e',
    'i1.5e',
    'i+1e',
    'i 1e',
    'i9007199254740992e',
    'i99999999999999999999e',
    '-3:',
    'l-3:e',
    'd-3:e',
    '03:abc',
    '4:abc',
    '5',
    'l',
    'd',
    'd1:a',
    'd1:ae',
    'd1:ai1e1:ai2ee',
    'di1ei2ee',
    'i1ei2e',
    `${'l'.repeat(10)}${'e'.repeat(10)}`,
    'l'.repeat(100_000),
  ])('no value, %#', (text) => {
    expect(() => decodeBencode(bytes(text))).toThrow(DecodeError);
  });

  const value: fc.Arbitrary<Bencoded> = fc.letrec<{ value: Bencoded }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 3 },
      fc.maxSafeInteger(),
      fc.uint8Array({ maxLength: 20 }),
      fc.array(tie('value'), { maxLength: 4 }),
      fc
        .uniqueArray(fc.tuple(fc.uint8Array({ maxLength: 4 }), tie('value')), {
          selector: ([key]) => toLatin1(key),
        })
        .map((entries) => new Map(entries.map(([key, each]) => [toLatin1(key), each]))),
    ),
  })).value;

  test('a value comes back', () => {
    fc.assert(
      fc.property(value, (each) => {
        const encoded = encodeBencode(each);
        expect(encodeBencode(decodeBencode(encoded))).toEqual(encoded);
      }),
    );
  });

  test('whatever the bytes: a value, or a DecodeError', () => {
    const alphabet = fc.constantFrom(...'ilde:-0123456789a');
    fc.assert(
      fc.property(fc.array(alphabet, { maxLength: 40 }), (letters) => {
        try {
          decodeBencode(bytes(letters.join('')));
        } catch (error) {
          expect(error).toBeInstanceOf(DecodeError);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('messages', () => {
  const KEY = SecretKey.fromBytes(new Uint8Array(32).fill(0x2a));
  const packet = SignedPacket.sign(KEY, {
    strings: ['relay=https://r/'],
    timestampMicros: 1_700_000_000_000_000n,
  });

  test('a query is marked as read-only, and otherwise the same (BEP 43)', () => {
    const query = readQuery(
      bytes('d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q3:get1:t2:aa1:y1:qe'),
      noTarget,
    );
    expect(query).toMatchObject({
      transaction: 0x6161,
      kind: 'get',
      target: bytes('mnopqrstuvwxyz123456'),
    });
    expect(toLatin1(query.bytes)).toBe(
      'd1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q3:get2:roi1e1:t2:aa1:y1:qe',
    );
  });

  test('a put says where it belongs: nodes of iroh do not find that out', () => {
    const key = 'k'.repeat(32);
    const put = `d1:ad2:id20:abcdefghij01234567891:k32:${key}5:token1:t1:v1:xe1:q3:put1:t2:aa1:y1:qe`;
    const query = readQuery(bytes(put), (each) => each.subarray(0, 20));
    expect(query).toMatchObject({ kind: 'put', target: bytes('k'.repeat(20)) });
    expect(toLatin1(query.bytes)).toContain(`6:target20:${'k'.repeat(20)}5:token`);
  });

  test('of a response only what is understood is left (BEP 5)', () => {
    const response = bytes(
      'd2:ip6:abcdef1:rd2:id20:0123456789abcdefghij1:pi7e5:token8:aoeusnthe1:t2:aa1:v4:LT011:y1:re',
    );
    const reply = readReply(response)!;
    expect(toLatin1(encodeReply(reply))).toBe(
      'd1:rd2:id20:0123456789abcdefghij5:token8:aoeusnthe1:t2:aa1:y1:re',
    );
  });

  test('a transaction of two bytes may come back as four: nodes of iroh do that', () => {
    const response = (t: string): Uint8Array => bytes(`d1:rd2:id20:0123456789abcdefghije1:t${t}1:y1:re`);
    const reply = readReply(response('4:\0\0aa'))!;
    expect(reply.transaction).toBe(0x6161);
    expect(encodeReply(reply)).toEqual(response('2:aa'));
    for (const t of ['4:\0\u0001aa', '3:\0aa', '1:a', '0:'])
      expect(() => readReply(response(t))).toThrow(DhtError);
  });

  test('an error comes back, without what is too long', () => {
    const reply = readReply(bytes(`d1:eli201e200:${'x'.repeat(200)}e1:t2:aa1:y1:ee`))!;
    expect(reply).toMatchObject({ kind: 'error', code: 201 });
    expect(toLatin1(encodeReply(reply))).toBe(`d1:eli201e128:${'x'.repeat(128)}e1:t2:aa1:y1:ee`);
  });

  test('nodes at addresses that no node of the internet has are left out, those of our networks unless it is theirs', () => {
    const contact = (ip: string, port = 6_881): Uint8Array =>
      Uint8Array.of(...new Uint8Array(20), ...ip.split('.').map(Number), port >> 8, port & 0xff);
    const list = (...ips: string[]): Uint8Array => concatBytes(...ips.map((ip) => contact(ip)));
    const nowhere = ['0.0.0.0', '0.1.2.3', '224.0.0.251', '239.255.255.255', '240.0.0.1', '255.255.255.255'];
    const near = [
      ...['10.0.0.1', '100.64.0.1', '100.127.255.255', '127.0.0.1', '169.254.1.1', '172.16.0.1'],
      ...['172.31.255.255', '192.0.0.8', '192.168.1.1', '198.19.0.1'],
    ];
    const far = ['1.1.1.1', '100.128.0.1', '172.32.0.1', '192.167.0.1', '198.20.0.1', '223.255.255.255'];
    const all = list(...nowhere, ...far, ...near);
    expect(usableContacts(all, false)).toEqual(list(...far));
    expect(usableContacts(all, true)).toEqual(list(...far, ...near));
    expect(usableContacts(concatBytes(contact('1.1.1.1', 0), list('1.1.1.1')), true)).toEqual(
      list('1.1.1.1'),
    );
    const fine = list(...far);
    expect(usableContacts(fine, false)).toBe(fine);
  });

  test('queries of others are none of our business', () => {
    expect(readReply(bytes('d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe'))).toBeUndefined();
  });

  test('a packet is a value and back, byte for byte (BEP 44)', () => {
    const item = toItem(packet);
    expect(item.seq).toBe(1_700_000_000_000_000);
    expect(toSignedPacket(KEY.publicKey, item).toBytes()).toEqual(packet.toBytes());
    expect(() => toSignedPacket(KEY.publicKey, { ...item, seq: item.seq + 1 })).toThrow('has not signed');
    expect(() => toSignedPacket(KEY.publicKey, { ...item, key: new Uint8Array(32) })).toThrow(DhtError);
  });

  test('whatever the response holds: a reply that reads the same again, or a DhtError', () => {
    const field = fc.oneof(fc.integer(), fc.uint8Array({ maxLength: 70 }), fc.constant([]));
    const names = ['id', 'nodes', 'token', 'k', 'sig', 'seq', 'v'];
    const response = fc.dictionary(fc.constantFrom(...names), field as fc.Arbitrary<Bencoded>);
    fc.assert(
      fc.property(response, fc.boolean(), (fields, hasId) => {
        const values = new Map(Object.entries(fields));
        if (hasId) values.set('id', new Uint8Array(20));
        const message = new Map<string, Bencoded>([
          ['r', values],
          ['t', utf8('aa')],
          ['y', utf8('r')],
        ]);
        try {
          const reply = readReply(encodeBencode(message))!;
          expect(readReply(encodeReply(reply))).toEqual(reply);
        } catch (error) {
          expect(error).toMatchObject({ code: 'DhtError.Malformed' });
        }
      }),
      { numRuns: 1_000 },
    );
  });
});
