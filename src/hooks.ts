/**
 * The application's say in who is connected to.
 *
 * @module
 */
import type { Hooks } from './actors/hooks.ts';
import type { EndpointId } from './base/endpoint-id.ts';
import type { CloseReason, Connection } from './connection.ts';

export type { HookVerdict } from './actors/hooks.ts';

/** What a hook may know of a connection, without being able to use it. */
export interface ConnectionInfo extends Pick<
  Connection,
  'alpn' | 'side' | 'stableId' | 'paths' | 'paths$' | 'stats'
> {
  readonly remoteId: EndpointId;
  readonly closed: Promise<CloseReason>;
}

/** May refuse dials and connections. A hook that throws refuses, and is reported. */
export type EndpointHooks = Hooks<ConnectionInfo>;

/** The watching half of a connection. */
export function infoOf(connection: Connection): ConnectionInfo {
  return {
    remoteId: connection.remoteId,
    alpn: connection.alpn,
    side: connection.side,
    stableId: connection.stableId,
    get paths() {
      return connection.paths;
    },
    get paths$() {
      return connection.paths$;
    },
    get closed() {
      return connection.closed;
    },
    stats: () => connection.stats(),
  };
}
