/**
 * An endpoint: one key, its sockets, and the connections it dials and accepts.
 *
 * @module
 */
import type { Observable } from 'rxjs';
import { keyLogFromEnvironment, qlogFromEnvironment, qlogToFolder } from '#transport/debug-output';
import { systemPlatform } from '#transport/system-platform';
import { ActorSystem } from './actors/actor-system.ts';
import { EndpointActor, type EndpointState } from './actors/endpoint-actor.ts';
import { partsOf } from './actors/internals.ts';
import type { BindOptions } from './actors/transports.ts';
import { deadlineOf, settleWithin, type WaitOptions } from './actors/wait.ts';
import { utf8 } from './base/bytes.ts';
import { EndpointAddr } from './base/endpoint-addr.ts';
import type { EndpointId } from './base/endpoint-id.ts';
import { ConnectError, ConnectWithOptsError } from './base/errors.ts';
import type { Addr } from './base/socket-addr.ts';
import { Connecting } from './connecting.ts';
import type { Connection } from './connection.ts';
import { SecretKey } from './crypto/keys.ts';
import { ExternalAddrs, toExternalAddr } from './external-addrs.ts';
import { Incoming } from './incoming.ts';
import { DEFAULT_TRANSPORT_CONFIG, type TransportConfig } from './quic/config.ts';
import type { QlogFactory } from './quic/qlog.ts';
import type { KeyLog } from './tls/session.ts';
import type { InspectedEvent } from './transport/channel.ts';
import { Log, type Logger } from './transport/log.ts';
import type { Platform } from './transport/platform.ts';

/** A protocol name, 1 to 255 bytes; strings are UTF-8. */
export type Alpn = string | Uint8Array;

/** Whom to dial: an address, an id, or the text of a ticket or an id. */
export type Remote = EndpointAddr | EndpointId | string;

/** Options of {@link Endpoint.bind}. All are optional. */
export interface EndpointOptions {
  /** `minimal` contacts no third party. `n0` will add relays and address lookup; until then it is the same. */
  readonly preset?: 'n0' | 'minimal';
  /** Identity; random by default. */
  readonly secretKey?: SecretKey | Uint8Array | undefined;
  /** Protocols that are accepted, in order of preference. */
  readonly alpns?: readonly Alpn[];
  /** Sockets; by default any IPv4 address, and any IPv6 address where there is IPv6. */
  readonly bind?: readonly (string | BindOptions)[];
  /** Addresses (`ip:port`) that others are told beside those that this endpoint sees: a forwarded port, say. */
  readonly externalAddrs?: readonly (string | Addr)[];
  /** Transport settings that differ from iroh's defaults. */
  readonly transport?: Partial<TransportConfig>;
  /**
   * Logs the secrets of connections, in NSS format, one line at a time without a line end. Whoever has them reads the
   * traffic. `true` appends to the file that the environment variable `SSLKEYLOGFILE` names; the variable alone does
   * nothing. Default false.
   */
  readonly keylog?: boolean | KeyLog | undefined;
  /**
   * Logs the events of each connection (qlog, JSON text sequences, no payload): into a folder, or wherever a function
   * says. Default: into the folder that the environment variable `QLOGDIR` names, if set; `false` ignores the variable.
   */
  readonly qlog?: string | false | QlogFactory | undefined;
  /** Takes lines about the life of endpoint, connections and paths, e.g. `console`. `DEBUG=iroh:*` prints the same. */
  readonly logger?: Logger | undefined;
  /**
   * Watches the actors of the endpoint: every event and transition of their machines, and every send on their channels. Give
   * it a recorder of `iroh-ts/inspect`. Costs nothing when absent; what it throws is ignored.
   */
  inspect?(event: InspectedEvent): void;
  /** Time, randomness and sockets; the system's by default. */
  readonly platform?: Platform;
}

