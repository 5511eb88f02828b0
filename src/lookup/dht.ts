/**
 * Entry `iroh-ts/lookup/dht`: finding endpoints through BitTorrent's Mainline DHT. Node only.
 *
 * @module
 */
export { DhtLookup, type DhtLookupOptions } from '../actors/dht-lookup.ts';
export { DhtError, type ErrorCode } from '../base/errors.ts';
