/**
 * Counters of a lookup server, under the names that the reference has (`iroh-dns-server/src/metrics.rs`), so that dashboards
 * fit both; those about refusals are ours.
 *
 * @module
 */

/** Every counter with what it counts. */
export const DNS_SERVER_METRICS = {
  pkarr_publish_update: 'puts that changed what is stored',
  pkarr_publish_noop: 'puts of what is stored already, or older',
  pkarr_publish_error: 'puts that were refused, for whatever reason',
  pkarr_publish_ratelimited: 'puts that were refused because their address had put enough',
  pkarr_publish_malformed: 'puts of what is no signed packet: key, length or records',
  pkarr_publish_bad_signature: 'puts of packets that the key has not signed',
  pkarr_publish_bad_timestamp: 'puts of packets from the future, or older than is kept',
  pkarr_publish_busy:
    'puts that were refused because too many signatures were being verified, or too many waited for the store',
  pkarr_publish_store_full: 'puts that were refused because the store is full',
  dns_requests: 'questions over all transports',
  dns_requests_udp: 'questions over UDP',
  dns_requests_tcp: 'questions over TCP',
  dns_requests_https: 'questions over HTTP',
  dns_requests_malformed: 'questions that cannot be read, or of a kind that is not answered',
  dns_requests_dropped: 'questions over UDP left alone because too many were waiting',
  dns_lookup_success: 'lookups with an answer',
  dns_lookup_notfound: 'lookups without an answer',
  dns_lookup_error: 'lookups that failed because of the store, or of the DHT',
  dht_lookups: 'keys that were looked for in the DHT',
  dht_lookup_success: 'keys that the DHT had a packet of',
  dht_lookup_notfound: 'keys that the DHT had nothing of',
  dht_lookup_error: 'keys that could not be looked for in the DHT',
  dht_lookup_cached: 'lookups answered by what came of looking in the DHT before',
  dht_lookup_dropped:
    'lookups that failed because too many keys were being looked for in the DHT, or too many waited for it',
  dht_publish: 'packets that the DHT has stored for us',
  dht_publish_error: 'packets that the DHT has not stored',
  dht_publish_dropped: 'packets that were not brought to the DHT because too many were waiting',
  dht_refused: 'messages and packets of DHT nodes that were refused',
  http_requests: 'HTTP requests',
  http_requests_success: 'HTTP requests answered with 2xx',
  http_requests_error: 'HTTP requests answered with something else',
  http_requests_duration_ms: 'time for all HTTP requests, ms',
  store_packets_inserted: 'packets of new keys',
  store_packets_updated: 'packets replaced by newer ones',
  store_packets_expired: 'packets removed because of their age',
} as const;

/** Name of a counter. */
export type DnsServerMetric = keyof typeof DNS_SERVER_METRICS;

/** The counters of one lookup server. */
export class DnsServerMetrics {
  readonly #values = Object.fromEntries(Object.keys(DNS_SERVER_METRICS).map((name) => [name, 0])) as Record<
    DnsServerMetric,
    number
  >;

  add(name: DnsServerMetric, amount = 1): void {
    this.#values[name] += amount;
  }

  /** A copy. */
  snapshot(): Readonly<Record<DnsServerMetric, number>> {
    return { ...this.#values };
  }

  /** OpenMetrics text, https://prometheus.io/docs/specs/om/open_metrics_spec/ §3. */
  toOpenMetrics(): string {
    const lines: string[] = [];
    for (const [name, help] of Object.entries(DNS_SERVER_METRICS)) {
      lines.push(`# HELP dns_server_${name} ${help}.`, `# TYPE dns_server_${name} counter`);
      lines.push(`dns_server_${name}_total ${Math.round(this.#values[name as DnsServerMetric])}`);
    }
    return [...lines, '# EOF', ''].join('\n');
  }
}
