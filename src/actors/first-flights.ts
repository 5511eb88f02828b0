/**
 * Where the first packets of a dial go while nobody knows which address works: to all of them (upstream: mixed address).
 *
 * @module
 */
import type { EndpointId } from '../base/endpoint-id.ts';
import type { Addr } from '../base/socket-addr.ts';
import type { MappedAddrs } from './mapped-addrs.ts';

/** The targets of dials whose handshake runs. */
export class FirstFlights {
  readonly #mapped: MappedAddrs;
  readonly #flights = new Map<Addr, { readonly targets: Addr[]; dials: number }>();

  constructor(mapped: MappedAddrs) {
    this.#mapped = mapped;
  }

  /** One address that stands for all `targets`, and for those of other dials of the same peer, until {@link end}. */
  begin(id: EndpointId, targets: readonly Addr[]): Addr {
    const addr = this.#mapped.ofEndpoint(id);
    this.#mapped.hold(addr);
    let flight = this.#flights.get(addr);
    if (flight === undefined) {
      flight = { targets: [], dials: 0 };
      this.#flights.set(addr, flight);
    }
    flight.dials++;
    for (const target of targets) if (!flight.targets.includes(target)) flight.targets.push(target);
    return addr;
  }

  /** A dial's handshake has settled on an address, or failed. */
  end(addr: Addr): void {
    this.#mapped.release(addr);
    const flight = this.#flights.get(addr);
    if (flight === undefined) return;
    flight.dials--;
    if (flight.dials === 0) this.#flights.delete(addr);
  }

  /** Real addresses for a mapped one; undefined for all others. */
  targetsOf(addr: Addr): readonly Addr[] | undefined {
    return this.#flights.size === 0 ? undefined : this.#flights.get(addr)?.targets;
  }
}
