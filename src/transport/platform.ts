/**
 * Everything that an endpoint takes from its surroundings, so that a test can give it other ones.
 *
 * @module
 */
import type { Clock } from '../base/clock.ts';
import type { InterfaceState } from '../base/interface-state.ts';
import type { Rng } from '../base/rng.ts';
import type { BindRequest, DatagramTransport, MulticastRequest, MulticastTransport } from './datagram.ts';
import type { RelaySocket, TlsTrust, WebSocketRequest } from './relay-socket.ts';

/** Time, randomness, sockets, interfaces. */
export interface Platform {
  /** Time and timers of everything in the endpoint. */
  readonly clock: Clock;
  /** Keys and connection ids come from here: secure unless it is a test. */
  readonly rng: Rng;
  /** Binds a UDP socket. Undefined where there is no UDP (browsers). */
  readonly bindUdp: ((request: BindRequest) => Promise<DatagramTransport>) | undefined;
  /** Joins a multicast group. Undefined where there is none (browsers). */
  readonly bindMulticast?: ((request: MulticastRequest) => Promise<MulticastTransport>) | undefined;
  /** One look at this host's network. Never throws, never waits. */
  interfaceState(): InterfaceState;
  /**
   * Calls `listener` when the system says that the network changed, until what is returned is called. Undefined where the
   * system says nothing (Node): an endpoint looks again and again in any case.
   */
  readonly onNetworkChange?: ((listener: () => void) => () => void) | undefined;
  /** Asks a web server; redirects are not followed. @throws the signal's reason, or why there is no answer. */
  fetch(request: HttpRequest): Promise<HttpResponse>;
  /** Dials a relay. @throws {WebSocketError} */
  openWebSocket(request: WebSocketRequest): Promise<RelaySocket>;
  /** Undefined where hosts cannot be looked up (browsers). */
  readonly resolveDns: ResolveHost | undefined;
  /** Undefined where DNS cannot be asked (browsers). */
  readonly resolveTxt: ResolveTxt | undefined;
}

/**
 * Finds the addresses of a host, those of one family.
 *
 * `host` is a name, with or without a dot at its end. Rejects with the signal's reason, or because there are none.
 */
export type ResolveHost = (host: string, family: 4 | 6, signal: AbortSignal) => Promise<readonly string[]>;

/** How {@link ResolveTxt} is to ask. */
export interface TxtRequest {
  /** Gives the question up. */
  readonly signal: AbortSignal;
  /** Name servers, `ip` or `ip:port`; by default those that the system is set up for. */
  readonly servers?: readonly string[] | undefined;
}

/**
 * Finds the TXT records of a name, with or without a dot at its end. The strings of each are joined. Empty when there are none.
 *
 * Rejects with the signal's reason, or because nobody answers.
 */
export type ResolveTxt = (name: string, request: TxtRequest) => Promise<readonly Uint8Array[]>;

/** A question to a web server. */
export interface HttpRequest {
  /** Absolute, `http:` or `https:`. */
  readonly url: string;
  /** Default `GET`. */
  readonly method?: 'GET' | 'PUT' | 'POST' | undefined;
  /** What is sent along. */
  readonly body?: Uint8Array | undefined;
  /** Sent beside those that HTTP itself needs. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Gives the request up. */
  readonly signal: AbortSignal;
  /** Longer answers are errors; 0: nothing is read after the headers, and `body` is empty. */
  readonly maxBodyBytes: number;
  /** Whom to believe; the usual authorities by default. */
  readonly tls?: TlsTrust | undefined;
  /** URL of an HTTP proxy (CONNECT); not in browsers. */
  readonly proxy?: string | undefined;
}

/** What a server answered. */
export interface HttpResponse {
  /** 0 for a redirect in a browser. */
  readonly status: number;
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  /** Whole, without transfer encoding. */
  readonly body: Uint8Array;
}
