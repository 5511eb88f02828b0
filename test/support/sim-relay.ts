/**
 * Relays in virtual time: the hub of the real server behind simulated TCP connections.
 *
 * ```ts
 * const relays = new SimRelays(world);
 * const relay = relays.add('https://relay.test/', { delayMs: 20 });
 * world.relays = relays;
 * relay.restart();
 * ```
 *
 * A connection has a delay each way and a window: what the other end has not read holds the sender up, as TCP does.
 *
 * @module
 */
import { blake3 } from '@noble/hashes/blake3.js';
import { concatBytes, utf8 } from '../../src/base/bytes.ts';
import { RelayUrl } from '../../src/base/relay-url.ts';
import { randomBytes, type Rng } from '../../src/base/rng.ts';
import { CLIENT_AUTH_HEADER } from '../../src/relay/handshake.ts';
import { chooseRelayProtocol } from '../../src/relay/frames.ts';
import { RelayHub, type RelayHubEvent, type RelayHubOptions } from '../../src/actors/relay-hub.ts';
import { WebSocketError, type RelaySocket, type WebSocketRequest } from '../../src/transport/relay-socket.ts';
import type { SimClock } from './sim-clock.ts';

/** Bytes under way or unread that a sender may be ahead of its receiver, each way. */
const WINDOW_BYTES = 262_144;
/** One way, ms. */
const DEFAULT_DELAY_MS = 10;

/** One end of a simulated connection. */
export class SimRelaySocket implements RelaySocket {
  readonly protocol: string;
  readonly localIp: string | undefined;
  readonly remoteIp: string | undefined;
  readonly exportKeyingMaterial: RelaySocket['exportKeyingMaterial'];
  onMessage: ((data: Uint8Array) => void) | undefined;
  onClose: ((error: Error | undefined) => void) | undefined;
  onDrained: (() => void) | undefined;
  queuedBytes = 0;
  peer!: SimRelaySocket;
  /** How the other end closed, for assertions. */
  closedWith: { readonly code: number; readonly reason: string } | undefined;
  readonly #clock: SimClock;
  readonly #line: SimLine;
  #backlog: Uint8Array[] = [];
  readonly #unread: Uint8Array[] = [];
  #underWayBytes = 0;
  #arrivesAt = 0;
  #isPaused = false;
  #isClosed = false;
  #closing: { readonly code: number; readonly reason: string } | undefined;
  #isSaid = false;

