/**
 * A relay without its listeners: takes WebSockets that agreed on a protocol, and passes datagrams between the clients
 * behind them. What it needs of the outside is a clock and random numbers.
 *
 * @module
 */
import type { Clock } from '../base/clock.ts';
import type { EndpointId } from '../base/endpoint-id.ts';
import type { Rng } from '../base/rng.ts';
import type { RelaySocket } from '../transport/relay-socket.ts';
import { isRelayProtocol } from '../relay/frames.ts';
import { allowEveryone, type AccessCheck } from '../relay/server/access.ts';
import { ClientTable } from '../relay/server/clients.ts';
import { RelayServerMetrics } from '../relay/server/metrics.ts';
import { TokenBucket, type RateLimit } from '../relay/server/rate-limit.ts';
import { RelaySession, type EndReason, type SessionHost } from './relay-session.ts';

/** What a client is told about a restart: when to come back, ms. It tries for as long as it likes, too. */
export const RESTART_RECONNECT_IN_MS = 100;
export const RESTART_TRY_FOR_MS = 30_000;

/** Something happened to a client. */
export type RelayHubEvent =
  | { readonly type: 'connected'; readonly endpointId: EndpointId; readonly remoteIp: string | undefined }
  | {
      readonly type: 'ended';
      /** Undefined when it never proved who it is. */
      readonly endpointId: EndpointId | undefined;
      readonly remoteIp: string | undefined;
      readonly reason: EndReason;
      readonly detail: string;
    };

/** How a relay is made. */
export interface RelayHubOptions {
  readonly clock: Clock;
  /** Secure unless it is a test: challenges come from here. */
  readonly rng: Rng;
  /** Default: {@link allowEveryone}. */
  readonly access?: AccessCheck | undefined;
  /** For what each client sends. */
  readonly rateLimit?: RateLimit | undefined;
  readonly metrics?: RelayServerMetrics;
  readonly onEvent?: ((event: RelayHubEvent) => void) | undefined;
}

/** What the upgrade request of a client said. */
export interface AcceptRequest {
  readonly token?: string | undefined;
  /** Value of `x-iroh-relay-client-auth-v1`. */
  readonly authHeader?: string | undefined;
}

/** The relay itself. */
export class RelayHub {
  readonly metrics: RelayServerMetrics;
  readonly #clients = new ClientTable<RelaySession>();
  readonly #sessions = new Set<RelaySession>();
  readonly #host: SessionHost;
  #isClosed = false;

  /** @throws {RangeError} for a rate limit that lets nothing through. */
  constructor(options: RelayHubOptions) {
    const { clock, rng, access = allowEveryone, rateLimit, onEvent } = options;
    // Found out now, not at the first client.
    if (rateLimit !== undefined) new TokenBucket(rateLimit, 0);
    this.metrics = options.metrics ?? new RelayServerMetrics();
    this.#host = {
      clock,
      rng,
      access,
      rateLimit,
      metrics: this.metrics,
      clients: this.#clients,
      onEstablished: ({ endpointId, remoteIp }) =>
        onEvent?.({ type: 'connected', endpointId: endpointId!, remoteIp }),
      onEnded: (session, reason, detail) => {
        this.#sessions.delete(session);
        const { endpointId, remoteIp } = session;
        onEvent?.({ type: 'ended', endpointId, remoteIp, reason, detail });
      },
    };
  }

  /** Endpoints that are connected. */
  get clientCount(): number {
    return this.#clients.size;
  }

  /** Connections, those that are not authenticated yet included. */
  get connectionCount(): number {
    return this.#sessions.size;
  }

  /** Bytes that wait in the queues of all clients. */
  get waitingBytes(): number {
    let bytes = 0;
    for (const session of this.#sessions) bytes += session.waitingBytes;
    return bytes;
  }

  /**
   * Serves a client. Sets all handlers of the socket.
   * @param socket - Its `protocol` is one of `RELAY_PROTOCOLS`.
   */
  accept(socket: RelaySocket, request: AcceptRequest = {}): void {
    const { protocol } = socket;
    if (this.#isClosed || !isRelayProtocol(protocol)) return socket.terminate();
    const { token, authHeader } = request;
    const session = new RelaySession(this.#host, socket, { protocol, token, authHeader });
    this.#sessions.add(session);
    session.start();
  }

  /** Tells every client that the relay restarts, and closes in order. Takes no more. */
  shutDown(): void {
    this.#isClosed = true;
    this.#clients.stopAnnouncing();
    for (const session of [...this.#sessions]) session.shutDown(RESTART_RECONNECT_IN_MS, RESTART_TRY_FOR_MS);
  }

  /** Drops every connection. Takes no more. */
  abort(): void {
    this.#isClosed = true;
    this.#clients.stopAnnouncing();
    for (const session of [...this.#sessions]) session.abort();
  }
}
