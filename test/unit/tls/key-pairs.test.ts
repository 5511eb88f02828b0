import { expect, test } from '@jest/globals';
import { toHex } from '../../../src/base/bytes.ts';
import type { Rng } from '../../../src/base/rng.ts';
import { KeyPairs } from '../../../src/tls/key-pairs.ts';
import { systemRng } from '../../../src/crypto/random.ts';

/** Counts how often randomness is asked for. */
function counting(): Rng & { calls: number } {
  const rng = {
    calls: 0,
    fill: (target: Uint8Array): Uint8Array => {
      rng.calls++;
      return systemRng.fill(target);
    },
  };
  return rng;
}

test('a pair is handed out once, made ahead or not', () => {
  const pairs = new KeyPairs(systemRng);
  const seen = new Set<string>();
  for (let i = 0; i < 20; i++) {
    if (i % 3 !== 0) pairs.prepare();
    seen.add(toHex(pairs.take().publicKey));
  }
  expect(seen.size).toBe(20);
});

test('one pair is made ahead, once somebody needed one', () => {
  const rng = counting();
  const pairs = new KeyPairs(rng);
  pairs.prepare();
  expect([rng.calls, pairs.isUnprepared]).toEqual([0, false]);
  pairs.take();
  expect([rng.calls, pairs.isUnprepared]).toEqual([1, true]);
  pairs.prepare();
  pairs.prepare();
  expect([rng.calls, pairs.isUnprepared]).toEqual([2, false]);
  pairs.take();
  expect([rng.calls, pairs.isUnprepared]).toEqual([2, true]);
});

test('both sides of an agreement may have been made ahead', () => {
  const [a, b] = [new KeyPairs(systemRng), new KeyPairs(systemRng)];
  for (const pairs of [a, b]) {
    pairs.take();
    pairs.prepare();
  }
  const [ours, theirs] = [a.take(), b.take()];
  expect(ours.sharedSecret(theirs.publicKey)).toEqual(theirs.sharedSecret(ours.publicKey));
});
