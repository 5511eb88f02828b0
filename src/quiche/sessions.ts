/**
 * TLS sessions of earlier connections, as quiche hands them out: for resumption and early data (RFC 8446 §2.2, §2.3).
 *
 * @module
 */
/** Sessions kept per server name; a dial takes one, and the connection that comes of it brings another. */
export const MAX_SESSIONS_PER_NAME = 8;
/** Names kept; the one whose latest session is oldest goes. As many as our own engine's ticket store has. */
export const MAX_SESSION_NAMES = 32;
/** Larger ones are not kept: certificate and transport parameters of an endpoint take about one kilobyte. */
export const MAX_SESSION_BYTES = 16 * 1_024;

/** Sessions of one local identity. Single use: `take` removes. */
export class Sessions {
  /** In order of the latest session, oldest first; sessions oldest first. */
  readonly #names = new Map<string, Uint8Array[]>();

  /** Names held. */
  get size(): number {
    return this.#names.size;
  }

  put(serverName: string, session: Uint8Array): void {
    if (session.length > MAX_SESSION_BYTES) return;
    const sessions = this.#names.get(serverName) ?? [];
    if (sessions.length >= MAX_SESSIONS_PER_NAME) sessions.shift();
    sessions.push(session);
    this.#names.delete(serverName);
    this.#names.set(serverName, sessions);
    if (this.#names.size <= MAX_SESSION_NAMES) return;
    for (const oldest of this.#names.keys()) {
      this.#names.delete(oldest);
      break;
    }
  }

  /** The newest session; whether it has expired is for quiche to say. */
  take(serverName: string): Uint8Array | undefined {
    const sessions = this.#names.get(serverName);
    const newest = sessions?.pop();
    if (sessions?.length === 0) this.#names.delete(serverName);
    return newest;
  }
}
