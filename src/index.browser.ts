/**
 * iroh in TypeScript: dial any endpoint by its public key.
 *
 * @module
 */
export {
  Endpoint,
  type Alpn,
  type CloseOptions,
  type ConnectOptions,
  type EndpointOptions,
  type LookupOption,
  type Remote,
} from './endpoint.ts';
export { ExternalAddrs } from './external-addrs.ts';
export { Connecting, type EarlyConnection } from './connecting.ts';
export { Accepting, Incoming } from './incoming.ts';
export { Connection, type CloseReason } from './connection.ts';
export type { Path, PathEvent } from './actors/connection-paths.ts';
export type { RemoteInfo, RemoteInfoAddr } from './actors/remote-info.ts';
export { formatRemoteAddr, type RemoteAddr } from './base/remote-addr.ts';
export type { PathState } from './machines/path.ts';
export type { PathPolicy, SelectionReason } from './machines/path-selection.ts';
export type { PathChoice, PathSelector } from './path-selector.ts';
export { Relays, type RelayConfig, type RelayOption } from './relays.ts';
export { MemoryLookup, type AddressLookups } from './address-lookup.ts';
export { PkarrPublisher, type PkarrPublisherOptions } from './actors/pkarr-publisher.ts';
export { PkarrResolver, type PkarrResolverOptions } from './actors/pkarr-resolver.ts';
export { DnsLookup, type DnsLookupOptions } from './actors/dns-lookup.ts';
export type { LookupEndpoint, LookupFactory, LookupHost } from './actors/lookup-host.ts';
export type { AddrFilter, AddressLookup, LookupAnswer, PublishedData } from './address-lookup/service.ts';
export type { ConnectionInfo, EndpointHooks } from './hooks.ts';
export type { Hooks, HookVerdict } from './actors/hooks.ts';
export type { CustomDatagram, CustomSocket, CustomTransport } from './transport/custom.ts';
export { METRICS, type MetricName, type MetricsView } from './base/metrics.ts';
export type { NetReport, ProbeKind, RelayLatency } from './net-report/report.ts';
export {
  Router,
  RouterBuilder,
  type AcceptFunction,
  type HandlerContext,
  type IncomingFilter,
  type IncomingInfo,
  type IncomingVerdict,
  type ProtocolHandler,
  type ShutdownOptions,
} from './router.ts';
export { RecvStream, SendStream, type BiStream } from './streams.ts';
export type { InspectedEvent } from './transport/channel.ts';
export type { BindOptions } from './actors/bind-plan.ts';
export type { EndpointState } from './actors/endpoint-state.ts';
export type { WaitOptions } from './actors/wait.ts';
export { EndpointId, PublicKey, SecretKey, Signature } from './crypto/keys.ts';
export { EndpointAddr, type EndpointAddrJson } from './base/endpoint-addr.ts';
export type { TransportAddr, TransportAddrJson } from './base/transport-addr.ts';
export { RelayUrl } from './base/relay-url.ts';
export type { RelayProblem, RelayStatus } from './relay/relay-status.ts';
export { parseAddr, toAddr, type Addr } from './base/socket-addr.ts';
export * from './base/errors.ts';
export { ParseError, type ParseErrorCode } from './base/parse-error.ts';
export {
  DEFAULT_TRANSPORT_CONFIG,
  type AddressDiscoveryRole,
  type CongestionControl,
  type TransportConfig,
} from './quic/config.ts';
export type {
  Direction,
  EngineCapabilities,
  EngineProvider,
  PathAbandonReason,
  PathId,
  PathStatus,
  Side,
  StreamId,
} from './quic/engine.ts';
export type { ConnectionStats, PathStats, UdpCounters } from './quic/stats.ts';
export type { Logger } from './transport/log.ts';
export type { QlogFactory, QlogSink } from './quic/qlog.ts';
export type { KeyLog } from './tls/session.ts';
export type {
  HttpRequest,
  HttpResponse,
  Platform,
  ResolveHost,
  ResolveTxt,
  TxtRequest,
} from './transport/platform.ts';
export { systemPlatform } from '#transport/system-platform';
export {
  WebSocketError,
  type RelaySocket,
  type TlsTrust,
  type WebSocketFailure,
  type WebSocketRequest,
} from './transport/relay-socket.ts';
export type { InterfacePrefix, InterfaceState, NetworkInterface } from './base/interface-state.ts';
export type {
  BindRequest,
  DatagramTransport,
  MulticastRequest,
  MulticastTransport,
} from './transport/datagram.ts';
export type { Clock, Millis, TimerId } from './base/clock.ts';
export type { Rng } from './base/rng.ts';
export type { Datagram, Transmit } from './quic/engine.ts';
