/**
 * When a node of a local network asks and answers, and whom it knows (`swarm-discovery` `src/sender.rs`, `src/updater.rs`, and its
 * README, “Algorithm”).
 *
 * Everybody asks, unless somebody else did a moment ago; two answers are enough for one question. So the traffic does not grow
 * with the number of nodes, and each is heard again and again: who is not heard any more has gone.
 *
 * @module
 */
import { equalBytes, toHex } from '../base/bytes.ts';
import type { Millis } from '../base/clock.ts';
import { EndpointId, parseKeyText } from '../base/endpoint-id.ts';
import { DnsError } from '../base/errors.ts';
import { ParseError } from '../base/parse-error.ts';
import { randomBelow, type Rng } from '../base/rng.ts';
import type { EndpointInfo } from './endpoint-info.ts';
import {
  MAX_MDNS_DATAGRAM_BYTES,
  decodeMdnsMessage,
  encodeMdnsAnswer,
  encodeMdnsQuery,
  serviceDomain,
  toEndpointInfo,
  type MdnsPeer,
} from './mdns-message.ts';
import type { PublishedData } from './service.ts';

/** τ: a newcomer should know somebody after so long, ms; `Discoverer::new_interactive`. */
export const CADENCE_MS = 700;
/** φ: answers in a second, of all nodes together; `Discoverer::new_interactive`. */
export const RESPONSE_RATE_HZ = 2.5;
/** Answers after which a question is answered. */
export const ENOUGH_ANSWERS = Math.ceil((CADENCE_MS / 1_000) * RESPONSE_RATE_HZ);
/** Enough answers should come within so long, ms; `RESPONSE_DELAY`. */
export const RESPONSE_DELAY_MS = 100;
/** Who has just answered lets others go first, by so many {@link RESPONSE_DELAY_MS} at most. */
const MAX_EXTRA_DELAYS = 10;
/** How often it is looked for nodes that have gone, ms; `gc_interval`. */
export const EXPIRY_CHECK_INTERVAL_MS = (CADENCE_MS * 12_345) / 9_999;
/** A node may miss so many of its turns. */
const MISSED_TURNS = 3;
/**
 * So many nodes are remembered; upstream has no bound. Hosts on one link are fewer, so more are made up, and each may cost as much as
 * 64 addresses do.
 */
export const MAX_MDNS_PEERS = 1_024;

/**
 * Names of nodes that nobody knew are looked at so often in a second. Telling whether one is a key takes 0.1 ms, and a datagram has
 * room for 19: without a bound one host of the link could take the whole processor. {@link MAX_MDNS_PEERS} newcomers are still
 * known within 11 s; honest ones are few in a second, as they answer in turn.
 */
export const MAX_NEW_IDS_PER_SECOND = 100;

/** What datagrams, or what they say, is refused for. */
export type MdnsFault =
  /** Longer than anybody of ours writes. */
  | 'tooLong'
  /** No DNS message, or with records that lead nowhere. */
  | 'malformed'
  /** A node whose name is no endpoint id. */
  | 'noId'
  /** A node that was forgotten for another one, there being {@link MAX_MDNS_PEERS}. */
  | 'tooMany'
  /** A node that was not known, above {@link MAX_NEW_IDS_PER_SECOND}. */
  | 'tooFast'
  /** From somebody who is not in a network of this host. */
  | 'offLink';

/** What is to be done, in order. */
export type SwarmOutput =
  /** Send to the group: of one family, or of the best there is. */
  | { readonly type: 'send'; readonly family: 4 | 6 | 'any'; readonly data: Uint8Array }
  /** A node is new, or says something new. */
  | { readonly type: 'discovered'; readonly info: EndpointInfo }
  /** A node has not been heard for too long. */
  | { readonly type: 'expired'; readonly id: EndpointId };

/** Silent until `until`: then asks; or answers, in that family. */
type Phase =
  | { readonly type: 'asking'; readonly until: Millis }
  | { readonly type: 'answering'; readonly until: Millis; readonly family: 4 | 6 | 'any'; heard: number };

interface Peer {
  readonly id: EndpointId;
  seenAt: Millis;
  info: EndpointInfo;
}

