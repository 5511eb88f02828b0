/**
 * Frames of datagrams that wait for a relay: bounded by count and by bytes, the oldest is dropped. What QUIC sent long ago it
 * has sent again, so the newest are worth most.
 *
 * @module
 */
import type { Millis } from '../base/clock.ts';

/** Most frames that wait for one relay: as many as upstream's two queues of 256 and 64 hold together, where QUIC waits for room. */
export const SEND_QUEUE_FRAMES = 320;
/** Most bytes of them. Upstream counts frames only, which are up to 64 KiB each. */
export const SEND_QUEUE_BYTES = 1_048_576;

/** A frame and what is in it. */
export interface WaitingFrame {
  readonly message: Uint8Array;
  /** How many datagrams. */
  readonly datagrams: number;
  /** When it came. */
  readonly at: Millis;
}

/** First in, first out. */
export class SendQueue {
  #frames: WaitingFrame[] = [];
  #head = 0;
  #bytes = 0;

  get length(): number {
    return this.#frames.length - this.#head;
  }

  /** When the first frame came; undefined when there is none. */
  get oldestAt(): Millis | undefined {
    return this.#frames[this.#head]?.at;
  }

  /** @returns how many datagrams had to go for it. */
  push(frame: WaitingFrame): number {
    let dropped = 0;
    while (
      this.length >= SEND_QUEUE_FRAMES ||
      (this.length > 0 && this.#bytes + frame.message.length > SEND_QUEUE_BYTES)
    )
      dropped += this.shift()!.datagrams;
    this.#frames.push(frame);
    this.#bytes += frame.message.length;
    return dropped;
  }

  shift(): WaitingFrame | undefined {
    const frame = this.#frames[this.#head];
    if (frame === undefined) return undefined;
    this.#head++;
    this.#bytes -= frame.message.length;
    // Shifting an array costs its length; so the front is cut off only now and then.
    if (this.#head === this.#frames.length || this.#head >= SEND_QUEUE_FRAMES) {
      this.#frames.splice(0, this.#head);
      this.#head = 0;
    }
    return frame;
  }

  /** Drops frames that came at `time` or before. @returns how many datagrams were in them. */
  dropUntil(time: Millis): number {
    let dropped = 0;
    while (this.length > 0 && this.oldestAt! <= time) dropped += this.shift()!.datagrams;
    return dropped;
  }
}
