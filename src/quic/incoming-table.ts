/**
 * Who asks to be connected: undecided attempts by the destination cid that the client made up, and the connections that
 * came of them (RFC 9000 §5.2.2, §8.1; limits and answers as noq `noq-proto/src/endpoint.rs`).
 *
 * @module
 */
import { equalBytes } from '../base/bytes.ts';
import type { Millis } from '../base/clock.ts';
import { randomBytes, type Rng } from '../base/rng.ts';
import type { Addr } from '../base/socket-addr.ts';
import { LOCAL_CID_LENGTH } from './connection-host.ts';
import type { Datagram, IncomingRef, QuicConnection, ServerConfig } from './engine.ts';
import { keptBytes, openFirstInitial, PendingIncoming, type AddressProof } from './incoming.ts';
import type { StatelessAnswers } from './stateless.ts';
import {
  isFresh,
  RETRY_TOKEN_LIFETIME_MS,
  VALIDATION_TOKEN_LIFETIME_MS,
  type TokenSealer,
} from './tokens.ts';
import { TransportError } from './transport-error.ts';
import { decodeLongHeader, QUIC_VERSION_1, type InvariantHeader } from './wire/packet.ts';
import { PacketKeys } from './wire/protection.ts';
import { encodeRetry } from './wire/retry.ts';
import { encodeVersionNegotiation } from './wire/version-negotiation.ts';

/** A client's first Initial comes in a datagram of at least this size (RFC 9000 §14.1). */
export const MIN_INITIAL_DATAGRAM_BYTES = 1_200;
/** RFC 9000 §7.2. */
const MIN_INITIAL_DCID_BYTES = 8;
/** Packet types in the first byte of a long header (RFC 9000 §17.2). */
const KIND_INITIAL = 0;
const KIND_ZERO_RTT = 1;

/** Limits of everything undecided. */
export interface IncomingLimits {
  readonly maxIncoming: number;
  readonly maxBytesEach: number;
  readonly maxBytesTotal: number;
}

const UNPROVEN: AddressProof = { validated: false, retry: undefined };

/** Attempts and their connections, which are those of one engine. */
export class IncomingTable<C extends QuicConnection> {
  /**
   * By destination cid, as the engine spells it. A connection stays as long as it lives: iroh sends copies of its first flight over several
   * paths, and one that was slow must not look like another attempt.
   */
  readonly #routes = new Map<string, PendingIncoming | C>();
  readonly #answers: StatelessAnswers;
  readonly #tokens: TokenSealer;
  readonly #limits: IncomingLimits;
  readonly #rng: Rng;
  #pendingCount = 0;
  #pendingBytes = 0;

  constructor(answers: StatelessAnswers, tokens: TokenSealer, limits: IncomingLimits, rng: Rng) {
    this.#answers = answers;
    this.#tokens = tokens;
    this.#limits = limits;
    this.#rng = rng;
  }

  /** Attempts and connections. */
  get size(): number {
    return this.#routes.size;
  }

  get pendingCount(): number {
    return this.#pendingCount;
  }

  /** What the undecided ones' datagrams count for. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  find(route: string): PendingIncoming | C | undefined {
    return this.#routes.get(route);
  }

  /** All that nobody has decided about. */
  undecided(): PendingIncoming[] {
    const list: PendingIncoming[] = [];
    for (const each of this.#routes.values()) if (each instanceof PendingIncoming) list.push(each);
    return list;
  }

  /**
   * A datagram with a long header, of which nothing is known.
   * @param route - Its destination cid.
   * @param isAccepting - False answers attempts with CONNECTION_REFUSED.
   * @returns A new attempt, undefined when there is none to decide about.
   */
  handleUnknown(
    datagram: Datagram,
    { version, dcid, scid }: InvariantHeader,
    route: string,
    isAccepting: boolean,
    wallNow: Millis,
    now: Millis,
  ): PendingIncoming | undefined {
    if (datagram.data.length < MIN_INITIAL_DATAGRAM_BYTES) return undefined;
    if (version === QUIC_VERSION_1) return this.handleFirst(datagram, route, isAccepting, wallNow, now);
    // RFC 9000 §6.1; never in answer to a Version Negotiation packet itself, nor by who accepts nothing.
    if (version !== 0 && isAccepting)
      this.#answers.push(datagram.from, datagram.local, encodeVersionNegotiation(dcid, scid, this.#rng));
    return undefined;
  }

  /**
   * The first datagram of an attempt, at least {@link MIN_INITIAL_DATAGRAM_BYTES} long.
   * @param isAccepting - False answers with CONNECTION_REFUSED.
   * @returns The new attempt, undefined when there is none to decide about.
   */
  handleFirst(
    datagram: Datagram,
    route: string,
    isAccepting: boolean,
    wallNow: Millis,
    now: Millis,
  ): PendingIncoming | undefined {
    // Overload: silence, before anything is computed; the client tries again (noq 1.1 does the same).
    if (
      this.#pendingCount >= this.#limits.maxIncoming ||
      this.#pendingBytes + keptBytes(datagram) > this.#limits.maxBytesTotal
    ) {
      return undefined;
    }
    const header = decodeLongHeader(datagram.data, 0, datagram.data.length);
    if (header === undefined || header.type !== 'initial') return undefined;
    const keys = PacketKeys.initial(header.dcid, 'server');
    if (header.dcid.length < MIN_INITIAL_DCID_BYTES) {
      const error = new TransportError('PROTOCOL_VIOLATION', 'invalid destination CID length');
      this.#answers.pushClose(datagram.from, datagram.local, keys.write, header.scid, error);
      return undefined;
    }
    const first = openFirstInitial(datagram, header, keys.read);
    // What does not authenticate gets no state and no answer.
    if (first === undefined) return undefined;
    const proof = this.#checkToken(header.token, header.dcid, datagram.from, wallNow);
    if (proof === undefined || !isAccepting) {
      const error = new TransportError(proof === undefined ? 'INVALID_TOKEN' : 'CONNECTION_REFUSED', '');
      this.#answers.pushClose(datagram.from, datagram.local, keys.write, header.scid, error);
      return undefined;
    }
    const pending = new PendingIncoming(datagram, header, route, keys, first, proof, now);
    this.#pendingCount++;
    this.#pendingBytes += pending.bytes;
    this.#routes.set(route, pending);
    return pending;
  }

  /**
   * What a client's token proves. Undefined: a Retry token that does not fit, which RFC 9000 §8.1.2 answers with
   * INVALID_TOKEN. Foreign or unreadable ones are as good as none (§8.1.3).
   */
  #checkToken(bytes: Uint8Array, dcid: Uint8Array, remote: Addr, wallNow: Millis): AddressProof | undefined {
    const token = bytes.length === 0 ? undefined : this.#tokens.open(bytes);
    if (token === undefined) return UNPROVEN;
    if (token.type === 'validation') {
      const validated =
        token.ip === remote.ip && isFresh(token.issuedAt, VALIDATION_TOKEN_LIFETIME_MS, wallNow);
      return validated ? { validated, retry: undefined } : UNPROVEN;
    }
    const { originalDcid, retryScid } = token;
    // A client uses the id that the Retry gave it (RFC 9000 §17.2.5.2).
    if (
      token.remote !== remote ||
      !equalBytes(retryScid, dcid) ||
      !isFresh(token.issuedAt, RETRY_TOKEN_LIFETIME_MS, wallNow)
    )
      return undefined;
    return { validated: true, retry: { originalDcid, retryScid } };
  }

