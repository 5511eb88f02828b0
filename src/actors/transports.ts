/**
 * The sockets of an endpoint as one: binds them, and picks the one that a datagram leaves from
 * (upstream `iroh/src/socket/transports.rs`).
 *
 * @module
 */
import { BindError } from '../base/errors.ts';
import type { EndpointId } from '../base/endpoint-id.ts';
import type { Metrics } from '../base/metrics.ts';
import { sharesPrefix, type Addr } from '../base/socket-addr.ts';
import type { TransportAddr } from '../base/transport-addr.ts';
import type { LocalSocket } from '../machines/direct-addrs.ts';
import type { Datagram, Transmit } from '../quic/engine.ts';
import type { DatagramTransport } from '../transport/datagram.ts';
import type { CustomTransport } from '../transport/custom.ts';
import type { Platform } from '../transport/platform.ts';
import { plan, type BindOptions } from './bind-plan.ts';
import { CustomTransports } from './custom-transports.ts';
import { NO_SOCKET_ADDR, type MappedAddrs } from './mapped-addrs.ts';
import type { RelayManager } from './relay-manager.ts';

interface BoundSocket {
  /** Replaced by {@link Transports.rebind}. */
  transport: DatagramTransport;
  readonly prefixLength: number;
  readonly isDefault: boolean;
  readonly requestedPort: number;
}

/** How {@link Transports} are made. */
export interface TransportsOptions {
  readonly platform: Platform;
  readonly mapped: MappedAddrs;
  readonly metrics: Metrics;
  /** Undefined: none, for endpoints that use relays only. */
  readonly bind: readonly (string | BindOptions)[] | undefined;
  /** Transports of the application's own. */
  readonly custom: readonly CustomTransport[];
}

/** All that carries datagrams for one endpoint. */
export class Transports {
  onDatagrams: ((batch: readonly Datagram[]) => void) | undefined;
  onDrained: (() => void) | undefined;
  /** A socket knows no way to a peer. */
  onNoRoute: (() => void) | undefined;
  /** Where first flights to a peer go: all its addresses, mapped ones among them. */
  targetsOf: (id: EndpointId) => readonly Addr[] = () => [];
  readonly #platform: Platform;
  readonly #mapped: MappedAddrs;
  readonly #metrics: Metrics;
  readonly #sockets: BoundSocket[];
  readonly #custom: CustomTransports;
  #relays: RelayManager | undefined;
  readonly #one: Transmit[] = [];
  readonly #payloads: Uint8Array[] = [];
  #isClosed = false;
  /** The last {@link rebind}; never rejects. */
  #rebound: Promise<void> = Promise.resolve();

