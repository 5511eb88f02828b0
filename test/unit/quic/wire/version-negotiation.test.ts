import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { decodeLongHeader } from '../../../../src/quic/wire/packet.ts';
import { encodeVersionNegotiation } from '../../../../src/quic/wire/version-negotiation.ts';
import { testRng } from '../../../support/sealed-packet.ts';

describe('Version Negotiation', () => {
  test('mirrors the connection ids and lists a reserved version and version 1', () => {
    const cid = fc.uint8Array({ maxLength: 20 });
    fc.assert(
      fc.property(cid, cid, fc.integer({ min: 1 }), (dcid, scid, seed) => {
        const packet = encodeVersionNegotiation(dcid, scid, testRng(seed));
        const decoded = decodeLongHeader(packet, 0, packet.length);
        if (decoded?.type !== 'versionNegotiation') throw new Error('not a Version Negotiation packet');
        expect(decoded.dcid).toEqual(scid);
        expect(decoded.scid).toEqual(dcid);
        expect(decoded.versions).toHaveLength(2);
        // RFC 9000 §15: 0x?a?a?a?a.
        expect((decoded.versions[0]! & 0x0f0f_0f0f) >>> 0).toBe(0x0a0a_0a0a);
        expect(decoded.versions[1]).toBe(1);
        expect(packet[0]! & 0xc0).toBe(0xc0);
      }),
    );
  });

  test('echoes ids longer than version 1 allows (RFC 8999 §5.1)', () => {
    const long = new Uint8Array(200).fill(7);
    const packet = encodeVersionNegotiation(long, new Uint8Array(3), testRng());
    expect(packet.length).toBe(1 + 4 + 1 + 3 + 1 + 200 + 8);
    expect(packet[5]).toBe(3);
    expect(packet[9]).toBe(200);
  });
});
