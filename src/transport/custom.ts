/**
 * Transports that an application brings along, beside UDP and relays (upstream `iroh/src/socket/transports/custom.rs`).
 *
 * @module
 */

/** A datagram on a custom transport. */
export interface CustomDatagram {
  /** Where it came from, in the transport's own terms. */
  readonly from: Uint8Array;
  /** At which of our addresses it arrived, if the transport can tell. */
  readonly to?: Uint8Array | undefined;
  /** Owned by the endpoint from now on. */
  readonly data: Uint8Array;
}

/** A bound custom transport. */
export interface CustomSocket {
  /** Addresses under which others reach us, in the transport's own terms; part of the endpoint's address. */
  readonly localAddrs: readonly Uint8Array[];
  /** Set by the endpoint; to be called when {@link localAddrs} changed. */
  onLocalAddrs: (() => void) | undefined;
  /** Set by the endpoint; to be called with what arrived. */
  onDatagrams: ((batch: readonly CustomDatagram[]) => void) | undefined;
  /** Sends one datagram of up to 1,472 bytes. `data` may change after the call. What it throws is a lost datagram. */
  send(to: Uint8Array, data: Uint8Array): void;
  /** Frees the transport. */
  close(): void | PromiseLike<void>;
}

/** A transport of the application's own. Its paths are preferred to relays, as direct ones are. */
export interface CustomTransport {
  /** Its number, 0 to 2^64 − 1: both ends must use the same. 0 to 0x1f are reserved. */
  readonly id: bigint;
  /** Called when the endpoint is bound. */
  bind(): CustomSocket | PromiseLike<CustomSocket>;
}
