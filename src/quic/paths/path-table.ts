/**
 * The paths of a connection: which ids exist, which may come next, and which path carries data
 * (draft-ietf-quic-multipath §3, §4.6; scheduling as noq `noq-proto/src/connection/mod.rs`).
 *
 * Without multipath it holds path 0 alone.
 *
 * @module
 */
import type { Addr } from '../../base/socket-addr.ts';
import type { PathId } from '../engine.ts';
import { RangeSet } from '../recovery/range-set.ts';
import { TransportError } from '../transport-error.ts';
import type { Path } from './path.ts';

/** Largest path id: the protocol carries 32 bits (draft-ietf-quic-multipath §2.1). */
export const MAX_PATH_ID = 2 ** 32 - 1;

/** Abandoned paths whose state is kept for three PTOs, beyond which no more ids are granted: twice those that may be open. */
export const MAX_LINGERING_PATHS = 16;

/** A path call that cannot be done. */
export class PathError extends Error {
  override readonly name = 'PathError';
  readonly code:
    | 'multipathNotNegotiated'
    | 'serverSideNotAllowed'
    | 'maxPathIdReached'
    | 'remoteCidsExhausted'
    | 'invalidRemoteAddress'
    | 'lastOpenPath'
    | 'closedPath';

  constructor(code: PathError['code'], message: string) {
    super(message);
    this.code = code;
  }
}

/** Open and lingering paths, and the ids that both sides allow. */
export class PathTable {
  /** All paths with state, abandoned ones included, in the order of their ids. */
  readonly list: Path[] = [];
  readonly #byId = new Map<PathId, Path>();
  /** Ids that were ever used: they never come back (draft-ietf-quic-multipath §3.4). */
  readonly #used = new RangeSet();
  /** Highest id that we allow the peer; undefined without multipath. */
  localMax: number | undefined;
  /** Highest id that the peer allows. */
  remoteMax: number | undefined;
  /** Ids that were not granted yet. */
  #owed = 0;
  maxPathIdPending = false;
  pathsBlockedPending = false;

  get multipath(): boolean {
    return this.localMax !== undefined && this.remoteMax !== undefined;
  }

  /** Highest id that both sides allow. */
  get maxPathId(): number {
    return Math.min(this.localMax ?? 0, this.remoteMax ?? 0);
  }

  get(id: PathId): Path | undefined {
    return this.#byId.get(id);
  }

  /** True for ids that have or had a path. */
  wasUsed(id: PathId): boolean {
    return this.#used.contains(id);
  }

  add(path: Path): void {
    this.#byId.set(path.id, path);
    this.#used.insert(path.id);
    this.list.push(path);
    this.list.sort((a, b) => a.id - b.id);
  }

  /**
   * Forgets a path's state; its id stays used.
   * @returns true when an id that the peer was still to be granted is granted now.
   */
  remove(path: Path): boolean {
    this.#byId.delete(path.id);
    this.list.splice(this.list.indexOf(path), 1);
    if (this.#owed === 0 || this.list.length - this.openCount() > MAX_LINGERING_PATHS) return false;
    this.#owed--;
    this.#grant();
    return true;
  }

  /** The id that the next path of this side gets: one above all that were used. */
  nextId(): PathId {
    return this.#used.max + 1;
  }

  /** Paths that are not abandoned. */
  openCount(): number {
    let count = 0;
    for (const path of this.list) if (path.abandoned === undefined) count++;
    return count;
  }

  /** The open path with these addresses; an undefined `local` on either side matches any. */
  find(remote: Addr, local: Addr | undefined): Path | undefined {
    for (const path of this.list) {
      if (path.abandoned !== undefined || path.remote !== remote) continue;
      if (local === undefined || path.local === undefined || path.local === local) return path;
    }
    return undefined;
  }

  /** True when these addresses were validated on some path: a new path on them is trusted at once. */
  isValidatedAddress(remote: Addr, local: Addr | undefined): boolean {
    for (const path of this.list) {
      if (path.validated && path.remote === remote && (local === undefined || path.local === local))
        return true;
    }
    return false;
  }

  /**
   * The path that carries data: the lowest validated id that we call available, else the lowest validated backup; one
   * that is stalled only if all are. Before any path is validated only the handshake's own path may (`unvalidated`).
   */
  dataPath(unvalidated: boolean): Path | undefined {
    let backup: Path | undefined;
    let stalled: Path | undefined;
    let first: Path | undefined;
    for (const path of this.list) {
      if (path.abandoned !== undefined) continue;
      first ??= path;
      if (!path.validated) continue;
      if (path.stalled) {
        if (stalled === undefined || (stalled.status === 'backup' && path.status === 'available'))
          stalled = path;
        continue;
      }
      if (path.status === 'available') return path;
      backup ??= path;
    }
    return backup ?? stalled ?? (unvalidated ? first : undefined);
  }

  /** True when data of `path` could go on another path now. */
  hasAlternative(path: Path): boolean {
    return this.list.some(
      (other) => other !== path && other.abandoned === undefined && other.validated && !other.stalled,
    );
  }

  /** MAX_PATH_ID arrived: only increases count. Returns true when the limit grew. */
  handleMaxPathId(max: number): boolean {
    if (this.remoteMax === undefined) throw notNegotiated('MAX_PATH_ID');
    if (max <= this.remoteMax) return false;
    this.remoteMax = Math.min(max, MAX_PATH_ID);
    return true;
  }

  /** PATHS_BLOCKED, PATH_CIDS_BLOCKED: informational, but an id beyond what we allow is an error (draft §4.7, §4.8). */
  checkAllowed(id: number, frame: string): void {
    if (this.localMax === undefined) throw notNegotiated(frame);
    if (id > this.localMax) {
      throw new TransportError(
        'PROTOCOL_VIOLATION',
        `${frame}: path id ${id} is above the limit ${this.localMax}`,
      );
    }
  }

  /**
   * The peer gave a path up: it may open another (noq raises the limit by one for each). A peer that opens and abandons
   * faster than paths are forgotten waits until they are.
   */
  grantOneMore(): void {
    if (this.list.length - this.openCount() > MAX_LINGERING_PATHS) this.#owed++;
    else this.#grant();
  }

  #grant(): void {
    if (this.localMax === undefined || this.localMax >= MAX_PATH_ID) return;
    this.localMax++;
    this.maxPathIdPending = true;
  }
}

/** A multipath frame although multipath is off: draft-ietf-quic-multipath §2.1. */
export function notNegotiated(frame: string): TransportError {
  return new TransportError('PROTOCOL_VIOLATION', `${frame}: multipath was not negotiated`);
}
