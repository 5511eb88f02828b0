/**
 * What a report probes, and when it knows enough (upstream `iroh/src/net_report/{probes,reportgen}.rs`).
 *
 * @module
 */
import type { Millis } from '../base/clock.ts';
import type { RelayUrl } from '../base/relay-url.ts';
import type { NetReport } from './report.ts';

/** A full report at least so often, ms; upstream `FULL_REPORT_INTERVAL`, `iroh/src/net_report.rs`. */
export const FULL_REPORT_INTERVAL_MS = 300_000;
/** Relays that are asked for our address; upstream `MAX_RELAYS`. */
export const MAX_QAD_RELAYS = 5;
/** Answers after which no others are waited for; upstream `ENOUGH_ENDPOINTS`. */
export const ENOUGH_QAD_ANSWERS = 3;
/** First HTTPS probe after, ms; upstream `probes.rs`. Address discovery is faster where it works. */
export const HTTPS_OFFSET_MS = 200;
/** From one HTTPS probe of a relay to the next, ms; same file. */
export const HTTPS_SPACING_MS = 100;
/** HTTPS probes of one relay; same file. */
export const HTTPS_ATTEMPTS = 3;

/** A relay that can be probed. */
export interface ProbeTarget {
  readonly url: RelayUrl;
  /** Where it answers address discovery. */
  readonly quicPort: number | undefined;
}

/** What is there to probe with. */
export interface ProbeMeans {
  /** Our sockets and our network have IPv4. */
  readonly hasV4: boolean;
  readonly hasV6: boolean;
  /** Web servers can be asked without TLS: not from the page of a browser. */
  readonly hasPlainHttp: boolean;
}

/** What one report does. */
export interface ProbePlan {
  readonly isFull: boolean;
  /** Relays in the order in which they are asked. */
  readonly qad: readonly ProbeTarget[];
  readonly families: readonly (4 | 6)[];
  readonly https: readonly ProbeTarget[];
  /** Which relay is asked whether somebody else answers in its place; undefined: none. */
  readonly portal: RelayUrl | undefined;
}

/** What was known before. */
export interface ReportMemory {
  readonly last: NetReport | undefined;
  readonly lastFullAt: Millis | undefined;
}

/** Whether what was known before counts for nothing. */
export function mustBeFull({ last, lastFullAt }: ReportMemory, isAsked: boolean, now: Millis): boolean {
  if (isAsked || last === undefined || lastFullAt === undefined) return true;
  if (now - lastFullAt > FULL_REPORT_INTERVAL_MS) return true;
  // Somebody else answered, and perhaps does not any more.
  return last.captivePortal === true && !last.udpV4 && !last.udpV6;
}

/**
 * What to probe.
 *
 * @param relays - In the order of their URLs.
 * @param pick - Chooses one of so many.
 */
export function planProbes(
  relays: readonly ProbeTarget[],
  means: ProbeMeans,
  { last }: ReportMemory,
  isFull: boolean,
  pick: (count: number) => number,
): ProbePlan {
  const qad = relays.filter(({ quicPort }) => quicPort !== undefined).slice(0, MAX_QAD_RELAYS);
  const families = ([4, 6] as const).filter((family) => (family === 4 ? means.hasV4 : means.hasV6));
  const isInitial = isFull || last === undefined || last.latencies.length === 0;
  // Where address discovery is not to be had, HTTPS is all there is.
  const isOnly = qad.length === 0 || families.length === 0;
  return {
    isFull,
    qad: families.length === 0 ? [] : qad,
    families: qad.length === 0 ? [] : families,
    https: isInitial || isOnly ? relays : [],
    portal: isFull && means.hasPlainHttp ? portalRelay(relays, last, pick) : undefined,
  };
}

function portalRelay(
  relays: readonly ProbeTarget[],
  last: NetReport | undefined,
  pick: (count: number) => number,
): RelayUrl | undefined {
  if (relays.length === 0) return undefined;
  const preferred = relays.find(({ url }) => url.href === last?.preferredRelay?.href);
  return (preferred ?? relays[pick(relays.length)]!).url;
}

/** When HTTPS probes of one relay start, ms from the start of the report. */
export function httpsDelays(): Millis[] {
  return Array.from({ length: HTTPS_ATTEMPTS }, (_, i) => HTTPS_OFFSET_MS + i * HTTPS_SPACING_MS);
}

/** What has been found so far. */
export interface ProbeProgress {
  /** Relays that told us our IPv4 address. */
  readonly v4: number;
  readonly v6: number;
}

/**
 * Whether address discovery alone has told enough: in a full report two relays of one family, so that a NAT that varies
 * shows, and one of the other; else one of each. One relay is enough where there is only one.
 */
export function knowsEnough(plan: ProbePlan, { v4, v6 }: ProbeProgress): boolean {
  if (plan.families.length === 0) return false;
  const many = plan.isFull ? Math.min(2, plan.qad.length) : 1;
  if (plan.families.length === 1) return (plan.families[0] === 4 ? v4 : v6) >= many;
  return (v4 >= many && v6 >= 1) || (v6 >= many && v4 >= 1);
}

/** Whether a family may stop asking further relays. */
export function mayStopFamily(plan: ProbePlan, answers: number): boolean {
  return answers >= Math.min(plan.isFull ? ENOUGH_QAD_ANSWERS : 1, plan.qad.length);
}
