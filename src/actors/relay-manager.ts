/**
 * All relays of one endpoint: its home, and those that peers are reached over, each dialled when it is first needed
 * (upstream `iroh/src/socket/transports/relay/actor.rs`, `RelayActor`).
 *
 * Each relay has its own queue and its own connection: one that is dead delays nobody.
 *
 * @module
 */
import type { Metrics } from '../base/metrics.ts';
import type { RelayUrl } from '../base/relay-url.ts';
import type { SecretKey } from '../crypto/keys.ts';
import { relayIdentity } from '../relay/handshake.ts';
import type { RelayMap } from '../relay/relay-map.ts';
import { isSameStatus, type RelayStatus } from '../relay/relay-status.ts';
import type { Watch, Watched } from '../transport/channel.ts';
import type { Log } from '../transport/log.ts';
import type { TlsTrust } from '../transport/relay-socket.ts';
import type { ActorSystem } from './actor-system.ts';
import {
  RelayClient,
  type RelayClientListener,
  type RelayClientShared,
  type RelayPlatform,
} from './relay-client.ts';
import type { RelayControl } from './socket.ts';

/**
 * Most relays in use at once. Which relays those of peers are is theirs to say; datagrams for one more are dropped until
 * another has been left.
 */
export const MAX_ACTIVE_RELAYS = 256;

/** A datagram that came over a relay. */
export interface RelayedDatagram {
  /** The relay. */
  readonly url: RelayUrl;
  /** Who sent it, says the relay: 32 bytes. Mostly the same array for the same sender. */
  readonly from: Uint8Array;
  /** Owned by the receiver. */
  readonly data: Uint8Array;
}

/** How a {@link RelayManager} is made. */
export interface RelayManagerOptions {
  readonly system: ActorSystem;
  /** Short form of the endpoint's id. */
  readonly name: string;
  /** Proves to relays who we are. */
  readonly secretKey: SecretKey;
  readonly platform: RelayPlatform;
  /** Says which token a relay is shown; others are dialled without one. */
  readonly relays: RelayMap;
  readonly tls?: TlsTrust | undefined;
  /** URL of an HTTP proxy (CONNECT). */
  readonly proxy?: string | undefined;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** The relays of an endpoint. */
export class RelayManager implements RelayControl {
  /** Datagrams of one message of a relay. */
  onDatagrams: ((batch: readonly RelayedDatagram[]) => void) | undefined;
  /**
   * Somebody who had sent to us over this relay has left it. A hint: it may have come back before this is told. The relay
   * gives no reason. @param id - 32 bytes, borrowed.
   */
  onEndpointGone: ((url: RelayUrl, id: Uint8Array) => void) | undefined;
  readonly #shared: RelayClientShared;
  readonly #clients = new Map<string, RelayClient>();
  readonly #homeRelay: Watch<RelayStatus | undefined>;
  readonly #listener: RelayClientListener;
  #home: RelayUrl | undefined;
  #preferIpv6 = false;
  #clientCount = 0;
  #closed: Promise<void> | undefined;

