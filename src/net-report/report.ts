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
  readonly url: RelayUrl;
  readonly kind: ProbeKind;
  readonly latencyMs: Millis;
}

/** What one run found out. */
export interface NetReport {
  /** A relay answered over UDP and IPv4. */
  readonly udpV4: boolean;
  readonly udpV6: boolean;
  /** Whether the NAT shows different addresses to different relays; undefined until two have answered. */
  readonly mappingVariesByDestV4: boolean | undefined;
  readonly mappingVariesByDestV6: boolean | undefined;
  /** The relay to be found at. */
  readonly preferredRelay: RelayUrl | undefined;
  /** The best per relay and kind, in the order of URLs. */
  readonly latencies: readonly RelayLatency[];
  /** Under which address the relays see our IPv4 socket. */
  readonly globalV4: Addr | undefined;
  readonly globalV6: Addr | undefined;
  /** Somebody else answers in the place of the relays; undefined while unknown. */
  readonly captivePortal: boolean | undefined;
}
