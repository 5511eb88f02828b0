/**
 * Gives the chart of `machines/net-report.ts` its body: asks relays for our addresses and for their distance.
 *
 * One connection for address discovery per family stays open between reports. What it hears later is told by
 * {@link NetReporter.onFinding}.
 *
 * @module
 */
import { fromPromise, type Actor } from 'xstate';
import type { Millis } from '../base/clock.ts';
import { hasFamily } from '../base/interface-state.ts';
import type { Metrics } from '../base/metrics.ts';
import { randomBelow } from '../base/rng.ts';
import { netReportMachine, PROBES_TIMEOUT_MS } from '../machines/net-report.ts';
import { isPortalAnswer, portalQuestion } from '../net-report/captive-portal.ts';
import { ReportHistory } from '../net-report/history.ts';
import {
  httpsDelays,
  knowsEnough,
  mayStopFamily,
  mustBeFull,
  planProbes,
  type ProbePlan,
  type ProbeTarget,
} from '../net-report/plan.ts';
import { ReportBuilder, type NetReport } from '../net-report/report.ts';
import type { RelayMap } from '../relay/relay-map.ts';
import type { Log } from '../transport/log.ts';
import type { Platform } from '../transport/platform.ts';
import type { TlsTrust } from '../transport/relay-socket.ts';
import type { ActorSystem } from './actor-system.ts';
import type { QadClient, QadConnection } from './qad-client.ts';

/** What a relay answers to a probe is read up to here; upstream `reportgen.rs`. */
export const HTTPS_BODY_LIMIT_BYTES = 8_192;
/** Findings between reports are told at most so often, ms: a relay that lies must not keep us busy. */
export const FINDING_INTERVAL_MS = 5_000;

/** How a {@link NetReporter} is made. */
export interface NetReporterOptions {
  readonly system: ActorSystem;
  /** Short form of the endpoint's id. */
  readonly name: string;
  readonly platform: Platform;
  readonly relays: RelayMap;
  /** Undefined where there is no UDP. */
  readonly qad: QadClient | undefined;
  /** Families of the endpoint's sockets. */
  readonly families: () => ReadonlySet<4 | 6>;
  readonly tls?: TlsTrust | undefined;
  readonly proxy?: string | undefined;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** A report that is being made. */
interface Run {
  readonly plan: ProbePlan;
  readonly builder: ReportBuilder;
  /** Families that are still being asked. */
  readonly asking: Set<4 | 6>;
}

/** Who waits for a report. */
interface Waiting {
  readonly resolve: (report: NetReport) => void;
  readonly reject: (reason: unknown) => void;
}

/** Makes reports, one at a time. */
export class NetReporter {
  /** Our address changed, or was found too late for the last report: another report would say something new. */
  onFinding: (() => void) | undefined;
  readonly #options: NetReporterOptions;
  readonly #actor: Actor<typeof netReportMachine>;
  readonly #history = new ReportHistory();
  readonly #kept = new Map<4 | 6, QadConnection>();
  readonly #dials = new Map<4 | 6, AbortController>();
  #last: NetReport | undefined;
  #lastFullAt: Millis | undefined;
  #run: Run | undefined;
  #waiting: Waiting | undefined;
  #findingAt: Millis = -Infinity;

