import { describe, expect, test } from '@jest/globals';
import dnsPacket from 'dns-packet';
import fc from 'fast-check';
import { Reader, Writer, concatBytes, fromHex, fromUtf8, toHex, utf8 } from '../../../src/base/bytes.ts';
import { DnsError } from '../../../src/base/errors.ts';
import {
  CLASS_IN,
  EMPTY_MESSAGE,
  FLAG_RECURSION_DESIRED,
  FLAG_RESPONSE,
  MAX_DNS_MESSAGE_BYTES,
  TYPE_TXT,
  decodeDnsMessage,
  decodeTxt,
  encodeDnsMessage,
  encodeTxt,
  type DnsMessage,
} from '../../../src/dns/message.ts';
import { isSameName, readName } from '../../../src/dns/name.ts';

/** The code that something fails with. */
function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof DnsError) return error.code;
    throw error;
  }
  return 'nothing';
}

const txt = (name: string, ...strings: string[]) => ({
  name,
  type: TYPE_TXT,
  class: CLASS_IN,
  ttl: 30,
  data: encodeTxt(strings.map(utf8)),
});
const response = (...answers: ReturnType<typeof txt>[]): DnsMessage => ({
  ...EMPTY_MESSAGE,
  flags: FLAG_RESPONSE,
  answers,
});

const label = fc.stringMatching(/^[a-z0-9_-]{1,63}$/);
const name = fc
  .array(label, { minLength: 1, maxLength: 6 })
  .map((labels) => labels.join('.'))
  .filter((text) => text.length <= 253);
const strings = fc.array(fc.string({ maxLength: 60 }), { minLength: 1, maxLength: 4 });
const ttl = fc.nat(0x7fff_ffff);
const records = fc.array(fc.record({ name, ttl, strings }), { maxLength: 12 });
const questions = fc.array(name, { maxLength: 3 });
const id = fc.nat(0xffff);

describe('messages', () => {
  test('a query as RFC 1035 draws it', () => {
    const query: DnsMessage = {
      ...EMPTY_MESSAGE,
      id: 0xbeef,
      flags: FLAG_RECURSION_DESIRED,
      questions: [{ name: '_iroh.example.com', type: TYPE_TXT, class: CLASS_IN }],
    };
    const bytes = 'beef01000001000000000000055f69726f68076578616d706c6503636f6d0000100001';
    expect(toHex(encodeDnsMessage(query))).toBe(bytes);
    expect(decodeDnsMessage(fromHex(bytes))).toEqual(query);
  });

  test('names are written once: whole, and from any label on', () => {
    const bytes = encodeDnsMessage(response(txt('a.b.c'), txt('a.b.c'), txt('x.b.c'), txt('c'), txt('.')));
    const [first, again, other, last, root] = ['0161016201630000', 'c00c', '0178c00e', 'c010', '00'];
    const rest = '100001' + '0000001e' + '000100';
    expect(toHex(bytes.subarray(12))).toBe(
      `${first}${rest}` + [again, other, last, root].map((each) => `${each}00${rest}`).join(''),
    );
    expect(decodeDnsMessage(bytes).answers.map((each) => each.name)).toEqual([
      'a.b.c',
      'a.b.c',
      'x.b.c',
      'c',
      '.',
    ]);
  });

  test('dns-packet reads what we write', () => {
    fc.assert(
      fc.property(id, questions, records, (id, questions, records) => {
        const bytes = encodeDnsMessage({
          ...EMPTY_MESSAGE,
          id,
          flags: FLAG_RESPONSE,
          questions: questions.map((name) => ({ name, type: TYPE_TXT, class: CLASS_IN })),
          answers: records.map((record) => ({ ...txt(record.name, ...record.strings), ttl: record.ttl })),
        });
        const seen = dnsPacket.decode(Buffer.from(bytes));
        expect([seen.id, seen.type]).toEqual([id, 'response']);
        expect(seen.questions?.map((question) => question.name)).toEqual(questions);
        expect(
          seen.answers?.map((answer) => ({
            name: answer.name,
            ttl: 'ttl' in answer ? answer.ttl : undefined,
            strings: ('data' in answer ? (answer.data as Buffer[]) : []).map((each) => each.toString()),
          })),
        ).toEqual(records);
      }),
    );
  });

  test('we read what dns-packet writes', () => {
    fc.assert(
      fc.property(id, questions, records, (id, questions, records) => {
        const bytes = dnsPacket.encode({
          type: 'response',
          id,
          flags: dnsPacket.RECURSION_DESIRED,
          questions: questions.map((name) => ({ name, type: 'TXT', class: 'IN' })),
          answers: records.map(({ name, ttl, strings }) => ({ name, ttl, type: 'TXT', data: strings })),
          additionals: [{ name: '.', type: 'OPT', udpPayloadSize: 1_232, flags: 0, options: [] } as never],
        });
        const seen = decodeDnsMessage(new Uint8Array(bytes));
        expect([seen.id, seen.flags]).toEqual([id, FLAG_RESPONSE | FLAG_RECURSION_DESIRED]);
        expect(seen.questions.map((question) => question.name)).toEqual(questions);
        expect(
          seen.answers.map(({ name, ttl, data }) => ({ name, ttl, text: fromUtf8(decodeTxt(data)) })),
        ).toEqual(records.map(({ name, ttl, strings }) => ({ name, ttl, text: strings.join('') })));
        expect(seen.additionals.map(({ name, type }) => [name, type])).toEqual([['.', 41]]);
      }),
    );
  });

  test('a round trip, whatever the labels are made of', () => {
    const bytes = fc.uint8Array({ minLength: 1, maxLength: 63 });
    fc.assert(
      fc.property(fc.array(bytes, { maxLength: 3 }), (labels) => {
        const wire = concatBytes(
          ...labels.map((each) => concatBytes(Uint8Array.of(each.length), each)),
          Uint8Array.of(0),
        );
        const text = readName(new Reader(wire));
        const message = encodeDnsMessage(response(txt(text)));
        expect(message.subarray(12, 12 + wire.length)).toEqual(wire);
        expect(decodeDnsMessage(message).answers[0]?.name).toBe(text);
      }),
    );
  });

  test('names are the same whatever their case, and with or without a dot at the end', () => {
    expect(isSameName('_IROH.Example.', '_iroh.example')).toBe(true);
    expect(isSameName('.', '.')).toBe(true);
    // That dot belongs to the label.
    expect(isSameName('a\\.', 'a')).toBe(false);
    // The Kelvin sign is no k.
    expect(isSameName('\u212a', 'k')).toBe(false);
  });

  test.each<[string, string]>([
    ['an empty label', 'a..b'],
    ['a label of 64 bytes', 'a'.repeat(64)],
    ['a name of 256 bytes', `${'a'.repeat(63)}.`.repeat(4)],
    ['Unicode', 'bücher.example'],
    ['an escape above 255', '\\256'],
    ['an escape of nothing', 'a\\'],
  ])('%s is no name', (_what, name) => {
    expect(codeOf(() => encodeDnsMessage(response(txt(name))))).toBe('DnsError.Name');
  });

  test('what is too long is not sent', () => {
    const data = new Uint8Array(33_000);
    const record = { ...txt('a'), data };
    expect(codeOf(() => encodeDnsMessage(response(record, record)))).toBe('DnsError.TooLong');
    expect(codeOf(() => encodeDnsMessage(response({ ...record, data: new Uint8Array(70_000) })))).toBe(
      'DnsError.TooLong',
    );
    expect(codeOf(() => encodeTxt([new Uint8Array(256)]))).toBe('DnsError.TooLong');
  });
});

