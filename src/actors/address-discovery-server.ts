/**
 * Tells clients under which address they are seen: QUIC address discovery on UDP, with the same engine that endpoints have
 * (`iroh-relay/src/quic.rs`). No streams, no client certificates; the report goes out after the handshake by itself.
 *
 * @module
 */
import { utf8 } from '../base/bytes.ts';
import type { Addr } from '../base/socket-addr.ts';
import { DEFAULT_TRANSPORT_CONFIG, type TransportConfig } from '../quic/config.ts';
import type { Datagram, IncomingRef, Transmit } from '../quic/engine.ts';
import { QuicEndpoint } from '../quic/endpoint.ts';
import { TransportError } from '../quic/transport-error.ts';
import type { RelayServerMetrics } from '../relay/server/metrics.ts';
import { noPeerVerifier, pemIdentity } from '../tls/profile.ts';
import type { DatagramTransport } from '../transport/datagram.ts';
import type { Platform } from '../transport/platform.ts';
import { EngineDriver, type DriverTransports } from './engine-driver.ts';

/** The protocol's name (`ALPN_QUIC_ADDR_DISC`, `iroh-relay/src/quic.rs`). */
export const ADDRESS_DISCOVERY_ALPN = '/iroh-qad/0';
/** Code and reason with which both sides close (`iroh-relay/src/quic.rs`). */
const CLOSE_CODE = 1n;
const CLOSE_REASON = utf8('finished');
/** Connections at a time; further attempts are refused. Each endpoint that uses this relay keeps two. */
export const MAX_ADDRESS_DISCOVERY_CONNECTIONS = 65_536;

const TRANSPORT: TransportConfig = {
  ...DEFAULT_TRANSPORT_CONFIG,
  // Clients keep the connection alive every 25 s and give up after 35 s of silence; a server asks for nothing.
  keepAliveIntervalMs: undefined,
  pathKeepAliveIntervalMs: undefined,
  maxConcurrentBidiStreams: 0,
  maxConcurrentUniStreams: 0,
  datagramReceiveBufferSize: undefined,
  maxConcurrentPaths: undefined,
  maxNatAddresses: undefined,
  addressDiscovery: 'send',
};

/** One or two sockets as one. */
class Sockets implements DriverTransports {
  onDatagrams: ((batch: readonly Datagram[]) => void) | undefined;
  onDrained: (() => void) | undefined;
  readonly #sockets: readonly DatagramTransport[];

  constructor(sockets: readonly DatagramTransport[]) {
    this.#sockets = sockets;
    for (const socket of sockets) {
      socket.onDatagrams = (batch) => this.onDatagrams?.(batch);
      socket.onDrained = () => {
        if (this.queued === 0) this.onDrained?.();
      };
    }
  }

  get localAddrs(): Addr[] {
    return this.#sockets.map(({ localAddr }) => localAddr);
  }

  get queued(): number {
    return this.#sockets.reduce((sum, { queued }) => sum + queued, 0);
  }

  send(batch: readonly Transmit[]): void {
    for (let start = 0; start < batch.length;) {
      const { family } = batch[start]!.to;
      let end = start + 1;
      while (end < batch.length && batch[end]!.to.family === family) end++;
      this.#sockets.find(({ localAddr }) => localAddr.family === family)?.send(batch, start, end);
      start = end;
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#sockets.map((socket) => socket.close()));
  }
}

/** How it is started. */
export interface AddressDiscoveryOptions {
  readonly platform: Platform;
  /** `::` binds both families. */
  readonly ip: string;
  readonly port: number;
  readonly cert: string;
  readonly key: string;
  readonly metrics: RelayServerMetrics;
}

/** Listens for clients that want to know their address. */
export class AddressDiscoveryServer {
  readonly #platform: Platform;
  readonly #sockets: Sockets;
  readonly #engine: QuicEndpoint;
  readonly #driver: EngineDriver;
  readonly #metrics: RelayServerMetrics;

  private constructor(options: AddressDiscoveryOptions, sockets: Sockets) {
    const { platform, metrics } = options;
    const { clock, rng } = platform;
    this.#platform = platform;
    this.#sockets = sockets;
    this.#metrics = metrics;
    this.#engine = new QuicEndpoint({ rng, wallOffsetMs: clock.wallNow() - clock.now() });
    this.#driver = new EngineDriver(this.#engine, sockets, clock);
    this.#driver.onIncoming = (incoming) => this.#accept(incoming);
    this.setCertificate(options.cert, options.key);
  }

  /** @throws the system's error when it cannot bind; X509Error for a certificate or key that cannot be used. */
  static async listen(options: AddressDiscoveryOptions): Promise<AddressDiscoveryServer> {
    const { platform, ip, port, cert, key } = options;
    // Before anything is bound.
    pemIdentity(cert, key);
    const bindUdp = platform.bindUdp!;
    const bound: DatagramTransport[] = [];
    try {
      bound.push(await bindUdp({ ip, port }));
      // Our sockets take one family each.
      if (ip === '::') bound.push(await bindUdp({ ip: '0.0.0.0', port: bound[0]!.localAddr.port }));
    } catch (error) {
      const code = (error as { code?: string }).code;
      const isOneFamilyMissing = ip === '::' && (code === 'EAFNOSUPPORT' || code === 'EADDRNOTAVAIL');
      if (isOneFamilyMissing && bound.length === 0) bound.push(await bindUdp({ ip: '0.0.0.0', port }));
      else if (!isOneFamilyMissing) {
        await Promise.all(bound.map((socket) => socket.close()));
        throw error;
      }
    }
    return new AddressDiscoveryServer(options, new Sockets(bound));
  }

  /** Where it listens. */
  get localAddrs(): readonly Addr[] {
    return this.#sockets.localAddrs;
  }

  /** For handshakes from now on. @throws X509Error for a certificate or key that cannot be used. */
  setCertificate(cert: string, key: string): void {
    this.#engine.setServerConfig({
      transport: TRANSPORT,
      tls: {
        identity: pemIdentity(cert, key),
        verifier: noPeerVerifier(),
        alpns: [utf8(ADDRESS_DISCOVERY_ALPN)],
        clientAuth: 'none',
        sessions: undefined,
        ticketCount: 0,
        acceptEarlyData: false,
      },
    });
  }

  #accept(incoming: IncomingRef): void {
    const { clock } = this.#platform;
    const metrics = this.#metrics;
    metrics.add('qad_incoming');
    if (this.#engine.connectionCount >= MAX_ADDRESS_DISCOVERY_CONNECTIONS) {
      this.#engine.refuse(incoming, clock.now());
      return this.#driver.wake();
    }
    try {
      const connection = this.#engine.accept(incoming, clock.now());
      let isConnected = false;
      this.#driver.listen(connection, {
        onEvent: (event) => {
          if (event.type === 'connected') {
            isConnected = true;
            metrics.add('qad_connections');
          } else if (event.type === 'closed') {
            if (!isConnected) metrics.add('qad_incoming_error');
            else if (event.reason.type === 'applicationClosed') metrics.add('qad_connections_closed');
            else metrics.add('qad_connections_errored');
          }
        },
      });
    } catch (error) {
      if (!(error instanceof TransportError)) throw error;
      metrics.add('qad_incoming_error');
    }
    this.#driver.wake();
  }

  /** Tells the clients, once, and frees the sockets. */
  async close(): Promise<void> {
    this.#engine.close(CLOSE_CODE, CLOSE_REASON, this.#platform.clock.now());
    this.#driver.flush();
    this.#driver.stop();
    await this.#sockets.close();
  }
}