  constructor(options: NetReporterOptions) {
    this.#options = options;
    const machine = netReportMachine.provide({
      actors: {
        'ask for our IPv4 address': fromPromise(() => this.#ask(4)),
        'ask for our IPv6 address': fromPromise(() => this.#ask(6)),
        'probe over HTTPS': fromPromise(({ signal }) => this.#probeHttps(signal)),
        'ask for captive portal': fromPromise(({ signal }) => this.#askForPortal(signal)),
      },
      actions: {
        'plan probes': ({ context }) => this.#plan(context.isFull),
        'hand out report': () => this.#handOut(),
        'give up report': () => this.#giveUp(new Error('the report was given up')),
        'close connections': () => this.#closeConnections(),
      },
      guards: {
        'knows enough': () => {
          const { plan, builder } = this.#run!;
          return knowsEnough(plan, { v4: builder.observers(4), v6: builder.observers(6) });
        },
        'address discovery is over': () => this.#run!.asking.size === 0,
        'all answered over HTTPS': () => {
          const { plan, builder } = this.#run!;
          return plan.https.length > 0 && plan.https.every(({ url }) => builder.hasHttps(url));
        },
        'no portal can be there': () => {
          const { plan, builder } = this.#run!;
          // Who reaches a relay over UDP is free.
          return plan.portal === undefined || builder.observers(4) + builder.observers(6) > 0;
        },
      },
    });
    this.#actor = options.system.start(machine, `net report ${options.name}`, undefined);
  }

  /** @throws the signal's reason; {@link Error} once closed. */
  run({ isFull }: { readonly isFull: boolean }, signal: AbortSignal): Promise<NetReport> {
    return new Promise<NetReport>((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      if (this.#actor.getSnapshot().status !== 'active') return reject(new Error('no more reports'));
      // One at a time: who asks again has given the first one up.
      this.#giveUp(new Error('another report was asked for'));
      this.#actor.send({ type: 'cancel' });
      const abort = (): void => {
        this.#giveUp(signal.reason);
        this.#actor.send({ type: 'cancel' });
      };
      const release = (): void => signal.removeEventListener('abort', abort);
      signal.addEventListener('abort', abort, { once: true });
      this.#waiting = {
        resolve: (report) => {
          release();
          resolve(report);
        },
        reject: (reason) => {
          release();
          reject(reason);
        },
      };
      this.#actor.send({ type: 'run', isFull });
    });
  }

  #plan(isAsked: boolean): void {
    const { relays, platform, qad, families, metrics } = this.#options;
    const now = platform.clock.now();
    const memory = { last: this.#last, lastFullAt: this.#lastFullAt };
    const isFull = mustBeFull(memory, isAsked, now);
    const own = families();
    const network = platform.interfaceState();
    const means = {
      hasV4: qad !== undefined && own.has(4),
      hasV6: qad !== undefined && own.has(6) && hasFamily(network, 6),
      // A page that came by HTTPS may not.
      hasPlainHttp: platform.resolveDns !== undefined,
    };
    const pick = (count: number): number => randomBelow(platform.rng, count);
    const plan = planProbes([...relays], means, memory, isFull, pick);
    if (isFull) {
      this.#closeConnections();
      this.#lastFullAt = now;
      metrics.add('reports_full');
    }
    metrics.add('reports');
    this.#run = { plan, builder: new ReportBuilder(), asking: new Set(plan.families) };
  }

  // --- address discovery ----------------------------------------------------------------------------------------------------

  /** Resolves once nothing more is to be had from the family. */
  async #ask(family: 4 | 6): Promise<void> {
    const run = this.#run!;
    const { plan, builder, asking } = run;
    if (!asking.has(family)) return;
    const kept = this.#kept.get(family);
    // The relay may have been taken out of the map.
    if (kept?.isOpen === true && plan.qad.some(({ url }) => url.href === kept.url.href)) {
      builder.addObserved(kept.url, kept.addr, kept.latencyMs);
    } else {
      kept?.close();
      this.#kept.delete(family);
      await this.#dialAll(run, family);
    }
    asking.delete(family);
    // Not in the step of the chart that started this.
    await Promise.resolve();
    if (this.#run === run) this.#actor.send({ type: 'found' });
  }

  async #dialAll(run: Run, family: 4 | 6): Promise<void> {
    const { plan, builder } = run;
    const { clock } = this.#options.platform;
    this.#dials.get(family)?.abort();
    const dials = new AbortController();
    this.#dials.set(family, dials);
    // Longer than the report, which may end without this family: an answer that comes late is worth keeping.
    const timer = clock.setTimeout(() => dials.abort(), PROBES_TIMEOUT_MS);
    await Promise.all(
      plan.qad.map(async ({ url, quicPort }) => {
        try {
          const target = { url, quicPort: quicPort! };
          const connection = await this.#options.qad!.connect(target, family, dials.signal);
          if (dials.signal.aborted) return connection.close();
          this.#keep(connection);
          if (this.#run !== run) return this.#find();
          builder.addObserved(url, connection.addr, connection.latencyMs);
          if (mayStopFamily(plan, builder.observers(family))) dials.abort();
          this.#actor.send({ type: 'found' });
        } catch (error) {
          if (!dials.signal.aborted) this.#log(() => `no address from ${url.href}: ${String(error)}`);
        }
      }),
    );
    clock.clearTimeout(timer);
    if (this.#dials.get(family) === dials) this.#dials.delete(family);
  }

  /** The first of a family stays; others have said what they know. */
  #keep(connection: QadConnection): void {
    const { family } = connection;
    if (this.#kept.get(family)?.isOpen === true) return connection.close();
    this.#kept.set(family, connection);
    connection.onMoved = () => this.#find();
  }

  /** There is something new. */
  #find(): void {
    const now = this.#options.platform.clock.now();
    if (this.#run !== undefined || now - this.#findingAt < FINDING_INTERVAL_MS) return;
    this.#findingAt = now;
    this.onFinding?.();
  }

  // --- HTTPS ----------------------------------------------------------------------------------------------------------------

  async #probeHttps(signal: AbortSignal): Promise<void> {
    const run = this.#run!;
    await Promise.all(run.plan.https.map((target) => this.#probeRelay(run, target, signal)));
  }

  /** Several attempts that overlap; the first answer ends the others. */
  async #probeRelay({ builder }: Run, { url }: ProbeTarget, signal: AbortSignal): Promise<void> {
    const { clock } = this.#options.platform;
    const attempts = new AbortController();
    const abort = (): void => attempts.abort();
    signal.addEventListener('abort', abort, { once: true });
    if (signal.aborted) abort();
    const answers = httpsDelays().map(async (delayMs) => {
      await this.#sleep(delayMs, attempts.signal);
      const startedAt = clock.now();
      const status = await this.#ping(url.toUrl(), attempts.signal);
      if (status < 200 || status > 299) throw new Error(`status ${status}`);
      return clock.now() - startedAt;
    });
    try {
      const latencyMs = await Promise.any(answers);
      if (!signal.aborted) builder.addHttps(url, latencyMs);
    } catch (error) {
      const [first] = (error as AggregateError).errors as unknown[];
      if (!signal.aborted) this.#log(() => `no answer from ${url.href}: ${String(first)}`);
    }
    abort();
    signal.removeEventListener('abort', abort);
  }

  async #ping(url: URL, signal: AbortSignal): Promise<number> {
    const { platform, tls, proxy } = this.#options;
    url.pathname = '/ping';
    url.search = '';
    const { status } = await platform.fetch({
      url: url.href,
      signal,
      maxBodyBytes: HTTPS_BODY_LIMIT_BYTES,
      tls,
      proxy,
    });
    return status;
  }

  #sleep(ms: Millis, signal: AbortSignal): Promise<void> {
    const { clock } = this.#options.platform;
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason as Error);
      const abort = (): void => {
        clock.clearTimeout(timer);
        reject(signal.reason as Error);
      };
      const timer = clock.setTimeout(() => {
        signal.removeEventListener('abort', abort);
        resolve();
      }, ms);
      signal.addEventListener('abort', abort, { once: true });
    });
  }

