/**
 * A lookup server: endpoints put signed packets, others get them, or ask for what is in them by DNS
 * (`iroh-dns-server`). Listeners around a record store, started and ended in order.
 *
 * @module
 */
import { systemPlatform } from '#transport/system-platform';
import type { TimerId } from '../base/clock.ts';
import type { EndpointId } from '../base/endpoint-id.ts';
import { DnsServerError } from '../base/errors.ts';
import type { Addr } from '../base/socket-addr.ts';
import { DnsServerMetrics, type DnsServerMetric } from '../dns/server/metrics.ts';
import { Zones, type ZoneOptions } from '../dns/server/zones.ts';
import { HttpListener } from '../transport/http-listener.ts';
import type { Platform } from '../transport/platform.ts';
import { MAX_REMOVALS, MemoryRecordStore, type RecordStore } from '../transport/record-store.ts';
import { SqliteRecordStore } from '../transport/sqlite-record-store.ts';
import { DhtFallback } from './dht-fallback.ts';
import { DhtForwarder } from './dht-forwarder.ts';
import { DnsAnswers } from './dns-answers.ts';
import { DnsHttp, MAX_BODY_BYTES } from './dns-http.ts';
import { DnsListener } from './dns-listener.ts';
import {
  hostOf,
  listenOn,
  readCertificate,
  toBindAddr,
  type ServerCertificate,
  type ServerFault,
} from './listening.ts';
import { MainlineDht } from './mainline-dht.ts';
import { PutLimits, type PutRateLimit } from './put-limits.ts';

/** Version in `/healthz`. */
const VERSION = '0.1.0';
/** Packets older than a week are removed; upstream `store.rs`, `eviction`. */
const DEFAULT_KEEP_MS = 7 * 86_400_000;
/** How often; as upstream. */
const EXPIRY_INTERVAL_MS = 10_000;
/** Connections at a time, of HTTP and of DNS over TCP each, unless configured. */
const DEFAULT_MAX_CONNECTIONS = 10_000;

const fault: ServerFault = (leaf, message, cause) =>
  new DnsServerError(`DnsServerError.${leaf}`, message, cause);

/** What a lookup server does with the DHT. */
export interface MainlineOptions {
  /** `host:port` of nodes to ask first. Default: four that are known to everybody. */
  readonly bootstrap?: readonly string[] | undefined;
  /** Brings what is put to the DHT as well, where everybody can find it. Default false. */
  readonly publish?: boolean | undefined;
}

/** How a lookup server is set up. */
export interface DnsServerOptions extends ZoneOptions {
  /** `ip:port` for HTTP. Default `127.0.0.1:0`: any port of this host, for this host. */
  readonly bind?: string | undefined;
  /** HTTPS beside HTTP. */
  readonly tls?: (ServerCertificate & { readonly bind: string }) | undefined;
  /** `ip:port` for DNS, over UDP and TCP; several for both families. False: over HTTP only. Default `127.0.0.1:0`. */
  readonly dnsBind?: string | readonly string[] | false | undefined;
  /** Host name in {@link DnsServer.url}; default: the bound address, `localhost` where that is "any". */
  readonly hostname?: string | undefined;
  /** Where packets are kept: in a database, which `close` closes; in a store of one's own, which it does not. Default `memory`. */
  readonly store?: 'memory' | { readonly file: string } | RecordStore | undefined;
  /** For each address; false: none. Default: two puts at once, another one every 4 s. */
  readonly putRateLimit?: PutRateLimit | false | undefined;
  /** Packets older than this are refused and removed, ms. Default: a week. */
  readonly keepMs?: number | undefined;
  readonly limits?:
    | {
        /** Connections of HTTP, of HTTPS and of DNS over TCP, each; more are dropped at once. Default 10,000. */
        readonly maxConnections?: number | undefined;
        /** Keys of which something is kept; others are refused then. Default 1,048,576. */
        readonly maxRecords?: number | undefined;
      }
    | undefined;
  /** Something new was stored of an endpoint. Must not throw. */
  readonly onPublish?: ((id: EndpointId) => void) | undefined;
  /**
   * The store has ended by itself and is not started again: the server has to be. Called once, up to 10 s later; `/healthz` is 503
   * from the first moment on. Must not throw.
   */
  readonly onStoreEnd?: ((error: Error) => void) | undefined;
  /**
   * Asks the Mainline DHT for keys that are not in the store, when they are asked for by DNS; Node with the package `pkarr`.
   * Default: no.
   */
  readonly mainline?: MainlineOptions | undefined;
  /** Counters as OpenMetrics text on every path of this `ip:port`. */
  readonly metrics?: { readonly bind: string } | undefined;
  readonly platform?: Platform | undefined;
}

