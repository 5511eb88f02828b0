/**
 * The client's dealings with session tickets: which one a connection may resume with, and which ones it keeps
 * (RFC 8446 §4.2.11, §4.6.1).
 *
 * @module
 */
import type { Millis } from '../base/clock.ts';
import { TlsAlert } from './alert.ts';
import { CIPHER_SUITES, type CipherSuite } from './cipher-suites.ts';
import { QUIC_MAX_EARLY_DATA } from './extensions.ts';
import { sameBytes } from './handshake-session.ts';
import { ticketPsk, type KeySchedule } from './key-schedule.ts';
import { decodeNewSessionTicket } from './messages.ts';
import type { CipherSuiteName, ClientTlsConfig, PeerIdentity, StoredTicket } from './session.ts';

/** RFC 8446 §4.6.1: no ticket is kept longer than seven days, whatever the server says. */
export const MAX_TICKET_LIFETIME_SECONDS = 604_800;

/** Tickets kept per connection: as many as the store keeps per name. More would be work that a server can ask for at will. */
export const MAX_TICKETS_PER_CONNECTION = 8;

/**
 * Tickets and transport parameters of more bytes than this are not stored: a ticket has to go into a ClientHello, and a store
 * keeps hundreds. Ours and rustls' tickets have 32 bytes, parameters below 300.
 */
export const MAX_STORED_BYTES = 4096;

/**
 * Takes a ticket that the connection may resume with. It is gone from the store even if it turns out unfit.
 * @param suites - What the connection offers.
 */
export function takeTicket(
  config: ClientTlsConfig,
  serverName: string,
  suites: readonly CipherSuiteName[],
  wallNow: Millis,
): StoredTicket | undefined {
  const ticket = config.tickets?.take(serverName, wallNow);
  if (ticket?.peer === undefined) return undefined;
  const { hash } = CIPHER_SUITES[ticket.suite];
  // RFC 8446 §4.2.11: the server must be able to pick a suite with the ticket's hash.
  if (!suites.some((name) => CIPHER_SUITES[name].hash === hash)) return undefined;
  if (!config.verifier.certificateTypes.includes(ticket.peer.type)) return undefined;
  try {
    // Resumption stands for the certificate, which may have expired meanwhile.
    config.verifier.verifyIdentity(ticket.peer, serverName, wallNow);
  } catch {
    return undefined;
  }
  return ticket;
}

/** Whether a connection that resumes with `ticket` may send early data. */
export function mayUseEarlyData(
  config: ClientTlsConfig,
  suites: readonly CipherSuiteName[],
  ticket: StoredTicket,
): boolean {
  return (
    config.earlyData &&
    ticket.maxEarlyData === QUIC_MAX_EARLY_DATA &&
    suites.includes(ticket.suite) &&
    // Early data speaks the ticket's protocol (RFC 8446 §4.2.10), so that has to be the one that the caller means.
    sameBytes(ticket.alpn, config.alpns[0])
  );
}

/** RFC 8446 §4.2.11.1: age in ms plus `ageAdd`, modulo 2^32. */
export function obfuscatedAge(ticket: StoredTicket, wallNow: Millis): number {
  return (Math.max(0, Math.floor(wallNow - ticket.receivedAt)) + ticket.ageAdd) >>> 0;
}

/** Everything that the tickets of one connection share. */
export interface TicketTerms {
  readonly config: ClientTlsConfig;
  readonly serverName: string;
  readonly suite: CipherSuite;
  /** After the handshake. */
  readonly schedule: KeySchedule;
  /** Transcript hash up to and including the client's Finished. */
  readonly transcript: Uint8Array;
  readonly alpn: Uint8Array;
  readonly transportParameters: Uint8Array;
  readonly peer: PeerIdentity | undefined;
}

/** Keeps the tickets that arrive on one connection. */
export class TicketReceiver {
  readonly #terms: TicketTerms;
  #resumptionSecret: Uint8Array | undefined;
  #count = 0;

  constructor(terms: TicketTerms) {
    this.#terms = terms;
  }

  /** Takes a NewSessionTicket. @throws {TlsAlert | DecodeError} */
  handle(message: Uint8Array, wallNow: Millis): void {
    const received = decodeNewSessionTicket(message);
    const { ticket, nonce, lifetimeSeconds, ageAdd, maxEarlyData } = received;
    // RFC 9001 §4.6.1.
    if (maxEarlyData !== undefined && maxEarlyData !== QUIC_MAX_EARLY_DATA)
      throw new TlsAlert('illegal_parameter', `ticket with max_early_data_size ${maxEarlyData}`, {
        protocolViolation: true,
      });
    const { config, serverName, suite, schedule, transcript, alpn, transportParameters, peer } = this.#terms;
    if (
      config.tickets === undefined ||
      // RFC 8446 §4.6.1: zero means to throw it away.
      lifetimeSeconds === 0 ||
      this.#count >= MAX_TICKETS_PER_CONNECTION ||
      ticket.length > MAX_STORED_BYTES ||
      transportParameters.length > MAX_STORED_BYTES
    )
      return;
    this.#count++;
    this.#resumptionSecret ??= schedule.resumption(transcript);
    config.tickets.put(serverName, {
      ticket: ticket.slice(),
      psk: ticketPsk(suite.hash, this.#resumptionSecret, nonce),
      suite: suite.name,
      lifetimeSeconds: Math.min(lifetimeSeconds, MAX_TICKET_LIFETIME_SECONDS),
      ageAdd,
      receivedAt: wallNow,
      maxEarlyData: maxEarlyData ?? 0,
      alpn,
      transportParameters,
      peer,
    });
  }
}
