/**
 * Sending half of one stream: state, buffered bytes, credit (RFC 9000 §3.1, §4.1).
 *
 * @module
 */
import type { StreamId } from '../engine.ts';
import { SendBuffer } from './send-buffer.ts';
import { sendTable, type SendEvent, type SendState } from './stream-states.ts';

/** Sending half. `send-credit.ts` keeps the connection's share of the books. */
export class SendStream {
  readonly id: StreamId;
  readonly buffer = new SendBuffer();
  state: SendState = 'send';
  /** What the peer allows on this stream, bytes from its start. */
  maxData: number;
  priority = 0;
  readonly is0Rtt: boolean;
  /** In the queue of streams with something to send. */
  isQueued = false;
  /** The FIN must (again) be sent. */
  finPending = false;
  #finAcked = false;
  /** Code of STOP_SENDING. */
  stoppedCode: bigint | undefined;
  resetCode: bigint | undefined;
  /** A write was short: the application waits for `streamWritable`. */
  isBlocked = false;

  constructor(id: StreamId, maxData: number, is0Rtt: boolean) {
    this.id = id;
    this.maxData = maxData;
    this.is0Rtt = is0Rtt;
  }

  /** Takes a transition; false when the table has none. */
  move(event: SendEvent): boolean {
    const next = sendTable[this.state][event];
    if (next === undefined) return false;
    this.state = next;
    return true;
  }

  get wantsSend(): boolean {
    return (
      (this.state === 'send' || this.state === 'dataSent') && (this.finPending || this.buffer.hasPending)
    );
  }

  /** Nothing is left to be acknowledged. */
  get isDone(): boolean {
    return this.state === 'dataRecvd' || this.state === 'resetRecvd';
  }

  /** Returns true when that was the last missing acknowledgment. */
  onAcked(offset: number, length: number, fin: boolean): boolean {
    this.buffer.onAcked(offset, length);
    if (fin) this.#finAcked = true;
    return this.#finAcked && this.buffer.isFullyAcked && this.move('allAcked');
  }

  onLost(offset: number, length: number, fin: boolean): void {
    this.buffer.onLost(offset, length);
    if (fin && !this.#finAcked) this.finPending = true;
  }
}
