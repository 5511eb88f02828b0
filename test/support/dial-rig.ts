/**
 * What dialling a relay is tried against: servers of this host that misbehave in one way each, and a proxy.
 *
 * @module
 */
import { createHash } from 'node:crypto';
import { createServer as createHttpServer, type IncomingMessage, type Server as HttpServer } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { systemPlatform } from '#transport/system-platform';
import { RelayUrl } from '../../src/base/relay-url.ts';
import type { WebSocketRequest } from '../../src/transport/relay-socket.ts';
import { openWebSocket, type WebSocketDialer } from '../../src/transport/websocket.ts';
import type { TestCertificate } from './certificates.ts';

/** Node's clock, and names that all mean this host. */
export const localDialer: WebSocketDialer = {
  clock: systemPlatform.clock,
  resolve: async (_host, family) => (family === 4 ? ['127.0.0.1'] : []),
};

/** A request with the usual subprotocols. */
export function requestOf(url: string | RelayUrl, changes: Partial<WebSocketRequest> = {}): WebSocketRequest {
  return {
    url: typeof url === 'string' ? RelayUrl.parse(url) : url,
    protocols: ['iroh-relay-v2', 'iroh-relay-v1'],
    authToken: undefined,
    tls: undefined,
    proxy: undefined,
    preferIpv6: false,
    signal: new AbortController().signal,
    ...changes,
  };
}

/** Servers that are closed together, with all connections. */
export class DialRig {
  readonly #servers: (Server | HttpServer)[] = [];
  readonly #sockets = new Set<Socket>();

  /** Connections that clients have not ended. */
  get openConnections(): number {
    return this.#sockets.size;
  }

  /** Listens on this host. @returns the port. */
  async listen(server: Server | HttpServer): Promise<number> {
    this.#servers.push(server);
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => this.#sockets.delete(socket));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return (server.address() as AddressInfo).port;
  }

  /** Takes connections and says nothing. @param onConnection - A client is there. */
  silent(onConnection: () => void = () => undefined): Promise<number> {
    return this.listen(
      createServer((socket) => {
        socket.resume();
        onConnection();
      }),
    );
  }

  /** A web server that does as told with upgrades. */
  upgrading(
    onUpgrade: (request: IncomingMessage, socket: Duplex) => void,
    certificate?: TestCertificate,
  ): Promise<number> {
    const server =
      certificate === undefined
        ? createHttpServer()
        : createHttpsServer({ cert: certificate.chain, key: certificate.key });
    server.on('upgrade', (request: IncomingMessage, socket: Socket) => {
      onUpgrade(request, socket);
      // Else nobody would see its end.
      socket.on('end', () => socket.end()).resume();
    });
    return this.listen(server);
  }

  /** A proxy. @param seen - Gets what it is asked. @param certificate - It is reached by TLS. */
  proxy(seen: IncomingMessage[], certificate?: TestCertificate): Promise<number> {
    const server =
      certificate === undefined
        ? createHttpServer()
        : createHttpsServer({ cert: certificate.chain, key: certificate.key });
    server.on('connect', (request: IncomingMessage, socket: Socket) => {
      seen.push(request);
      const port = Number(/\d+$/.exec(request.url!)![0]);
      const onward = connect(port, '127.0.0.1', () => {
        socket.write('HTTP/1.1 200 OK\r\n\r\n');
        socket.pipe(onward).pipe(socket);
      });
      onward.on('error', () => socket.destroy());
      onward.on('close', () => socket.destroy());
      socket.on('error', () => onward.destroy());
      socket.on('close', () => onward.destroy());
    });
    return this.listen(server);
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all(
      this.#servers.splice(0).map((server) => new Promise((resolve) => server.close(resolve))),
    );
  }
}

/** The head of a 101. @param lines - Further headers. */
export function switching(request: IncomingMessage, lines: readonly string[]): string {
  const accept = createHash('sha1')
    .update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
    .digest('base64');
  return [
    'HTTP/1.1 101 Switching Protocols',
    'Upgrade: websocket',
    'Connection: Upgrade',
    `Sec-WebSocket-Accept: ${accept}`,
    ...lines,
    '\r\n',
  ].join('\r\n');
}

/** Dials with {@link localDialer}. */
export const dial = (request: WebSocketRequest): ReturnType<typeof openWebSocket> =>
  openWebSocket(request, localDialer);
