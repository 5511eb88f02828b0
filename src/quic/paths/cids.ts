/**
 * Connection ids of one path: those that we issued, and those that the peer issued for us to use (RFC 9000 §5.1,
 * draft-ietf-quic-multipath §3.1). Each path id has its own sequence numbers and its own limit.
 *
 * @module
 */
import { equalBytes, fromLatin1, toLatin1 } from '../../base/bytes.ts';
import type { CidKey } from '../connection-host.ts';
import type { PathId } from '../engine.ts';
import { TransportError } from '../transport-error.ts';

/** Connection ids of the peer that we keep per path: our active_connection_id_limit (noq `cid_queue.rs` `LEN`). */
export const ACTIVE_CID_LIMIT = 5;
/** Connection ids that we issue per path at most, whatever the peer would take (noq `LOCAL_CID_COUNT`). */
export const MAX_LOCAL_CIDS = 12;
/**
 * Connection ids that we issue for a path id before a path uses it: one to open the path with. A path in use gets all that the
 * peer takes. Upstream issues five for each of seven unused ids, which is half of the bytes and most of the memory of a
 * handshake.
 */
export const UNUSED_PATH_CIDS = 1;
/**
 * Sequence numbers from the oldest id that the peer has not retired to the newest. One that keeps its oldest id and retires
 * all others at once would make us issue, and remember, without end; RFC 9000 §5.1.1 allows a limit.
 */
export const MAX_SEQUENCE_SPAN = 64;
/** RETIRE_CONNECTION_ID frames owed at a time (RFC 9000 §5.1.2 asks for a limit); noq keeps the same number. */
export const MAX_PENDING_RETIREMENTS = 50;
/** Gaps in the sequence numbers of a peer that we remember. Honest ones leave none; noq remembers none. */
export const MAX_SEQUENCE_GAPS = 64;

/** What the owner of {@link LocalCids} does for it. */
export interface CidIssuer {
  issueCid(path: PathId): CidKey;
  retireCid(cid: CidKey): void;
}

/** A retired slot of {@link LocalCids}. */
const RETIRED = -1;

/** Connection ids that the peer uses to reach us on one path. */
export class LocalCids {
  /** By sequence number minus {@link #first}. Numbers only, which is the smallest form that there is. */
  #keys: CidKey[] = [];
  #first = 0;
  #activeCount = 0;
  /** Sequence numbers whose NEW_CONNECTION_ID must (again) be sent. */
  #pending: number[] | undefined;

  /** Counts a connection id that the peer learned in the handshake: sequence number 0 of path 0. */
  addHandshakeCid(cid: CidKey): void {
    this.#keys.push(cid);
    this.#activeCount++;
  }

