/** Invariants of net reports (N1 to N6) under random relays, networks, wishes and changes of mind. */
import { expect, test } from '@jest/globals';
import { FULL_REPORT_INTERVAL_MS } from '../../src/net-report/plan.ts';
import { SWITCH_FACTOR } from '../../src/net-report/history.ts';
import { OVERALL_REPORT_TIMEOUT_MS } from '../../src/machines/net-report.ts';
import type { NetReport } from '../../src/net-report/report.ts';
import { NetReportRig, type ReportedRelay } from '../support/net-report-rig.ts';
import { SimRng } from '../support/sim-rng.ts';

const RUNS = Number(process.env['SIM_RUNS'] ?? 20);
const STEPS = 25;
/** To replay one run. */
const ONLY = process.env['NET_REPORT_SEED'];

/** The best that a report says of a relay, ms; undefined when it says nothing. */
function distanceOf(report: NetReport, href: string): number | undefined {
  const all = report.latencies.filter(({ url }) => url.href === href).map(({ latencyMs }) => latencyMs);
  return all.length === 0 ? undefined : Math.min(...all);
}

/** What happened, so that the whole of it can be asked to have happened at all. */
interface Tally {
  reports: number;
  givenUp: number;
  full: number;
}

async function runOne(seed: number, tally: Tally): Promise<void> {
  const rng = new SimRng(seed);
  const rig = new NetReportRig(
    seed,
    rng.chance(0.5) ? {} : { nat: { kind: 'moderate', outsideIp: '203.0.113.1' } },
  );
  const { world, relays, metrics } = rig;
  const all: ReportedRelay[] = [];
  for (let i = rng.between(1, 4); i > 0; i--)
    all.push(
      await rig.addRelay(rng.between(2, 80), {
        hasWeb: rng.chance(0.8),
        hasQad: rng.chance(0.8),
        jitterMs: rng.pick([0, 100]),
      }),
    );
  const configs = [...relays];
  // N6: whoever is asked by HTTPS is in the map at that moment. By QUIC, see the latencies below.
  const { push } = rig.pings;
  rig.pings.push = function (...urls): number {
    for (const url of urls)
      expect([...relays].map((each) => each.url.toUrl().host)).toContain(new URL(url).host);
    return push.apply(this, urls);
  };
  await rig.start();

  let preferred: string | undefined;
  let lastFullAt: number | undefined;
  let asked = 0;
  let answered = 0;
  const now = (): number => world.clock.now();

  async function report(): Promise<void> {
    const isFull = rng.chance(0.2);
    const before = { full: metrics.value('reports_full'), at: now() };
    asked++;
    const result = await rig.report(isFull);
    answered++;
    tally.reports++;
    // N5
    expect(result.tookMs).toBeLessThanOrEqual(OVERALL_REPORT_TIMEOUT_MS);
    // N4
    const wasFull = metrics.value('reports_full') > before.full;
    if (wasFull) {
      tally.full++;
      lastFullAt = before.at;
    }
    expect(before.at - lastFullAt!).toBeLessThanOrEqual(FULL_REPORT_INTERVAL_MS);
    // N6
    const offered = new Set([...relays].map(({ url }) => url.href));
    for (const { url } of result.latencies) expect(offered).toContain(url.href);
    // N2
    const chosen = result.preferredRelay?.href;
    if (chosen === undefined) expect(result.latencies).toEqual([]);
    else expect(distanceOf(result, chosen)).toBeDefined();
    remember(result);
    // N3: distances are the best of the last minutes, so the one of this report bounds that of the old relay only.
    const old = preferred === undefined ? undefined : distanceOf(result, preferred);
    if (!wasFull && chosen !== preferred && old !== undefined)
      expect(nearest(chosen!)).toBeLessThanOrEqual(old * SWITCH_FACTOR);
    if (chosen !== undefined) preferred = chosen;
  }

  // What reports said of each relay, newest last; the chooser counts the last five minutes, which this bounds from below.
  const measured = new Map<string, number>();
  const nearest = (href: string): number => measured.get(href) ?? Infinity;
  function remember(result: NetReport): void {
    for (const { url, latencyMs } of result.latencies)
      measured.set(url.href, Math.min(latencyMs, nearest(url.href)));
  }

  /** Asks, and thinks better of it. N1: one answer each. */
  async function changeMind(): Promise<void> {
    const settled: string[] = [];
    const ask = (signal: AbortSignal): Promise<void> => {
      asked++;
      return rig.reporter.run({ isFull: rng.chance(0.3) }, signal).then(
        () => void settled.push('report'),
        () => void settled.push('given up'),
      );
    };
    const abort = new AbortController();
    const full = metrics.value('reports_full');
    const asking = [ask(abort.signal)];
    await rig.run(rng.pick([0, 1, 50, 400]));
    if (rng.chance(0.5)) asking.push(ask(abort.signal));
    await rig.run(rng.pick([0, 1, 50]));
    abort.abort();
    await world.run(Promise.all(asking), OVERALL_REPORT_TIMEOUT_MS);
    expect(settled).toHaveLength(asking.length);
    answered += asking.length;
    tally.givenUp += settled.filter((each) => each === 'given up').length;
    // Which of the two it was is not known: this is late by half a second.
    if (metrics.value('reports_full') > full) lastFullAt = now();
    // Nobody remembers here what such a report said.
    preferred = undefined;
  }

  const actions: (() => void | Promise<void>)[] = [
    report,
    report,
    report,
    changeMind,
    () => void (rng.pick(all).host.isUp = rng.chance(0.6)),
    () => void relays.delete(rng.pick(all).url),
    () => void relays.set(rng.pick(configs)),
    () => rig.run(rng.pick([100, 5_000, 25_000, 120_000])),
    async () => {
      // Connections for address discovery end: the next report asks all relays.
      rig.host.isUp = false;
      await rig.run(60_000);
      rig.host.isUp = true;
      await report();
    },
    () => void (rig.host.isUp = rng.chance(0.8)),
  ];
  for (let step = 0; step < STEPS; step++) await rng.pick(actions)();
  // N1
  expect(answered).toBe(asked);
  expect(metrics.value('reports')).toBeLessThanOrEqual(asked);
  rig.host.isUp = true;
  await rig.end();
}

test('inv-N1, inv-N2, inv-N3, inv-N4, inv-N5, inv-N6: random relays, networks, wishes and changes of mind', async () => {
  const seeds = ONLY === undefined ? Array.from({ length: RUNS }, (_, i) => i + 1) : [Number(ONLY)];
  const tally: Tally = { reports: 0, givenUp: 0, full: 0 };
  for (const seed of seeds) {
    try {
      await runOne(seed, tally);
    } catch (cause) {
      throw new Error(`NET_REPORT_SEED=${seed}: ${String(cause)}`, { cause });
    }
  }
  if (ONLY !== undefined) return;
  expect(tally.reports).toBeGreaterThan(100);
  expect(tally.givenUp).toBeGreaterThan(10);
  expect(tally.full).toBeGreaterThan(20);
});
