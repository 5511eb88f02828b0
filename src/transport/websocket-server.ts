/**
 * WebSockets as a server has them, through `ws`: an upgraded HTTP connection becomes a {@link RelaySocket}.
 *
 * @module
 */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import type { Socket } from 'node:net';
import { WebSocketServer, type WebSocket } from 'ws';
import type { RelaySocket } from './relay-socket.ts';

/** Most bytes of a message; `MAX_FRAME_SIZE` of the relay protocol. More closes the connection. */
const MAX_MESSAGE_BYTES = 1_048_576;
/** Most bytes of a reason to close (RFC 6455 §5.5). */
const MAX_REASON_BYTES = 123;
/** How long the other end may take to answer a close, ms. */
const CLOSE_TIMEOUT_MS = 2_000;
const BINARY = { binary: true };

class ServerWebSocket implements RelaySocket {
  readonly protocol: string;
  readonly localIp: string | undefined;
  readonly remoteIp: string | undefined;
  readonly exportKeyingMaterial: RelaySocket['exportKeyingMaterial'];
  onMessage: ((data: Uint8Array) => void) | undefined;
  onClose: ((error: Error | undefined) => void) | undefined;
  onDrained: (() => void) | undefined;
  readonly #ws: WebSocket;
  #error: Error | undefined;
  #wasQueued = false;
  #closeTimer: NodeJS.Timeout | undefined;
  readonly #onSent = (): void => {
    if (!this.#wasQueued || this.#ws.bufferedAmount > 0) return;
    this.#wasQueued = false;
    this.onDrained?.();
  };

  constructor(ws: WebSocket, socket: Duplex) {
    this.#ws = ws;
    this.protocol = ws.protocol;
    const { localAddress, remoteAddress } = socket as Socket;
    this.localIp = plainIp(localAddress);
    this.remoteIp = plainIp(remoteAddress);
    this.exportKeyingMaterial =
      socket instanceof TLSSocket
        ? (length, label, context) => socket.exportKeyingMaterial(length, label, Buffer.from(context))
        : undefined;
    ws.on('message', (data, isBinary) => {
      // Text is no part of the protocol, and no offence (`iroh-relay/src/protos/streams.rs`).
      if (!isBinary) return;
      const { buffer, byteOffset, length } = data as Buffer;
      // Not the Buffer itself: its slice() does not copy.
      this.onMessage?.(new Uint8Array(buffer, byteOffset, length));
    });
    ws.on('error', (error) => (this.#error = error));
    ws.on('close', () => {
      clearTimeout(this.#closeTimer);
      this.onClose?.(this.#error);
    });
  }

  send(data: Uint8Array): void {
    const ws = this.#ws;
    if (ws.readyState !== ws.OPEN) return;
    ws.send(data, BINARY, this.#onSent);
    if (ws.bufferedAmount > 0) this.#wasQueued = true;
  }

  get queuedBytes(): number {
    return this.#ws.bufferedAmount;
  }

  pause(): void {
    this.#ws.pause();
  }

  resume(): void {
    this.#ws.resume();
  }

  close(code = 1_000, reason = ''): void {
    const ws = this.#ws;
    if (ws.readyState !== ws.OPEN) return;
    ws.close(code, Buffer.from(reason).subarray(0, MAX_REASON_BYTES));
    // Who does not read does not answer, either.
    this.#closeTimer = setTimeout(() => ws.terminate(), CLOSE_TIMEOUT_MS);
  }

  terminate(): void {
    this.#ws.terminate();
  }
}

/** IPv4 as such: sockets that take both families show it as an IPv6 address (RFC 4291 §2.5.5.2). */
function plainIp(ip: string | undefined): string | undefined {
  return ip?.replace(/^::ffff:(?=\d+\.)/, '');
}

/** Upgrades of one listener. */
export class WebSocketUpgrader {
  readonly #server: WebSocketServer;
  #protocol = '';

  /** @param headers - Further headers of every 101. */
  constructor(headers: Readonly<Record<string, string>>) {
    this.#server = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: MAX_MESSAGE_BYTES,
      skipUTF8Validation: true,
      handleProtocols: () => this.#protocol,
    });
    this.#server.on('headers', (lines) => {
      for (const [name, value] of Object.entries(headers)) lines.push(`${name}: ${value}`);
    });
  }

  /** Answers 101. @param protocol - The subprotocol that was chosen. */
  upgrade(
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    protocol: string,
    onOpen: (socket: RelaySocket) => void,
  ): void {
    // Its answer is given in this same call.
    this.#protocol = protocol;
    this.#server.handleUpgrade(request, socket, head, (ws) => onOpen(new ServerWebSocket(ws, socket)));
  }
}