  /** Issues until the peer has `limit` of them; RFC 9000 §5.1.1. */
  fill(limit: number, path: PathId, issuer: CidIssuer): void {
    const wanted = Math.min(limit, MAX_LOCAL_CIDS) - this.#activeCount;
    const count = Math.min(wanted, MAX_SEQUENCE_SPAN - this.#keys.length);
    if (count <= 0) return;
    const next = this.nextSequence;
    const pending = (this.#pending ??= []);
    for (let i = 0; i < count; i++) {
      // Concatenated, not pushed: an array that was pushed to keeps room for sixteen more, for as long as the path lives.
      this.#keys = this.#keys.concat(issuer.issueCid(path));
      pending.push(next + i);
    }
    this.#activeCount += count;
  }

  get wantsFrames(): boolean {
    return this.#pending !== undefined;
  }

  /** The sequence number after the last one issued. */
  get nextSequence(): number {
    return this.#first + this.#keys.length;
  }

  #find(sequence: number): CidKey | undefined {
    const key = this.#keys[sequence - this.#first];
    return key === RETIRED ? undefined : key;
  }

  /** Takes the next NEW_CONNECTION_ID to send. */
  takePending(): { readonly sequence: number; readonly cid: CidKey } | undefined {
    const pending = this.#pending;
    if (pending === undefined) return undefined;
    for (let sequence = pending.shift(); sequence !== undefined; sequence = pending.shift()) {
      if (pending.length === 0) this.#pending = undefined;
      const cid = this.#find(sequence);
      if (cid !== undefined) return { sequence, cid };
    }
    return undefined;
  }

  onFrameLost(sequence: number): void {
    if (this.#find(sequence) !== undefined) (this.#pending ??= []).push(sequence);
  }

  /**
   * RETIRE_CONNECTION_ID arrived.
   * @returns False when it was retired before.
   * @throws {TransportError} PROTOCOL_VIOLATION for a number that was never issued (RFC 9000 §19.16).
   */
  handleRetire(sequence: number, issuer: CidIssuer): boolean {
    if (sequence >= this.nextSequence) {
      throw new TransportError('PROTOCOL_VIOLATION', 'RETIRE_CONNECTION_ID for a number that was not issued');
    }
    const cid = this.#find(sequence);
    if (cid === undefined) return false;
    issuer.retireCid(cid);
    this.#keys[sequence - this.#first] = RETIRED;
    this.#activeCount--;
    while (this.#keys.length > 0 && this.#keys[0] === RETIRED) {
      this.#keys.shift();
      this.#first++;
    }
    return true;
  }

  /** Gives all of them up. */
  clear(issuer: CidIssuer): void {
    for (const cid of this.#keys) if (cid !== RETIRED) issuer.retireCid(cid);
    this.#first += this.#keys.length;
    this.#keys = [];
    this.#activeCount = 0;
    this.#pending = undefined;
  }
}

/** The connection id of the peer that is in use. */
export interface RemoteCid {
  readonly sequence: number;
  readonly cid: Uint8Array;
  /** Undefined for the ones of the handshake, until the transport parameter names it. */
  resetToken: Uint8Array | undefined;
}

/** One that waits. Bytes as text, one character each: a fifth of the memory of two arrays. */
interface SpareCid {
  readonly sequence: number;
  readonly cid: string;
  readonly resetToken: string;
}

/** Connection ids that the peer gave us for one path. */
export class RemoteCids {
  #active: RemoteCid | undefined;
  /** Ascending. */
  #spare: SpareCid[] = [];
  /** Everything below was retired by the peer's wish. */
  #retirePriorTo = 0;
  /** All numbers below arrived; so did those in the list, ascending: late duplicates are recognised. */
  #seenBelow = 0;
  #seenAbove: number[] | undefined;
  #pendingRetirements: number[] | undefined;

  /** @param handshakeCid - Path 0 starts with the id from the handshake as sequence number 0. */
  constructor(handshakeCid?: Uint8Array) {
    if (handshakeCid === undefined) return;
    this.#active = { sequence: 0, cid: handshakeCid, resetToken: undefined };
    this.#seenBelow = 1;
  }

  /** The id to send to, undefined while the peer gave none. Takes the first spare one into use. */
  get active(): RemoteCid | undefined {
    if (this.#active === undefined) {
      const spare = this.#spare.shift();
      if (spare !== undefined) {
        const { sequence, cid, resetToken } = spare;
        this.#active = { sequence, cid: fromLatin1(cid), resetToken: fromLatin1(resetToken) };
      }
    }
    return this.#active;
  }

  /** True when the peer gave none that is left. */
  get isEmpty(): boolean {
    return this.#active === undefined && this.#spare.length === 0;
  }

  /** True when another unused id is there to switch to. */
  get hasSpare(): boolean {
    return this.#spare.length > (this.#active === undefined ? 1 : 0);
  }

  /** Replaces the handshake's id: client, when the server chose its own (RFC 9000 §7.2). */
  replaceHandshakeCid(cid: Uint8Array): void {
    this.#active = { sequence: 0, cid, resetToken: undefined };
  }

  /**
   * NEW_CONNECTION_ID or PATH_NEW_CONNECTION_ID arrived; the arrays are borrowed.
   * {@link active} may have changed afterwards: the peer can take it away.
   * @throws {TransportError} CONNECTION_ID_LIMIT_ERROR or PROTOCOL_VIOLATION (RFC 9000 §5.1.1, §19.15).
   */
  handleNew(sequence: number, retirePriorTo: number, cid: Uint8Array, resetToken: Uint8Array): void {
    const text = toLatin1(cid);
    const active = this.#active;
    if (active !== undefined && this.#isSame(active.sequence, equalBytes(active.cid, cid), sequence)) return;
    for (const spare of this.#spare) if (this.#isSame(spare.sequence, spare.cid === text, sequence)) return;
    if (retirePriorTo > this.#retirePriorTo) {
      this.#retirePriorTo = retirePriorTo;
      if (active !== undefined && active.sequence < retirePriorTo) {
        this.#retire(active.sequence);
        this.#active = undefined;
      }
      while (this.#spare.length > 0 && this.#spare[0]!.sequence < retirePriorTo) {
        this.#retire(this.#spare.shift()!.sequence);
      }
    }
    if (!this.#markSeen(sequence)) return;
    if (sequence < this.#retirePriorTo) {
      // RFC 9000 §5.1.2: arrived late, already asked to be retired.
      this.#retire(sequence);
      return;
    }
    // RFC 9000 §5.1.1 counts ids, not numbers: one that was lost and comes late may be far below those that replaced others.
    if (this.#spare.length + (this.#active === undefined ? 0 : 1) >= ACTIVE_CID_LIMIT) {
      throw new TransportError(
        'CONNECTION_ID_LIMIT_ERROR',
        'more connection ids than active_connection_id_limit',
      );
    }
    let at = this.#spare.length;
    while (at > 0 && this.#spare[at - 1]!.sequence > sequence) at--;
    const spare: SpareCid = { sequence, cid: text, resetToken: toLatin1(resetToken) };
    // Not spliced in, for the reason that LocalCids gives.
    this.#spare = at === this.#spare.length ? this.#spare.concat(spare) : this.#spare.toSpliced(at, 0, spare);
  }

  /** True for a repetition. @throws {TransportError} PROTOCOL_VIOLATION when only half of it is one. */
  #isSame(knownSequence: number, isSameCid: boolean, sequence: number): boolean {
    if ((knownSequence === sequence) !== isSameCid) {
      throw new TransportError(
        'PROTOCOL_VIOLATION',
        'a connection id came back with another number or content',
      );
    }
    return isSameCid;
  }

  /** False when the number was seen before. */
  #markSeen(sequence: number): boolean {
    if (sequence < this.#seenBelow || this.#seenAbove?.includes(sequence) === true) return false;
    if (sequence > this.#seenBelow) {
      // The window of our limit moves with retire_prior_to, so it does not bound what lies behind it.
      const above = (this.#seenAbove ??= []);
      if (above.length >= MAX_SEQUENCE_GAPS) {
        throw new TransportError(
          'CONNECTION_ID_LIMIT_ERROR',
          'too many gaps in the numbers of connection ids',
        );
      }
      above.push(sequence);
      return true;
    }
    this.#seenBelow++;
    while (this.#seenAbove !== undefined) {
      const index = this.#seenAbove.indexOf(this.#seenBelow);
      if (index < 0) break;
      this.#seenAbove.splice(index, 1);
      this.#seenBelow++;
      if (this.#seenAbove.length === 0) this.#seenAbove = undefined;
    }
    return true;
  }

  /** Leaves the active id for the next one. Returns the one left, undefined when there is no other. */
  switchToNext(): RemoteCid | undefined {
    const gone = this.active;
    if (gone === undefined || this.#spare.length === 0) return undefined;
    this.#active = undefined;
    this.#retire(gone.sequence);
    return gone;
  }

  #retire(sequence: number): void {
    const pending = (this.#pendingRetirements ??= []);
    if (pending.length >= MAX_PENDING_RETIREMENTS) {
      throw new TransportError('CONNECTION_ID_LIMIT_ERROR', 'too many connection ids to retire');
    }
    pending.push(sequence);
  }

  get wantsFrames(): boolean {
    return this.#pendingRetirements !== undefined;
  }

  /** Takes the next sequence number to name in RETIRE_CONNECTION_ID. */
  takeRetirement(): number | undefined {
    const sequence = this.#pendingRetirements?.shift();
    if (this.#pendingRetirements?.length === 0) this.#pendingRetirements = undefined;
    return sequence;
  }

  onFrameLost(sequence: number): void {
    (this.#pendingRetirements ??= []).push(sequence);
  }
}

/** Both directions of one path id. Exists before the path does: the peer may open any id that we allow. */
export interface PathCids {
  readonly path: PathId;
  readonly local: LocalCids;
  readonly remote: RemoteCids;
  /** A PATH_CIDS_BLOCKED is owed: we cannot use the path because the peer gave no id. */
  blockedPending: boolean;
}

/** The connection ids of all path ids of a connection. */
export class CidsByPath {
  /** In order of first use. An array, because every datagram asks all of them whether they have frames to send. */
  readonly list: PathCids[] = [];

  get(path: PathId): PathCids | undefined {
    const { list } = this;
    // Path ids are few and mostly in their place.
    if (list[path]?.path === path) return list[path];
    for (let i = 0; i < list.length; i++) if (list[i]!.path === path) return list[i];
    return undefined;
  }

  /** The connection ids of a path id, made on first use. */
  ensure(path: PathId): PathCids {
    return this.get(path) ?? this.add(path, new LocalCids(), new RemoteCids());
  }

  add(path: PathId, local: LocalCids, remote: RemoteCids): PathCids {
    const cids: PathCids = { path, local, remote, blockedPending: false };
    this.list.push(cids);
    return cids;
  }

  delete(path: PathId): void {
    const at = this.list.findIndex((cids) => cids.path === path);
    if (at >= 0) this.list.splice(at, 1);
  }

  clear(): void {
    this.list.length = 0;
  }
}
