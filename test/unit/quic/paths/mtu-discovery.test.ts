import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  BLACK_HOLE_BURSTS,
  BLACK_HOLE_COOLDOWN_MS,
  MAX_PROBES,
  MINIMUM_STEP,
  MtuDiscovery,
  REPROBE_INTERVAL_MS,
} from '../../../../src/quic/paths/mtu-discovery.ts';

const CONFIG = { initialMtu: 1_200, minMtu: 1_200, mtuUpperBound: 1_452, mtuDiscovery: true };

function started(config: Partial<typeof CONFIG> = {}, peerLimit = 65_527): MtuDiscovery {
  const mtu = new MtuDiscovery({ ...CONFIG, ...config });
  mtu.onPeerMaxUdpPayloadSize(peerLimit);
  mtu.start(0);
  return mtu;
}

/** Runs a search over a path that passes datagrams up to `pathMtu`; returns the sizes that were tried. */
function search(mtu: MtuDiscovery, pathMtu: number, now = 0): number[] {
  const tried: number[] = [];
  for (let packetNumber = 0; ; packetNumber++) {
    const size = mtu.pollProbe(now);
    if (size === undefined) return tried;
    expect(mtu.pollProbe(now)).toBeUndefined(); // one in flight
    tried.push(size);
    if (size <= pathMtu) mtu.onProbeAcked({ packetNumber, size });
    else mtu.onProbeLost({ packetNumber, size });
  }
}

describe('the search', () => {
  test('goes as upstream: 1326, 1389, 1420, 1452', () => {
    const mtu = started();
    expect(search(mtu, 1_500)).toEqual([1_326, 1_389, 1_420, 1_452]);
    expect(mtu.current).toBe(1_452);
  });

  test('tries each size three times before it is too large', () => {
    const mtu = started();
    const tried = search(mtu, 1_300);
    expect(tried.filter((size) => size === 1_326)).toHaveLength(MAX_PROBES);
    expect(mtu.current).toBeGreaterThan(1_300 - 2 * MINIMUM_STEP);
    expect(mtu.current).toBeLessThanOrEqual(1_300);
  });

  test('a probe that passes at the second try counts', () => {
    const mtu = started();
    expect(mtu.pollProbe(0)).toBe(1_326);
    mtu.onProbeLost({ packetNumber: 0, size: 1_326 });
    expect(mtu.pollProbe(0)).toBe(1_326);
    expect(mtu.onProbeAcked({ packetNumber: 1, size: 1_326 })).toBe(true);
    expect([mtu.current, mtu.pollProbe(0)]).toEqual([1_326, 1_389]);
  });

  test('respects the peer', () => {
    expect(search(started({}, 1_300), 9_000).at(-1)).toBe(1_300);
    expect(search(started({}, 1_200), 9_000)).toEqual([]);
    const mtu = started({ initialMtu: 1_400, minMtu: 1_200 }, 1_250);
    expect([mtu.current, search(mtu, 9_000)]).toEqual([1_250, []]);
  });

  test('respects a peer that says so in the middle', () => {
    const mtu = started();
    expect(mtu.pollProbe(0)).toBe(1_326);
    mtu.onPeerMaxUdpPayloadSize(1_310);
    mtu.onProbeAcked({ packetNumber: 0, size: 1_326 });
    expect(mtu.current).toBe(1_310);
    expect(search(mtu, 9_000).every((size) => size <= 1_310)).toBe(true);
  });

  test('waits for start, and never starts when it is off', () => {
    const waiting = new MtuDiscovery(CONFIG);
    expect([waiting.pollProbe(1e9), waiting.nextProbeAt, waiting.wantsProbe(1e9)]).toEqual([
      undefined,
      Infinity,
      false,
    ]);
    const off = started({ mtuDiscovery: false });
    expect([off.pollProbe(1e9), off.nextProbeAt, off.current]).toEqual([undefined, Infinity, 1_200]);
  });

  test('runs again after ten minutes, from what is known', () => {
    const mtu = started();
    expect(mtu.nextProbeAt).toBe(Infinity);
    search(mtu, 1_400, 5);
    const found = mtu.current;
    expect(mtu.nextProbeAt).toBe(5 + REPROBE_INTERVAL_MS);
    mtu.start(100);
    expect([mtu.wantsProbe(100), mtu.pollProbe(100)]).toEqual([false, undefined]);
    const later = mtu.nextProbeAt;
    expect(mtu.wantsProbe(later)).toBe(true);
    mtu.start(later);
    // The deadline is gone, so that a sender without leave to send does not spin.
    expect([mtu.nextProbeAt, mtu.wantsProbe(later)]).toEqual([Infinity, true]);
    expect(search(mtu, 1_500, later)[0]).toBeGreaterThan(found);
    expect(mtu.current).toBe(1_452);
  });

  test('a probe that could not be sent is tried again and proves nothing', () => {
    const mtu = started();
    mtu.pollProbe(0);
    mtu.cancelProbe();
    expect([mtu.current, mtu.pollProbe(0), mtu.pollProbe(0)]).toEqual([1_200, 1_326, undefined]);
    mtu.onProbeLost({ packetNumber: 0, size: 1_326 });
    mtu.pollProbe(0);
    mtu.cancelProbe();
    expect(search(mtu, 1_200).slice(0, 3)).toEqual([1_326, 1_326, 1_263 - 1]);
  });

  test('finds the path MTU to within two steps, and never sends more than allowed', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1_200, max: 9_000 }),
        fc.integer({ min: 1_200, max: 9_000 }),
        fc.integer({ min: 1_200, max: 9_000 }),
        (pathMtu, upper, peer) => {
          const mtu = started({ mtuUpperBound: upper }, peer);
          const tried = search(mtu, pathMtu);
          const most = Math.min(upper, peer);
          expect(tried.length).toBeLessThan(3 * 16);
          for (const size of tried) expect(size).toBeLessThanOrEqual(most);
          const reachable = Math.min(most, pathMtu);
          expect(mtu.current).toBeLessThanOrEqual(reachable);
          expect(mtu.current).toBeGreaterThan(reachable - 2 * MINIMUM_STEP);
        },
      ),
    );
  });
});

