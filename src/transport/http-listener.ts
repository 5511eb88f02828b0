/**
 * A small HTTP server: answers at once or upgrades to a WebSocket; HTTP/1.1, with or without TLS.
 *
 * @module
 */
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { createServer as createHttpsServer, type Server as HttpsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { toAddr, type Addr } from '../base/socket-addr.ts';
import type { RelaySocket } from './relay-socket.ts';
import { WebSocketUpgrader } from './websocket-server.ts';

/** A connection that has not become a WebSocket by then is dropped (`iroh-relay/src/server/http_server.rs`). */
export const HTTP_CONNECTION_TIMEOUT_MS = 30_000;

/** A request. */
export interface ListenerRequest {
  readonly method: string;
  readonly path: string;
  /** Without the question mark. */
  readonly query: string;
  /** The first value of a header, by its name in lower case. */
  header(name: string): string | undefined;
  /** Who asks: an IP literal; empty when it has left already. */
  readonly peerIp: string;
  /** Empty where {@link HttpListenerOptions.maxBodyBytes} is 0. */
  readonly body: Uint8Array;
}

export interface ListenerResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array;
}

/** What a listener does. */
export interface HttpListenerOptions {
  readonly ip: string;
  readonly port: number;
  /** PEM; without it there is no TLS. */
  readonly tls?: { readonly cert: string; readonly key: string } | undefined;
  /** Most TCP connections at a time; further ones are dropped at once. */
  readonly maxConnections?: number | undefined;
  /** Headers of every 101. */
  readonly upgradeHeaders?: Readonly<Record<string, string>>;
  /** False drops a connection before anything is read of it. */
  readonly admits?: () => boolean;
  /** Bodies up to here are read before {@link answer} is asked, longer ones are answered 413. Default 0: not read at all. */
  readonly maxBodyBytes?: number | undefined;
  /** What it throws or rejects with becomes 500. */
  readonly answer: (request: ListenerRequest) => ListenerResponse | Promise<ListenerResponse>;
  /** A subprotocol, or a response instead of 101. Absent: no upgrades. */
  readonly judgeUpgrade?: (request: ListenerRequest) => { readonly protocol: string } | ListenerResponse;
  readonly onWebSocket?: (socket: RelaySocket, request: ListenerRequest) => void;
  readonly onConnection?: (what: 'opened' | 'closed' | 'errored') => void;
}

/** A listening socket. */
export class HttpListener {
  readonly #server: Server | HttpsServer;
  readonly #sockets = new Set<Socket>();
  readonly #isTls: boolean;
  #openWebSockets = 0;

