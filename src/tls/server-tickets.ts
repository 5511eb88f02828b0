/**
 * The server's dealings with session tickets: issuing them and resuming from them (RFC 8446 §4.2.11, §4.6.1).
 *
 * @module
 */
import { Writer, equalBytes } from '../base/bytes.ts';
import type { Millis } from '../base/clock.ts';
import { randomBelow, type Rng } from '../base/rng.ts';
import { TlsAlert } from './alert.ts';
import { CIPHER_SUITES, type CipherSuite } from './cipher-suites.ts';
import type { ClientHello } from './client-hello.ts';
import { PSK_DHE_KE, QUIC_MAX_EARLY_DATA } from './extensions.ts';
import { KeySchedule, ticketPsk } from './key-schedule.ts';
import { writeNewSessionTicket } from './messages.ts';
import type { PeerIdentity, ServerSession, ServerTlsConfig, SessionStore } from './session.ts';
import type { Transcript } from './transcript.ts';

/** What rustls says. RFC 8446 §4.6.1 allows seven days. */
export const TICKET_LIFETIME_SECONDS = 86_400;

/** How far the client's view of a ticket's age may be off for early data (RFC 8446 §8.3); rustls takes 60 s. */
export const MAX_AGE_SKEW_MS = 60_000;

/** Offered sessions that are looked up. Clients offer one; a hostile list could name thousands. */
export const MAX_PSK_IDENTITIES = 8;

/** An accepted session. */
export interface Resumption {
  readonly session: ServerSession;
  /** In the client's list. */
  readonly index: number;
  readonly schedule: KeySchedule;
}

/**
 * Finds a session to resume among those that the client offers, and runs the ClientHello through `transcript` either way.
 * Every ticket that is looked up is used up.
 * @param message - The whole ClientHello.
 * @throws {TlsAlert} decrypt_error when the binder is wrong (RFC 8446 §4.2.11.2).
 */
export function resumeSession(
  config: ServerTlsConfig,
  suite: CipherSuite,
  hello: ClientHello,
  message: Uint8Array,
  transcript: Transcript,
  wallNow: Millis,
): Resumption | undefined {
  const { psk } = hello;
  if (psk === undefined || config.sessions === undefined || hello.pskModes?.includes(PSK_DHE_KE) !== true) {
    transcript.update(message);
    return undefined;
  }
  const count = Math.min(psk.identities.length, MAX_PSK_IDENTITIES);
  for (let index = 0; index < count; index++) {
    const session = config.sessions.take(psk.identities[index]!.ticket, wallNow);
    if (session === undefined || !mayResume(config, suite, hello, session, wallNow)) continue;
    const schedule = new KeySchedule(suite.hash, session.psk);
    transcript.update(message.subarray(0, psk.truncatedLength));
    // The client knows the ticket but not its key: an error, not a reason for a full handshake.
    if (!equalBytes(schedule.binder(transcript.digest()), psk.binders[index]!))
      throw new TlsAlert('decrypt_error', 'PSK binder does not verify');
    transcript.update(message.subarray(psk.truncatedLength));
    return { session, index, schedule };
  }
  transcript.update(message);
  return undefined;
}

function mayResume(
  config: ServerTlsConfig,
  suite: CipherSuite,
  hello: ClientHello,
  session: ServerSession,
  wallNow: Millis,
): boolean {
  // RFC 8446 §4.2.11: same hash; §4.6.1: same server name.
  if (CIPHER_SUITES[session.suite].hash !== suite.hash || session.sni !== hello.serverName) return false;
  if (session.peer === undefined) return config.clientAuth === 'none';
  const { verifier } = config;
  if (!verifier.certificateTypes.includes(session.peer.type)) return false;
  try {
    // Resumption stands for the certificate, which may have expired meanwhile.
    verifier.verifyIdentity(session.peer, undefined, wallNow);
    return true;
  } catch {
    return false;
  }
}

/** Whether the client's view of the ticket's age is close enough to ours for early data (RFC 8446 §8.3). */
export function isFresh(session: ServerSession, obfuscatedAge: number, wallNow: Millis): boolean {
  const claimedAge = (obfuscatedAge - session.ageAdd) >>> 0;
  return Math.abs(wallNow - session.issuedAt - claimedAge) <= MAX_AGE_SKEW_MS;
}

/** What the tickets of one connection share. */
export interface IssueTerms {
  readonly suite: CipherSuite;
  readonly resumptionSecret: Uint8Array;
  readonly alpn: Uint8Array;
  readonly sni: string | undefined;
  readonly peer: PeerIdentity | undefined;
  readonly wallNow: Millis;
}

/** Makes `config.ticketCount` tickets. @returns NewSessionTicket messages, one after the other. */
export function issueTickets(
  config: ServerTlsConfig,
  rng: Rng,
  sessions: SessionStore,
  terms: IssueTerms,
): Uint8Array {
  const w = new Writer();
  for (let i = 0; i < config.ticketCount; i++) {
    // RFC 8446 §4.6.1: different for each ticket of a connection is enough.
    const nonce = Uint8Array.of(i >>> 8, i);
    const ageAdd = randomBelow(rng, 0x1_0000_0000);
    const ticket = sessions.put(
      {
        psk: ticketPsk(terms.suite.hash, terms.resumptionSecret, nonce),
        suite: terms.suite.name,
        ageAdd,
        issuedAt: terms.wallNow,
        lifetimeSeconds: TICKET_LIFETIME_SECONDS,
        alpn: terms.alpn,
        sni: terms.sni,
        peer: terms.peer,
      },
      rng,
    );
    writeNewSessionTicket(w, {
      lifetimeSeconds: TICKET_LIFETIME_SECONDS,
      ageAdd,
      nonce,
      ticket,
      maxEarlyData: config.acceptEarlyData ? QUIC_MAX_EARLY_DATA : undefined,
    });
  }
  return w.written();
}
