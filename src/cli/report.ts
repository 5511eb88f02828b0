/**
 * `report`: what the network of this machine is like for an endpoint. Binds one for a few seconds, under a key that nobody
 * knows and that is published nowhere, and asks relays and the router.
 *
 * @module
 */
import {
  Endpoint,
  systemPlatform,
  type Addr,
  type InterfaceState,
  type NetReport,
  type ProbeKind,
  type TimerId,
} from '../index.ts';
import { parseRelay } from './identity.ts';
import { UserError } from './user-error.ts';

/** Options of the command. */
export interface ReportOptions {
  /** URLs; n0's by default. */
  readonly relay?: readonly string[];
  readonly json?: boolean;
}

/** What is shown. */
export interface ReportFacts {
  readonly report: NetReport;
  /** Those that could be asked. */
  readonly relays: readonly string[];
  readonly boundSockets: readonly Addr[];
  /** What the router opened; undefined: nothing. */
  readonly portMapping: Addr | undefined;
  readonly network: InterfaceState;
}

/** A report takes 5 s at most, and may be repeated when the network changes meanwhile, ms. */
const REPORT_TIMEOUT_MS = 15_000;
/** A router answers within this time of the start, ms: UPnP is searched for 1 s, and then asked. */
const ROUTER_TIMEOUT_MS = 3_000;
/** How long the end waits for the router to close the port again, ms. */
const CLOSE_TIMEOUT_MS = 1_000;
const PROBE_NAMES: Readonly<Record<ProbeKind, string>> = { qadV4: 'IPv4', qadV6: 'IPv6', https: 'HTTPS' };

/** What an endpoint's observables are to who waits for one value. */
interface Values<T> {
  subscribe(listener: { next(value: T | undefined): void; complete(): void }): { unsubscribe(): void };
}

/** The first value that is there; undefined when there is none in time, or the endpoint closes. */
async function firstOf<T>(values$: Values<T>, timeoutMs: number): Promise<T | undefined> {
  const { clock } = systemPlatform;
  let timer: TimerId;
  let subscription: { unsubscribe(): void } | undefined;
  try {
    return await new Promise<T | undefined>((resolve) => {
      timer = clock.setTimeout(() => resolve(undefined), timeoutMs);
      subscription = values$.subscribe({
        next: (value) => {
          if (value !== undefined) resolve(value);
        },
        complete: () => resolve(undefined),
      });
    });
  } finally {
    clock.clearTimeout(timer);
    subscription?.unsubscribe();
  }
}

/** Asks relays and the router. @throws {UserError} when there is no report in time. */
export async function gatherFacts(endpoint: Endpoint): Promise<ReportFacts> {
  const { gateway } = systemPlatform.interfaceState();
  // Where no router is known, none is asked.
  const asked = gateway !== undefined && firstOf<Addr>(endpoint.portMapping$, ROUTER_TIMEOUT_MS);
  const report = await firstOf<NetReport>(endpoint.netReport$, REPORT_TIMEOUT_MS);
  if (report === undefined) throw new UserError('no report was made');
  await asked;
  return {
    report: endpoint.netReport ?? report,
    relays: [...endpoint.relays].map(({ url }) => String(url)),
    boundSockets: endpoint.boundSockets,
    portMapping: endpoint.portMapping,
    network: systemPlatform.interfaceState(),
  };
}

const yesOrNo = (is: boolean | undefined): string => (is === undefined ? 'unknown' : is ? 'yes' : 'no');

function natWords({ udpV4, udpV6, mappingVariesByDestV4: v4, mappingVariesByDestV6: v6 }: NetReport): string {
  if (!udpV4 && !udpV6) return 'unknown';
  const words = (['IPv4', 'IPv6'] as const).flatMap((family) => {
    if (family === 'IPv4' ? !udpV4 : !udpV6) return [];
    const varies = family === 'IPv4' ? v4 : v6;
    if (varies === undefined) return [`${family} unknown, one relay alone cannot tell`];
    return [`${family} ${varies ? 'yes: direct connections need a friendlier NAT on the other side' : 'no'}`];
  });
  return words.join('; ');
}

function publicWords({ globalV4, globalV6 }: NetReport, { network }: ReportFacts): string[] {
  const own = new Set(network.interfaces.flatMap(({ prefixes }) => prefixes.map(({ ip }) => ip)));
  return [globalV4, globalV6].flatMap((addr) => {
    if (addr === undefined) return [];
    return [`${addr.text}${own.has(addr.ip) ? ', an address of this machine' : ', behind a NAT'}`];
  });
}

function portalWords({ captivePortal, udpV4, udpV6 }: NetReport): string {
  if (captivePortal === true) return 'yes: somebody else answers in the place of the relays';
  return captivePortal === undefined && (udpV4 || udpV6) ? 'no' : yesOrNo(captivePortal);
}

