/**
 * Connection ids of one path: those that we issued, and those that the peer issued for us to use (RFC 9000 §5.1,
 * draft-ietf-quic-multipath §3.1). Each path id has its own sequence numbers and its own limit.
 *
 * @module
 */
import { equalBytes } from '../../base/bytes.ts';
import type { IssuedCid } from '../connection-host.ts';
import { RangeSet } from '../recovery/range-set.ts';
import { TransportError } from '../transport-error.ts';

/** Connection ids of the peer that we keep per path: our active_connection_id_limit (noq `cid_queue.rs` `LEN`). */
export const ACTIVE_CID_LIMIT = 5;
/** Connection ids that we issue per path at most, whatever the peer would take (noq `LOCAL_CID_COUNT`). */
export const MAX_LOCAL_CIDS = 12;
/** RETIRE_CONNECTION_ID frames owed at a time (RFC 9000 §5.1.2 asks for a limit); noq keeps the same number. */
export const MAX_PENDING_RETIREMENTS = 50;
/** Gaps in the sequence numbers of a peer that we remember. Honest ones leave none; noq remembers none. */
export const MAX_SEQUENCE_GAPS = 64;

/** What the owner of {@link LocalCids} does for it. */
export interface CidIssuer {
  issueCid(): IssuedCid;
  retireCid(cid: Uint8Array): void;
}

/** Connection ids that the peer uses to reach us on one path. */
export class LocalCids {
  /** Not yet retired, by sequence number. */
  readonly #active = new Map<number, IssuedCid>();
  #nextSequence = 0;
  /** Numbers below were sent to the peer at least once. */
  #sentBelow = 0;
  /** Sequence numbers whose NEW_CONNECTION_ID must (again) be sent. */
  readonly #pending: number[] = [];

  /** Counts a connection id that the peer learned in the handshake: sequence number 0 of path 0. */
  addHandshakeCid(issued: IssuedCid): void {
    this.#active.set(this.#nextSequence++, issued);
    this.#sentBelow = this.#nextSequence;
  }

  /** Issues until the peer has `limit` of them; RFC 9000 §5.1.1. */
  fill(limit: number, issuer: CidIssuer): void {
    const target = Math.min(limit, MAX_LOCAL_CIDS);
    while (this.#active.size < target) {
      const sequence = this.#nextSequence++;
      this.#active.set(sequence, issuer.issueCid());
      this.#pending.push(sequence);
    }
  }

  get wantsFrames(): boolean {
    return this.#pending.length > 0;
  }

  /** The sequence number after the last one issued. */
  get nextSequence(): number {
    return this.#nextSequence;
  }

