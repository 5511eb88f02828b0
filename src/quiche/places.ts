/**
 * Where the peer is or was, under addresses that are made up for quiche.
 *
 * quiche knows a path by two socket addresses. Here the local one is always the same, and the peer's has a port that stands for
 * a {@link Place}. So an address may become known late, carry a zone, or be another one than was dialled (the first flight of
 * iroh goes to all addresses of a peer at once), and a datagram costs no text.
 *
 * @module
 */
import type { Addr } from '../base/socket-addr.ts';
import { ACTIVE_CID_LIMIT } from './native-config.ts';
import { failureOf, type Connection, type Host } from './native.ts';

/** Addresses that a server keeps for one client. One more than quiche would take: the surplus is for what is not authentic. */
export const MAX_PLACES = ACTIVE_CID_LIMIT + 1;
const MAX_PORT = 65_535;

/** The local address of every path. */
export const LOCAL: Host = { host: '127.0.0.1', port: 1 };
/** The peer's of the first one. */
export const FIRST_PEER: Host = { host: LOCAL.host, port: 1 };

/** One address of the peer. */
export interface Place {
  readonly port: number;
  remote: Addr;
  local: Addr | undefined;
  /** Local address of datagrams of this burst, which may be anybody's. */
  seenLocal: Addr | undefined;
  /** Packets that were heard here, when we last looked. */
  heard: number;
  /** Arguments of quiche's calls. */
  readonly host: Host;
  readonly info: { readonly from: Host; readonly to: Host };
  /** Server: quiche has a path there. */
  isKnown: boolean;
  /** Client: quiche has validated it, for the remote that it has, and will not do so again. */
  isProven: boolean;
  /** Client: packets heard here before the path that uses it now was opened; undefined: quiche is to validate it. */
  heardBefore: number | undefined;
  /** Sequence number of the peer's connection id in use there, if known. */
  cid: number | undefined;
}

/** Calls that make quiche send to a place. */
export type PlaceCall = 'migrate' | 'probePath';

/** All places of one connection. */
export class Places {
  readonly #native: Connection;
  readonly #all = new Map<number, Place>();
  /** Client: those of closed paths. quiche never forgets a path, so they are used again. */
  readonly #free: Place[] = [];
  readonly #seen = new Set<Place>();
  #nextPort = FIRST_PEER.port;
  #count = 0;

  constructor(native: Connection) {
    this.#native = native;
  }

  /** How many there ever were. */
  get count(): number {
    return this.#count;
  }

  at(port: number): Place | undefined {
    return this.#all.get(port);
  }

  find(remote: Addr): Place | undefined {
    for (const place of this.#all.values()) if (place.remote === remote) return place;
    return undefined;
  }

  make(remote: Addr, local: Addr | undefined): Place {
    const host: Host = { host: LOCAL.host, port: this.#nextPort };
    do this.#nextPort = this.#nextPort === MAX_PORT ? 1 : this.#nextPort + 1;
    while (this.#all.has(this.#nextPort));
    this.#count++;
    const place: Place = {
      port: host.port,
      remote,
      local,
      host,
      seenLocal: undefined,
      heard: 0,
      info: { from: host, to: LOCAL },
      isKnown: false,
      isProven: false,
      heardBefore: undefined,
      cid: undefined,
    };
    this.#all.set(place.port, place);
    return place;
  }

  /** Server: as {@link make}, but no more than {@link MAX_PLACES}: addresses that never sent anything authentic make room. */
  makeBounded(remote: Addr, local: Addr | undefined): Place | undefined {
    if (this.isFull) {
      let oldest: Place | undefined;
      for (const place of this.#all.values()) if (!place.isKnown) oldest ??= place;
      if (oldest === undefined) return undefined;
      this.#all.delete(oldest.port);
      this.#seen.delete(oldest);
    }
    return this.make(remote, local);
  }

  /** Server: the next new one takes the place of another. */
  get isFull(): boolean {
    return this.#all.size >= MAX_PLACES;
  }

  /** Client: a place that quiche sends to, with a connection id of its own. Returns why there is none, if so. */
  acquire(remote: Addr, local: Addr | undefined, call: PlaceCall): Place | string {
    const reused = this.#reuse(remote, local);
    if (reused !== undefined) {
      reused.heardBefore = reused.isProven ? this.#heardAt(reused) : undefined;
      if (this.ask(reused, call) === undefined) return reused;
      this.free(reused);
    }
    const place = this.make(remote, local);
    const failure = this.ask(place, call);
    if (failure === undefined) return place;
    // quiche does not know it.
    this.#all.delete(place.port);
    this.#count--;
    return failure;
  }

  /**
   * A closed path's place for a new one. What quiche has validated for one address it would take as validated for another, so
   * only places that it never validated change theirs.
   */
  #reuse(remote: Addr, local: Addr | undefined): Place | undefined {
    let place = this.#free.find((each) => each.remote === remote);
    place ??= this.#free.find((each) => !each.isProven);
    if (place === undefined) return undefined;
    this.take(place);
    place.remote = remote;
    place.local = local;
    return place;
  }

  #heardAt({ port }: Place): number {
    return this.#native.pathStats().find(({ peerHost }) => peerHost.port === port)?.recv ?? 0;
  }

  /** Returns why quiche refuses. */
  ask(place: Place, call: PlaceCall): string | undefined {
    try {
      place.cid = this.#native[call](LOCAL, place.host);
      return undefined;
    } catch (error) {
      return failureOf(error).name;
    }
  }

  /** Client: no path uses it any more. */
  free(place: Place): void {
    this.#free.push(place);
  }

  /** As {@link free}; the next path there shall not be known by the same connection id (RFC 9000 §9.5). */
  release(place: Place): void {
    this.free(place);
    if (place.cid === undefined) return;
    try {
      this.#native.retireDestinationCid(place.cid);
    } catch {
      // It was retired before, or there is no other.
    }
  }

  /** Client: it is in use again. */
  take(place: Place): void {
    const index = this.#free.indexOf(place);
    if (index >= 0) this.#free.splice(index, 1);
  }

  /** A datagram came for it. */
  see(place: Place, local: Addr | undefined): Place {
    place.seenLocal = local ?? place.seenLocal;
    this.#seen.add(place);
    return place;
  }

  /** Those that {@link see} was told of since the last call. */
  takeSeen(): Place[] {
    const seen = [...this.#seen];
    this.#seen.clear();
    return seen;
  }
}
