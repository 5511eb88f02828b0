/**
 * What a QUIC engine is to the rest of the system: bytes and `now` in, bytes and events out.
 *
 * There are two implementations (docs/decisions.md): `src/quic` here, and `src/quiche`, an adapter over quiche. Everything
 * is synchronous. After any call the caller drains, in this order: {@link QuicEngine.pollTransmits}, then
 * {@link QuicEngine.pollTimeout}, then {@link QuicEngine.pollEvent}.
 *
 * @module
 */
import type { Millis } from '../base/clock.ts';
import type { Rng } from '../base/rng.ts';
import type { Addr } from '../base/socket-addr.ts';
import type { SecretKey } from '../crypto/keys.ts';
import type { ClientTlsConfig, PeerIdentity, ServerTlsConfig } from '../tls/session.ts';
import type { ConnectionStats, PathStats } from './stats.ts';
import type { TransportConfig } from './config.ts';
import type { QlogFactory } from './qlog.ts';
import type { TransportError } from './transport-error.ts';

/** A received UDP payload. */
export interface Datagram {
  /** Where it came from. */
  readonly from: Addr;
  /** Bound address of the socket that received it. */
  readonly local: Addr;
  /** Owned by the engine from now on: header protection is removed in place, plaintext may be a view into it. */
  readonly data: Uint8Array;
}

/** A UDP payload to send. */
export interface Transmit {
  /** Where to. */
  to: Addr;
  /** Socket to send from; undefined lets the transport choose. */
  local: Addr | undefined;
  /** Payload; its buffer is used again once the socket's queue is empty. */
  data: Uint8Array;
}

/** The addresses of a path. `local` is undefined until a packet arrived on it or the caller named one. */
export interface FourTuple {
  readonly local: Addr | undefined;
  readonly remote: Addr;
}

/** Who dialled the connection: the client did. */
export type Side = 'client' | 'server';
/** A bidirectional or a unidirectional stream (RFC 9000 §2.1). */
export type Direction = 'bi' | 'uni';
/** RFC 9000 §2.1: bit 0 = opened by the server, bit 1 = unidirectional. */
export type StreamId = number;
/** Multipath path id, 0 for the path of the handshake. */
export type PathId = number;
/** Whether a path is preferred for data; draft-ietf-quic-multipath §3.3. */
export type PathStatus = 'available' | 'backup';

/** What an engine can do, whatever the peer can: what is missing here is not offered to any peer. */
export interface EngineCapabilities {
  /** draft-ietf-quic-multipath: several paths carry data, and both sides have a say. */
  readonly multipath: boolean;
  /** n0's NAT traversal: addresses are exchanged and hole-punching rounds are started. */
  readonly natTraversal: boolean;
  /** draft-seemann-quic-address-discovery. */
  readonly addressDiscovery: boolean;
  /** RFC 7250. Without it, endpoints prove their keys by self-signed X.509 certificates. */
  readonly rawPublicKeys: boolean;
  /**
   * RFC 9000 §9. Without `multipath` the path calls mean this: a client's `openPathEnsure` probes another path, and status
   * `available` on a validated path moves the connection to it; servers follow.
   */
  readonly migration: boolean;
  /** RFC 8446 §7.5: `exportKeyingMaterial` works; else it throws. */
  readonly exporter: boolean;
  /** True when every deadline comes from `now` arguments, so that the engine can be simulated. */
  readonly virtualTime: boolean;
}

/** How the engine dials. */
export interface ClientConfig {
  readonly tls: ClientTlsConfig;
  readonly transport: TransportConfig;
}

/** How the engine accepts. */
export interface ServerConfig {
  readonly tls: ServerTlsConfig;
  readonly transport: TransportConfig;
}

/** A connection attempt that nobody has decided about. Initial packets that follow are buffered (bounded). */
export interface IncomingRef {
  readonly remote: Addr;
  readonly local: Addr;
  /** True when the client proved its address with a token. */
  readonly remoteValidated: boolean;
  /**
   * Offered protocols, in the client's order; undefined when the first Initial does not hold a whole ClientHello, and
   * once the attempt was accepted or refused.
   */
  readonly offeredAlpns: readonly Uint8Array[] | undefined;
}

