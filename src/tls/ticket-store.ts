/**
 * Client side ticket cache in memory.
 *
 * @module
 */
import type { Millis } from '../base/clock.ts';
import { MAX_TICKETS_PER_CONNECTION, MAX_TICKET_LIFETIME_SECONDS } from './client-tickets.ts';
import type { StoredTicket, TicketStore } from './session.ts';

/** Tickets kept per server name (rustls keeps 8 too); the oldest goes. */
export const MAX_TICKETS_PER_NAME = MAX_TICKETS_PER_CONNECTION;

/** Names kept, upstream's 256 tickets in all; the one whose tickets are oldest goes. */
export const MAX_TICKET_NAMES = 32;

/** Tickets of one local identity. */
export class MemoryTicketStore implements TicketStore {
  /** Names in order of their latest ticket, oldest first; tickets oldest first. */
  readonly #names = new Map<string, StoredTicket[]>();

  /** Names held. */
  get size(): number {
    return this.#names.size;
  }

  put(serverName: string, ticket: StoredTicket): void {
    const tickets = this.#names.get(serverName) ?? [];
    if (tickets.length >= MAX_TICKETS_PER_NAME) tickets.shift();
    tickets.push(ticket);
    this.#names.delete(serverName);
    this.#names.set(serverName, tickets);
    if (this.#names.size > MAX_TICKET_NAMES) {
      for (const oldest of this.#names.keys()) {
        this.#names.delete(oldest);
        break;
      }
    }
  }

  /** The newest ticket that has not expired; expired ones are thrown away on the way. */
  take(serverName: string, wallNow: Millis): StoredTicket | undefined {
    const tickets = this.#names.get(serverName);
    if (tickets === undefined) return undefined;
    let found: StoredTicket | undefined;
    while (found === undefined) {
      const newest = tickets.pop();
      if (newest === undefined) break;
      if (!isExpired(newest, wallNow)) found = newest;
    }
    if (tickets.length === 0) this.#names.delete(serverName);
    return found;
  }
}

function isExpired(ticket: StoredTicket, wallNow: Millis): boolean {
  const seconds = Math.min(ticket.lifetimeSeconds, MAX_TICKET_LIFETIME_SECONDS);
  return wallNow - ticket.receivedAt >= seconds * 1000;
}