/** Nearest first; those that nobody heard of last. */
function relayRows({ report, relays }: ReportFacts): { url: string; kinds: Map<ProbeKind, number> }[] {
  const rows = new Map(relays.map((url) => [url, new Map<ProbeKind, number>()]));
  for (const { url, kind, latencyMs } of report.latencies) rows.get(url.href)?.set(kind, latencyMs);
  const best = (kinds: ReadonlyMap<ProbeKind, number>): number => Math.min(...kinds.values());
  return [...rows]
    .map(([url, kinds]) => ({ url, kinds }))
    .sort((a, b) => best(a.kinds) - best(b.kinds) || (a.url < b.url ? -1 : 1));
}

function relayWords(facts: ReportFacts): string[] {
  const home = facts.report.preferredRelay?.href;
  return relayRows(facts).map(({ url, kinds }) => {
    if (kinds.size === 0) return `        –  ${url}, not heard from`;
    const each = [...kinds].map(([kind, ms]) => `${PROBE_NAMES[kind]} ${Math.round(ms)}`).join(', ');
    const best = `${Math.round(Math.min(...kinds.values()))} ms`.padStart(9);
    return `${best}  ${url} (${each})${url === home ? ', home' : ''}`;
  });
}

function interfaceWords({ interfaces, defaultRoute, gateway }: InterfaceState): string[] {
  return interfaces.map(({ name, prefixes }) => {
    const way = name === defaultRoute ? `, way out${gateway === undefined ? '' : ` through ${gateway}`}` : '';
    return `${name} ${prefixes.map(({ ip, length }) => `${ip}/${length}`).join(' ')}${way}`;
  });
}

/** The report as lines of text. */
export function describeFacts(facts: ReportFacts): string[] {
  const { report, portMapping, network, boundSockets } = facts;
  const asked = network.gateway === undefined ? 'no router is known' : `none by ${network.gateway}`;
  const found = publicWords(report, facts);
  const rows: [string, readonly string[]][] = [
    ['UDP', [`IPv4 ${yesOrNo(report.udpV4)}, IPv6 ${yesOrNo(report.udpV6)}`]],
    ['public address', found.length > 0 ? found : ['unknown']],
    ['mapping varies', [natWords(report)]],
    ['home relay', [report.preferredRelay?.href ?? 'none: no relay answers']],
    ['relays', relayWords(facts)],
    ['captive portal', [portalWords(report)]],
    ['port mapping', [portMapping === undefined ? asked : `${portMapping.text}, opened by the router`]],
    ['interfaces', interfaceWords(network)],
    ['sockets', boundSockets.map(({ text }) => text)],
  ];
  const width = Math.max(...rows.map(([name]) => name.length)) + 2;
  return rows.flatMap(([name, lines]) =>
    lines.map((line, i) => `${(i === 0 ? name : '').padEnd(width)}${line}`),
  );
}

/** The report for programs: absent things are null, times are ms. */
export function toJson(facts: ReportFacts): Record<string, unknown> {
  const { report, portMapping, network, boundSockets } = facts;
  return {
    udpV4: report.udpV4,
    udpV6: report.udpV6,
    globalV4: report.globalV4?.text ?? null,
    globalV6: report.globalV6?.text ?? null,
    mappingVariesByDestV4: report.mappingVariesByDestV4 ?? null,
    mappingVariesByDestV6: report.mappingVariesByDestV6 ?? null,
    captivePortal: report.captivePortal ?? null,
    preferredRelay: report.preferredRelay?.href ?? null,
    relays: relayRows(facts).map(({ url, kinds }) => ({ url, latencyMs: Object.fromEntries(kinds) })),
    portMapping: portMapping?.text ?? null,
    gateway: network.gateway ?? null,
    defaultRoute: network.defaultRoute ?? null,
    interfaces: network.interfaces.map(({ name, prefixes }) => ({
      name,
      addresses: prefixes.map(({ ip, length }) => `${ip}/${length}`),
    })),
    boundSockets: boundSockets.map(({ text }) => text),
  };
}

/** Prints a report, and ends. Exit code 1 when no relay answers. */
export async function report({ relay, json = false }: ReportOptions): Promise<void> {
  const endpoint = await Endpoint.bind({
    preset: 'minimal',
    relay: relay?.map(parseRelay) ?? 'default',
    portMapper: true,
  });
  const close = (): Promise<void> => endpoint.close({ timeoutMs: CLOSE_TIMEOUT_MS });
  const stop = (): void => {
    process.exitCode = 130;
    void close();
  };
  process.once('SIGINT', stop);
  try {
    const facts = await gatherFacts(endpoint);
    console.log(json ? JSON.stringify(toJson(facts), undefined, 2) : describeFacts(facts).join('\n'));
    if (facts.report.preferredRelay === undefined) process.exitCode ??= 1;
  } catch (error) {
    // Whoever pressed Ctrl-C knows why there is none.
    if (process.exitCode !== 130) throw error;
  } finally {
    process.off('SIGINT', stop);
    await close();
  }
}
