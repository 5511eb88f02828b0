/**
 * The connections of one endpoint, from the engine's first word about each to its last.
 *
 * @module
 */
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

/** Connections whose end the engine has not told. */
export class Connections {
  readonly #options: ConnectionsOptions;
  readonly #open = new Set<ConnectionActor>();
  #progressed: (() => void) | undefined;

  constructor(options: ConnectionsOptions) {
    this.#options = options;
    options.driver.onProgress = () => this.#progressed?.();
  }

  /** Takes a connection that the engine has begun. @param to - The mapped address that was dialled, held until it is settled. */
  adopt(quic: QuicConnection, to?: Addr): ConnectionActor {
    const { driver, mapped, log, system } = this.#options;
    const actor = new ConnectionActor({
      quic,
      driver,
      mapped,
      log,
      system,
      admit: (connection) => this.#admit(connection),
    });
    this.#open.add(actor);
    actor.drained.promise.then(
      () => this.#open.delete(actor),
      () => undefined,
    );
    if (to !== undefined) {
      // First flights go there until the handshake has settled on an address.
      mapped.hold(to);
      const release = (): void => mapped.release(to);
      actor.connected.promise.then(release, release);
    }
    driver.wake();
    return actor;
  }

  /** The handshake of a connection is complete: its peer's remote takes it, then hooks may refuse it. */
  async #admit(connection: ConnectionActor): Promise<void> {
    const { remotes, afterHandshake } = this.#options;
    const { remoteId } = connection;
    if (remoteId === undefined) return;
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
