/**
 * Gives the chart of `machines/relay-client.ts` its body: one relay, dialled again whenever the connection is lost.
 *
 * Datagrams are plain method calls; the chart hears of what changes the connection's life.
 *
 * @module
 */
import { fromPromise, type Actor } from 'xstate';
import type { Clock, Millis } from '../base/clock.ts';
import { RelayError, type CodeOf } from '../base/errors.ts';
import type { Metrics } from '../base/metrics.ts';
import type { RelayUrl } from '../base/relay-url.ts';
import { randomBelow, type Rng } from '../base/rng.ts';
import {
  RELAY_CONNECT_TIMEOUT_MS,
  RELAY_INACTIVE_CLEANUP_MS,
  RELAY_PING_INTERVAL_MS,
  UNDELIVERABLE_DATAGRAM_TIMEOUT_MS,
  relayBackoffMs,
  relayClientMachine,
  type RelayLossReason,
} from '../machines/relay-client.ts';
import { RELAY_PROTOCOLS, isRelayable, packDatagrams } from '../relay/frames.ts';
import { CLIENT_AUTH_HEADER, keyMaterialHeader, type RelayIdentity } from '../relay/handshake.ts';
import type { RelayProblem, RelayStatus } from '../relay/relay-status.ts';
import { SendQueue, type WaitingFrame } from '../relay/send-queue.ts';
import type { Log } from '../transport/log.ts';
import {
  WebSocketError,
  type RelaySocket,
  type TlsTrust,
  type WebSocketRequest,
} from '../transport/relay-socket.ts';
import type { ActorSystem } from './actor-system.ts';
import { RelayConnection, type RelayConnectionListener } from './relay-connection.ts';

/** What is due sooner is due: a timer for less may be one for nothing, again and again. */
const TIMER_PRECISION_MS = 1;

/** What relay clients take from the platform. */
export interface RelayPlatform {
  readonly clock: Clock;
  /** Challenges, pings and jitter. */
  readonly rng: Rng;
  /** @throws {WebSocketError} */
  openWebSocket(request: WebSocketRequest): Promise<RelaySocket>;
}

/** What all relay clients of an endpoint share. */
export interface RelayClientShared {
  readonly system: ActorSystem;
  /** Short form of the endpoint's id. */
  readonly name: string;
  readonly identity: RelayIdentity;
  readonly platform: RelayPlatform;
  readonly tls: TlsTrust | undefined;
  /** URL of an HTTP proxy. */
  readonly proxy: string | undefined;
  readonly log: Log;
  readonly metrics: Metrics;
  /** As it is when the relay is dialled. */
  readonly authToken: (url: RelayUrl) => string | undefined;
  /** As it is when the relay is dialled. */
  readonly preferIpv6: () => boolean;
}

/** What a relay client tells its owner. */
export interface RelayClientListener {
  /** @param from - 32 bytes, the same array for the same sender. @param datagrams - Borrowed; views into one message. */
  onDatagrams(client: RelayClient, from: Uint8Array, datagrams: readonly Uint8Array[]): void;
  /** @param id - 32 bytes, borrowed. */
  onEndpointGone(client: RelayClient, id: Uint8Array): void;
  /** While the relay is home. */
  onStatus(status: RelayStatus): void;
  /** It is over; `hasFailed` when its chart broke, which is our fault. */
  onStopped(client: RelayClient, hasFailed: boolean): void;
}

type RunFailure =
  | 'SendTimeout'
  | 'PingTimeout'
  | 'LocalIpInvalid'
  | 'LocalAddrMissing'
  | 'StreamClosedServer'
  | 'ClientStreamRead';

const LOSSES: Readonly<Record<RelayLossReason, readonly [RunFailure, string]>> = {
  sendTimeout: ['SendTimeout', 'the relay takes nothing'],
  pongTimeout: ['PingTimeout', 'the relay does not answer'],
  localIpInvalid: ['LocalIpInvalid', 'our address is gone'],
  localAddrMissing: ['LocalAddrMissing', 'the network changed, and our address is not known'],
  closedByRelay: ['StreamClosedServer', 'closed by the relay'],
  broken: ['ClientStreamRead', 'the connection broke'],
  protocolError: ['ClientStreamRead', 'the relay broke the protocol'],
};

