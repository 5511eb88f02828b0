/**
 * The packets that were asked for or put last, in memory.
 *
 * @module
 */
import { toLatin1 } from '../base/bytes.ts';

/** Least recently used ones go first. */
export class PacketCache {
  /** By the bytes of the key; those used last are at the end. */
  readonly #packets = new Map<string, Uint8Array>();
  readonly #maxPackets: number;

  constructor(maxPackets: number) {
    this.#maxPackets = maxPackets;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    const id = toLatin1(key);
    const payload = this.#packets.get(id);
    if (payload === undefined) return undefined;
    this.#packets.delete(id);
    this.#packets.set(id, payload);
    return payload;
  }

  set(key: Uint8Array, payload: Uint8Array): void {
    const id = toLatin1(key);
    this.#packets.delete(id);
    this.#packets.set(id, payload);
    if (this.#packets.size > this.#maxPackets) this.#packets.delete(this.#packets.keys().next().value!);
  }
}