/** Why a connection ended, RFC 9000 §10 and §11. */
export type CloseReason =
  | { readonly type: 'versionMismatch' }
  /** This side found a protocol error. */
  | { readonly type: 'transportError'; readonly error: TransportError }
  /** The peer sent CONNECTION_CLOSE 0x1c. */
  | {
      readonly type: 'connectionClosed';
      readonly code: bigint;
      readonly frameType: number;
      readonly reason: Uint8Array;
    }
  /** The peer sent CONNECTION_CLOSE 0x1d. */
  | { readonly type: 'applicationClosed'; readonly code: bigint; readonly reason: Uint8Array }
  /** Stateless reset. */
  | { readonly type: 'reset' }
  | { readonly type: 'timedOut' }
  /** `close` was called on this side. */
  | { readonly type: 'locallyClosed' }
  | { readonly type: 'cidsExhausted' };

/** Why a path ended. */
export type PathAbandonReason =
  /** This side closed it, with a code for the peer. */
  | { readonly type: 'applicationClosed'; readonly code: number }
  /** The peer did not answer a challenge (RFC 9000 §8.2.4). */
  | { readonly type: 'validationFailed' }
  /** Nothing came for `pathMaxIdleTimeoutMs`. */
  | { readonly type: 'timedOut' }
  /** Its network is gone. */
  | { readonly type: 'unusableAfterNetworkChange' }
  /** The peer gave it up, with this code (PATH_ABANDON, draft-ietf-quic-multipath-21 §4.2). */
  | { readonly type: 'remoteAbandoned'; readonly code: number }
  /** The whole connection ended. */
  | { readonly type: 'connectionClosed' };

/** What happened on a connection. Edges, not payload: data is pulled. */
export type ConnectionEvent =
  /** ALPN is known (client: ServerHello flight verified; server: ClientHello processed). */
  | { readonly type: 'handshakeData' }
  /** The TLS handshake is complete on this side: peer identity known, 1-RTT both ways. */
  | { readonly type: 'connected' }
  /** RFC 9001 §4.1.2. */
  | { readonly type: 'handshakeConfirmed' }
  /** Early data was refused: streams opened in 0-RTT are gone, the connection continues. */
  | { readonly type: 'zeroRttRejected' }
  /** The peer opened a stream; `acceptStream` will return it. */
  | { readonly type: 'streamOpened'; readonly dir: Direction }
  /** Credit to open streams of this direction arrived. */
  | { readonly type: 'streamsAvailable'; readonly dir: Direction }
  /** Sent after a read returned `undefined` and there is data, an end or a reset now. */
  | { readonly type: 'streamReadable'; readonly id: StreamId }
  /** Sent after a write was short and there is room now. */
  | { readonly type: 'streamWritable'; readonly id: StreamId }
  /** STOP_SENDING arrived. */
  | { readonly type: 'streamStopped'; readonly id: StreamId; readonly code: bigint }
  /** All data including FIN, or the RESET, was acknowledged. */
  | { readonly type: 'streamFinished'; readonly id: StreamId }
  | { readonly type: 'datagramReceived' }
  /** There is room for datagrams after `sendDatagram` had refused to queue. */
  | { readonly type: 'datagramsUnblocked' }
  | { readonly type: 'pathEstablished'; readonly path: PathId }
  | { readonly type: 'pathAbandoned'; readonly path: PathId; readonly reason: PathAbandonReason }
  /** Two PTOs passed without an acknowledgment on the path; its data goes elsewhere while there is elsewhere. */
  | { readonly type: 'pathStalled'; readonly path: PathId }
  /** A stalled path was heard again. */
  | { readonly type: 'pathResumed'; readonly path: PathId }
  /** The state of an abandoned path is gone. */
  | { readonly type: 'pathDiscarded'; readonly path: PathId; readonly stats: PathStats }
  /** The peer asks to prefer or not to prefer a path. */
  | { readonly type: 'pathRemoteStatus'; readonly path: PathId; readonly status: PathStatus }
  /** The peer's address on a path changed (NAT rebinding or migration). */
  | { readonly type: 'pathMigrated'; readonly path: PathId; readonly to: FourTuple }
  /** The peer told us under which address it sees us. */
  | { readonly type: 'observedAddress'; readonly path: PathId; readonly addr: Addr }
  | { readonly type: 'natAddressAdded'; readonly addr: Addr }
  | { readonly type: 'natAddressRemoved'; readonly addr: Addr }
  /** Terminal for the application; buffered data stays readable. Sent exactly once. */
  | { readonly type: 'closed'; readonly reason: CloseReason }
  /** A close was sent or received and the other side knows or cannot be told: `waitAllDraining` counts these. */
  | { readonly type: 'draining' }
  /** All state is gone; the engine has forgotten the connection. */
  | { readonly type: 'drained' };

