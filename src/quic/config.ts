/**
 * Transport configuration: one record per connection, with iroh's defaults.
 *
 * Defaults: behaviour of iroh 1.0.x (`iroh/src/endpoint/quic.rs`, `noq-proto/src/config/transport.rs`), except the
 * connection receive window, which is bounded on purpose (docs/decisions.md).
 *
 * @module
 */
import type { Millis } from '../base/clock.ts';

/** Interval between PINGs that keep connection and paths alive; iroh `HEARTBEAT_INTERVAL`, `iroh/src/socket.rs`. */
export const HEARTBEAT_INTERVAL_MS = 5_000;
/** A direct path without any packet for this long is abandoned; iroh `PATH_MAX_IDLE_TIMEOUT`. */
export const PATH_MAX_IDLE_TIMEOUT_MS = 15_000;
/** The same for a relay path; iroh `RELAY_PATH_MAX_IDLE_TIMEOUT`. */
export const RELAY_PATH_MAX_IDLE_TIMEOUT_MS = 30_000;
/** Paths per connection; iroh `MAX_MULTIPATH_PATHS` in every 1.0.x tag. */
export const MAX_MULTIPATH_PATHS = 8;
/** NAT traversal addresses that we take from a peer; iroh `MAX_QNT_ADDRESSES`. */
export const MAX_NAT_ADDRESSES = 32;

/** RFC 9438 or RFC 9002 §7. */
export type CongestionControl = 'cubic' | 'newReno';
/** draft-seemann-quic-address-discovery: who reports observed addresses. */
export type AddressDiscoveryRole = 'send' | 'receive' | 'both';

/** Everything about a connection that is not identity. */
export interface TransportConfig {
  /** Connection idle time-out, ms; 0 disables it on this side (RFC 9000 §10.1). */
  readonly maxIdleTimeoutMs: Millis;
  /** PING after this much silence, ms; undefined: never. */
  readonly keepAliveIntervalMs: Millis | undefined;
  /** A path of several is given up after this much silence, ms; undefined: never. */
  readonly pathMaxIdleTimeoutMs: Millis | undefined;
  /** PING on every path after this much silence there, ms; undefined: never. */
  readonly pathKeepAliveIntervalMs: Millis | undefined;
  /** Bytes a peer may have unread on one stream; also the start of auto-tuning. */
  readonly streamReceiveWindow: number;
  /** Bytes a peer may have unread on the whole connection. */
  readonly receiveWindow: number;
  /** Upper bound of the auto-tuned {@link receiveWindow}, and of a stream's window. */
  readonly maxReceiveWindow: number;
  /** Bytes that may be buffered unacknowledged for sending, over all streams. */
  readonly sendWindow: number;
  /** Bidirectional streams that the peer may have open at a time. */
  readonly maxConcurrentBidiStreams: number;
  /** Unidirectional streams that the peer may have open at a time. */
  readonly maxConcurrentUniStreams: number;
  /** Bytes of received DATAGRAMs kept for the application; undefined: datagrams are not accepted. */
  readonly datagramReceiveBufferSize: number | undefined;
  /** Bytes of DATAGRAMs queued for sending; beyond it the oldest are dropped, or the sender waits. */
  readonly datagramSendBufferSize: number;
  /** RFC 9002 §6.2.2, ms. */
  readonly initialRttMs: Millis;
  /** Algorithm of every path of the connection. */
  readonly congestionControl: CongestionControl;
  /** UDP payload bytes that packets have at first, 1200 to 65527 (RFC 9000 §14). */
  readonly initialMtu: number;
  /** UDP payload bytes that every path is taken to carry: what discovery falls back to. At least 1200. */
  readonly minMtu: number;
  /** Upper bound of discovery, UDP payload bytes. */
  readonly mtuUpperBound: number;
  /** Off where the transport cannot set don't-fragment. */
  readonly mtuDiscovery: boolean;
  /** Largest UDP payload that we accept (transport parameter max_udp_payload_size). */
  readonly maxUdpPayloadSize: number;
  /** Paths at a time; undefined: multipath is not offered. */
  readonly maxConcurrentPaths: number | undefined;
  /** Addresses taken from the peer (1 to 255); undefined: NAT traversal is not offered. */
  readonly maxNatAddresses: number | undefined;
  /** Whether we tell peers under which address we see them, and ask them to; undefined: neither. */
  readonly addressDiscovery: AddressDiscoveryRole | undefined;
  /** Client: accept a server address change while the handshake runs; upstream `server_handshake_migration`. */
  readonly serverHandshakeMigration: boolean;
  /** Server: allow the client to migrate (RFC 9000 §9). */
  readonly migration: boolean;
  /** Sent-packet count bounds of the first key update by this side; undefined: only near the AEAD limit. */
  readonly keyUpdateAfterPackets: { readonly min: number; readonly max: number } | undefined;
}

/** iroh's defaults. */
export const DEFAULT_TRANSPORT_CONFIG: TransportConfig = {
  maxIdleTimeoutMs: 30_000,
  keepAliveIntervalMs: HEARTBEAT_INTERVAL_MS,
  pathMaxIdleTimeoutMs: PATH_MAX_IDLE_TIMEOUT_MS,
  pathKeepAliveIntervalMs: HEARTBEAT_INTERVAL_MS,
  streamReceiveWindow: 1_250_000,
  receiveWindow: 16 * 1024 * 1024,
  maxReceiveWindow: 64 * 1024 * 1024,
  sendWindow: 10_000_000,
  maxConcurrentBidiStreams: 100,
  maxConcurrentUniStreams: 100,
  datagramReceiveBufferSize: 1_250_000,
  datagramSendBufferSize: 1024 * 1024,
  initialRttMs: 333,
  congestionControl: 'cubic',
  initialMtu: 1200,
  minMtu: 1200,
  mtuUpperBound: 1452,
  mtuDiscovery: true,
  maxUdpPayloadSize: 1472,
  maxConcurrentPaths: MAX_MULTIPATH_PATHS,
  maxNatAddresses: MAX_NAT_ADDRESSES,
  addressDiscovery: undefined,
  serverHandshakeMigration: true,
  migration: true,
  keyUpdateAfterPackets: { min: 10, max: 1000 },
};