/** A relay in use. */
export class RelayClient {
  readonly url: RelayUrl;
  readonly #shared: RelayClientShared;
  readonly #listener: RelayClientListener;
  readonly #label: string;
  readonly #queue = new SendQueue();
  readonly #actor: Actor<typeof relayClientMachine>;
  readonly #stopped: Promise<void>;
  #connection: RelayConnection | undefined;
  /** The connection takes datagrams. */
  #isUp = false;
  #hasPong = false;
  #state: RelayStatus['state'] = 'connecting';
  #lastError: RelayError | undefined;
  #lossCause: unknown;
  #problem: RelayProblem | undefined;
  #wasRateLimited = false;
  #dialledToken: string | undefined;
  #usedAt: Millis;
  #pongLimitMs: Millis = 0;

  /** Dials at once. @param id - Of the actor; unique. */
  constructor(
    shared: RelayClientShared,
    id: string,
    url: RelayUrl,
    isHome: boolean,
    listener: RelayClientListener,
  ) {
    this.#shared = shared;
    this.#listener = listener;
    this.url = url;
    // A URL may hold secrets.
    const relay = url.toUrl().host;
    this.#label = `${shared.name} relay ${relay}`;
    this.#usedAt = shared.platform.clock.now();
    let setStopped!: () => void;
    this.#stopped = new Promise((resolve) => (setStopped = resolve));
    this.#actor = shared.system.start(this.#machine(), id, { relay, isHome });
    const end = (hasFailed: boolean): void => {
      this.#drop();
      setStopped();
      listener.onStopped(this, hasFailed);
    };
    this.#actor.subscribe({ complete: () => end(false), error: () => end(true) });
  }

