/**
 * WebSockets as a server has them, through `ws`: an upgraded HTTP connection becomes a {@link RelaySocket}.
 *
 * @module
 */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import { WebSocketServer } from 'ws';
import type { RelaySocket } from './relay-socket.ts';
import { WS_OPTIONS, WsSocket } from './ws-socket.ts';

/** Upgrades of one listener. */
export class WebSocketUpgrader {
  readonly #server: WebSocketServer;
  #protocol = '';

  /** @param headers - Further headers of every 101. */
  constructor(headers: Readonly<Record<string, string>>) {
    this.#server = new WebSocketServer({
      ...WS_OPTIONS,
      noServer: true,
      clientTracking: false,
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
    const tls = socket instanceof TLSSocket ? socket : undefined;
    this.#server.handleUpgrade(request, socket, head, (ws) => onOpen(new WsSocket(ws, socket, tls)));
  }
}
