/**
 * Entry `iroh-ts/relay-server`: a relay server of one's own, wire-compatible with iroh 1.x. Node only.
 *
 * @module
 */
export { RelayServer, type RelayAccess, type RelayServerOptions } from './actors/relay-server.ts';
export type { ServerCertificate as RelayCertificate } from './actors/listening.ts';
export { RelayServerError, type ErrorCode } from './base/errors.ts';
export { EndpointId } from './base/endpoint-id.ts';
export { RelayUrl } from './base/relay-url.ts';
export type { Addr } from './base/socket-addr.ts';
export type { AccessRequest } from './relay/server/access.ts';
export type { RelayHubEvent } from './actors/relay-hub.ts';
export type { RelayServerMetric } from './relay/server/metrics.ts';
export type { RateLimit } from './relay/server/rate-limit.ts';
export type { EndReason } from './actors/relay-session.ts';