  get status(): RelayStatus {
    return {
      url: this.url,
      state: this.#state,
      ...(this.#lastError && { lastError: this.#lastError }),
      ...(this.#problem && { problem: this.#problem }),
    };
  }

  /** Whether somebody with this id was heard of over the connection of now. Answers at once. @param id - 32 bytes. */
  hasRoute(id: Uint8Array): boolean {
    return this.#connection?.routes.has(id) ?? false;
  }

  #machine(): typeof relayClientMachine {
    const { clock, rng } = this.#shared.platform;
    return relayClientMachine.provide({
      actors: {
        'dial relay': fromPromise(({ signal }) => this.#dial(signal)),
        'prove who we are': fromPromise(({ signal }) => this.#prove(signal)),
        'read what has come': fromPromise(() => new Promise((resolve) => clock.defer(resolve))),
        'say goodbye': fromPromise(() => this.#sayGoodbye()),
      },
      actions: {
        'set status': ({ context }, { state }) => this.#setStatus(state, context.isHome),
        'publish status': () => this.#listener.onStatus(this.status),
        'send what waits': () => {
          this.#isUp = true;
          this.#dropStale();
          this.#flush();
        },
        'send ping': () => (this.#pongLimitMs = this.#connection!.ping()),
        'note time-out of attempt': () =>
          this.#fail('Dial.Timeout', `no connection within ${RELAY_CONNECT_TIMEOUT_MS} ms`),
        'note loss': ({ event }) => event.type === 'lost' && this.#noteLoss(event.reason),
        'drop connection': () => this.#drop(),
        'drop stale datagrams': () => this.#dropStale(),
        'count as use': () => (this.#usedAt = clock.now()),
        'note what is sent': () => this.#connection!.watchWrites(),
      },
      guards: {
        'heard something': () => this.#silenceLimit() >= TIMER_PRECISION_MS,
        'sent something': () => this.#idleLimit() >= TIMER_PRECISION_MS,
        'holds datagrams': () => this.#queue.length > 0,
        'all is taken': () => this.#connection!.endWatch(),
        'some is taken': () => this.#connection!.hasTakenSome,
      },
      delays: {
        'back-off': ({ context }) => {
          const ms = relayBackoffMs(context.failures);
          return ms + randomBelow(rng, ms + 1);
        },
        'pong limit': () => this.#pongLimitMs,
        'silence limit': () => this.#silenceLimit(),
        'idle limit': () => this.#idleLimit(),
        'undeliverable limit': () =>
          (this.#queue.oldestAt ?? clock.now()) + UNDELIVERABLE_DATAGRAM_TIMEOUT_MS - clock.now(),
      },
    });
  }

  #silenceLimit(): Millis {
    return (this.#connection?.heardAt ?? 0) + RELAY_PING_INTERVAL_MS - this.#shared.platform.clock.now();
  }

  #idleLimit(): Millis {
    return this.#usedAt + RELAY_INACTIVE_CLEANUP_MS - this.#shared.platform.clock.now();
  }

  // --- dialling -------------------------------------------------------------------------------------------------------------

  async #dial(signal: AbortSignal): Promise<void> {
    const { identity, platform, tls, proxy, authToken, preferIpv6 } = this.#shared;
    const token = authToken(this.url);
    this.#dialledToken = token;
    try {
      const socket = await platform.openWebSocket({
        url: this.url,
        protocols: RELAY_PROTOCOLS,
        authToken: token,
        headers: (exporter) =>
          exporter === undefined ? {} : { [CLIENT_AUTH_HEADER]: keyMaterialHeader(identity, exporter) },
        tls,
        proxy,
        preferIpv6: preferIpv6(),
        signal,
      });
      if (signal.aborted) socket.terminate();
      signal.throwIfAborted();
      // In this very turn: what the relay says at once would be lost.
      this.#connection = new RelayConnection(socket, identity, platform, this.#connectionListener());
      this.#hasPong = false;
      this.#wasRateLimited = false;
    } catch (error) {
      if (!signal.aborted) this.#failDial(error);
      throw error;
    }
  }

  async #prove(signal: AbortSignal): Promise<void> {
    try {
      await this.#connection!.confirmed;
    } catch (error) {
      if (!signal.aborted) this.#failDial(error);
      throw error;
    }
  }

  #failDial(error: unknown): void {
    if (error instanceof RelayError) return this.#setError(error);
    const { message } = error as Error;
    if (!(error instanceof WebSocketError))
      return this.#fail('Dial.Connect.Websocket', message, { cause: error });
    const { failure, status } = error;
    switch (failure) {
      case 'tls':
        return this.#fail('Dial.Connect.Tls', message, { cause: error });
      case 'protocol':
        return this.#fail('Dial.Connect.BadVersionHeader', message, { cause: error });
      case 'upgrade':
        return status === undefined
          ? this.#fail('Dial.Connect.Upgrade', message, { cause: error })
          : this.#fail('Dial.Connect.UnexpectedUpgradeStatus', message, { cause: error, status });
      default:
        return this.#fail('Dial.Connect.Dial', message, { cause: error });
    }
  }

  #noteLoss(reason: RelayLossReason): void {
    const [failure, text] = LOSSES[reason];
    const cause = this.#lossCause;
    if (this.#isUp) this.#fail(`${this.#hasPong ? 'Established' : 'Handshake'}.${failure}`, text, { cause });
    else if (reason === 'protocolError') this.#fail('Dial.Connect.Handshake', text, { cause });
    else this.#fail('Dial.Connect.Websocket', text, { cause });
  }

  #fail(
    code: CodeOf<'RelayError'> extends `RelayError.${infer Rest}` ? Rest : never,
    message: string,
    fields: { readonly cause?: unknown; readonly status?: number } = {},
  ): void {
    this.#setError(new RelayError(`RelayError.${code}`, message, fields));
  }

  #setError(error: RelayError): void {
    this.#lastError = error;
    if (!this.#isUp) this.#shared.metrics.add('relay_conns_failed');
    this.#log(() => `failed: ${error.code}: ${error.message}`);
  }

  #setStatus(state: RelayStatus['state'], isHome: boolean): void {
    this.#state = state;
    if (state === 'connecting') this.#problem = undefined;
    if (state === 'connected') {
      this.#lastError = undefined;
      this.#shared.metrics.add('relay_conns_success');
      this.#log(() => 'connected');
    }
    if (isHome) this.#listener.onStatus(this.status);
  }

  // --- while connected ------------------------------------------------------------------------------------------------------

  #connectionListener(): RelayConnectionListener {
    const { metrics } = this.#shared;
    return {
      onDatagrams: (from, datagrams) => this.#listener.onDatagrams(this, from, datagrams),
      onEndpointGone: (id) => this.#listener.onEndpointGone(this, id),
      onPong: () => {
        this.#hasPong = true;
        this.#actor.send({ type: 'pong' });
      },
      onProblem: (problem) => this.#noteProblem(problem),
      onLost: (reason, cause) => {
        this.#lossCause = cause;
        this.#actor.send({ type: 'lost', reason });
      },
      onBlocked: () => this.#actor.send({ type: 'blocked' }),
      onWritable: () => this.#flush(),
      onDropped: (count) => metrics.add('recv_dropped', count),
      log: (line) => this.#log(line),
    };
  }

