/**
 * What is known about the network between this endpoint and the relays (upstream `iroh/src/net_report/report.rs`).
 *
 * @module
 */
import type { Millis } from '../base/clock.ts';
import type { RelayUrl } from '../base/relay-url.ts';
import type { Addr } from '../base/socket-addr.ts';

/** How a latency was measured. */
export type ProbeKind = 'https' | 'qadV4' | 'qadV6';

/** How far a relay is away. */
export interface RelayLatency {
  /** Which relay. */
  readonly url: RelayUrl;
  /** How it was measured. */
  readonly kind: ProbeKind;
  /** Round-trip time, ms. */
  readonly latencyMs: Millis;
}

/** What one run found out. */
export interface NetReport {
  /** A relay answered over UDP and IPv4. */
  readonly udpV4: boolean;
  /** A relay answered over UDP and IPv6. */
  readonly udpV6: boolean;
  /** Whether the NAT shows different addresses to different relays; undefined until two have answered. */
  readonly mappingVariesByDestV4: boolean | undefined;
  /** The same for IPv6. */
  readonly mappingVariesByDestV6: boolean | undefined;
  /** The relay to be found at. */
  readonly preferredRelay: RelayUrl | undefined;
  /** The best per relay and kind, in the order of URLs. */
  readonly latencies: readonly RelayLatency[];
  /** Under which address the relays see our IPv4 socket. */
  readonly globalV4: Addr | undefined;
  /** Under which address they see our IPv6 socket. */
  readonly globalV6: Addr | undefined;
  /** Somebody else answers in the place of the relays; undefined while unknown. */
  readonly captivePortal: boolean | undefined;
}

/** A report in the making. Each relay counts once per kind, with its best latency. */
export class ReportBuilder {
  readonly #latencies = new Map<string, RelayLatency>();
  readonly #observed: Record<4 | 6, Map<string, Addr>> = { 4: new Map(), 6: new Map() };
  readonly #https = new Set<string>();
  /** Somebody else answers in the place of the relays; undefined while unknown. */
  captivePortal: boolean | undefined;

  /** A relay told us our address. */
  addObserved(url: RelayUrl, addr: Addr, latencyMs: Millis): void {
    const { family } = addr;
    this.#observed[family].set(url.href, addr);
    this.#addLatency({ url, kind: family === 4 ? 'qadV4' : 'qadV6', latencyMs });
  }

  /** A relay answered over HTTPS. */
  addHttps(url: RelayUrl, latencyMs: Millis): void {
    this.#https.add(url.href);
    this.#addLatency({ url, kind: 'https', latencyMs });
  }

  #addLatency(latency: RelayLatency): void {
    const key = `${latency.url.href} ${latency.kind}`;
    const known = this.#latencies.get(key);
    if (known === undefined || latency.latencyMs < known.latencyMs) this.#latencies.set(key, latency);
  }

  /** Relays that told us an address of the family. */
  observers(family: 4 | 6): number {
    return this.#observed[family].size;
  }

  /** Whether the relay answered over HTTPS. */
  hasHttps(url: RelayUrl): boolean {
    return this.#https.has(url.href);
  }

  get latencies(): RelayLatency[] {
    return [...this.#latencies.values()].sort((a, b) => (sortKey(a) < sortKey(b) ? -1 : 1));
  }

  /** @param last - What this report does not know, it takes from there. */
  finish(preferredRelay: RelayUrl | undefined, last: NetReport | undefined): NetReport {
    const [v4] = this.#observed[4].values();
    const [v6] = this.#observed[6].values();
    return {
      udpV4: v4 !== undefined,
      udpV6: v6 !== undefined,
      mappingVariesByDestV4: this.#varies(4) ?? last?.mappingVariesByDestV4,
      mappingVariesByDestV6: this.#varies(6) ?? last?.mappingVariesByDestV6,
      preferredRelay,
      latencies: this.latencies,
      globalV4: v4,
      globalV6: v6,
      captivePortal: this.captivePortal ?? last?.captivePortal,
    };
  }

  /** Addresses are interned: equal ones are identical. */
  #varies(family: 4 | 6): boolean | undefined {
    const addrs = [...this.#observed[family].values()];
    return addrs.length < 2 ? undefined : addrs.some((addr) => addr !== addrs[0]);
  }
}

function sortKey({ url, kind }: RelayLatency): string {
  return `${url.href} ${kind}`;
}