/** Options of {@link Endpoint.connect}. */
export interface ConnectOptions extends WaitOptions {
  /** Further protocols to offer, after the main one. The server chooses. */
  readonly additionalAlpns?: readonly Alpn[];
  /** Transport settings for this connection. */
  readonly transport?: Partial<TransportConfig>;
}

/** Options of {@link Endpoint.close}. */
export interface CloseOptions {
  /** How long to wait for peers that do not answer, ms. Default 3 s. */
  readonly timeoutMs?: number;
}

/** One endpoint. Make it with {@link Endpoint.bind}; {@link close} it when done. */
export class Endpoint {
  readonly #actor: EndpointActor;
  readonly #transport: TransportConfig;
  #externalAddrs: ExternalAddrs | undefined;

  private constructor(actor: EndpointActor, transport: TransportConfig) {
    this.#actor = actor;
    this.#transport = transport;
  }

  /**
   * Binds sockets.
   * @throws {BindError} when a required socket cannot be bound; {@link InvalidSocketAddrError} on bad `bind` options.
   */
  static async bind(options: EndpointOptions = {}): Promise<Endpoint> {
    const { secretKey } = options;
    const platform = options.platform ?? systemPlatform;
    const transport = { ...DEFAULT_TRANSPORT_CONFIG, ...options.transport };
    const log = new Log(options.logger);
    const actor = await EndpointActor.bind({
      platform,
      secretKey:
        secretKey === undefined
          ? SecretKey.generate(platform.rng)
          : secretKey instanceof Uint8Array
            ? SecretKey.fromBytes(secretKey)
            : secretKey,
      alpns: (options.alpns ?? []).map(toAlpn),
      bind: options.bind ?? [],
      externalAddrs: (options.externalAddrs ?? []).map(toExternalAddr),
      transport,
      keyLog: toKeyLog(options.keylog),
      qlog: toQlogFactory(options.qlog),
      log,
    });
    const endpoint = new Endpoint(actor, transport);
    const system = new ActorSystem({
      clock: platform.clock,
      inspect: options.inspect && ((event) => options.inspect!(event)),
      onError: (name, error) => log.write('endpoint', () => `actor "${name}" failed: ${String(error)}`),
    });
    partsOf.set(endpoint, { system, log });
    return endpoint;
  }

  /** The public key: what others dial. */
  get id(): EndpointId {
    return this.#actor.id;
  }

  /** The identity's secret half. Never prints itself; `toBytes()` is for storing it. */
  get secretKey(): SecretKey {
    return this.#actor.secretKey;
  }

  /** Id and current addresses. Give `addr.toTicket()` to whom should dial. */
  get addr(): EndpointAddr {
    return this.#actor.addr$.value;
  }

  /** {@link addr} now and after each change; completes when the endpoint closes. */
  get addr$(): Observable<EndpointAddr> {
    return this.#actor.addr$.asObservable();
  }

