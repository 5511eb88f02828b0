/**
 * Counters of one endpoint. They only grow (names as upstream's metric groups `socket`, `net_report` and `portmap`, behaviour
 * of iroh 1.0.x).
 *
 * @module
 */

/** Every counter with what it counts. */
export const METRICS = {
  send_ipv4: 'bytes sent over IPv4',
  send_ipv6: 'bytes sent over IPv6',
  send_relay: 'bytes sent over relays',
  send_custom: 'bytes sent over custom transports',
  recv_data_ipv4: 'bytes received over IPv4',
  recv_data_ipv6: 'bytes received over IPv6',
  recv_data_relay: 'bytes received over relays',
  recv_data_custom: 'bytes received over custom transports',
  recv_datagrams: 'datagrams received',
  send_dropped: 'datagrams without a route, or refused by a full queue',
  recv_dropped: 'received datagrams dropped because a queue was full',
  relay_home_change: 'changes of the home relay',
  relay_conns_success: 'relay connections established',
  relay_conns_failed: 'attempts to connect to a relay that failed',
  relay_conns_closed: 'relay connections that ended',
  relay_conns_ratelimited: 'relay connections on which the relay said that it limits the rate',
  holepunch_attempts: 'rounds of hole punching started',
  num_conns_opened: 'connections opened',
  num_conns_closed: 'connections closed',
  num_conns_direct: 'connections that had a direct path at some time',
  transport_ip_paths_added: 'direct paths opened',
  transport_ip_paths_removed: 'direct paths closed',
  transport_relay_paths_added: 'relay paths opened',
  transport_relay_paths_removed: 'relay paths closed',
  transport_custom_paths_added: 'custom paths opened',
  transport_custom_paths_removed: 'custom paths closed',
  actor_tick_re_stun: 'reports asked for by the timer',
  actor_link_change: 'changes of the network',
  reports: 'net reports',
  reports_full: 'full net reports',
  portmap_attempts: 'port mappings asked for',
  portmap_external_address_updated: 'changes of the mapped address',
  portmap_probes_started: 'searches for services of the router that map ports',
  portmap_mapping_attempts: 'attempts to get a port mapped',
  portmap_mapping_failures: 'attempts to get a port mapped that failed',
  portmap_refusals: 'answers to the port mapper that were of no use',
} as const;

/** Name of a counter. */
export type MetricName = keyof typeof METRICS;

/** The counters of an endpoint, to be read. */
export interface MetricsView {
  /** One counter. */
  value(name: MetricName): number;
  /** A copy with all names, those that never counted as 0. */
  snapshot(): ReadonlyMap<MetricName, number>;
  /** OpenMetrics text, https://prometheus.io/docs/specs/om/open_metrics_spec/ §3. */
  toOpenMetrics(): string;
}

/** The counters of one endpoint. */
export class Metrics implements MetricsView {
  readonly #values = new Map<MetricName, number>();

  add(name: MetricName, amount = 1): void {
    this.#values.set(name, (this.#values.get(name) ?? 0) + amount);
  }

  value(name: MetricName): number {
    return this.#values.get(name) ?? 0;
  }

  /** A copy with all names, those that never counted as 0. */
  snapshot(): ReadonlyMap<MetricName, number> {
    const names = Object.keys(METRICS) as MetricName[];
    return new Map(names.map((name) => [name, this.value(name)]));
  }

  /** OpenMetrics text, https://prometheus.io/docs/specs/om/open_metrics_spec/ §3. */
  toOpenMetrics(): string {
    const lines: string[] = [];
    for (const [name, help] of Object.entries(METRICS)) {
      lines.push(`# HELP iroh_${name} ${help}`, `# TYPE iroh_${name} counter`);
      lines.push(`iroh_${name}_total ${this.value(name as MetricName)}`);
    }
    return [...lines, '# EOF', ''].join('\n');
  }
}
