/**
 * What lookup services may take from the endpoint that they serve.
 *
 * @module
 */
import type { AddressLookup } from '../address-lookup/service.ts';
import type { SecretKey } from '../crypto/keys.ts';
import type { InspectedEvent } from '../transport/channel.ts';
import type { Logger } from '../transport/log.ts';
import type { Platform } from '../transport/platform.ts';
import type { TlsTrust } from '../transport/relay-socket.ts';

/** The surroundings of a lookup service. Options of the services here take all of it: `{ ...host, url }`. */
export interface LookupHost {
  /** Time, randomness, HTTP and DNS. */
  readonly platform?: Platform | undefined;
  /** Whom web servers must be certified by. */
  readonly tls?: TlsTrust | undefined;
  /** URL of an HTTP proxy (CONNECT) on the way to web servers. */
  readonly proxy?: string | undefined;
  /** Takes lines about what fails. */
  readonly logger?: Logger | undefined;
  /** Watches the machines of the service. */
  readonly inspect?: ((event: InspectedEvent) => void) | undefined;
}

/** An endpoint, as who makes a service for it sees it. */
export interface LookupEndpoint extends LookupHost {
  /** What the endpoint signs with. */
  readonly secretKey: SecretKey;
  /** Those of the endpoint. */
  readonly platform: Platform;
}

/**
 * Makes a service for one endpoint; it ends with the endpoint. Called once the endpoint has its sockets.
 *
 * @example
 * ```ts
 * Endpoint.bind({ lookup: (endpoint) => new PkarrPublisher({ ...endpoint, url: 'https://dns.example/pkarr' }) });
 * ```
 */
export type LookupFactory = (endpoint: LookupEndpoint) => AddressLookup;