  #noteProblem(problem: RelayProblem | undefined): void {
    if (problem === 'rateLimited' && !this.#wasRateLimited) {
      this.#wasRateLimited = true;
      this.#shared.metrics.add('relay_conns_ratelimited');
    }
    if (problem === this.#problem) return;
    this.#problem = problem;
    this.#log(() => (problem === undefined ? 'is well' : `reports a problem: ${problem}`));
    if (this.#actor.getSnapshot().context.isHome) this.#listener.onStatus(this.status);
  }

  /**
   * Sends a run of datagrams to one peer, or keeps them for when there is a connection. What the queue has no room for is
   * dropped, the oldest first. @param to - 32 bytes. @param datagrams - Copied.
   */
  send(to: Uint8Array, datagrams: readonly Uint8Array[], from: number, until: number): void {
    const { clock } = this.#shared.platform;
    const now = clock.now();
    this.#usedAt = now;
    for (let i = from; i < until;) {
      if (!isRelayable(datagrams[i]!)) {
        i++;
        this.#countDropped(1);
        continue;
      }
      const { message, count } = packDatagrams('client', to, 0, datagrams, i, until);
      i += count;
      if (this.#isUp && this.#queue.length === 0 && this.#connection!.canWrite)
        this.#connection!.write(message);
      else this.#keep({ message, datagrams: count, at: now });
    }
  }

  #keep(frame: WaitingFrame): void {
    const isFirst = this.#queue.length === 0;
    this.#countDropped(this.#queue.push(frame));
    if (isFirst && this.#actor.getSnapshot().matches({ active: { queue: 'empty' } }))
      this.#actor.send({ type: 'held' });
  }

  #flush(): void {
    const connection = this.#connection;
    while (this.#isUp && connection!.canWrite) {
      const frame = this.#queue.shift();
      if (frame === undefined) return;
      connection!.write(frame.message);
    }
  }

  #dropStale(): void {
    const now = this.#shared.platform.clock.now();
    this.#countDropped(this.#queue.dropUntil(now - UNDELIVERABLE_DATAGRAM_TIMEOUT_MS + TIMER_PRECISION_MS));
  }

  #countDropped(count: number): void {
    if (count > 0) this.#shared.metrics.add('send_dropped', count);
  }

  // --- what the owner decides -----------------------------------------------------------------------------------------------

  /** Whether this relay is home now: kept, and its status told. */
  setHome(isHome: boolean): void {
    this.#actor.send({ type: 'setHome', isHome });
  }

  /** The network changed. @param localIps - The host's addresses. */
  check(localIps: ReadonlySet<string>): void {
    const ip = this.#connection?.localIp;
    const localAddr = ip === undefined ? 'hidden' : localIps.has(withoutMapping(ip)) ? 'kept' : 'gone';
    this.#actor.send({ type: 'check', localAddr });
  }

  /** Waits no longer for the next attempt. */
  retry(): void {
    this.#actor.send({ type: 'retry' });
  }

  /** As {@link retry}, if the relay would be shown another token. */
  retryIfTokenChanged(): void {
    if (this.#shared.authToken(this.url) !== this.#dialledToken) this.retry();
  }

  // --- the end --------------------------------------------------------------------------------------------------------------

  /** Ends the connection in order. Resolves once it is over, within the grace of the chart. Idempotent. */
  stop(): Promise<void> {
    this.#actor.send({ type: 'stop' });
    return this.#stopped;
  }

  /** There is no time for an end in order: who has been told to {@link stop} waits for the relay no longer. */
  drop(): void {
    this.#connection?.drop();
  }

  async #sayGoodbye(): Promise<void> {
    const connection = this.#connection;
    if (connection === undefined) return;
    // What QUIC says at its end is worth most.
    while (this.#isUp && this.#queue.length > 0) connection.write(this.#queue.shift()!.message);
    this.#log(() => 'closing');
    const isClosed = connection.close();
    this.#leave();
    await isClosed;
    if (this.#connection === connection) this.#connection = undefined;
  }

  #leave(): void {
    if (!this.#isUp) return;
    this.#isUp = false;
    this.#shared.metrics.add('relay_conns_closed');
  }

  #drop(): void {
    this.#leave();
    this.#connection?.drop();
    this.#connection = undefined;
    this.#lossCause = undefined;
  }

  #log(line: () => string): void {
    this.#shared.log.write('endpoint', () => `${this.#label}: ${line()}`);
  }
}

/** The system may show an IPv4 address as an IPv6 one (RFC 4291 §2.5.5.2). */
function withoutMapping(ip: string): string {
  return ip.replace(/^::ffff:(?=[\d.]+$)/i, '');
}
