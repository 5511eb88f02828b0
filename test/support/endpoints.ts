/**
 * Places where endpoints run in scenarios: real UDP on loopback, or a simulated network in virtual time. After the body of a
 * scenario all of its endpoints are closed, and then nothing may be left: no timer, no socket, no promise that never settles.
 *
 * ```ts
 * test('A13: …', onLoopback(async (place) => { const endpoint = await place.bind(); … }));
 * test('B14: …', simulated(async (place) => { const { ours, theirs } = await place.connect(); … }));
 * ```
 *
 * @module
 */
import { expect } from '@jest/globals';
import { systemPlatform } from '#transport/system-platform';
import type { Clock, TimerId } from '../../src/base/clock.ts';
import { actorOf } from '../../src/actors/internals.ts';
import { utf8 } from '../../src/base/bytes.ts';
import {
  ConnectionError,
  Endpoint,
  EndpointAddr,
  type CloseReason,
  type Connection,
  type EndpointOptions,
} from '../../src/index.ts';
import type { QuicEndpoint } from '../../src/quic/endpoint.ts';
import type { Platform } from '../../src/transport/platform.ts';
import { bindUdp } from '../../src/transport/udp.ts';
import { RelaySite, SIM_TRUST, type RelaySiteOptions } from './relay-site.ts';
import { SimCustomNetwork } from './sim-custom.ts';
import { SimGateway, type GatewayProtocol } from './sim-gateway.ts';
import { SimWorld } from './sim-platform.ts';
import { delay, type LinkPart, type NatKind, type SimHost } from './sim-network.ts';

/** The protocol of scenarios that do not care. */
export const ALPN = 'test';
/** Upper bound of every wait on real time: generous, because the machine may be busy. */
export const WAIT = { timeoutMs: 10_000 };
/** Virtual time after which a scenario counts as hanging. */
const SIM_LIMIT_MS = 15 * 60_000;
/** One way of a simulated link unless told otherwise, ms. */
const SIM_DELAY_MS = 10;

const MAX_ECHO_BYTES = 2_000_000;

/** One that dials, one that accepts. */
export interface PairOfEndpoints {
  readonly client: Endpoint;
  readonly server: Endpoint;
}

/** Two endpoints and the connection between them. */
export interface Pair extends PairOfEndpoints {
  /** The side that dialled. */
  readonly ours: Connection;
  /** The side that accepted. */
  readonly theirs: Connection;
}

export interface PairOptions {
  readonly client?: EndpointOptions;
  readonly server?: EndpointOptions;
}

/** Where endpoints of a scenario run. */
export abstract class Place {
  readonly endpoints: Endpoint[] = [];
  readonly #promises: { readonly what: string; readonly promise: Promise<unknown> }[] = [];
  abstract readonly clock: Clock;

  /** Binds an endpoint that is closed at the end at the latest. */
  async bind(options: EndpointOptions = {}): Promise<Endpoint> {
    const endpoint = await Endpoint.bind({
      preset: 'minimal',
      bind: this.bindAddrs(),
      platform: this.nextPlatform(),
      ...options,
    });
    this.endpoints.push(endpoint);
    return endpoint;
  }

  /** As {@link bind}, accepting {@link ALPN}. */
  serve(options: EndpointOptions = {}): Promise<Endpoint> {
    return this.bind({ alpns: [ALPN], ...options });
  }

  protected abstract bindAddrs(): NonNullable<EndpointOptions['bind']>;
  protected abstract nextPlatform(): Platform;
  /** Fails if the world holds more than endpoints that are closed may leave. */
  protected abstract checkNothingLeft(): void;

  /** Where others in this place reach an endpoint: its IPv4 sockets. */
  addrOf(endpoint: Endpoint): EndpointAddr {
    return new EndpointAddr(
      endpoint.id,
      endpoint.boundSockets.filter(({ family }) => family === 4).map((addr) => ({ type: 'ip', addr })),
    );
  }

  /** Two endpoints, connected. */
  async connect(options: PairOptions = {}): Promise<Pair> {
    const server = await this.serve(options.server);
    const client = await this.bind(options.client);
    return { client, server, ...(await this.dial(client, server)) };
  }

  /** Connects two endpoints. */
  async dial(
    client: Endpoint,
    server: Endpoint,
    addr = this.addrOf(server),
  ): Promise<{ ours: Connection; theirs: Connection }> {
    const accepted = this.acceptOn(server);
    const ours = await client.connect(addr, ALPN, this.wait);
    return { ours, theirs: await accepted };
  }

  /** Accepts the next attempt and waits for its handshake. */
  async acceptOn(server: Endpoint): Promise<Connection> {
    const incoming = await server.accept(this.wait);
    return incoming!.accept().connected;
  }