  /** Addresses that others are told beside those that this endpoint sees. */
  get externalAddrs(): ExternalAddrs {
    return (this.#externalAddrs ??= new ExternalAddrs(this.#actor));
  }

  /** Addresses that sockets are bound to. */
  get boundSockets(): readonly Addr[] {
    return this.#actor.transports.localAddrs;
  }

  /** Where in its life the endpoint is. It never goes back. */
  get state(): EndpointState {
    return this.#actor.state;
  }

  /** True once {@link close} has completed. */
  get isClosed(): boolean {
    return this.#actor.state === 'closed';
  }

  /** Resolves when the endpoint starts to close. */
  get closed(): Promise<void> {
    return this.#actor.closeStarted.promise;
  }

  /**
   * Dials and waits for the handshake. Aborting ends the attempt at once.
   * @throws {ConnectError} with the reason as `code`; TimeoutError after `timeoutMs`; the signal's reason when aborted.
   */
  async connect(remote: Remote, alpn: Alpn, options: ConnectOptions = {}): Promise<Connection> {
    const { signal, timeoutMs } = options;
    signal?.throwIfAborted();
    const connecting = this.dial(remote, alpn, options);
    if (signal === undefined && timeoutMs === undefined) return connecting.connected;
    try {
      return await settleWithin(this.#actor.driver.clock, connecting.connected, options);
    } catch (error) {
      connecting.abort();
      throw error;
    }
  }

  /**
   * Dials. The returned object gives access to early data.
   * @throws {ConnectError} when dialling cannot even start.
   */
  dial(remote: Remote, alpn: Alpn, options: ConnectOptions = {}): Connecting {
    const { state, id: own } = this.#actor;
    if (state === 'closed') throw refusal('EndpointClosed', 'the endpoint is closed');
    const addr = EndpointAddr.from(remote);
    if (addr.id.equals(own)) throw refusal('SelfConnect', 'the address is that of this endpoint');
    const alpns = [alpn, ...(options.additionalAlpns ?? [])].map(toAlpn);
    if (alpns.some((name) => name.length === 0 || name.length > 255)) {
      throw refusal('InvalidAlpn', 'a protocol name has 1 to 255 bytes');
    }
    // Own addresses lead to ourselves, whatever an address book says.
    const ips = addr.ips.filter((ip) => !this.addr.ips.includes(ip));
    if (ips.length === 0) throw refusal('NoAddress', 'no address is known, and there is no address lookup');
    if (state === 'closing') throw refusal('EndpointStopping', 'the endpoint is closing');
    const transport = options.transport && { ...this.#transport, ...options.transport };
    return new Connecting(this.#actor.dial(addr.id, ips, alpns, transport), addr.id);
  }

  /** The next attempt to connect; undefined once the endpoint closes. */
  async accept(options: WaitOptions = {}): Promise<Incoming | undefined> {
    const actor = this.#actor;
    const left = deadlineOf(actor.driver.clock, options);
    for (;;) {
      const ref = actor.takeIncoming();
      if (ref !== undefined) return new Incoming(actor, ref);
      if (actor.state !== 'open') return undefined;
      await actor.incomingArrived.wait(left());
    }
  }

  /** Attempts to connect as they come; ends when the endpoint closes. */
  async *incoming(): AsyncGenerator<Incoming, void, undefined> {
    for (let next = await this.accept(); next !== undefined; next = await this.accept()) yield next;
  }

  /** Replaces the protocols that new handshakes may negotiate. */
  setAlpns(alpns: readonly Alpn[]): void {
    this.#actor.setAlpns(alpns.map(toAlpn));
  }

  /** Hint that the network changed: addresses are read again, connections look for a way on. */
  networkChanged(): void {
    this.#actor.networkChanged();
  }

  /**
   * Closes all connections with code 0, waits until their peers know, and frees the sockets. Every call waits for the end.
   */
  close(options: CloseOptions = {}): Promise<void> {
    return this.#actor.close(options.timeoutMs);
  }

  /** The same as {@link close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function toKeyLog(keylog: EndpointOptions['keylog']): KeyLog | undefined {
  if (keylog === true) return keyLogFromEnvironment();
  return keylog === false ? undefined : keylog;
}

function toQlogFactory(qlog: EndpointOptions['qlog']): QlogFactory | undefined {
  if (qlog === undefined) return qlogFromEnvironment();
  if (qlog === false) return undefined;
  return typeof qlog === 'string' ? qlogToFolder(qlog) : qlog;
}

/** A copy: `slice` of a Buffer would be a view. */
function toAlpn(alpn: Alpn): Uint8Array {
  return typeof alpn === 'string' ? utf8(alpn) : new Uint8Array(alpn);
}

function refusal(
  leaf: 'EndpointClosed' | 'EndpointStopping' | 'SelfConnect' | 'InvalidAlpn' | 'NoAddress',
  message: string,
): ConnectError {
  const cause = new ConnectWithOptsError(`ConnectWithOptsError.${leaf}`, message);
  return leaf === 'NoAddress'
    ? new ConnectError('ConnectError.NoAddress.NoServiceConfigured', message, cause)
    : new ConnectError(`ConnectError.${leaf}`, message, cause);
}
