/**
 * What a connection needs from the endpoint that owns it, and what it is created with.
 *
 * @module
 */
import type { Millis } from '../base/clock.ts';
import type { Rng } from '../base/rng.ts';
import type { Addr } from '../base/socket-addr.ts';
import type { InitialKeys, OpenedPacket } from './incoming.ts';
import type { QlogFactory } from './qlog.ts';
import type { KeyPairs } from '../tls/key-pairs.ts';
import type { ClientTlsConfig, ServerTlsConfig } from '../tls/session.ts';
import type { TransportConfig } from './config.ts';
import type {
  ConnectionEvent,
  Datagram,
  FourTuple,
  NetworkChangeHint,
  PathId,
  QuicConnection,
  Transmit,
} from './engine.ts';

/** Length of every connection id that we issue; upstream's, so that ours cannot be told from it. */
export const LOCAL_CID_LENGTH = 8;

/**
 * A connection id of ours, packed: its first six bytes as a number. The endpoint derives the other two, and the stateless
 * reset token that goes with it (RFC 9000 §10.3), so that an idle connection with dozens of ids stays small.
 */
export type CidKey = number;

/** The endpoint, seen from one of its connections. All calls are synchronous and never re-enter the connection. */
export interface ConnectionHost {
  readonly rng: Rng;
  /** For the handshakes of all connections. */
  readonly keyPairs: KeyPairs;
  /** Wall-clock ms since 1970 at `now`, for ticket and token ages. */
  wallTime(now: Millis): Millis;
  /** Makes a connection id that routes to `connection` and belongs to `path`. */
  issueCid(connection: HostedConnection, path: PathId): CidKey;
  retireCid(cid: CidKey): void;
  /** The {@link LOCAL_CID_LENGTH} bytes of a connection id, and its reset token of 16 bytes; valid until the next call. */
  cidBytes(cid: CidKey): Uint8Array;
  resetTokenOf(cid: CidKey): Uint8Array;
  /** Which path of `connection` the connection id at `at` belongs to; undefined when it is none of its own. */
  pathOfCid(bytes: Uint8Array, at: number, connection: HostedConnection): PathId | undefined;
  /** A datagram from `remote` whose last 16 bytes are `token` is a stateless reset of `connection`. */
  addResetToken(token: Uint8Array, remote: Addr, connection: HostedConnection): void;
  removeResetToken(token: Uint8Array, remote: Addr): void;
  /** Server: a NEW_TOKEN for this client address; undefined when tokens are off. */
  newToken(remote: Addr, now: Millis): Uint8Array | undefined;
  /** Client: a NEW_TOKEN arrived. */
  storeToken(serverName: string, token: Uint8Array): void;
  emit(connection: HostedConnection, event: ConnectionEvent): void;
  /** The connection may have something to send. Idempotent and cheap. */
  wantsTransmit(connection: HostedConnection): void;
  /** The connection's earliest deadline changed. */
  setDeadline(connection: HostedConnection, deadline: Millis | undefined): void;
  /** Forget the connection: all its cids, tokens, deadlines. */
  drained(connection: HostedConnection): void;
  /**
   * Memory for one datagram of up to `size` bytes; it stays valid until the driver released all transmits.
   * Unused bytes go back with `shrink`: the next call may hand them out.
   */
  allocate(size: number): { readonly bytes: Uint8Array; readonly start: number };
  /** Keeps `used` bytes of the latest `allocate` call. */
  shrink(used: number): void;
}

/** A connection, seen from its endpoint. */
export interface HostedConnection extends QuicConnection {
  /**
   * A whole datagram whose first packet's destination cid routes here. Never throws.
   * @param first - That packet, where it was decrypted before.
   */
  handleDatagram(datagram: Datagram, now: Millis, first?: OpenedPacket): void;
  /** All datagrams of a burst were handed in: detect losses, raise events, once. */
  endBurst(now: Millis): void;
  handleTimeout(now: Millis): void;
  handleNetworkChange(hint: NetworkChangeHint | undefined, now: Millis): void;
  /** Stateless reset detected by the endpoint (RFC 9000 §10.3.1). */
  handleStatelessReset(now: Millis): void;
  /** Appends up to `max` sealed datagrams. Fewer than `max` means: nothing more to send now. */
  pollTransmits(out: Transmit[], max: number, now: Millis): number;
  readonly isDrained: boolean;
  readonly isDraining: boolean;
}

/** What connections of either side are made with. */
export interface ConnectionInit {
  readonly host: ConnectionHost;
  readonly stableId: number;
  readonly tuple: FourTuple;
  readonly transport: TransportConfig;
  readonly now: Millis;
  readonly qlog: QlogFactory | undefined;
}

export interface ClientConnectionInit extends ConnectionInit {
  readonly tls: ClientTlsConfig;
  /** Keys tickets and tokens. */
  readonly serverName: string;
  /** A NEW_TOKEN from an earlier connection. */
  readonly token: Uint8Array | undefined;
}

export interface ServerConnectionInit extends ConnectionInit {
  readonly tls: ServerTlsConfig;
  /** Destination cid of the client's first Initial: the Initial keys come from it. */
  readonly initialDcid: Uint8Array;
  /** Keys of {@link initialDcid}. */
  readonly initialKeys: InitialKeys;
  /** Set when a Retry preceded: cids for the transport parameters (RFC 9000 §7.3). */
  readonly retry: { readonly originalDcid: Uint8Array; readonly retryScid: Uint8Array } | undefined;
  /** Source cid of the client's first Initial. */
  readonly clientCid: Uint8Array;
  /** The client's address was proven by a token. */
  readonly remoteValidated: boolean;
}