  constructor(
    clock: SimClock,
    line: SimLine,
    protocol: string,
    ips: readonly [string | undefined, string | undefined],
    exporter: RelaySocket['exportKeyingMaterial'],
  ) {
    this.#clock = clock;
    this.#line = line;
    this.protocol = protocol;
    [this.localIp, this.remoteIp] = ips;
    this.exportKeyingMaterial = exporter;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  send(data: Uint8Array): void {
    if (this.#isClosed || this.#closing !== undefined) return;
    this.#backlog.push(data);
    this.queuedBytes += data.length;
    this.#pump();
  }

  #pump(): void {
    while (this.#backlog.length > 0) {
      const { length } = this.#backlog[0]!;
      if (this.#underWayBytes > 0 && this.#underWayBytes + length > WINDOW_BYTES) return;
      const data = this.#backlog.shift()!;
      this.queuedBytes -= length;
      this.#underWayBytes += length;
      this.#later(() => this.peer.#arrive(data));
    }
    const closing = this.#closing;
    if (closing === undefined || this.#isSaid) return;
    this.#isSaid = true;
    this.#later(() => this.peer.#handleClose(closing));
  }

  /** After everything that was sent before. Lost when the line is dead. */
  #later(what: () => void): void {
    if (this.#line.isDead) return;
    this.#arrivesAt = Math.max(this.#arrivesAt, this.#clock.now() + this.#line.delayMs);
    this.#line.inFlight++;
    this.#clock.at(this.#arrivesAt, () => {
      this.#line.inFlight--;
      if (!this.#line.isDead) what();
    });
  }

  #arrive(data: Uint8Array): void {
    if (this.#isClosed) return;
    this.#unread.push(data);
    this.#read();
  }

  #read(): void {
    while (!this.#isPaused && !this.#isClosed && this.#unread.length > 0) {
      const data = this.#unread.shift()!;
      this.peer.#acknowledge(data.length);
      this.onMessage?.(data);
    }
  }

  #acknowledge(bytes: number): void {
    this.#underWayBytes -= bytes;
    const before = this.queuedBytes;
    this.#pump();
    if (before > 0 && this.queuedBytes === 0 && !this.#isClosed) this.onDrained?.();
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.#read();
  }

  close(code = 1_000, reason = ''): void {
    if (this.#isClosed || this.#closing !== undefined) return;
    this.#closing = { code, reason };
    this.#pump();
  }

  /** Over once both ends have said so (RFC 6455 §7.1.2): who is told answers. */
  #handleClose(how: { readonly code: number; readonly reason: string }): void {
    if (this.#isClosed) return;
    this.closedWith = how;
    if (this.#closing === undefined) this.#later(() => this.peer.#finish(undefined));
    this.#finish(undefined);
  }

  terminate(): void {
    if (this.#isClosed) return;
    this.#later(() => this.peer.break());
    this.#finish(undefined);
  }

  /** The connection is reset, as seen from this end. */
  break(): void {
    this.#finish(new Error('connection reset'));
  }

  #finish(error: Error | undefined): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#backlog = [];
    this.queuedBytes = 0;
    this.#line.forget();
    this.onClose?.(error);
  }
}

/** What carries one connection. */
class SimLine {
  readonly delayMs: number;
  readonly #relay: SimRelay;
  /** Ends that have not closed. */
  openEnds = 2;
  isDead = false;

  constructor(relay: SimRelay, delayMs: number) {
    this.#relay = relay;
    this.delayMs = delayMs;
  }

  get inFlight(): number {
    return this.#relay.inFlight;
  }

  set inFlight(count: number) {
    this.#relay.inFlight = count;
  }

  forget(): void {
    if (--this.openEnds === 0) this.#relay.lines.delete(this);
  }
}

/** How a simulated relay is set up. */
export interface SimRelayOptions extends Omit<RelayHubOptions, 'clock' | 'rng'> {
  /** One way between any client and the relay, ms. */
  readonly delayMs?: number;
  /** Versions that the relay speaks. */
  readonly protocols?: readonly string[];
}

/** A relay with virtual time. */
export class SimRelay {
  readonly url: RelayUrl;
  hub: RelayHub;
  /** `down`: refuses; `silent`: neither answers nor refuses. */
  state: 'up' | 'down' | 'silent' = 'up';
  delayMs: number;
  /** Connections asked for. */
  dials = 0;
  /** Messages under way: each is a timer of the simulation, not of an endpoint. */
  inFlight = 0;
  /** What happened to clients, in order. */
  readonly events: RelayHubEvent[] = [];
  readonly lines = new Set<SimLine>();
  readonly #clock: SimClock;
  readonly #rng: Rng;
  readonly #options: SimRelayOptions;

  constructor(clock: SimClock, rng: Rng, url: string, options: SimRelayOptions) {
    this.url = RelayUrl.parse(url);
    this.#clock = clock;
    this.#rng = rng;
    this.#options = options;
    this.delayMs = options.delayMs ?? DEFAULT_DELAY_MS;
    this.hub = this.#newHub();
  }

  #newHub(): RelayHub {
    return new RelayHub({
      ...this.#options,
      clock: this.#clock,
      rng: this.#rng,
      onEvent: (event) => {
        this.events.push(event);
        this.#options.onEvent?.(event);
      },
    });
  }

  /** Ends all connections in order, and takes new ones at once. */
  restart(): void {
    this.hub.shutDown();
    this.hub = this.#newHub();
  }

  /** Resets all connections and refuses new ones until {@link comeUp}. */
  goDown(): void {
    this.state = 'down';
    this.hub.abort();
    this.hub = this.#newHub();
  }

  /** Nothing passes any more, and nobody is told, until {@link comeUp}; the connections of now stay dead. */
  fallSilent(): void {
    this.state = 'silent';
    for (const line of this.lines) line.isDead = true;
  }

  comeUp(): void {
    this.state = 'up';
  }

  /** Drops all connections; nothing is left of the relay. */
  close(): void {
    this.hub.abort();
  }

  /** Dials. @param localIp - The client's address, as it and the relay see it. */
  openWebSocket(request: WebSocketRequest, localIp: string | undefined): Promise<RelaySocket> {
    this.dials++;
    return new Promise((resolve, reject) => {
      const { signal } = request;
      if (signal.aborted) return reject(aborted(signal));
      // TCP, TLS and the upgrade: a round trip each, as one.
      const answer = (): void => {
        signal.removeEventListener('abort', onAbort);
        if (this.state === 'down') reject(new WebSocketError('dial', 'connection refused'));
        else this.#upgrade(request, localIp, resolve, reject);
      };
      const timer = this.state === 'silent' ? undefined : this.#clock.setTimeout(answer, 2 * this.delayMs);
      const onAbort = (): void => {
        this.#clock.clearTimeout(timer);
        reject(aborted(signal));
      };
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  #upgrade(
    request: WebSocketRequest,
    localIp: string | undefined,
    resolve: (socket: RelaySocket) => void,
    reject: (error: unknown) => void,
  ): void {
    const spoken = this.#options.protocols;
    const offered = request.protocols.filter((name) => spoken === undefined || spoken.includes(name));
    const protocol = chooseRelayProtocol(offered.join(','));
    if (protocol === undefined)
      return reject(new WebSocketError('upgrade', 'no common subprotocol', { status: 400 }));
    const secret = randomBytes(this.#rng, 32);
    const exporter = this.url.href.startsWith('https:')
      ? (length: number, label: string, context: Uint8Array): Uint8Array =>
          blake3(concatBytes(secret, utf8(label), context), { dkLen: length })
      : undefined;
    const line = new SimLine(this, this.delayMs);
    this.lines.add(line);
    const client = new SimRelaySocket(this.#clock, line, protocol, [localIp, '10.255.0.1'], exporter);
    const server = new SimRelaySocket(this.#clock, line, protocol, ['10.255.0.1', localIp], exporter);
    client.peer = server;
    server.peer = client;
    const headers = request.headers?.(exporter) ?? {};
    resolve(client);
    this.hub.accept(server, { token: request.authToken, authHeader: headers[CLIENT_AUTH_HEADER] });
  }
}

function aborted(signal: AbortSignal): WebSocketError {
  return new WebSocketError('aborted', 'dial aborted', { cause: signal.reason });
}

/** The relays of one simulated world. */
export class SimRelays {
  readonly #clock: SimClock;
  readonly #rng: Rng;
  readonly #relays = new Map<string, SimRelay>();

  constructor(world: { readonly clock: SimClock }, rng: Rng) {
    this.#clock = world.clock;
    this.#rng = rng;
  }

  add(url: string, options: SimRelayOptions = {}): SimRelay {
    const relay = new SimRelay(this.#clock, this.#rng, url, options);
    this.#relays.set(relay.url.href, relay);
    return relay;
  }

  get(url: RelayUrl): SimRelay | undefined {
    return this.#relays.get(url.href);
  }

  [Symbol.iterator](): Iterator<SimRelay> {
    return this.#relays.values();
  }

  /** Timers that messages under way have on the clock. */
  get inFlight(): number {
    return [...this].reduce((sum, relay) => sum + relay.inFlight, 0);
  }

  /** `Platform.openWebSocket` of a host with this address. */
  dialler(localIp: string | undefined): (request: WebSocketRequest) => Promise<RelaySocket> {
    return (request) =>
      this.get(request.url)?.openWebSocket(request, localIp) ??
      Promise.reject(new WebSocketError('dns', `no such relay: ${request.url}`));
  }

  close(): void {
    for (const relay of this) relay.close();
  }
}
