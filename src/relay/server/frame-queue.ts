/**
 * Frames that wait for one client: bounded by count and by bytes, the newest is dropped.
 *
 * @module
 */

/** `PER_CLIENT_SEND_QUEUE_DEPTH`: most frames in each of a client's two queues (`iroh-relay/src/protos/relay.rs`). */
export const CLIENT_QUEUE_FRAMES = 512;
/**
 * Most bytes in each of them. The reference counts frames only, which are up to 64 KiB each; with this bound a client
 * that does not read costs at most so much until it is cut off.
 */
export const CLIENT_QUEUE_BYTES = 8 * 1_024 * 1_024;

/** First in, first out. */
export class FrameQueue {
  #frames: Uint8Array[] = [];
  #head = 0;
  #bytes = 0;

  get length(): number {
    return this.#frames.length - this.#head;
  }

  /** Bytes of all frames in it. */
  get bytes(): number {
    return this.#bytes;
  }

  /** @param frame - Copied if it keeps a larger buffer alive. @returns false when there is no room. */
  push(frame: Uint8Array): boolean {
    if (this.length >= CLIENT_QUEUE_FRAMES || this.#bytes + frame.length > CLIENT_QUEUE_BYTES) return false;
    // What came in is a view of what the system read in one go, up to 64 KiB: a queue of those would hold far more
    // memory than its bound says.
    this.#frames.push(frame.length * 2 < frame.buffer.byteLength ? new Uint8Array(frame) : frame);
    this.#bytes += frame.length;
    return true;
  }

  shift(): Uint8Array | undefined {
    if (this.#head === this.#frames.length) return undefined;
    const frame = this.#frames[this.#head++]!;
    this.#bytes -= frame.length;
    // Shifting an array costs its length; so the front is cut off only now and then.
    if (this.#head === this.#frames.length) this.clear();
    else if (this.#head >= CLIENT_QUEUE_FRAMES) {
      this.#frames.splice(0, this.#head);
      this.#head = 0;
    }
    return frame;
  }

  clear(): void {
    this.#frames = [];
    this.#head = 0;
    this.#bytes = 0;
  }
}
