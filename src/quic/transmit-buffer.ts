/**
 * Memory for outgoing datagrams: slabs that are filled from front to back and used again once everything in them left.
 *
 * @module
 */
import { EMPTY } from '../base/bytes.ts';

/** Bytes per slab: some forty full datagrams, as many as one burst has. */
export const SLAB_BYTES = 64 * 1_024;
/** Slabs kept for reuse; more are left to the garbage collector. */
const MAX_KEPT_SLABS = 8;

/** Hands out memory for one datagram at a time. */
export class TransmitBuffer {
  #slabs: Uint8Array[] = [];
  #slab = 0;
  #used = 0;
  #latest = 0;
  /** Of the latest allocation; one object for all, as there is one per datagram. */
  readonly #place: { bytes: Uint8Array; start: number } = { bytes: EMPTY, start: 0 };

  /** Memory for a datagram of up to `size` bytes. The result is valid until the next call. */
  allocate(size: number): { readonly bytes: Uint8Array; readonly start: number } {
    let bytes = this.#slabs[this.#slab];
    if (bytes === undefined || this.#used + size > bytes.length) {
      if (bytes !== undefined) this.#slab++;
      bytes = this.#slabs[this.#slab] ??= new Uint8Array(Math.max(SLAB_BYTES, size));
      if (bytes.length < size) bytes = this.#slabs[this.#slab] = new Uint8Array(size);
      this.#used = 0;
    }
    const start = this.#used;
    this.#latest = start;
    this.#used = start + size;
    this.#place.bytes = bytes;
    this.#place.start = start;
    return this.#place;
  }

  /** Keeps only the first `used` bytes of the latest allocation. */
  shrink(used: number): void {
    this.#used = this.#latest + used;
  }

  /** Everything handed out has left: start over. */
  release(): void {
    if (this.#slabs.length > MAX_KEPT_SLABS) this.#slabs.length = MAX_KEPT_SLABS;
    this.#slab = 0;
    this.#used = 0;
    this.#latest = 0;
  }
}
