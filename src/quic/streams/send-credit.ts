/**
 * What may be written over all streams: within what the peer allows (RFC 9000 §4.1), and within what we keep until it is
 * acknowledged. Owns who waits for room, and DATA_BLOCKED.
 *
 * @module
 */
import type { Writer } from '../../base/bytes.ts';
import { LazySet } from '../../base/lazy-collections.ts';
import type { ConnectionEvent, Side, StreamId } from '../engine.ts';
import type { SentFrame } from '../sent-frame.ts';
import { MAX_BLOCKED_BYTES, writeDataBlocked } from '../wire/frames.ts';
import type { SendStream } from './send-stream.ts';
import { directionOf, isOpenedBy } from './stream-ids.ts';

/** The peer's limits for data in its own words: "local" streams are those that it opens. */
export interface PeerDataLimits {
  readonly initialMaxData: number;
  readonly initialMaxStreamDataBidiLocal: number;
  readonly initialMaxStreamDataBidiRemote: number;
  readonly initialMaxStreamDataUni: number;
}

const NO_LIMITS: PeerDataLimits = {
  initialMaxData: 0,
  initialMaxStreamDataBidiLocal: 0,
  initialMaxStreamDataBidiRemote: 0,
  initialMaxStreamDataUni: 0,
};

/** Credit for writing, of all streams of a connection together. */
export class SendCredit {
  readonly #side: Side;
  readonly #sendWindow: number;
  readonly #events: ConnectionEvent[];
  #peer: PeerDataLimits = NO_LIMITS;
  /** Bytes written over all streams, and what the peer allows of them. */
  #written = 0;
  #maxData = 0;
  /** Bytes written and not acknowledged over all streams. */
  #unacked = 0;
  #dataBlocked = false;
  /** Streams whose application waits for room. */
  readonly #blockedWriters = new LazySet<SendStream>();

  /**
   * @param sendWindow - Bytes that may be written and not acknowledged.
   * @param events - The connection's; `streamWritable` is added to them.
   */
  constructor(side: Side, sendWindow: number, events: ConnectionEvent[]) {
    this.#side = side;
    this.#sendWindow = sendWindow;
    this.#events = events;
  }

  // --- the connection's life ----------------------------------------------------------------------------------------

  /** What the peer allows from the beginning, remembered or real; it raises what the streams that are open have. */
  setPeerLimits(limits: PeerDataLimits, open: Iterable<SendStream>): void {
    this.#peer = limits;
    this.#maxData = Math.max(this.#maxData, limits.initialMaxData);
    for (const stream of open) stream.maxData = Math.max(stream.maxData, this.initialFor(stream.id));
    this.#unblock();
  }

  /** Credit that a new stream starts with. The peer's "local" is our "remote" (RFC 9000 §18.2). */
  initialFor(id: StreamId): number {
    if (directionOf(id) === 'uni') return this.#peer.initialMaxStreamDataUni;
    return isOpenedBy(this.#side, id)
      ? this.#peer.initialMaxStreamDataBidiRemote
      : this.#peer.initialMaxStreamDataBidiLocal;
  }

  /** The server refused early data: nothing was written, and who waited may ask again. */
  onZeroRttRejected(): void {
    for (const { id } of this.#blockedWriters) this.#events.push({ type: 'streamWritable', id });
    this.#blockedWriters.clear();
    this.#written = 0;
    this.#unacked = 0;
    this.#maxData = 0;
    this.#dataBlocked = false;
  }

  onConnectionClosed(): void {
    this.#blockedWriters.clear();
  }

  // --- for writers --------------------------------------------------------------------------------------------------

  /** Takes credit for `wanted` bytes of a stream, or for fewer: then the stream waits for room. Returns for how many. */
  take(stream: SendStream, wanted: number): number {
    const credit = Math.min(stream.maxData - stream.buffer.end, this.#maxData - this.#written);
    const count = Math.max(0, Math.min(wanted, credit, this.#sendWindow - this.#unacked));
    if (count < wanted) {
      stream.isBlocked = true;
      this.#blockedWriters.add(stream);
      // RFC 9000 §4.1: a sender that is blocked SHOULD say so.
      if (this.#maxData - this.#written < wanted) this.#dataBlocked = true;
    }
    this.#written += count;
    this.#unacked += count;
    return count;
  }

  /** Bytes need not be kept any longer: they were acknowledged, or their stream was reset. */
  release(bytes: number): void {
    this.#unacked -= bytes;
    this.#unblock();
  }

  /** The stream waits no longer for room. */
  forget(stream: SendStream): void {
    this.#blockedWriters.delete(stream);
  }

  /** Tells those who waited for room and have it now. */
  #unblock(): void {
    if (this.#blockedWriters.size === 0) return;
    const connection = Math.min(this.#maxData - this.#written, this.#sendWindow - this.#unacked);
    if (connection <= 0) return;
    for (const stream of this.#blockedWriters) {
      if (stream.maxData <= stream.buffer.end) continue;
      this.#blockedWriters.delete(stream);
      stream.isBlocked = false;
      this.#events.push({ type: 'streamWritable', id: stream.id });
    }
  }

  // --- frames in and out --------------------------------------------------------------------------------------------

  handleMaxData(limit: number): void {
    if (limit <= this.#maxData) return;
    this.#maxData = limit;
    this.#dataBlocked = false;
    this.#unblock();
  }

  /** The peer allows more on this stream: its application may have waited for that. */
  onMaxStreamData(stream: SendStream): void {
    if (this.#blockedWriters.has(stream)) this.#unblock();
  }

  get wantsControl(): boolean {
    return this.#dataBlocked;
  }

  /** Writes DATA_BLOCKED, if it is due and there is room. */
  writeControl(w: Writer, sent: SentFrame[]): void {
    if (!this.#dataBlocked || w.room < MAX_BLOCKED_BYTES) return;
    this.#dataBlocked = false;
    writeDataBlocked(w, this.#maxData);
    sent.push({ type: 'dataBlocked' });
  }

  onDataBlockedLost(): void {
    this.#dataBlocked = this.#written >= this.#maxData;
  }
}