  private constructor(options: HttpListenerOptions) {
    const { tls, maxConnections, onConnection, admits } = options;
    this.#isTls = tls !== undefined;
    const server =
      tls === undefined ? createHttpServer() : createHttpsServer({ cert: tls.cert, key: tls.key });
    this.#server = server;
    server.headersTimeout = HTTP_CONNECTION_TIMEOUT_MS;
    server.requestTimeout = HTTP_CONNECTION_TIMEOUT_MS;
    server.keepAliveTimeout = HTTP_CONNECTION_TIMEOUT_MS;
    if (maxConnections !== undefined) server.maxConnections = maxConnections;
    server.on('connection', (socket: Socket) => {
      if (admits?.() === false) {
        socket.destroy();
        return;
      }
      this.#sockets.add(socket);
      socket.setNoDelay(true);
      onConnection?.('opened');
      socket.on('close', (hadError) => {
        this.#sockets.delete(socket);
        onConnection?.(hadError ? 'errored' : 'closed');
      });
    });
    // Node answers 400 or 408 by itself only while nobody listens; a socket that failed cannot be answered.
    server.on('clientError', (_error, socket) => {
      if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n');
      else socket.destroy();
    });
    server.on('tlsClientError', (_error: Error, socket: Duplex) => socket.destroy());
    server.on('request', (message, response) => receive(options, message, response));
    const upgrader = new WebSocketUpgrader(options.upgradeHeaders ?? {});
    server.on('upgrade', (message, socket, head) => this.#upgrade(options, upgrader, message, socket, head));
  }

  /** @throws the system's error, e.g. EADDRINUSE. */
  static async listen(options: HttpListenerOptions): Promise<HttpListener> {
    const listener = new HttpListener(options);
    const server = listener.#server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host: options.ip, port: options.port, backlog: 4_096 }, () => {
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

  /** Connections that have become WebSockets. */
  get openWebSockets(): number {
    return this.#openWebSockets;
  }

  #upgrade(
    { judgeUpgrade, onWebSocket }: HttpListenerOptions,
    upgrader: WebSocketUpgrader,
    message: IncomingMessage,
    socket: Duplex,
    head: Buffer,
  ): void {
    // Until it is a WebSocket nobody else listens for its errors.
    const ignore = (): void => undefined;
    socket.on('error', ignore);
    const request = toRequest(message);
    const verdict = judgeUpgrade?.(request) ?? { status: 404, headers: {}, body: 'Not Found' };
    if ('protocol' in verdict) {
      upgrader.upgrade(message, socket, head, verdict.protocol, (opened) => {
        socket.removeListener('error', ignore);
        this.#openWebSockets++;
        socket.once('close', () => this.#openWebSockets--);
        onWebSocket?.(opened, request);
      });
      return;
    }
    const { status, headers, body } = verdict;
    const lines = Object.entries({
      ...headers,
      'Content-Length': Buffer.byteLength(body),
      Connection: 'close',
    });
    const head1 = [`HTTP/1.1 ${status} Refused`, ...lines.map(([name, value]) => `${name}: ${value}`)];
    socket.end(`${head1.join('\r\n')}\r\n\r\n${body}`);
  }

  /** Uses another certificate for handshakes from now on. @throws for a certificate or key that cannot be used. */
  setCertificate(cert: string, key: string): void {
    if (this.#isTls) (this.#server as HttpsServer).setSecureContext({ cert, key });
  }

  /** Takes no more connections; those that exist go on. */
  stopAccepting(): void {
    this.#server.close();
    this.#server.closeIdleConnections();
  }

  /** Drops what is left, and resolves when all is freed. */
  async close(): Promise<void> {
    const server = this.#server;
    const closed = new Promise<void>((resolve) => {
      // Called with an error when it was closed before; then only connections are left.
      server.close(() => resolve());
    });
    const dropped = [...this.#sockets].map(
      (socket) =>
        new Promise<void>((resolve) => {
          socket.on('close', () => resolve());
          socket.destroy();
        }),
    );
    await Promise.all([closed, ...dropped]);
  }
}

const NOTHING = new Uint8Array(0);

/** Reads the body, if it is wanted, and answers. */
function receive(
  { maxBodyBytes = 0, answer }: HttpListenerOptions,
  message: IncomingMessage,
  response: ServerResponse,
): void {
  if (maxBodyBytes === 0) {
    respond(answer, toRequest(message), response);
    message.resume();
    return;
  }
  const chunks: Buffer[] = [];
  let length = 0;
  const refuse = (): void => {
    message.removeAllListeners('data');
    message.removeAllListeners('end');
    send(response, { status: 413, headers: { Connection: 'close' }, body: 'Content Too Large' });
  };
  if (Number(message.headers['content-length'] ?? 0) > maxBodyBytes) return refuse();
  message.on('data', (chunk: Buffer) => {
    length += chunk.length;
    chunks.push(chunk);
    if (length > maxBodyBytes) refuse();
  });
  message.on('end', () => respond(answer, toRequest(message, Buffer.concat(chunks)), response));
}

function respond(
  answer: HttpListenerOptions['answer'],
  request: ListenerRequest,
  response: ServerResponse,
): void {
  const fail = (): void => send(response, { status: 500, headers: {}, body: 'Internal Server Error' });
  try {
    const answered = answer(request);
    if (answered instanceof Promise) answered.then((found) => send(response, found)).catch(fail);
    else send(response, answered);
  } catch {
    fail();
  }
}

function send(response: ServerResponse, { status, headers, body }: ListenerResponse): void {
  response.writeHead(status, {
    ...headers,
    ...(status !== 204 && { 'Content-Length': Buffer.byteLength(body) }),
  });
  response.end(body);
}

function toRequest(message: IncomingMessage, body: Uint8Array = NOTHING): ListenerRequest {
  const url = message.url ?? '/';
  const at = url.indexOf('?');
  return {
    method: message.method ?? 'GET',
    body,
    peerIp: message.socket.remoteAddress ?? '',
    path: at < 0 ? url : url.slice(0, at),
    query: at < 0 ? '' : url.slice(at + 1),
    // Not `headers`: it joins the lines of a header that comes several times.
    header: (name) => {
      const { rawHeaders } = message;
      for (let i = 0; i < rawHeaders.length; i += 2) {
        if (rawHeaders[i]!.toLowerCase() === name) return rawHeaders[i + 1];
      }
      return undefined;
    },
  };
}
