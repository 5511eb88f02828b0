/**
 * What the peer may send, over all streams and on each (RFC 9000 §4.1, §4.2): what was received and read of it, and when
 * more is granted. Owns MAX_DATA and MAX_STREAM_DATA.
 *
 * @module
 */
import type { Writer } from '../../base/bytes.ts';
import type { Millis } from '../../base/clock.ts';
import { LazySet } from '../../base/lazy-collections.ts';
import type { SentFrame } from '../sent-frame.ts';
import { TransportError } from '../transport-error.ts';
import {
  MAX_MAX_DATA_BYTES,
  MAX_MAX_STREAM_DATA_BYTES,
  writeMaxData,
  writeMaxStreamData,
} from '../wire/frames.ts';
import { isStreamCreditDue, ReceiveWindow, tunedWindow } from './receive-window.ts';
import type { RecvStream } from './recv-stream.ts';

/** Credit for the peer. */
export class RecvCredit {
  readonly #window: ReceiveWindow;
  #maxDataPending = false;
  /** Streams whose MAX_STREAM_DATA is due. */
  readonly #credits = new LazySet<RecvStream>();
  #isClosed = false;

  /** @param window - Bytes for all streams together; it grows up to `maxWindow` with use. */
  constructor(window: number, maxWindow: number) {
    this.#window = new ReceiveWindow(window, maxWindow);
  }

  // --- the books ----------------------------------------------------------------------------------------------------

  /** Streams grew by this many bytes. @throws {TransportError} FLOW_CONTROL_ERROR. */
  onReceived(bytes: number): void {
    if (bytes === 0) return;
    this.#window.received += bytes;
    if (this.#window.received > this.#window.limit) {
      throw new TransportError('FLOW_CONTROL_ERROR', 'more data than the connection allows');
    }
  }

  /** The application read these bytes of a stream: the peer may send as many more. */
  onRead(stream: RecvStream, bytes: number): void {
    stream.consumed += bytes;
    this.#onConsumed(bytes);
    if (this.#isClosed || !stream.mayReceive) return;
    if (isStreamCreditDue(stream.assembler.readOffset, stream.window, stream.maxData))
      this.#credits.add(stream);
  }

  /** Nobody will read the stream: counts everything that was received as read, and throws it away. */
  onAbandoned(stream: RecvStream): void {
    this.#onConsumed(stream.highest - stream.consumed);
    stream.consumed = stream.highest;
    stream.assembler.clear();
    this.#credits.delete(stream);
  }

  /** The stream is done: it needs no credit. */
  forget(stream: RecvStream): void {
    this.#credits.delete(stream);
  }

  #onConsumed(bytes: number): void {
    if (bytes === 0) return;
    this.#window.consumed += bytes;
    if (!this.#isClosed) this.offer();
  }

  /** Tells the peer what it may send over all streams, if that is worth a frame. */
  offer(): void {
    if (this.#window.isDue) this.#maxDataPending = true;
  }

  /** The size of the window of all streams together from now on. Credit that was given stays given. */
  setWindow(bytes: number): void {
    this.#window.window = bytes;
    this.#window.max = Math.max(this.#window.max, bytes);
    this.offer();
  }

  // --- the connection's life ----------------------------------------------------------------------------------------

  /** The server refused early data: the streams that it was sent on are gone. */
  onZeroRttRejected(): void {
    this.#credits.clear();
  }

  /** Reading returns nothing from now on. */
  onConnectionClosed(): void {
    this.#isClosed = true;
    this.#credits.clear();
    this.#maxDataPending = false;
  }

  // --- frames out ---------------------------------------------------------------------------------------------------

  get wantsControl(): boolean {
    return this.#maxDataPending || this.#credits.size > 0;
  }

  /**
   * Writes MAX_DATA and MAX_STREAM_DATA, as far as they are due. Returns false when there is no room for a
   * MAX_STREAM_DATA; a MAX_DATA without room is left for the next packet.
   */
  writeControl(w: Writer, sent: SentFrame[], now: Millis, rttMs: Millis): boolean {
    if (this.#maxDataPending && w.room >= MAX_MAX_DATA_BYTES) {
      this.#maxDataPending = false;
      writeMaxData(w, this.#window.grant(now, rttMs));
      sent.push({ type: 'maxData' });
    }
    for (const stream of this.#credits) {
      if (w.room < MAX_MAX_STREAM_DATA_BYTES) return false;
      this.#credits.delete(stream);
      if (!stream.mayReceive) continue;
      stream.window = tunedWindow(stream.window, this.#window.window, stream.grantedAt, now, rttMs);
      stream.grantedAt = now;
      stream.maxData = Math.max(stream.maxData, stream.assembler.readOffset + stream.window);
      writeMaxStreamData(w, stream.id, stream.maxData);
      sent.push({ type: 'maxStreamData', id: stream.id });
    }
    return true;
  }

  onMaxDataLost(): void {
    this.#maxDataPending = true;
  }

  onMaxStreamDataLost(stream: RecvStream): void {
    if (stream.mayReceive) this.#credits.add(stream);
  }
}
