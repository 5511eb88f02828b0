/**
 * Entry `iroh-ts/lookup/mdns`: finding endpoints of the local network, wire-compatible with `iroh-mdns-address-lookup`. Node only.
 *
 * @module
 */
export { MdnsLookup, type DiscoveryEvent, type MdnsLookupOptions } from '../actors/mdns-lookup.ts';
export type { MdnsFault } from '../address-lookup/mdns-swarm.ts';
export type { AddrFilter, LookupAnswer, PublishedData } from '../address-lookup/service.ts';
export type { LookupHost } from '../actors/lookup-host.ts';
export { EndpointAddr } from '../base/endpoint-addr.ts';
export { EndpointId } from '../base/endpoint-id.ts';
export { MdnsError, type ErrorCode } from '../base/errors.ts';