  /** Sends bytes on a new stream to who answers with {@link echo}; returns what comes back, and how long that took, ms. */
  async ask(
    connection: Connection,
    bytes = utf8('ping'),
  ): Promise<{ readonly answer: Uint8Array; readonly tookMs: number }> {
    const startedAt = this.clock.now();
    const { send, recv } = await connection.openBi(this.wait);
    const written = send.write(bytes).then(() => send.finish());
    const answer = await recv.readToEnd(MAX_ECHO_BYTES, this.wait);
    await written;
    return { answer, tookMs: this.clock.now() - startedAt };
  }

  /** Options for waits that should end. */
  get wait(): { readonly timeoutMs: number } {
    return WAIT;
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.clock.setTimeout(resolve, ms));
  }

  /** Notes a promise that must be settled once all endpoints are closed, one way or the other. */
  mustSettle(what: string, promise: Promise<unknown>): void {
    this.#promises.push({ what, promise });
    promise.catch(() => undefined);
  }

  /** Closes everything and looks for what is left. */
  async end(): Promise<void> {
    for (const endpoint of this.endpoints) this.mustSettle('endpoint.closed', endpoint.closed);
    await Promise.all(this.endpoints.map((endpoint) => endpoint.close({ timeoutMs: 1_000 })));
    for (const endpoint of this.endpoints) expect(endpoint.state).toBe('closed');
    const pending = new Set(this.#promises.map(({ what }, index) => `${what} (${index})`));
    this.#promises.forEach(({ what, promise }, index) => {
      const done = (): void => void pending.delete(`${what} (${index})`);
      promise.then(done, done);
    });
    for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect([...pending]).toEqual([]);
    this.checkNothingLeft();
  }
}

/** The real system's platform, with every timer and socket in the books. */
export class Loopback extends Place {
  override readonly clock: Clock;
  readonly #timers = new Set<TimerId>();
  #openSockets = 0;

  constructor() {
    super();
    const real = systemPlatform.clock;
    this.clock = {
      ...real,
      setTimeout: (fn, delayMs) => {
        const id = real.setTimeout(() => {
          this.#timers.delete(id);
          fn();
        }, delayMs);
        this.#timers.add(id);
        return id;
      },
      clearTimeout: (id) => {
        this.#timers.delete(id);
        real.clearTimeout(id);
      },
    };
  }

  protected override bindAddrs(): NonNullable<EndpointOptions['bind']> {
    return ['127.0.0.1:0'];
  }

  protected override nextPlatform(): Platform {
    return {
      ...systemPlatform,
      clock: this.clock,
      bindUdp: async (request) => {
        const transport = await bindUdp(request, this.clock);
        this.#openSockets++;
        const close = transport.close.bind(transport);
        let isClosed = false;
        transport.close = async () => {
          await close();
          if (!isClosed) this.#openSockets--;
          isClosed = true;
        };
        return transport;
      },
    };
  }

