/**
 * QUIC address discovery: telling a peer under which address we see it (draft-seemann-quic-address-discovery; noq
 * `noq-proto/src/address_discovery.rs`).
 *
 * @module
 */
import { LazySet } from '../../base/lazy-collections.ts';
import type { AddressDiscoveryRole } from '../config.ts';
import type { PathId } from '../engine.ts';
import { TransportError } from '../transport-error.ts';

/** Who may report to whom on one connection. */
export class AddressDiscovery {
  readonly #mayReceive: boolean;
  /** True when we report to the peer. */
  readonly reports: boolean;
  /** One counter for the connection, not per path. */
  #nextSequence = 0;
  readonly #latest = new Map<PathId, number>();
  /** Paths whose peer should be told its address. */
  readonly #pending = new LazySet<PathId>();

  constructor(local: AddressDiscoveryRole | undefined, remote: AddressDiscoveryRole | undefined) {
    this.reports = sends(local) && receives(remote);
    this.#mayReceive = sends(remote) && receives(local);
  }

  /** A path is new, moved, or is being challenged: report there. */
  queueReport(path: PathId): void {
    if (this.reports) this.#pending.add(path);
  }

  isPending(path: PathId): boolean {
    return this.#pending.has(path);
  }

  /** Takes the sequence number of a report that is being sent on `path`. */
  onSend(path: PathId): number {
    this.#pending.delete(path);
    return this.#nextSequence++;
  }

  /**
   * Takes a report of the peer.
   * @returns True when it is the newest for its path.
   * @throws {TransportError} PROTOCOL_VIOLATION when reports were not negotiated.
   */
  handleReport(path: PathId, sequence: number): boolean {
    if (!this.#mayReceive) {
      throw new TransportError('PROTOCOL_VIOLATION', 'OBSERVED_ADDRESS was not negotiated');
    }
    if (sequence <= (this.#latest.get(path) ?? -1)) return false;
    this.#latest.set(path, sequence);
    return true;
  }

  onPathDiscarded(path: PathId): void {
    this.#latest.delete(path);
    this.#pending.delete(path);
  }
}

function sends(role: AddressDiscoveryRole | undefined): boolean {
  return role === 'send' || role === 'both';
}

function receives(role: AddressDiscoveryRole | undefined): boolean {
  return role === 'receive' || role === 'both';
}
