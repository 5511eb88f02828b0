/**
 * Counters of a relay server, under the names that the reference has (`iroh-relay/src/server/metrics.rs`), so that
 * dashboards fit both. Some that are always 0 there count here.
 *
 * @module
 */

/** Every counter with what it counts. */
export const RELAY_SERVER_METRICS = {
  bytes_sent: 'bytes of datagram frames sent',
  bytes_recv: 'bytes of datagram frames received',
  send_packets_sent: 'datagram frames sent',
  send_packets_recv: 'datagram frames received',
  send_packets_dropped: 'datagram frames dropped: recipient not here, or its queue full',
  other_packets_sent: 'other frames sent',
  other_packets_recv: 'other frames received',
  other_packets_dropped: 'other frames dropped because a queue was full',
  got_ping: 'pings received',
  sent_pong: 'pongs sent',
  unknown_frames: 'connections ended because of a frame that nobody knows',
  protocol_errors: 'connections ended because a client broke the protocol',
  write_timeouts: 'connections ended because a client did not read',
  pong_timeouts: 'connections ended because a client did not answer',
  auth_timeouts: 'connections ended because a client did not authenticate in time',
  auth_denied: 'connections refused by signature or access check',
  bytes_rx_ratelimited: 'bytes after which reading was paused by the rate limit',
  conns_rx_ratelimited: 'connections that were rate limited',
  accepts: 'clients that were let in',
  disconnects: 'clients that left',
  unique_client_keys: 'clients that were let in with a key that was not connected',
  clients_inactive_added: 'connections that became inactive because another one has the same key',
  clients_inactive_removed: 'inactive connections that ended or became active again',
  qad_incoming: 'attempts at address discovery',
  qad_incoming_error: 'attempts at address discovery that failed',
  qad_connections: 'connections for address discovery',
  qad_connections_closed: 'connections for address discovery that ended',
  qad_connections_errored: 'connections for address discovery that ended with an error',
  http_connections: 'TCP connections',
  http_connections_closed: 'TCP connections that ended',
  http_connections_errored: 'TCP connections that ended with an error',
} as const;

/** Name of a counter. */
export type RelayServerMetric = keyof typeof RELAY_SERVER_METRICS;

/** The counters of one relay server. */
export class RelayServerMetrics {
  readonly #values = Object.fromEntries(Object.keys(RELAY_SERVER_METRICS).map((name) => [name, 0])) as Record<
    RelayServerMetric,
    number
  >;

  add(name: RelayServerMetric, amount = 1): void {
    this.#values[name] += amount;
  }

  value(name: RelayServerMetric): number {
    return this.#values[name];
  }

  /** A copy. */
  snapshot(): Readonly<Record<RelayServerMetric, number>> {
    return { ...this.#values };
  }

  /** OpenMetrics text, https://prometheus.io/docs/specs/om/open_metrics_spec/ §3. */
  toOpenMetrics(): string {
    const lines: string[] = [];
    for (const [name, help] of Object.entries(RELAY_SERVER_METRICS)) {
      lines.push(`# HELP relayserver_${name} ${help}.`, `# TYPE relayserver_${name} counter`);
      lines.push(`relayserver_${name}_total ${this.value(name as RelayServerMetric)}`);
    }
    return [...lines, '# EOF', ''].join('\n');
  }
}
