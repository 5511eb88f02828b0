/**
 * Answers questions from what a record store has, and from the DHT if there is one to ask.
 *
 * @module
 */
import { PAYLOAD_HEADER_BYTES } from '../address-lookup/signed-packet.ts';
import { RESPONSE_REFUSED, RESPONSE_SERVER_FAILURE, type DnsQuestion } from '../dns/message.ts';
import type { DnsServerMetrics } from '../dns/server/metrics.ts';
import { recordsAt, type Found } from '../dns/server/packet-records.ts';
import { answerFrom, encodeAnswer, readQuery, refusal, type Answer } from '../dns/server/query.ts';
import type { Place, Zones } from '../dns/server/zones.ts';
import type { RecordStore } from '../transport/record-store.ts';
import type { DhtFallback } from './dht-fallback.ts';

/** An answer, and for how long others may keep it. */
export interface Reply {
  readonly bytes: Uint8Array;
  /** Seconds. */
  readonly ttl: number;
}

/** The authority for the names of a server. */
export class DnsAnswers {
  readonly #zones: Zones;
  readonly #store: RecordStore;
  readonly #metrics: DnsServerMetrics;
  /** Asked for keys that the store does not have. */
  readonly #fallback: Pick<DhtFallback, 'find'> | undefined;

  constructor(
    zones: Zones,
    store: RecordStore,
    metrics: DnsServerMetrics,
    fallback?: Pick<DhtFallback, 'find'>,
  ) {
    this.#zones = zones;
    this.#store = store;
    this.#metrics = metrics;
    this.#fallback = fallback;
  }

  /** Answers a message. Undefined for what is to be ignored. Never rejects. */
  async reply(bytes: Uint8Array, carrier: 'datagram' | 'stream'): Promise<Reply | undefined> {
    this.#metrics.add('dns_requests');
    const reading = readQuery(bytes);
    if (reading === undefined || 'reply' in reading) {
      this.#metrics.add('dns_requests_malformed');
      return reading && { bytes: reading.reply, ttl: 0 };
    }
    const { query } = reading;
    const answer = await this.answer(query.question);
    return { bytes: encodeAnswer(query, answer, carrier), ttl: minTtl(answer) };
  }

  /** Never rejects: what fails is a failure of the server. */
  async answer(question: DnsQuestion): Promise<Answer> {
    const place = this.#zones.locate(question.name);
    if (place === undefined) return refusal(RESPONSE_REFUSED);
    try {
      const answer = answerFrom(question, place.zone, await this.#find(place, question.name));
      this.#metrics.add(answer.answers.length > 0 ? 'dns_lookup_success' : 'dns_lookup_notfound');
      return answer;
    } catch {
      this.#metrics.add('dns_lookup_error');
      return refusal(RESPONSE_SERVER_FAILURE);
    }
  }

  async #find(place: Place, name: string): Promise<Found> {
    if (place.kind === 'key') {
      const payload = (await this.#store.get(place.key)) ?? (await this.#fallback?.find(place.key));
      if (payload !== undefined) return recordsAt(payload.subarray(PAYLOAD_HEADER_BYTES), place.owner, name);
    }
    // Named as asked for: upper and lower case come back (RFC 1034 §3.1).
    const records = place.kind === 'apex' ? place.zone.records.map((each) => ({ ...each, name })) : [];
    return { exists: place.kind === 'apex', records };
  }
}

function minTtl({ answers, authorities }: Answer): number {
  const ttls = [...answers, ...authorities].map(({ ttl }) => ttl);
  return ttls.length === 0 ? 0 : Math.min(...ttls);
}
