/** H15: which relay is preferred, over a series of reports. */
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { MAX_LATENCY_AGE_MS, ReportHistory, SWITCH_FACTOR } from '../../../src/net-report/history.ts';
import type { RelayLatency } from '../../../src/net-report/report.ts';
import { relayUrl } from '../../support/socket-rig.ts';

type Measured = Readonly<Record<number, number>>;
interface Step {
  readonly at: number;
  readonly measured: Measured;
  readonly preferred: number | undefined;
  readonly isFull?: boolean;
}

const latencies = (measured: Measured): RelayLatency[] =>
  Object.entries(measured).map(([i, seconds]) => ({
    url: relayUrl(Number(i)),
    kind: 'https',
    latencyMs: seconds * 1_000,
  }));

// Times in seconds.
const CASES: Record<string, readonly Step[]> = {
  'first reading': [{ at: 0, measured: { 1: 2, 2: 3 }, preferred: 1 }],
  'two readings': [
    { at: 0, measured: { 1: 4, 2: 3 }, preferred: 2 },
    { at: 1, measured: { 1: 4, 2: 3 }, preferred: 2 },
  ],
  'the preferred one is gone': [
    { at: 0, measured: { 1: 2, 2: 3 }, preferred: 1 },
    { at: 1, measured: { 2: 3 }, preferred: 2 },
  ],
  'it comes back': [
    { at: 0, measured: { 1: 2, 2: 3 }, preferred: 1 },
    { at: 1, measured: { 2: 3 }, preferred: 2 },
    { at: 2, measured: { 1: 1.9, 2: 3 }, preferred: 1 },
  ],
  'old measurements do not count': [
    { at: 0, measured: { 1: 1 }, preferred: 1 },
    { at: 200, measured: { 1: 4, 2: 2.5 }, preferred: 1 },
    { at: 302, measured: { 1: 4, 2: 2.5 }, preferred: 2 },
  ],
  'from 4 to 3 is no reason to move': [
    { at: 0, measured: { 1: 4, 2: 4 }, preferred: 1 },
    { at: 1, measured: { 1: 4, 2: 3 }, preferred: 1 },
  ],
  'from 4 to 1 is': [
    { at: 0, measured: { 1: 4, 2: 4 }, preferred: 1 },
    { at: 1, measured: { 1: 4, 2: 1 }, preferred: 2 },
  ],
  'a full report starts anew': [
    { at: 0, measured: { 1: 4, 2: 4 }, preferred: 1 },
    { at: 1, measured: { 1: 4, 2: 3 }, preferred: 2, isFull: true },
  ],
  'none reached': [
    { at: 0, measured: { 1: 4 }, preferred: 1 },
    { at: 1, measured: {}, preferred: undefined },
  ],
};

test.each(Object.entries(CASES))('H15: %s', (_name, steps) => {
  const history = new ReportHistory();
  for (const { at, measured, preferred, isFull = false } of steps) {
    const url = history.add(latencies(measured), isFull, at * 1_000);
    expect(url?.href).toBe(preferred === undefined ? undefined : relayUrl(preferred).href);
  }
});

test('inv-N2, inv-N3: preferred is a relay of the report; no move unless to 2/3 of the distance or from one that is gone', () => {
  const report = fc.dictionary(fc.constantFrom('0', '1', '2', '3'), fc.integer({ min: 1, max: 500 }));
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.integer({ min: 0, max: 200_000 }), report)), (reports) => {
      const history = new ReportHistory();
      const seen: [number, Record<string, number>][] = [];
      let now = 0;
      let before: string | undefined;
      for (const [waitMs, measured] of reports) {
        now += waitMs;
        seen.push([now, measured]);
        const url = history.add(latencies(measured), false, now)?.href;
        const current = new Map(latencies(measured).map((each) => [each.url.href, each.latencyMs]));
        if (url === undefined) {
          expect(current.size).toBe(0);
          continue;
        }
        expect(current.has(url)).toBe(true);
        if (before !== undefined && before !== url && current.has(before)) {
          const i = Object.keys(measured).find((key) => relayUrl(Number(key)).href === url)!;
          const recent = seen.filter(([at]) => now - at <= MAX_LATENCY_AGE_MS);
          const best = Math.min(...recent.map(([, each]) => (each[i] ?? Infinity) * 1_000));
          expect(best).toBeLessThanOrEqual(current.get(before)! * SWITCH_FACTOR);
        }
        before = url;
      }
    }),
  );
});
