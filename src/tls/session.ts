/**
 * What a TLS 1.3 session for QUIC is to the QUIC engine (RFC 9001 §4): handshake bytes in, handshake bytes, traffic
 * secrets and facts out. Sans-IO; one session per connection.
 *
 * @module
 */
import type { Millis } from '../base/clock.ts';
import type { Rng } from '../base/rng.ts';
import type { KeyPairs } from './key-pairs.ts';

/** Encryption levels that carry CRYPTO data. */
export type CryptoLevel = 'initial' | 'handshake' | 'application';

export type CipherSuiteName =
  'TLS_AES_128_GCM_SHA256' | 'TLS_AES_256_GCM_SHA384' | 'TLS_CHACHA20_POLY1305_SHA256';

/** Who the peer proved to be. */
export type PeerIdentity =
  | { readonly type: 'rawPublicKey'; /** Ed25519, 32 bytes. */ readonly publicKey: Uint8Array }
  | { readonly type: 'x509'; /** DER, leaf first. */ readonly chain: readonly Uint8Array[] };

/** Signs with the key behind our certificate. `scheme` is a TLS SignatureScheme (RFC 8446 §4.2.3). */
export interface Signer {
  readonly schemes: readonly number[];
  sign(scheme: number, message: Uint8Array): Uint8Array;
}

/** How this side proves itself. */
export type LocalIdentity =
  /** RFC 7250: the certificate is the bare SubjectPublicKeyInfo of an Ed25519 key (32 bytes). */
  | { readonly type: 'rawPublicKey'; readonly publicKey: Uint8Array; readonly signer: Signer }
  | {
      readonly type: 'x509';
      /** DER, leaf first. */ readonly chain: readonly Uint8Array[];
      readonly signer: Signer;
    };

/** Checks what the peer presents. Both throw a `TlsAlert` to refuse. */
export interface PeerVerifier {
  /** Certificate types that we take, in order of preference. */
  readonly certificateTypes: readonly ('rawPublicKey' | 'x509')[];
  /** SignatureSchemes offered to the peer. */
  readonly schemes: readonly number[];
  /** Chain or raw key acceptable? `wallNow`: ms since 1970, for certificate dates. */
  verifyIdentity(peer: PeerIdentity, serverName: string | undefined, wallNow: Millis): void;
  /** The TLS CertificateVerify signature over `message`. */
  verifySignature(peer: PeerIdentity, scheme: number, message: Uint8Array, signature: Uint8Array): boolean;
}

/** A ticket with everything needed to resume and to send early data. */
export interface StoredTicket {
  readonly ticket: Uint8Array;
  readonly psk: Uint8Array;
  readonly suite: CipherSuiteName;
  readonly lifetimeSeconds: number;
  readonly ageAdd: number;
  /** Wall-clock ms. */
  readonly receivedAt: Millis;
  readonly maxEarlyData: number;
  readonly alpn: Uint8Array;
  /** The server's transport parameters that 0-RTT remembers, as received (RFC 9000 §7.4.1). */
  readonly transportParameters: Uint8Array;
  readonly peer: PeerIdentity | undefined;
}

/**
 * Client side ticket cache, keyed by the local TLS name. Tickets are single use: `take` removes. A server knows a resumed
 * client by the identity that earned the ticket, so each local identity needs a store of its own.
 */
export interface TicketStore {
  put(serverName: string, ticket: StoredTicket): void;
  take(serverName: string, wallNow: Millis): StoredTicket | undefined;
}

/** What a server remembers about a session it issued a ticket for. */
export interface ServerSession {
  readonly psk: Uint8Array;
  readonly suite: CipherSuiteName;
  readonly ageAdd: number;
  readonly issuedAt: Millis;
  readonly lifetimeSeconds: number;
  readonly alpn: Uint8Array;
  readonly sni: string | undefined;
  readonly peer: PeerIdentity | undefined;
}

/** Server side session memory. Single use: `take` removes. */
export interface SessionStore {
  /** Returns the ticket bytes under which the session can be taken. */
  put(session: ServerSession, rng: Rng): Uint8Array;
  take(ticket: Uint8Array, wallNow: Millis): ServerSession | undefined;
}

/** Takes one line in NSS key log format, without line end. What it throws is ignored. */
export type KeyLog = (line: string) => void;

