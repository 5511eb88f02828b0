/**
 * Paths of a quiche connection, as the interface has them: several that a client probes and may move to, one that moves for a
 * server (RFC 9000 §9).
 *
 * @module
 */
import type { Millis } from '../base/clock.ts';
import type { Addr } from '../base/socket-addr.ts';
import type {
  Datagram,
  FourTuple,
  NetworkChangeHint,
  PathAbandonReason,
  PathId,
  PathInfo,
  PathStatus,
} from '../quic/engine.ts';
import { PathError } from '../quic/paths/path-table.ts';
import type { PathStats } from '../quic/stats.ts';
import { type Connection, type NativePathEvent, type PathStats as NativePathStats } from './native.ts';
import { idleAt, keepAliveAt, newPath, type Path, type PathsOwner } from './path.ts';
import { LOCAL, Places, type Place } from './places.ts';
import { pathStatsOf } from './stats.ts';

/** Paths that a client has open at a time; as many as iroh's multipath connections have. */
export const MAX_OPEN_PATHS = 8;
/** Probe time-outs without hearing from the peer that make a path stalled, as in our own engine. */
const STALL_TIMEOUTS = 2;

/** The paths of one connection. */
export class QuichePaths {
  readonly #owner: PathsOwner;
  readonly #native: Connection;
  readonly #paths: Path[] = [];
  readonly #places: Places;
  #active: Path;
  /** Client: to be moved to as soon as it is validated. */
  #wanted: Path | undefined;
  #nextId = 1;
  /** Probe time-outs since the peer was heard. */
  #timeouts = 0;
  #isRemoteKnown = false;

  constructor(owner: PathsOwner, tuple: FourTuple, now: Millis) {
    this.#owner = owner;
    this.#native = owner.native;
    this.#places = new Places(owner.native);
    const place = this.#places.make(tuple.remote, tuple.local);
    place.isKnown = place.isProven = true;
    place.cid = 0;
    this.#active = newPath(0, place, 'available', owner.transport, now);
    this.#active.validated = true;
    this.#paths.push(this.#active);
  }

  get remote(): Addr {
    return this.#active.place.remote;
  }

  get local(): Addr | undefined {
    return this.#active.place.local;
  }

  /** Paths that were ever opened, or addresses of the peer that were seen. */
  get seen(): number {
    return this.#places.count;
  }

  // --- datagrams ----------------------------------------------------------------------------------------------------------

