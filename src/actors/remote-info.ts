/**
 * What an application may learn about a peer.
 *
 * @module
 */
import type { EndpointId } from '../base/endpoint-id.ts';
import type { RemoteAddr } from '../base/remote-addr.ts';

/** How an address of a peer fares. */
export interface RemoteInfoAddr {
  /** Where the peer is, or was. */
  readonly addr: RemoteAddr;
  /** `active` while a path is open there. */
  readonly usage: 'active' | 'inactive';
  /** Who told us: `app`, `connection`, or the name of a lookup service. */
  readonly sources: readonly string[];
}

/** What is known of a peer. */
export interface RemoteInfo {
  /** The peer. */
  readonly id: EndpointId;
  /** Each address once. */
  readonly addrs: readonly RemoteInfoAddr[];
}
