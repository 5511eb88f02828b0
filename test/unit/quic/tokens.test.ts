import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { toAddr } from '../../../src/base/socket-addr.ts';
import {
  isFresh,
  RETRY_TOKEN_LIFETIME_MS,
  TokenSealer,
  VALIDATION_TOKEN_LIFETIME_MS,
} from '../../../src/quic/tokens.ts';
import { SimRng } from '../../support/sim-rng.ts';

const KEY = new Uint8Array(32).fill(7);
const NOW = 1_750_000_000_000;

const anyIp = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 4 }),
  fc.uint8Array({ minLength: 16, maxLength: 16 }),
);
const anyAddr = fc.tuple(anyIp, fc.integer({ min: 0, max: 65_535 })).map(([ip, port]) => toAddr(ip, port));

function sealer(seed = 1, key = KEY): TokenSealer {
  return new TokenSealer(key, new SimRng(seed));
}

describe('tokens', () => {
  test('of a Retry give back address, both connection ids and time', () => {
    fc.assert(
      fc.property(
        anyAddr,
        fc.uint8Array({ minLength: 8, maxLength: 20 }),
        fc.uint8Array({ minLength: 8, maxLength: 20 }),
        fc.nat({ max: 2 ** 31 - 1 }),
        (remote, originalDcid, retryScid, issuedAt) => {
          const tokens = sealer();
          const token = tokens.open(tokens.sealRetry(remote, originalDcid, retryScid, issuedAt));
          expect(token).toEqual({ type: 'retry', remote, originalDcid, retryScid, issuedAt });
        },
      ),
    );
  });

  test('of NEW_TOKEN give back ip and time, not the port', () => {
    fc.assert(
      fc.property(anyAddr, (remote) => {
        const tokens = sealer();
        expect(tokens.open(tokens.sealValidation(remote, NOW + 0.5))).toEqual({
          type: 'validation',
          ip: remote.ip,
          issuedAt: NOW,
        });
      }),
    );
  });

  test('open at whoever has the key, and at nobody else', () => {
    const token = sealer(1).sealValidation(toAddr('192.0.2.1', 1), NOW);
    expect(sealer(2).open(token)?.type).toBe('validation');
    expect(sealer(1, new Uint8Array(32)).open(token)).toBeUndefined();
  });

  test('do not open after any change, and never throw', () => {
    const tokens = sealer();
    const token = tokens.sealRetry(
      toAddr('192.0.2.1', 4433),
      new Uint8Array(20).fill(5),
      new Uint8Array(8).fill(6),
      NOW,
    );
    for (let bit = 0; bit < token.length * 8; bit++) {
      const changed = token.slice();
      changed[bit >> 3]! ^= 1 << (bit & 7);
      expect(tokens.open(changed)).toBeUndefined();
    }
    for (let length = 0; length < token.length; length++) {
      expect(tokens.open(token.subarray(0, length))).toBeUndefined();
    }
    fc.assert(fc.property(fc.uint8Array({ maxLength: 120 }), (bytes) => tokens.open(bytes) === undefined));
  });

  test('do not change when opened', () => {
    const tokens = sealer();
    const token = tokens.sealValidation(toAddr('192.0.2.1', 1), NOW);
    const before = token.slice();
    tokens.open(token);
    expect(token).toEqual(before);
  });

  test('differ each time: the nonce is random', () => {
    const tokens = sealer();
    const addr = toAddr('192.0.2.1', 1);
    expect(tokens.sealValidation(addr, NOW)).not.toEqual(tokens.sealValidation(addr, NOW));
  });

  test.each([
    ['retry', RETRY_TOKEN_LIFETIME_MS, 15_000],
    ['validation', VALIDATION_TOKEN_LIFETIME_MS, 14 * 24 * 3_600_000],
  ])('live for their time: %s', (_name, lifetime, ms) => {
    expect(lifetime).toBe(ms);
    expect(isFresh(NOW, lifetime, NOW)).toBe(true);
    expect(isFresh(NOW, lifetime, NOW + ms)).toBe(true);
    expect(isFresh(NOW, lifetime, NOW + ms + 1)).toBe(false);
  });

  test('from the future are taken for a clock that was set back a little, no more', () => {
    expect(isFresh(NOW + 1_000, RETRY_TOKEN_LIFETIME_MS, NOW)).toBe(true);
    expect(isFresh(NOW + 60_000, RETRY_TOKEN_LIFETIME_MS, NOW)).toBe(false);
  });
});
