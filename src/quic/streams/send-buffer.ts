/**
 * Bytes of an outgoing stream from the application's write to the peer's acknowledgment.
 *
 * New data is copied in once and copied out once into each packet. A cursor makes sequential sending O(1); lost ranges are
 * sent again before new ones.
 *
 * @module
 */
import type { Writer } from '../../base/bytes.ts';
import { RangeSet } from '../recovery/range-set.ts';

/** Small writes share a block of this size, so that a byte-wise writer does not cost an object per byte. */
const BLOCK_BYTES = 4_096;

interface Chunk {
  readonly offset: number;
  readonly data: Uint8Array;
  /** Bytes of `data` in use. */
  length: number;
}

interface ByteRange {
  start: number;
  end: number;
}

/** The unacknowledged part of a stream. Offsets are absolute. */
export class SendBuffer {
  #chunks: Chunk[] = [];
  #head = 0;
  /** Index of the chunk that holds {@link next}. */
  #cursor = 0;
  /** Everything before was acknowledged. */
  #base = 0;
  /** Acknowledged ranges beyond the base; inclusive bounds. */
  readonly #acked = new RangeSet();
  /** To be sent again, ascending. */
  readonly #lost: ByteRange[] = [];
  /** End of what was written. */
  end = 0;
  /** Next byte that was never sent. */
  next = 0;

  /** Bytes written and not yet acknowledged. */
  get unacked(): number {
    return this.end - this.#base;
  }

  get isFullyAcked(): boolean {
    return this.#base === this.end;
  }

  get hasPending(): boolean {
    return this.#lost.length > 0 || this.next < this.end;
  }

  /** Copies bytes in. */
  write(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    const last = this.#head < this.#chunks.length ? this.#chunks[this.#chunks.length - 1] : undefined;
    if (last !== undefined && last.data.length - last.length >= bytes.length) {
      last.data.set(bytes, last.length);
      last.length += bytes.length;
    } else {
      // The first small write is often the only one: blocks are for those that go on.
      const isSeries = last !== undefined && bytes.length < BLOCK_BYTES / 2;
      const data = new Uint8Array(isSeries ? BLOCK_BYTES : bytes.length);
      data.set(bytes);
      this.#chunks.push({ offset: this.end, data, length: bytes.length });
    }
    this.end += bytes.length;
  }

  /** Where the next bytes to send start. Only meaningful while {@link hasPending}. */
  get pendingOffset(): number {
    return this.#lost.length > 0 ? this.#lost[0]!.start : this.next;
  }

  /** Takes up to `max` bytes for sending, writes them, and returns how many. */
  writePending(w: Writer, max: number): number {
    const lost = this.#lost[0];
    if (lost !== undefined) {
      const length = Math.min(max, lost.end - lost.start);
      this.#copy(w, lost.start, length, this.#find(lost.start));
      lost.start += length;
      if (lost.start === lost.end) this.#lost.shift();
      return length;
    }
    const length = Math.min(max, this.end - this.next);
    this.#cursor = this.#copy(w, this.next, length, this.#cursor);
    this.next += length;
    return length;
  }

  /** Bytes that {@link writePending} would write at most. */
  get pendingLength(): number {
    const lost = this.#lost[0];
    return lost !== undefined ? lost.end - lost.start : this.end - this.next;
  }

  #find(offset: number): number {
    let low = this.#head;
    let high = this.#chunks.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.#chunks[middle]!.offset <= offset) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** Copies `length` bytes from `offset`, which is in the chunk `index` or the one after; returns the last one's index. */
  #copy(w: Writer, offset: number, length: number, index: number): number {
    let at = w.pos;
    let left = length;
    while (left > 0) {
      const chunk = this.#chunks[index]!;
      const from = offset - chunk.offset;
      const count = Math.min(left, chunk.length - from);
      if (count <= 0) {
        index++;
        continue;
      }
      const { data } = chunk;
      w.bytes.set(from === 0 && count === data.length ? data : data.subarray(from, from + count), at);
      at += count;
      offset += count;
      left -= count;
      if (left > 0) index++;
    }
    w.pos = at;
    return index;
  }

  onAcked(offset: number, length: number): void {
    if (length === 0) return;
    if (offset > this.#base) {
      this.#acked.insertRange(offset, offset + length - 1);
      return;
    }
    this.#base = Math.max(this.#base, offset + length);
    while (this.#acked.size > 0 && this.#acked.low(0) <= this.#base) {
      this.#base = Math.max(this.#base, this.#acked.high(0) + 1);
      this.#acked.removeBelow(this.#base);
    }
    const chunks = this.#chunks;
    if (this.#base === this.end) {
      // An idle stream keeps no block: a thousand idle connections would keep a thousand.
      chunks.length = 0;
      this.#head = this.#cursor = 0;
      this.#lost.length = 0;
      return;
    }
    while (this.#head < chunks.length) {
      const chunk = chunks[this.#head]!;
      if (chunk.offset + chunk.length > this.#base) break;
      // The last block may still take bytes.
      if (this.#head === chunks.length - 1 && chunk.length < chunk.data.length) break;
      this.#head++;
    }
    if (this.#head >= 32 && this.#head * 2 >= chunks.length) {
      chunks.splice(0, this.#head);
      this.#cursor -= this.#head;
      this.#head = 0;
    }
    if (this.#cursor < this.#head) this.#cursor = this.#head;
    while (this.#lost.length > 0 && this.#lost[0]!.start < this.#base) {
      const lost = this.#lost[0]!;
      lost.start = Math.min(this.#base, lost.end);
      if (lost.start === lost.end) this.#lost.shift();
      else break;
    }
  }

  /** A packet with this range was lost: send it again, unless it was acknowledged meanwhile. */
  onLost(offset: number, length: number): void {
    const start = Math.max(offset, this.#base);
    const end = offset + length;
    if (start >= end) return;
    const lost = this.#lost;
    let index = lost.length;
    while (index > 0 && lost[index - 1]!.start > start) index--;
    const before = lost[index - 1];
    if (before !== undefined && before.end >= start) {
      before.end = Math.max(before.end, end);
      index--;
    } else {
      lost.splice(index, 0, { start, end });
    }
    const merged = lost[index]!;
    while (index + 1 < lost.length && lost[index + 1]!.start <= merged.end) {
      merged.end = Math.max(merged.end, lost[index + 1]!.end);
      lost.splice(index + 1, 1);
    }
  }

  /** Everything that was sent goes out again: the server refused it unseen (Retry). */
  retransmitAll(): void {
    if (this.next > this.#base) this.onLost(this.#base, this.next - this.#base);
  }

  /** Forgets all data: the stream was reset. */
  clear(): void {
    this.#chunks = [];
    this.#head = 0;
    this.#cursor = 0;
    this.#lost.length = 0;
    this.#base = this.end;
    this.next = this.end;
  }
}
