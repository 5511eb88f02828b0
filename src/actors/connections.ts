/**
 * The connections of one endpoint, from the engine's first word about each to its last.
 *
 * @module
 */
import type { EndpointId } from '../base/endpoint-id.ts';
import { AuthenticationError, ConnectError, ConnectingError } from '../base/errors.ts';
import type { Addr } from '../base/socket-addr.ts';
import type { QuicConnection } from '../quic/engine.ts';
import type { Log } from '../transport/log.ts';
import type { ActorSystem } from './actor-system.ts';
import { ConnectionActor } from './connection-actor.ts';
import type { EngineDriver } from './engine-driver.ts';
import type { MappedAddrs } from './mapped-addrs.ts';
import type { RemoteMap } from './remote-map.ts';

/** How {@link Connections} are made. */
export interface ConnectionsOptions {
  readonly driver: EngineDriver;
  readonly mapped: MappedAddrs;
  readonly log: Log;
  readonly system: ActorSystem;
  readonly remotes: () => RemoteMap;
  /** What the application's hooks say once a peer is known; undefined: nobody wants to be asked. */
  readonly afterHandshake: ((connection: ConnectionActor) => Promise<void>) | undefined;
}

/** Who is dialled, and the mapped address at which. */
export interface Dialled {
  readonly id: EndpointId;
  readonly to: Addr;
}

/** Connections whose end the engine has not told. */
export class Connections {
  readonly #options: ConnectionsOptions;
  readonly #open = new Set<ConnectionActor>();
  #progressed: (() => void) | undefined;

  constructor(options: ConnectionsOptions) {
    this.#options = options;
    options.driver.onProgress = () => this.#progressed?.();
  }

  /** Takes a connection that the engine has begun. @param dialled - Its mapped address is held until another one is settled. */
  adopt(quic: QuicConnection, dialled?: Dialled): ConnectionActor {
    const { driver, mapped, log, system } = this.#options;
    const actor = new ConnectionActor({
      quic,
      driver,
      mapped,
      log,
      system,
      admit: (connection) => this.#admit(connection, dialled?.id),
    });
    this.#open.add(actor);
    actor.drained.promise.then(
      () => this.#open.delete(actor),
      () => undefined,
    );
    if (dialled !== undefined) {
      // First flights go there until the handshake has settled on an address.
      mapped.hold(dialled.to);
      const release = (): void => mapped.release(dialled.to);
      actor.connected.promise.then(release, release);
    }
    driver.wake();
    return actor;
  }

  /** The handshake of a connection is complete: its peer's remote takes it, then hooks may refuse it. */
  async #admit(connection: ConnectionActor, dialled: EndpointId | undefined): Promise<void> {
    const { remotes, afterHandshake } = this.#options;
    const { remoteId } = connection;
    // Engines check this during the handshake; that the peer is who was dialled is too much to leave to every engine.
    if (remoteId === undefined) throw handshakeFailure('the peer proved no endpoint id');
    if (dialled !== undefined && !remoteId.equals(dialled)) throw anotherPeer();
    await remotes().addConnection(remoteId, connection);
    await afterHandshake?.(connection);
  }

  /** Until every peer has answered its close, or nobody waits any more. */
  allDraining(signal: AbortSignal): Promise<void> {
    const { engine } = this.#options.driver;
    if (engine.undrainedCount === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const finish = (): void => {
        this.#progressed = undefined;
        resolve();
      };
      signal.addEventListener('abort', finish, { once: true });
      this.#progressed = () => {
        if (engine.undrainedCount === 0) finish();
      };
    });
  }

  /** The endpoint has ended before the engine was done with them. */
  endpointEnded(): void {
    for (const connection of this.#open) connection.endpointEnded();
  }
}

/** What `connect` reports when the peer has another endpoint id than was dialled. */
export function anotherPeer(cause?: unknown): ConnectError {
  const failure = handshakeFailure('the peer has another endpoint id', cause);
  return new ConnectError('ConnectError.AuthenticationError', 'who answered is not who was dialled', failure);
}

function handshakeFailure(message: string, cause?: unknown): ConnectingError {
  const reason = new AuthenticationError('AuthenticationError.RemoteId', message, cause);
  return new ConnectingError('ConnectingError.HandshakeFailure', message, reason);
}
