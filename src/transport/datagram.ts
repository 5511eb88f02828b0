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
