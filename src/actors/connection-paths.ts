/**
 * The open paths of one connection as an application sees them, and what happens to them. Written by the remote state of the
 * peer, and by nobody else (behaviour of upstream's path observer, `iroh/src/socket/remote_map/remote_state.rs`).
 *
 * @module
 */
import { Observable, Subject } from 'rxjs';
import type { RemoteAddr } from '../base/remote-addr.ts';
import type { Addr } from '../base/socket-addr.ts';
import { nextPathState, type PathState, type PathTransition } from '../machines/path.ts';
import type { SelectionReason } from '../machines/path-selection.ts';
import type { PathAbandonReason, PathId, PathStatus, QuicConnection } from '../quic/engine.ts';
import type { PathStats } from '../quic/stats.ts';
import { NO_SOCKET_ADDR, type MappedAddrs } from './mapped-addrs.ts';

/** A path of a connection, as it was when asked. */
export interface Path {
  /** Number of the path in this connection, 0 for the first; never reused. */
  readonly id: PathId;
  /** Where our packets go. */
  readonly remoteAddr: RemoteAddr;
  /** Bound address of the socket they leave from; undefined before anything arrived on the path, and where there is none. */
  readonly localAddr: Addr | undefined;
  /** On a custom transport that tells: at which of our addresses, in its own terms, the last datagram of the path arrived. */
  readonly localCustomAddr: Uint8Array | undefined;
  /** Data is sent here. */
  readonly isSelected: boolean;
  /** `available`, or `backup`: only used when nothing else is. */
  readonly status: PathStatus;
  /** Where it is in its life. */
  readonly state: PathState;
  /** Counters as of now. */
  readonly stats: PathStats;
}

/** A change of a connection's paths. */
export type PathEvent =
  /** The peer proved that it receives on this path. */
  | { readonly type: 'opened'; readonly id: PathId; readonly remoteAddr: RemoteAddr }
  /** The path is given up; `reason` says by whom and why. */
  | {
      readonly type: 'closed';
      readonly id: PathId;
      readonly remoteAddr: RemoteAddr;
      readonly reason: PathAbandonReason;
      /** Its counters at the end; undefined when those were gone before anybody asked. */
      readonly stats: PathStats | undefined;
    }
  /** Data goes here from now on. */
  | {
      readonly type: 'selected';
      readonly id: PathId;
      readonly remoteAddr: RemoteAddr;
      readonly reason: SelectionReason;
    }
  /** The peer's address on this path changed. */
  | { readonly type: 'moved'; readonly id: PathId; readonly remoteAddr: RemoteAddr }
  /** A slow reader of the iterator missed `missed` events. */
  | { readonly type: 'lagged'; readonly missed: number };

/** A registered path. */
export interface OpenPath {
  readonly id: PathId;
  /** Mapped, for relays and custom transports. */
  remote: Addr;
  local: Addr | undefined;
  state: PathState;
}

/** The paths of one connection. */
export class ConnectionPaths {
  readonly #quic: QuicConnection;
  readonly #mapped: MappedAddrs;
  readonly #open = new Map<PathId, OpenPath>();
  #selected: PathId | undefined;
  #reason: SelectionReason = 'established';
  #isRegistered = false;
  #isEnded = false;
  #events: Subject<PathEvent> | undefined;
  #changes: Subject<void> | undefined;

  constructor(quic: QuicConnection, mapped: MappedAddrs) {
    this.#quic = quic;
    this.#mapped = mapped;
  }

  /** Registered paths that are open, by id. */
  get open(): ReadonlyMap<PathId, OpenPath> {
    return this.#open;
  }

  /** The path that carries data; undefined while the peer's selected path is not open on this connection. */
  get selected(): PathId | undefined {
    return this.#selected;
  }

