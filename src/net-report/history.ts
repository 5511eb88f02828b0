/**
 * Which relay to be found at: the nearest one over the last minutes, unless a change gains too little
 * (upstream `iroh/src/net_report.rs`, `add_report_history_and_set_preferred_relay`).
 *
 * @module
 */
import type { Millis } from '../base/clock.ts';
import type { RelayUrl } from '../base/relay-url.ts';
import type { RelayLatency } from './report.ts';

/** Older measurements do not count, ms; upstream `MAX_AGE`. */
export const MAX_LATENCY_AGE_MS = 300_000;
/** Another relay must be nearer than this part of the present one's distance; upstream `net_report.rs`. */
export const SWITCH_FACTOR = 2 / 3;

interface Measurement {
  readonly at: Millis;
  readonly latencies: ReadonlyMap<string, Millis>;
}

/** What the reports of the last minutes measured. */
export class ReportHistory {
  #measurements: Measurement[] = [];
  #preferred: string | undefined;

  /**
   * Adds what a report measured and chooses.
   * @param isFull - What was preferred before counts for nothing.
   * @returns A relay of this report; undefined if it reached none.
   */
  add(latencies: readonly RelayLatency[], isFull: boolean, now: Millis): RelayUrl | undefined {
    const current = bestPerRelay(latencies);
    this.#measurements = this.#measurements.filter(({ at }) => now - at <= MAX_LATENCY_AGE_MS);
    this.#measurements.push({ at: now, latencies: current });
    const previous = isFull ? undefined : this.#preferred;
    let best: string | undefined;
    let bestMs = Infinity;
    for (const href of [...current.keys()].sort()) {
      const ms = this.#best(href);
      if (ms < bestMs) [best, bestMs] = [href, ms];
    }
    const previousMs = previous === undefined ? undefined : current.get(previous);
    if (previousMs !== undefined && bestMs > previousMs * SWITCH_FACTOR) best = previous;
    // A report that reached nothing says nothing about who was preferred.
    if (best !== undefined) this.#preferred = best;
    return latencies.find(({ url }) => url.href === best)?.url;
  }

  #best(href: string): Millis {
    return Math.min(...this.#measurements.map((each) => each.latencies.get(href) ?? Infinity));
  }
}

function bestPerRelay(latencies: readonly RelayLatency[]): Map<string, Millis> {
  const best = new Map<string, Millis>();
  for (const { url, latencyMs } of latencies)
    best.set(url.href, Math.min(latencyMs, best.get(url.href) ?? Infinity));
  return best;
}