/** How a {@link Swarm} is made. */
export interface SwarmOptions {
  /** As in `_NAME._udp.local`. */
  readonly serviceName: string;
  readonly rng: Rng;
}

/** One node. It lives from {@link begin} on; call {@link advance} at {@link deadline}. */
export class Swarm {
  readonly #rng: Rng;
  readonly #domain: string;
  readonly #query: Uint8Array;
  readonly #refused = new Map<MdnsFault, number>();
  /** By the bytes of the id in hex; who was heard last comes last. We are among them: others hear of us as often as we do. */
  readonly #peers = new Map<string, Peer>();
  #self: EndpointId | undefined;
  #answer: Uint8Array | undefined;
  #hasAnswered = false;
  #extraDelayMs = 0;
  #phase: Phase = { type: 'asking', until: Infinity };
  #checkAt: Millis = Infinity;
  /** Names that were looked at since. */
  #newIds = 0;
  #newIdsSince: Millis = -Infinity;

  /** @throws {DnsError} `Name` for a service that cannot have such a name. */
  constructor({ serviceName, rng }: SwarmOptions) {
    this.#rng = rng;
    this.#domain = serviceDomain(serviceName);
    this.#query = encodeMdnsQuery(this.#domain);
  }

  /** Can send and hear from now on. */
  begin(now: Millis): void {
    this.#phase = this.#asking(now);
    this.#checkAt = now + EXPIRY_CHECK_INTERVAL_MS;
  }

  /** What was refused, and how often. */
  get refused(): ReadonlyMap<MdnsFault, number> {
    return this.#refused;
  }

