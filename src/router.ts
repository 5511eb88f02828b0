/**
 * Serves several protocols on one endpoint: each connection goes to the handler of its protocol.
 *
 * @module
 */
import { partsOf } from './actors/internals.ts';
import { RouterActor } from './actors/router.ts';
import { toHex, utf8 } from './base/bytes.ts';
import type { Addr } from './base/socket-addr.ts';
import type { Connection } from './connection.ts';
import type { Alpn, Endpoint } from './endpoint.ts';
import type { RemoteAddr } from './base/remote-addr.ts';
import type { Accepting, Incoming } from './incoming.ts';

/** What a handler is given beside its connection. */
export interface HandlerContext {
  /** Aborts when the router is shut down, after the handlers' own `shutdown`. */
  readonly signal: AbortSignal;
}

/** Serves one connection. When it returns, the connection is closed with code 0: await `connection.closed` to avoid that. */
export type AcceptFunction = (connection: Connection, context: HandlerContext) => unknown;

/** Serves the connections of one protocol. What it throws ends the connection that it was about, and nothing else. */
export interface ProtocolHandler {
  /**
   * Called first, while the handshake runs: may use early data (`accepting.early()`), or turn the peer away by its address
   * (throw). Returns the connection that {@link accept} gets; by default it waits for the handshake.
   */
  readonly onAccepting?: (
    accepting: Accepting,
    context: HandlerContext,
  ) => Connection | PromiseLike<Connection>;
  /** Called with each connection once its handshake is complete. */
  readonly accept: AcceptFunction;
  /** Called once when the router shuts down, while the endpoint still works: the time to say goodbye. */
  readonly shutdown?: () => unknown;
}

/** What is known of an attempt before anything of it is processed. */
export interface IncomingInfo {
  /** Where its first packet came from. Anybody can forge that unless {@link remoteAddrValidated}. */
  readonly remoteAddr: RemoteAddr;
  /** True when the peer proved to receive at {@link remoteAddr}. */
  readonly remoteAddrValidated: boolean;
  /** Bound address of the socket that it came to; undefined for relays and custom transports. */
  readonly localAddr: Addr | undefined;
}

/** What to do with an attempt. `retry` makes the peer prove its address; who has proven it already is refused. */
export type IncomingVerdict = 'accept' | 'retry' | 'reject' | 'ignore';

/** Decides about attempts, at once. What it throws refuses the attempt. */
export type IncomingFilter = (incoming: IncomingInfo) => IncomingVerdict;

/** Options of {@link Router.shutdown}. */
export interface ShutdownOptions {
  /** How long the handlers' `shutdown` may take together, ms. By default as long as they want. */
  readonly timeoutMs?: number;
}

/** Collects what a {@link Router} is made of. */
export class RouterBuilder {
  readonly #endpoint: Endpoint;
  readonly #handlers = new Map<string, { readonly alpn: Uint8Array; readonly handler: ProtocolHandler }>();
  #filter: IncomingFilter | undefined;

  /** Comes from {@link Router.builder}. @internal */
  constructor(endpoint: Endpoint) {
    this.#endpoint = endpoint;
  }

  /** Has a protocol served. A second handler for the same protocol replaces the first. */
  accept(alpn: Alpn, handler: AcceptFunction | ProtocolHandler): this {
    const name = typeof alpn === 'string' ? utf8(alpn) : new Uint8Array(alpn);
    if (name.length === 0 || name.length > 255) throw new RangeError('a protocol name has 1 to 255 bytes');
    this.#handlers.set(toHex(name), {
      alpn: name,
      handler: typeof handler === 'function' ? { accept: handler } : handler,
    });
    return this;
  }

  /** Has attempts decided about before anything of them is processed. */
  incomingFilter(filter: IncomingFilter): this {
    this.#filter = filter;
    return this;
  }

  /** Starts to serve. The protocols of the endpoint become those of the router. */
  spawn(): Router {
    return new Router(this.#endpoint, [...this.#handlers.values()], this.#filter);
  }
}