describe('black holes', () => {
  function found(): MtuDiscovery {
    const mtu = started();
    search(mtu, 1_500);
    return mtu;
  }
  /** `count` bursts of two lost packets each, from `from` on, with something acknowledged-or-unknown between. */
  function lose(mtu: MtuDiscovery, from: number, count: number, size = 1_452): number {
    for (let i = 0; i < count; i++) {
      mtu.onNonProbeLost(from, size);
      mtu.onNonProbeLost(from + 1, size);
      from += 4;
    }
    return from;
  }

  test('three bursts of large packets with nothing large getting through', () => {
    const mtu = found();
    const next = lose(mtu, 100, BLACK_HOLE_BURSTS - 1);
    expect(mtu.detectBlackHole(1_000)).toBe(false);
    lose(mtu, next, 1);
    expect(mtu.detectBlackHole(1_000)).toBe(true);
    expect([mtu.current, mtu.blackHolesDetected, mtu.nextProbeAt]).toEqual([
      1_200,
      1,
      1_000 + BLACK_HOLE_COOLDOWN_MS,
    ]);
    expect(mtu.detectBlackHole(1_000)).toBe(false);
    expect(mtu.pollProbe(1_001)).toBeUndefined();
    expect(mtu.pollProbe(1_000 + BLACK_HOLE_COOLDOWN_MS)).toBe(1_326);
  });

  test('one long burst is one burst', () => {
    const mtu = found();
    for (let i = 100; i < 200; i++) mtu.onNonProbeLost(i, 1_452);
    expect(mtu.detectBlackHole(0)).toBe(false);
  });

  test('a burst with a small packet has another cause', () => {
    const mtu = found();
    for (let from = 100, i = 0; i < 10; i++, from += 5) {
      mtu.onNonProbeLost(from, 1_452);
      mtu.onNonProbeLost(from + 1, 900);
    }
    expect(mtu.detectBlackHole(0)).toBe(false);
  });

  test('a later large packet that got through clears the suspicion', () => {
    const mtu = found();
    let next = lose(mtu, 100, 2);
    expect(mtu.detectBlackHole(0)).toBe(false);
    mtu.onNonProbeAcked(next, 1_452);
    next = lose(mtu, next + 1, 1);
    expect(mtu.detectBlackHole(0)).toBe(false);
    lose(mtu, next, 2);
    expect(mtu.detectBlackHole(0)).toBe(true);
  });

  test('losses sent before a success of their size are not suspicious', () => {
    const mtu = found();
    mtu.onNonProbeLost(100, 1_452);
    mtu.detectBlackHole(0);
    mtu.onNonProbeAcked(500, 1_452);
    lose(mtu, 200, 20);
    expect(mtu.detectBlackHole(0)).toBe(false);
  });

  test('a success that was sent before the loss says nothing about it', () => {
    const mtu = found();
    mtu.onNonProbeAcked(90, 1_452);
    lose(mtu, 100, 3);
    expect(mtu.detectBlackHole(0)).toBe(true);
  });

  test('ends a search; its probe proves nothing any more', () => {
    const mtu = started();
    expect(mtu.pollProbe(0)).toBe(1_326);
    mtu.onProbeAcked({ packetNumber: 1, size: 1_326 });
    expect(mtu.pollProbe(0)).toBe(1_389);
    lose(mtu, 100, 3, 1_326);
    expect(mtu.detectBlackHole(0)).toBe(true);
    expect(mtu.onProbeAcked({ packetNumber: 2, size: 1_389 })).toBe(false);
    mtu.onProbeLost({ packetNumber: 2, size: 1_389 });
    expect([mtu.current, mtu.pollProbe(0)]).toEqual([1_200, undefined]);
  });

  test('without discovery the MTU still falls, once', () => {
    const mtu = started({ mtuDiscovery: false, initialMtu: 1_400 });
    lose(mtu, 0, 3, 1_400);
    expect([mtu.detectBlackHole(0), mtu.current, mtu.nextProbeAt]).toEqual([true, 1_200, Infinity]);
  });
});
