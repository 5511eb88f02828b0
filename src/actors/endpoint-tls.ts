/**
 * How an endpoint proves who it is, and what it remembers of whom it met: one identity, its tickets and sessions.
 *
 * @module
 */
import type { Millis } from '../base/clock.ts';
import type { Rng } from '../base/rng.ts';
import type { SecretKey } from '../crypto/keys.ts';
import type { TransportConfig } from '../quic/config.ts';
import type { ClientConfig, EngineCapabilities, ServerConfig } from '../quic/engine.ts';
import { endpointVerifier, rawPublicKeyIdentity, selfSignedIdentity } from '../tls/profile.ts';
import { MemorySessionStore } from '../tls/session-store.ts';
import type { KeyLog, LocalIdentity, PeerIdentity, PeerVerifier } from '../tls/session.ts';
import { MemoryTicketStore } from '../tls/ticket-store.ts';

/** Session tickets sent per connection; rustls' and so upstream's number. */
const TICKETS_PER_CONNECTION = 2;

/** How an {@link EndpointTls} is made. */
export interface EndpointTlsOptions {
  readonly secretKey: SecretKey;
  /** Forms in which keys are proved and taken, best first. At least one. */
  readonly forms: readonly PeerIdentity['type'][];
  readonly keyLog: KeyLog | undefined;
  readonly rng: Rng;
  /** Wall-clock ms since 1970. */
  readonly wallNow: Millis;
}

/** Forms in which an endpoint with such an engine proves its key, and takes those of others, best first. */
export function keyForms(
  { rawPublicKeys }: EngineCapabilities,
  hasX509Peers: boolean,
): EndpointTlsOptions['forms'] {
  if (!rawPublicKeys) return ['x509'];
  return hasX509Peers ? ['rawPublicKey', 'x509'] : ['rawPublicKey'];
}

/** The TLS side of one endpoint. */
export class EndpointTls {
  readonly #identity: LocalIdentity;
  readonly #alternativeIdentity: LocalIdentity | undefined;
  readonly #verifier: PeerVerifier;
  readonly #tickets = new MemoryTicketStore();
  readonly #sessions = new MemorySessionStore();
  readonly #keyLog: KeyLog | undefined;

  constructor({ secretKey, forms, keyLog, rng, wallNow }: EndpointTlsOptions) {
    const identities = forms.map((form) =>
      form === 'rawPublicKey'
        ? rawPublicKeyIdentity(secretKey)
        : selfSignedIdentity(secretKey.toBytes(), { rng, wallNow }),
    );
    this.#identity = identities[0]!;
    this.#alternativeIdentity = identities[1];
    this.#verifier = endpointVerifier(forms);
    this.#keyLog = keyLog;
  }

  /** For one dial. */
  clientConfig(alpns: readonly Uint8Array[], transport: TransportConfig): ClientConfig {
    return {
      transport,
      tls: {
        identity: this.#identity,
        alternativeIdentity: this.#alternativeIdentity,
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
        alternativeIdentity: this.#alternativeIdentity,
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
