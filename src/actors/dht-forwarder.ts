/**
 * Brings packets that a lookup server was given to the Mainline DHT, so that other servers, and who uses none, find them, too.
 * Ours: upstream's server reads the DHT only.
 *
 * @module
 */
import { hash } from '#crypto/kdf';
import { PAYLOAD_HEADER_BYTES, SignedPacket } from '../address-lookup/signed-packet.ts';
import { toLatin1 } from '../base/bytes.ts';
import type { Clock, Millis } from '../base/clock.ts';
import type { EndpointId } from '../base/endpoint-id.ts';
import type { DnsServerMetrics } from '../dns/server/metrics.ts';
import type { MainlineDht } from './mainline-dht.ts';

/** What did not change is brought again after so long, ms: endpoints put every 5 min, nodes forget after two hours. */
const REPEAT_MS = 3_600_000;
/** Keys that wait, up to 1.1 kB each; further ones are left alone until they are put again. */
const MAX_WAITING = 4_096;
/** Packets on their way at a time, some 70 datagrams each. */
const MAX_UNDER_WAY = 8;
/** Keys of which is known what was brought, some 300 bytes each; the oldest ones go, and are brought earlier. */
const MAX_REMEMBERED = 16_384;

/** A packet that waits: what is decoded of a hostile one takes 25 times as much as its bytes. */
interface Waiting {
  readonly id: EndpointId;
  readonly payload: Uint8Array;
}

/** What it needs. */
export interface DhtForwarderParts {
  readonly dht: MainlineDht;
  readonly clock: Clock;
  readonly metrics: DnsServerMetrics;
}

/** A queue in front of the DHT. Ends with its DHT client. */
export class DhtForwarder {
  readonly #dht: MainlineDht;
  readonly #clock: Clock;
  readonly #metrics: DnsServerMetrics;
  /** By key; the newest packet of each. */
  readonly #waiting = new Map<string, Waiting>();
  /** By key: which records, and since when. */
  readonly #stored = new Map<string, { readonly digest: string; readonly at: Millis }>();
  #underWay = 0;
  readonly #abort = new AbortController();

  constructor({ dht, clock, metrics }: DhtForwarderParts) {
    this.#dht = dht;
    this.#clock = clock;
    this.#metrics = metrics;
  }

  /** Takes a packet that the server has stored. Never throws, never waits. */
  forward(packet: SignedPacket): void {
    const key = packet.id.toString();
    const payload = packet.toRelayPayload();
    const before = this.#stored.get(key);
    const isFresh = before !== undefined && this.#clock.now() - before.at < REPEAT_MS;
    if (isFresh && before.digest === digestOf(payload)) return;
    if (!this.#waiting.has(key) && this.#waiting.size >= MAX_WAITING) {
      this.#metrics.add('dht_publish_dropped');
      return;
    }
    this.#waiting.set(key, { id: packet.id, payload });
    if (this.#underWay < MAX_UNDER_WAY) void this.#work();
  }

  /** Never rejects. */
  async #work(): Promise<void> {
    this.#underWay++;
    for (;;) {
      const [next] = this.#waiting;
      if (next === undefined || this.#abort.signal.aborted) break;
      const [key, { id, payload }] = next;
      this.#waiting.delete(key);
      try {
        await this.#dht.put(SignedPacket.fromVerified(id, payload), this.#abort.signal);
        this.#metrics.add('dht_publish');
        this.#remember(key, digestOf(payload));
      } catch {
        // It is put again in some minutes.
        this.#metrics.add('dht_publish_error');
      }
    }
    this.#underWay--;
  }

  #remember(key: string, digest: string): void {
    this.#stored.delete(key);
    this.#stored.set(key, { digest, at: this.#clock.now() });
    if (this.#stored.size <= MAX_REMEMBERED) return;
    const [oldest] = this.#stored.keys();
    this.#stored.delete(oldest!);
  }

  /** Gives up what waits. */
  close(): void {
    this.#waiting.clear();
    this.#abort.abort(new Error('the server is closing'));
  }
}

/** Of the records, whenever they were signed. */
function digestOf(payload: Uint8Array): string {
  return toLatin1(hash('sha256', payload.subarray(PAYLOAD_HEADER_BYTES)));
}
