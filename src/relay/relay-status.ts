/**
 * What is known about the connection to a relay.
 *
 * @module
 */
import type { RelayError } from '../base/errors.ts';
import type { RelayUrl } from '../base/relay-url.ts';

/** Something that a relay says about us, or about itself, while we are connected. */
export type RelayProblem =
  /** Another endpoint connected with our key: datagrams for us go there, until it leaves. */
  | 'sameEndpointId'
  /** We send more than the relay lets through. */
  | 'rateLimited'
  /** The relay is about to restart. */
  | 'restarting';

/** The connection to a relay. */
export interface RelayStatus {
  /** Which relay. */
  readonly url: RelayUrl;
  /** `connected`: the relay has confirmed who we are, and passes datagrams on. */
  readonly state: 'connecting' | 'connected' | 'disconnected';
  /** Why the last attempt failed or the last connection ended; gone once there is a connection again. */
  readonly lastError?: RelayError;
  /** What the relay said last, until it says that all is well or the next attempt begins. */
  readonly problem?: RelayProblem;
}

/** True when nobody could tell one from the other. */
export function isSameStatus(a: RelayStatus | undefined, b: RelayStatus | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.url.equals(b.url) && a.state === b.state && a.lastError === b.lastError && a.problem === b.problem;
}
