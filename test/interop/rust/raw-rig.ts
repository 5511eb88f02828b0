/**
 * A bare QUIC endpoint of ours over real UDP: the engine and its driver, and nobody who opens, closes and chooses paths by
 * itself, as the actors of a whole endpoint do.
 *
 * @module
 */
import { systemPlatform } from '#transport/system-platform';
import { ActorSystem } from '../../../src/actors/actor-system.ts';
import { ConnectionActor } from '../../../src/actors/connection-actor.ts';
import { EndpointTls } from '../../../src/actors/endpoint-tls.ts';
import { EngineDriver } from '../../../src/actors/engine-driver.ts';
import { MappedAddrs } from '../../../src/actors/mapped-addrs.ts';
import { Transports } from '../../../src/actors/transports.ts';
import { WaitQueue } from '../../../src/actors/wait.ts';
import { utf8 } from '../../../src/base/bytes.ts';
import { EndpointId } from '../../../src/base/endpoint-id.ts';
import { Metrics } from '../../../src/base/metrics.ts';
import { parseAddr, type Addr } from '../../../src/base/socket-addr.ts';
import { Connection } from '../../../src/connection.ts';
import { SecretKey } from '../../../src/crypto/keys.ts';
import { DEFAULT_TRANSPORT_CONFIG, type TransportConfig } from '../../../src/quic/config.ts';
import { QuicEndpoint } from '../../../src/quic/endpoint.ts';
import type { ConnectionEvent, IncomingRef, PathId, QuicConnection } from '../../../src/quic/engine.ts';
import { endpointTlsName } from '../../../src/tls/endpoint-name.ts';
import { Log } from '../../../src/transport/log.ts';
import { ALPN, WAIT, type RustEndpoint } from './rust-peer.ts';

const { clock, rng } = systemPlatform;
const MAIN = ['127.0.0.1:0'];
/** For what goes to its own address, and for who names it. */
const SECOND = { addr: '127.0.0.2:0', prefixLength: 32, defaultRoute: false };
const ALPNS = [utf8(ALPN)];

/** One socket on 127.0.0.1, another on 127.0.0.2 if asked for. */
export class RawEndpoint {
  readonly #secretKey = SecretKey.generate(rng);
  readonly #tls = new EndpointTls({
    secretKey: this.#secretKey,
    forms: ['rawPublicKey'],
    keyLog: undefined,
    rng,
    wallNow: clock.wallNow(),
  });
  readonly #mapped: MappedAddrs;
  readonly #transports: Transports;
  readonly #transport: TransportConfig;
  readonly #engine = new QuicEndpoint({ rng, wallOffsetMs: clock.wallNow() - clock.now(), qlog: undefined });
  readonly #driver: EngineDriver;
  readonly #incoming: IncomingRef[] = [];
  readonly #arrived = new WaitQueue(clock);

  private constructor(mapped: MappedAddrs, transports: Transports, transport: TransportConfig) {
    this.#mapped = mapped;
    this.#transports = transports;
    this.#transport = transport;
    this.#driver = new EngineDriver(this.#engine, transports, clock);
    this.#driver.onIncoming = (ref) => {
      this.#incoming.push(ref);
      this.#arrived.wakeAll();
    };
    this.#engine.setServerConfig(this.#tls.serverConfig(ALPNS, transport));
  }

  static async bind(transport: Partial<TransportConfig> = {}, sockets: 1 | 2 = 1): Promise<RawEndpoint> {
    const mapped = new MappedAddrs(rng);
    const transports = await Transports.bind({
      platform: systemPlatform,
      mapped,
      metrics: new Metrics(),
      bind: sockets === 1 ? MAIN : [...MAIN, SECOND],
      custom: [],
    });
    return new RawEndpoint(mapped, transports, { ...DEFAULT_TRANSPORT_CONFIG, ...transport });
  }

  get id(): EndpointId {
    return this.#secretKey.publicKey;
  }

  get boundSockets(): readonly Addr[] {
    return this.#transports.localAddrs;
  }

  get main(): Addr {
    return this.boundSockets.find(({ ip }) => ip === '127.0.0.1')!;
  }

  get second(): Addr {
    return this.boundSockets.find(({ ip }) => ip === '127.0.0.2')!;
  }

  /** Dials one of the peer's endpoints. @param socket - `ip:port`, another one than its first. */
  dial(their: RustEndpoint, socket = their.socket): Promise<RawConnection> {
    const quic = this.#engine.connect(
      { remote: parseAddr(socket), local: undefined },
      endpointTlsName(EndpointId.parse(their.id).toBytes()),
      this.#tls.clientConfig(ALPNS, this.#transport),
      clock.now(),
    );
    return this.#connection(quic);
  }

  /** Accepts the next attempt. */
  async accept(): Promise<RawConnection> {
    while (this.#incoming.length === 0) await this.#arrived.wait(WAIT);
    return this.#connection(this.#engine.accept(this.#incoming.shift()!, clock.now()));
  }

  async #connection(quic: QuicConnection): Promise<RawConnection> {
    const connection = new RawConnection(quic, this.#driver, this.#mapped);
    this.#driver.wake();
    await connection.connected;
    return connection;
  }

  networkChanged(): void {
    this.#engine.handleNetworkChange(undefined, clock.now());
    this.#driver.wake();
  }

  async close(): Promise<void> {
    this.#engine.close(0n, new Uint8Array(0), clock.now());
    this.#driver.flush();
    this.#driver.stop();
    await this.#transports.close();
  }
}

/** One connection, with streams and datagrams as usual, and its engine. */
export class RawConnection extends Connection {
  readonly quic: QuicConnection;
  /** All that its engine has told. */
  readonly events: ConnectionEvent[] = [];
  readonly connected: Promise<void>;
  readonly #driver: EngineDriver;

  constructor(quic: QuicConnection, driver: EngineDriver, mapped: MappedAddrs) {
    const actor = new ConnectionActor({
      quic,
      driver,
      mapped,
      log: new Log(),
      system: new ActorSystem({ clock, onError: () => undefined }),
      admit: async () => undefined,
    });
    super(actor);
    this.quic = quic;
    this.#driver = driver;
    this.connected = actor.connected.promise;
    driver.listen(quic, {
      onEvent: (event) => {
        this.events.push(event);
        actor.onEvent(event);
      },
    });
  }

  /** Has the engine do something now. */
  command<T>(run: (quic: QuicConnection, now: number) => T): T {
    const result = run(this.quic, clock.now());
    this.#driver.wake();
    return result;
  }

  /** Opens a path to where the peer is, from another socket. */
  openFrom(local: Addr): PathId {
    return this.command((quic, now) => quic.openPathEnsure({ local, remote: quic.remote }, 'available', now));
  }

  /** Whether an event with these fields has come. */
  hasSeen(event: object): boolean {
    return this.events.some((each) =>
      Object.entries(event).every(([key, value]) => {
        const field = each[key as keyof typeof each] as unknown;
        return JSON.stringify(field) === JSON.stringify(value);
      }),
    );
  }

  /** Bytes that we sent and received on a path. */
  traffic(path: PathId): { sent: number; received: number } {
    const stats = this.quic.pathStats(path);
    return { sent: stats?.udpTx.bytes ?? 0, received: stats?.udpRx.bytes ?? 0 };
  }
}
