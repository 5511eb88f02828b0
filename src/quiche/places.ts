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
import type { Host } from './native.ts';

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
  /** Arguments of quiche's calls. */
  readonly host: Host;
  readonly info: { readonly from: Host; readonly to: Host };
  /** Server: quiche has a path there. */
  isKnown: boolean;
  /** Client: packets heard here before the path that uses it now was opened; undefined: no path used it before. */
  heardBefore: number | undefined;
  /** Sequence number of the peer's connection id in use there, if known. */
  cid: number | undefined;
}

/** All places of one connection. */
export class Places {
  readonly #all = new Map<number, Place>();
  /** Client: those of closed paths. quiche never forgets a path, so they are used again. */
  readonly #free: Place[] = [];
  #nextPort = FIRST_PEER.port;
  #count = 0;

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
      info: { from: host, to: LOCAL },
      isKnown: false,
      heardBefore: undefined,
      cid: undefined,
    };
    this.#all.set(place.port, place);
    return place;
  }

  /** Server: as {@link make}, but no more than {@link MAX_PLACES}: addresses that never sent anything authentic make room. */
  makeBounded(remote: Addr, local: Addr | undefined): Place | undefined {
    if (this.#all.size >= MAX_PLACES) {
      let oldest: Place | undefined;
      for (const place of this.#all.values()) if (!place.isKnown) oldest ??= place;
      if (oldest === undefined) return undefined;
      this.#all.delete(oldest.port);
    }
    return this.make(remote, local);
  }

  delete(place: Place): void {
    this.#all.delete(place.port);
  }

  /** A closed path's place for a new one. */
  reuse(remote: Addr, local: Addr | undefined): Place | undefined {
    const place = this.#free.pop();
    if (place === undefined) return undefined;
    place.remote = remote;
    place.local = local;
    return place;
  }

  /** Client: no path uses it any more. */
  free(place: Place): void {
    this.#free.push(place);
  }
}
