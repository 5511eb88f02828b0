/**
 * A day of one endpoint behind a router, in virtual time: its networks come, go and change the whole day long, and it sleeps
 * at times. After each incident it must be found again, and whoever finds it must be answered; and nothing may pile up. One
 * seed is one day.
 *
 * @module
 */
import { partsOf } from '../../src/actors/internals.ts';
import {
  Endpoint,
  MemoryLookup,
  SecretKey,
  type AddressLookup,
  type Connection,
  type EndpointAddr,
  type EndpointId,
} from '../../src/index.ts';
import { RelaySite, SIM_TRUST } from '../support/relay-site.ts';
import { SimGateway } from '../support/sim-gateway.ts';
import { delay, loss, type SimHost } from '../support/sim-network.ts';
import { SimWorld } from '../support/sim-platform.ts';
import { SimRng } from '../support/sim-rng.ts';

const ALPN = 'day';
const HOUR_MS = 3_600_000;
/** Whatever broke works again: by when the endpoint is whole, ms. A relay that was gone is dialled every 16 s, give or take. */
const RECOVERY_LIMIT_MS = 120_000;
/** Until what was needed for an answer is forgotten: a remote a minute after its last use. */
const IDLE_MS = 75_000;
/** What may be there beside what was there at the first look: a retry, a debounce, a report under way. */
const TIMER_SLACK = 8;
const ACTOR_SLACK = 3;

/** What came of a day. */
export interface DayRun {
  readonly virtualMs: number;
  /** All that happened, with its time. The same seed tells the same story. */
  readonly story: readonly string[];
  readonly incidents: number;
  /** How long it took each time until the endpoint was whole, ms. */
  readonly recoveries: readonly number[];
}

/** What others have been told last. */
class Board implements AddressLookup {
  readonly name = 'board';
  last: EndpointAddr | undefined;

  publish({ addr }: { readonly addr: EndpointAddr }): void {
    this.last = addr;
  }

  resolve(id: EndpointId): AsyncIterable<EndpointAddr> {
    return new MemoryLookup().resolve(id);
  }
}

/** Says what is said on one stream. */
async function answer(connection: Connection): Promise<void> {
  const { send, recv } = await connection.acceptBi();
  await send.write(await recv.readToEnd(10));
  send.finish();
}

interface Counts {
  readonly timers: number;
  readonly actors: number;
  readonly sockets: number;
}

class Day {
  readonly world: SimWorld;
  readonly story: string[] = [];
  readonly recoveries: number[] = [];
  incidents = 0;
  readonly #rng: SimRng;
  readonly #lengthMs: number;
  readonly #board = new Board();
  readonly #relays: RelaySite[] = [];
  #host!: SimHost;
  #friendHost!: SimHost;
  #endpoint!: Endpoint;
  #first: Counts | undefined;
  #sleptMs = 0;
  #nextIp = 50;

  constructor(seed: number, lengthMs: number) {
    this.#lengthMs = lengthMs;
    this.world = new SimWorld(seed);
    this.#rng = new SimRng(seed);
    const { clock } = this.world;
    const wallNow = clock.wallNow.bind(clock);
    clock.wallNow = () => wallNow() + this.#sleptMs;
  }

