/**
 * The way from a public handle to its actor, for this package only: handles of one file need the actors of another, and
 * tests look at the engine.
 *
 * @module
 */
import type { Log } from '../transport/log.ts';
import type { ActorSystem } from './actor-system.ts';
import type { ConnectionActor } from './connection-actor.ts';

/** Actor of each connection handle. */
export const actorOf = new WeakMap<object, ConnectionActor>();

/** What an endpoint lends to the parts that are built on top of it. */
export interface EndpointParts {
  readonly system: ActorSystem;
  readonly log: Log;
}

/** Parts of each endpoint handle. */
export const partsOf = new WeakMap<object, EndpointParts>();
