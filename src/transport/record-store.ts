/**
 * Where a lookup server keeps signed packets, as bytes: the interface, and a store in memory.
 *
 * @module
 */
import { toLatin1 } from '../base/bytes.ts';

/** What is signed starts after the signature: timestamp and records. */
const SIGNED_FROM = 64;
/** Records, unless configured: 1,024 kibi, as upstream's cache (`iroh-dns-server/src/store.rs`). */
export const DEFAULT_MAX_RECORDS = 1_048_576;
/** Most records that are removed in one go, so that nobody waits for it. */
export const MAX_REMOVALS = 1_000;
/** Most records that are looked at for it; the next time goes on there. */
const MAX_LOOKS = 20_000;

/**
 * What a put did: `unchanged` when what is stored is the same or newer, `full` when there is no room for another key, `busy` when
 * too many wait: the same put may go well in a second.
 */
export type PutOutcome = 'inserted' | 'updated' | 'unchanged' | 'full' | 'busy';

/** Keeps one packet per key. Packets are verified before they come here. */
export interface RecordStore {
  /** Why it never does anything any more; undefined, or left out, as long as it may. */
  readonly failure?: Error | undefined;
  /**
   * @param key - 32 bytes.
   * @returns signature, timestamp, DNS message; undefined when there is none.
   * @throws {DnsServerError} Busy, where too many can wait.
   */
  get(key: Uint8Array): Promise<Uint8Array | undefined>;
  /**
   * Stores a packet unless what is there is the same or newer ({@link isNewer}). Resolves when it is safe: a process that is
   * killed then has stored it.
   * @param payload - Signature, timestamp, DNS message. Not changed afterwards.
   */
  put(key: Uint8Array, payload: Uint8Array): Promise<PutOutcome>;
  /**
   * Removes up to 1,000 packets that are older.
   * @param timestampMicros - Microseconds since 1970.
   * @returns how many; with 1,000 there may be more.
   */
  removeOlder(timestampMicros: bigint): Promise<number>;
  /** Frees everything. What was acknowledged stays. */
  close(): Promise<void>;
}

/** By timestamp, and by the bytes of the records when that is the same: both follow the signature, the timestamp first. */
export function isNewer(payload: Uint8Array, than: Uint8Array): boolean {
  const end = Math.min(payload.length, than.length);
  for (let i = SIGNED_FROM; i < end; i++) if (payload[i] !== than[i]) return payload[i]! > than[i]!;
  return payload.length > than.length;
}

/** Microseconds since 1970. */
export function timestampOf(payload: Uint8Array): bigint {
  return new DataView(payload.buffer, payload.byteOffset).getBigUint64(SIGNED_FROM);
}

/** Forgets everything with the process. */
export class MemoryRecordStore implements RecordStore {
  /** By the bytes of the key. */
  readonly #packets = new Map<string, Uint8Array>();
  readonly #maxRecords: number;
  /** Where the next look for old packets begins. */
  #sweep: Iterator<[string, Uint8Array]> | undefined;

  constructor(maxRecords: number = DEFAULT_MAX_RECORDS) {
    this.#maxRecords = maxRecords;
  }

  get(key: Uint8Array): Promise<Uint8Array | undefined> {
    return Promise.resolve(this.#packets.get(toLatin1(key)));
  }

  put(key: Uint8Array, payload: Uint8Array): Promise<PutOutcome> {
    return Promise.resolve(this.#put(toLatin1(key), payload));
  }

  #put(key: string, payload: Uint8Array): PutOutcome {
    const known = this.#packets.get(key);
    if (known !== undefined && !isNewer(payload, known)) return 'unchanged';
    if (known === undefined && this.#packets.size >= this.#maxRecords) return 'full';
    this.#packets.set(key, payload);
    return known === undefined ? 'inserted' : 'updated';
  }

  removeOlder(timestampMicros: bigint): Promise<number> {
    let removed = 0;
    // A Map's iterator goes on after what was removed or added meanwhile.
    this.#sweep ??= this.#packets.entries();
    for (let seen = 0; seen < MAX_LOOKS && removed < MAX_REMOVALS; seen++) {
      const next = this.#sweep.next();
      if (next.done === true) {
        this.#sweep = undefined;
        break;
      }
      const [key, payload] = next.value;
      if (timestampOf(payload) < timestampMicros && this.#packets.delete(key)) removed++;
    }
    return Promise.resolve(removed);
  }

  close(): Promise<void> {
    this.#packets.clear();
    return Promise.resolve();
  }
}
