/**
 * Entry `iroh-ts/dns-server`: a lookup server of one's own, wire-compatible with iroh 1.x. Node only.
 *
 * @module
 */
export { DnsServer, type DnsServerOptions, type MainlineOptions } from './actors/dns-server.ts';
export type { ServerCertificate } from './actors/listening.ts';
export type { PutRateLimit } from './actors/put-limits.ts';
export { EndpointId } from './base/endpoint-id.ts';
export { DnsServerError, type ErrorCode } from './base/errors.ts';
export type { Addr } from './base/socket-addr.ts';
export type { DnsServerMetric } from './dns/server/metrics.ts';
export type { ZoneOptions } from './dns/server/zones.ts';
export { MemoryRecordStore, isNewer, type PutOutcome, type RecordStore } from './transport/record-store.ts';
