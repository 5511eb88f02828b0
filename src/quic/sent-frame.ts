/**
 * What a sent packet carried, as far as somebody must know when it is acknowledged or lost.
 *
 * Frames whose content can be derived again (limits, statuses) carry only their key: a loss marks them for sending with
 * their *current* content (RFC 9000 §13.3).
 *
 * @module
 */
import type { Addr } from '../base/socket-addr.ts';
import type { Direction, PathId, StreamId } from './engine.ts';

/** Part of a stream; taken from and given back to a pool, as nearly every packet of a transfer has one. */
export interface StreamSentFrame {
  readonly type: 'stream';
  readonly id: StreamId;
  readonly offset: number;
  readonly length: number;
  readonly fin: boolean;
}

export type StreamsSentFrame =
  | StreamSentFrame
  | { readonly type: 'resetStream'; readonly id: StreamId }
  | { readonly type: 'stopSending'; readonly id: StreamId }
  | { readonly type: 'maxData' }
  | { readonly type: 'maxStreamData'; readonly id: StreamId }
  | { readonly type: 'maxStreams'; readonly dir: Direction }
  | { readonly type: 'streamsBlocked'; readonly dir: Direction }
  | { readonly type: 'dataBlocked' }
  | { readonly type: 'streamDataBlocked'; readonly id: StreamId };

export type SentFrame =
  | StreamsSentFrame
  /** In the packet's own space. */
  | { readonly type: 'crypto'; readonly offset: number; readonly length: number }
  /** Acknowledges packets up to `largest` of `path`'s space (or of the packet's own space before 1-RTT). */
  | { readonly type: 'ack'; readonly path: PathId; readonly largest: number }
  | { readonly type: 'handshakeDone' }
  | { readonly type: 'newToken'; readonly token: Uint8Array }
  | { readonly type: 'newConnectionId'; readonly path: PathId; readonly sequence: number }
  | { readonly type: 'retireConnectionId'; readonly path: PathId; readonly sequence: number }
  | { readonly type: 'pathAbandon'; readonly path: PathId }
  | { readonly type: 'pathStatus'; readonly path: PathId }
  | { readonly type: 'maxPathId' }
  | { readonly type: 'pathsBlocked' }
  | { readonly type: 'pathCidsBlocked'; readonly path: PathId }
  | { readonly type: 'addAddress'; readonly sequence: number }
  | { readonly type: 'removeAddress'; readonly sequence: number }
  | { readonly type: 'reachOut'; readonly round: number; readonly addr: Addr }
  | { readonly type: 'observedAddress'; readonly path: PathId }
  /** Never retransmitted. */
  | { readonly type: 'datagram'; readonly size: number };

/** As many as records of packets are kept (`recovery/sent-packet-pool.ts`). */
const MAX_POOLED_FRAMES = 2_048;
const pool: { -readonly [Key in keyof StreamSentFrame]: StreamSentFrame[Key] }[] = [];

/** Makes a record of a STREAM frame, from the pool if there is one. */
export function takeStreamFrame(id: StreamId, offset: number, length: number, fin: boolean): StreamSentFrame {
  const frame = pool.pop();
  if (frame === undefined) return { type: 'stream', id, offset, length, fin };
  frame.id = id;
  frame.offset = offset;
  frame.length = length;
  frame.fin = fin;
  return frame;
}

/** Takes a record back; its packet was acknowledged or lost, and nobody holds it. */
export function giveStreamFrame(frame: StreamSentFrame): void {
  if (pool.length < MAX_POOLED_FRAMES) pool.push(frame);
}
