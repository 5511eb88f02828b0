/**
 * Server side session memory: tickets are handles into it, so they are small, single use, and worthless to a thief of keys.
 *
 * @module
 */
import { toLatin1 } from '../base/bytes.ts';
import type { Millis } from '../base/clock.ts';
import { randomBytes, type Rng } from '../base/rng.ts';
import type { ServerSession, SessionStore } from './session.ts';

/** Sessions remembered; when full, the oldest goes. rustls' number: about 128 clients with two tickets each. */
export const MAX_SESSIONS = 256;

/** Bytes of a ticket. They are all that an attacker would have to guess. */
export const TICKET_BYTES = 32;

/** Sessions of one process, lost with it. */
export class MemorySessionStore implements SessionStore {
  /** By ticket, one character for each byte; oldest first. */
  readonly #sessions = new Map<string, ServerSession>();

  /** Sessions held, expired ones among them. */
  get size(): number {
    return this.#sessions.size;
  }

  put(session: ServerSession, rng: Rng): Uint8Array {
    if (this.#sessions.size >= MAX_SESSIONS) {
      for (const oldest of this.#sessions.keys()) {
        this.#sessions.delete(oldest);
        break;
      }
    }
    const ticket = randomBytes(rng, TICKET_BYTES);
    this.#sessions.set(toLatin1(ticket), session);
    return ticket;
  }

  take(ticket: Uint8Array, wallNow: Millis): ServerSession | undefined {
    // A ticket of another length is somebody else's: do not spend time on spelling it.
    if (ticket.length !== TICKET_BYTES) return undefined;
    const key = toLatin1(ticket);
    const session = this.#sessions.get(key);
    if (session === undefined) return undefined;
    this.#sessions.delete(key);
    return wallNow - session.issuedAt < session.lifetimeSeconds * 1000 ? session : undefined;
  }
}
