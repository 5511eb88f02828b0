/**
 * n0's NAT traversal extension: candidate addresses, rounds and off-path probes (noq `noq-proto/src/n0_nat_traversal.rs`).
 *
 * Roles are the QUIC roles. The server advertises its candidates; the client decides when a round starts, tells the
 * server where to send (REACH_OUT), probes all candidates itself, and opens a path to each address that answers. This is
 * not draft-seemann-quic-nat-traversal: other ids, other parameter.
 *
 * @module
 */
import { equalBytes, type Writer } from '../../base/bytes.ts';
import type { Millis } from '../../base/clock.ts';
import { LazyMap, LazySet } from '../../base/lazy-collections.ts';
import { randomBytes, type Rng } from '../../base/rng.ts';
import type { Addr } from '../../base/socket-addr.ts';
import type { ConnectionEvent, Side } from '../engine.ts';
import type { SentFrame } from '../sent-frame.ts';
import { TransportError } from '../transport-error.ts';
import { writeAddAddress, writeReachOut, writeRemoveAddress } from '../wire/frames.ts';

/** Probes per address and round; noq `MAX_NAT_PROBE_ATTEMPTS`. */
export const MAX_NAT_PROBE_ATTEMPTS = 9;
/** Longest gap between two probes of one address, ms; noq. */
export const MAX_NAT_PROBE_INTERVAL_MS = 2_000;
/** Challenges to one address that may be answered; older ones are forgotten. */
const MAX_TOKENS = 2 * MAX_NAT_PROBE_ATTEMPTS;
/** The first gap is this fraction of the initial RTT; noq. */
const PROBE_INTERVAL_DIVISOR = 10;
/** ADD_ADDRESS, REACH_OUT: type 4, sequence or round up to 8, IPv6 16, port 2 bytes. */
const MAX_FRAME_BYTES = 30;

/** A call that the extension does not allow now. */
export class NatTraversalError extends Error {
  override readonly name = 'NatTraversalError';
  readonly code: 'notNegotiated' | 'wrongSide' | 'tooManyAddresses' | 'notEnoughAddresses';

  constructor(code: NatTraversalError['code'], message: string) {
    super(message);
    this.code = code;
  }
}

interface Probe {
  readonly remote: Addr;
  /** Challenges that may be answered, at most {@link MAX_TOKENS}, those of the round before included. */
  readonly tokens: Uint8Array[];
  /** Probes of this round. */
  sent: number;
  /** Challenges of this round beside answers. */
  besideAnswers: number;
  nextAt: Millis;
}

/** NAT traversal state of one connection. */
export class NatTraversal {
  readonly #side: Side;
  /** How many addresses of the peer we take. */
  readonly #localLimit: number;
  /** How many of ours the peer takes. */
  readonly #remoteLimit: number;
  readonly #baseInterval: Millis;

  /** Our candidates; on the server with their ADD_ADDRESS sequence numbers. */
  readonly #local = new LazyMap<Addr, number>();
  #nextSequence = 0;
  readonly #pendingAdds = new LazySet<number>();
  readonly #pendingRemoves = new LazySet<number>();

  /** Client: what the server advertised, by sequence number. */
  readonly #remote = new LazyMap<number, Addr>();
  /** Current round; 0 before the first. */
  #round = 0;
  readonly #pendingReachOuts = new LazySet<Addr>();
  readonly #probes = new LazyMap<Addr, Probe>();
  readonly #events: ConnectionEvent[] = [];

  constructor(side: Side, localLimit: number, remoteLimit: number, initialRttMs: Millis) {
    this.#side = side;
    this.#localLimit = localLimit;
    this.#remoteLimit = remoteLimit;
    this.#baseInterval = initialRttMs / PROBE_INTERVAL_DIVISOR;
  }

  get round(): number {
    return this.#round;
  }