  /** Under which place quiche shall see a datagram; undefined: it is to be dropped. */
  placeOf({ from, local }: Datagram, now: Millis): Place | undefined {
    const { side, isEstablished, transport } = this.#owner;
    const first = this.#active.place;
    if (!isEstablished) {
      // Copies of the client's first flight come over all its paths; the one that came first is answered.
      if (side === 'server' || from === first.remote) return this.#places.see(first, local);
      return transport.serverHandshakeMigration && !this.#isRemoteKnown ? first : undefined;
    }
    if (side === 'client') {
      let found: Path | undefined;
      for (const path of this.#paths) {
        if (path.place.remote !== from) continue;
        if (path.place.local === undefined || path.place.local === local)
          return this.#places.see(path.place, local);
        found ??= path;
      }
      return found && this.#places.see(found.place, undefined);
    }
    const known = from === first.remote ? first : this.#places.find(from);
    if (known !== undefined) return this.#places.see(known, local);
    // quiche may have taken some of this burst for genuine: those do not make room.
    if (this.#places.isFull) this.poll(now);
    return this.#places.makeBounded(from, local);
  }

  /** Client: an authentic packet of the handshake came from there. */
  setServerAddr({ from, local }: Datagram, now: Millis): void {
    this.#isRemoteKnown = true;
    const { place } = this.#active;
    if (place.remote === from) return;
    place.remote = from;
    this.#active.heardAt = now;
    if (local !== undefined) place.local = local;
    this.#owner.emit({ type: 'pathMigrated', path: 0, to: { remote: from, local } });
  }

  /** All datagrams of a burst were handed to quiche. @param isAuthentic - Something in it was. */
  onBurst(isAuthentic: boolean, now: Millis): void {
    const seen = this.#places.takeSeen();
    if (!isAuthentic) {
      for (const place of seen) place.seenLocal = undefined;
      return;
    }
    this.#timeouts = 0;
    this.#resume(this.#active);
    // With one place it is clear where.
    const stats = seen.length > 1 || this.#paths.length > 1 ? this.#nativeStats() : undefined;
    for (const place of seen) {
      const { seenLocal } = place;
      place.seenLocal = undefined;
      if (stats !== undefined) {
        const heard = stats.get(place.port)?.recv ?? 0;
        if (heard <= place.heard) continue;
        place.heard = heard;
      }
      if (seenLocal !== undefined) place.local = seenLocal;
      const path = this.#pathAt(place.port);
      if (path === undefined) continue;
      path.heardAt = now;
      // What came before may have been under way when it fell silent. quiche tells of the first validation only.
      if (path.probedAt > path.stalledAt) this.#resume(path);
    }
  }

  /** A probe time-out went off while data or a probe was unacknowledged. */
  onTimeout(now: Millis): void {
    if (++this.#timeouts < STALL_TIMEOUTS || this.#active.stalled) return;
    this.#active.stalled = true;
    this.#active.stalledAt = now;
    this.#owner.emit({ type: 'pathStalled', path: this.#active.id });
  }

  /** Where a packet goes that quiche made for the place of this port. */
  placeAt(port: number): Place | undefined {
    return this.#places.at(port);
  }

  // --- events of quiche -----------------------------------------------------------------------------------------------------

  poll(now: Millis): void {
    for (;;) {
      const event = this.#native.pathEventNext() as NativePathEvent | null;
      if (event === null) break;
      this.#onEvent(event, now);
    }
    // There was no connection id to move with.
    if (this.#wanted?.validated === true) this.#tryMove(this.#wanted);
    const waiting = this.#paths.filter(
      ({ validated, place }) => !validated && place.heardBefore !== undefined,
    );
    if (waiting.length === 0) return;
    for (const stats of this.#native.pathStats())
      for (const path of waiting)
        if (path.place.port === stats.peerHost.port && stats.recv > path.place.heardBefore!)
          this.#onValidated(path, now);
  }

  #onEvent(event: NativePathEvent, now: Millis): void {
    switch (event.type) {
      case 'New': {
        const place = this.#places.at(event.peer.port);
        if (place !== undefined) place.isKnown = true;
        return;
      }
      case 'PeerMigrated':
        this.#onPeerMigrated(event.new.port);
        return;
      case 'Validated': {
        const place = this.#places.at(event.peer.port);
        if (place !== undefined) place.isProven = true;
        const path = this.#pathAt(event.peer.port);
        if (path !== undefined) this.#onValidated(path, now);
        return;
      }
      case 'FailedValidation':
        this.#onFailed(event.peer.port);
        return;
      case 'Closed':
        this.#onFailed(event.peer.port);
        return;
      case 'ReusedSourceConnectionId':
        return;
    }
  }

  #onPeerMigrated(port: number): void {
    const place = this.#places.at(port);
    const path = this.#active;
    if (place === undefined || path.place === place) return;
    path.place = place;
    this.#timeouts = 0;
    this.#owner.emit({
      type: 'pathMigrated',
      path: path.id,
      to: { remote: place.remote, local: place.local },
    });
    this.#resume(path);
  }

  #onValidated(path: Path, now: Millis): void {
    if (this.#owner.side === 'server') return;
    path.heardAt = now;
    if (!path.validated) {
      path.validated = true;
      this.#owner.emit({ type: 'pathEstablished', path: path.id });
    }
    if (this.#wanted === path) this.#tryMove(path);
  }

  #onFailed(port: number): void {
    if (this.#owner.side === 'server') return;
    const path = this.#pathAt(port);
    if (path === undefined) return;
    if (path !== this.#active) return this.#abandon(path, { type: 'validationFailed' });
    // quiche has moved to another path by itself, or has closed the connection.
    const now = this.#native.pathStats().find((stats) => stats.active);
    const place = now && this.#places.at(now.peerHost.port);
    if (place === undefined || place === path.place) return;
    const other = this.#pathAt(place.port) ?? this.#paths.find((each) => each !== path && each.validated);
    if (other !== undefined && (other.place === place || this.#tryMove(other))) {
      this.#active = other;
      this.#timeouts = 0;
      return this.#abandon(path, { type: 'validationFailed' });
    }
    // That of a closed path, and no other is open.
    this.#places.take(place);
    this.#places.free(path.place);
    path.place = place;
    const { remote, local } = place;
    this.#owner.emit({ type: 'pathMigrated', path: path.id, to: { remote, local } });
  }

  // --- time -----------------------------------------------------------------------------------------------------------------

  /** When {@link handleTimeout} has something to do. */
  deadline(): Millis {
    let deadline = Infinity;
    if (this.#owner.side === 'server' || !this.#owner.isEstablished) return deadline;
    for (const path of this.#paths)
      if (path !== this.#active) deadline = Math.min(deadline, idleAt(path), keepAliveAt(path));
    return deadline;
  }

  /** Client: probes the paths that carry no data, and gives silent ones up. */
  handleTimeout(now: Millis): void {
    if (this.#owner.side === 'server' || !this.#owner.isEstablished) return;
    for (const path of [...this.#paths]) {
      if (path === this.#active) continue;
      if (now >= idleAt(path)) this.#abandon(path, { type: 'timedOut' });
      else if (now >= keepAliveAt(path)) this.#probe(path, now);
    }
  }

  /** What may not survive is given up; what carries data is validated anew, with another connection id (RFC 9000 §9.5). */
  handleNetworkChange(hint: NetworkChangeHint | undefined, now: Millis): void {
    if (this.#owner.side === 'server' || !this.#owner.isEstablished) return;
    const isLost = ({ id, place }: Path): boolean =>
      hint !== undefined && !hint(id, { remote: place.remote, local: place.local }).recoverable;
    const active = this.#active;
    if (isLost(active)) {
      const other = this.#paths.find((path) => path !== active && path.validated && !isLost(path));
      if (other !== undefined) this.#tryMove(other);
    }
    for (const path of [...this.#paths]) {
      if (path === this.#active) {
        // No spare connection id: the old one has to do.
        if (!this.#renew(path, now)) this.#native.sendAckEliciting();
      } else if (isLost(path)) this.#abandon(path, { type: 'unusableAfterNetworkChange' });
      else this.#probe(path, now);
    }
  }

  /** Gives a path another place in quiche, and so another connection id. Returns whether quiche had one. */
  #renew(path: Path, now: Millis): boolean {
    const old = path.place;
    const place = this.#places.acquire(
      old.remote,
      old.local,
      path === this.#active ? 'migrate' : 'probePath',
    );
    if (typeof place === 'string') return false;
    path.place = place;
    path.probedAt = now;
    this.#places.release(old);
    return true;
  }

  /** Where packets may go to, the path that carries data first. */
  places(): Place[] {
    const others = this.#paths.filter((path) => path !== this.#active);
    return [this.#active, ...others].map(({ place }) => place);
  }

  /**
   * Client: quiche cannot send to this place any more. That is a defect of quiche 0.18: a path that the server answers on with the
   * connection id of another one is lost with that id.
   * @returns Whether packets may go elsewhere now.
   */
  replace(place: Place, now: Millis): boolean {
    const path = this.#pathAt(place.port);
    if (path === undefined) return false;
    if (this.#renew(path, now)) return true;
    if (path !== this.#active) {
      this.#abandon(path, { type: 'validationFailed' });
      return false;
    }
    const other = this.#paths.find((each) => each !== path && each.validated);
    return other !== undefined && this.#tryMove(other);
  }

  // --- calls of the interface -----------------------------------------------------------------------------------------------

  list(): PathInfo[] {
    const natives = this.#nativeStats();
    return this.#paths.map(({ id, place, status, validated, stalled }) => ({
      id,
      remote: place.remote,
      local: place.local,
      status,
      validated,
      stalled,
      rttMs: natives.get(place.port)?.rtt ?? 0,
    }));
  }

  stats(id: PathId): PathStats | undefined {
    const path = this.#byId(id);
    const native = path && this.#nativeStats().get(path.place.port);
    return native && pathStatsOf(native);
  }

  open(tuple: FourTuple, status: PathStatus, now: Millis): PathId {
    const { side, isClosed, isEstablished } = this.#owner;
    if (side === 'server') throw new PathError('serverSideNotAllowed', 'only the client opens paths');
    if (isClosed) throw new PathError('closedPath', 'the connection is closed');
    for (const path of this.#paths) {
      const { remote, local } = path.place;
      if (
        remote === tuple.remote &&
        (tuple.local === undefined || local === undefined || local === tuple.local)
      ) {
        if (status === 'available') this.setStatus(path.id, status);
        // Whoever asks again has reason to hope.
        if (path !== this.#active && (!path.validated || path.stalled)) this.#probe(path, now);
        return path.id;
      }
    }
    if (!isEstablished) throw new PathError('remoteCidsExhausted', 'the handshake is not complete');
    if (this.#paths.length >= MAX_OPEN_PATHS)
      throw new PathError('maxPathIdReached', `no more than ${MAX_OPEN_PATHS} paths`);
    const place = this.#places.acquire(tuple.remote, tuple.local, 'probePath');
    if (typeof place === 'string') throw new PathError('remoteCidsExhausted', `no path: ${place}`);
    const path = newPath(this.#nextId++, place, status, this.#owner.transport, now);
    this.#paths.push(path);
    if (status === 'available') this.#wanted = path;
    return path.id;
  }

  close(id: PathId, code: number): void {
    if (this.#owner.side === 'server')
      throw new PathError('serverSideNotAllowed', 'only the client closes paths');
    const path = this.#find(id);
    if (path === this.#active) {
      const other = this.#paths.find((each) => each !== path && each.validated && !each.stalled);
      if (other === undefined) throw new PathError('lastOpenPath', 'no other path is open');
      this.#moveTo(other);
    }
    this.#abandon(path, { type: 'applicationClosed', code });
  }

  setStatus(id: PathId, status: PathStatus): PathStatus {
    const path = this.#find(id);
    const before = path.status;
    path.status = status;
    if (this.#owner.side === 'server') return before;
    if (status === 'available') {
      this.#wanted = path;
      if (path.validated) this.#moveTo(path);
    } else if (this.#wanted === path) {
      this.#wanted = undefined;
    }
    return before;
  }

  setMaxIdle(id: PathId, idleMs: Millis | undefined): void {
    const path = this.#byId(id);
    if (path !== undefined) path.maxIdleMs = idleMs;
  }

  setKeepAlive(id: PathId, intervalMs: Millis | undefined): void {
    const path = this.#byId(id);
    if (path !== undefined) path.keepAliveMs = intervalMs;
  }

  ping(id: PathId, now: Millis): void {
    const path = this.#byId(id);
    if (path === undefined) return;
    if (path === this.#active) this.#native.sendAckEliciting();
    else this.#probe(path, now);
  }

  /** The connection ended. */
  end(): void {
    for (const path of this.#paths)
      this.#owner.emit({ type: 'pathAbandoned', path: path.id, reason: { type: 'connectionClosed' } });
  }

  // --- inside -----------------------------------------------------------------------------------------------------------

  /** @throws {PathError} */
  #moveTo(path: Path): void {
    const failure = this.#move(path);
    if (failure !== undefined) throw new PathError('remoteCidsExhausted', `cannot move: ${failure}`);
  }

  #tryMove(path: Path): boolean {
    return this.#move(path) === undefined;
  }

  /** Returns why quiche refuses. */
  #move(path: Path): string | undefined {
    if (path !== this.#active) {
      const failure = this.#places.ask(path.place, 'migrate');
      if (failure !== undefined) return failure;
      this.#active = path;
      this.#timeouts = 0;
      this.#resume(path);
      // Tells the server at once, though there may be nothing to send.
      this.#native.sendAckEliciting();
      this.#owner.touch();
    }
    if (this.#wanted === path) this.#wanted = undefined;
    return undefined;
  }

  #resume(path: Path): void {
    if (!path.stalled) return;
    path.stalled = false;
    this.#owner.emit({ type: 'pathResumed', path: path.id });
  }

  #probe(path: Path, now: Millis): void {
    path.probedAt = now;
    try {
      this.#native.probePath(LOCAL, path.place.host);
      this.#owner.touch();
    } catch {
      this.#abandon(path, { type: 'validationFailed' });
    }
  }

  #abandon(path: Path, reason: PathAbandonReason): void {
    const stats = this.stats(path.id);
    this.#paths.splice(this.#paths.indexOf(path), 1);
    if (this.#wanted === path) this.#wanted = undefined;
    this.#places.release(path.place);
    this.#owner.emit({ type: 'pathAbandoned', path: path.id, reason });
    if (stats !== undefined) this.#owner.emit({ type: 'pathDiscarded', path: path.id, stats });
    this.#owner.touch();
  }

  #pathAt(port: number): Path | undefined {
    return this.#paths.find((path) => path.place.port === port);
  }

  #byId(id: PathId): Path | undefined {
    return this.#paths.find((path) => path.id === id);
  }

  #find(id: PathId): Path {
    const path = this.#byId(id);
    if (path === undefined) throw new PathError('closedPath', `path ${id} is not open`);
    return path;
  }

  #nativeStats(): Map<number, NativePathStats> {
    return new Map(this.#native.pathStats().map((stats) => [stats.peerHost.port, stats]));
  }
}
