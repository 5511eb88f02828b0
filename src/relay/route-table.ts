/**
 * Who has been heard of over a relay, and so can be reached over it (upstream `ConnectedRelayState`).
 *
 * @module
 */
import { equalBytes, toLatin1 } from '../base/bytes.ts';

/** Most ids; the one that came first goes. A relay says who a sender is, and could name any number. */
export const MAX_RELAY_ROUTES = 4_096;

/** Ids, 32 bytes each. */
export class RouteTable {
  readonly #ids = new Map<string, Uint8Array>();
  #last: Uint8Array | undefined;

  get size(): number {
    return this.#ids.size;
  }

  has(id: Uint8Array): boolean {
    return this.#ids.has(toLatin1(id));
  }

  /** @param id - Borrowed. @returns the same array for the same id, as long as it stays in the table. */
  add(id: Uint8Array): Uint8Array {
    // Most datagrams come from who sent the one before.
    if (this.#last !== undefined && equalBytes(this.#last, id)) return this.#last;
    const key = toLatin1(id);
    let kept = this.#ids.get(key);
    if (kept === undefined) {
      if (this.#ids.size >= MAX_RELAY_ROUTES) this.#ids.delete(this.#ids.keys().next().value!);
      kept = new Uint8Array(id);
      this.#ids.set(key, kept);
    }
    this.#last = kept;
    return kept;
  }

  delete(id: Uint8Array): void {
    if (this.#last !== undefined && equalBytes(this.#last, id)) this.#last = undefined;
    this.#ids.delete(toLatin1(id));
  }

  clear(): void {
    this.#ids.clear();
    this.#last = undefined;
  }
}
