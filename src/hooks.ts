/**
 * Hooks of an endpoint: the application may refuse dials and connections.
 *
 * @module
 */
import type { ConnectionActor } from './actors/connection-actor.ts';
import type { ConnectionGate } from './actors/endpoint-actor.ts';
import {
  rejectedAfterHandshake,
  rejectedBeforeConnect,
  runAfterHandshake,
  runBeforeConnect,
  type Hooks,
} from './actors/hooks.ts';
import type { ConnectingError } from './base/errors.ts';
import { Connection } from './connection.ts';
import type { Log } from './transport/log.ts';

/** What a hook learns about a connection: facts, and nothing to use it with. */
export type ConnectionInfo = Pick<
  Connection,
  'remoteId' | 'alpn' | 'side' | 'stableId' | 'paths' | 'paths$' | 'stats' | 'closed'
>;

/** May refuse dials and connections. */
export type EndpointHooks = Hooks<ConnectionInfo>;

function infoOf(connection: Connection): ConnectionInfo {
  return {
    get remoteId() {
      return connection.remoteId;
    },
    // Each hook gets its own bytes.
    get alpn() {
      return connection.alpn.slice();
    },
    get side() {
      return connection.side;
    },
    get stableId() {
      return connection.stableId;
    },
    get paths() {
      return connection.paths;
    },
    get paths$() {
      return connection.paths$;
    },
    stats: () => connection.stats(),
    get closed() {
      return connection.closed;
    },
  };
}

/** Undefined without hooks: then nobody has to be asked. @internal */
export function gateOf(hooks: readonly EndpointHooks[], log: Log): ConnectionGate | undefined {
  if (hooks.length === 0) return undefined;
  return {
    async beforeConnect(remote, alpn) {
      if ((await runBeforeConnect(hooks, remote, alpn, log)) !== undefined) throw rejectedBeforeConnect();
    },
    async afterHandshake(actor: ConnectionActor) {
      const connection = new Connection(actor);
      const rejection = await runAfterHandshake(hooks, infoOf(connection), log);
      if (rejection === undefined) return;
      connection.close(rejection.code, rejection.reason);
      const error = rejectedAfterHandshake();
      // Who accepts learns of it as an accepted handshake that failed.
      throw connection.side === 'client' ? error : (error.cause as ConnectingError);
    },
  };
}
