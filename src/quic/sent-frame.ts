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

export type StreamsSentFrame =
  | {
      readonly type: 'stream';
      readonly id: StreamId;
      readonly offset: number;
      readonly length: number;
      readonly fin: boolean;
    }
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
