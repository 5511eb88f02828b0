/**
 * A client and a server engine on a simulated network, driven without promises. Verbs read as sentences:
 *
 * ```ts
 * const pair = new Pair({ seed, links: [delay(25), loss(0.2)] });
 * const { client, server } = pair.connect();
 * pair.transfer(client, server, 100_000);
 * pair.end(); // closes, and checks that nothing is left behind
 * ```
 *
 * @module
 */
import type { Millis } from '../../src/base/clock.ts';
import type { Addr } from '../../src/base/socket-addr.ts';
import type { TransportConfig } from '../../src/quic/config.ts';
import type { QuicEndpointOptions } from '../../src/quic/endpoint.ts';
import type { ConnectionEvent, Direction, PathId, PathStatus, StreamId } from '../../src/quic/engine.ts';
import type { QlogFactory } from '../../src/quic/qlog.ts';
import type { ClientTlsConfig, ServerTlsConfig } from '../../src/tls/session.ts';
import { SimClock } from './sim-clock.ts';
import type { SimConnection } from './sim-connection.ts';
import { SimEndpoint } from './sim-endpoint.ts';
import { delay, SimNetwork, type LinkPart, type NatKind } from './sim-network.ts';
import { SimRng } from './sim-rng.ts';

/** Rounds at one instant after which time is held to stand still: an engine that asks to be called again and again. */
const MAX_TURNS_PER_INSTANT = 2_000;
/** Lines of the log that a failure shows. */
const LOG_LINES = 40;

export const CLIENT_IP = '10.1.0.1';
export const CLIENT_SECOND_IP = '10.1.0.2';
export const CLIENT_OUTSIDE_IP = '198.51.100.1';
export const SERVER_IP = '203.0.113.1';
export const SERVER_SECOND_IP = '203.0.113.2';

export interface PairOptions {
  readonly seed: number;
  /** What lies between the two, in each direction. Default: 10 ms of delay. */
  readonly links?: readonly LinkPart[];
  /** Nodes of one direction, after {@link links}. */
  readonly toServer?: readonly LinkPart[];
  readonly toClient?: readonly LinkPart[];
  /** Transport settings of both, then of each. */
  readonly transport?: Partial<TransportConfig>;
  readonly clientTransport?: Partial<TransportConfig>;
  readonly serverTransport?: Partial<TransportConfig>;
  readonly clientTls?: Partial<ClientTlsConfig>;
  readonly serverTls?: Partial<ServerTlsConfig>;
  readonly serverEngine?: Partial<QuicEndpointOptions>;
  readonly clientNat?: NatKind;
  readonly serverNat?: NatKind;
  readonly qlog?: QlogFactory | undefined;
}

/** Two sides of one connection. */
export interface Connected {
  readonly client: SimConnection;
  readonly server: SimConnection;
}

/** A simulation that did not go as it should; the message has the seed and the last events. */
export class SimFailure extends Error {
  override readonly name = 'SimFailure';
}

/** What every {@link Pair} does, set by the runner around a scenario: log packets, and tell the runner that it exists. */
export const pairDefaults: { qlog: QlogFactory | undefined; onPair: ((pair: Pair) => void) | undefined } = {
  qlog: undefined,
  onPair: undefined,
};

/** Two endpoints and the network between them. */
export class Pair {
  readonly seed: number;
  readonly rng: SimRng;
  readonly clock = new SimClock();
  readonly network: SimNetwork;
  readonly client: SimEndpoint;
  readonly server: SimEndpoint;
  readonly #log: string[] = [];
  #digest = 0x811c9dc5;
  #logged = 0;