interface TlsProfile {
  readonly identity: LocalIdentity | undefined;
  /** Presented to peers that do not take the type of `identity`, such as X.509 beside a raw key. */
  readonly alternativeIdentity?: LocalIdentity | undefined;
  readonly verifier: PeerVerifier;
  /** Protocols in order of preference. */
  readonly alpns: readonly Uint8Array[];
  /** Offered (client: in this order) or accepted suites (server: the client's order counts); default all three. */
  readonly suites?: readonly CipherSuiteName[];
  readonly keyLog?: KeyLog | undefined;
}

export interface ClientTlsConfig extends TlsProfile {
  /** Sent as server_name; undefined sends none. The *local* server name is an argument of connect. */
  readonly sni: string | undefined;
  readonly tickets: TicketStore | undefined;
  /** Attempt 0-RTT when a ticket allows it. */
  readonly earlyData: boolean;
}

export interface ServerTlsConfig extends TlsProfile {
  readonly clientAuth: 'required' | 'none';
  readonly sessions: SessionStore | undefined;
  /** Tickets sent after the handshake; rustls and iroh send 2. */
  readonly ticketCount: number;
  readonly acceptEarlyData: boolean;
}

/** Traffic secrets of one direction each. `read` is what the peer protects with. */
export interface LevelSecrets {
  readonly suite: CipherSuiteName;
  readonly read: Uint8Array | undefined;
  readonly write: Uint8Array | undefined;
}

/** Outputs, in the order in which they must be acted on. */
export type TlsOutput =
  /** Handshake bytes to send at a level. */
  | { readonly type: 'crypto'; readonly level: CryptoLevel; readonly data: Uint8Array }
  /** 0-RTT traffic secret: client `write`, server `read`. */
  | { readonly type: 'earlyKeys'; readonly secrets: LevelSecrets }
  | { readonly type: 'handshakeKeys'; readonly secrets: LevelSecrets }
  /**
   * 1-RTT secrets. A server gets both at once right after its Finished was queued, but must not process packets with
   * `read` before `complete` (RFC 9001 §5.7).
   */
  | { readonly type: 'applicationKeys'; readonly secrets: LevelSecrets }
  /**
   * The peer's quic_transport_parameters body. Server: from the ClientHello, at once. Client: from EncryptedExtensions, once
   * the server's Finished proved them, and before anything that depends on them.
   */
  | { readonly type: 'transportParameters'; readonly data: Uint8Array }
  | { readonly type: 'alpn'; readonly alpn: Uint8Array }
  /**
   * Client: the server's verdict about early data. Server: our own. Only if early data was offered; after
   * `transportParameters`, and before the server's `earlyKeys`.
   */
  | { readonly type: 'earlyData'; readonly accepted: boolean }
  /** Handshake complete: the peer's Finished was verified. */
  | { readonly type: 'complete'; readonly peer: PeerIdentity | undefined; readonly resumed: boolean };

export interface TlsSession {
  readonly side: 'client' | 'server';
  /** True once the peer's Finished was verified. */
  readonly isComplete: boolean;
  /** Client: transport parameters remembered with the ticket that early data uses; undefined: no early data. */
  readonly earlyTransportParameters: Uint8Array | undefined;
  /**
   * Takes in-order CRYPTO bytes of a level; any split. Queues outputs.
   * @throws {TlsAlert} to close the connection with 0x100 + alert (RFC 9001 §4.8).
   */
  handleCrypto(level: CryptoLevel, data: Uint8Array, wallNow: Millis): void;
  /** The next output. Copies: the caller owns it. */
  poll(): TlsOutput | undefined;
  /** RFC 8446 §7.5 with the QUIC connection's exporter secret. */
  exportKeyingMaterial(length: number, label: string, context: Uint8Array): Uint8Array;
}

/** Arguments that both `createClientSession` and `createServerSession` (handshake files) take. */
export interface SessionContext {
  readonly rng: Rng;
  /** Where the key pair comes from; without, it is made from `rng` at once. */
  readonly keyPairs?: KeyPairs | undefined;
  /** Wall-clock ms since 1970 at creation. */
  readonly wallNow: Millis;
  /** Our encoded transport parameters. */
  readonly transportParameters: Uint8Array;
}
