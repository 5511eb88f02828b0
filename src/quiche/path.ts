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
  /** The last time. */
  stalledAt: Millis;
  heardAt: Millis;
  probedAt: Millis;
  maxIdleMs: Millis | undefined;
  keepAliveMs: Millis | undefined;
}

/** A path that nobody has answered on yet. */
export function newPath(
  id: PathId,
  place: Place,
  status: PathStatus,
  transport: TransportConfig,
  now: Millis,
): Path {
  return {
    id,
    place,
    status,
    validated: false,
    stalled: false,
    stalledAt: -Infinity,
    heardAt: now,
    probedAt: now,
    maxIdleMs: transport.pathMaxIdleTimeoutMs,
    keepAliveMs: transport.pathKeepAliveIntervalMs,
  };
}

/** When a path that carries no data is given up for its silence. */
export function idleAt({ heardAt, maxIdleMs }: Path): Millis {
  return maxIdleMs === undefined ? Infinity : heardAt + maxIdleMs;
}

/** When it is probed again. */
export function keepAliveAt({ probedAt, keepAliveMs, validated }: Path): Millis {
  return keepAliveMs === undefined || !validated ? Infinity : probedAt + keepAliveMs;
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