  protected override checkNothingLeft(): void {
    expect({ timers: this.#timers.size, sockets: this.#openSockets }).toEqual({ timers: 0, sockets: 0 });
  }
}

/** Hosts `10.0.0.1`, `10.0.0.2`, … on links of 10 ms, one for each endpoint. */
export class Simulated extends Place {
  readonly world: SimWorld;
  readonly hosts: SimHost[] = [];
  readonly relays: RelaySite[] = [];
  readonly customNetworks: SimCustomNetwork[] = [];
  /** Links of hosts that come. */
  links: readonly LinkPart[] = [delay(SIM_DELAY_MS)];
  /** What hosts that come are behind: host n is `203.0.113.n` outside. */
  nat: NatKind | undefined;
  /** How the routers of hosts that come can be asked for a port. Needs {@link nat}. */
  routerServices: readonly GatewayProtocol[] = [];
  readonly #gateways = new Map<SimHost, SimGateway>();

  constructor(seed: number) {
    super();
    this.world = new SimWorld(seed);
  }

  override get clock(): Clock {
    return this.world.clock;
  }

  override get wait(): { readonly timeoutMs: number } {
    return { timeoutMs: 120_000 };
  }

  protected override bindAddrs(): NonNullable<EndpointOptions['bind']> {
    return [`10.0.0.${this.hosts.length + 1}:0`];
  }

  protected override nextPlatform(): Platform {
    const number = this.hosts.length + 1;
    const host = this.world.addHost(`host ${number}`, `10.0.0.${number}`, {
      links: this.links,
      ...(this.nat !== undefined && {
        nat: {
          kind: this.nat,
          outsideIp: `203.0.113.${number}`,
          gatewayIp: `10.0.0.${number + 100}`,
        },
      }),
    });
    this.hosts.push(host);
    if (host.nat !== undefined)
      this.#gateways.set(host, new SimGateway(this.world, host, this.routerServices));
    return this.world.platformOf(host);
  }

  /** A relay, as options of an endpoint name it. */
  async addRelay(options: RelaySiteOptions = {}): Promise<RelaySite> {
    const site = await RelaySite.open(this.world, this.relays.length + 1, options);
    this.relays.push(site);
    return site;
  }

  /** A network for custom transports. */
  addCustomNetwork(): SimCustomNetwork {
    const network = new SimCustomNetwork(this.world.clock);
    this.customNetworks.push(network);
    return network;
  }

  /** The machine that an endpoint of this place runs on. */
  hostOf(endpoint: Endpoint): SimHost {
    return this.hosts[this.endpoints.indexOf(endpoint)]!;
  }

  /** The router of an endpoint behind a NAT. */
  gatewayOf(endpoint: Endpoint): SimGateway {
    return this.#gateways.get(this.hostOf(endpoint))!;
  }

  /** Where an endpoint is reached by relay alone. */
  relayAddrOf(endpoint: Endpoint): EndpointAddr {
    return new EndpointAddr(
      endpoint.id,
      endpoint.addr.addrs.filter(({ type }) => type === 'relay'),
    );
  }

  /** Waits until all of them can be reached by relay. */
  async online(...endpoints: readonly Endpoint[]): Promise<void> {
    await Promise.all(endpoints.map((endpoint) => endpoint.online(this.wait)));
  }

  /** Two endpoints that are online with the same relays. */
  async relayedPair(sites: readonly RelaySite[], options: PairOptions = {}): Promise<PairOfEndpoints> {
    const server = await this.serve({ ...this.using(...sites), ...options.server });
    const client = await this.bind({ ...this.using(...sites), ...options.client });
    await this.online(server, client);
    return { client, server };
  }

  /** Options of endpoints that use these relays. */
  using(...sites: readonly RelaySite[]): EndpointOptions {
    return { relay: sites.map(({ config }) => config), tls: SIM_TRUST };
  }

  override async end(): Promise<void> {
    await Promise.all(this.endpoints.map((endpoint) => endpoint.close({ timeoutMs: 1_000 })));
    await Promise.all(this.relays.map((site) => site.close()));
    await super.end();
  }

  protected override checkNothingLeft(): void {
    const { clock, network, openSockets } = this.world;
    // A datagram under way to a socket that is gone is not ours any more, but its timer is the network's.
    const others = [...this.relays.map(({ relay }) => relay), ...this.customNetworks];
    const underWay = others.reduce((sum, { inFlight }) => sum + inFlight, network.inFlight);
    expect({ timers: clock.pendingTimers - underWay, sockets: openSockets }).toEqual({
      timers: 0,
      sockets: 0,
    });
  }
}

/** Answers every bidirectional stream with what it brings, until the connection ends. */
export async function echo(connection: Connection): Promise<void> {
  for await (const { send, recv } of connection.incomingBi()) {
    await send.write(await recv.readToEnd(MAX_ECHO_BYTES));
    send.finish();
  }
}

/** The error that something fails with. @throws {Error} when it does not fail. */
export async function failure(promise: PromiseLike<unknown>): Promise<Error & { code: string }> {
  try {
    await promise;
  } catch (error) {
    return error as Error & { code: string };
  }
  throw new Error('expected a failure');
}

/** Why a connection ended, also when it did before anybody had it. */
export async function endOf(connection: PromiseLike<Connection>): Promise<CloseReason> {
  try {
    return await (
      await connection
    ).closed;
  } catch (error) {
    if (error instanceof ConnectionError) return error;
    throw error;
  }
}

/** The engine behind a connection. */
export function engineOf(connection: Connection): QuicEndpoint {
  return actorOf.get(connection)!.driver.engine as QuicEndpoint;
}

/** Runs a scenario on loopback UDP. */
export function onLoopback(body: (place: Loopback) => Promise<void>): () => Promise<void> {
  return async () => {
    const place = new Loopback();
    try {
      await body(place);
    } catch (error) {
      await Promise.all(place.endpoints.map((endpoint) => endpoint.close({ timeoutMs: 100 })));
      throw error;
    }
    await place.end();
  };
}

/** Runs a scenario in virtual time. The seed can be replayed with `SEED=n`. */
export function simulated(body: (place: Simulated) => Promise<void>, seed = 1): () => Promise<void> {
  return async () => {
    const place = new Simulated(Number(process.env['SEED'] ?? seed));
    const work = body(place).then(() => place.end());
    await place.world.run(work, SIM_LIMIT_MS);
  };
}
