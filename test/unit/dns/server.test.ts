/** Names that a lookup server answers for, and what it makes of bytes that mean no good. */
import { describe, expect, test } from '@jest/globals';
import dnsPacket from 'dns-packet';
import fc from 'fast-check';
import { PutLimits } from '../../../src/actors/put-limits.ts';
import { utf8 } from '../../../src/base/bytes.ts';
import { DnsError } from '../../../src/base/errors.ts';
import {
  CLASS_IN,
  decodeDnsMessage,
  EMPTY_MESSAGE,
  encodeDnsMessage,
  encodeTxt,
  FLAG_TRUNCATED,
  TYPE_ANY,
  TYPE_MX,
  TYPE_OPT,
  TYPE_SOA,
  TYPE_TXT,
} from '../../../src/dns/message.ts';
import { recordsAt } from '../../../src/dns/server/packet-records.ts';
import { answerFrom, encodeAnswer, readQuery } from '../../../src/dns/server/query.ts';
import { Zones } from '../../../src/dns/server/zones.ts';
import { SecretKey } from '../../../src/index.ts';

const ID = SecretKey.fromBytes(new Uint8Array(32).fill(0x2a)).publicKey;
const Z32 = ID.toZ32();

describe('names', () => {
  const zones = new Zones({ origins: ['.', 'dns.example.', 'sub.dns.example'] });
  const kindOf = (name: string): string | undefined => {
    const place = zones.locate(name);
    return place && `${place.kind} ${place.zone.origin}`;
  };

  test.each([
    [`_iroh.${Z32}.dns.example`, 'key dns.example'],
    [`_iroh.${Z32}.sub.dns.example`, 'key sub.dns.example'],
    [`_iroh.${Z32}.SUB.DNS.EXAMPLE.`, 'key sub.dns.example'],
    [`${Z32.toUpperCase()}`, 'key .'],
    [`a.b.${Z32}`, 'key .'],
    ['dns.example', 'apex dns.example'],
    ['www.dns.example', 'nothing dns.example'],
    [`${Z32.slice(1)}.dns.example`, 'nothing dns.example'],
    [`${Z32}\\.dns.example`, undefined],
    [`${Z32}.notdns.example`, undefined],
    [`${Z32}.other.example`, undefined],
    ['example', undefined],
    ['.', undefined],
  ])('%s', (name, expected) => expect(kindOf(name)).toBe(expected));

  test('inside of packets the key is the end', () => {
    expect(zones.locate(`_Iroh.${Z32}.dns.example`)).toMatchObject({
      key: ID.toBytes(),
      owner: ['_iroh', Z32],
    });
  });

  test.each([
    ['no authority', { soa: 'a b c' }],
    ['a number that is none', { soa: 'a b 1 2 3 4 -5' }],
    ['a number above 32 bits', { soa: 'a b 1 2 3 4 4294967296' }],
    ['the wrong family', { a: '::1' }],
    ['no address', { aaaa: 'here' }],
    ['a name too long', { ns: ['x'.repeat(64)] }],
    ['nothing at all', { origins: [] }],
  ])('refused: %s', (_what, options) => expect(() => new Zones(options)).toThrow());
});

describe('bytes', () => {
  const query = (
    name: string,
    type = TYPE_TXT,
    edns?: { readonly size: number; readonly version: number },
  ): Uint8Array =>
    encodeDnsMessage({
      ...EMPTY_MESSAGE,
      id: 0x1234,
      flags: 0x0100,
      questions: [{ name, type, class: CLASS_IN }],
      additionals: edns
        ? [{ name: '.', type: TYPE_OPT, class: edns.size, ttl: edns.version << 16, data: new Uint8Array(0) }]
        : [],
    });

  test('a question is answered or complained about, and never throws', () => {
    const good = query(`_iroh.${Z32}.dns.example`, TYPE_TXT, { size: 1_232, version: 0 });
    const mangled = fc
      .array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 6 })
      .map((changes) => {
        const bytes = good.slice();
        for (const [at, value] of changes) bytes[at] = value;
        return bytes;
      });
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 600 }), mangled), (bytes) => {
        const reading = readQuery(bytes);
        if (reading === undefined) return;
        if ('reply' in reading) {
          expect(decodeDnsMessage(reading.reply).flags & 0x8000).toBe(0x8000);
          expect(reading.reply.length).toBeLessThanOrEqual(512);
        } else expect(reading.query.id).toBe((bytes[0]! << 8) | bytes[1]!);
      }),
      { numRuns: 2_000 },
    );
  });

  test('a version of EDNS that nobody knows', () => {
    const reading = readQuery(query(`_iroh.${Z32}`, TYPE_TXT, { size: 1_232, version: 1 }))!;
    const reply = dnsPacket.decode(Buffer.from((reading as { reply: Uint8Array }).reply));
    expect(reply.additionals).toMatchObject([{ type: 'OPT', extendedRcode: 1 }]);
  });

  test('no answer in a datagram is longer than the client takes, nor than 1,232 bytes', () => {
    const records = Array.from({ length: 60 }, (_, i) => ({
      name: `_iroh.${Z32}`,
      type: TYPE_TXT,
      class: CLASS_IN,
      ttl: 30,
      data: encodeTxt([utf8(`addr=192.0.2.${i}:1`)]),
    }));
    const { zone } = new Zones({ origins: ['dns.example'] }).locate('dns.example')!;
    for (const size of [undefined, 0, 100, 1_232, 65_535]) {
      const edns = size === undefined ? undefined : { size, version: 0 };
      const reading = readQuery(query(`_iroh.${Z32}`, TYPE_ANY, edns)) as {
        query: Parameters<typeof encodeAnswer>[0];
      };
      const answer = answerFrom(reading.query.question, zone, { exists: true, records });
      const bytes = encodeAnswer(reading.query, answer, 'datagram');
      expect(bytes.length).toBeLessThanOrEqual(512);
      expect(decodeDnsMessage(bytes).flags & FLAG_TRUNCATED).toBe(FLAG_TRUNCATED);
      expect(decodeDnsMessage(encodeAnswer(reading.query, answer, 'stream')).answers).toHaveLength(60);
    }
  });
});