describe('hostile messages', () => {
  /** One question whose name is `name`. */
  const question = (name: string): Uint8Array => fromHex(`000000000001000000000000${name}00100001`);

  test.each<[string, string]>([
    ['a pointer to itself', 'c00c'],
    ['a pointer ahead', 'c00e00'],
    ['two pointers at each other', '0161c00c'],
    ['a pointer into the header', 'c000'],
    ['a label of an unknown kind', '40'],
    ['another one', '80'],
    ['a name of 256 bytes', `3f${'61'.repeat(63)}`.repeat(4) + '00'],
    ['a label that is cut off', '3f61'],
  ])('%s', (_what, name) => {
    expect(codeOf(() => decodeDnsMessage(question(name)))).toBe('DnsError.Malformed');
  });

  test('a name made of pointers to pointers is not followed for ever', () => {
    const writer = new Writer();
    writer.put(fromHex('000084000000000100000000'));
    // One record whose data is pointers, each to the one before it.
    writer.put(fromHex('00001000010000001e'));
    writer.u16(400);
    for (let i = 0; i < 200; i++) writer.u16(0xc000 | (i === 0 ? 12 : writer.pos - 2));
    const end = writer.pos - 2;
    const bytes = writer.copy();
    expect(decodeDnsMessage(bytes).answers).toHaveLength(1);
    const reader = new Reader(bytes);
    reader.pos = end;
    expect(codeOf(() => readName(reader))).toBe('DnsError.Malformed');
  });

  test('counts that promise more than there is', () => {
    expect(codeOf(() => decodeDnsMessage(fromHex('0000800000000000ffff0000')))).toBe('DnsError.Malformed');
    expect(codeOf(() => decodeDnsMessage(new Uint8Array(11)))).toBe('DnsError.Malformed');
    expect(codeOf(() => decodeDnsMessage(new Uint8Array(MAX_DNS_MESSAGE_BYTES + 1)))).toBe(
      'DnsError.Malformed',
    );
  });

  test('a TXT record whose string is longer than the record', () => {
    expect(codeOf(() => decodeTxt(fromHex('0561')))).toBe('DnsError.Malformed');
  });

  test('whatever comes, there is a message or a DnsError', () => {
    const valid = encodeDnsMessage(response(txt('_iroh.a.b', 'relay=x'), txt('_iroh.a.b', 'y'), txt('b')));
    const changed = fc
      .array(fc.tuple(fc.nat(valid.length - 1), fc.nat(255)), { maxLength: 4 })
      .map((changes) => {
        const bytes = valid.slice();
        for (const [at, value] of changes) bytes[at] = value;
        return bytes;
      });
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 80 }), changed), (bytes) => {
        expect(['nothing', 'DnsError.Malformed']).toContain(codeOf(() => decodeDnsMessage(bytes)));
      }),
      { numRuns: 1_000 },
    );
  });
});
