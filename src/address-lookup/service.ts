/**
 * What an address lookup service is: it may tell others where we are, and find out where others are.
 *
 * @module
 */
import type { EndpointAddr } from '../base/endpoint-addr.ts';
import type { EndpointId } from '../base/endpoint-id.ts';
import type { TransportAddr } from '../base/transport-addr.ts';

/** What an endpoint tells its services about itself. */
export interface PublishedData {
  /** Who and where, already filtered. */
  readonly addr: EndpointAddr;
  /** What the application adds. */
  readonly userData?: string | undefined;
}

/** An answer with more than addresses. */
export interface LookupAnswer {
  /** Who, and where. */
  readonly addr: EndpointAddr;
  /** What the other application published beside its addresses. */
  readonly userData?: string | undefined;
  /** Who knew, if not the service itself. */
  readonly provenance?: string | undefined;
}

/** One service. It may publish, resolve, or do both. What it throws hurts no other service. */
export interface AddressLookup {
  /** For logs and errors. */
  readonly name: string;
  /** How long one {@link resolve} may take, ms; `Infinity` for no limit. Default 10 s. */
  readonly timeLimitMs?: number | undefined;
  /** Called with each change, and once when the service is added. Must not wait. */
  publish?(data: PublishedData): void;
  /** Finds addresses; each answer adds to those before. `signal` aborts when nobody wants more. */
  resolve?(
    id: EndpointId,
    options: { readonly signal: AbortSignal },
  ): AsyncIterable<EndpointAddr | LookupAnswer>;
  /** Frees what the service holds. */
  close?(): void | PromiseLike<void>;
}

/** Chooses what services are told. */
export type AddrFilter = (addrs: readonly TransportAddr[]) => readonly TransportAddr[];
