/** Which path carries data. */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { parseAddr } from '../../../src/base/socket-addr.ts';
import {
  biasedRttSelector,
  IPV6_RTT_ADVANTAGE_MS,
  isAllowed,
  isSameTuple,
  RTT_SWITCHING_MIN_MS,
  selectPath,
  type PathCandidate,
  type PathKind,
} from '../../../src/machines/path-selection.ts';

const ENDS = {
  ipv4: parseAddr('192.0.2.1:1'),
  ipv6: parseAddr('[2001:db8::1]:1'),
  relay: parseAddr('[fd15:70a:510b:1::1]:12345'),
  custom: parseAddr('[fd15:70a:510b:3::1]:12345'),
};
const other = parseAddr('192.0.2.2:2');

function path(kind: PathKind, rttMs: number, more: Partial<PathCandidate> = {}): PathCandidate {
  return { kind, rttMs, remote: ENDS[kind], local: undefined, isStalled: false, ...more };
}

const pick = (open: PathCandidate[], current?: PathCandidate): PathCandidate | undefined =>
  selectPath(open, current, 'any');

describe('selection', () => {
  test('D10: an IPv6 path whose round trip is 2 ms longer than that of IPv4 wins', () => {
    expect(IPV6_RTT_ADVANTAGE_MS).toBe(3);
    expect(pick([path('ipv4', 10), path('ipv6', 12)])?.kind).toBe('ipv6');
    expect(pick([path('ipv4', 10), path('ipv6', 14)])?.kind).toBe('ipv4');
  });

  test('D11: a direct path of 100 ms wins over a relay of 1 ms, also while the relay is in use', () => {
    const relay = path('relay', 1);
    expect(pick([relay, path('ipv4', 100)])?.kind).toBe('ipv4');
    expect(pick([relay, path('ipv4', 100)], relay)?.kind).toBe('ipv4');
  });

  test('D12: within a tier 4 ms keep the path in use, 5 ms switch', () => {
    const current = path('ipv4', 20);
    expect(RTT_SWITCHING_MIN_MS).toBe(5);
    expect(pick([current, path('ipv4', 16, { remote: other })], current)).toBe(current);
    expect(pick([current, path('ipv4', 15, { remote: other })], current)?.remote).toBe(other);
  });

  test('D13: without a path in use the best one is taken; without paths none', () => {
    expect(pick([path('ipv4', 30), path('custom', 20)])?.kind).toBe('custom');
    expect(pick([])).toBeUndefined();
  });

  test('a stalled path is used only when all are stalled', () => {
    const stalled = path('ipv4', 1, { isStalled: true });
    expect(pick([stalled, path('relay', 50)], stalled)?.kind).toBe('relay');
    expect(pick([stalled], stalled)).toBe(stalled);
  });

  test('a path on two connections counts with its lower round-trip time', () => {
    const [slow, fast] = [path('ipv4', 40), path('ipv4', 20)];
    expect(pick([slow, fast, path('ipv4', 30, { remote: other })])?.rttMs).toBe(20);
  });

  test('a policy leaves only what it allows', () => {
    const open = [path('relay', 1), path('ipv4', 9)];
    expect(selectPath(open, undefined, 'relay')?.kind).toBe('relay');
    expect(selectPath(open, undefined, 'direct')?.kind).toBe('ipv4');
    expect(selectPath([path('relay', 1)], undefined, 'direct')).toBeUndefined();
  });

  const candidates = fc.array(
    fc.record({
      kind: fc.constantFrom<PathKind>('ipv4', 'ipv6', 'relay', 'custom'),
      rttMs: fc.integer({ min: 0, max: 200 }),
      isStalled: fc.boolean(),
    }),
    { maxLength: 8 },
  );

  test('model-8: the answer is one of the allowed paths, and asking again changes nothing', () => {
    fc.assert(
      fc.property(candidates, fc.constantFrom('any', 'direct', 'relay'), (some, policy) => {
        const open = some.map(({ kind, rttMs, isStalled }) => path(kind, rttMs, { isStalled }));
        const first = selectPath(open, undefined, policy);
        if (first === undefined) return open.every(({ kind }) => !isAllowed(policy, kind));
        return isAllowed(policy, first.kind) && isSameTuple(selectPath(open, first, policy)!, first);
      }),
    );
  });

  test('model-8: jitter of ±2 ms never makes two paths of a tier take turns', () => {
    const jitter = fc.array(fc.tuple(fc.integer({ min: -2, max: 2 }), fc.integer({ min: -2, max: 2 })));
    fc.assert(
      fc.property(fc.integer({ min: 10, max: 100 }), jitter, (base, steps) => {
        let current: PathCandidate | undefined;
        let switches = 0;
        for (const [a, b] of steps) {
          const open = [path('ipv4', base + a), path('ipv4', base + b, { remote: other })];
          const next = biasedRttSelector(open, current && open.find((each) => isSameTuple(each, current!)));
          if (current !== undefined && next!.remote !== current.remote) switches++;
          current = next;
        }
        return switches === 0;
      }),
    );
  });
});