describe('packets of others', () => {
  const owner = ['_iroh', Z32];
  const at = (message: Uint8Array): ReturnType<typeof recordsAt> => recordsAt(message, owner, 'here');

  test('records that are not the signer’s to make, or not what they say, are left out', () => {
    const name = `_iroh.${Z32}`;
    const record = (type: number, data: Uint8Array, cls = CLASS_IN) => ({
      name,
      type,
      class: cls,
      ttl: 1,
      data,
    });
    const message = encodeDnsMessage({
      ...EMPTY_MESSAGE,
      answers: [
        record(TYPE_SOA, new Uint8Array(22)),
        record(TYPE_OPT, new Uint8Array(0)),
        record(TYPE_ANY, new Uint8Array(0)),
        record(TYPE_TXT, encodeTxt([utf8('chaos')]), 3),
        // A pointer forward, one into the header, and a name that ends too late and too early.
        record(TYPE_MX, Uint8Array.of(0, 1, 0xc3, 0xff)),
        record(TYPE_MX, Uint8Array.of(0, 1, 0xc0, 2)),
        record(TYPE_MX, Uint8Array.of(0, 1, 1)),
        record(TYPE_MX, Uint8Array.of(0, 1, 0, 9)),
        record(TYPE_MX, Uint8Array.of(0, 1, 0xc0, 12)),
        record(TYPE_TXT, encodeTxt([utf8('fine')])),
      ],
    });
    const { records } = at(message);
    expect(records.map(({ type }) => type)).toEqual([TYPE_MX, TYPE_TXT]);
    // What the pointer led to is written out.
    expect(records[0]!.data.length).toBe(2 + 7 + 53);
  });

  test('whatever is signed can be asked for', () => {
    const good = encodeDnsMessage({
      ...EMPTY_MESSAGE,
      answers: [1, 2, 3].map((ttl) => ({
        name: `_iroh.${Z32}`,
        type: TYPE_MX,
        class: CLASS_IN,
        ttl,
        data: Uint8Array.of(0, 1, 0xc0, 12),
      })),
    });
    const { zone } = new Zones({ origins: ['dns.example'] }).locate('dns.example')!;
    const question = { name: `_iroh.${Z32}.dns.example`, type: TYPE_ANY, class: CLASS_IN };
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 6 }), (changes) => {
        const bytes = good.slice();
        for (const [index, value] of changes) bytes[index] = value;
        try {
          const found = recordsAt(bytes, owner, question.name);
          const answer = answerFrom(question, zone, found);
          const reply = encodeAnswer({ id: 1, flags: 0, question, ednsBytes: undefined }, answer, 'stream');
          expect(decodeDnsMessage(reply).answers).toHaveLength(answer.answers.length);
        } catch (error) {
          // Such a packet is refused when it is put.
          expect(error).toBeInstanceOf(DnsError);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('how often an address may put', () => {
  const count = (limits: PutLimits, ip: string, now: number, times = 10): number =>
    Array.from({ length: times }, () => limits.admits(ip, now)).filter(Boolean).length;

  test('two at once, then one every 4 s, and never more than two', () => {
    const limits = new PutLimits({});
    expect([0, 3_900, 4_000, 7_900, 8_000, 60_000].map((now) => count(limits, '192.0.2.1', now))).toEqual([
      2, 0, 1, 0, 1, 2,
    ]);
  });

  test('each address by itself; of IPv6 each network of 64 bits', () => {
    const limits = new PutLimits({ burst: 1 });
    const ips = [
      '192.0.2.1',
      '192.0.2.2',
      '::ffff:192.0.2.2',
      '2001:db8::1',
      '2001:db8::2',
      '2001:db8:0:1::1',
    ];
    expect(ips.map((ip) => limits.admits(ip, 0))).toEqual([true, true, false, true, false, true]);
  });

  test('a rate that lets nothing through is refused', () => {
    expect(() => new PutLimits({ burst: 0 })).toThrow(RangeError);
    expect(() => new PutLimits({ intervalMs: Infinity })).toThrow(RangeError);
  });
});
