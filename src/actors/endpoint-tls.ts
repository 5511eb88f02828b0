/**
 * How an endpoint proves who it is, and what it remembers of whom it met: one identity, its tickets and sessions.
 *
 * @module
 */
import type { SecretKey } from '../crypto/keys.ts';
import type { TransportConfig } from '../quic/config.ts';
import type { ClientConfig, ServerConfig } from '../quic/engine.ts';
import { rawPublicKeyIdentity, rawPublicKeyVerifier } from '../tls/profile.ts';
import { MemorySessionStore } from '../tls/session-store.ts';
import type { KeyLog, LocalIdentity, PeerVerifier } from '../tls/session.ts';
import { MemoryTicketStore } from '../tls/ticket-store.ts';

/** Session tickets sent per connection; rustls' and so upstream's number. */
const TICKETS_PER_CONNECTION = 2;

/** The TLS side of one endpoint. */
export class EndpointTls {
  readonly #identity: LocalIdentity;
  readonly #verifier: PeerVerifier = rawPublicKeyVerifier();
  readonly #tickets = new MemoryTicketStore();
  readonly #sessions = new MemorySessionStore();
  readonly #keyLog: KeyLog | undefined;

  constructor(secretKey: SecretKey, keyLog: KeyLog | undefined) {
    this.#identity = rawPublicKeyIdentity(secretKey);
    this.#keyLog = keyLog;
  }

  /** For one dial. */
  clientConfig(alpns: readonly Uint8Array[], transport: TransportConfig): ClientConfig {
    return {
      transport,
      tls: {
        identity: this.#identity,
        verifier: this.#verifier,
        alpns,
        sni: undefined,
        tickets: this.#tickets,
        earlyData: true,
        keyLog: this.#keyLog,
      },
    };
  }

  /** For the handshakes that come. */
  serverConfig(alpns: readonly Uint8Array[], transport: TransportConfig): ServerConfig {
    return {
      transport,
      tls: {
        identity: this.#identity,
        verifier: this.#verifier,
        alpns,
        clientAuth: 'required',
        sessions: this.#sessions,
        ticketCount: TICKETS_PER_CONNECTION,
        acceptEarlyData: true,
        keyLog: this.#keyLog,
      },
    };
  }
}
