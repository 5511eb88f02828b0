/**
 * What a path of a quiche connection is, and what paths need of their connection.
 *
 * @module
 */
import type { Millis } from '../base/clock.ts';
import type { TransportConfig } from '../quic/config.ts';
import type { ConnectionEvent, PathId, PathStatus, Side } from '../quic/engine.ts';
import type { Connection } from './native.ts';
import type { Place } from './places.ts';

/** One path. */
export interface Path {
  readonly id: PathId;
  place: Place;
  status: PathStatus;
  validated: boolean;
  stalled: boolean;
  heardAt: Millis;
  probedAt: Millis;
  maxIdleMs: Millis | undefined;
  keepAliveMs: Millis | undefined;
}

/** What the paths need of their connection. */
export interface PathsOwner {
  readonly native: Connection;
  readonly side: Side;
  readonly transport: TransportConfig;
  readonly isEstablished: boolean;
  readonly isClosed: boolean;
  emit(event: ConnectionEvent): void;
  touch(): void;
}
