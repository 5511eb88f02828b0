/**
 * One engine with its sockets on the simulated network, driven synchronously.
 *
 * @module
 */
import { hash } from '#crypto/kdf';
import { utf8 } from '../../src/base/bytes.ts';
import type { Millis } from '../../src/base/clock.ts';
import type { Addr } from '../../src/base/socket-addr.ts';
import { ed25519PublicKey } from '#crypto/signature';
import { DEFAULT_TRANSPORT_CONFIG, type TransportConfig } from '../../src/quic/config.ts';
import { QuicEndpoint, type QuicEndpointOptions } from '../../src/quic/endpoint.ts';
import type {
  ConnectionEvent,
  Datagram,
  IncomingRef,
  QuicConnection,
  Transmit,
} from '../../src/quic/engine.ts';
import { endpointTlsName } from '../../src/tls/endpoint-name.ts';
import { rawPublicKeyIdentity, rawPublicKeyVerifier } from '../../src/tls/profile.ts';
import { MemorySessionStore } from '../../src/tls/session-store.ts';
import type { ClientTlsConfig, ServerTlsConfig } from '../../src/tls/session.ts';
import { MemoryTicketStore } from '../../src/tls/ticket-store.ts';
import type { QlogFactory } from '../../src/quic/qlog.ts';
import { SIM_EPOCH_MS, type SimClock } from './sim-clock.ts';
import { SimConnection } from './sim-connection.ts';
import type { SimDatagram, SimHost, SimSocket } from './sim-network.ts';
import type { SimRng } from './sim-rng.ts';

/** Datagrams taken from the engine per poll, as in the real driver. */
const TRANSMITS_PER_POLL = 256;

export const SIM_ALPN = 'sim/1';

/** What to do with an attempt to connect. `retry` accepts it once the address is proven. */
export type IncomingPolicy = 'accept' | 'retry' | 'refuse' | 'ignore' | 'hold';

export interface SimEndpointOptions {
  readonly name: string;
  readonly host: SimHost;
  readonly clock: SimClock;
  readonly rng: SimRng;
  readonly transport?: Partial<TransportConfig> | undefined;
  readonly alpns?: readonly string[] | undefined;
  readonly clientTls?: Partial<ClientTlsConfig> | undefined;
  readonly serverTls?: Partial<ServerTlsConfig> | undefined;
  readonly engine?: Partial<QuicEndpointOptions> | undefined;
  readonly qlog?: QlogFactory | undefined;
  /** Called for every event; for logs. */
  readonly onEvent?: (
    endpoint: SimEndpoint,
    connection: SimConnection | undefined,
    event: ConnectionEvent,
  ) => void;
}

/** An endpoint of a simulation: what `actors/` is for the product, as far as tests of the engine need it. */
export class SimEndpoint {
  readonly name: string;
  readonly host: SimHost;
  engine: QuicEndpoint;
  readonly publicKey: Uint8Array;
  /** Local TLS name: what others give to `connect`. */
  readonly tlsName: string;
  readonly transport: TransportConfig;
  readonly tickets = new MemoryTicketStore();
  readonly connections: SimConnection[] = [];
  /** Attempts that wait because of policy `hold`. */
  readonly incomings: IncomingRef[] = [];
  onIncoming: IncomingPolicy | ((incoming: IncomingRef) => IncomingPolicy) = 'accept';
  readonly #options: SimEndpointOptions;
  readonly #seed: Uint8Array;
  readonly #verifier = rawPublicKeyVerifier();
  readonly #identity;
  readonly #sockets = new Map<Addr, SimSocket>();
  readonly #byQuic = new Map<QuicConnection, SimConnection>();
  readonly #out: Transmit[] = [];
  #inbox: Datagram[] = [];
  #sessions = new MemorySessionStore();