  constructor(options: PairOptions) {
    this.seed = options.seed;
    this.rng = new SimRng(options.seed);
    this.network = new SimNetwork(this.clock, this.rng.fork());
    const { links = [delay(10)], toServer = [], toClient = [] } = options;
    const clientHost = this.network.addHost('client', [CLIENT_IP, CLIENT_SECOND_IP], {
      links,
      up: toServer,
      down: toClient,
      ...(options.clientNat && { nat: { kind: options.clientNat, outsideIp: CLIENT_OUTSIDE_IP } }),
    });
    const serverHost = this.network.addHost('server', [SERVER_IP, SERVER_SECOND_IP], {
      ...(options.serverNat && { nat: { kind: options.serverNat, outsideIp: SERVER_IP } }),
    });
    const common = {
      clock: this.clock,
      qlog: options.qlog ?? pairDefaults.qlog,
      clientTls: options.clientTls,
      serverTls: options.serverTls,
      onEvent: (endpoint: SimEndpoint, connection: SimConnection | undefined, event: ConnectionEvent) =>
        this.#note(endpoint, connection, event),
    };
    this.client = new SimEndpoint({
      ...common,
      name: 'client',
      host: clientHost,
      rng: this.rng.fork(),
      transport: { ...options.transport, ...options.clientTransport },
    });
    this.server = new SimEndpoint({
      ...common,
      name: 'server',
      host: serverHost,
      rng: this.rng.fork(),
      transport: { ...options.transport, ...options.serverTransport },
      engine: options.serverEngine,
    });
    this.client.bind();
    this.server.bind(4433);
    pairDefaults.onPair?.(this);
  }

  get now(): Millis {
    return this.clock.now();
  }

  // --- time -----------------------------------------------------------------------------------------------------------------

  /** Lets both engines do all they can do at this instant. */
  drive(): void {
    for (let turns = 0; ; turns++) {
      const isBusy = this.client.turn(this.now);
      if (!this.server.turn(this.now) && !isBusy) return;
      if (turns > MAX_TURNS_PER_INSTANT) this.fail('time stands still: an engine is never done');
    }
  }

  /** When something happens next. */
  nextAt(): Millis | undefined {
    const times = [this.clock.nextAt(), this.client.engine.pollTimeout(), this.server.engine.pollTimeout()];
    let next: Millis | undefined;
    for (const at of times) if (at !== undefined && (next === undefined || at < next)) next = at;
    return next;
  }

  /** Goes to the next deadline and handles it. Returns false when nothing will ever happen again. */
  step(): boolean {
    this.drive();
    const at = this.nextAt();
    if (at === undefined) return false;
    this.clock.advanceTo(Math.max(at, this.now));
    this.drive();
    return true;
  }

  /** Runs until `goal` holds. Returns the ms that it took. @throws {SimFailure} */
  runUntil(
    goal: () => boolean,
    options: { readonly withinMs?: Millis; readonly what?: string } = {},
  ): Millis {
    const { withinMs = 60_000, what = goal.toString() } = options;
    const startedAt = this.now;
    this.drive();
    while (!goal()) {
      const at = this.nextAt();
      if (at === undefined) this.fail(`nothing will ever happen again, but not: ${what}`);
      if (at > startedAt + withinMs) {
        this.fail(`not within ${withinMs} ms: ${what}`);
      }
      this.step();
    }
    return this.now - startedAt;
  }

  /** Lets `ms` go by. */
  runFor(ms: Millis): void {
    const end = this.now + ms;
    this.drive();
    for (let at = this.nextAt(); at !== undefined && at <= end; at = this.nextAt()) this.step();
    this.clock.advanceTo(end);
    this.drive();
  }

  // --- verbs ------------------------------------------------------------------------------------------------------------------

  /** Starts a dial; nothing has left yet. */
  dial(tls: Partial<ClientTlsConfig> = {}, transport: Partial<TransportConfig> = {}): SimConnection {
    return this.client.dial(this.server.addr, this.server.tlsName, tls, transport);
  }

  /** Dials and runs until both sides know that the handshake is done. */
  connect(options: { readonly withinMs?: Millis; readonly tls?: Partial<ClientTlsConfig> } = {}): Connected {
    const client = this.dial(options.tls);
    return { client, server: this.awaitConnected(client, options.withinMs) };
  }

