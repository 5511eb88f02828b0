import { describe, expect, test } from '@jest/globals';
import dnsPacket from 'dns-packet';
import fc from 'fast-check';
import { concatBytes, fromHex, toHex } from '../../../src/base/bytes.ts';
import { DnsError } from '../../../src/base/errors.ts';
import {
  CLASS_IN,
  EMPTY_MESSAGE,
  TYPE_SRV,
  decodeDnsMessage,
  encodeDnsMessage,
} from '../../../src/dns/message.ts';
import { decodeSrv, encodeSrv } from '../../../src/dns/srv.ts';

const u16 = fc.nat(0xffff);
const target = fc
  .array(fc.stringMatching(/^[a-z0-9_-]{1,63}$/), { minLength: 1, maxLength: 3 })
  .map((labels) => labels.join('.'));
const anySrv = fc.record({ priority: u16, weight: u16, port: u16, target });

/** A message with one SRV record of these data. */
function messageOf(data: Uint8Array): Uint8Array {
  const record = { name: 'a.example', type: TYPE_SRV, class: CLASS_IN, ttl: 0, data };
  return encodeDnsMessage({ ...EMPTY_MESSAGE, answers: [record] });
}

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof DnsError) return error.code;
    throw error;
  }
  return 'nothing';
}

describe('SRV records', () => {
  test('as RFC 2782 draws them', () => {
    const data = { priority: 1, weight: 2, port: 0x1234, target: 'a.local' };
    expect(toHex(encodeSrv(data))).toBe('000100021234' + '0161056c6f63616c00');
  });

  test('the same after a round trip, wherever the message lies', () => {
    fc.assert(
      fc.property(anySrv, fc.nat(9), (data, offset) => {
        const bytes = concatBytes(new Uint8Array(offset), messageOf(encodeSrv(data))).subarray(offset);
        expect(decodeSrv(bytes, decodeDnsMessage(bytes).answers[0]!.data)).toEqual(data);
      }),
    );
  });

  test('dns-packet reads what we write, and we read what it writes', () => {
    fc.assert(
      fc.property(anySrv, (data) => {
        const [answer] = dnsPacket.decode(Buffer.from(messageOf(encodeSrv(data)))).answers!;
        expect(answer).toMatchObject({ type: 'SRV', data });
        const theirs = new Uint8Array(
          dnsPacket.encode({ type: 'response', answers: [{ type: 'SRV', name: 'a.example', data }] }),
        );
        expect(decodeSrv(theirs, decodeDnsMessage(theirs).answers[0]!.data)).toEqual(data);
      }),
    );
  });

  test('a target may be compressed', () => {
    const bytes = messageOf(fromHex('000000000001' + '0162' + 'c00e'));
    expect(decodeSrv(bytes, decodeDnsMessage(bytes).answers[0]!.data).target).toBe('b.example');
  });

  test.each([
    ['nothing', ''],
    ['no port', '00000000'],
    ['no target', '000000000001'],
    ['a target that ends early', '000000000001' + '0562'],
    ['a target that points at itself', '000000000001' + 'c027'],
    ['a target that points into the header', '000000000001' + 'c000'],
    ['something after the target', '000000000001' + '016200' + '00'],
  ])('refused: %s', (_what, hex) => {
    const bytes = messageOf(fromHex(hex));
    const { data } = decodeDnsMessage(bytes).answers[0]!;
    expect(codeOf(() => decodeSrv(bytes, data))).toBe('DnsError.Malformed');
  });

  test('refused: a target that goes on in the next record', () => {
    // Read as part of the message it would be a name: `b.` and what comes next.
    const record = { name: 'a', type: TYPE_SRV, class: CLASS_IN, ttl: 0 };
    const bytes = encodeDnsMessage({
      ...EMPTY_MESSAGE,
      answers: [
        { ...record, data: fromHex('000000000001' + '0162') },
        { ...record, data: encodeSrv({ priority: 0, weight: 0, port: 1, target: 'c' }) },
      ],
    });
    const { data } = decodeDnsMessage(bytes).answers[0]!;
    expect(codeOf(() => decodeSrv(bytes, data))).toBe('DnsError.Malformed');
  });
});
