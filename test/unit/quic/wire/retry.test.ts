import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { fromHex } from '../../../../src/base/bytes.ts';
import { decodeLongHeader } from '../../../../src/quic/wire/packet.ts';
import { encodeRetry, verifyRetryIntegrity } from '../../../../src/quic/wire/retry.ts';
import { testRng } from '../../../support/sealed-packet.ts';
import { loadVectors } from '../../../support/vectors.ts';

const { retry } = loadVectors<{ retry: { original_dcid: string; packet: string } }>('rfc9001');
const originalDcid = fromHex(retry.original_dcid);

describe('Retry', () => {
  test('RFC 9001 §A.4: verified, and made again', () => {
    const packet = fromHex(retry.packet);
    expect(verifyRetryIntegrity(originalDcid, packet)).toBe(true);
    // The example has all unused bits set.
    const allOnes = { fill: (target: Uint8Array) => target.fill(0xff) };
    const scid = fromHex('f067a5502a4262b5');
    expect(encodeRetry(new Uint8Array(0), scid, originalDcid, fromHex('746f6b656e'), allOnes)).toEqual(
      packet,
    );
  });

  test('any change, another original connection id or a cut packet fails', () => {
    const packet = fromHex(retry.packet);
    for (let i = 0; i < packet.length; i++) {
      const changed = packet.slice();
      changed[i]! ^= 0x80;
      expect(verifyRetryIntegrity(originalDcid, changed)).toBe(false);
      expect(verifyRetryIntegrity(originalDcid, packet.subarray(0, i))).toBe(false);
    }
    expect(verifyRetryIntegrity(originalDcid.subarray(1), packet)).toBe(false);
    expect(verifyRetryIntegrity(new Uint8Array(0), packet)).toBe(false);
  });

  test('is decoded as it was encoded', () => {
    const cid = fc.uint8Array({ maxLength: 20 });
    fc.assert(
      fc.property(cid, cid, cid, fc.uint8Array({ maxLength: 200 }), fc.integer({ min: 1 }), (...args) => {
        const [dcid, scid, original, token, seed] = args;
        const packet = encodeRetry(dcid, scid, original, token, testRng(seed));
        expect(verifyRetryIntegrity(original, packet)).toBe(true);
        expect(decodeLongHeader(packet, 0, packet.length)).toMatchObject({
          type: 'retry',
          dcid,
          scid,
          token,
        });
      }),
      { numRuns: 50 },
    );
  });
});
