/**
 * The web side of a lookup server: packets are put and got, and questions of DNS asked (`iroh-dns-server/src/http`).
 *
 * @module
 */
import { MAX_RELAY_PAYLOAD_BYTES, SignedPacket, signedParts } from '../address-lookup/signed-packet.ts';
import { MAX_AHEAD_MICROS } from '../address-lookup/timestamps.ts';
import { decodeBase64Url, decodeZ32 } from '../base/encoding.ts';
import { DecodeError } from '../base/bytes.ts';
import type { Clock } from '../base/clock.ts';
import { ENDPOINT_ID_BYTES, EndpointId } from '../base/endpoint-id.ts';
import { DnsServerError, PkarrError } from '../base/errors.ts';
import { readJsonQuestion, toJsonAnswer } from '../dns/server/json.ts';
import type { DnsServerMetric, DnsServerMetrics } from '../dns/server/metrics.ts';
import type { ListenerRequest, ListenerResponse } from '../transport/http-listener.ts';
import type { RecordStore } from '../transport/record-store.ts';
import { ed25519VerifyInPool } from '../transport/verify-pool.ts';
import type { DhtForwarder } from './dht-forwarder.ts';
import type { DnsAnswers, Reply } from './dns-answers.ts';
import type { PutLimits } from './put-limits.ts';

/** Bodies are packets, or questions of DNS. */
export const MAX_BODY_BYTES = 4_096;
/** Puts at a time whose signature is being verified; who comes then is to come later. */
const MAX_VERIFYING = 4_096;

const CORS: Readonly<Record<string, string>> = {
  'Access-Control-Allow-Origin': '*',
  'Access-Control-Allow-Methods': 'GET, POST, PUT',
  'Access-Control-Allow-Headers': '*',
};
/** With 503: the same may go well in a second. */
const LATER: Readonly<Record<string, string>> = { 'Retry-After': '1' };
const DNS_MESSAGE = 'application/dns-message';
const DNS_JSON: readonly string[] = ['application/dns-json', 'application/x-javascript'];

/** What answers are made of. */
export interface DnsHttpParts {
  readonly store: RecordStore;
  readonly answers: DnsAnswers;
  readonly metrics: DnsServerMetrics;
  readonly clock: Clock;
  /** Undefined: no limits. */
  readonly limits: PutLimits | undefined;
  /** Older packets are not kept, µs. */
  readonly keepMicros: bigint;
  /** A packet was stored. */
  readonly onPublish: ((id: EndpointId) => void) | undefined;
  /** Takes on what was stored. */
  readonly forwarder: Pick<DhtForwarder, 'forward'> | undefined;
  /** For `/healthz`. */
  readonly version: string;
}

/** A response that ends what was being done. */
class Refusal extends Error {
  readonly status: number;
  readonly metric: DnsServerMetric | undefined;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: number,
    detail: string,
    metric?: DnsServerMetric,
    headers: Readonly<Record<string, string>> = {},
  ) {
    super(detail);
    this.status = status;
    this.metric = metric;
    this.headers = headers;
  }
}

/** Answers HTTP requests. */
export class DnsHttp {
  readonly #parts: DnsHttpParts;
  #verifying = 0;

  constructor(parts: DnsHttpParts) {
    this.#parts = parts;
  }

  /** Never rejects. */
  async answer(request: ListenerRequest): Promise<ListenerResponse> {
    const { metrics, clock } = this.#parts;
    const startedAt = clock.now();
    let response: ListenerResponse;
    try {
      response = await this.#route(request);
    } catch (error) {
      const { status, message, headers } = error instanceof Refusal ? error : refusalOf(error);
      const body = JSON.stringify({ status: String(status), detail: message });
      response = { status, headers: { 'Content-Type': 'application/json', ...headers }, body };
    }
    metrics.add('http_requests');
    metrics.add(response.status < 300 ? 'http_requests_success' : 'http_requests_error');
    metrics.add('http_requests_duration_ms', clock.now() - startedAt);
    return { ...response, headers: { ...CORS, ...response.headers } };
  }

