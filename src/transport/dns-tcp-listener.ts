/**
 * DNS over TCP: messages with their length in front (RFC 1035 §4.2.2, RFC 7766).
 *
 * @module
 */
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { toAddr, type Addr } from '../base/socket-addr.ts';

/** A connection on which nothing complete has come for so long is dropped, ms. RFC 7766 §6.2.3 asks for a few seconds. */
const IDLE_TIMEOUT_MS = 5_000;
/** Most bytes of a question; names and EDNS options need a few hundred. */
const MAX_QUESTION_BYTES = 4_096;
const LENGTH_BYTES = 2;

/** What a listener does. */
export interface DnsTcpListenerOptions {
  readonly ip: string;
  readonly port: number;
  /** Further connections are dropped at once. */
  readonly maxConnections: number;
  /** Undefined drops the connection. Must not reject. */
  readonly answer: (question: Uint8Array) => Promise<Uint8Array | undefined>;
}

/** A listening socket. */
export class DnsTcpListener {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor({ maxConnections, answer }: DnsTcpListenerOptions) {
    this.#server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
      void serve(socket, answer);
    });
    this.#server.maxConnections = maxConnections;
  }

  /** @throws the system's error, e.g. EADDRINUSE. */
  static async listen(options: DnsTcpListenerOptions): Promise<DnsTcpListener> {
    const listener = new DnsTcpListener(options);
    const server = listener.#server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host: options.ip, port: options.port, ipv6Only: options.ip.includes(':') }, () => {
        server.removeListener('error', reject);
        resolve();
      });
    });
    return listener;
  }

  /** Where it listens. */
  get localAddr(): Addr {
    const { address, port } = this.#server.address() as AddressInfo;
    return toAddr(address, port);
  }

  /** Drops all connections, and resolves when all is freed. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}

/** One question after the other: the next is read when the answer is on its way. */
async function serve(socket: Socket, answer: DnsTcpListenerOptions['answer']): Promise<void> {
  const timer = setTimeout(() => socket.destroy(), IDLE_TIMEOUT_MS);
  let pending = Buffer.alloc(0);
  try {
    for await (const chunk of socket) {
      pending = Buffer.concat([pending, chunk as Buffer]);
      while (pending.length >= LENGTH_BYTES) {
        const length = pending.readUInt16BE(0);
        if (length > MAX_QUESTION_BYTES) return;
        const end = LENGTH_BYTES + length;
        if (pending.length < end) break;
        const reply = await answer(new Uint8Array(pending.subarray(LENGTH_BYTES, end)));
        if (reply === undefined || socket.destroyed) return;
        timer.refresh();
        const prefix = Buffer.alloc(LENGTH_BYTES);
        prefix.writeUInt16BE(reply.length);
        // Who does not read gets no more answers.
        if (!socket.write(Buffer.concat([prefix, reply]))) await drained(socket);
        pending = pending.subarray(end);
      }
    }
  } catch {
    // It broke.
  } finally {
    clearTimeout(timer);
    socket.destroySoon();
    // What was not taken by then never will be.
    if (!socket.destroyed) socket.setTimeout(IDLE_TIMEOUT_MS, () => socket.destroy());
  }
}

function drained(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      socket.removeListener('drain', done);
      socket.removeListener('close', done);
      resolve();
    };
    socket.on('drain', done);
    socket.on('close', done);
  });
}