  /** @throws {NatTraversalError} tooManyAddresses above what the peer takes. */
  addLocal(addr: Addr): void {
    if (this.#local.has(addr)) return;
    if (this.#local.size >= this.#remoteLimit) {
      throw new NatTraversalError('tooManyAddresses', `the peer takes ${this.#remoteLimit} addresses`);
    }
    const sequence = this.#nextSequence++;
    this.#local.set(addr, sequence);
    if (this.#side === 'server') this.#pendingAdds.add(sequence);
  }

  removeLocal(addr: Addr): void {
    const sequence = this.#local.get(addr);
    if (sequence === undefined) return;
    this.#local.delete(addr);
    this.#pendingReachOuts.delete(addr);
    if (this.#side !== 'server') return;
    // An advertisement that was never sent needs no withdrawal; one in flight does.
    if (!this.#pendingAdds.delete(sequence)) this.#pendingRemoves.add(sequence);
  }

  localAddresses(): Addr[] {
    return [...this.#local.keys()];
  }

  remoteAddresses(): Addr[] {
    return [...new Set(this.#remote.values())];
  }

  /**
   * Client: starts a round, which ends the one before.
   * @param found - Addresses of the peer that it did not advertise itself, to be probed too.
   * @returns The addresses that will be probed: at most as many as we take from a peer. None is known before the server's
   * candidates arrive; it can begin with ours.
   * @throws {NatTraversalError} wrongSide; notEnoughAddresses when we have no candidate.
   */
  startRound(now: Millis, found: readonly Addr[] = []): Addr[] {
    if (this.#side !== 'client') throw new NatTraversalError('wrongSide', 'only the client starts a round');
    const targets = [...new Set([...this.#remote.values(), ...found])].slice(0, this.#localLimit);
    if (this.#local.size === 0)
      throw new NatTraversalError('notEnoughAddresses', 'there is no candidate address of ours');
    this.#round++;
    this.#pendingReachOuts.clear();
    for (const addr of this.#local.keys()) this.#pendingReachOuts.add(addr);
    const before = new Map([...this.#probes.values()].map((probe) => [probe.remote, probe]));
    this.#probes.clear();
    for (const remote of targets) {
      // What is under way may still be answered, and that is as good as an answer of this round.
      const tokens = before.get(remote)?.tokens ?? [];
      this.#probes.set(remote, { remote, tokens, sent: 0, besideAnswers: 0, nextAt: now });
    }
    for (const [remote, { tokens }] of before) {
      if (this.#probes.size >= this.#localLimit) break;
      if (!this.#probes.has(remote)) this.#probes.set(remote, answeredOnly(remote, tokens));
    }
    return targets;
  }

  /** @throws {TransportError} PROTOCOL_VIOLATION from the wrong side. */
  handleAddAddress(sequence: number, addr: Addr): void {
    if (this.#side !== 'client') throw wrongSide('ADD_ADDRESS from a client');
    const known = this.#remote.get(sequence);
    if (known === addr) return;
    // Above our limit: ignored, as upstream does; the peer was told the limit.
    if (known === undefined && this.#remote.size >= this.#localLimit) return;
    this.#remote.set(sequence, addr);
    if (known !== undefined) this.#events.push({ type: 'natAddressRemoved', addr: known });
    this.#events.push({ type: 'natAddressAdded', addr });
  }

  /** @throws {TransportError} PROTOCOL_VIOLATION from the wrong side. */
  handleRemoveAddress(sequence: number): void {
    if (this.#side !== 'client') throw wrongSide('REMOVE_ADDRESS from a client');
    const addr = this.#remote.get(sequence);
    if (addr === undefined) return;
    this.#remote.delete(sequence);
    if (!this.remoteAddresses().includes(addr)) this.#probes.delete(addr);
    this.#events.push({ type: 'natAddressRemoved', addr });
  }

  /** @throws {TransportError} PROTOCOL_VIOLATION from the wrong side or above our limit. */
  handleReachOut(round: number, addr: Addr, now: Millis): void {
    if (this.#side !== 'server') throw wrongSide('REACH_OUT from a server');
    if (round < this.#round) return;
    if (round > this.#round) {
      this.#round = round;
      this.#probes.clear();
    }
    if (this.#probes.has(addr)) return;
    if (this.#probes.size >= this.#localLimit) {
      throw new TransportError('PROTOCOL_VIOLATION', 'more REACH_OUT addresses than allowed');
    }
    this.#probes.set(addr, { remote: addr, tokens: [], sent: 0, besideAnswers: 0, nextAt: now });
  }

  /** The next address that a probe is due for. Probes go out one datagram each, outside of any path. */
  probeDue(now: Millis): Addr | undefined {
    for (const probe of this.#probes.values()) if (probe.nextAt <= now) return probe.remote;
    return undefined;
  }

  /** Makes the challenge of a probe to `remote`, 8 bytes, and schedules the next one. */
  onProbeSend(remote: Addr, rng: Rng, now: Millis): Uint8Array {
    const probe = this.#probes.get(remote);
    const token = randomBytes(rng, 8);
    if (probe === undefined) return token;
    remember(probe, token);
    probe.sent++;
    // Gaps: 1, 1, 2, 4, 8 … times the base, capped.
    const gap = Math.min(this.#baseInterval * 2 ** Math.max(0, probe.sent - 2), MAX_NAT_PROBE_INTERVAL_MS);
    probe.nextAt = probe.sent < MAX_NAT_PROBE_ATTEMPTS ? now + gap : Infinity;
    return token;
  }

  /**
   * Client: adds a challenge to an answer that goes to `remote` anyway, which saves a round trip. Undefined when nothing
   * is to be learned there.
   */
  challengeFor(remote: Addr, rng: Rng): Uint8Array | undefined {
    if (this.#side !== 'client') return undefined;
    let probe = this.#probes.get(remote);
    if (probe === undefined) {
      if (this.#round === 0 || this.#probes.size >= this.#localLimit) return undefined;
      // The server probes us from an address it did not advertise: its NAT made a new mapping.
      probe = answeredOnly(remote, []);
      this.#probes.set(remote, probe);
    }
    if (probe.besideAnswers >= MAX_TOKENS) return undefined;
    probe.besideAnswers++;
    const token = randomBytes(rng, 8);
    remember(probe, token);
    return token;
  }

  /** True when `data`, received from `remote`, answers a probe to that very address; the probing of it ends. */
  handleResponse(data: Uint8Array, remote: Addr): boolean {
    const probe = this.#probes.get(remote);
    if (probe === undefined || !probe.tokens.some((token) => equalBytes(token, data))) return false;
    probe.nextAt = Infinity;
    return true;
  }

  /** The earliest time a probe is due. */
  get deadline(): Millis {
    let earliest = Infinity;
    for (const probe of this.#probes.values()) if (probe.nextAt < earliest) earliest = probe.nextAt;
    return earliest;
  }

  get wantsFrames(): boolean {
    return this.#pendingAdds.size > 0 || this.#pendingRemoves.size > 0 || this.#pendingReachOuts.size > 0;
  }

  /** Writes ADD_ADDRESS, REMOVE_ADDRESS and REACH_OUT frames as they fit. */
  writeFrames(w: Writer, sent: SentFrame[]): void {
    if (this.#pendingAdds.size > 0) {
      for (const [addr, sequence] of this.#local) {
        if (!this.#pendingAdds.has(sequence)) continue;
        if (w.room < MAX_FRAME_BYTES) return;
        writeAddAddress(w, sequence, addr);
        this.#pendingAdds.delete(sequence);
        sent.push({ type: 'addAddress', sequence });
      }
    }
    for (const sequence of this.#pendingRemoves) {
      if (w.room < MAX_FRAME_BYTES) return;
      writeRemoveAddress(w, sequence);
      this.#pendingRemoves.delete(sequence);
      sent.push({ type: 'removeAddress', sequence });
    }
    for (const addr of this.#pendingReachOuts) {
      if (w.room < MAX_FRAME_BYTES) return;
      writeReachOut(w, this.#round, addr);
      this.#pendingReachOuts.delete(addr);
      sent.push({ type: 'reachOut', round: this.#round, addr });
    }
  }

  onFrameLost(frame: SentFrame): void {
    if (frame.type === 'addAddress') {
      for (const sequence of this.#local.values()) {
        if (sequence === frame.sequence) this.#pendingAdds.add(sequence);
      }
    } else if (frame.type === 'removeAddress') {
      this.#pendingRemoves.add(frame.sequence);
    } else if (frame.type === 'reachOut' && frame.round === this.#round && this.#local.has(frame.addr)) {
      // A REACH_OUT of an older round is of no use to anybody.
      this.#pendingReachOuts.add(frame.addr);
    }
  }

  pollEvent(): ConnectionEvent | undefined {
    return this.#events.shift();
  }
}

/** An address that is not probed, but may answer. */
function answeredOnly(remote: Addr, tokens: Uint8Array[]): Probe {
  return { remote, tokens, sent: 0, besideAnswers: 0, nextAt: Infinity };
}

function remember({ tokens }: Probe, token: Uint8Array): void {
  tokens.push(token);
  if (tokens.length > MAX_TOKENS) tokens.shift();
}

function wrongSide(message: string): TransportError {
  return new TransportError('PROTOCOL_VIOLATION', message);
}
