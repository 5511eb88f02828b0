/**
 * UDP through `node:dgram`.
 *
 * Receives in bursts: libuv reads up to 32 datagrams per loop turn and socket, and all of them go to the engine together.
 * Sends without callbacks (a callback per datagram costs a tenth of the throughput), but for one datagram now and then: without
 * one, Node says nothing of a refusal. libuv sends at once while its queue is empty.
 *
 * @module
 */
import { createSocket, type Socket } from 'node:dgram';
import type { Clock, Millis } from '../base/clock.ts';
import { toAddr, type Addr } from '../base/socket-addr.ts';
import type { Datagram, Transmit } from '../quic/engine.ts';
import type { BindRequest, DatagramTransport } from './datagram.ts';

/** Asked for in both directions; the system grants what its limits allow. Upstream asks for the same (net-tools `udp.rs`). */
export const SOCKET_BUFFER_BYTES = 7 * 1_024 * 1_024;

/** One datagram in so many milliseconds is sent with a callback. */
const SAMPLE_INTERVAL_MS = 250;
/** What systems say when an address or a route is gone. Linux says EINVAL for an address of ours that is gone. */
const NO_ROUTE: ReadonlySet<unknown> = new Set([
  'ENETUNREACH',
  'ENETDOWN',
  'EHOSTUNREACH',
  'EADDRNOTAVAIL',
  'EINVAL',
]);

class UdpTransport implements DatagramTransport {
  readonly localAddr: Addr;
  onDatagrams: ((batch: readonly Datagram[]) => void) | undefined;
  onDrained: (() => void) | undefined;
  onNoRoute: (() => void) | undefined;
  sendErrors = 0;
  readonly #socket: Socket;
  readonly #clock: Clock;
  #batch: Datagram[] = [];
  /** The source of the latest datagram: the next one mostly comes from there. */
  #lastFrom: Addr | undefined;
  #isClosed = false;
  #isWatchingQueue = false;
  #sampledAt: Millis = -Infinity;
  readonly #onSampled = (error: Error | null): void => {
    if (error === null || this.#isClosed) return;
    this.sendErrors++;
    if (NO_ROUTE.has((error as { code?: unknown }).code)) this.onNoRoute?.();
  };

  constructor(socket: Socket, clock: Clock) {
    this.#socket = socket;
    this.#clock = clock;
    const { address, port } = socket.address();
    this.localAddr = toAddr(address, port);
    socket.on('message', (data, { address: ip, port: from }) => this.#onMessage(data, ip, from));
    // Errors of single datagrams (ICMP unreachable and the like) are losses.
    socket.on('error', () => this.sendErrors++);
  }

  #onMessage(data: Uint8Array, ip: string, port: number): void {
    let from = this.#lastFrom;
    if (from === undefined || from.port !== port || from.ip !== ip) {
      // Port 0 is no address that can be answered.
      if (port === 0) return;
      this.#lastFrom = from = toAddr(ip, port);
    }
    if (this.#batch.length === 0) this.#clock.defer(() => this.#deliver());
    this.#batch.push({ from, local: this.localAddr, data });
  }

  #deliver(): void {
    const batch = this.#batch;
    this.#batch = [];
    if (!this.#isClosed) this.onDatagrams?.(batch);
  }

  send(batch: readonly Transmit[], from: number, to: number): void {
    if (this.#isClosed) return;
    const socket = this.#socket;
    const now = this.#clock.now();
    let onSent = now - this.#sampledAt >= SAMPLE_INTERVAL_MS ? this.#onSampled : undefined;
    if (onSent !== undefined) this.#sampledAt = now;
    for (let i = from; i < to; i++) {
      const { data, to: remote } = batch[i]!;
      try {
        socket.send(data, 0, data.length, remote.port, remote.ip, onSent);
        onSent = undefined;
      } catch {
        this.sendErrors++;
      }
    }
    if (this.queued > 0) this.#watchQueue();
  }

  get queued(): number {
    return this.#isClosed ? 0 : this.#socket.getSendQueueCount();
  }

  /** The system's buffer is full, which is rare: looks again every turn until it is not. */
  #watchQueue(): void {
    if (this.#isWatchingQueue) return;
    this.#isWatchingQueue = true;
    const look = (): void => {
      if (this.queued > 0) {
        this.#clock.defer(look);
        return;
      }
      this.#isWatchingQueue = false;
      this.onDrained?.();
    };
    this.#clock.defer(look);
  }

  close(): Promise<void> {
    if (this.#isClosed) return Promise.resolve();
    this.#isClosed = true;
    return new Promise((resolve) => this.#socket.close(() => resolve()));
  }
}

/** Binds a UDP socket; IPv6 sockets take IPv6 only. @throws the system's error, e.g. EADDRINUSE. */
export function bindUdp(request: BindRequest, clock: Clock): Promise<DatagramTransport> {
  const isV6 = request.ip.includes(':');
  // Literals only: without this the resolver is asked for each datagram, on the thread pool.
  const lookup = (
    hostname: string,
    _options: unknown,
    callback: (error: null, address: string, family: number) => void,
  ): void => callback(null, hostname, isV6 ? 6 : 4);
  const socket = createSocket({ type: isV6 ? 'udp6' : 'udp4', ipv6Only: isV6, lookup });
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.bind({ address: request.ip, port: request.port, exclusive: true }, () => {
      socket.removeListener('error', reject);
      for (const set of ['setRecvBufferSize', 'setSendBufferSize'] as const) {
        try {
          socket[set](SOCKET_BUFFER_BYTES);
        } catch {
          // The default works too, with more loss at high rates.
        }
      }
      resolve(new UdpTransport(socket, clock));
    });
  });
}
