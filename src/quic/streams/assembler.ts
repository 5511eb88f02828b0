/**
 * Puts received stream bytes in order (RFC 9000 §2.2).
 *
 * In-order data is kept as views, without a copy. Data behind gaps is kept in runs; the number of runs is bounded, so that
 * a peer cannot make us keep an object per byte.
 *
 * @module
 */
import { concatBytes } from '../../base/bytes.ts';
import { TransportError } from '../transport-error.ts';

/**
 * Gaps that one stream may have at a time. A window of 16 MiB in full packets with every other one lost has six
 * thousand; more is an attack on our memory.
 */
export const MAX_RUNS = 8_192;
/** A view that uses less than this part of its buffer is copied: it would keep the whole packet alive. */
const MIN_BUFFER_USE = 0.25;

/** Chunks up to this size are joined with smaller neighbours: a peer that sends byte by byte must not cost an object each. */
const SMALL_CHUNK_BYTES = 256;

/** Contiguous bytes behind a gap. */
interface Run {
  start: number;
  end: number;
  chunks: Uint8Array[];
}

/** Reassembly of one byte stream. Offsets are absolute. */
export class Assembler {
  /** Ready to read, in order. */
  #ready: Uint8Array[] = [];
  #readyHead = 0;
  /** Bytes already read from the first ready chunk. */
  #consumed = 0;
  /** Behind gaps, ascending, never adjacent. */
  readonly #runs: Run[] = [];
  /** Offset of the next byte to read. */
  readOffset = 0;
  /** End of the contiguous bytes from the start. */
  contiguousEnd = 0;

  get readable(): number {
    return this.contiguousEnd - this.readOffset;
  }

