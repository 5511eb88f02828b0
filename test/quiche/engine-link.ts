/**
 * Two engines of any kind and a wire between them, in one process without sockets, in real time: quiche reads the clock itself.
 *
 * @module
 */
import quiche from '@matrixai/quic/native/quiche.js';
import { utf8 } from '../../src/base/bytes.ts';
import type { Rng } from '../../src/base/rng.ts';
import { toAddr, type Addr } from '../../src/base/socket-addr.ts';
import { SecretKey } from '../../src/crypto/keys.ts';
import { QuicheEndpoint } from '../../src/quiche/engine.ts';
import { DEFAULT_TRANSPORT_CONFIG, type TransportConfig } from '../../src/quic/config.ts';
import { QuicEndpoint } from '../../src/quic/endpoint.ts';
import type { Datagram, FourTuple, IncomingRef, QuicEngine, Transmit } from '../../src/quic/engine.ts';
import { endpointTlsName } from '../../src/tls/endpoint-name.ts';
import { endpointVerifier, selfSignedIdentity } from '../../src/tls/profile.ts';
import { MemorySessionStore } from '../../src/tls/session-store.ts';
import { MemoryTicketStore } from '../../src/tls/ticket-store.ts';
import type { ClientTlsConfig, ServerTlsConfig } from '../../src/tls/session.ts';
import { SimConnection } from '../support/sim-connection.ts';
import { SimRng } from '../support/sim-rng.ts';

export type EngineKind = 'quiche' | 'ours';
/** Who dials whom. */
export const PAIRINGS = [
  ['quiche', 'quiche'],
  ['ours', 'quiche'],
  ['quiche', 'ours'],
] as const satisfies readonly (readonly [client: EngineKind, server: EngineKind])[];

export const ALPN = utf8('test/quiche/0');
/** A wait that takes longer is a failure. */
const MAX_WAIT_MS = 10_000;
const MAX_SLEEP_MS = 5;
const NAP = new Int32Array(new SharedArrayBuffer(4));

/** What becomes of a packet: how many times it arrives, and after how many ms each time. */
export type Wire = (data: Uint8Array) => readonly number[];
const PERFECT: Wire = () => [0];

export interface LinkOptions {
  readonly seed?: number;
  readonly client?: EngineKind;
  readonly server?: EngineKind;
  readonly transport?: Partial<TransportConfig>;
  readonly alpns?: readonly Uint8Array[];
  readonly earlyData?: boolean;
  readonly wire?: Wire;
}

/** One engine, its key, and what it is configured with. */
export class Node {
  readonly kind: EngineKind;
  readonly engine: QuicEngine;
  readonly secretKey: SecretKey;
  readonly addr: Addr;
  readonly transport: TransportConfig;
  readonly accepted: SimConnection[] = [];
  readonly incomings: IncomingRef[] = [];
  readonly connections: SimConnection[] = [];
  /** Decides about an attempt; default: it is accepted. */
  onIncoming: ((incoming: IncomingRef) => void) | undefined;
  readonly #now: () => number;
  readonly #alpns: readonly Uint8Array[];
  readonly #earlyData: boolean;
  readonly #tls: ReturnType<typeof ourTls>;

  constructor(kind: EngineKind, addr: Addr, rng: Rng, now: () => number, options: LinkOptions) {
    this.kind = kind;
    this.addr = addr;
    this.#now = now;
    this.secretKey = SecretKey.generate(rng);
    this.transport = { ...DEFAULT_TRANSPORT_CONFIG, ...options.transport };
    this.#alpns = options.alpns ?? [ALPN];
    this.#earlyData = options.earlyData ?? false;
    const wallOffsetMs = Date.now() - now();
    const made = { rng, wallOffsetMs, secretKey: this.secretKey };
    this.engine = kind === 'quiche' ? new QuicheEndpoint(quiche, made) : new QuicEndpoint(made);
    this.#tls = ourTls(this.secretKey, rng);
  }

  get id(): Uint8Array {
    return this.secretKey.publicKey.toBytes();
  }

  listen(changes: Partial<ServerTlsConfig> = {}): void {
    const tls: ServerTlsConfig = {
      ...this.#tls.profile,
      alpns: this.#alpns,
      clientAuth: 'required',
      sessions: this.#tls.sessions,
      ticketCount: 2,
      acceptEarlyData: this.#earlyData,
      ...changes,
    };
    this.engine.setServerConfig({ tls, transport: this.transport });
  }

  dial(to: FourTuple, id: Uint8Array, changes: Partial<ClientTlsConfig> = {}): SimConnection {
    const tls: ClientTlsConfig = {
      ...this.#tls.profile,
      alpns: this.#alpns,
      sni: undefined,
      tickets: this.#tls.tickets,
      earlyData: this.#earlyData,
      ...changes,
    };
    const quic = this.engine.connect(
      to,
      endpointTlsName(id),
      { tls, transport: this.transport },
      this.#now(),
    );
    return this.#adopt(quic);
  }

  accept(incoming: IncomingRef): SimConnection {
    const connection = this.#adopt(this.engine.accept(incoming, this.#now()));
    this.accepted.push(connection);
    return connection;
  }

  #adopt(quic: SimConnection['quic']): SimConnection {
    const connection = new SimConnection(quic, this.#now);
    this.connections.push(connection);
    return connection;
  }

  pump(): void {
    const { engine } = this;
    for (let event = engine.pollEvent(); event !== undefined; event = engine.pollEvent()) {
      if (event.type === 'incoming') {
        this.incomings.push(event.incoming);
        if (this.onIncoming === undefined) this.accept(event.incoming);
        else this.onIncoming(event.incoming);
        continue;
      }
      const { connection, event: what } = event;
      this.connections.find(({ quic }) => quic === connection)?.onEvent(what);
    }
  }
}

