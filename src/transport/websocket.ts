/**
 * Dials relays through Node: DNS, a race of TCP connections or an HTTP proxy, TLS, the WebSocket upgrade
 * (`iroh-relay/src/client.rs`, `client/tls.rs`). Twin: `websocket.browser.ts`.
 *
 * @module
 */
import { connect as tcpConnect, isIP, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as tlsConnect, type TLSSocket } from 'node:tls';
import { WebSocket } from 'ws';
import type { Clock } from '../base/clock.ts';
import { raceAddresses } from './happy-eyeballs.ts';
import { openTunnel } from './http-tunnel.ts';
import type { ResolveHost } from './platform.ts';
import {
  relayWebSocketUrl,
  WebSocketError,
  type RelaySocket,
  type TlsTrust,
  type WebSocketFailure,
  type WebSocketRequest,
} from './relay-socket.ts';
import { plainHost, webTlsOptions } from './web-tls.ts';
import { exporterOf, WS_OPTIONS, WsSocket } from './ws-socket.ts';

/** All of a dial may take this long, ms; whoever waits for the relay's handshake, too, counts that themselves. */
const DIAL_LIMIT_MS = 10_000;

/** What dialling needs. */
export interface WebSocketDialer {
  readonly clock: Clock;
  readonly resolve: ResolveHost;
}

/**
 * Opens a WebSocket to a relay. Frees everything when it fails or is given up.
 *
 * @throws {WebSocketError} of every kind; `aborted` with the signal's reason as cause.
 */
export async function openWebSocket(
  request: WebSocketRequest,
  dialer: WebSocketDialer,
): Promise<RelaySocket> {
  const limit = new AbortController();
  const onAbort = (): void => limit.abort(request.signal.reason);
  if (request.signal.aborted) onAbort();
  else request.signal.addEventListener('abort', onAbort, { once: true });
  const timer = dialer.clock.setTimeout(
    () => limit.abort(new Error(`not connected within ${DIAL_LIMIT_MS} ms`)),
    DIAL_LIMIT_MS,
  );
  const dial = new Dial(request, dialer, limit.signal);
  try {
    return await dial.run();
  } catch (error) {
    dial.free();
    if (request.signal.aborted)
      throw new WebSocketError('aborted', 'dial aborted', { cause: request.signal.reason });
    throw dial.toError(error);
  } finally {
    dialer.clock.clearTimeout(timer);
    request.signal.removeEventListener('abort', onAbort);
  }
}

/** One way to a relay. What it has open at any time is in {@link Dial.free}'s reach. */
class Dial {
  readonly #request: WebSocketRequest;
  readonly #dialer: WebSocketDialer;
  readonly #signal: AbortSignal;
  readonly #open: Duplex[] = [];
  #step: WebSocketFailure = 'dial';

  constructor(request: WebSocketRequest, dialer: WebSocketDialer, signal: AbortSignal) {
    this.#request = request;
    this.#dialer = dialer;
    this.#signal = signal;
  }