  #route(request: ListenerRequest): ListenerResponse | Promise<ListenerResponse> {
    const { method, path } = request;
    if (method === 'OPTIONS') return { status: 204, headers: {}, body: '' };
    const key = /^\/pkarr\/([^/]*)$/.exec(path)?.[1];
    if (key !== undefined && method === 'PUT') return this.#put(key, request);
    if (path === '/dns-query' && method === 'POST') return this.#dnsMessage(request.body);
    if (method === 'GET' || method === 'HEAD') {
      if (key !== undefined) return this.#get(key);
      switch (path) {
        case '/dns-query':
          return this.#dnsByGet(request);
        case '/healthz':
          this.#checkHealth();
          return json({ status: 'ok', version: this.#parts.version, git_hash: 'unknown' });
        case '/healthcheck':
          this.#checkHealth();
          return text('OK');
        case '/':
          return text('Hi!');
      }
    }
    const isKnown = key !== undefined || ['/dns-query', '/healthz', '/healthcheck', '/'].includes(path);
    throw isKnown ? new Refusal(405, 'method not allowed') : new Refusal(404, 'not found');
  }

  /** @throws {Refusal} when nothing can be answered until the server is started again. */
  #checkHealth(): void {
    const { failure } = this.#parts.store;
    if (failure !== undefined) throw new Refusal(503, `the store has ended: ${failure.message}`);
  }

  async #put(z32: string, request: ListenerRequest): Promise<ListenerResponse> {
    const { metrics, store, onPublish, forwarder } = this.#parts;
    try {
      const packet = await this.#admit(z32, request);
      const outcome = await store.put(packet.id.toBytes(), packet.toRelayPayload());
      switch (outcome) {
        case 'full':
          throw new Refusal(503, 'there is no room for another key', 'pkarr_publish_store_full');
        case 'busy':
          throw tooManyPuts();
        case 'unchanged':
          metrics.add('pkarr_publish_noop');
          break;
        default:
          metrics.add('pkarr_publish_update');
          metrics.add(outcome === 'inserted' ? 'store_packets_inserted' : 'store_packets_updated');
          onPublish?.(packet.id);
          forwarder?.forward(packet);
      }
      return { status: 204, headers: {}, body: '' };
    } catch (error) {
      metrics.add('pkarr_publish_error');
      if (error instanceof Refusal && error.metric !== undefined) metrics.add(error.metric);
      throw error;
    }
  }

  /** The cheapest checks come first. @throws {Refusal} */
  async #admit(z32: string, { peerIp, body }: ListenerRequest): Promise<SignedPacket> {
    const { limits, clock, keepMicros } = this.#parts;
    // Without an address it has left already.
    if (limits !== undefined && peerIp !== '' && !limits.admits(peerIp, clock.now())) {
      const headers = { 'Retry-After': String(limits.retryAfterSeconds) };
      throw new Refusal(429, 'too many requests', 'pkarr_publish_ratelimited', headers);
    }
    if (body.length > MAX_RELAY_PAYLOAD_BYTES)
      throw new Refusal(413, 'longer than a packet can be', 'pkarr_publish_malformed');
    const packet = await this.#verify(toKey(z32, 'pkarr_publish_malformed'), body);
    const now = BigInt(Math.floor(clock.wallNow() * 1_000));
    if (packet.timestampMicros > now + MAX_AHEAD_MICROS)
      throw new Refusal(400, 'a packet from the future', 'pkarr_publish_bad_timestamp');
    if (packet.timestampMicros < now - keepMicros)
      throw new Refusal(400, 'a packet older than is kept', 'pkarr_publish_bad_timestamp');
    return packet;
  }

  /** @throws {Refusal} */
  async #verify(key: Uint8Array, body: Uint8Array): Promise<SignedPacket> {
    if (this.#verifying >= MAX_VERIFYING) throw tooManyPuts();
    this.#verifying++;
    try {
      const id = EndpointId.fromVerified(key);
      const { signature, message } = signedParts(body);
      if (!(await ed25519VerifyInPool(key, message, signature)))
        throw new PkarrError('PkarrError.Signature', `a packet that ${id.short()} has not signed`);
      return SignedPacket.fromVerified(id, body);
    } catch (error) {
      if (!(error instanceof PkarrError)) throw error;
      const isForged = error.code === 'PkarrError.Signature';
      throw new Refusal(
        400,
        error.message,
        isForged ? 'pkarr_publish_bad_signature' : 'pkarr_publish_malformed',
      );
    } finally {
      this.#verifying--;
    }
  }

  async #get(z32: string): Promise<ListenerResponse> {
    const payload = await this.#parts.store.get(toKey(z32));
    if (payload === undefined) throw new Refusal(404, 'nothing is known of this key');
    return {
      status: 200,
      headers: { 'Content-Type': 'application/x-pkarr-signed-packet' },
      body: payload,
    };
  }

  async #dnsByGet({ query, header }: ListenerRequest): Promise<ListenerResponse> {
    const accept = header('accept') ?? DNS_MESSAGE;
    const asked = new URLSearchParams(query);
    if (DNS_JSON.includes(accept)) return this.#dnsJson(asked);
    const isFine = accept
      .split(',')
      .some((each) => [DNS_MESSAGE, '*/*'].includes(each.split(';')[0]!.trim()));
    if (!isFine) throw new Refusal(406, `only ${DNS_MESSAGE} and application/dns-json are spoken here`);
    let message: Uint8Array;
    try {
      message = decodeBase64Url(asked.get('dns') ?? '');
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      throw new Refusal(400, 'dns is not base64url without padding');
    }
    return this.#dnsMessage(message);
  }

  async #dnsMessage(message: Uint8Array): Promise<ListenerResponse> {
    const { metrics, answers } = this.#parts;
    metrics.add('dns_requests_https');
    const reply = await answers.reply(message, 'stream');
    if (reply === undefined) throw new Refusal(400, 'not a question of DNS');
    return { status: 200, headers: { 'Content-Type': DNS_MESSAGE, ...caching(reply) }, body: reply.bytes };
  }

  async #dnsJson(asked: URLSearchParams): Promise<ListenerResponse> {
    const { metrics, answers } = this.#parts;
    const question = readJsonQuestion(asked);
    if (question === undefined) throw new Refusal(400, 'no name, or a type that nobody knows');
    metrics.add('dns_requests');
    metrics.add('dns_requests_https');
    const answer = await answers.answer(question);
    const ttl = Math.min(...answer.answers.map((record) => record.ttl));
    const headers = Number.isFinite(ttl) ? caching({ ttl }) : {};
    return json(toJsonAnswer(question, answer), { 'Content-Type': 'application/dns-json', ...headers });
  }
}