/**
 * A lookup server.
 *
 * ```ts
 * const server = await DnsServer.listen({ bind: '0.0.0.0:8080', dnsBind: '0.0.0.0:5300', origins: ['dns.example.com'] });
 * console.log(server.pkarrUrl);
 * await server.close();
 * ```
 */
export class DnsServer {
  readonly #options: DnsServerOptions;
  readonly #platform: Platform;
  readonly #metrics = new DnsServerMetrics();
  readonly #zones: Zones;
  readonly #limits: PutLimits | undefined;
  readonly #dht: MainlineDht | undefined;
  #forwarder: DhtForwarder | undefined;
  #store: RecordStore | undefined;
  #http: HttpListener | undefined;
  #https: HttpListener | undefined;
  #metricsHttp: HttpListener | undefined;
  #dns: DnsListener[] = [];
  #expiryTimer: TimerId;
  #closing: Promise<void> | undefined;

  private constructor(options: DnsServerOptions) {
    this.#options = options;
    this.#platform = options.platform ?? systemPlatform;
    const { putRateLimit = {}, keepMs = DEFAULT_KEEP_MS, mainline } = options;
    try {
      if (!(keepMs > 0 && keepMs < Infinity)) throw new RangeError(`keepMs: not a time: ${keepMs}`);
      this.#zones = new Zones(options);
      this.#limits = putRateLimit === false ? undefined : new PutLimits(putRateLimit);
      this.#dht =
        mainline &&
        new MainlineDht({
          bootstrap: mainline.bootstrap,
          platform: this.#platform,
          onRefused: () => this.#metrics.add('dht_refused'),
        });
    } catch (cause) {
      throw fault('InvalidOptions', (cause as Error).message, cause);
    }
  }

  /**
   * Starts listening.
   * @throws {DnsServerError} InvalidOptions, Certificate, Dht, Bind, Store
   */
  static async listen(options: DnsServerOptions = {}): Promise<DnsServer> {
    const server = new DnsServer(options);
    try {
      await server.#listen();
    } catch (error) {
      // What went wrong first is what is told.
      await server.close().catch(() => undefined);
      throw error;
    }
    server.#scheduleExpiry();
    return server;
  }

  /** Where it is on the web: HTTPS if there is that. */
  get url(): URL {
    const main = this.#https ?? this.#http!;
    const host = this.#options.hostname ?? hostOf(main.localAddr);
    return new URL(`${this.#https === undefined ? 'http' : 'https'}://${host}:${main.localAddr.port}/`);
  }

  /** What publishers and resolvers are given. */
  get pkarrUrl(): string {
    return new URL('pkarr', this.url).href;
  }

  /** Where HTTP is. */
  get httpAddr(): Addr {
    return this.#http!.localAddr;
  }

  /** Where HTTPS is. */
  get httpsAddr(): Addr | undefined {
    return this.#https?.localAddr;
  }

  /** Where DNS is, over UDP and TCP. */
  get dnsAddrs(): readonly Addr[] {
    return this.#dns.map(({ localAddr }) => localAddr);
  }

  /** Where the counters are. */
  get metricsAddr(): Addr | undefined {
    return this.#metricsHttp?.localAddr;
  }

  /** Domains that it answers for, with no dot at the end; `.` for none. */
  get origins(): readonly string[] {
    return this.#zones.origins;
  }

  /** A copy of all counters. */
  metrics(): Readonly<Record<DnsServerMetric, number>> {
    return this.#metrics.snapshot();
  }

  /**
   * Reads certificate files again; handshakes from now on have the new certificate. On an error all stays as it was.
   * @throws {DnsServerError} Certificate
   */
  async reload(): Promise<void> {
    const { tls } = this.#options;
    if (tls === undefined) return;
    const { cert, key } = await readCertificate(tls, fault);
    try {
      this.#https?.setCertificate(cert, key);
    } catch (cause) {
      throw fault('Certificate', 'the certificate cannot be used', cause);
    }
  }

