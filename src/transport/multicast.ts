/**
 * Datagrams to everybody on the link, through `node:dgram`.
 *
 * @module
 */
import { createSocket, type Socket } from 'node:dgram';
import { toAddr, type Addr } from '../base/socket-addr.ts';
import type { MulticastRequest, MulticastTransport } from './datagram.ts';

class MulticastSocket implements MulticastTransport {
  onDatagram: ((data: Uint8Array, from: Addr) => void) | undefined;
  sendErrors = 0;
  lastError: unknown;
  joinError: unknown;
  readonly #socket: Socket;
  readonly #group: Addr;
  #closing: Promise<void> | undefined;
  readonly #onSent = (error: Error | null): void => {
    if (error !== null) this.#fail(error);
  };

  constructor(socket: Socket, group: Addr) {
    this.#socket = socket;
    this.#group = group;
    socket.on('message', (data, { address, port }) => {
      // Not the Buffer: what takes slices of it shall have copies.
      const bytes = new Uint8Array(data.buffer, data.byteOffset, data.length);
      if (this.#closing === undefined) this.onDatagram?.(bytes, toAddr(address, port));
    });
    socket.on('error', (error) => this.#fail(error));
  }

  send(data: Uint8Array): void {
    if (this.#closing !== undefined) return;
    try {
      this.#socket.send(data, 0, data.length, this.#group.port, this.#group.ip, this.#onSent);
    } catch (error) {
      this.#fail(error);
    }
  }

  rejoin(): boolean {
    if (this.#closing !== undefined) return false;
    try {
      this.#socket.dropMembership(this.#group.ip);
    } catch {
      // The interface is gone, and the membership with it.
    }
    try {
      this.#socket.addMembership(this.#group.ip);
      this.joinError = undefined;
      return true;
    } catch (error) {
      this.joinError = error;
      return false;
    }
  }

  #fail(error: unknown): void {
    this.sendErrors++;
    this.lastError = error;
  }

  close(): Promise<void> {
    return (this.#closing ??= new Promise((resolve) => this.#socket.close(() => resolve())));
  }
}

/**
 * Binds the group's port, beside others of this host who do the same, and joins the group on the interface that the system prefers.
 * What is sent is heard on this host, too.
 *
 * @throws the system's error, e.g. ENODEV where there is no way to the group.
 */
export function bindMulticast({ group, ttl }: MulticastRequest): Promise<MulticastTransport> {
  const isV6 = group.family === 6;
  // Literals only: without this the resolver is asked for each datagram, on the thread pool.
  const lookup = (
    hostname: string,
    _options: unknown,
    callback: (error: null, address: string, family: number) => void,
  ): void => callback(null, hostname, group.family);
  const socket = createSocket({
    type: isV6 ? 'udp6' : 'udp4',
    ipv6Only: isV6,
    reuseAddr: true,
    lookup,
  });
  return new Promise((resolve, reject) => {
    const fail = (error: Error): void => {
      socket.removeListener('error', fail);
      socket.close(() => reject(error));
    };
    socket.once('error', fail);
    socket.bind({ address: isV6 ? '::' : '0.0.0.0', port: group.port, exclusive: true }, () => {
      try {
        socket.setMulticastLoopback(true);
        if (!isV6) socket.setMulticastTTL(ttl);
        socket.addMembership(group.ip);
      } catch (error) {
        fail(error as Error);
        return;
      }
      socket.removeListener('error', fail);
      resolve(new MulticastSocket(socket, group));
    });
  });
}
