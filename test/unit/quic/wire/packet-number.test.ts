import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { decodePacketNumber, packetNumberLength } from '../../../../src/quic/wire/packet-number.ts';

describe('packet numbers', () => {
  test('RFC 9000 §A.2: examples', () => {
    expect(packetNumberLength(0xac5c02, 0xabe8b3)).toBe(2);
    expect(packetNumberLength(0xace8fe, 0xabe8b3)).toBe(3);
  });

  test('RFC 9000 §A.3: example', () => {
    expect(decodePacketNumber(0x9b32, 2, 0xa82f30ea)).toBe(0xa82f9b32);
  });

  test.each([
    [0, -1, 1],
    [0x7e, -1, 1],
    [0x7f, -1, 2],
    [0x7ffe, -1, 2],
    [0x7fff, -1, 3],
    [0x7f_fffe, -1, 3],
    [0x7f_ffff, -1, 4],
  ])('%i after %i takes %i bytes', (packetNumber, largestAcked, length) => {
    expect(packetNumberLength(packetNumber, largestAcked)).toBe(length);
  });

  const start = fc.integer({ min: -1, max: Number.MAX_SAFE_INTEGER - 2 ** 33 });

  test('the chosen length recovers the number whatever the receiver has seen in between', () => {
    fc.assert(
      fc.property(start, fc.integer({ min: 1, max: 2 ** 31 - 1 }), fc.nat(), (acked, distance, seen) => {
        const packetNumber = acked + distance;
        // The receiver has at least what it acknowledged, and at most all before this one.
        const largest = acked + (seen % distance);
        const length = packetNumberLength(packetNumber, acked);
        expect(decodePacketNumber(packetNumber % 2 ** (8 * length), length, largest)).toBe(packetNumber);
      }),
    );
  });

  test('the result has the truncated bits and is the candidate next to the expected number', () => {
    fc.assert(
      fc.property(start, fc.constantFrom(1, 2, 3, 4), fc.nat(2 ** 32 - 1), (largest, length, bits) => {
        const window = 2 ** (8 * length);
        const truncated = bits % window;
        const decoded = decodePacketNumber(truncated, length, largest);
        expect(decoded % window).toBe(truncated);
        expect(decoded).toBeGreaterThanOrEqual(0);
        const distance = Math.abs(decoded - (largest + 1));
        // Below the first window there is nothing to choose from.
        if (decoded >= window) expect(distance).toBeLessThanOrEqual(window / 2);
      }),
    );
  });
});