  /** More for an undecided attempt, from whatever address: copies of its Initial, the rest of its ClientHello, 0-RTT. */
  keep(pending: PendingIncoming, datagram: Datagram, version: number): void {
    const { data } = datagram;
    const kind = (data[0]! >> 4) & 0x03;
    if (version !== QUIC_VERSION_1 || kind > KIND_ZERO_RTT) return;
    // RFC 9000 §14.1.
    if (kind === KIND_INITIAL && data.length < MIN_INITIAL_DATAGRAM_BYTES) return;
    const bytes = keptBytes(datagram);
    if (
      pending.bytes + bytes > this.#limits.maxBytesEach ||
      this.#pendingBytes + bytes > this.#limits.maxBytesTotal
    ) {
      return;
    }
    pending.push(datagram);
    this.#pendingBytes += bytes;
  }

  /**
   * Takes an attempt that is to be accepted out of the books.
   * @param server - Undefined refuses it.
   * @throws {TransportError} CONNECTION_REFUSED; {Error} when it was decided before.
   */
  accept(incoming: IncomingRef, server: ServerConfig | undefined, now: Millis): PendingIncoming {
    const pending = this.decide(incoming);
    if (server === undefined) {
      this.refuse(pending);
      throw new TransportError('CONNECTION_REFUSED', 'nothing is accepted any more');
    }
    const idle = server.transport.maxIdleTimeoutMs;
    if (idle > 0 && now - pending.receivedAt >= idle) {
      // The client gave up as well: nobody to tell.
      pending.release();
      throw new TransportError('CONNECTION_REFUSED', 'the attempt waited too long');
    }
    return pending;
  }

  /** Takes an attempt out of the books. @throws {Error} when it was decided before. */
  decide(incoming: IncomingRef): PendingIncoming {
    if (!(incoming instanceof PendingIncoming) || incoming.isDecided) {
      throw new Error('the incoming connection was decided before');
    }
    incoming.isDecided = true;
    this.#pendingCount--;
    this.#pendingBytes -= incoming.bytes;
    this.#routes.delete(incoming.route);
    return incoming;
  }

  /** Answers a decided attempt with CONNECTION_REFUSED (RFC 9000 §5.2.2). */
  refuse(pending: PendingIncoming): void {
    const error = new TransportError('CONNECTION_REFUSED', '');
    this.#answers.pushClose(pending.remote, pending.local, pending.keys!.write, pending.scid, error);
    pending.release();
  }

  /** Answers a decided attempt with a Retry (RFC 9000 §8.1.2). */
  retry(pending: PendingIncoming, wallNow: Millis): void {
    const { remote, local, dcid, scid } = pending;
    const retryScid = randomBytes(this.#rng, LOCAL_CID_LENGTH);
    const token = this.#tokens.sealRetry(remote, dcid, retryScid, wallNow);
    this.#answers.push(remote, local, encodeRetry(scid, retryScid, dcid, token, this.#rng));
    pending.release();
  }

  /** The attempt has become `connection`. */
  adopt(route: string, connection: C): void {
    this.#routes.set(route, connection);
  }

  /** `connection` is gone. */
  release(route: string, connection: C): void {
    if (this.#routes.get(route) === connection) this.#routes.delete(route);
  }
}
