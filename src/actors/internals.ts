/**
 * The way from a public handle to its actor, for this package only: handles of one file need the actors of another, and
 * tests look at the engine.
 *
 * @module
 */
import type { ConnectionActor } from './connection-actor.ts';

/** Actor of each connection handle. */
export const actorOf = new WeakMap<object, ConnectionActor>();