export type EngineEvent =
  | { readonly type: 'incoming'; readonly incoming: IncomingRef }
  | { readonly type: 'connection'; readonly connection: QuicConnection; readonly event: ConnectionEvent };

/** One entry of {@link QuicConnection.paths}. */
export interface PathInfo {
  readonly id: PathId;
  readonly remote: Addr;
  readonly local: Addr | undefined;
  /** Our status: what governs our sending. */
  readonly status: PathStatus;
  readonly validated: boolean;
  /** Event `pathStalled` came, and `pathResumed` did not. */
  readonly stalled: boolean;
  readonly rttMs: Millis;
}

/** What `networkChanged` callers know about a path: whether it may survive the change. */
export type NetworkChangeHint = (path: PathId, tuple: FourTuple) => { readonly recoverable: boolean };

/**
 * One QUIC connection.
 *
 * Stream calls throw {@link ./streams/stream-error.ts StreamError}; path calls throw `PathError`. Every command makes the
 * engine want to be polled.
 */
export interface QuicConnection {
  /** Unique in the process; never reused. */
  readonly stableId: number;
  readonly side: Side;
  readonly remote: Addr;
  /** Undefined while open. */
  readonly closeReason: CloseReason | undefined;
  readonly isHandshaking: boolean;
  /** Known from event `handshakeData` on. */
  readonly alpn: Uint8Array | undefined;
  /** Known from event `connected` on. Undefined when the profile asked for no certificate. */
  readonly peerIdentity: PeerIdentity | undefined;
  /** Client: whether 0-RTT keys are in use; server: whether early data was accepted. */
  readonly has0Rtt: boolean;
  readonly accepted0Rtt: boolean | undefined;

  /** A new stream's id, or undefined when the peer's limit is reached (event `streamsAvailable` follows). */
  openStream(dir: Direction): StreamId | undefined;
  /** The next stream that the peer opened. Streams received before a close are still handed out. */
  acceptStream(dir: Direction): StreamId | undefined;
  /** Copies bytes into the send buffer; returns how many, 0 when blocked (event `streamWritable` follows). */
  writeStream(id: StreamId, bytes: Uint8Array): number;
  finishStream(id: StreamId): void;
  resetStream(id: StreamId, code: bigint): void;
  /** Contiguous data up to `maxBytes`, `null` at the end of the stream, `undefined` when nothing is there yet. */
  readStream(id: StreamId, maxBytes: number): Uint8Array | null | undefined;
  /** Sends STOP_SENDING and forgets what arrives. */
  stopStream(id: StreamId, code: bigint): void;
  setStreamPriority(id: StreamId, priority: number): void;
  streamPriority(id: StreamId): number;
  /** True when the stream was opened before the handshake completed. */
  streamIs0Rtt(id: StreamId): boolean;

  /** False when datagrams are switched off on this side. */
  readonly takesDatagrams: boolean;
  /** Bytes that fit into one DATAGRAM now; undefined when the peer does not take any. */
  readonly maxDatagramSize: number | undefined;
  /** Bytes free in the outgoing queue. */
  readonly datagramSendBufferSpace: number;
  /** Queues a copy. With `drop`, the oldest queued ones make room; without, returns false when full. */
  sendDatagram(bytes: Uint8Array, drop: boolean): boolean;
  readDatagram(): Uint8Array | undefined;

  /** Ends the connection at once; unsent stream data is dropped. Later calls do nothing. */
  close(code: bigint, reason: Uint8Array, now: Millis): void;
  /** RFC 9001 §6. Does nothing before confirmation or while an update is pending. */
  forceKeyUpdate(): void;
  /** RFC 8446 §7.5. @throws {Error} before the handshake completed. */
  exportKeyingMaterial(length: number, label: string, context: Uint8Array): Uint8Array;
  setMaxConcurrentStreams(dir: Direction, count: number): void;
  setReceiveWindow(bytes: number): void;

