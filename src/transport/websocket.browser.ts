/**
 * Dials relays through the browser's WebSocket. Names, trust and proxies are its own business, it sends no headers of ours
 * and gives no reasons for failures. Twin of `websocket.ts`.
 *
 * @module
 */
import type { Clock, TimerId } from '../base/clock.ts';
import {
  MAX_CLOSE_REASON_BYTES,
  MAX_MESSAGE_BYTES,
  relayWebSocketUrl,
  WebSocketError,
  type RelaySocket,
  type WebSocketRequest,
} from './relay-socket.ts';

/** All of a dial may take this long, ms; as in Node. */
const DIAL_LIMIT_MS = 10_000;
/** How long the other end may take to answer a close, ms. */
const CLOSE_TIMEOUT_MS = 2_000;
/** There is no event for an empty send buffer, so it is looked at so often while it holds anything, ms. */
const DRAIN_POLL_MS = 20;
/** The browser goes on receiving while we do not: more than this and the connection ends. Eight of the longest messages. */
const MAX_HELD_BYTES = 8 * MAX_MESSAGE_BYTES;
/** RFC 6455 §7.1.5: no close frame came. */
const ABNORMAL_CLOSURE = 1_006;

/** What dialling needs. */
export interface WebSocketDialer {
  readonly clock: Clock;
}

/**
 * Opens a WebSocket to a relay.
 *
 * @throws {WebSocketError} `dial` for whatever goes wrong, `protocol` without a subprotocol; `aborted` with the signal's
 * reason as cause.
 */
export async function openWebSocket(
  request: WebSocketRequest,
  { clock }: WebSocketDialer,
): Promise<RelaySocket> {
  const { protocols, authToken, signal } = request;
  const aborted = (): WebSocketError =>
    new WebSocketError('aborted', 'dial aborted', { cause: signal.reason });
  if (signal.aborted) throw aborted();
  const url = relayWebSocketUrl(request.url);
  // No headers here; servers take this as well.
  if (authToken !== undefined) url.searchParams.append('token', authToken);
  let ws: WebSocket;
  try {
    ws = new WebSocket(url.href, [...protocols]);
  } catch (cause) {
    // Mixed content, blocked ports, malformed subprotocols.
    throw new WebSocketError('dial', 'the browser refuses to dial', { cause });
  }
  ws.binaryType = 'arraybuffer';
  return new Promise<RelaySocket>((resolve, reject) => {
    const settle = (): void => {
      clock.clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      ws.onopen = ws.onclose = ws.onerror = null;
    };
    const fail = (error: WebSocketError): void => {
      settle();
      // Errors of a dial that is given up are nobody's.
      ws.onerror = () => undefined;
      ws.close();
      reject(error);
    };
    const onAbort = (): void => fail(aborted());
    const timer = clock.setTimeout(
      () => fail(new WebSocketError('dial', `not connected within ${DIAL_LIMIT_MS} ms`)),
      DIAL_LIMIT_MS,
    );
    signal.addEventListener('abort', onAbort, { once: true });
    ws.onopen = () => {
      if (!protocols.includes(ws.protocol))
        return fail(new WebSocketError('protocol', 'the relay chose no subprotocol of ours'));
      settle();
      resolve(new BrowserSocket(ws, clock));
    };
    ws.onerror = ws.onclose = () => fail(new WebSocketError('dial', 'the browser could not connect'));
  });
}

/** Wraps an open WebSocket. Receiving starts when `onMessage` is set. */
class BrowserSocket implements RelaySocket {
  readonly protocol: string;
  readonly localIp = undefined;
  readonly remoteIp = undefined;
  readonly exportKeyingMaterial = undefined;
  onClose: ((error: Error | undefined) => void) | undefined;
  onDrained: (() => void) | undefined;
  readonly #ws: WebSocket;
  readonly #clock: Clock;
  #onMessage: ((data: Uint8Array) => void) | undefined;
  #hasListener = false;
  #isPaused = false;
  #isEnding = false;
  #isClosed = false;
  /** Came while nobody received. */
  #held: Uint8Array[] = [];
  #heldBytes = 0;
  #drainTimer: TimerId;
  #closeTimer: TimerId;

