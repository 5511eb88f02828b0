/**
 * A network of the application's own, in virtual time: endpoints on it are known by name, and nothing is lost.
 *
 * @module
 */
import { fromUtf8, utf8 } from '../../src/base/bytes.ts';
import type { TransportAddr } from '../../src/base/transport-addr.ts';
import type { CustomSocket, CustomTransport } from '../../src/transport/custom.ts';
import type { SimClock } from './sim-clock.ts';

/** Whom custom transports of one number reach. */
export class SimCustomNetwork {
  readonly id: bigint;
  /** One way, ms. */
  delayMs: number;
  /** Datagrams under way. */
  inFlight = 0;
  readonly #clock: SimClock;
  readonly #sockets = new Map<string, CustomSocket>();

  constructor(clock: SimClock, id = 0x2a_0000n, delayMs = 5) {
    this.#clock = clock;
    this.id = id;
    this.delayMs = delayMs;
  }

  /** Sockets that are bound. */
  get size(): number {
    return this.#sockets.size;
  }

  addrOf(name: string): TransportAddr {
    return { type: 'custom', id: this.id, data: utf8(name) };
  }

  /** For the option `transports` of one endpoint. */
  transport(name: string): CustomTransport {
    const from = utf8(name);
    return {
      id: this.id,
      bind: () => {
        const socket: CustomSocket = {
          localAddrs: [from],
          onLocalAddrs: undefined,
          onDatagrams: undefined,
          send: (to, data) => this.#send(from, fromUtf8(to), data.slice()),
          close: () => void this.#sockets.delete(name),
        };
        this.#sockets.set(name, socket);
        return socket;
      },
    };
  }

  #send(from: Uint8Array, to: string, data: Uint8Array): void {
    this.inFlight++;
    this.#clock.setTimeout(() => {
      this.inFlight--;
      this.#sockets.get(to)?.onDatagrams?.([{ from, data, to: utf8(to) }]);
    }, this.delayMs);
  }
}
