/**
 * Receiving half of one stream: state, reassembly, credit (RFC 9000 §3.2, §4).
 *
 * @module
 */
import type { Millis } from '../../base/clock.ts';
import type { StreamId } from '../engine.ts';
import { TransportError } from '../transport-error.ts';
import { Assembler } from './assembler.ts';
import { recvTable, type RecvEvent, type RecvState } from './stream-states.ts';

/** Receiving half. `recv-credit.ts` keeps the connection's share of the books. */
export class RecvStream {
  readonly id: StreamId;
  readonly assembler = new Assembler();
  state: RecvState = 'recv';
  /** End of the highest byte received, or the final size. */
  highest = 0;
  finalSize: number | undefined;
  /** Bytes that were read or thrown away: they no longer count against the connection. */
  consumed = 0;
  /** Size of the window; grows with use. */
  window: number;
  /** What we allowed, bytes from the start of the stream. */
  maxData: number;
  /** When the present window was granted. */
  grantedAt: Millis = -Infinity;
  resetCode: bigint | undefined;
  /** STOP_SENDING was asked for: what arrives is thrown away. */
  stopCode: bigint | undefined;
  /** A read found nothing: the application waits for `streamReadable`. */
  wantsNotice = false;
  readonly is0Rtt: boolean;

  constructor(id: StreamId, window: number, is0Rtt: boolean) {
    this.id = id;
    this.window = window;
    this.maxData = window;
    this.is0Rtt = is0Rtt;
  }

  move(event: RecvEvent): boolean {
    const next = recvTable[this.state][event];
    if (next === undefined) return false;
    this.state = next;
    return true;
  }

  /** True while more credit could be of use to the peer. */
  get mayReceive(): boolean {
    return this.state === 'recv' && this.stopCode === undefined;
  }

  /** Nothing more comes and nothing more is read. */
  get isDone(): boolean {
    if (this.state === 'dataRead' || this.state === 'resetRead') return true;
    // Stopped: nobody reads, so the peer's FIN or RESET is the end.
    return this.stopCode !== undefined && this.state !== 'recv' && this.state !== 'sizeKnown';
  }

  /**
   * Checks a final size or a piece of data against what is known (RFC 9000 §4.5).
   * @returns Bytes by which the stream grew.
   * @throws {TransportError} FINAL_SIZE_ERROR, FLOW_CONTROL_ERROR.
   */
  grow(end: number, isFinal: boolean): number {
    if (this.finalSize !== undefined ? end > this.finalSize || (isFinal && end !== this.finalSize) : false) {
      throw new TransportError('FINAL_SIZE_ERROR', 'stream data beyond its final size');
    }
    if (isFinal && end < this.highest) {
      throw new TransportError('FINAL_SIZE_ERROR', 'final size below data that was received');
    }
    if (end > this.maxData) throw new TransportError('FLOW_CONTROL_ERROR', 'stream data beyond its limit');
    const grown = Math.max(0, end - this.highest);
    this.highest += grown;
    if (isFinal) this.finalSize = end;
    return grown;
  }
}
