/**
 * A WebSocket to a real relay server, opened with `ws` and nothing of ours.
 *
 * @module
 */
import { connect as connectTcp } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { WebSocket, type RawData } from 'ws';
import type { RelaySocket } from '../../src/transport/relay-socket.ts';

/** How it is opened. */
export interface RawSocketOptions {
  readonly protocols?: readonly string[];
  readonly headers?: Record<string, string>;
  /** Appended to `/relay`, with its question mark. */
  readonly query?: string;
  /** Headers that need the TLS connection. */
  readonly tlsHeaders?: (
    exporter: NonNullable<RelaySocket['exportKeyingMaterial']>,
  ) => Record<string, string>;
}

/** Opens `/relay` of a server. Certificates are not checked. @throws {Error} with `status` when the upgrade is refused. */
export async function openRawSocket(url: string, options: RawSocketOptions = {}): Promise<RelaySocket> {
  const { protocols = ['iroh-relay-v2', 'iroh-relay-v1'], query = '', tlsHeaders } = options;
  const { protocol, host, hostname, port } = new URL(url);
  const isTls = protocol === 'https:';
  let headers = options.headers ?? {};
  let tls: TLSSocket | undefined;
  if (isTls) {
    tls = connectTls({ host: hostname.replace(/[[\]]/g, ''), port: Number(port), rejectUnauthorized: false });
    const opened = tls;
    await new Promise<void>((resolve, reject) => {
      opened.once('secureConnect', resolve);
      opened.once('error', reject);
    });
    if (tlsHeaders)
      headers = {
        ...headers,
        ...tlsHeaders((length, label, context) =>
          opened.exportKeyingMaterial(length, label, Buffer.from(context)),
        ),
      };
  }
  const ws = new WebSocket(`${isTls ? 'wss' : 'ws'}://${host}/relay${query}`, [...protocols], {
    headers,
    perMessageDeflate: false,
    createConnection: () =>
      tls ?? connectTcp({ host: hostname.replace(/[[\]]/g, ''), port: Number(port), noDelay: true }),
  });
  const early: Uint8Array[] = [];
  let onMessage: RelaySocket['onMessage'];
  let error: Error | undefined;
  let isClosed = false;
  const socket: RelaySocket = {
    protocol: '',
    localIp: undefined,
    remoteIp: undefined,
    exportKeyingMaterial: undefined,
    onClose: undefined,
    onDrained: undefined,
    get onMessage() {
      return onMessage;
    },
    // The server speaks first: what comes before somebody listens is kept.
    set onMessage(handler) {
      onMessage = handler;
      for (const message of early.splice(0)) handler?.(message);
    },
    send: (data) => ws.send(data, { binary: true }),
    get queuedBytes() {
      return ws.bufferedAmount;
    },
    pause: () => ws.pause(),
    resume: () => ws.resume(),
    close: (code, reason) => ws.close(code, reason),
    terminate: () => ws.terminate(),
  };
  ws.on('message', (data: RawData) => {
    if (onMessage === undefined) early.push(data as Buffer);
    else onMessage(data as Buffer);
  });
  ws.on('error', (cause) => (error = cause));
  ws.on('close', () => {
    isClosed = true;
    socket.onClose?.(error);
  });
  await new Promise<void>((resolve, reject) => {
    ws.once('open', resolve);
    ws.once('unexpected-response', (_request, response) => {
      response.resume();
      reject(Object.assign(new Error(`status ${response.statusCode}`), { status: response.statusCode }));
      ws.terminate();
    });
    ws.once('error', (cause) => reject(cause));
  });
  if (isClosed) throw error ?? new Error('closed at once');
  return Object.assign(socket, { protocol: ws.protocol });
}
