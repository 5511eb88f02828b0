/**
 * What is left to say when a connection ends: which CONNECTION_CLOSE, and how often (RFC 9000 §10.2).
 *
 * @module
 */
import type { Writer } from '../base/bytes.ts';
import type { SpaceName } from './spaces.ts';
import { TRANSPORT_CODES } from './transport-error.ts';
import { writeApplicationClose, writeConnectionClose } from './wire/frames.ts';

/** Bytes of a reason phrase that we send; the rest is cut so that the frame always fits. */
const MAX_REASON_BYTES = 512;

/** Type, code, frame type and length at most. */
const FRAME_BYTES = 1 + 8 + 8 + 2;

/** What our CONNECTION_CLOSE says. */
export type CloseFrame =
  | { readonly type: 'application'; readonly code: bigint; readonly reason: Uint8Array }
  | {
      readonly type: 'transport';
      readonly code: number;
      readonly frameType: number;
      readonly reason: Uint8Array;
    };

/** An ending connection's last words. */
export class Closing {
  readonly #frame: CloseFrame;
  /** A close should be sent now. */
  pending = true;
  /** Packets received since the last one was sent, and how many it takes for the next. */
  #received = 0;
  #answerAfter = 1;

  constructor(frame: CloseFrame) {
    this.#frame = frame;
  }

  /**
   * A packet arrived although we closed: our close was lost, so repeat it, but ever more rarely
   * (RFC 9000 §10.2.1: limit the rate).
   */
  onPacketReceived(): void {
    if (++this.#received < this.#answerAfter) return;
    this.#received = 0;
    this.#answerAfter *= 2;
    this.pending = true;
  }

  /** Writes the frame as it must look in `space`. */
  write(w: Writer, space: SpaceName): void {
    const frame = this.#frame;
    const room = Math.max(0, w.room - FRAME_BYTES);
    const reason = frame.reason.subarray(0, Math.min(frame.reason.length, MAX_REASON_BYTES, room));
    if (frame.type === 'transport') {
      writeConnectionClose(w, frame.code, frame.frameType, reason);
    } else if (space === 'oneRtt') {
      writeApplicationClose(w, frame.code, reason);
    } else {
      // RFC 9000 §10.2.3: application details must not leave before the handshake proves who listens.
      writeConnectionClose(w, TRANSPORT_CODES.APPLICATION_ERROR, 0, reason.subarray(0, 0));
    }
  }
}