  /** Ends all connections, commits what was put, and frees everything. All callers wait for the same end. */
  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  /** The same as {@link close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    this.#platform.clock.clearTimeout(this.#expiryTimer);
    // First, so that who waits for an answer of the DHT waits no longer.
    this.#forwarder?.close();
    const dht = this.#dht?.close();
    const listeners = [this.#http, this.#https, this.#metricsHttp, ...this.#dns];
    await Promise.all([dht, ...listeners.map((listener) => listener?.close())]);
    const { store } = this.#options;
    const isOurs = store === undefined || store === 'memory' || 'file' in store;
    if (isOurs) await this.#store?.close();
  }

  async #listen(): Promise<void> {
    const {
      bind = '127.0.0.1:0',
      tls,
      dnsBind = '127.0.0.1:0',
      metrics,
      keepMs = DEFAULT_KEEP_MS,
    } = this.#options;
    // Read and checked before anything is opened.
    const httpAddr = toBindAddr(bind, fault);
    const dnsAddrs = (dnsBind === false ? [] : [dnsBind].flat()).map((text) => toBindAddr(text, fault));
    const certificate = tls && (await readCertificate(tls, fault));
    await this.#checkDht();
    const store = (this.#store = await this.#openStore());
    const { clock } = this.#platform;
    const parts = this.#dht && { dht: this.#dht, clock, metrics: this.#metrics };
    const answers = new DnsAnswers(this.#zones, store, this.#metrics, parts && new DhtFallback(parts));
    if (parts !== undefined && this.#options.mainline?.publish === true)
      this.#forwarder = new DhtForwarder(parts);
    const http = new DnsHttp({
      store,
      answers,
      metrics: this.#metrics,
      clock,
      limits: this.#limits,
      keepMicros: BigInt(Math.floor(keepMs * 1_000)),
      onPublish: this.#options.onPublish,
      forwarder: this.#forwarder,
      version: VERSION,
    });
    if (tls !== undefined)
      this.#https = await this.#listenHttp(toBindAddr(tls.bind, fault), http, certificate);
    this.#http = await this.#listenHttp(httpAddr, http);
    for (const addr of dnsAddrs) this.#dns.push(await this.#listenDns(addr, answers));
    if (metrics !== undefined)
      this.#metricsHttp = await listenOn(metrics.bind, fault, ({ ip, port }) =>
        HttpListener.listen({
          ip,
          port,
          answer: () => ({
            status: 200,
            headers: { 'Content-Type': 'application/openmetrics-text; version=1.0.0; charset=utf-8' },
            body: this.#metrics.toOpenMetrics(),
          }),
        }),
      );
  }

  async #checkDht(): Promise<void> {
    try {
      await this.#dht?.check();
    } catch (cause) {
      throw new DnsServerError('DnsServerError.Dht', 'the DHT cannot be used', cause);
    }
  }

  async #openStore(): Promise<RecordStore> {
    const { store = 'memory', limits } = this.#options;
    if (store === 'memory') return new MemoryRecordStore(limits?.maxRecords);
    if (!('file' in store)) return store;
    try {
      return await SqliteRecordStore.open({
        file: store.file,
        clock: this.#platform.clock,
        maxRecords: limits?.maxRecords,
      });
    } catch (cause) {
      throw new DnsServerError('DnsServerError.Store', `cannot open ${store.file}`, cause);
    }
  }

  #listenHttp(
    addr: Addr,
    http: DnsHttp,
    tls?: { readonly cert: string; readonly key: string },
  ): Promise<HttpListener> {
    const { maxConnections = DEFAULT_MAX_CONNECTIONS } = this.#options.limits ?? {};
    return listenOn(addr, fault, ({ ip, port }) =>
      HttpListener.listen({
        ip,
        port,
        tls,
        maxConnections,
        maxBodyBytes: MAX_BODY_BYTES,
        answer: (request) => http.answer(request),
      }),
    );
  }

  #listenDns(addr: Addr, answers: DnsAnswers): Promise<DnsListener> {
    const { maxConnections = DEFAULT_MAX_CONNECTIONS } = this.#options.limits ?? {};
    return listenOn(addr, fault, ({ ip, port }) =>
      DnsListener.listen({
        platform: this.#platform,
        ip,
        port,
        maxConnections,
        answers,
        metrics: this.#metrics,
      }),
    );
  }

  #scheduleExpiry(delayMs: number = EXPIRY_INTERVAL_MS): void {
    if (this.#closing !== undefined) return;
    this.#expiryTimer = this.#platform.clock.setTimeout(() => void this.#expire(), delayMs);
  }

  async #expire(): Promise<void> {
    const { clock } = this.#platform;
    const oldest = clock.wallNow() - (this.#options.keepMs ?? DEFAULT_KEEP_MS);
    let removed = 0;
    try {
      removed = await this.#store!.removeOlder(BigInt(Math.max(0, Math.floor(oldest * 1_000))));
      this.#metrics.add('store_packets_expired', removed);
    } catch {
      // Who puts is told so, and the next time may go better; but not when the store has ended.
      const failure = this.#store!.failure;
      if (failure !== undefined) {
        this.#options.onStoreEnd?.(failure);
        return;
      }
    }
    this.#scheduleExpiry(removed < MAX_REMOVALS ? EXPIRY_INTERVAL_MS : 0);
  }
}
