/**
 * Cuts the CRYPTO bytes of one level into handshake messages, whatever pieces they come in.
 *
 * @module
 */
import { EMPTY } from '../base/bytes.ts';
import { TlsAlert } from './alert.ts';
import { HANDSHAKE_HEADER_BYTES, MAX_HANDSHAKE_MESSAGE_BYTES } from './messages.ts';

/** Holds at most one incomplete message, so at most {@link MAX_HANDSHAKE_MESSAGE_BYTES} between calls. */
export class MessageReader {
  #bytes: Uint8Array = EMPTY;
  #pos = 0;
  #end = 0;
  /** Whether `#bytes` is our own buffer rather than the caller's. */
  #owned = false;

  /** True when bytes are left that `next` has not returned. */
  get hasBytes(): boolean {
    return this.#end > this.#pos;
  }

  /** Type of the message that the next byte starts, known before the message is complete. */
  get nextType(): number | undefined {
    return this.#end > this.#pos ? this.#bytes[this.#pos] : undefined;
  }

  /** Adds bytes; borrowed until `next` returns undefined. */
  feed(data: Uint8Array): void {
    const left = this.#end - this.#pos;
    if (left === 0) {
      this.#bytes = data;
      this.#pos = 0;
      this.#end = data.length;
      this.#owned = false;
      return;
    }
    this.#own(left + data.length);
    this.#bytes.set(data, this.#end);
    this.#end += data.length;
  }

  /**
   * The next whole message with its header, a view that is valid until the next {@link feed}.
   * @returns undefined when more bytes are needed.
   * @throws {TlsAlert} decode_error when it announces more than {@link MAX_HANDSHAKE_MESSAGE_BYTES}.
   */
  next(): Uint8Array | undefined {
    const left = this.#end - this.#pos;
    if (left === 0) {
      // What was fed is a view of a packet; do not keep it alive.
      this.#bytes = EMPTY;
      return undefined;
    }
    const b = this.#bytes;
    const at = this.#pos;
    if (left >= HANDSHAKE_HEADER_BYTES) {
      const length = HANDSHAKE_HEADER_BYTES + ((b[at + 1]! << 16) | (b[at + 2]! << 8) | b[at + 3]!);
      if (length > MAX_HANDSHAKE_MESSAGE_BYTES)
        throw new TlsAlert('decode_error', `handshake message of ${length} bytes`);
      if (length <= left) {
        this.#pos = at + length;
        return b.subarray(at, at + length);
      }
    }
    if (!this.#owned) this.#own(left);
    return undefined;
  }

  /** Lets go of the caller's buffer once everything is read: sessions live as long as connections. */
  release(): void {
    if (this.hasBytes) return;
    this.#bytes = EMPTY;
    this.#pos = 0;
    this.#end = 0;
    this.#owned = false;
  }

  /** Makes `#bytes` our own with room for `capacity` bytes from `#pos` on, moved to the front. */
  #own(capacity: number): void {
    const left = this.#end - this.#pos;
    if (!this.#owned || this.#bytes.length < capacity) {
      // Doubling keeps a message that comes byte by byte linear.
      const grown = new Uint8Array(Math.max(capacity, 2 * left, 256));
      grown.set(this.#bytes.subarray(this.#pos, this.#end));
      this.#bytes = grown;
      this.#owned = true;
    } else if (this.#pos > 0) {
      this.#bytes.copyWithin(0, this.#pos, this.#end);
    }
    this.#pos = 0;
    this.#end = left;
  }
}