function tooManyPuts(): Refusal {
  return new Refusal(503, 'too many puts at a time', 'pkarr_publish_busy', LATER);
}

/** What a store throws. */
function refusalOf(error: unknown): Refusal {
  const isBusy = error instanceof DnsServerError && error.code === 'DnsServerError.Busy';
  return isBusy
    ? new Refusal(503, 'too many requests at a time', undefined, LATER)
    : new Refusal(500, 'the store has failed');
}

function caching({ ttl }: Pick<Reply, 'ttl'>): Record<string, string> {
  return { 'Cache-Control': `s-maxage=${ttl}` };
}

function text(body: string): ListenerResponse {
  return { status: 200, headers: { 'Content-Type': 'text/plain; charset=utf-8' }, body };
}

function json(value: unknown, headers: Record<string, string> = {}): ListenerResponse {
  return {
    status: 200,
    headers: { 'Content-Type': 'application/json', ...headers },
    body: JSON.stringify(value),
  };
}

/** 32 bytes. That they are a point of the curve is not looked at (0.1 ms): nothing is stored that no key has signed. @throws {Refusal} */
function toKey(z32: string, metric?: DnsServerMetric): Uint8Array {
  try {
    const key = decodeZ32(z32);
    if (key.length === ENDPOINT_ID_BYTES) return key;
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
  }
  throw new Refusal(400, 'not a public key in z-base-32', metric);
}
