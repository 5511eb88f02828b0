/**
 * A relay server: listeners around the hub of `relay/server`, started and ended in order (`iroh-relay/src/server.rs`).
 *
 * @module
 */
import { systemPlatform } from '#transport/system-platform';
import type { TimerId } from '../base/clock.ts';
import { EndpointId } from '../base/endpoint-id.ts';
import { RelayServerError } from '../base/errors.ts';
import { RelayUrl } from '../base/relay-url.ts';
import type { Addr } from '../base/socket-addr.ts';
import { CLIENT_AUTH_HEADER, NOT_AUTHORIZED } from '../relay/handshake.ts';
import {
  allowEveryone,
  allowOnly,
  denyOnly,
  requireToken,
  tokenOf,
  type AccessCheck,
  type AccessRequest,
  type AccessVerdict,
} from '../relay/server/access.ts';
import { SECURITY_HEADERS, answerHttp, judgeUpgrade, type HttpSurface } from '../relay/server/http.ts';
import { RelayHub, type RelayHubEvent } from './relay-hub.ts';
import { RelayServerMetrics, type RelayServerMetric } from '../relay/server/metrics.ts';
import { TokenBucket, type RateLimit } from '../relay/server/rate-limit.ts';
import { HttpListener } from '../transport/http-listener.ts';
import { postForVerdict } from '../transport/http-access.ts';
import type { Platform } from '../transport/platform.ts';
import { AddressDiscoveryServer } from './address-discovery-server.ts';
import {
  hostOf,
  listenOn,
  readCertificate,
  toBindAddr,
  type ServerCertificate,
  type ServerFault,
} from './listening.ts';

/** Version in `/healthz`. */
const VERSION = '0.1.0';
/** Time that clients have to take the announcement of a restart, ms. */
const SHUTDOWN_GRACE_MS = 500;
/** How often is looked whether all clients are gone, ms. */
const SHUTDOWN_POLL_MS = 10;

/** Who may use a relay. */
export type RelayAccess =
  | 'everyone'
  | { readonly allow: readonly (EndpointId | string)[] }
  | { readonly deny: readonly (EndpointId | string)[] }
  /** Clients show one of these. */
  | { readonly tokens: readonly string[] }
  /** Asks by POST, with the id in `X-Iroh-NodeId`; only status 200 with body `true` lets in. */
  | { readonly http: { readonly url: string; readonly bearerToken?: string | undefined } }
  /** True lets in; false or a reason does not. What it throws does not, either. */
  | ((request: AccessRequest) => boolean | string | Promise<boolean | string>);

const fault: ServerFault = (leaf, message, cause) =>
  new RelayServerError(`RelayServerError.${leaf}`, message, cause);

/** How a relay server is set up. */
export interface RelayServerOptions {
  /** `ip:port` for HTTP. Default `127.0.0.1:0`: any port of this host, for this host. */
  readonly bind?: string | undefined;
  /** With it clients come by HTTPS, and HTTP answers captive portal checks only. */
  readonly tls?: (ServerCertificate & { readonly bind: string }) | undefined;
  /** Address discovery on UDP. The certificate defaults to that of `tls`; false, or without either: none. */
  readonly addressDiscovery?:
    false | { readonly bind: string; readonly certificate?: ServerCertificate | undefined } | undefined;
  /** Host name in {@link RelayServer.url}; default: the bound address, `localhost` where that is "any". */
  readonly hostname?: string | undefined;
  /** Default `everyone`. */
  readonly access?: RelayAccess | undefined;
  readonly limits?:
    | {
        /** What each client may send. */
        readonly clientRx?: RateLimit | undefined;
        /** TCP connections at a time; more are dropped at once. */
        readonly maxConnections?: number | undefined;
        /** New TCP connections per second, over all; more are dropped at once. */
        readonly acceptsPerSecond?: number | undefined;
        /** New TCP connections at once; default {@link acceptsPerSecond}. */
        readonly acceptBurst?: number | undefined;
      }
    | undefined;
  /** Counters as OpenMetrics text on every path of this `ip:port`. */
  readonly metrics?: { readonly bind: string } | undefined;
  /** False: only address discovery. */
  readonly relay?: boolean | undefined;
  /** Certificate files are read again so often, ms. Default: only by {@link RelayServer.reload}. */
  readonly reloadIntervalMs?: number | undefined;
  /** They were read again because it was time; with the error when that failed and all stays as it was. */
  readonly onReload?: ((error: unknown) => void) | undefined;
  /** Clients come and go. Must not throw. */
  readonly onEvent?: ((event: RelayHubEvent) => void) | undefined;
  readonly platform?: Platform | undefined;
}

