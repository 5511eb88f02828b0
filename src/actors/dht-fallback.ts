/**
 * Packets that a lookup server does not have, from the Mainline DHT (`iroh-dns-server/src/store.rs`). Who asks is kept waiting
 * for a moment only, and nobody makes us ask again for minutes, whether there was something or not; for seconds, when that could
 * not be found out.
 *
 * @module
 */
import { toLatin1 } from '../base/bytes.ts';
import type { Clock, Millis } from '../base/clock.ts';
import { EndpointId } from '../base/endpoint-id.ts';
import { DhtError, isIrohError } from '../base/errors.ts';
import type { DnsServerMetrics } from '../dns/server/metrics.ts';
import type { MainlineDht } from './mainline-dht.ts';
import { WaitQueue } from './wait.ts';

/** What was found, and that nothing was, counts for so long, ms; upstream `DHT_CACHE_TTL`, for what was found. */
const CACHE_MS = 300_000;
/** That it could not be found out counts for so long, ms: what is wrong with the network is often over then. */
const FAILURE_MS = 15_000;
/** Keys of which that is known, some 1 kB each; the oldest ones go. */
const MAX_CACHED = 32_768;
/**
 * Walks at a time, of some 50 datagrams each: anybody can ask for any key. The queries of all walks share 64 places
 * (`transport/pkarr-dht.ts`), and one to a node that is gone keeps its place for 2 s: were half of them such, twelve walks take
 * some 10 s, of the 20 s that each may.
 */
const MAX_WALKS = 12;
/**
 * Questions that wait, a tenth of those that a DNS listener has under way at a time (`dns-listener.ts`): what the store has is to be
 * answered whatever is asked beside it.
 */
const MAX_WAITING = 1_000;
/** Of them for one key, so that a key that everybody asks for does not take the places of all others. */
const MAX_WAITING_FOR_KEY = 100;
/** A question is answered by then, ms: who asks asks again after some seconds. The walk goes on, for the next one. */
const ANSWER_LIMIT_MS = 4_000;
/** After something was found something newer is waited for, ms: nodes that lag behind answer as fast as others. */
const SETTLE_MS = 1_000;

/** A walk through the DHT, and those who wait for it. */
interface Walk {
  readonly changed: WaitQueue;
  best: Uint8Array | undefined;
  foundAt: Millis;
  isDone: boolean;
  error: unknown;
  /** Questions that wait for it. */
  waiting: number;
}

/** What came of a walk. */
interface Outcome {
  readonly payload: Uint8Array | undefined;
  /** Why it is not known. */
  readonly error: unknown;
  readonly until: Millis;
}

/** What it needs. */
export interface DhtFallbackParts {
  readonly dht: MainlineDht;
  readonly clock: Clock;
  readonly metrics: DnsServerMetrics;
}

/** Asks the DHT on behalf of others. Ends with its DHT client. */
export class DhtFallback {
  readonly #dht: MainlineDht;
  readonly #clock: Clock;
  readonly #metrics: DnsServerMetrics;
  /** By the bytes of the key, the oldest first. */
  readonly #cache = new Map<string, Outcome>();
  readonly #walks = new Map<string, Walk>();
  /** Questions that wait for any of them. */
  #waiting = 0;

  constructor({ dht, clock, metrics }: DhtFallbackParts) {
    this.#dht = dht;
    this.#clock = clock;
    this.#metrics = metrics;
  }

  /**
   * @param key - 32 bytes.
   * @returns signature, timestamp, DNS message; undefined when the DHT has nothing.
   * @throws {DhtError} when that could not be found out; `Busy` at once, when too many wait or are being looked for.
   */
  async find(key: Uint8Array): Promise<Uint8Array | undefined> {
    const name = toLatin1(key);
    const cached = this.#cache.get(name);
    if (cached !== undefined && this.#clock.now() < cached.until) {
      this.#metrics.add('dht_lookup_cached');
      if (cached.error !== undefined) throw cached.error;
      return cached.payload;
    }
    const known = this.#walks.get(name);
    if (this.#waiting >= MAX_WAITING || (known?.waiting ?? 0) >= MAX_WAITING_FOR_KEY) {
      if (known?.best !== undefined) return known.best;
      throw this.#refuse('too many wait for the DHT');
    }
    const walk = known ?? this.#start(name, key);
    if (walk === undefined) return undefined;
    this.#waiting++;
    walk.waiting++;
    try {
      await this.#settle(walk);
    } finally {
      this.#waiting--;
      walk.waiting--;
    }
    if (walk.best !== undefined) return walk.best;
    if (walk.error !== undefined) throw walk.error;
    if (!walk.isDone) throw new DhtError('DhtError.TimedOut', `nothing within ${ANSWER_LIMIT_MS} ms`);
    return undefined;
  }

  /** Undefined for what is no key: nobody can have signed anything. @throws {DhtError} `Busy` */
  #start(name: string, key: Uint8Array): Walk | undefined {
    if (this.#walks.size >= MAX_WALKS) throw this.#refuse(`${MAX_WALKS} keys are being looked for`);
    let id: EndpointId;
    try {
      // Takes 0.1 ms.
      id = EndpointId.fromBytes(key);
    } catch {
      return undefined;
    }
    const walk: Walk = {
      changed: new WaitQueue(this.#clock),
      best: undefined,
      foundAt: Infinity,
      isDone: false,
      error: undefined,
      waiting: 0,
    };
    this.#walks.set(name, walk);
    void this.#walk(walk, id, name);
    return walk;
  }

  #refuse(message: string): DhtError {
    this.#metrics.add('dht_lookup_dropped');
    return new DhtError('DhtError.Busy', message);
  }

  /** Never rejects. */
  async #walk(walk: Walk, id: EndpointId, name: string): Promise<void> {
    this.#metrics.add('dht_lookups');
    try {
      // Its own time limit ends it, or the end of the client.
      for await (const packet of this.#dht.resolve(id, new AbortController().signal)) {
        walk.best = packet.toRelayPayload();
        if (walk.foundAt === Infinity) walk.foundAt = this.#clock.now();
        walk.changed.wakeAll();
      }
      this.#remember(name, walk);
      this.#metrics.add(walk.best === undefined ? 'dht_lookup_notfound' : 'dht_lookup_success');
    } catch (error) {
      walk.error = error;
      this.#remember(name, walk);
      this.#metrics.add('dht_lookup_error');
    }
    walk.isDone = true;
    this.#walks.delete(name);
    walk.changed.wakeAll();
  }

  async #settle(walk: Walk): Promise<void> {
    const limit = this.#clock.now() + ANSWER_LIMIT_MS;
    while (!walk.isDone) {
      const timeoutMs = Math.min(limit, walk.foundAt + SETTLE_MS) - this.#clock.now();
      if (timeoutMs <= 0) return;
      try {
        await walk.changed.wait({ timeoutMs });
      } catch (error) {
        if (!isIrohError(error, 'TimeoutError')) throw error;
        return;
      }
    }
  }

  #remember(name: string, { best: payload, error }: Walk): void {
    const until = this.#clock.now() + (error === undefined ? CACHE_MS : FAILURE_MS);
    this.#cache.delete(name);
    this.#cache.set(name, { payload, error, until });
    if (this.#cache.size <= MAX_CACHED) return;
    const [oldest] = this.#cache.keys();
    this.#cache.delete(oldest!);
  }
}
