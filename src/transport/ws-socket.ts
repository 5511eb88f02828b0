/**
 * A `ws` WebSocket, of either side, as a {@link RelaySocket}.
 *
 * @module
 */
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import type { WebSocket } from 'ws';
import { MAX_CLOSE_REASON_BYTES, MAX_MESSAGE_BYTES, type RelaySocket } from './relay-socket.ts';

/** How long the other end may take to answer a close, ms. */
const CLOSE_TIMEOUT_MS = 2_000;
/** RFC 6455 §7.1.5: no close frame came. */
const ABNORMAL_CLOSURE = 1_006;
const BINARY = { binary: true };

/** What `ws` is told on either side. Relays negotiate no extensions; text messages are no part of the protocol. */
export const WS_OPTIONS = {
  perMessageDeflate: false,
  maxPayload: MAX_MESSAGE_BYTES,
  skipUTF8Validation: true,
} as const;

/** Wraps an open WebSocket. Receiving starts when `onMessage` is set. */
export class WsSocket implements RelaySocket {
  readonly protocol: string;
  readonly localIp: string | undefined;
  readonly remoteIp: string | undefined;
  readonly exportKeyingMaterial: RelaySocket['exportKeyingMaterial'];
  onClose: ((error: Error | undefined) => void) | undefined;
  onDrained: (() => void) | undefined;
  readonly #ws: WebSocket;
  #onMessage: ((data: Uint8Array) => void) | undefined;
  #hasListener = false;
  #isPaused = false;
  #isEnding = false;
  #error: Error | undefined;
  #wasQueued = false;
  #closeTimer: NodeJS.Timeout | undefined;
  readonly #onSent = (): void => {
    if (!this.#wasQueued || this.#ws.bufferedAmount > 0) return;
    this.#wasQueued = false;
    this.onDrained?.();
  };

  /** @param tcp - What it runs over in the end. @param tls - Its TLS connection; that to a proxy is none. */
  constructor(ws: WebSocket, tcp: Duplex, tls: TLSSocket | undefined) {
    this.#ws = ws;
    this.protocol = ws.protocol;
    const { localAddress, remoteAddress } = tcp as Socket;
    this.localIp = plainIp(localAddress);
    this.remoteIp = plainIp(remoteAddress);
    this.exportKeyingMaterial = exporterOf(tls);
    // The other end may speak first, in the same packet as its answer to the upgrade.
    ws.pause();
    ws.on('message', (data, isBinary) => {
      // Text is no part of the protocol, and no offence (`iroh-relay/src/protos/streams.rs`).
      if (!isBinary) return;
      const { buffer, byteOffset, length } = data as Buffer;
      // Not the Buffer itself: its slice() does not copy.
      this.#onMessage?.(new Uint8Array(buffer, byteOffset, length));
    });
    ws.on('error', (error) => (this.#error = error));
    ws.on('close', (code) => {
      clearTimeout(this.#closeTimer);
      const isBroken = code === ABNORMAL_CLOSURE && !this.#isEnding;
      this.onClose?.(this.#error ?? (isBroken ? new Error('the connection broke') : undefined));
    });
  }

  get onMessage(): ((data: Uint8Array) => void) | undefined {
    return this.#onMessage;
  }

  set onMessage(listener: ((data: Uint8Array) => void) | undefined) {
    this.#onMessage = listener;
    if (this.#hasListener || listener === undefined) return;
    this.#hasListener = true;
    if (!this.#isPaused) this.#ws.resume();
  }

  send(data: Uint8Array): void {
    const ws = this.#ws;
    if (ws.readyState !== ws.OPEN) return;
    ws.send(data, BINARY, this.#onSent);
    if (ws.bufferedAmount > 0) this.#wasQueued = true;
  }

  get queuedBytes(): number {
    const ws = this.#ws;
    // A closed one keeps its count.
    return ws.readyState === ws.CLOSED ? 0 : ws.bufferedAmount;
  }

  pause(): void {
    this.#isPaused = true;
    this.#ws.pause();
  }

  resume(): void {
    this.#isPaused = false;
    if (this.#hasListener) this.#ws.resume();
  }

  close(code = 1_000, reason = ''): void {
    const ws = this.#ws;
    if (ws.readyState !== ws.OPEN) return;
    this.#isEnding = true;
    const bytes = new Uint8Array(MAX_CLOSE_REASON_BYTES);
    const { written } = new TextEncoder().encodeInto(reason, bytes);
    ws.close(code, Buffer.from(bytes.buffer, 0, written));
    // Who does not read does not answer, either.
    this.#closeTimer = setTimeout(() => ws.terminate(), CLOSE_TIMEOUT_MS);
    // The answer has to be read.
    ws.resume();
  }

  terminate(): void {
    this.#isEnding = true;
    this.#ws.terminate();
  }
}

/** RFC 5705 and RFC 8446 §7.5; undefined without TLS. */
export function exporterOf(tls: TLSSocket | undefined): RelaySocket['exportKeyingMaterial'] {
  if (tls === undefined) return undefined;
  // A copy: what Node gives is a Buffer.
  return (length, label, context) =>
    Uint8Array.from(tls.exportKeyingMaterial(length, label, Buffer.from(context)));
}

/** IPv4 as such: sockets that take both families show it as an IPv6 address (RFC 4291 §2.5.5.2). */
function plainIp(ip: string | undefined): string | undefined {
  return ip?.replace(/^::ffff:(?=\d+\.)/, '');
}