  readonly multipath: boolean;
  /** Open paths. */
  paths(): PathInfo[];
  pathStats(path: PathId): PathStats | undefined;
  stats(): ConnectionStats;
  /** Client: opens a path, or returns the id of the one that exists for this remote (and local, if given). */
  openPathEnsure(tuple: FourTuple, status: PathStatus, now: Millis): PathId;
  closePath(path: PathId, code: number, now: Millis): void;
  /** Returns the previous status. */
  setPathStatus(path: PathId, status: PathStatus): PathStatus;
  /** This and the two below do nothing for a path that is not open: its end may not have been heard of yet. */
  setPathMaxIdleTimeout(path: PathId, idleMs: Millis | undefined, now: Millis): void;
  setPathKeepAlive(path: PathId, intervalMs: Millis | undefined, now: Millis): void;
  pingPath(path: PathId): void;

  addNatAddress(addr: Addr): void;
  removeNatAddress(addr: Addr): void;
  localNatAddresses(): Addr[];
  remoteNatAddresses(): Addr[];
  /**
   * Client: starts a hole-punching round; returns the addresses that are probed.
   * @param found - Addresses of the peer known from elsewhere, to be probed beside those that it advertised.
   */
  initiateNatRound(now: Millis, found?: readonly Addr[]): Addr[];
}

/** What an engine is made with. */
export interface EngineOptions {
  readonly rng: Rng;
  /** Wall-clock ms since 1970 minus the monotonic clock's ms. */
  readonly wallOffsetMs: Millis;
  /** Who the endpoint is: engines that prove it by themselves, not through the TLS profile, need the key. */
  readonly secretKey: SecretKey;
  readonly qlog?: QlogFactory | undefined;
}

/** Where an endpoint gets its engine. */
export interface EngineProvider {
  /** For logs and errors. */
  readonly name: string;
  /**
   * Loads what the engine needs; called while the endpoint binds.
   * @throws {BindError} `BindError.Engine` when it does not run here.
   */
  load(): Promise<(options: EngineOptions) => QuicEngine>;
}

/** A sans-IO QUIC endpoint: every connection of one `Endpoint`. */
export interface QuicEngine {
  readonly capabilities: EngineCapabilities;
  /**
   * Starts a connection.
   * @param serverName - Keys session tickets and tokens; what is sent as SNI is the TLS profile's business.
   */
  connect(to: FourTuple, serverName: string, config: ClientConfig, now: Millis): QuicConnection;
  /** Replaces what applies to new incomings; undefined refuses them. */
  setServerConfig(config: ServerConfig | undefined): void;
  /** @throws {TransportError} when the attempt went stale or its first flight is invalid. */
  accept(incoming: IncomingRef, now: Millis): QuicConnection;
  refuse(incoming: IncomingRef, now: Millis): void;
  /** Returns false, leaving the incoming undecided, when the address is validated already. */
  retry(incoming: IncomingRef, now: Millis): boolean;
  ignore(incoming: IncomingRef): void;
  /** Takes all datagrams of a burst. Never throws. */
  handleDatagrams(batch: readonly Datagram[], now: Millis): void;
  handleTimeout(now: Millis): void;
  handleNetworkChange(hint: NetworkChangeHint | undefined, now: Millis): void;
  /** Closes all connections and refuses new incomings from now on. */
  close(code: bigint, reason: Uint8Array, now: Millis): void;
  /** Appends up to `max` datagrams to `out`; returns how many. Round robin over connections. */
  pollTransmits(out: Transmit[], max: number, now: Millis): number;
  /** All transmits handed out so far have left: their buffers may be reused. */
  releaseTransmits(): void;
  /** True when {@link prepare} has something to do; engines may lack both. */
  readonly isUnprepared?: boolean;
  /** Does ahead what the next handshake needs anyway. To be called when nothing waits, such as after a flight was sent. */
  prepare?(): void;
  /** The earliest deadline of all connections, absolute. */
  pollTimeout(): Millis | undefined;
  pollEvent(): EngineEvent | undefined;
  /** Connections not yet drained. */
  readonly connectionCount: number;
  /** Connections that still have to tell their peer about a close, or are open. */
  readonly undrainedCount: number;
}