  get #now(): number {
    return this.world.clock.now();
  }

  #tell(line: string): void {
    this.story.push(`${(this.#now / 1_000).toFixed(3).padStart(9)} ${line}`);
  }

  async build(): Promise<void> {
    const { world } = this;
    for (const number of [1, 2])
      this.#relays.push(await RelaySite.open(world, number, { delayMs: this.#rng.between(5, 60) }));
    const nat = this.#rng.pick(['open', 'moderate', 'strict'] as const);
    this.#host = world.addHost('host', '10.0.0.1', {
      links: [delay(10), loss(this.#rng.chance(0.3) ? 0.02 : 0)],
      nat: { kind: nat, outsideIp: '203.0.113.1', gatewayIp: '10.0.0.101' },
    });
    const services = this.#rng.chance(0.7) ? [this.#rng.pick(['pcp', 'natPmp', 'upnp'] as const)] : [];
    new SimGateway(world, this.#host, services);
    this.#friendHost = world.addHost('friend', '198.51.100.1', { links: [delay(10)] });
    this.#endpoint = await Endpoint.bind({
      preset: 'minimal',
      secretKey: SecretKey.fromBytes(this.#rng.bytes(32)),
      alpns: [ALPN],
      bind: ['0.0.0.0:0'],
      relay: this.#relays.map(({ config }) => config),
      tls: SIM_TRUST,
      lookup: this.#board,
      portMapper: true,
      platform: world.platformOf(this.#host),
    });
    this.#tell(`nat ${nat}, router ${services[0] ?? 'deaf'}`);
    void this.#serve();
    await this.#recover();
  }

  async #serve(): Promise<void> {
    for await (const incoming of this.#endpoint.incoming())
      // Who gave up meanwhile is no concern of ours.
      void incoming
        .accept()
        .connected.then(answer)
        .catch(() => undefined);
  }

  // --- trouble --------------------------------------------------------------------------------------------------------------

  /** Something happens, lasts a while, and is over. */
  async incident(): Promise<void> {
    this.incidents++;
    const repair = this.#rng.pick(this.#incidents)();
    await this.world.sleep(this.#rng.between(50, this.#rng.chance(0.2) ? 180_000 : 20_000));
    repair?.();
    this.#tell('all works');
    await this.#recover();
  }

  readonly #incidents: readonly (() => (() => void) | undefined)[] = [
    () => {
      const ip = `10.0.0.${this.#ip}`;
      this.#tell(`address ${ip}`);
      const { ips } = this.#host;
      this.#host.setIps([ip, ...ips.slice(1)]);
      return undefined;
    },
    () => {
      const ip = `203.0.113.${this.#ip}`;
      this.#tell(`the router has ${ip}`);
      this.world.network.moveNat(this.#host, ip);
      return undefined;
    },
    () => {
      this.#tell('the router forgets');
      this.#host.nat!.rebind();
      return undefined;
    },
    () => {
      this.#tell('no way out');
      const network = this.world.interfacesOf(this.#host);
      network.defaultRoute = undefined;
      this.#host.isUp = false;
      return () => {
        network.defaultRoute = 'eth0';
        this.#host.isUp = true;
      };
    },
    () => {
      this.#tell('another interface');
      const network = this.world.interfacesOf(this.#host);
      network.addInterface('wlan0', [`10.0.1.${this.#ip}`]);
      return () => network.removeInterface('wlan0');
    },
    () => {
      this.#tell('no UDP');
      this.#host.isUp = false;
      return () => (this.#host.isUp = true);
    },
    () => {
      const { relay } = this.#rng.pick(this.#relays);
      this.#tell(`${relay.url.href} restarts`);
      relay.restart();
      return undefined;
    },
    () => {
      const site = this.#rng.pick(this.#relays);
      this.#tell(`${site.relay.url.href} down`);
      site.goDown();
      return () => site.comeUp();
    },
    () => {
      const { relay } = this.#rng.pick(this.#relays);
      this.#tell(`${relay.url.href} silent`);
      relay.fallSilent();
      return () => relay.comeUp();
    },
    () => {
      const ms = this.#rng.between(30_000, 8 * 3_600_000);
      this.#tell(`sleeps for ${Math.round(ms / 60_000)} min`);
      this.#sleptMs += ms;
      this.#host.nat!.rebind();
      return undefined;
    },
    () => {
      const { config } = this.#rng.pick(this.#relays);
      this.#tell(`${String(config.url)} is taken out of the map`);
      this.#endpoint.relays.delete(config.url);
      return () => this.#endpoint.relays.set(config);
    },
    () => {
      this.#tell('is told to look');
      this.#endpoint.networkChanged();
      return undefined;
    },
  ];

  get #ip(): number {
    return (this.#nextIp = this.#nextIp >= 99 ? 50 : this.#nextIp + 1);
  }

  // --- what must hold -------------------------------------------------------------------------------------------------------

  /** What is wrong; undefined: nothing. */
  #complaint(): string | undefined {
    const { homeRelay, netReport, addr, portMapping } = this.#endpoint;
    const { ips, nat } = this.#host;
    if (homeRelay?.state !== 'connected') return `home relay ${homeRelay?.state}`;
    if (netReport?.udpV4 !== true) return 'UDP is held not to work';
    if (netReport.globalV4?.ip !== nat!.outsideIp) return `is said to be at ${netReport.globalV4?.text}`;
    if (portMapping !== undefined && portMapping.ip !== nat!.outsideIp)
      return `mapped to ${portMapping.text}`;
    const known = new Set(addr.ips.map(({ ip }) => ip));
    const missing = [nat!.outsideIp, ...ips].filter((ip) => !known.has(ip));
    const wrong = [...known].filter((ip) => ip !== nat!.outsideIp && !ips.includes(ip));
    if (missing.length + wrong.length > 0)
      return `addresses: missing ${missing.join()}, wrong ${wrong.join()}`;
    if (this.#board.last?.toTicket() !== addr.toTicket()) return 'others are told something else';
    return undefined;
  }

  async #recover(): Promise<void> {
    const from = this.#now;
    for (let wrong = this.#complaint(); wrong !== undefined; wrong = this.#complaint()) {
      if (this.#now - from >= RECOVERY_LIMIT_MS) throw new Error(`not whole in time: ${wrong}`);
      await this.world.sleep(500);
    }
    this.recoveries.push(this.#now - from);
    await this.#visit();
    this.#tell(`whole after ${Math.round(this.#now - from)} ms`);
  }

  /** A friend who knows what the board says comes, is answered, and goes. */
  async #visit(): Promise<void> {
    const { addr } = this.#endpoint;
    const friend = await Endpoint.bind({
      preset: 'minimal',
      bind: ['198.51.100.1:0'],
      relay: [],
      netReport: false,
      tls: SIM_TRUST,
      platform: this.world.platformOf(this.#friendHost),
    });
    try {
      const connection = await friend.connect(addr, ALPN, { timeoutMs: 30_000 });
      const { send, recv } = await connection.openBi();
      await send.write(Uint8Array.of(1, 2, 3));
      send.finish();
      const answer = await recv.readToEnd(10, { timeoutMs: 30_000 });
      if (answer.length !== 3) throw new Error(`answered ${answer.length} bytes`);
    } finally {
      await friend.close();
    }
  }

  get #counts(): Counts {
    const { clock, network, openSockets } = this.world;
    const underWay = this.#relays.reduce((sum, { relay }) => sum + relay.inFlight, network.inFlight);
    return {
      timers: clock.pendingTimers - underWay,
      actors: partsOf.get(this.#endpoint)!.system.running.size,
      sockets: openSockets,
    };
  }

  /** Nothing is going on: what is there must not become more, day in, day out. */
  async #checkCounts(): Promise<void> {
    await this.world.sleep(IDLE_MS);
    const first = (this.#first ??= this.#counts);
    const isMore = (counts: Counts): boolean =>
      counts.timers > first.timers + TIMER_SLACK ||
      counts.actors > first.actors + ACTOR_SLACK ||
      counts.sockets > first.sockets;
    let counts = this.#counts;
    // The router may be asked just now, which takes a socket for each protocol.
    for (let tries = 0; isMore(counts) && tries < 10; tries++) {
      await this.world.sleep(1_000);
      counts = this.#counts;
    }
    if (isMore(counts))
      throw new Error(
        `piles up: ${JSON.stringify(first)} became ${JSON.stringify(counts)}: ${[
          ...partsOf.get(this.#endpoint)!.system.running,
        ].join()}`,
      );
  }

  async live(): Promise<void> {
    while (this.#now < this.#lengthMs) {
      await this.#checkCounts();
      for (let count = this.#rng.between(1, 4); count > 0; count--) await this.incident();
      await this.world.sleep(this.#rng.between(1_000, 1_800_000));
    }
    await this.#endpoint.close();
    await this.world.sleep(10_000);
    for (const site of this.#relays) await site.close();
    await this.world.sleep(10_000);
    const left = this.#counts;
    if (left.timers + left.actors + left.sockets !== 0) throw new Error(`is left: ${JSON.stringify(left)}`);
  }

  abandon(): void {
    void this.#endpoint?.close({ timeoutMs: 0 });
  }
}

/** Runs one seed. @throws {Error} naming what does not hold, with the story as `cause`. */
export async function runDay(seed: number, hours = 24): Promise<DayRun> {
  const lengthMs = hours * HOUR_MS;
  const day = new Day(seed, lengthMs);
  const { world, story } = day;
  try {
    await world.run(
      day.build().then(() => day.live()),
      lengthMs + 24 * HOUR_MS,
    );
  } catch (error) {
    day.abandon();
    const message = error instanceof Error ? error.message : String(error);
    throw new Error(`seed ${seed}, after ${Math.round(world.clock.now() / 1_000)} s: ${message}`, {
      cause: story.join('\n'),
    });
  }
  return { virtualMs: world.clock.now(), story, incidents: day.incidents, recoveries: day.recoveries };
}