  // --- captive portal -------------------------------------------------------------------------------------------------------

  /** Not through the proxy: a portal stands in the way of who has none. */
  async #askForPortal(signal: AbortSignal): Promise<void> {
    const { plan, builder } = this.#run!;
    const question = portalQuestion(plan.portal!);
    const { url, headers } = question;
    const { platform } = this.#options;
    try {
      const answer = await platform.fetch({ url, headers, signal, maxBodyBytes: 0 });
      if (!signal.aborted) builder.captivePortal = isPortalAnswer(question, answer);
    } catch (error) {
      if (!signal.aborted) this.#log(() => `nobody at ${url}: ${String(error)}`);
    }
  }

  // --- the end of a report --------------------------------------------------------------------------------------------------

  #handOut(): void {
    const { plan, builder } = this.#run!;
    const now = this.#options.platform.clock.now();
    const preferred = this.#history.add(builder.latencies, plan.isFull, now);
    const report = builder.finish(preferred, plan.isFull ? undefined : this.#last);
    this.#last = report;
    // Who has told nothing yet may still; a family that has is asked no further.
    for (const [family, dials] of this.#dials) if (builder.observers(family) > 0) dials.abort();
    this.#run = undefined;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    this.#log(() => describe(report));
    waiting?.resolve(report);
  }

  #giveUp(reason: unknown): void {
    for (const dials of this.#dials.values()) dials.abort();
    this.#run = undefined;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.reject(reason);
  }

  #closeConnections(): void {
    for (const dials of this.#dials.values()) dials.abort();
    this.#dials.clear();
    for (const connection of this.#kept.values()) connection.close();
    this.#kept.clear();
  }

  #log(line: () => string): void {
    this.#options.log.write('endpoint', () => `${this.#options.name} net report: ${line()}`);
  }

  /** Gives up the running report and tells relays that we are done. Idempotent. */
  close(): Promise<void> {
    this.onFinding = undefined;
    this.#actor.send({ type: 'close' });
    return Promise.resolve();
  }
}

function describe({ preferredRelay, globalV4, globalV6, latencies, captivePortal }: NetReport): string {
  const distances = latencies.map(
    ({ url, kind, latencyMs }) => `${url.href} ${kind} ${Math.round(latencyMs)} ms`,
  );
  const seen = [globalV4, globalV6].flatMap((addr) => (addr === undefined ? [] : [addr.text]));
  const portal = captivePortal === true ? 'captive portal; ' : '';
  return `${portal}prefers ${preferredRelay?.href ?? 'none'}, seen as ${seen.join(', ') || 'nobody'}; ${distances.join(', ')}`;
}
