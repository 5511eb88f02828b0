/**
 * Where an endpoint is in its life.
 *
 * @module
 */

/** `closing` from the call of `close` until all is free. */
export type EndpointState = 'open' | 'closing' | 'closed';