/** Serves several protocols on one endpoint. Make it with {@link Router.builder}; {@link shutdown} it when done. */
export class Router {
  /** The endpoint whose connections are served. */
  readonly endpoint: Endpoint;
  readonly #actor: RouterActor<Incoming>;

  /** Made by {@link RouterBuilder.spawn}. @internal */
  constructor(
    endpoint: Endpoint,
    protocols: readonly { readonly alpn: Uint8Array; readonly handler: ProtocolHandler }[],
    filter: IncomingFilter | undefined,
  ) {
    this.endpoint = endpoint;
    const { log, system } = partsOf.get(endpoint)!;
    const handlers = new Map(protocols.map(({ alpn, handler }) => [toHex(alpn), handler]));
    endpoint.setAlpns(protocols.map(({ alpn }) => alpn));
    this.#actor = new RouterActor<Incoming>({
      system,
      log,
      name: endpoint.id.toString().slice(0, 10),
      next: () => endpoint.accept(),
      filter: (incoming) => (filter === undefined ? 'accept' : toVerdict(filter(infoOf(incoming)))),
      serve: (incoming, signal) => serve(incoming, handlers, signal),
      // One object may serve several protocols; it is told once.
      goodbyes: [...new Set(handlers.values())].map((handler) => () => handler.shutdown?.()),
      closeEndpoint: () => endpoint.close(),
    });
  }

  /** Collects protocols for an endpoint. */
  static builder(endpoint: Endpoint): RouterBuilder {
    return new RouterBuilder(endpoint);
  }

  /** True from the moment that the router begins to end: {@link shutdown} was called, or the endpoint closes. */
  get isShutdown(): boolean {
    return this.#actor.isShutdown;
  }

  /**
   * Ends in order: every handler's `shutdown`, all at once; then the signals of all that is being served abort; then the
   * endpoint closes. Every call waits for the end.
   */
  shutdown(options: ShutdownOptions = {}): Promise<void> {
    return this.#actor.shutdown(options.timeoutMs);
  }

  /** The same as {@link shutdown}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.shutdown();
  }
}

function infoOf({ remoteAddr, remoteAddrValidated, localAddr }: Incoming): IncomingInfo {
  return { remoteAddr, remoteAddrValidated, localAddr };
}

/** @throws {TypeError} on anything else: JavaScript has no types, and a promise, say, must not let peers in. */
function toVerdict(verdict: IncomingVerdict): IncomingVerdict {
  if (['accept', 'retry', 'reject', 'ignore'].includes(verdict)) return verdict;
  throw new TypeError(`an incoming filter returned ${String(verdict)}`);
}

/** Brings one attempt to its handler, and closes its connection after it. */
async function serve(
  incoming: Incoming,
  handlers: ReadonlyMap<string, ProtocolHandler>,
  signal: AbortSignal,
): Promise<void> {
  const accepting = incoming.accept();
  const connection = accepting.early();
  let abort!: () => void;
  const aborted = new Promise<void>((resolve) => (abort = resolve));
  signal.addEventListener('abort', abort);
  try {
    const work = handle(accepting, handlers, signal);
    // Who ignores the signal holds up nobody.
    await Promise.race([work, aborted]);
    work.catch(() => undefined);
  } finally {
    signal.removeEventListener('abort', abort);
    if (connection.closeReason === undefined) connection.close();
  }
}

async function handle(
  accepting: Accepting,
  handlers: ReadonlyMap<string, ProtocolHandler>,
  signal: AbortSignal,
): Promise<void> {
  const handler = handlers.get(toHex(await accepting.alpn));
  // The protocols of the endpoint were replaced, and this one is not ours.
  if (handler === undefined) return;
  signal.throwIfAborted();
  const connection = await (handler.onAccepting?.(accepting, { signal }) ?? accepting.connected);
  // After the goodbyes nothing new begins.
  signal.throwIfAborted();
  await handler.accept(connection, { signal });
}