  /** Everybody who is there, but us. */
  get peers(): EndpointInfo[] {
    return [...this.#peers.values()].filter(({ id }) => !this.#isSelf(id)).map(({ info }) => info);
  }

  /** What is known of one of them. The same object as long as it says the same. */
  peer(id: EndpointId): EndpointInfo | undefined {
    return this.#isSelf(id) ? undefined : this.#peers.get(id.toString())?.info;
  }

  /** When {@link advance} has something to do. */
  get deadline(): Millis {
    return Math.min(this.#phase.until, this.#checkAt);
  }

  /** Who we are, and what others are to be told from now on. @throws {DnsError} `Name` */
  setSelf(id: EndpointId, published: PublishedData | undefined): void {
    this.#self = id;
    this.#answer = published && encodeMdnsAnswer(this.#domain, published);
  }

  /** Counts something that was refused before it came here. */
  refuse(fault: MdnsFault): void {
    this.#refused.set(fault, (this.#refused.get(fault) ?? 0) + 1);
  }

  /** Takes a datagram that came to the group, our own ones included. @param data - Borrowed. */
  receive(data: Uint8Array, family: 4 | 6, now: Millis): SwarmOutput[] {
    if (data.length > MAX_MDNS_DATAGRAM_BYTES) {
      this.refuse('tooLong');
      return [];
    }
    try {
      const message = decodeMdnsMessage(this.#domain, data);
      if (message.type === 'answer') return this.#hear(message.peers, now);
      if (this.#phase.type === 'asking') this.#phase = this.#answering(family, now);
    } catch (error) {
      if (!(error instanceof DnsError)) throw error;
      this.refuse('malformed');
    }
    return [];
  }

  /** Does what is due. */
  advance(now: Millis): SwarmOutput[] {
    const outputs: SwarmOutput[] = [];
    if (now >= this.#checkAt) {
      this.#checkAt = now + EXPIRY_CHECK_INTERVAL_MS;
      outputs.push(...this.#expire(now));
    }
    const phase = this.#phase;
    if (now < phase.until) return outputs;
    if (phase.type === 'asking') {
      outputs.push({ type: 'send', family: 'any', data: this.#query });
      this.#phase = this.#answering('any', now);
    } else {
      this.#hasAnswered = this.#answer !== undefined;
      if (this.#answer !== undefined)
        outputs.push({ type: 'send', family: phase.family, data: this.#answer });
      this.#phase = this.#asking(now);
    }
    return outputs;
  }

  /** How many there are, as far as is known: at least one. */
  get #size(): number {
    return Math.max(1, this.#peers.size);
  }

  /** The more there are the wider they spread, so that hardly two ask at once. */
  #asking(now: Millis): Phase {
    return { type: 'asking', until: now + CADENCE_MS + this.#random((CADENCE_MS * this.#size) / 10) };
  }

  #answering(family: 4 | 6 | 'any', now: Millis): Phase {
    this.#extraDelayMs = this.#hasAnswered
      ? RESPONSE_DELAY_MS * Math.min(MAX_EXTRA_DELAYS, Math.floor(this.#size / ENOUGH_ANSWERS))
      : Math.max(0, this.#extraDelayMs - RESPONSE_DELAY_MS);
    this.#hasAnswered = false;
    const spread = this.#random((RESPONSE_DELAY_MS * this.#size) / ENOUGH_ANSWERS);
    return { type: 'answering', family, until: now + spread + this.#extraDelayMs, heard: 0 };
  }

  #hear(peers: readonly MdnsPeer[], now: Millis): SwarmOutput[] {
    const outputs: SwarmOutput[] = [];
    for (const peer of peers) {
      const id = this.#identify(peer.label, now);
      if (typeof id === 'string') this.refuse(id);
      else outputs.push(...this.#see(id, peer, now));
    }
    const phase = this.#phase;
    if (phase.type === 'answering') {
      phase.heard += peers.length;
      if (phase.heard >= ENOUGH_ANSWERS) this.#phase = this.#asking(now);
    }
    return outputs;
  }

  /** Looks for it among those who are known first: telling whether bytes are a key takes 0.1 ms. */
  #identify(label: string, now: Millis): EndpointId | MdnsFault {
    try {
      const bytes = parseKeyText(label, 'EndpointId');
      const known = this.#peers.get(toHex(bytes))?.id;
      if (known !== undefined) return known;
      if (this.#self !== undefined && equalBytes(this.#self.toBytes(), bytes)) return this.#self;
      return this.#mayLookAtNew(now) ? EndpointId.parse(label) : 'tooFast';
    } catch (error) {
      if (!(error instanceof ParseError)) throw error;
      return 'noId';
    }
  }

  #mayLookAtNew(now: Millis): boolean {
    if (now - this.#newIdsSince >= 1_000) {
      this.#newIdsSince = now;
      this.#newIds = 0;
    }
    return this.#newIds++ < MAX_NEW_IDS_PER_SECOND;
  }

  #see(id: EndpointId, said: MdnsPeer, now: Millis): SwarmOutput[] {
    const outputs: SwarmOutput[] = [];
    const key = id.toString();
    const known = this.#peers.get(key);
    const info = toEndpointInfo(id, said);
    const isNews = known === undefined || !isSameInfo(known.info, info);
    this.#peers.delete(key);
    if (this.#peers.size >= MAX_MDNS_PEERS) {
      // Who was not heard for the longest time has gone most likely; and who is asked for may be the new one.
      const [oldestKey, oldest] = this.#peers.entries().next().value!;
      this.#peers.delete(oldestKey);
      this.refuse('tooMany');
      if (!this.#isSelf(oldest.id)) outputs.push({ type: 'expired', id: oldest.id });
    }
    this.#peers.set(key, { id, seenAt: now, info: isNews ? info : known.info });
    if (isNews && !this.#isSelf(id)) outputs.push({ type: 'discovered', info });
    return outputs;
  }

  /** Each has its turn once in `size / ENOUGH_ANSWERS` rounds. */
  #expire(now: Millis): SwarmOutput[] {
    const graceMs = (MISSED_TURNS * CADENCE_MS * this.#size) / Math.min(ENOUGH_ANSWERS, this.#size);
    const outputs: SwarmOutput[] = [];
    for (const [key, { id, seenAt }] of this.#peers) {
      if (now - seenAt < graceMs) continue;
      this.#peers.delete(key);
      if (!this.#isSelf(id)) outputs.push({ type: 'expired', id });
    }
    return outputs;
  }

  #isSelf(id: EndpointId): boolean {
    return this.#self !== undefined && this.#self.equals(id);
  }

  /** Below `bound`, in steps of a millionth. */
  #random(bound: Millis): Millis {
    return (bound * randomBelow(this.#rng, 1_000_000)) / 1_000_000;
  }
}

function isSameInfo(a: EndpointInfo, b: EndpointInfo): boolean {
  return a.addr.equals(b.addr) && a.userData === b.userData;
}
