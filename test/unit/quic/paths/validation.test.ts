import { expect, test } from '@jest/globals';
import { MAX_OUTSTANDING_CHALLENGES, PathValidation } from '../../../../src/quic/paths/validation.ts';

let counter = 0;
const rng = { fill: (target: Uint8Array): Uint8Array => target.fill(++counter) };

test('any outstanding challenge may be answered, and the round trip is measured from its own sending', () => {
  const validation = new PathValidation();
  const first = validation.onSend(rng, 0, 100, 1_000);
  validation.onTimeout(100);
  expect(validation.pending).toBe(true);
  validation.onSend(rng, 100, 100, 1_000);
  expect(validation.onResponse(first, 130)).toBe(130);
  expect(validation.onResponse(new Uint8Array(8), 130)).toBeUndefined();
});

test('the gap doubles up to two seconds; the deadline counts from the first sending', () => {
  const validation = new PathValidation();
  expect(validation.deadline).toBe(Infinity);
  const gaps: number[] = [];
  for (let i = 0, now = 0; i < 7; i++) {
    validation.onSend(rng, now, 100, 5_000);
    gaps.push(validation.resendAt - now);
    now = validation.resendAt;
  }
  expect(gaps).toEqual([100, 200, 400, 800, 1_600, 2_000, 2_000]);
  expect(validation.deadline).toBe(5_000);
});

test('remembers a bounded number of challenges', () => {
  const validation = new PathValidation();
  const first = validation.onSend(rng, 0, 1, 1);
  for (let i = 0; i < MAX_OUTSTANDING_CHALLENGES; i++) validation.onSend(rng, 0, 1, 1);
  expect(validation.onResponse(first, 1)).toBeUndefined();
});