  /** Runs until `client` is confirmed and the server has its side of it, which is returned. */
  awaitConnected(client: SimConnection, withinMs: Millis = 60_000): SimConnection {
    let server: SimConnection | undefined;
    this.runUntil(
      () => {
        if (client.closeReason !== undefined) this.fail(`the handshake failed: ${show(client.closeReason)}`);
        server = this.server.connections.findLast((each) => each.has('connected'));
        return server !== undefined && client.has('handshakeConfirmed');
      },
      { withinMs, what: 'handshake confirmed on both sides' },
    );
    return server!;
  }

  /** `length` bytes that follow from the seed. */
  bytes(length: number): Uint8Array {
    return this.rng.bytes(length);
  }

  /** Sends `length` bytes on a new stream and runs until all of them, and FIN, arrived unchanged. Returns the ms it took. */
  transfer(
    from: SimConnection,
    to: SimConnection,
    length: number,
    options: { readonly dir?: Direction; readonly withinMs?: Millis } = {},
  ): Millis {
    const data = this.bytes(length);
    const id = from.sendNew(data, options.dir ?? 'uni');
    return this.awaitStream(from, to, id, data, options.withinMs);
  }

  /** Runs until `to` has exactly `data` and FIN on stream `id`. */
  awaitStream(
    from: SimConnection,
    to: SimConnection,
    id: StreamId,
    data: Uint8Array,
    withinMs: Millis = 120_000,
  ): Millis {
    const took = this.runUntil(
      () => {
        this.requireOpen(from, to);
        return to.isFinished(id);
      },
      { withinMs, what: `stream ${id} complete (${data.length} bytes)` },
    );
    this.requireEqual(to.data(id), data, `stream ${id}`);
    return took;
  }

  /** @throws {SimFailure} when one of them has ended. */
  requireOpen(...connections: readonly SimConnection[]): void {
    for (const { closeReason } of connections) {
      if (closeReason !== undefined) this.fail(`the connection ended: ${show(closeReason)}`);
    }
  }

  requireEqual(actual: Uint8Array, expected: Uint8Array, what: string): void {
    if (Buffer.compare(actual, expected) === 0) return;
    let at = 0;
    while (at < Math.min(actual.length, expected.length) && actual[at] === expected[at]) at++;
    this.fail(`${what}: ${actual.length} of ${expected.length} bytes, first difference at ${at}`);
  }

  require(condition: boolean, what: string): void {
    if (!condition) this.fail(what);
  }

  /** Drops the next `count` datagrams that one side sends. */
  drop(side: 'client' | 'server', count: number): void {
    // The client's access link is the only one with nodes: its two gates are the two directions.
    (side === 'client' ? this.client.host.up : this.client.host.down).dropNext += count;
  }

  /** Opens another path from the client and runs until both sides have validated it. */
  openPath(
    { client, server }: Connected,
    tuple: { readonly local?: Addr; readonly remote?: Addr } = {},
    status: PathStatus = 'available',
  ): PathId {
    const local = tuple.local ?? this.client.bind();
    const path = client.quic.openPathEnsure(
      { local, remote: tuple.remote ?? this.server.addr },
      status,
      this.now,
    );
    this.runUntil(() => client.isPathOpen(path) && server.isPathOpen(path), { what: `path ${path} open` });
    return path;
  }

  /** The client's packets come from another address from now on, and it does not notice. */
  rebindClient(): void {
    const { nat } = this.client.host;
    if (nat === undefined) throw new Error('rebinding needs a NAT: new Pair({ clientNat })');
    nat.rebind();
  }

  /** Closes all connections and runs until both engines have forgotten everything; then checks that they have. */
  end(options: { readonly withinMs?: Millis } = {}): void {
    for (const endpoint of [this.client, this.server]) {
      for (const connection of endpoint.connections) connection.close();
    }
    this.runUntil(
      () => this.client.engine.connectionCount === 0 && this.server.engine.connectionCount === 0,
      { withinMs: options.withinMs ?? 600_000, what: 'both engines without connections' },
    );
    this.checkNothingLeft(this.client);
    this.checkNothingLeft(this.server);
  }

