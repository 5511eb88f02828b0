/**
 * DATAGRAM frames (RFC 9221) of a quiche connection: queues are quiche's, limits and edges are ours.
 *
 * @module
 */
import type { TransportConfig } from '../quic/config.ts';
import type { ConnectionEvent } from '../quic/engine.ts';
import type { Connection } from './native.ts';

/** Datagrams of one connection. */
export class DatagramQueue {
  readonly isEnabled: boolean;
  readonly #native: Connection;
  readonly #sendBytes: number;
  readonly #emit: (event: ConnectionEvent) => void;
  #isBlocked = false;
  /** How many were there when we last looked. */
  #seen = 0;

  constructor(native: Connection, transport: TransportConfig, emit: (event: ConnectionEvent) => void) {
    this.isEnabled = transport.datagramReceiveBufferSize !== undefined;
    this.#sendBytes = transport.datagramSendBufferSize;
    this.#native = native;
    this.#emit = emit;
  }

  get maxSize(): number | undefined {
    return this.#native.dgramMaxWritableLen() ?? undefined;
  }

  get space(): number {
    if (this.#native.isDgramSendQueueFull()) return 0;
    return Math.max(0, this.#sendBytes - this.#native.dgramSendQueueByteSize());
  }

  send(bytes: Uint8Array, drop: boolean): boolean {
    const { maxSize } = this;
    if (maxSize === undefined || bytes.length > maxSize) return false;
    // An empty one finds room in no full queue either.
    if (bytes.length > this.space || this.#native.isDgramSendQueueFull()) {
      if (!drop) {
        this.#isBlocked = true;
        return false;
      }
      this.#makeRoom(bytes.length);
    }
    this.#native.dgramSend(bytes);
    return true;
  }

  #makeRoom(wanted: number): void {
    let free = this.space;
    let isDropped = false;
    this.#native.dgramPurgeOutgoing((old) => {
      // The queue may be full by number, with bytes to spare.
      if (isDropped && free >= wanted) return false;
      isDropped = true;
      free += old.length;
      return true;
    });
  }

  read(): Uint8Array | undefined {
    const data = this.#native.dgramRecvVec();
    if (data === null) return undefined;
    this.#seen = Math.max(0, this.#seen - 1);
    return Uint8Array.from(data);
  }

  /** Raises events. */
  poll(): void {
    if (!this.isEnabled) return;
    const count = this.#native.dgramRecvQueueLen();
    if (count > this.#seen) this.#emit({ type: 'datagramReceived' });
    this.#seen = count;
    if (!this.#isBlocked || this.space === 0) return;
    this.#isBlocked = false;
    this.#emit({ type: 'datagramsUnblocked' });
  }
}