  private constructor(options: TransportsOptions, sockets: BoundSocket[]) {
    this.#platform = options.platform;
    this.#mapped = options.mapped;
    this.#metrics = options.metrics;
    // Longest prefix first: the first match is the best.
    this.#sockets = sockets.sort((a, b) => b.prefixLength - a.prefixLength);
    for (const { transport } of sockets) this.#listen(transport);
    this.#custom = new CustomTransports(options.custom, options.mapped, (batch) => {
      this.#metrics.add('recv_data_custom', bytesOf(batch, 0, batch.length));
      this.#metrics.add('recv_datagrams', batch.length);
      this.onDatagrams?.(batch);
    });
  }

  /** @throws {BindError | InvalidSocketAddrError} */
  static async bind(options: TransportsOptions): Promise<Transports> {
    const sockets: BoundSocket[] = [];
    const plans = options.bind === undefined ? [] : plan(options.bind);
    const { bindUdp } = options.platform;
    // Browsers have relays only.
    for (const { addr, prefixLength, required, isDefault } of bindUdp === undefined ? [] : plans) {
      try {
        const transport = await bindUdp!({ ip: addr.ip, port: addr.port });
        sockets.push({ transport, prefixLength, isDefault, requestedPort: addr.port });
      } catch (error) {
        if (!required) continue;
        await Promise.all(sockets.map(({ transport }) => transport.close()));
        throw new BindError('BindError.Sockets', `cannot bind ${addr.text}`, error);
      }
    }
    const transports = new Transports(options, sockets);
    try {
      await transports.#custom.bind();
    } catch (error) {
      await transports.close();
      throw new BindError('BindError.CreateQuicEndpoint', 'a custom transport could not be bound', error);
    }
    return transports;
  }

  #listen(transport: DatagramTransport): void {
    transport.onDatagrams = (batch) => {
      this.#countReceived(batch);
      this.onDatagrams?.(batch);
    };
    transport.onDrained = () => {
      if (this.queued === 0) this.onDrained?.();
    };
    transport.onNoRoute = () => this.onNoRoute?.();
  }

  /** Datagrams to and from relays go this way. Set once. */
  useRelays(relays: RelayManager): void {
    this.#relays = relays;
    relays.onDatagrams = (batch) => {
      let bytes = 0;
      const datagrams = batch.map(({ url, from, data }) => {
        bytes += data.length;
        return { from: this.#mapped.ofRelay(url, from), local: NO_SOCKET_ADDR, data };
      });
      this.#metrics.add('recv_data_relay', bytes);
      this.#metrics.add('recv_datagrams', batch.length);
      this.onDatagrams?.(datagrams);
    };
  }

  #countReceived(batch: readonly Datagram[]): void {
    let v4 = 0;
    let v6 = 0;
    for (const { from, data } of batch) {
      if (from.family === 4) v4 += data.length;
      else v6 += data.length;
    }
    if (v4 > 0) this.#metrics.add('recv_data_ipv4', v4);
    if (v6 > 0) this.#metrics.add('recv_data_ipv6', v6);
    this.#metrics.add('recv_datagrams', batch.length);
  }

  /** Where each socket is bound, and which port was asked for. */
  get sockets(): LocalSocket[] {
    return this.#sockets.map(({ transport, requestedPort }) => ({
      addr: transport.localAddr,
      requestedPort,
    }));
  }

  get localAddrs(): Addr[] {
    return this.#sockets.map(({ transport }) => transport.localAddr);
  }

  get queued(): number {
    let queued = 0;
    for (const { transport } of this.#sockets) queued += transport.queued;
    return queued;
  }

  get sendErrors(): number {
    let errors = 0;
    for (const { transport } of this.#sockets) errors += transport.sendErrors;
    return errors;
  }

  /** Addresses of the application's own transports. */
  get customAddrs(): readonly TransportAddr[] {
    return this.#custom.localAddrs;
  }

  /** Called when {@link customAddrs} changed. */
  set onCustomAddrs(listener: () => void) {
    this.#custom.onLocalAddrs = listener;
  }

  /** Sends a batch: runs of one destination go to one transport with one call. */
  send(batch: readonly Transmit[]): void {
    let start = 0;
    while (start < batch.length) {
      const { to, local } = batch[start]!;
      let end = start + 1;
      while (end < batch.length && batch[end]!.to === to && batch[end]!.local === local) end++;
      this.#sendRun(batch, start, end, to, local);
      start = end;
    }
  }

  #sendRun(batch: readonly Transmit[], start: number, end: number, to: Addr, local: Addr | undefined): void {
    const mapped = this.#mapped.lookup(to);
    if (mapped === undefined) {
      const transport = this.#route(to, local);
      if (transport === undefined) return;
      transport.send(batch, start, end);
      this.#metrics.add(to.family === 4 ? 'send_ipv4' : 'send_ipv6', bytesOf(batch, start, end));
    } else if (mapped.type === 'relay') {
      const payloads = this.#payloads;
      payloads.length = 0;
      for (let i = start; i < end; i++) payloads.push(batch[i]!.data);
      this.#relays?.send(mapped.url, mapped.endpointId.toBytes(), payloads, 0, payloads.length);
      this.#metrics.add('send_relay', bytesOf(batch, start, end));
    } else if (mapped.type === 'custom') {
      this.#custom.send(mapped, batch, start, end);
      this.#metrics.add('send_custom', bytesOf(batch, start, end));
    } else {
      this.#sendToAll(batch, start, end, this.targetsOf(mapped.id));
    }
  }

  /** The first flight of a dial goes to every address that is known (upstream: mixed address). */
  #sendToAll(batch: readonly Transmit[], start: number, end: number, targets: readonly Addr[]): void {
    for (const to of targets) {
      for (let i = start; i < end; i++) {
        this.#one[0] = { to, local: undefined, data: batch[i]!.data };
        this.#sendRun(this.#one, 0, 1, to, undefined);
      }
    }
  }

  /** The socket for a destination; undefined: no route, the datagram counts as lost. */
  #route(to: Addr, local: Addr | undefined): DatagramTransport | undefined {
    let fallback: DatagramTransport | undefined;
    for (const { transport, prefixLength, isDefault } of this.#sockets) {
      const bound = transport.localAddr;
      if (bound.family !== to.family) continue;
      if (local !== undefined) {
        if (bound === local) return transport;
      } else if (prefixLength > 0 && sharesPrefix(bound.bytes, to.bytes, prefixLength)) {
        return transport;
      }
      if (isDefault) fallback ??= transport;
    }
    return fallback;
  }

  /**
   * Binds every socket anew, on the port that it has: what was bound to a network that is gone may send nowhere.
   * @throws what binding throws; a socket that cannot be bound anew is closed, and the next call tries again.
   */
  rebind(): Promise<void> {
    const rebinding = this.#rebind();
    this.#rebound = rebinding.catch(() => undefined);
    return rebinding;
  }

  async #rebind(): Promise<void> {
    const bindUdp = this.#platform.bindUdp!;
    let failure: { readonly error: unknown } | undefined;
    for (const socket of this.#sockets) {
      if (this.#isClosed) return;
      const { ip, port } = socket.transport.localAddr;
      await socket.transport.close();
      try {
        const transport = await bindUdp({ ip, port });
        socket.transport = transport;
        this.#listen(transport);
        // It was closed meanwhile.
        if (this.#isClosed) await transport.close();
      } catch (error) {
        failure = { error };
      }
    }
    // What waited for the old sockets to drain goes on.
    if (!this.#isClosed) this.onDrained?.();
    if (failure !== undefined) throw failure.error;
  }

  /** Frees all sockets, those that {@link rebind} is about to bind included. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.onDatagrams = undefined;
    await Promise.all([...this.#sockets.map(({ transport }) => transport.close()), this.#custom.close()]);
    await this.#rebound;
  }
}

function bytesOf(batch: readonly { readonly data: Uint8Array }[], start: number, end: number): number {
  let bytes = 0;
  for (let i = start; i < end; i++) bytes += batch[i]!.data.length;
  return bytes;
}
