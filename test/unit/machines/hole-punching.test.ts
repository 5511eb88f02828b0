/** When another round of hole punching is started. */
import { expect, test } from '@jest/globals';
import { parseAddr } from '../../../src/base/socket-addr.ts';
import {
  decideProbe,
  decidePunch,
  HOLEPUNCH_ATTEMPTS_INTERVAL_MS,
  MAX_PROBE_INTERVAL_MS,
  type Candidates,
  type ProbeAttempt,
  type PunchAttempt,
} from '../../../src/machines/hole-punching.ts';

const [a, b, c] = ['192.0.2.1:1', '192.0.2.2:2', '192.0.2.3:3'].map(parseAddr);

test('H22: same candidates and a trigger each 100 ms for 20 s: a round each 5 s; a new candidate: at once', () => {
  let last: PunchAttempt | undefined;
  const rounds: number[] = [];
  const trigger = (now: number, candidates: Candidates): void => {
    if (decidePunch(candidates, last, now).type !== 'now') return;
    last = { ...candidates, at: now };
    rounds.push(now);
  };
  for (let now = 0; now < 20_000; now += 100) trigger(now, { local: [a!], remote: [b!] });
  expect(rounds).toEqual([0, 5_000, 10_000, 15_000]);
  trigger(19_950, { local: [a!], remote: [b!, c!] });
  expect(rounds.at(-1)).toBe(19_950);
  // One that went is nothing new.
  trigger(20_000, { local: [a!], remote: [c!] });
  expect(rounds.at(-1)).toBe(19_950);
});

test('H22: without candidates of ours nothing is scheduled at all', () => {
  expect(decidePunch({ local: [], remote: [a!] }, undefined, 0)).toEqual({ type: 'wait' });
});

test('without candidates of the peer there is one round for each set of ours: it may begin with those', () => {
  const alone = { local: [a!], remote: [] };
  expect(decidePunch(alone, undefined, 0)).toEqual({ type: 'now' });
  const last = { ...alone, at: 0 };
  expect(decidePunch(alone, last, 20_000)).toEqual({ type: 'wait' });
  expect(decidePunch({ local: [a!, b!], remote: [] }, last, 20_000)).toEqual({ type: 'now' });
  expect(decidePunch({ local: [a!], remote: [c!] }, last, 1)).toEqual({ type: 'now' });
});

test('a round that comes too early is put off to the end of the interval', () => {
  const last = { local: [a!], remote: [b!], at: 1_000 };
  expect(decidePunch(last, last, 2_500)).toEqual({
    type: 'later',
    delayMs: HOLEPUNCH_ATTEMPTS_INTERVAL_MS - 1_500,
  });
});

test('without NAT traversal known addresses are probed: at once when one is new, else after 5 s, 10 s, up to a minute', () => {
  expect(decideProbe([], undefined, 0)).toEqual({ type: 'wait' });
  expect(decideProbe([a!], undefined, 0)).toEqual({ type: 'now' });
  const last = (repeats: number): ProbeAttempt => ({ remote: [a!], at: 1_000, repeats });
  expect(decideProbe([a!, b!], last(0), 1_001)).toEqual({ type: 'now' });
  for (const [repeats, delayMs] of [
    [0, HOLEPUNCH_ATTEMPTS_INTERVAL_MS],
    [1, 2 * HOLEPUNCH_ATTEMPTS_INTERVAL_MS],
    [9, MAX_PROBE_INTERVAL_MS],
  ] as const) {
    expect(decideProbe([a!], last(repeats), 1_000)).toEqual({ type: 'later', delayMs });
    expect(decideProbe([a!], last(repeats), 1_000 + delayMs)).toEqual({ type: 'now' });
  }
  // One that went is nothing new.
  expect(decideProbe([a!], { remote: [a!, b!], at: 0, repeats: 0 }, 1)).toMatchObject({ type: 'later' });
});