  /** Takes the next NEW_CONNECTION_ID to send. */
  takePending(): { readonly sequence: number; readonly issued: IssuedCid } | undefined {
    for (let sequence = this.#pending.shift(); sequence !== undefined; sequence = this.#pending.shift()) {
      const issued = this.#active.get(sequence);
      if (issued === undefined) continue;
      if (sequence >= this.#sentBelow) this.#sentBelow = sequence + 1;
      return { sequence, issued };
    }
    return undefined;
  }

  onFrameLost(sequence: number): void {
    if (this.#active.has(sequence)) this.#pending.push(sequence);
  }

  /**
   * RETIRE_CONNECTION_ID arrived.
   * @returns False when it was retired before.
   * @throws {TransportError} PROTOCOL_VIOLATION for a number that was never sent (RFC 9000 §19.16).
   */
  handleRetire(sequence: number, issuer: CidIssuer): boolean {
    // Sent, not only issued: else a peer could make us issue without end while we cannot send.
    if (sequence >= this.#sentBelow) {
      throw new TransportError('PROTOCOL_VIOLATION', 'RETIRE_CONNECTION_ID for a number that was not issued');
    }
    const issued = this.#active.get(sequence);
    if (issued === undefined) return false;
    this.#active.delete(sequence);
    issuer.retireCid(issued.cid);
    return true;
  }

  /** Gives all of them up. */
  clear(issuer: CidIssuer): void {
    for (const issued of this.#active.values()) issuer.retireCid(issued.cid);
    this.#active.clear();
    this.#pending.length = 0;
  }
}

/** A connection id of the peer. */
export interface RemoteCid {
  readonly sequence: number;
  readonly cid: Uint8Array;
  /** Undefined for the ones of the handshake, until the transport parameter names it. */
  resetToken: Uint8Array | undefined;
}

/** Connection ids that the peer gave us for one path. */
export class RemoteCids {
  /** Ascending; the first is in use. */
  readonly #available: RemoteCid[] = [];
  /** Everything below was retired by the peer's wish. */
  #retirePriorTo = 0;
  /** Numbers from {@link #retirePriorTo} on that arrived, so that a late duplicate of one that was left is recognised. */
  readonly #seen = new RangeSet();
  readonly #pendingRetirements: number[] = [];

  /** @param handshakeCid - Path 0 starts with the id from the handshake as sequence number 0. */
  constructor(handshakeCid?: Uint8Array) {
    if (handshakeCid === undefined) return;
    this.#available.push({ sequence: 0, cid: handshakeCid, resetToken: undefined });
    this.#seen.insert(0);
  }

  /** The id to send to, undefined while the peer gave none. */
  get active(): RemoteCid | undefined {
    return this.#available[0];
  }

  /** True when another unused id is there to switch to. */
  get hasSpare(): boolean {
    return this.#available.length > 1;
  }

  /** Replaces the handshake's id: client, when the server chose its own (RFC 9000 §7.2). */
  replaceHandshakeCid(cid: Uint8Array): void {
    this.#available[0] = { sequence: 0, cid, resetToken: undefined };
  }

  /**
   * NEW_CONNECTION_ID or PATH_NEW_CONNECTION_ID arrived; arrays are kept.
   * @returns Ids that must not be used any more, now that the peer said so.
   * @throws {TransportError} CONNECTION_ID_LIMIT_ERROR or PROTOCOL_VIOLATION (RFC 9000 §5.1.1, §19.15).
   */
  handleNew(sequence: number, retirePriorTo: number, cid: Uint8Array, resetToken: Uint8Array): RemoteCid[] {
    for (const known of this.#available) {
      if ((known.sequence === sequence) !== equalBytes(known.cid, cid)) {
        throw new TransportError(
          'PROTOCOL_VIOLATION',
          'a connection id came back with another number or content',
        );
      }
    }
    const retired = this.#retireBelow(retirePriorTo);
    if (sequence < this.#retirePriorTo) {
      // RFC 9000 §5.1.2: arrived late, already asked to be retired. A second time does no harm.
      this.#retire(sequence);
      return retired;
    }
    if (this.#seen.contains(sequence)) return retired;
    // The window counts from the smallest active number, as upstream's queue of five slots does.
    const smallest = this.#available[0]?.sequence ?? this.#retirePriorTo;
    if (sequence >= smallest + ACTIVE_CID_LIMIT || this.#available.length >= ACTIVE_CID_LIMIT) {
      throw new TransportError(
        'CONNECTION_ID_LIMIT_ERROR',
        'more connection ids than active_connection_id_limit',
      );
    }
    this.#seen.insert(sequence);
    if (this.#seen.size > MAX_SEQUENCE_GAPS) {
      throw new TransportError('CONNECTION_ID_LIMIT_ERROR', 'too many gaps in connection id numbers');
    }
    this.#available.push({ sequence, cid, resetToken });
    this.#available.sort((a, b) => a.sequence - b.sequence);
    return retired;
  }

  /** The peer wants every id below `bound` back. */
  #retireBelow(bound: number): RemoteCid[] {
    const retired: RemoteCid[] = [];
    if (bound <= this.#retirePriorTo) return retired;
    this.#retirePriorTo = bound;
    this.#seen.removeBelow(bound);
    while (this.#available.length > 0 && this.#available[0]!.sequence < bound) {
      const gone = this.#available.shift()!;
      retired.push(gone);
      this.#retire(gone.sequence);
    }
    return retired;
  }

  /** Leaves the active id for the next one. Returns the one left, undefined when there is no other. */
  switchToNext(): RemoteCid | undefined {
    if (this.#available.length < 2) return undefined;
    const gone = this.#available.shift()!;
    this.#retire(gone.sequence);
    return gone;
  }

  #retire(sequence: number): void {
    if (this.#pendingRetirements.includes(sequence)) return;
    if (this.#pendingRetirements.length >= MAX_PENDING_RETIREMENTS) {
      throw new TransportError('CONNECTION_ID_LIMIT_ERROR', 'too many connection ids to retire');
    }
    this.#pendingRetirements.push(sequence);
  }

  get wantsFrames(): boolean {
    return this.#pendingRetirements.length > 0;
  }

  /** Takes the next sequence number to name in RETIRE_CONNECTION_ID. */
  takeRetirement(): number | undefined {
    return this.#pendingRetirements.shift();
  }

  onFrameLost(sequence: number): void {
    this.#pendingRetirements.push(sequence);
  }

  /** All ids, for unregistering their reset tokens. */
  all(): readonly RemoteCid[] {
    return this.#available;
  }
}

/** Both directions of one path id. Exists before the path does: the peer may open any id that we allow. */
export interface PathCids {
  readonly local: LocalCids;
  readonly remote: RemoteCids;
  /** A PATH_CIDS_BLOCKED is owed: we cannot use the path because the peer gave no id. */
  blockedPending: boolean;
}
