/**
 * How many streams of one direction may be open, and how many were opened: by us as far as the peer allows, by the peer
 * as far as we do (RFC 9000 §4.6). Owns MAX_STREAMS and STREAMS_BLOCKED of that direction.
 *
 * @module
 */
import type { Writer } from '../../base/bytes.ts';
import type { ConnectionEvent, Direction, Side, StreamId } from '../engine.ts';
import type { SentFrame } from '../sent-frame.ts';
import { TransportError } from '../transport-error.ts';
import {
  MAX_BLOCKED_BYTES,
  MAX_MAX_STREAMS_BYTES,
  writeMaxStreams,
  writeStreamsBlocked,
} from '../wire/frames.ts';
import { indexOf, isOpenedBy, streamIdOf } from './stream-ids.ts';

/** Counts and limits of the streams of one direction. */
export class StreamLimits {
  readonly #side: Side;
  readonly #dir: Direction;
  readonly #events: ConnectionEvent[];

  /** Streams that we opened, and how many the peer lets us open. */
  #localOpened = 0;
  #localMax = 0;
  /** The application was refused a stream: it waits for `streamsAvailable`. */
  #wantsStream = false;
  #streamsBlocked = false;

  /** Streams that the peer opened, and how many we let it open. */
  #remoteOpened = 0;
  #remoteMax: number;
  /** Streams of the peer that are not finished, and how many may be so at a time. */
  #remoteOpen = 0;
  #concurrent: number;
  /** Index of the next stream that the application takes. */
  #accepted = 0;
  #maxStreamsPending = false;
  #isClosed = false;

  /**
   * @param concurrent - Streams of the peer that may be unfinished at a time.
   * @param events - The connection's; `streamsAvailable` is added to them.
   */
  constructor(side: Side, dir: Direction, concurrent: number, events: ConnectionEvent[]) {
    this.#side = side;
    this.#dir = dir;
    this.#events = events;
    this.#concurrent = concurrent;
    this.#remoteMax = concurrent;
  }

  // --- our streams --------------------------------------------------------------------------------------------------

  /** Opens a stream of ours; undefined at the peer's limit. */
  open(): StreamId | undefined {
    if (this.#localOpened >= this.#localMax) {
      this.#wantsStream = true;
      // RFC 9000 §4.6: tell the peer that its limit is in the way.
      this.#streamsBlocked = true;
      return undefined;
    }
    return streamIdOf(this.#side, this.#dir, this.#localOpened++);
  }

  /** The peer allows this many; a limit never sinks (RFC 9000 §4.6). */
  raise(limit: number): void {
    if (limit <= this.#localMax) return;
    this.#localMax = limit;
    this.#streamsBlocked = false;
    if (!this.#wantsStream) return;
    this.#wantsStream = false;
    this.#events.push({ type: 'streamsAvailable', dir: this.#dir });
  }

  /** The server refused early data: none of our streams existed, and what was remembered of its limit is void. */
  onZeroRttRejected(): void {
    this.#localOpened = 0;
    this.#localMax = 0;
    this.#streamsBlocked = false;
  }

  // --- the peer's streams -------------------------------------------------------------------------------------------

  /**
   * Opens the peer's next stream, if it must be open for this one to be: a stream opens those before it (RFC 9000 §3.2).
   * Call it until it returns undefined, after {@link check}.
   */
  openRemote(id: StreamId): StreamId | undefined {
    if (isOpenedBy(this.#side, id) || this.#remoteOpened > indexOf(id)) return undefined;
    this.#remoteOpen++;
    return this.#remoteId(this.#remoteOpened++);
  }

  /** The next stream of the peer for the application. */
  accept(): StreamId | undefined {
    return this.#accepted >= this.#remoteOpened ? undefined : this.#remoteId(this.#accepted++);
  }

  /** A stream of the peer is finished, and makes room for another. */
  onRemoteDone(): void {
    this.#remoteOpen--;
    this.offer();
  }

  /** Limits what the peer may have open at a time from now on. Credit that was given stays given. */
  setConcurrent(count: number): void {
    this.#concurrent = count;
    this.offer();
  }

  /** Tells the peer of the room that there is, if that is worth a frame. */
  offer(): void {
    // When more than an eighth of the limit is free again; noq uses the same.
    if (!this.#isClosed && this.#nextRemoteMax - this.#remoteMax > this.#concurrent / 8)
      this.#maxStreamsPending = true;
  }

  /** Nothing is offered from now on. */
  onConnectionClosed(): void {
    this.#isClosed = true;
  }

  get #nextRemoteMax(): number {
    return this.#remoteOpened - this.#remoteOpen + this.#concurrent;
  }

  #remoteId(index: number): StreamId {
    return streamIdOf(this.#side === 'server' ? 'client' : 'server', this.#dir, index);
  }

  // --- frames in ----------------------------------------------------------------------------------------------------

  /**
   * Checks that a frame may name this stream of our direction (RFC 9000 §3.2, §4.6).
   * @param half - The half of the stream, as we see it, that the frame is about.
   * @throws {TransportError} STREAM_STATE_ERROR, STREAM_LIMIT_ERROR.
   */
  check(id: StreamId, half: 'send' | 'recv', frame: string): void {
    const index = indexOf(id);
    const isLocal = isOpenedBy(this.#side, id);
    if (this.#dir === 'uni' && isLocal !== (half === 'send')) {
      throw new TransportError('STREAM_STATE_ERROR', `${frame} for the wrong direction of stream ${id}`);
    }
    if (isLocal) {
      if (index >= this.#localOpened) {
        throw new TransportError('STREAM_STATE_ERROR', `${frame} for stream ${id}, which was not opened`);
      }
      return;
    }
    if (index >= this.#remoteMax)
      throw new TransportError('STREAM_LIMIT_ERROR', `stream ${id} is above the limit`);
  }

  // --- frames out ---------------------------------------------------------------------------------------------------

  get wantsControl(): boolean {
    return this.#maxStreamsPending || this.#streamsBlocked;
  }

  /** Writes MAX_STREAMS and STREAMS_BLOCKED, as far as they are due and there is room. */
  writeControl(w: Writer, sent: SentFrame[]): void {
    const dir = this.#dir;
    if (this.#maxStreamsPending && w.room >= MAX_MAX_STREAMS_BYTES) {
      this.#maxStreamsPending = false;
      this.#remoteMax = Math.max(this.#remoteMax, this.#nextRemoteMax);
      writeMaxStreams(w, dir, this.#remoteMax);
      sent.push({ type: 'maxStreams', dir });
    }
    if (this.#streamsBlocked && w.room >= MAX_BLOCKED_BYTES) {
      this.#streamsBlocked = false;
      writeStreamsBlocked(w, dir, this.#localMax);
      sent.push({ type: 'streamsBlocked', dir });
    }
  }

  onMaxStreamsLost(): void {
    this.#maxStreamsPending = true;
  }

  onStreamsBlockedLost(): void {
    this.#streamsBlocked = this.#localOpened >= this.#localMax;
  }
}
