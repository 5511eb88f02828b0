/**
 * The application's own transports, kept apart from the rest: what they throw is theirs.
 *
 * @module
 */
import type { TransportAddr } from '../base/transport-addr.ts';
import type { Datagram, Transmit } from '../quic/engine.ts';
import type { CustomDatagram, CustomSocket, CustomTransport } from '../transport/custom.ts';
import { NO_SOCKET_ADDR, type MappedAddrs } from './mapped-addrs.ts';

/** Upstream's endpoint cap: longer ones cannot be QUIC packets of ours. */
const MAX_DATAGRAM_BYTES = 65_527;

/** All custom transports of one endpoint. */
export class CustomTransports {
  onLocalAddrs: (() => void) | undefined;
  readonly #transports: readonly CustomTransport[];
  readonly #mapped: MappedAddrs;
  readonly #onDatagrams: (batch: readonly Datagram[]) => void;
  readonly #sockets = new Map<bigint, CustomSocket>();
  #isClosed = false;

  constructor(
    transports: readonly CustomTransport[],
    mapped: MappedAddrs,
    onDatagrams: (batch: readonly Datagram[]) => void,
  ) {
    this.#transports = transports;
    this.#mapped = mapped;
    this.#onDatagrams = onDatagrams;
  }

  /** @throws what a transport throws; {@link RangeError} for two with one id. */
  async bind(): Promise<void> {
    for (const transport of this.#transports) {
      const { id } = transport;
      if (this.#sockets.has(id)) throw new RangeError(`two custom transports have the id ${id}`);
      const socket = await transport.bind();
      this.#sockets.set(id, socket);
      socket.onDatagrams = (batch) => this.#receive(id, batch);
      socket.onLocalAddrs = () => {
        if (!this.#isClosed) this.onLocalAddrs?.();
      };
    }
  }

  #receive(id: bigint, batch: readonly CustomDatagram[]): void {
    if (this.#isClosed) return;
    this.#onDatagrams(
      batch
        .filter(({ data }) => data.length <= MAX_DATAGRAM_BYTES)
        .map(({ from, to, data }) => {
          const addr = this.#mapped.ofCustom(id, from);
          if (to !== undefined) this.#mapped.noteArrival(addr, to);
          return { from: addr, local: NO_SOCKET_ADDR, data };
        }),
    );
  }

  /** Where others reach them. Never throws. */
  get localAddrs(): readonly TransportAddr[] {
    const addrs: TransportAddr[] = [];
    for (const [id, socket] of this.#sockets) {
      try {
        for (const data of socket.localAddrs) addrs.push({ type: 'custom', id, data: new Uint8Array(data) });
      } catch {
        // Where it is, it does not know itself.
      }
    }
    return addrs;
  }

  /** Never throws. An address of a transport that we do not have leads nowhere. */
  send(
    to: { readonly id: bigint; readonly data: Uint8Array },
    batch: readonly Transmit[],
    start: number,
    end: number,
  ): void {
    const socket = this.#sockets.get(to.id);
    if (socket === undefined || this.#isClosed) return;
    for (let i = start; i < end; i++) {
      try {
        socket.send(to.data, batch[i]!.data);
      } catch {
        // Lost, as on any network.
      }
    }
  }

  /** Never throws. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const closing = [...this.#sockets.values()].map(async (socket) => {
      try {
        await socket.close();
      } catch {
        // It is gone either way.
      }
    });
    await Promise.all(closing);
  }
}
