import { describe, expect, test } from '@jest/globals';
import dnsPacket from 'dns-packet';
import { fromUtf8 } from '../../../src/base/bytes.ts';
import { DnsError } from '../../../src/base/errors.ts';
import { encodeTxtQuery, readTxtAnswer } from '../../../src/dns/txt-query.ts';

const QUESTION = { name: '_iroh.abc.example.', id: 7 };

function answer(changes: Partial<dnsPacket.Packet> = {}): Uint8Array {
  const name = '_IROH.abc.example';
  return new Uint8Array(
    dnsPacket.encode({
      type: 'response',
      id: 7,
      questions: [{ name, type: 'TXT', class: 'IN' }],
      answers: [
        { name, type: 'CNAME', data: 'other.example', ttl: 30 },
        { name: 'other.example', type: 'TXT', data: ['relay=', 'https://a.example/'], ttl: 30 },
        { name: 'other.example', type: 'TXT', class: 'CH', data: ['relay=chaos'], ttl: 30 },
        { name, type: 'A', data: '192.0.2.1', ttl: 30 },
      ],
      ...changes,
    }),
  );
}

describe('TXT over DNS', () => {
  test('a question that dns-packet reads', () => {
    const { id, questions, flags } = dnsPacket.decode(Buffer.from(encodeTxtQuery(QUESTION)));
    expect([id, flags]).toEqual([7, dnsPacket.RECURSION_DESIRED]);
    expect(questions).toEqual([{ name: '_iroh.abc.example', type: 'TXT', class: 'IN' }]);
  });

  test('strings of a record are one text; aliases and other types are passed over', () => {
    expect(readTxtAnswer(answer(), QUESTION).map(fromUtf8)).toEqual(['relay=https://a.example/']);
  });

  test('no such name is no records', () => {
    expect(readTxtAnswer(answer({ flags: 3, answers: [] }), QUESTION)).toEqual([]);
  });

  test.each<[string, Partial<dnsPacket.Packet>, string]>([
    ['another id', { id: 8 }, 'DnsError.Mismatch'],
    ['a question, not an answer', { type: 'query' }, 'DnsError.Mismatch'],
    ['another kind of question', { flags: 0x2800 }, 'DnsError.Mismatch'],
    ['no question', { questions: [] }, 'DnsError.Mismatch'],
    ['another name', { questions: [{ name: 'b.example', type: 'TXT' }] }, 'DnsError.Mismatch'],
    ['another type', { questions: [{ name: '_iroh.abc.example', type: 'A' }] }, 'DnsError.Mismatch'],
    ['a cut', { flags: dnsPacket.TRUNCATED_RESPONSE }, 'DnsError.Truncated'],
    ['an error of the server', { flags: 2 }, 'DnsError.Refused'],
  ])('%s is refused', (_what, changes, code) => {
    let caught: unknown;
    try {
      readTxtAnswer(answer(changes), QUESTION);
    } catch (error) {
      caught = error;
    }
    expect(caught).toBeInstanceOf(DnsError);
    expect((caught as DnsError).code).toBe(code);
    expect((caught as DnsError).responseCode).toBe(code === 'DnsError.Refused' ? 2 : undefined);
  });
});