  constructor(ws: WebSocket, clock: Clock) {
    this.#ws = ws;
    this.#clock = clock;
    this.protocol = ws.protocol;
    ws.onmessage = ({ data }: MessageEvent<unknown>) => {
      // Text is no part of the protocol, and no offence (`iroh-relay/src/protos/streams.rs`).
      if (typeof data !== 'string') this.#receive(new Uint8Array(data as ArrayBuffer));
    };
    // What follows it is the close.
    ws.onerror = () => undefined;
    ws.onclose = ({ code }) => {
      const isBroken = code === ABNORMAL_CLOSURE && !this.#isEnding;
      this.#finish(isBroken ? new Error('the connection broke') : undefined);
    };
  }

  get onMessage(): ((data: Uint8Array) => void) | undefined {
    return this.#onMessage;
  }

  set onMessage(listener: ((data: Uint8Array) => void) | undefined) {
    this.#onMessage = listener;
    if (this.#hasListener || listener === undefined) return;
    this.#hasListener = true;
    this.#deliver();
  }

  #receive(data: Uint8Array): void {
    if (data.length > MAX_MESSAGE_BYTES) return this.#drop(new Error('a message is too long'));
    this.#held.push(data);
    this.#heldBytes += data.length;
    this.#deliver();
    if (this.#heldBytes > MAX_HELD_BYTES) this.#drop(new Error('more arrives than is received'));
  }

  #deliver(): void {
    if (!this.#hasListener) return;
    while (this.#held.length > 0 && !this.#isPaused && !this.#isClosed) {
      const data = this.#held.shift()!;
      this.#heldBytes -= data.length;
      this.#onMessage?.(data);
    }
  }

  send(data: Uint8Array): void {
    const ws = this.#ws;
    if (ws.readyState !== ws.OPEN) return;
    ws.send(data as Uint8Array<ArrayBuffer>);
    if (ws.bufferedAmount > 0 && this.#drainTimer === undefined) this.#watchDrain();
  }

  get queuedBytes(): number {
    // A closed one keeps its count.
    return this.#isClosed ? 0 : this.#ws.bufferedAmount;
  }

  #watchDrain(): void {
    this.#drainTimer = this.#clock.setTimeout(() => {
      this.#drainTimer = undefined;
      if (this.#ws.bufferedAmount > 0) this.#watchDrain();
      else this.onDrained?.();
    }, DRAIN_POLL_MS);
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.#deliver();
  }

  /** Browsers allow code 1000 and those from 3000 on: others go as 1000. */
  close(code = 1_000, reason = ''): void {
    const ws = this.#ws;
    if (ws.readyState !== ws.OPEN) return;
    this.#isEnding = true;
    const { read } = new TextEncoder().encodeInto(reason, new Uint8Array(MAX_CLOSE_REASON_BYTES));
    ws.close(code >= 3_000 && code < 5_000 ? code : 1_000, reason.slice(0, read));
    this.#closeTimer = this.#clock.setTimeout(() => this.#finish(undefined), CLOSE_TIMEOUT_MS);
  }

  terminate(): void {
    this.#drop(undefined);
  }

  /** Browsers drop no connections: it closes behind our back, and we do not wait. */
  #drop(error: Error | undefined): void {
    if (this.#isClosed) return;
    this.#ws.close();
    this.#finish(error);
  }

  #finish(error: Error | undefined): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#clock.clearTimeout(this.#drainTimer);
    this.#clock.clearTimeout(this.#closeTimer);
    this.#held = [];
    this.#heldBytes = 0;
    this.#ws.onmessage = this.#ws.onclose = null;
    this.onClose?.(error);
  }
}