/**
 * A relay server.
 *
 * ```ts
 * const relay = await RelayServer.listen({ bind: '0.0.0.0:3340' });
 * console.log(relay.url.href, relay.clientCount);
 * await relay.close();
 * ```
 */
export class RelayServer {
  readonly #options: RelayServerOptions;
  readonly #platform: Platform;
  readonly #hub: RelayHub;
  readonly #metrics: RelayServerMetrics;
  #http: HttpListener | undefined;
  #https: HttpListener | undefined;
  #metricsHttp: HttpListener | undefined;
  #discovery: AddressDiscoveryServer | undefined;
  #url: RelayUrl | undefined;
  #closing: Promise<void> | undefined;
  readonly #aborted = new AbortController();
  #reloadTimer: TimerId;

  private constructor(options: RelayServerOptions) {
    this.#options = options;
    this.#platform = options.platform ?? systemPlatform;
    this.#metrics = new RelayServerMetrics();
    const { clock, rng } = this.#platform;
    try {
      this.#hub = new RelayHub({
        clock,
        rng,
        metrics: this.#metrics,
        access: this.#accessCheck(options.access ?? 'everyone'),
        rateLimit: options.limits?.clientRx,
        onEvent: options.onEvent,
      });
    } catch (cause) {
      throw new RelayServerError('RelayServerError.InvalidOptions', (cause as Error).message, cause);
    }
  }

  /**
   * Starts listening.
   * @throws {RelayServerError} InvalidOptions, Certificate, Bind
   */
  static async listen(options: RelayServerOptions = {}): Promise<RelayServer> {
    const server = new RelayServer(options);
    try {
      await server.#listen();
      server.#scheduleReload();
    } catch (error) {
      await server.close();
      throw error;
    }
    return server;
  }

  /** What goes into the relay map of endpoints. */
  get url(): RelayUrl {
    return this.#url!;
  }

  /** Where HTTP is. */
  get httpAddr(): Addr {
    return this.#http!.localAddr;
  }

  /** Where HTTPS is. */
  get httpsAddr(): Addr | undefined {
    return this.#https?.localAddr;
  }

  /** Where the counters are. */
  get metricsAddr(): Addr | undefined {
    return this.#metricsHttp?.localAddr;
  }

  /** UDP port of address discovery, for the relay map of endpoints. */
  get quicPort(): number | undefined {
    return this.#discovery?.localAddrs[0]!.port;
  }

  /** Endpoints that are connected. */
  get clientCount(): number {
    return this.#hub.clientCount;
  }

  /** A copy of all counters. */
  metrics(): Readonly<Record<RelayServerMetric, number>> {
    return this.#metrics.snapshot();
  }

  /**
   * Reads certificate files again; handshakes from now on have the new certificate. On an error all stays as it was.
   * @throws {RelayServerError} Certificate
   */
  async reload(): Promise<void> {
    const { tls, addressDiscovery } = this.#options;
    const web = tls && (await readCertificate(tls, fault));
    const quic = addressDiscovery ? (addressDiscovery.certificate ?? tls) : undefined;
    const discovery = quic && (await readCertificate(quic, fault));
    try {
      // The stricter reader first.
      if (discovery !== undefined) this.#discovery?.setCertificate(discovery.cert, discovery.key);
      if (web !== undefined) this.#https?.setCertificate(web.cert, web.key);
    } catch (cause) {
      throw new RelayServerError('RelayServerError.Certificate', 'the certificate cannot be used', cause);
    }
  }

  /** Announces a restart to all clients, closes their connections and frees everything. All callers wait for the same end. */
  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  #scheduleReload(): void {
    const { reloadIntervalMs, onReload } = this.#options;
    if (reloadIntervalMs === undefined || this.#closing !== undefined) return;
    this.#reloadTimer = this.#platform.clock.setTimeout(() => {
      this.reload().then(
        () => onReload?.(undefined),
        (error: unknown) => onReload?.(error),
      );
      this.#scheduleReload();
    }, reloadIntervalMs);
  }

  async #close(): Promise<void> {
    this.#platform.clock.clearTimeout(this.#reloadTimer);
    this.#http?.stopAccepting();
    this.#https?.stopAccepting();
    this.#hub.shutDown();
    this.#aborted.abort();
    const { clock } = this.#platform;
    const end = clock.now() + SHUTDOWN_GRACE_MS;
    const isBusy = (): boolean => (this.#main?.openWebSockets ?? 0) > 0;
    while (isBusy() && clock.now() < end)
      await new Promise<void>((resolve) => clock.setTimeout(resolve, SHUTDOWN_POLL_MS));
    await Promise.all([
      this.#http?.close(),
      this.#https?.close(),
      this.#metricsHttp?.close(),
      this.#discovery?.close(),
    ]);
  }

  /** Ends at once when used with `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  get #main(): HttpListener | undefined {
    return this.#https ?? this.#http;
  }

  async #listen(): Promise<void> {
    const { bind = '127.0.0.1:0', tls, addressDiscovery, metrics, hostname } = this.#options;
    if (tls !== undefined) {
      this.#https = await this.#listenHttp(
        toBindAddr(tls.bind, fault),
        'main',
        await readCertificate(tls, fault),
      );
    }
    this.#http = await this.#listenHttp(toBindAddr(bind, fault), tls === undefined ? 'all' : 'captivePortal');
    if (metrics !== undefined) {
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
    if (addressDiscovery) {
      const source = addressDiscovery.certificate ?? tls;
      if (source === undefined)
        throw new RelayServerError(
          'RelayServerError.InvalidOptions',
          'address discovery needs a certificate',
        );
      const { cert, key } = await readCertificate(source, fault);
      this.#discovery = await listenOn(addressDiscovery.bind, fault, ({ ip, port }) =>
        AddressDiscoveryServer.listen({
          platform: this.#platform,
          ip,
          port,
          cert,
          key,
          metrics: this.#metrics,
        }),
      );
    }
    const addr = this.#main!.localAddr;
    const host = hostname ?? hostOf(addr);
    this.#url = RelayUrl.parse(`${tls === undefined ? 'http' : 'https'}://${host}:${addr.port}/`);
  }

  #listenHttp(
    addr: Addr,
    surface: HttpSurface,
    tls?: { readonly cert: string; readonly key: string },
  ): Promise<HttpListener> {
    const { limits, relay = true } = this.#options;
    const { clock } = this.#platform;
    const { acceptsPerSecond, acceptBurst, maxConnections } = limits ?? {};
    const accepts =
      acceptsPerSecond === undefined
        ? undefined
        : new TokenBucket(
            // In thousandths, so that one per second can be said.
            {
              bytesPerSecond: acceptsPerSecond * 1_000,
              maxBurstBytes: (acceptBurst ?? acceptsPerSecond) * 1_000,
            },
            clock.now(),
          );
    return listenOn(addr, fault, ({ ip, port }) =>
      HttpListener.listen({
        ip,
        port,
        tls,
        maxConnections,
        ...(accepts !== undefined && { admits: () => accepts.tryTake(1_000, clock.now()) }),
        upgradeHeaders: SECURITY_HEADERS,
        answer: (request) => answerHttp(request, surface, VERSION),
        ...(relay && { judgeUpgrade: (request) => judgeUpgrade(request, surface) }),
        onWebSocket: (socket, request) =>
          this.#hub.accept(socket, {
            token: tokenOf(request.header('authorization'), request.query),
            authHeader: request.header(CLIENT_AUTH_HEADER),
          }),
        onConnection: (what) => {
          this.#metrics.add(
            what === 'opened'
              ? 'http_connections'
              : what === 'closed'
                ? 'http_connections_closed'
                : 'http_connections_errored',
          );
        },
      }),
    );
  }

  #accessCheck(access: RelayAccess): AccessCheck {
    if (access === 'everyone') return allowEveryone;
    if (typeof access === 'function') return (request, decide) => void ask(access, request).then(decide);
    if ('allow' in access) return allowOnly(access.allow.map(toId));
    if ('deny' in access) return denyOnly(access.deny.map(toId));
    if ('tokens' in access) return requireToken(access.tokens);
    const { url, bearerToken } = access.http;
    const { signal } = this.#aborted;
    const headers = bearerToken === undefined ? undefined : { Authorization: `Bearer ${bearerToken}` };
    return (request, decide) =>
      void ask(
        ({ endpointId }) =>
          postForVerdict(url, { 'X-Iroh-NodeId': endpointId.toString(), ...headers }, signal),
        request,
      ).then(decide);
  }
}

async function ask(
  judge: (request: AccessRequest) => boolean | string | Promise<boolean | string>,
  request: AccessRequest,
): Promise<AccessVerdict> {
  try {
    const verdict = await judge(request);
    return verdict === true ? 'allow' : { deny: verdict === false ? NOT_AUTHORIZED : verdict };
  } catch {
    // Who cannot be judged does not come in.
    return 'deny';
  }
}

function toId(id: EndpointId | string): EndpointId {
  return typeof id === 'string' ? EndpointId.parse(id) : id;
}
