import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { SignedPacket } from '../../../src/address-lookup/signed-packet.ts';
import {
  FreshnessCheck,
  GrowingTimestamps,
  MAX_AHEAD_MICROS,
  MAX_REMEMBERED,
} from '../../../src/address-lookup/timestamps.ts';
import { PkarrError } from '../../../src/base/errors.ts';
import { SecretKey } from '../../../src/crypto/keys.ts';

const NOW_MS = 1_700_000_000_000;
const NOW = BigInt(NOW_MS) * 1_000n;
const KEY = SecretKey.fromBytes(new Uint8Array(32).fill(7));

const packet = (timestampMicros: bigint, strings: string[] = [], key = KEY): SignedPacket =>
  SignedPacket.sign(key, { strings, timestampMicros });

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof PkarrError) return error.code;
    throw error;
  }
  return 'nothing';
}

describe('our timestamps', () => {
  test('are those of the clock, in µs', () => {
    expect(new GrowingTimestamps().next(NOW_MS + 0.25)).toBe(NOW + 250n);
  });

  test('grow, whatever the clock does', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: -1e6, max: 4e12, noNaN: true }), { minLength: 2 }), (clock) => {
        const timestamps = new GrowingTimestamps();
        const made = clock.map((wallMs) => timestamps.next(wallMs));
        for (let i = 1; i < made.length; i++) expect(made[i]! > made[i - 1]!).toBe(true);
      }),
    );
  });
});

describe('those of others', () => {
  test('a packet that was replaced is refused, the same one is not', () => {
    const check = new FreshnessCheck();
    check.check(packet(NOW), NOW_MS);
    check.check(packet(NOW), NOW_MS);
    check.check(packet(NOW + 5n), NOW_MS);
    expect(codeOf(() => check.check(packet(NOW), NOW_MS))).toBe('PkarrError.Stale');
    // The newest one known stays the measure.
    expect(codeOf(() => check.check(packet(NOW + 4n), NOW_MS))).toBe('PkarrError.Stale');
    check.check(packet(NOW + 5n, ['relay=x']), NOW_MS);
    expect(codeOf(() => check.check(packet(NOW + 5n), NOW_MS))).toBe('PkarrError.Stale');
  });

  test('a clock may be a day ahead, and as old as it likes', () => {
    const check = new FreshnessCheck();
    expect(codeOf(() => check.check(packet(NOW + MAX_AHEAD_MICROS + 1n), NOW_MS))).toBe('PkarrError.Future');
    expect(codeOf(() => check.check(packet((1n << 64n) - 1n), NOW_MS))).toBe('PkarrError.Future');
    // What was refused is not remembered.
    check.check(packet(1n), NOW_MS);
    check.check(packet(NOW + MAX_AHEAD_MICROS), NOW_MS);
  });

  test('so many endpoints are remembered, and those asked for last', () => {
    const check = new FreshnessCheck();
    const keys = Array.from({ length: MAX_REMEMBERED + 1 }, (_, i) =>
      SecretKey.fromBytes(
        new Uint8Array(32)
          .fill(1)
          .fill(i >> 8, 0, 1)
          .fill(i & 0xff, 1, 2),
      ),
    );
    const newest = keys.map((key) => packet(NOW, [], key));
    for (const each of newest.slice(0, MAX_REMEMBERED)) check.check(each, NOW_MS);
    check.check(newest[0]!, NOW_MS);
    check.check(newest[MAX_REMEMBERED]!, NOW_MS);
    // The second one was forgotten for the last one.
    expect(codeOf(() => check.check(packet(NOW - 1n, [], keys[1]), NOW_MS))).toBe('nothing');
    expect(codeOf(() => check.check(packet(NOW - 1n, [], keys[0]), NOW_MS))).toBe('PkarrError.Stale');
  });
});
