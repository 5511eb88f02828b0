/**
 * What is known about the addresses of one peer: where each was heard of, and how it fared
 * (upstream `iroh/src/socket/remote_map/remote_state/path_state.rs`). Survives connections. Pure but for its own table.
 *
 * @module
 */
import type { Millis } from '../base/clock.ts';
import type { Addr } from '../base/socket-addr.ts';

/** Pruning begins at so many addresses that are no relays; upstream `MAX_NON_RELAY_PATHS`. */
export const MAX_NON_RELAY_PATHS = 30;
/** So many of those that once worked are kept; upstream `MAX_INACTIVE_NON_RELAY_PATHS`. */
export const MAX_INACTIVE_NON_RELAY_PATHS = 10;
/** Names of sources kept for one address. */
const MAX_SOURCES = 8;

/** How an address fared. */
export type AddrStatus = 'unknown' | 'open' | 'inactive' | 'unusable';
/** What happens to an address. */
export type AddrEvent = 'open' | 'abandon';

/** The life of a peer's address (behaviour of upstream's `PathStatus`). */
export const addrStatusTable: Record<AddrStatus, Partial<Record<AddrEvent, AddrStatus>>> = {
  unknown: { open: 'open', abandon: 'unusable' },
  open: { abandon: 'inactive' },
  inactive: { open: 'open', abandon: 'inactive' },
  unusable: { open: 'open', abandon: 'unusable' },
};

/** One address of a peer. */
export interface KnownAddr {
  readonly addr: Addr;
  readonly isRelay: boolean;
  readonly status: AddrStatus;
  /** When the last path there ended, for `inactive` ones. */
  readonly inactiveSince: Millis;
  /** Who told us, each with the time of the first report. */
  readonly sources: ReadonlyMap<string, Millis>;
}

interface Entry extends KnownAddr {
  status: AddrStatus;
  inactiveSince: Millis;
  readonly sources: Map<string, Millis>;
}

/** All addresses of one peer. */
export class KnownAddrs {
  readonly #entries = new Map<Addr, Entry>();

  get size(): number {
    return this.#entries.size;
  }

  has(addr: Addr): boolean {
    return this.#entries.has(addr);
  }

  [Symbol.iterator](): IterableIterator<KnownAddr> {
    return this.#entries.values();
  }

  /** Notes an address. @returns whether it is new. */
  insert(addr: Addr, isRelay: boolean, source: string, now: Millis): boolean {
    const entry = this.#entries.get(addr);
    if (entry !== undefined) {
      if (!entry.sources.has(source) && entry.sources.size < MAX_SOURCES) entry.sources.set(source, now);
      return false;
    }
    const sources = new Map([[source, now]]);
    this.#entries.set(addr, { addr, isRelay, status: 'unknown', inactiveSince: 0, sources });
    return true;
  }

  /** A path there opened, or the last one there ended. Unknown addresses are noted first. */
  on(event: AddrEvent, addr: Addr, isRelay: boolean, now: Millis): void {
    this.insert(addr, isRelay, 'connection', now);
    const entry = this.#entries.get(addr)!;
    entry.status = addrStatusTable[entry.status][event] ?? entry.status;
    if (entry.status === 'inactive') entry.inactiveSince = now;
  }

  /** Forgets what is of least use. @returns what was forgotten. */
  prune(): Addr[] {
    const gone = prunable([...this.#entries.values()]);
    for (const addr of gone) this.#entries.delete(addr);
    return gone;
  }
}

/**
 * Which addresses to forget once there are {@link MAX_NON_RELAY_PATHS}: all unusable ones (if all are unusable, down to
 * that number), and of those that once worked all but the latest {@link MAX_INACTIVE_NON_RELAY_PATHS}. Upstream's code keeps
 * so many only by chance; its comments mean this. Open, untried and relay addresses stay.
 */
export function prunable(known: readonly KnownAddr[]): Addr[] {
  const candidates = known.filter(({ isRelay }) => !isRelay);
  if (candidates.length < MAX_NON_RELAY_PATHS) return [];
  const unusable = candidates.filter(({ status }) => status === 'unusable');
  if (unusable.length === known.length) return unusable.slice(MAX_NON_RELAY_PATHS).map(({ addr }) => addr);
  const inactive = candidates
    .filter(({ status }) => status === 'inactive')
    .sort((a, b) => b.inactiveSince - a.inactiveSince);
  return [...unusable, ...inactive.slice(MAX_INACTIVE_NON_RELAY_PATHS)].map(({ addr }) => addr);
}