  constructor(options: SimEndpointOptions) {
    this.#options = options;
    this.name = options.name;
    this.host = options.host;
    this.#seed = hash('sha256', utf8(`sim ${options.name}`));
    this.publicKey = ed25519PublicKey(this.#seed);
    this.tlsName = endpointTlsName(this.publicKey);
    this.transport = { ...DEFAULT_TRANSPORT_CONFIG, ...options.transport };
    this.#identity = rawPublicKeyIdentity(this.#seed);
    this.engine = this.#makeEngine();
  }

  #makeEngine(): QuicEndpoint {
    const { rng, qlog } = this.#options;
    const engine = new QuicEndpoint({ rng, wallOffsetMs: SIM_EPOCH_MS, qlog, ...this.#options.engine });
    engine.setServerConfig({
      transport: this.transport,
      tls: {
        identity: this.#identity,
        verifier: this.#verifier,
        alpns: (this.#options.alpns ?? [SIM_ALPN]).map(utf8),
        clientAuth: 'required',
        sessions: this.#sessions,
        ticketCount: 2,
        acceptEarlyData: true,
        ...this.#options.serverTls,
      },
    });
    return engine;
  }

  /** As after a crash: all state is gone but the identity and the sockets. What the engine knew is not looked at again. */
  restart(): void {
    this.#sessions = new MemorySessionStore();
    this.#byQuic.clear();
    this.connections.length = 0;
    this.#inbox = [];
    this.engine = this.#makeEngine();
  }

  get now(): Millis {
    return this.#options.clock.now();
  }

  // --- sockets --------------------------------------------------------------------------------------------------------------

  /** The first socket: where the others dial. */
  get addr(): Addr {
    for (const addr of this.#sockets.keys()) return addr;
    throw new Error(`${this.name} has no socket`);
  }

  bind(port = 0, ip?: string): Addr {
    const socket = this.host.bind((datagram) => this.#receive(datagram), port, ip);
    this.#sockets.set(socket.addr, socket);
    return socket.addr;
  }

  unbind(addr: Addr): void {
    this.#sockets.get(addr)?.close();
    this.#sockets.delete(addr);
  }

  #receive(datagram: SimDatagram): void {
    // The engine changes what it gets; a duplicate must not see that.
    this.#inbox.push({ from: datagram.from, local: datagram.to, data: datagram.data.slice() });
  }

  // --- connections ------------------------------------------------------------------------------------------------------------

  dial(
    to: Addr,
    tlsName: string,
    tls: Partial<ClientTlsConfig> = {},
    transport: Partial<TransportConfig> = {},
  ): SimConnection {
    const quic = this.engine.connect(
      { remote: to, local: undefined },
      tlsName,
      {
        transport: { ...this.transport, ...transport },
        tls: {
          identity: this.#identity,
          verifier: this.#verifier,
          alpns: (this.#options.alpns ?? [SIM_ALPN]).map(utf8),
          sni: undefined,
          tickets: this.tickets,
          earlyData: true,
          ...this.#options.clientTls,
          ...tls,
        },
      },
      this.now,
    );
    return this.#adopt(quic);
  }

  #adopt(quic: QuicConnection): SimConnection {
    const connection = new SimConnection(quic, () => this.now);
    this.connections.push(connection);
    this.#byQuic.set(quic, connection);
    return connection;
  }

  accept(incoming: IncomingRef): SimConnection {
    // Its first packets are processed right away; the events come with the next poll.
    return this.#adopt(this.engine.accept(incoming, this.now));
  }

  #decide(incoming: IncomingRef): void {
    const policy = typeof this.onIncoming === 'function' ? this.onIncoming(incoming) : this.onIncoming;
    if (policy === 'hold') this.incomings.push(incoming);
    else if (policy === 'refuse') this.engine.refuse(incoming, this.now);
    else if (policy === 'ignore') this.engine.ignore(incoming);
    else if (policy === 'retry' && this.engine.retry(incoming, this.now)) return;
    else this.accept(incoming);
  }

  // --- the loop ---------------------------------------------------------------------------------------------------------------

  /** One round of input, deadlines, output, events. Returns whether anything happened. */
  turn(now: Millis): boolean {
    const { engine } = this;
    let isBusy = false;
    if (this.#inbox.length > 0) {
      const batch = this.#inbox;
      this.#inbox = [];
      engine.handleDatagrams(batch, now);
      isBusy = true;
    }
    const deadline = engine.pollTimeout();
    if (deadline !== undefined && deadline <= now) {
      engine.handleTimeout(now);
      isBusy = true;
    }
    if (this.#transmit(now)) isBusy = true;
    for (let event = engine.pollEvent(); event !== undefined; event = engine.pollEvent()) {
      isBusy = true;
      if (event.type === 'incoming') {
        this.#decide(event.incoming);
        continue;
      }
      const connection = this.#byQuic.get(event.connection);
      this.#options.onEvent?.(this, connection, event.event);
      connection?.onEvent(event.event);
      if (event.event.type === 'drained') this.#byQuic.delete(event.connection);
    }
    return isBusy;
  }

  #transmit(now: Millis): boolean {
    const out = this.#out;
    let total = 0;
    for (;;) {
      out.length = 0;
      const count = this.engine.pollTransmits(out, TRANSMITS_PER_POLL, now);
      for (const transmit of out) this.#send(transmit);
      this.engine.releaseTransmits();
      total += count;
      if (count < TRANSMITS_PER_POLL) return total > 0;
    }
  }

  #send(transmit: Transmit): void {
    const from = transmit.local ?? this.#defaultSocket(transmit.to);
    // A socket that is gone loses what is sent from it, as the real transport does.
    if (from !== undefined) this.#sockets.get(from)?.send(transmit.to, transmit.data);
  }

  #defaultSocket(to: Addr): Addr | undefined {
    for (const addr of this.#sockets.keys()) if (addr.family === to.family) return addr;
    return undefined;
  }
}