  async run(): Promise<RelaySocket> {
    const { proxy, tls } = this.#request;
    const url = relayWebSocketUrl(this.#request.url);
    let stream: Duplex;
    let tcp: Socket;
    if (proxy === undefined) {
      stream = tcp = await this.#connect(url);
    } else {
      this.#step = 'proxy';
      const proxyUrl = new URL(proxy);
      if (!/^https?:$/.test(proxyUrl.protocol))
        throw new Error(`not the address of an HTTP proxy: ${proxyUrl.protocol}`);
      tcp = await this.#connect(proxyUrl);
      const connection = proxyUrl.protocol === 'http:' ? tcp : await this.#secure(tcp, proxyUrl, tls);
      stream = await openTunnel(proxyUrl, url, { signal: this.#signal, tls, connection });
    }
    let secured: TLSSocket | undefined;
    if (url.protocol === 'wss:') {
      this.#step = 'tls';
      stream = secured = await this.#secure(stream, url, tls);
    }
    this.#step = 'upgrade';
    this.#signal.throwIfAborted();
    return this.#upgrade(url, stream, tcp, secured);
  }

  free(): void {
    for (const each of this.#open.reverse()) each.destroy();
  }

  toError(cause: unknown): WebSocketError {
    // A proxy that cannot be found is the proxy's failure.
    if (cause instanceof WebSocketError && this.#step !== 'proxy') return cause;
    return new WebSocketError(this.#step, messageOf(cause), { cause });
  }

  /** A TCP connection to the host of a URL. */
  #connect(url: URL): Promise<Socket> {
    const host = plainHost(url.hostname);
    const port = Number(url.port) || (/^(?:https|wss):$/.test(url.protocol) ? 443 : 80);
    const literal = isIP(host);
    return raceAddresses({
      clock: this.#dialer.clock,
      preferIpv6: this.#request.preferIpv6,
      signal: this.#signal,
      resolve: async (family, signal) => {
        if (literal === 0) return this.#dialer.resolve(url.hostname, family, signal);
        return family === literal ? [host] : [];
      },
      connect: (ip, signal) => this.#attempt(ip, port, signal),
      discard: (socket) => socket.destroy(),
    });
  }

  #attempt(ip: string, port: number, signal: AbortSignal): Promise<Socket> {
    const socket = tcpConnect({ host: ip, port, noDelay: true });
    this.#open.push(socket);
    return settled(socket, 'connect', signal);
  }

  /** TLS on top. */
  #secure(stream: Duplex, url: URL, tls: TlsTrust | undefined): Promise<TLSSocket> {
    const socket = tlsConnect({ socket: stream, ...webTlsOptions(url.hostname, tls) });
    this.#open.push(socket);
    return settled(socket, 'secureConnect', this.#signal);
  }

  #upgrade(url: URL, stream: Duplex, tcp: Socket, tls: TLSSocket | undefined): Promise<RelaySocket> {
    const { protocols, authToken, headers } = this.#request;
    const signal = this.#signal;
    const ws = new WebSocket(url, [...protocols], {
      ...WS_OPTIONS,
      headers: {
        ...headers?.(exporterOf(tls)),
        ...(authToken !== undefined && { authorization: `Bearer ${authToken}` }),
      },
      // An agent would not look at it. Whether there is TLS below is settled already.
      createConnection: () => stream as Socket,
    });
    return new Promise<RelaySocket>((resolve, reject) => {
      let hasProtocol = true;
      let isOver = false;
      const finish = (what: () => void): void => {
        if (isOver) return;
        isOver = true;
        signal.removeEventListener('abort', onAbort);
        what();
      };
      const onAbort = (): void => finish(() => reject(signal.reason));
      signal.addEventListener('abort', onAbort, { once: true });
      ws.on('upgrade', (response) => {
        const protocol = response.headers['sec-websocket-protocol'];
        hasProtocol = protocol !== undefined && protocols.includes(protocol);
      });
      ws.on('unexpected-response', (_request, response) => {
        const status = response.statusCode ?? 0;
        response.destroy();
        finish(() =>
          reject(new WebSocketError('upgrade', `the relay answered with status ${status}`, { status })),
        );
      });
      // Stays: an error without a listener would end the process.
      ws.on('error', (cause) => {
        const failure = hasProtocol ? 'upgrade' : 'protocol';
        finish(() => reject(new WebSocketError(failure, messageOf(cause), { cause })));
      });
      ws.on('open', () => finish(() => resolve(new WsSocket(ws, tcp, tls))));
    });
  }
}

/** Resolves at an event of a socket that is being opened; destroys it when that fails or is given up. */
function settled<S extends Socket>(
  socket: S,
  event: 'connect' | 'secureConnect',
  signal: AbortSignal,
): Promise<S> {
  return new Promise<S>((resolve, reject) => {
    const fail = (error: Error): void => {
      signal.removeEventListener('abort', onAbort);
      socket.destroy();
      reject(error);
    };
    const onAbort = (): void => fail(signal.reason as Error);
    const onClose = (): void => fail(new Error('the connection was closed'));
    // Stays: an error without a listener would end the process.
    socket.on('error', fail);
    socket.once('close', onClose);
    socket.once(event, () => {
      signal.removeEventListener('abort', onAbort);
      socket.off('close', onClose);
      resolve(socket);
    });
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
