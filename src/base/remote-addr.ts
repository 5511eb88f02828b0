/**
 * Where a peer is reached, as an application sees it.
 *
 * @module
 */
import { toHex } from './bytes.ts';
import type { EndpointId } from './endpoint-id.ts';
import type { RelayUrl } from './relay-url.ts';
import type { Addr } from './socket-addr.ts';

/** The far end of a path. */
export type RemoteAddr =
  /** Directly, over UDP. */
  | {
      /** A direct path. */
      readonly type: 'ip';
      /** IP and UDP port. */
      readonly addr: Addr;
    }
  /** Through a relay, which vouches for the id; it is authenticated by the handshake only. */
  | {
      /** A relayed path. */
      readonly type: 'relay';
      /** Which relay. */
      readonly url: RelayUrl;
      /** Who is behind it. */
      readonly endpointId: EndpointId;
    }
  /** By a transport of the application's own: its number, and an address of its own making. */
  | {
      /** A path over a transport of the application's own. */
      readonly type: 'custom';
      /** Which transport, 0 to 2^64 − 1. */
      readonly id: bigint;
      /** Its own business. */
      readonly data: Uint8Array;
    };

/** `ip:<ip>:<port>`, `relay:<url>` or `custom:<id hex>_<data hex>`. */
export function formatRemoteAddr(addr: RemoteAddr): string {
  switch (addr.type) {
    case 'ip':
      return `ip:${addr.addr.text}`;
    case 'relay':
      return `relay:${addr.url.href}`;
    case 'custom':
      return `custom:${addr.id.toString(16)}_${toHex(addr.data)}`;
  }
}
