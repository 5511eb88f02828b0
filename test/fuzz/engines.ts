/**
 * Engines that do the same in every run, for targets that fuzz whole endpoints.
 *
 * @module
 */
import { utf8 } from '../../src/base/bytes.ts';
import { toAddr } from '../../src/base/socket-addr.ts';
import { DEFAULT_TRANSPORT_CONFIG, type TransportConfig } from '../../src/quic/config.ts';
import { QuicEndpoint, type QuicEndpointOptions } from '../../src/quic/endpoint.ts';
import type { CloseReason } from '../../src/quic/engine.ts';
import { rawPublicKeyIdentity, rawPublicKeyVerifier } from '../../src/tls/profile.ts';
import type {
  ClientTlsConfig,
  ServerSession,
  ServerTlsConfig,
  SessionStore,
  StoredTicket,
  TicketStore,
} from '../../src/tls/session.ts';
import { SimRng } from '../support/sim-rng.ts';
import { clientSeed, NOW, serverSeed } from '../support/tls-pair.ts';
import { must } from './target.ts';

export const CLIENT = toAddr('192.0.2.1', 1_000);
export const SERVER = toAddr('192.0.2.2', 2_000);

const ALPN = utf8('fuzz');
const suites = ['TLS_AES_128_GCM_SHA256'] as const;
const clientIdentity = rawPublicKeyIdentity(clientSeed);
const serverIdentity = rawPublicKeyIdentity(serverSeed);
const verifier = rawPublicKeyVerifier();

export const TRANSPORT: TransportConfig = { ...DEFAULT_TRANSPORT_CONFIG, addressDiscovery: 'both' };

export function clientTls(changes: Partial<ClientTlsConfig> = {}): ClientTlsConfig {
  return {
    identity: clientIdentity,
    verifier,
    alpns: [ALPN],
    suites,
    sni: undefined,
    tickets: undefined,
    earlyData: true,
    ...changes,
  };
}

export function serverTls(changes: Partial<ServerTlsConfig> = {}): ServerTlsConfig {
  return {
    identity: serverIdentity,
    verifier,
    alpns: [ALPN],
    suites,
    clientAuth: 'required',
    sessions: undefined,
    ticketCount: 2,
    acceptEarlyData: true,
    ...changes,
  };
}

export function makeEngine(seed: number, options: Partial<QuicEndpointOptions> = {}): QuicEndpoint {
  return new QuicEndpoint({
    rng: new SimRng(seed),
    wallOffsetMs: NOW,
    issueValidationTokens: true,
    ...options,
  });
}

/** Gives out what one earlier connection got, as often as one likes. */
export class EternalTicket implements TicketStore, SessionStore {
  ticket: StoredTicket | undefined;
  session: ServerSession | undefined;

  put(...args: [string, StoredTicket] | [ServerSession, unknown]): Uint8Array {
    if (typeof args[0] === 'string') this.ticket ??= args[1] as StoredTicket;
    else this.session ??= args[0];
    return utf8('the only ticket');
  }

  take(key: string | Uint8Array): never {
    return (typeof key === 'string' ? this.ticket : this.session) as never;
  }
}

/** A close for which no rule was broken by anybody is a bug of ours. */
export function checkCloseReason(reason: CloseReason | undefined): void {
  if (reason?.type !== 'transportError') return;
  const { error } = reason;
  // The assembler closes with INTERNAL_ERROR when a stream has too many gaps; that is documented and has no cause.
  const isBug = error.code === 'INTERNAL_ERROR' && error.cause !== undefined;
  const internalAlert = error.wireCode === 0x150;
  if (isBug) throw error.cause;
  must(!internalAlert, `internal_error of TLS: ${error.message}`);
}
