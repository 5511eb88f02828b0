/**
 * Datagrams between endpoints of one process, without sockets: for tests, for the browser bundle's self-check, and as the
 * second implementation that keeps the interface honest.
 *
 * @module
 */
import type { Clock } from '../base/clock.ts';
import { toAddr, type Addr } from '../base/socket-addr.ts';
import type { Datagram, Transmit } from '../quic/engine.ts';
import type { BindRequest, DatagramTransport } from './datagram.ts';

/** Ports given out when any will do. */
const FIRST_EPHEMERAL_PORT = 49_152;
/** Where a socket bound to "any" is reached. */
const LOOPBACK = { 4: '127.0.0.1', 6: '::1' } as const;

/** A network of its own. Addresses look like IP addresses but lead nowhere else. */
export class MemoryNetwork {
  readonly #clock: Clock;
  readonly #sockets = new Map<Addr, MemoryTransport>();
  #nextPort = FIRST_EPHEMERAL_PORT;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Binds a socket. @throws {Error} when the address is taken. */
  bind(request: BindRequest): DatagramTransport {
    const port = request.port === 0 ? this.#nextPort++ : request.port;
    const bound = toAddr(request.ip, port);
    const reachable = bound.bytes.every((byte) => byte === 0) ? toAddr(LOOPBACK[bound.family], port) : bound;
    if (this.#sockets.has(reachable)) {
      throw Object.assign(new Error(`address in use: ${bound.text}`), { code: 'EADDRINUSE' });
    }
    const socket = new MemoryTransport(bound, reachable, this, this.#clock);
    this.#sockets.set(reachable, socket);
    return socket;
  }

  deliver(transmit: Transmit, from: Addr): void {
    // A copy: the sender reuses its buffer.
    this.#sockets.get(transmit.to)?.receive(transmit.data.slice(), from);
  }

  release(reachable: Addr): void {
    this.#sockets.delete(reachable);
  }
}

class MemoryTransport implements DatagramTransport {
  readonly localAddr: Addr;
  readonly queued = 0;
  readonly sendErrors = 0;
  onDatagrams: ((batch: readonly Datagram[]) => void) | undefined;
  onDrained: (() => void) | undefined;
  readonly #reachable: Addr;
  readonly #network: MemoryNetwork;
  readonly #clock: Clock;
  #batch: Datagram[] = [];
  #isClosed = false;

  constructor(localAddr: Addr, reachable: Addr, network: MemoryNetwork, clock: Clock) {
    this.localAddr = localAddr;
    this.#reachable = reachable;
    this.#network = network;
    this.#clock = clock;
  }

  send(batch: readonly Transmit[], from: number, to: number): void {
    for (let i = from; i < to && !this.#isClosed; i++) this.#network.deliver(batch[i]!, this.#reachable);
  }

  receive(data: Uint8Array, from: Addr): void {
    if (this.#isClosed) return;
    if (this.#batch.length === 0) this.#clock.defer(() => this.#deliver());
    this.#batch.push({ from, local: this.localAddr, data });
  }

  #deliver(): void {
    const batch = this.#batch;
    this.#batch = [];
    if (!this.#isClosed) this.onDatagrams?.(batch);
  }

  close(): Promise<void> {
    this.#isClosed = true;
    this.#network.release(this.#reachable);
    return Promise.resolve();
  }
}
