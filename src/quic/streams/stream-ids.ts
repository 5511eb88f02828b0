/**
 * What a stream id says: who opened the stream, its direction, and which one of those it is (RFC 9000 §2.1).
 *
 * @module
 */
import type { Direction, Side, StreamId } from '../engine.ts';

/** Bit 0 = opened by the server, bit 1 = unidirectional. */
const SERVER_BIT = 1;
const UNI_BIT = 2;

/** The id of the stream number `index`, from 0, of those that `opener` opens in this direction. */
export function streamIdOf(opener: Side, dir: Direction, index: number): StreamId {
  return index * 4 + (dir === 'uni' ? UNI_BIT : 0) + (opener === 'server' ? SERVER_BIT : 0);
}

/** True when `side` opened the stream, or would. */
export function isOpenedBy(side: Side, id: StreamId): boolean {
  return (id % 2 === SERVER_BIT) === (side === 'server');
}

/** The stream's direction. */
export function directionOf(id: StreamId): Direction {
  return id % 4 >= UNI_BIT ? 'uni' : 'bi';
}

/** The stream's number among those of its opener and direction, from 0. */
export function indexOf(id: StreamId): number {
  return Math.floor(id / 4);
}