  /** True once {@link end} was called. */
  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** What is open now, as `opened` and `selected` events, then what happens; completes at the end of the connection. */
  readonly events$ = new Observable<PathEvent>((subscriber) => {
    for (const { id, remote } of this.#open.values())
      subscriber.next({ type: 'opened', id, remoteAddr: this.#describe(remote) });
    const selected = this.#selected === undefined ? undefined : this.#open.get(this.#selected);
    if (selected !== undefined)
      subscriber.next({
        type: 'selected',
        id: selected.id,
        remoteAddr: this.#describe(selected.remote),
        reason: this.#reason,
      });
    if (!this.#isEnded) return (this.#events ??= new Subject()).subscribe(subscriber);
    subscriber.complete();
    return undefined;
  });

  /** {@link snapshot} now and after each change; completes at the end of the connection. */
  readonly snapshots$ = new Observable<readonly Path[]>((subscriber) => {
    subscriber.next(this.snapshot);
    if (!this.#isEnded)
      return (this.#changes ??= new Subject()).subscribe({
        next: () => subscriber.next(this.snapshot),
        complete: () => subscriber.complete(),
      });
    subscriber.complete();
    return undefined;
  });

  /** Before the handshake is complete: the path that it runs on, once the peer has answered. */
  get snapshot(): readonly Path[] {
    const infos = this.#quic.paths();
    const paths: Path[] = [];
    for (const { id, remote, local, status } of infos) {
      const open = this.#open.get(id);
      // Where first flights go is no place.
      if (this.#isRegistered ? open === undefined : this.#mapped.lookup(remote)?.type === 'endpoint')
        continue;
      paths.push({
        id,
        remoteAddr: this.#describe(remote),
        localAddr: local === NO_SOCKET_ADDR ? undefined : local,
        localCustomAddr: this.#mapped.arrivalFrom(remote),
        isSelected: this.#isRegistered ? id === this.#selected : id === 0,
        status,
        state: open?.state ?? 'opening',
        stats: this.#quic.pathStats(id)!,
      });
    }
    return this.#isEnded ? [] : paths;
  }

  #tell(event: PathEvent): void {
    this.#events?.next(event);
    this.#changes?.next();
  }

  #describe(remote: Addr): RemoteAddr {
    return this.#mapped.describe(remote);
  }

  /** The connection has its owner now: only what it registers is a path. */
  register(): void {
    this.#isRegistered = true;
  }

  opened(id: PathId, remote: Addr, local: Addr | undefined): OpenPath {
    const path: OpenPath = { id, remote, local, state: nextPathState('opening', 'validated') };
    this.#open.set(id, path);
    this.#tell({ type: 'opened', id, remoteAddr: this.#describe(remote) });
    return path;
  }

  moved(id: PathId, remote: Addr, local: Addr | undefined): void {
    const path = this.#open.get(id);
    if (path === undefined) return;
    const isElsewhere = path.remote !== remote;
    path.remote = remote;
    path.local = local;
    if (isElsewhere) this.#tell({ type: 'moved', id, remoteAddr: this.#describe(remote) });
  }

  closed(id: PathId, reason: PathAbandonReason): OpenPath | undefined {
    const path = this.#open.get(id);
    if (path === undefined) return undefined;
    path.state = nextPathState(path.state, 'abandoned');
    this.#open.delete(id);
    if (this.#selected === id) this.#selected = undefined;
    this.#tell({
      type: 'closed',
      id,
      remoteAddr: this.#describe(path.remote),
      reason,
      stats: this.#quic.pathStats(id),
    });
    return path;
  }

  /** A change of one path's state that is no event of its own. */
  step(id: PathId, transition: PathTransition): void {
    const path = this.#open.get(id);
    if (path === undefined) return;
    path.state = nextPathState(path.state, transition);
    // It may have been the way of data all along, for lack of a better one.
    if (id === this.#selected) path.state = nextPathState(path.state, 'selected');
    this.#changes?.next();
  }

  /** Says which path carries data. @param id - An open one; undefined when the selected path is not open here. */
  select(id: PathId | undefined, reason: SelectionReason): void {
    if (id === this.#selected) return;
    const before = this.#selected === undefined ? undefined : this.#open.get(this.#selected);
    if (before !== undefined) before.state = nextPathState(before.state, 'deselected');
    this.#selected = id;
    this.#reason = reason;
    if (id === undefined) {
      this.#changes?.next();
      return;
    }
    const path = this.#open.get(id)!;
    path.state = nextPathState(path.state, 'selected');
    this.#tell({
      type: 'selected',
      id,
      remoteAddr: this.#describe(path.remote),
      reason,
    });
  }

  /** The connection is over: every open path is closed with its counters, and nothing follows. */
  end(): void {
    if (this.#isEnded) return;
    for (const id of [...this.#open.keys()]) this.closed(id, { type: 'connectionClosed' });
    this.#isEnded = true;
    this.#changes?.next();
    this.#events?.complete();
    this.#changes?.complete();
  }
}
