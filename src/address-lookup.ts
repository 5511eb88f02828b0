/**
 * Finding out where an endpoint is from its id alone.
 *
 * @module
 */
import type { LookupFactory } from './actors/lookup-host.ts';
import type { AddrFilter, AddressLookup } from './address-lookup/service.ts';
import { EndpointAddr } from './base/endpoint-addr.ts';
import type { EndpointId } from './base/endpoint-id.ts';

/** A phone book in memory: knows what the application puts in. Several endpoints may share one. */
export class MemoryLookup implements AddressLookup {
  readonly name: string;
  readonly #entries = new Map<string, EndpointAddr>();

  constructor(options: { readonly name?: string } = {}) {
    this.name = options.name ?? 'memory';
  }

  /** Adds addresses to those that are known of the endpoint. */
  add(addr: EndpointAddr | string): void {
    const added = EndpointAddr.from(addr);
    const known = this.get(added.id);
    this.#entries.set(added.id.toString(), known === undefined ? added : known.withAddrs(added.addrs));
  }

  /** Replaces what is known of the endpoint. @returns what was known before. */
  set(addr: EndpointAddr | string): EndpointAddr | undefined {
    const next = EndpointAddr.from(addr);
    const before = this.get(next.id);
    this.#entries.set(next.id.toString(), next);
    return before;
  }

  /** What is known of the endpoint. */
  get(id: EndpointId): EndpointAddr | undefined {
    return this.#entries.get(id.toString());
  }

  /** Forgets an endpoint. @returns what was known of it. */
  delete(id: EndpointId): EndpointAddr | undefined {
    const before = this.get(id);
    this.#entries.delete(id.toString());
    return before;
  }

  async *resolve(id: EndpointId): AsyncGenerator<EndpointAddr, void, undefined> {
    const known = this.get(id);
    if (known !== undefined) yield known;
  }
}

/** The lookup services of an endpoint. */
export interface AddressLookups {
  /** How many there are. */
  readonly size: number;
  /** Adds a service, or one that is made for this endpoint. It is told at once where the endpoint is. */
  add(service: AddressLookup | LookupFactory): void;
  /** Takes all services away. Those that were made for this endpoint are closed; others may be shared. */
  clear(): void;
  /** Chooses what services are told, from the next change on. */
  setFilter(filter: AddrFilter | undefined): void;
}
