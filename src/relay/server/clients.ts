/**
 * Who is connected to a relay: for each endpoint id one connection that receives, and those that it has replaced
 * (`iroh-relay/src/server/clients.rs`).
 *
 * @module
 */
import { equalBytes, toLatin1 } from '../../base/bytes.ts';
import { RELAY_ID_BYTES } from '../frames.ts';

/**
 * Most endpoints that one endpoint's leaving is told to. The reference has no bound; news of leaving is a hint, so those
 * above it miss nothing that matters.
 */
export const MAX_GONE_LISTENERS = 4_096;

/** A connection, as this table sees it. */
export interface ClientConnection {
  /** Another connection with the same id is the one that receives now, or this one is again. */
  handleActive(isActive: boolean): void;
  /** An endpoint that had sent something here has left. */
  handleGone(id: Uint8Array): void;
}

/** An endpoint with at least one connection. */
export class RelayClient<C extends ClientConnection> {
  /** 32 bytes. */
  readonly id: Uint8Array;
  /** The connection that receives; undefined once the endpoint is gone. */
  active: C | undefined;
  /** Replaced ones, the last replaced at the end. */
  readonly inactive: C[] = [];
  /** Endpoints that got something from this one, to be told when it leaves. */
  readonly sentTo = new Set<RelayClient<C>>();
  /** The other direction, so that nobody remembers who has left. */
  readonly heardFrom = new Set<RelayClient<C>>();

  constructor(id: Uint8Array, active: C) {
    this.id = id;
    this.active = active;
  }
}

/** What became of an endpoint when a connection of it ended. */
export type Removal = 'inactiveEnded' | 'promoted' | 'gone';

/** All endpoints by id. */
export class ClientTable<C extends ClientConnection> {
  readonly #clients = new Map<string, RelayClient<C>>();
  #isQuiet = false;

  /** Endpoints. */
  get size(): number {
    return this.#clients.size;
  }

  /** @param bytes - The id is at `at`. */
  find(bytes: Uint8Array, at = 0): RelayClient<C> | undefined {
    return this.#clients.get(toLatin1(bytes.subarray(at, at + RELAY_ID_BYTES)));
  }

  /** A new connection: it receives from now on. @returns the endpoint, and whether it was connected before. */
  add(id: Uint8Array, connection: C): { client: RelayClient<C>; isKnown: boolean } {
    const key = toLatin1(id);
    const known = this.#clients.get(key);
    if (known === undefined) {
      const client = new RelayClient(id, connection);
      this.#clients.set(key, client);
      return { client, isKnown: false };
    }
    const replaced = known.active!;
    known.inactive.push(replaced);
    known.active = connection;
    replaced.handleActive(false);
    return { client: known, isKnown: true };
  }

  /** A connection has ended. The one that it had replaced last receives again; after the last one, listeners are told. */
  remove(client: RelayClient<C>, connection: C): Removal {
    if (client.active !== connection) {
      const at = client.inactive.indexOf(connection);
      if (at >= 0) client.inactive.splice(at, 1);
      return 'inactiveEnded';
    }
    const next = this.#isQuiet ? undefined : client.inactive.pop();
    if (next !== undefined) {
      client.active = next;
      next.handleActive(true);
      return 'promoted';
    }
    client.active = undefined;
    this.#clients.delete(toLatin1(client.id));
    for (const sender of client.heardFrom) sender.sentTo.delete(client);
    client.heardFrom.clear();
    for (const listener of client.sentTo) {
      listener.heardFrom.delete(client);
      if (!this.#isQuiet) listener.active?.handleGone(client.id);
    }
    client.sentTo.clear();
    return 'gone';
  }

  /** All connections are about to end: nobody is promoted for it, and nobody told who else is gone. */
  stopAnnouncing(): void {
    this.#isQuiet = true;
  }
}

/** Remembers that something of `sender` was put on its way to `recipient`. */
export function noteSent<C extends ClientConnection>(
  sender: RelayClient<C>,
  recipient: RelayClient<C>,
): void {
  if (sender.sentTo.has(recipient) || sender.sentTo.size >= MAX_GONE_LISTENERS) return;
  sender.sentTo.add(recipient);
  recipient.heardFrom.add(sender);
}

/** True when the id at `at` is that of `client`. */
export function isSameId<C extends ClientConnection>(
  client: RelayClient<C>,
  bytes: Uint8Array,
  at: number,
): boolean {
  return equalBytes(client.id, bytes.subarray(at, at + RELAY_ID_BYTES));
}
