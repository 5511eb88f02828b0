import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { concatBytes, fromHex, Writer } from '../../../../src/base/bytes.ts';
import {
  decodeInvariantHeader,
  decodeLongHeader,
  finishLongHeader,
  writeLongHeader,
  writeShortHeader,
} from '../../../../src/quic/wire/packet.ts';

const anyCid = fc.uint8Array({ maxLength: 20 });
const anyPnLength = fc.integer({ min: 1, max: 4 });

describe('long headers', () => {
  test('are decoded as they were written, wherever they are in the datagram', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('initial' as const, 'handshake' as const, 'zeroRtt' as const),
        anyCid,
        anyCid,
        fc.option(fc.uint8Array({ maxLength: 300 }), { nil: undefined }),
        anyPnLength,
        fc.nat(2 ** 32 - 1),
        fc.nat(1_000),
        fc.nat(40),
        fc.nat(40),
        (type, dcid, scid, token, pnLength, packetNumber, payloadLength, before, after) => {
          const w = new Writer();
          w.zeros(before);
          const lengthAt = writeLongHeader(w, type, dcid, scid, token, packetNumber, pnLength);
          const pnOffset = w.pos - pnLength;
          w.zeros(payloadLength);
          const end = w.pos;
          finishLongHeader(w.bytes, lengthAt, end - pnOffset);
          w.zeros(after);
          expect(decodeLongHeader(w.written(), before, w.pos)).toEqual({
            type,
            start: before,
            end,
            version: 1,
            dcid,
            scid,
            pnOffset,
            token: type === 'initial' ? (token ?? new Uint8Array(0)) : new Uint8Array(0),
          });
          // Number length in the low bits, fixed bit set, reserved bits clear (RFC 9000 §17.2).
          const first = w.bytes[before]!;
          expect(first & 0xcf).toBe(0xc0 | (pnLength - 1));
          let number = 0;
          for (let i = 0; i < pnLength; i++) number = number * 256 + w.bytes[pnOffset + i]!;
          expect(number).toBe(packetNumber % 2 ** (8 * pnLength));
          // The invariants read the same ids of whatever version.
          expect(decodeInvariantHeader(w.written(before))).toEqual({ version: 1, dcid, scid });
          // One byte less than Length promises: malformed.
          expect(decodeLongHeader(w.written(), before, end - 1)).toBeUndefined();
        },
      ),
    );
  });

  test('type bits follow RFC 9000 table 5', () => {
    const first = (type: 'initial' | 'handshake' | 'zeroRtt'): number => {
      const w = new Writer();
      writeLongHeader(w, type, new Uint8Array(8), new Uint8Array(8), undefined, 0, 1);
      return w.bytes[0]!;
    };
    expect([first('initial'), first('zeroRtt'), first('handshake')]).toEqual([0xc0, 0xd0, 0xe0]);
  });

  const header = (hex: string): ReturnType<typeof decodeLongHeader> => {
    const bytes = fromHex(hex);
    return decodeLongHeader(bytes, 0, bytes.length);
  };

  test.each([
    ['another version', 'c0 ff00001d 00 00 00 01 00'],
    ['fixed bit clear', '80 00000001 00 00 00 01 00'],
    ['dcid of 21 bytes', `c0 00000001 15 ${'00'.repeat(21)} 00 00 01 00`],
    ['scid of 21 bytes', `c0 00000001 00 15 ${'00'.repeat(21)} 00 01 00`],
    ['token longer than the packet', 'c0 00000001 00 00 05 01 00'],
    ['Length longer than the packet', 'c0 00000001 00 00 00 02 00'],
    ['Length of 2^62 - 1', 'c0 00000001 00 00 00 ffffffffffffffff 00'],
    ['cut in the version', 'c0 0000'],
    ['Retry without room for its tag', `f0 00000001 00 00 ${'00'.repeat(15)}`],
  ])('%s: dropped', (_, hex) => {
    expect(header(hex.replaceAll(' ', ''))).toBeUndefined();
  });

  test('Length may have any size of varint', () => {
    for (const length of ['01', '4001', '80000001', 'c000000000000001']) {
      expect(header(`e000000001 00 00 ${length} 00`.replaceAll(' ', ''))).toMatchObject({
        type: 'handshake',
      });
    }
  });

  test('Retry and Version Negotiation', () => {
    const tag = '11'.repeat(16);
    expect(header(`f000000001 01aa 02bbcc 746f6b656e${tag}`.replaceAll(' ', ''))).toMatchObject({
      type: 'retry',
      dcid: fromHex('aa'),
      scid: fromHex('bbcc'),
      token: fromHex('746f6b656e'),
    });
    // The fixed bit has no meaning here, and a rest below four bytes is no version.
    expect(header('8000000000 01aa 01bb 00000001 6b3343cf 0000'.replaceAll(' ', ''))).toMatchObject({
      type: 'versionNegotiation',
      dcid: fromHex('aa'),
      scid: fromHex('bb'),
      versions: [1, 0x6b3343cf],
    });
  });

  test('a Version Negotiation packet of a megabyte does not make a list of that size', () => {
    const bytes = concatBytes(fromHex('80000000000000'), new Uint8Array(1 << 20));
    const decoded = decodeLongHeader(bytes, 0, bytes.length);
    expect(decoded?.type === 'versionNegotiation' && decoded.versions.length).toBe(64);
  });

  test('garbage is undefined or a header within its bounds, never an exception', () => {
    const anyDatagram = fc.oneof(
      fc.uint8Array({ maxLength: 120 }),
      // Past the version check.
      fc
        .tuple(fc.integer({ min: 0xc0, max: 0xff }), fc.uint8Array({ maxLength: 120 }))
        .map(([first, rest]) => concatBytes(Uint8Array.of(first, 0, 0, 0, 1), rest)),
    );
    fc.assert(
      fc.property(anyDatagram, fc.nat(8), fc.nat(8), (bytes, cutFront, cutBack) => {
        const start = Math.min(cutFront, bytes.length);
        const end = Math.max(start, bytes.length - cutBack);
        const decoded = decodeLongHeader(bytes, start, end);
        decodeInvariantHeader(bytes);
        if (decoded === undefined) return;
        expect(decoded.start).toBe(start);
        expect(decoded.end).toBeLessThanOrEqual(end);
        expect(decoded.dcid.length).toBeLessThanOrEqual(20);
        expect(decoded.scid.length).toBeLessThanOrEqual(20);
        if ('pnOffset' in decoded) expect(decoded.pnOffset).toBeLessThanOrEqual(decoded.end);
      }),
      { numRuns: 500 },
    );
  });
});

describe('short headers', () => {
  test('first byte: fixed bit, key phase, number length (RFC 9000 §17.3.1)', () => {
    fc.assert(
      fc.property(
        anyCid,
        fc.nat(Number.MAX_SAFE_INTEGER),
        anyPnLength,
        fc.constantFrom(0 as const, 1 as const),
        (dcid, packetNumber, length, phase) => {
          const w = new Writer();
          writeShortHeader(w, dcid, packetNumber, length, phase);
          expect(w.bytes[0]).toBe(0x40 | (phase << 2) | (length - 1));
          expect(w.bytes.slice(1, 1 + dcid.length)).toEqual(dcid);
          expect(w.pos).toBe(1 + dcid.length + length);
          let number = 0;
          for (let i = 1 + dcid.length; i < w.pos; i++) number = number * 256 + w.bytes[i]!;
          expect(number).toBe(packetNumber % 2 ** (8 * length));
        },
      ),
    );
  });
});
