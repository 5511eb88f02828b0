/**
 * What carries relay frames: a WebSocket, from either end. The server's side and the client's side, Node and browsers, and the
 * simulation all offer this.
 *
 * @module
 */
import type { RelayUrl } from '../base/relay-url.ts';

/** Most bytes of a message, far above any frame (upstream `MAX_FRAME_SIZE`); a longer one ends the connection. */
export const MAX_MESSAGE_BYTES = 1_048_576;

/** Most bytes of a reason to close (RFC 6455 §5.5); longer ones are cut. */
export const MAX_CLOSE_REASON_BYTES = 123;

/** An open WebSocket that agreed on a relay subprotocol. Ordered, reliable, keeps message borders. */
export interface RelaySocket {
  /** The subprotocol, e.g. `iroh-relay-v2`. */
  readonly protocol: string;
  /** IP of our end of the TCP connection; undefined where that is hidden (browsers). */
  readonly localIp: string | undefined;
  /** IP of the other end of the TCP connection, where known. */
  readonly remoteIp: string | undefined;
  /** One binary message, owned by the receiver. Set at once: what came before may be lost. */
  onMessage: ((data: Uint8Array) => void) | undefined;
  /** The connection is over; called once, also after {@link close} and {@link terminate}. `error` when it broke. */
  onClose: ((error: Error | undefined) => void) | undefined;
  /** Called when {@link queuedBytes} falls to 0 after a send; in browsers up to 20 ms later. */
  onDrained: (() => void) | undefined;
  /** Queues a binary message. Takes the buffer: the caller must not change it. Never throws. */
  send(data: Uint8Array): void;
  /** Bytes that the system has not taken yet. */
  readonly queuedBytes: number;
  /** Stops receiving: back-pressure by TCP. Browsers have none: there what comes is held, up to 8 MiB, then it ends. */
  pause(): void;
  /** Goes on receiving. */
  resume(): void;
  /** Closes in order, after what was sent. @param code - RFC 6455 §7.4; default 1000. @param reason - For people. */
  close(code?: number, reason?: string): void;
  /** Drops the connection. */
  terminate(): void;
  /**
   * RFC 5705 exporter of the TLS connection below; undefined without TLS and in browsers.
   * @returns `length` bytes.
   */
  readonly exportKeyingMaterial:
    ((length: number, label: string, context: Uint8Array) => Uint8Array) | undefined;
}

/** Whom HTTPS, WebSockets and address discovery believe. Peers are not concerned: their keys are their names. */
export interface TlsTrust {
  /** Certificates (PEM) of authorities to believe instead of the usual ones. */
  readonly roots?: readonly string[] | undefined;
  /** Believes anybody. For tests with servers of one's own only. */
  readonly insecureSkipVerify?: boolean | undefined;
}

/** How a relay is dialled. */
export interface WebSocketRequest {
  /** `http:` and `ws:` without TLS, all others with; the path becomes `/relay`, a query stays. */
  readonly url: RelayUrl;
  /** In order of preference. */
  readonly protocols: readonly string[];
  /** Goes as `Authorization: Bearer`, in browsers as `?token=`. */
  readonly authToken: string | undefined;
  /** Further headers, once TLS is up; not in browsers. */
  readonly headers?: ((exporter: RelaySocket['exportKeyingMaterial']) => Record<string, string>) | undefined;
  /** Whom to believe; not in browsers. */
  readonly tls: TlsTrust | undefined;
  /** URL of an HTTP proxy (CONNECT); not in browsers. */
  readonly proxy: string | undefined;
  /** Which family is tried first. */
  readonly preferIpv6: boolean;
  /** Gives the dial up; means nothing once it is open. */
  readonly signal: AbortSignal;
}

/** Why a relay could not be dialled. */
export type WebSocketFailure = 'dns' | 'dial' | 'proxy' | 'tls' | 'upgrade' | 'protocol' | 'aborted';

/** A relay could not be dialled. */
export class WebSocketError extends Error {
  /** The class. */
  override readonly name = 'WebSocketError';
  /** What went wrong. Browsers tell nothing more than `dial`. */
  readonly failure: WebSocketFailure;
  /** HTTP status of a refused upgrade. */
  readonly status: number | undefined;

  constructor(
    failure: WebSocketFailure,
    message: string,
    options: { cause?: unknown; status?: number } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.failure = failure;
    this.status = options.status;
  }
}

/**
 * Where a relay's WebSocket is (`iroh-relay/src/client.rs`): path `/relay`, no credentials, no fragment; host and query stay.
 *
 * @throws {WebSocketError} `dial` when the URL has no host that can be dialled.
 */
export function relayWebSocketUrl(url: RelayUrl): URL {
  const { protocol, host, search } = url.toUrl();
  const scheme = protocol === 'http:' || protocol === 'ws:' ? 'ws' : 'wss';
  try {
    return new URL(`${scheme}://${host}/relay${search}`);
  } catch (cause) {
    throw new WebSocketError('dial', `not an address of a relay: ${url}`, { cause });
  }
}