  // --- invariants ---------------------------------------------------------------------------------------------------------------

  /** No connections, cids, timers, deadlines; every path and every connection ended once. */
  checkNothingLeft(endpoint: SimEndpoint): void {
    const { engine, name } = endpoint;
    for (const [table, size] of Object.entries(engine.tableSizes)) {
      this.require(size === 0, `${name} keeps ${size} entries in ${table}`);
    }
    this.require(engine.pollTimeout() === undefined, `${name} still has a deadline`);
    this.require(engine.pollTransmits([], 1, this.now) === 0, `${name} still wants to send`);
    this.require(engine.pollEvent() === undefined, `${name} still has events`);
    this.require(engine.undrainedCount === 0, `${name} counts connections as undrained`);
    for (const connection of endpoint.connections) this.#checkStory(name, connection);
  }

  #checkStory(name: string, connection: SimConnection): void {
    const who = `${name} connection ${connection.quic.stableId}`;
    for (const type of ['closed', 'draining', 'drained'] as const) {
      this.require(connection.count(type) === 1, `${who}: ${connection.count(type)} × ${type}`);
    }
    this.require(connection.count('connected') <= 1, `${who}: connected more than once`);
    this.require(connection.events.at(-1)?.type === 'drained', `${who}: events after drained`);
    const established = connection.all('pathEstablished').map(({ path }) => path);
    const abandoned = connection.all('pathAbandoned').map(({ path }) => path);
    const discarded = connection.all('pathDiscarded').map(({ path }) => path);
    this.require(new Set(established).size === established.length, `${who}: a path was established twice`);
    this.require(new Set(abandoned).size === abandoned.length, `${who}: a path was abandoned twice`);
    this.require(new Set(discarded).size === discarded.length, `${who}: a path was discarded twice`);
    for (const path of established) {
      this.require(abandoned.includes(path), `${who}: path ${path} was established and never ended`);
    }
    for (const path of discarded) {
      this.require(abandoned.includes(path), `${who}: path ${path} was discarded without having ended`);
    }
  }

  // --- what happened ---------------------------------------------------------------------------------------------------------------

  /** A number that two runs share if and only if (as good as) the same things happened at the same times. */
  get digest(): number {
    return this.#digest >>> 0;
  }

  #note(endpoint: SimEndpoint, connection: SimConnection | undefined, event: ConnectionEvent): void {
    const line = `${this.now.toFixed(3).padStart(12)} ${endpoint.name} ${connection?.quic.stableId ?? '?'} ${show(event)}`;
    for (let i = 0; i < line.length; i++)
      this.#digest = Math.imul(this.#digest ^ line.charCodeAt(i), 0x01000193);
    this.#log[this.#logged++ % LOG_LINES] = line;
  }

  fail(message: string): never {
    const start = Math.max(0, this.#logged - LOG_LINES);
    const lines: string[] = [];
    for (let i = start; i < this.#logged; i++) lines.push(this.#log[i % LOG_LINES]!);
    const state = [this.client, this.server].map((endpoint) => {
      const open = endpoint.connections.filter(({ quic }) => quic.closeReason === undefined);
      const paths = open.map(({ quic }) => show(quic.paths()));
      return `${endpoint.name}: ${show(endpoint.engine.tableSizes)} next deadline ${endpoint.engine.pollTimeout()} paths ${paths.join(' ')}`;
    });
    throw new SimFailure(
      `${message}\nseed ${this.seed}, at ${this.now.toFixed(3)} ms, ${this.network.inFlight} datagrams under way\n${state.join('\n')}\n${lines.join('\n')}`,
    );
  }
}

function show(value: unknown): string {
  return JSON.stringify(value, (key, each: unknown) => {
    if (typeof each === 'bigint') return `${each}n`;
    if (each instanceof Uint8Array) return `${each.length} bytes`;
    if (each instanceof Error)
      return `${each.name} ${'code' in each ? String(each.code) : ''}: ${each.message}`;
    return key === 'stats' ? undefined : each;
  });
}
