/**
 * What carries datagrams for the engine: UDP in Node, memory in tests and in one process.
 *
 * @module
 */
import type { Addr } from '../base/socket-addr.ts';
import type { Datagram, Transmit } from '../quic/engine.ts';

/** A bound socket. */
export interface DatagramTransport {
  /** Where it is bound; the port is real, the ip may be "any". */
  readonly localAddr: Addr;
  /** Called with everything that arrived in one burst. Set once, before anything else. */
  onDatagrams: ((batch: readonly Datagram[]) => void) | undefined;
  /** Called when {@link queued} falls to 0 after it was above. */
  onDrained: (() => void) | undefined;
  /** Called when the system knows no way to a peer: the network may have changed. Seldom, however often that is so. */
  onNoRoute?: (() => void) | undefined;
  /** Sends, in order. Never throws: what cannot be sent counts as lost. Data may be reused once `queued` is 0. */
  send(batch: readonly Transmit[], from: number, to: number): void;
  /** Datagrams that the system has not taken yet. */
  readonly queued: number;
  /** Datagrams that the system refused. */
  readonly sendErrors: number;
  /** Frees the socket. Idempotent. */
  close(): Promise<void>;
}

/** How a socket is asked for. */
export interface BindRequest {
  /** A literal; `0.0.0.0` or `::` for all interfaces. */
  readonly ip: string;
  /** 0: any. */
  readonly port: number;
}

/** A socket in a multicast group. */
export interface MulticastTransport {
  /** Called with each datagram to the group's port, our own ones included; the data are borrowed. */
  onDatagram: ((data: Uint8Array, from: Addr) => void) | undefined;
  /** Sends to the group. Never throws: what cannot be sent counts as lost. */
  send(data: Uint8Array): void;
  /** Datagrams that the system refused, and other failures; not those of joining. */
  readonly sendErrors: number;
  /** The latest of them. */
  readonly lastError: unknown;
  /** Why it is in the group no more; undefined while it is. */
  readonly joinError: unknown;
  /** Joins the group again: the interface on which it was joined may be another one by now. @returns whether that worked. */
  rejoin(): boolean;
  /** Frees the socket; resolves when it is freed, each time. */
  close(): Promise<void>;
}

/** How a socket in a multicast group is asked for. */
export interface MulticastRequest {
  /** Its address and port. */
  readonly group: Addr;
  /** Routers that a datagram may pass, over IPv4. Over IPv6 none may, the system's default. */
  readonly ttl: number;
}
