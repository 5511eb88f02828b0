import { describe, expect, test } from '@jest/globals';
import { Cubic } from '../../../../src/quic/congestion/cubic.ts';
import { NewReno } from '../../../../src/quic/congestion/new-reno.ts';
import { RttEstimator } from '../../../../src/quic/recovery/rtt.ts';

const MTU = 1_200;

/** A flow that uses its window fully: each round trip acknowledges one window, datagram by datagram. */
class Flow {
  now = 1_000;
  readonly rtt: RttEstimator;
  readonly controller: Cubic;
  readonly #rttMs: number;

  constructor(rttMs: number, startWindow: number) {
    this.#rttMs = rttMs;
    this.rtt = new RttEstimator(rttMs);
    this.controller = new Cubic(MTU);
    while (this.controller.window < startWindow) {
      const missing = Math.min(MTU, startWindow - this.controller.window);
      this.controller.onAcked(this.now, this.now, missing, false, this.rtt);
    }
  }

  lose(persistent = false): void {
    this.now += this.#rttMs;
    this.controller.onCongestionEvent(this.now, this.now - 0.001, persistent, false);
  }

  roundTrip(appLimited = false): void {
    const sentAt = this.now + 0.001;
    const datagrams = Math.floor(this.controller.window / MTU);
    const step = this.#rttMs / datagrams;
    for (let i = 0; i < datagrams; i++) {
      this.now += step;
      this.controller.onAcked(this.now, sentAt, MTU, appLimited, this.rtt);
    }
  }

  run(ms: number): void {
    const end = this.now + ms;
    while (this.now < end - 1e-6) this.roundTrip();
  }

  /** Window in datagrams. */
  get datagrams(): number {
    return this.controller.window / MTU;
  }
}

describe('Cubic', () => {
  test('keeps 0.7 of the window on loss (RFC 9438 §4.6)', () => {
    const flow = new Flow(100, 1_000 * MTU);
    flow.lose();
    expect([flow.datagrams, flow.controller.ssthresh]).toEqual([700, 700 * MTU]);
  });

  test('follows the cubic function: flat around W_max at K, then beyond (RFC 9438 §4.2)', () => {
    const flow = new Flow(100, 1_000 * MTU);
    flow.lose();
    const k = Math.cbrt((1_000 - 700) / 0.4); // 9.09 s
    const expected = (t: number): number => 0.4 * (t - k) ** 3 + 1_000;
    let t = 0;
    for (const at of [2, 4, 6, 9, 12, 15]) {
      flow.run((at - t) * 1_000);
      t = at;
      // The target is one RTT ahead and reached within about one.
      expect(Math.abs(flow.datagrams - expected(at))).toBeLessThan(0.03 * expected(at));
    }
    expect(flow.datagrams).toBeGreaterThan(1_050);
  });

  test('grows by half per round trip at most (RFC 9438 §4.2)', () => {
    const flow = new Flow(100, 20 * MTU);
    flow.lose();
    flow.run(20_000);
    for (let i = 0; i < 20; i++) {
      const before = flow.controller.window;
      flow.roundTrip();
      expect(flow.controller.window).toBeLessThan(before * 1.66); // e^0.5, as acknowledgments compound
    }
  });

  test('is not slower than Reno on short paths (RFC 9438 §4.3)', () => {
    const flow = new Flow(5, 50 * MTU);
    flow.lose();
    const rounds = 60;
    for (let i = 0; i < rounds; i++) flow.roundTrip();
    // 35 datagrams plus 0.53 per round trip up to 50, one per round trip from there.
    const untilPrior = 15 / 0.5294;
    expect(flow.datagrams).toBeCloseTo(50 + (rounds - untilPrior), -1);
    const reno = new NewReno(MTU);
    while (reno.window < 50 * MTU) reno.onAcked(0, 0, MTU, false);
    reno.onCongestionEvent(5, 4, false, false);
    for (let i = 0; i < rounds; i++) {
      for (let sent = 0, all = reno.window; sent < all; sent += MTU) reno.onAcked(20, 10, MTU, false);
    }
    expect(flow.controller.window).toBeGreaterThan(0.9 * reno.window);
  });

  test('fast convergence: a flow that lost before its old maximum aims lower (RFC 9438 §4.7)', () => {
    const plateau = (secondLoss: boolean): number => {
      const flow = new Flow(100, 1_000 * MTU);
      flow.lose();
      if (secondLoss) flow.lose(); // at 700: W_max = 595 instead of 700
      flow.run(1_000 * Math.cbrt((secondLoss ? 595 - 490 : 300) / 0.4));
      return flow.datagrams;
    };
    expect(Math.abs(plateau(false) - 1_000)).toBeLessThan(10);
    expect(Math.abs(plateau(true) - 595)).toBeLessThan(10);
  });

  test('time without growth does not count (RFC 9438 §4.2)', () => {
    const busy = new Flow(100, 1_000 * MTU);
    const idle = new Flow(100, 1_000 * MTU);
    for (const flow of [busy, idle]) {
      flow.lose();
      flow.run(3_000);
    }
    idle.roundTrip(true);
    const before = idle.controller.window;
    idle.now += 60_000;
    idle.roundTrip();
    busy.roundTrip();
    expect(idle.controller.window).toBeGreaterThanOrEqual(before);
    expect(Math.abs(idle.controller.window - busy.controller.window)).toBeLessThan(0.01 * before);
  });

  test('after persistent congestion: slow start to 0.7 of the window, then a plateau there (RFC 9438 §4.8)', () => {
    const flow = new Flow(100, 1_000 * MTU);
    flow.lose(true);
    expect([flow.datagrams, flow.controller.ssthresh]).toEqual([2, 700 * MTU]);
    let rounds = 0;
    while (flow.datagrams < 700) {
      flow.roundTrip();
      rounds++;
    }
    expect(rounds).toBeLessThan(10);
    const start = flow.datagrams;
    flow.run(2_000);
    expect(flow.datagrams - start).toBeLessThan(30);
  });

  test('an undo restores the place on the curve (RFC 9438 §4.9.2)', () => {
    const flow = new Flow(100, 1_000 * MTU);
    const straight = new Flow(100, 1_000 * MTU);
    for (const each of [flow, straight]) {
      each.lose();
      each.run(4_000);
    }
    flow.controller.onCongestionEvent(flow.now, flow.now, false, false);
    expect(flow.controller.window).toBeLessThan(straight.controller.window);
    flow.controller.onSpuriousCongestion();
    expect(flow.controller.window).toBe(straight.controller.window);
    flow.run(4_000);
    straight.run(4_000);
    expect(flow.controller.window).toBe(straight.controller.window);
  });
});