function ourTls(secretKey: SecretKey, rng: Rng) {
  return {
    profile: {
      identity: selfSignedIdentity(secretKey.toBytes(), { rng, wallNow: Date.now() }),
      verifier: endpointVerifier(['x509']),
    },
    tickets: new MemoryTicketStore(),
    sessions: new MemorySessionStore(),
  };
}

interface InFlight extends Pick<Datagram, 'from' | 'data'> {
  readonly at: number;
  readonly to: Addr;
}

/** A client, a server, and the wire. */
export class EngineLink {
  readonly client: Node;
  readonly server: Node;
  /** Datagrams that were put on the wire. */
  readonly sent: Transmit[] = [];
  wire: Wire;
  /** What a datagram of the client seems to come from. */
  readonly aliases = new Map<Addr, Addr>();
  /** Which destinations nothing reaches. */
  cut: (to: Addr) => boolean = () => false;
  /** Where a datagram ends up. */
  redirect: (to: Addr) => Addr = (to) => to;
  readonly #flying: InFlight[] = [];
  readonly #start = performance.now();

  constructor(options: LinkOptions = {}) {
    const rng = new SimRng(options.seed ?? 1);
    const now = (): number => this.now;
    this.client = new Node(options.client ?? 'quiche', toAddr('127.0.0.1', 4_001), rng, now, options);
    this.server = new Node(options.server ?? 'quiche', toAddr('127.0.0.1', 4_002), rng, now, options);
    this.wire = options.wire ?? PERFECT;
    this.server.listen();
  }

  /** Real ms since the link was made. */
  get now(): number {
    return performance.now() - this.#start;
  }

  dial(changes: Partial<ClientTlsConfig> = {}): SimConnection {
    const { client, server } = this;
    return client.dial({ remote: server.addr, local: client.addr }, server.id, changes);
  }

  /** Both sides of a connection whose handshake is done. */
  connect(changes: Partial<ClientTlsConfig> = {}): { ours: SimConnection; theirs: SimConnection } {
    const before = this.server.accepted.length;
    const ours = this.dial(changes);
    this.run(
      () => ours.has('connected') && this.server.accepted[before]?.has('connected') === true,
      'handshake',
    );
    // A datagram that also has a packet of the handshake may be lost: quiche drops what follows a packet that it cannot open.
    this.settle();
    return { ours, theirs: this.server.accepted[before]! };
  }

  /** Moves packets and time until `isDone`. @throws {Error} when that takes too long. */
  run(isDone: () => boolean, what: string): void {
    const deadline = this.now + MAX_WAIT_MS;
    while (!isDone()) {
      if (this.now > deadline) {
        const reasons = [...this.client.connections, ...this.server.connections].map(
          ({ closeReason }) => closeReason?.type,
        );
        throw new Error(`${what}: not after ${MAX_WAIT_MS} ms; connections: ${reasons.join()}`);
      }
      if (!this.step()) this.#sleep();
    }
  }

  /** Until both have nothing to say for `quietMs`, however late this process wakes up. */
  settle(quietMs = 40): void {
    for (let quiet = 0; quiet < quietMs;) quiet = this.step() ? 0 : quiet + this.#sleep();
  }

  /** One round; false when nothing moved. */
  step(): boolean {
    let isBusy = false;
    for (const node of [this.client, this.server]) {
      node.engine.handleTimeout(this.now);
      const out: Transmit[] = [];
      if (node.engine.pollTransmits(out, 256, this.now) > 0) isBusy = true;
      for (const each of out) this.#launch(node, each);
      node.engine.releaseTransmits();
      node.engine.pollTimeout();
      node.pump();
    }
    return this.#land() || isBusy;
  }

  #launch(from: Node, { to, local, data }: Transmit): void {
    const copy = Uint8Array.from(data);
    this.sent.push({ to, local, data: copy });
    if (this.cut(to)) return;
    const real = local ?? from.addr;
    const seen = from === this.client ? (this.aliases.get(real) ?? real) : real;
    for (const delay of this.wire(copy))
      this.#flying.push({
        at: this.now + delay,
        from: seen,
        to: this.redirect(to),
        data: copy,
      });
  }

  #land(): boolean {
    const now = this.now;
    const due = this.#flying.filter(({ at }) => at <= now).sort((a, b) => a.at - b.at);
    if (due.length === 0) return false;
    for (const each of due) this.#flying.splice(this.#flying.indexOf(each), 1);
    for (const node of [this.client, this.server]) {
      const isServer = node === this.server;
      const batch = due
        .filter(({ to }) => (to.port === this.server.addr.port) === isServer)
        .map(({ from, to, data }) => ({ from, local: this.#unalias(to), data: data.slice() }));
      if (batch.length > 0) node.engine.handleDatagrams(batch, now);
      node.pump();
    }
    return true;
  }

  #unalias(addr: Addr): Addr {
    for (const [real, seen] of this.aliases) if (seen === addr) return real;
    return addr;
  }

  /** Returns how long it was meant to be, ms. */
  #sleep(): number {
    const deadlines = [this.client, this.server].map(({ engine }) => engine.pollTimeout() ?? Infinity);
    const next = Math.min(...deadlines, ...this.#flying.map(({ at }) => at));
    const ms = Math.min(MAX_SLEEP_MS, next - this.now);
    if (ms <= 0) return 0;
    Atomics.wait(NAP, 0, 0, ms);
    return ms;
  }
}
