/**
 * All connection ids that an endpoint issued: which connection, and which of its paths, a packet belongs to.
 *
 * Six bytes of an id are random and serve as the key of one map; the last two follow from them under a secret, so that
 * an id is remembered as one number and a stray packet is still told apart.
 *
 * @module
 */
import { randomBelow, type Rng } from '../base/rng.ts';
import { LOCAL_CID_LENGTH, type CidKey, type HostedConnection } from './connection-host.ts';
import type { PathId } from './engine.ts';

const TWO_24 = 2 ** 24;

/** Where a connection id leads. */
export interface CidRoute {
  readonly connection: HostedConnection;
  readonly path: PathId;
}

/** Connection ids of one endpoint. */
export class CidTable {
  readonly #routes = new Map<CidKey, CidRoute>();
  /** The route of the latest issue: ids of one path are issued together and share it. */
  #latest: CidRoute | undefined;
  readonly #rng: Rng;
  readonly #secret: number;
  readonly #random = new Uint8Array(6);
  readonly #bytes = new Uint8Array(LOCAL_CID_LENGTH);

  constructor(rng: Rng) {
    this.#rng = rng;
    this.#secret = randomBelow(rng, 2 ** 32) | 1;
  }

  get size(): number {
    return this.#routes.size;
  }

  /** Makes an id that leads to a path of a connection. */
  issue(connection: HostedConnection, path: PathId): CidKey {
    let route = this.#latest;
    if (route === undefined || route.connection !== connection || route.path !== path) {
      this.#latest = route = { connection, path };
    }
    for (;;) {
      const key = keyAt(this.#rng.fill(this.#random), 0);
      if (this.#routes.has(key)) continue;
      this.#routes.set(key, route);
      return key;
    }
  }

  retire(key: CidKey): void {
    this.#routes.delete(key);
    this.#latest = undefined;
  }

  /** Where the id at `at` leads; undefined when it is none of ours. */
  find(bytes: Uint8Array, at: number): CidRoute | undefined {
    const key = keyAt(bytes, at);
    const route = this.#routes.get(key);
    if (route === undefined) return undefined;
    const tail = this.#tail(key);
    return bytes[at + 6] === tail >>> 8 && bytes[at + 7] === (tail & 0xff) ? route : undefined;
  }

  /** The id itself, {@link LOCAL_CID_LENGTH} bytes, valid until the next call. */
  bytes(key: CidKey): Uint8Array {
    const bytes = this.#bytes;
    const high = Math.floor(key / TWO_24);
    const low = key % TWO_24;
    const tail = this.#tail(key);
    bytes[0] = high >>> 16;
    bytes[1] = high >>> 8;
    bytes[2] = high;
    bytes[3] = low >>> 16;
    bytes[4] = low >>> 8;
    bytes[5] = low;
    bytes[6] = tail >>> 8;
    bytes[7] = tail;
    return bytes;
  }

  /** Sixteen bits that depend on the key and on a secret. Only a check: packets are authenticated by their cipher. */
  #tail(key: CidKey): number {
    const mixed = Math.imul(Math.floor(key / TWO_24) ^ Math.imul(key % TWO_24, 0x9e37_79b1), this.#secret);
    return (mixed ^ (mixed >>> 16)) & 0xffff;
  }
}

function keyAt(bytes: Uint8Array, at: number): CidKey {
  return (
    ((bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!) * TWO_24 +
    ((bytes[at + 3]! << 16) | (bytes[at + 4]! << 8) | bytes[at + 5]!)
  );
}