  /** Chunks that are kept, which is what they cost beside their bytes. */
  get chunkCount(): number {
    let count = this.#ready.length - this.#readyHead;
    for (const run of this.#runs) count += run.chunks.length;
    return count;
  }

  /** Takes a piece. May keep it as a view. @throws {TransportError} INTERNAL_ERROR with too many gaps. */
  insert(offset: number, data: Uint8Array): void {
    let start = offset;
    let bytes = data;
    if (start < this.contiguousEnd) {
      if (start + bytes.length <= this.contiguousEnd) return;
      bytes = bytes.subarray(this.contiguousEnd - start);
      start = this.contiguousEnd;
    }
    if (bytes.length === 0) return;
    if (bytes.length < bytes.buffer.byteLength * MIN_BUFFER_USE) bytes = bytes.slice();
    if (start === this.contiguousEnd && this.#runs.length === 0) {
      append(this.#ready, [bytes], this.#firstToJoin);
      this.contiguousEnd += bytes.length;
      return;
    }
    this.#insertRun(start, bytes);
    while (this.#runs.length > 0 && this.#runs[0]!.start === this.contiguousEnd) {
      const run = this.#runs.shift()!;
      append(this.#ready, run.chunks, this.#firstToJoin);
      this.contiguousEnd = run.end;
    }
  }

  /** Index from which ready chunks may be joined: what a read has begun with must stay as it is. */
  get #firstToJoin(): number {
    return this.#consumed > 0 ? this.#readyHead + 1 : this.#readyHead;
  }

  #insertRun(offset: number, data: Uint8Array): void {
    const runs = this.#runs;
    let start = offset;
    let bytes = data;
    // The usual case: it continues the last run.
    const index = this.#firstEndingAtOrAfter(start);
    while (bytes.length > 0) {
      const run = runs[index];
      const end = start + bytes.length;
      if (run === undefined || end < run.start) {
        if (runs.length >= MAX_RUNS)
          throw new TransportError('INTERNAL_ERROR', 'stream data with too many gaps');
        runs.splice(index, 0, { start, end, chunks: [bytes] });
        return;
      }
      if (start < run.start) {
        // Up to the run's start is new; the rest may be there already.
        run.chunks.unshift(bytes.subarray(0, run.start - start));
        joinFirst(run.chunks);
        run.start = start;
      }
      if (end <= run.end) return;
      bytes = bytes.subarray(bytes.length - (end - run.end));
      start = run.end;
      const following = runs[index + 1];
      if (following !== undefined && following.start <= end) {
        if (following.start > start) {
          append(run.chunks, [bytes.subarray(0, following.start - start)], 0);
        }
        append(run.chunks, following.chunks, 0);
        run.end = following.end;
        runs.splice(index + 1, 1);
        if (end <= run.end) return;
        bytes = bytes.subarray(bytes.length - (end - run.end));
        start = run.end;
        continue;
      }
      append(run.chunks, [bytes], 0);
      run.end = end;
      return;
    }
  }

  #firstEndingAtOrAfter(offset: number): number {
    const runs = this.#runs;
    let low = 0;
    let high = runs.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (runs[middle]!.end < offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Takes up to `max` contiguous bytes; undefined when there are none. A single chunk is handed out without a copy. */
  read(max: number): Uint8Array | undefined {
    const length = Math.min(max, this.readable);
    if (length <= 0) return undefined;
    this.readOffset += length;
    const first = this.#ready[this.#readyHead]!;
    const left = first.length - this.#consumed;
    if (length <= left) {
      const piece = first.subarray(this.#consumed, this.#consumed + length);
      this.#consumed += length;
      if (length === left) this.#dropFirst();
      return piece;
    }
    const gathered = new Uint8Array(length);
    let at = 0;
    while (at < length) {
      const chunk = this.#ready[this.#readyHead]!;
      const count = Math.min(length - at, chunk.length - this.#consumed);
      gathered.set(
        this.#consumed === 0 && count === chunk.length
          ? chunk
          : chunk.subarray(this.#consumed, this.#consumed + count),
        at,
      );
      at += count;
      this.#consumed += count;
      if (this.#consumed === chunk.length) this.#dropFirst();
    }
    return gathered;
  }

  #dropFirst(): void {
    this.#consumed = 0;
    this.#ready[this.#readyHead] = EMPTY_CHUNK;
    this.#readyHead++;
    if (this.#readyHead === this.#ready.length) {
      this.#ready = [];
      this.#readyHead = 0;
    } else if (this.#readyHead >= 1_024) {
      this.#ready.splice(0, this.#readyHead);
      this.#readyHead = 0;
    }
  }

  /** Forgets everything: nobody will read it. */
  clear(): void {
    this.#ready = [];
    this.#readyHead = 0;
    this.#consumed = 0;
    this.#runs.length = 0;
  }
}

const EMPTY_CHUNK = new Uint8Array(0);

/** True when `inner`, at an end of its list, is small and its neighbour not larger: so every byte is copied a few times only. */
function shouldJoin(outer: Uint8Array, inner: Uint8Array): boolean {
  return outer.length <= SMALL_CHUNK_BYTES && inner.length <= outer.length;
}

/** Adds chunks to the end of a list, joining small ones down to index `first`. */
function append(list: Uint8Array[], chunks: readonly Uint8Array[], first: number): void {
  for (const chunk of chunks) {
    list.push(chunk);
    joinLast(list, first);
  }
}

/** Joins small chunks at the end of a list, down to index `first`. */
function joinLast(chunks: Uint8Array[], first: number): void {
  for (let last = chunks.length - 1; last > first; last--) {
    if (!shouldJoin(chunks[last]!, chunks[last - 1]!)) return;
    chunks[last - 1] = concatBytes(chunks[last - 1]!, chunks[last]!);
    chunks.pop();
  }
}

/** Joins small chunks at the start of a list. */
function joinFirst(chunks: Uint8Array[]): void {
  while (chunks.length > 1 && shouldJoin(chunks[0]!, chunks[1]!)) {
    chunks[1] = concatBytes(chunks[0]!, chunks[1]!);
    chunks.shift();
  }
}