  constructor(options: RelayManagerOptions) {
    const { system, name, secretKey, platform, relays, tls, proxy, log, metrics } = options;
    this.#shared = {
      system,
      name,
      identity: relayIdentity(secretKey),
      platform,
      tls,
      proxy,
      log,
      metrics,
      authToken: (url) => relays.get(url)?.authToken,
      preferIpv6: () => this.#preferIpv6,
    };
    this.#homeRelay = system.watch<RelayStatus | undefined>(
      'home relay',
      `relays ${name}`,
      undefined,
      isSameStatus,
    );
    this.#listener = {
      onDatagrams: ({ url }, from, datagrams) => {
        this.onDatagrams?.(datagrams.map((data) => ({ url, from, data })));
      },
      onEndpointGone: ({ url }, id) => this.onEndpointGone?.(url, id),
      onStatus: (status) => {
        // Another one may have become home since.
        if (this.#home?.equals(status.url) === true) this.#homeRelay.set(status);
      },
      onStopped: (client, hasFailed) => this.#reap(client, hasFailed),
    };
  }

  /** The relay that others are told to find us at, and its connection. Undefined until one is chosen. */
  get homeRelay(): Watched<RelayStatus | undefined> {
    return this.#homeRelay;
  }

  /** Every relay in use. */
  activeRelays(): readonly RelayStatus[] {
    return [...this.#clients.values()].map(({ status }) => status);
  }

  /** Chooses the home relay: it is dialled and kept, the one before is left once it is not used any more. */
  setHome(url: RelayUrl | undefined): void {
    if (this.#closed !== undefined) return;
    const before = this.#home;
    this.#home = url;
    if (url === undefined) {
      // Before the old one is told, so that nothing of it is heard after.
      this.#homeRelay.set(undefined);
      this.#client(before)?.setHome(false);
      return;
    }
    if (before?.equals(url) !== true) {
      this.#shared.metrics.add('relay_home_change');
      this.#log(() => `home is ${url.toUrl().host}`);
      this.#client(before)?.setHome(false);
    }
    const client = this.#client(url) ?? this.#start(url);
    client.setHome(true);
    this.#homeRelay.set(client.status);
  }

  /** Whether IPv6 is to be tried first, with the next dials. */
  setIpv6Works(works: boolean): void {
    this.#preferIpv6 = works;
  }

  /** The network changed: connections from another address than these are dialled anew, others are asked whether they live. */
  checkConnections(localIps: readonly string[]): void {
    const ips = new Set(localIps);
    for (const client of [...this.#clients.values()]) client.check(ips);
  }

  /** Relays that failed are dialled again now. */
  cutBackoff(): void {
    for (const client of [...this.#clients.values()]) client.retry();
  }

  /**
   * The relay map has other relays or tokens. A relay that failed is dialled again now if its token is another one. Those
   * that were taken out are used as long as anybody needs them, as upstream does.
   */
  relayMapChanged(): void {
    for (const client of [...this.#clients.values()]) client.retryIfTokenChanged();
  }

  /**
   * Sends a run of datagrams to one peer; dials the relay if nobody did. Never throws. What cannot be sent is dropped and
   * counted; nothing here holds up other relays.
   *
   * @param url - Where the peer is. Any relay: it need not be in the map.
   * @param to - The peer's id, 32 bytes.
   * @param datagrams - Copied before this returns.
   */
  send(url: RelayUrl, to: Uint8Array, datagrams: readonly Uint8Array[], from: number, until: number): void {
    const client = this.#closed === undefined ? this.#clientFor(url, to) : undefined;
    if (client === undefined) this.#shared.metrics.add('send_dropped', until - from);
    else client.send(to, datagrams, from, until);
  }

  /** The peer's own relay; else one that we are at and have heard the peer over; else the peer's own, dialled now. */
  #clientFor(url: RelayUrl, to: Uint8Array): RelayClient | undefined {
    const own = this.#clients.get(url.href);
    if (own !== undefined) return own;
    for (const client of this.#clients.values()) if (client.hasRoute(to)) return client;
    return this.#clients.size < MAX_ACTIVE_RELAYS ? this.#start(url) : undefined;
  }

  #client(url: RelayUrl | undefined): RelayClient | undefined {
    return url && this.#clients.get(url.href);
  }

  #start(url: RelayUrl): RelayClient {
    const id = `relay ${this.#shared.name} ${++this.#clientCount} ${url.toUrl().host}`;
    const isHome = this.#home?.equals(url) === true;
    const client = new RelayClient(this.#shared, id, url, isHome, this.#listener);
    this.#clients.set(url.href, client);
    return client;
  }

  #reap(client: RelayClient, hasFailed: boolean): void {
    this.#clients.delete(client.url.href);
    // Home is kept by its chart. One that broke is not started again at once, for it would break again: the next report does.
    if (!hasFailed) return;
    this.#log(() => `relay ${client.url.toUrl().host} failed`);
    this.#listener.onStatus({ url: client.url, state: 'disconnected' });
  }

  #log(line: () => string): void {
    this.#shared.log.write('endpoint', () => `${this.#shared.name} ${line()}`);
  }

  /**
   * Ends all connections in order. Resolves once they are over, at most 3 s later. Nothing is heard after. Idempotent.
   * @param signal - Drops those that are left when it aborts.
   */
  close(signal?: AbortSignal): Promise<void> {
    this.#closed ??= this.#close();
    const drop = (): void => {
      for (const client of this.#clients.values()) client.drop();
    };
    if (signal?.aborted === true) drop();
    else signal?.addEventListener('abort', drop, { once: true });
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.onDatagrams = undefined;
    this.onEndpointGone = undefined;
    await Promise.all([...this.#clients.values()].map((client) => client.stop()));
    this.#homeRelay.close();
  }
}
