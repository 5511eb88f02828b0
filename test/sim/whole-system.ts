/**
 * Two or three whole endpoints, relays, NATs and links that fail, in virtual time. One seed is one run. What must hold of all
 * of them together, whatever happens: a dial over a relay succeeds and both sides agree on who and what (P1); peers whose
 * networks allow it become direct, and stay so (P2); a connection outlives what leaves it a way within its idle time (P3); the
 * other side hears of a close (P4); nothing waits longer than its bound (P5); a stream loses and repeats no byte (P6); nothing
 * is left at the end (P7).
 *
 * @module
 */
import { partsOf } from '../../src/actors/internals.ts';
import { Endpoint, EndpointAddr, MemoryLookup, SecretKey, type Connection } from '../../src/index.ts';
import { PATH_MAX_IDLE_TIMEOUT_MS } from '../../src/quic/config.ts';
import { Flow, type FlowPace } from '../support/flow.ts';
import { RelaySite, SIM_TRUST } from '../support/relay-site.ts';
import {
  delay,
  duplicate,
  loss,
  reorder,
  type LinkPart,
  type NatKind,
  type SimHost,
} from '../support/sim-network.ts';
import { SimWorld } from '../support/sim-platform.ts';
import { SimRng } from '../support/sim-rng.ts';

const ALPN = 'whole-system';
/** Virtual time that a run may take, ms. */
const RUN_LIMIT_MS = 20 * 60_000;
/** A dial over a relay, ms: home relays have been found, and no datagram is lost there. */
const DIAL_LIMIT_MS = 10_000;
/** Until a direct connection has a relay behind it, ms. */
const BACKUP_LIMIT_MS = 5_000;
/** The network is quiet again: until the next look for a better path, and a path that is dead has been given up, ms. */
const DIRECT_LIMIT_MS = 150_000;
/** The idle time-out of a connection and three PTOs, ms. */
const TIMEOUT_LIMIT_MS = 36_000;
/** How a connection ends whose peer's last words were lost: by its silence, or by its answer to one who goes on talking. */
const GAVE_UP: readonly string[] = ['ConnectionError.TimedOut', 'ConnectionError.Reset'];
/** What is on its way when everything works again, ms. */
const DELIVERY_LIMIT_MS = 60_000;

/** What came of a run. */
export interface SystemRun {
  readonly virtualMs: number;
  /** All that happened, with its time. The same seed tells the same story. */
  readonly story: readonly string[];
}

interface Machine {
  readonly name: string;
  readonly host: SimHost;
  readonly endpoint: Endpoint;
  readonly nat: NatKind | 'none';
  /** Datagrams go nowhere, for good. */
  readonly isUdpBlocked: boolean;
  readonly isLossy: boolean;
  isClosed: boolean;
}

interface Link {
  readonly name: string;
  readonly client: Machine;
  readonly server: Machine;
  readonly ours: Connection;
  readonly theirs: Connection;
  readonly flows: readonly Flow[];
  /** Never answered while the connection lives. */
  readonly waits: readonly Promise<unknown>[];
}

/** Upstream ignores its tests for these: no packet's port can be foreseen. */
function canPunch({ nat: a }: Machine, { nat: b }: Machine): boolean {
  const kinds = [a, b];
  if (!kinds.includes('strict')) return true;
  return !(kinds.every((kind) => kind === 'strict') || kinds.includes('moderate'));
}

class WholeSystem {
  readonly world: SimWorld;
  readonly story: string[] = [];
  readonly #rng: SimRng;
  readonly #relays: RelaySite[] = [];
  readonly #machines: Machine[] = [];
  readonly #links: Link[] = [];
  readonly #lookup = new MemoryLookup();
  /** What puts things right again. */
  readonly #repairs = new Map<string, () => void>();
  /** Until then whoever has nothing but a relay may be without it. */
  #relaysTrustedAt = 0;
  #nextIp = 50;

  constructor(seed: number) {
    this.world = new SimWorld(seed);
    this.#rng = new SimRng(seed);
  }

  // --- telling ------------------------------------------------------------------------------------------------------------

  get #now(): number {
    return this.world.clock.now();
  }

  #tell(line: string): void {
    this.story.push(`${(this.#now / 1_000).toFixed(3).padStart(8)} ${line}`);
  }

  #require(isTrue: boolean, what: string): void {
    if (!isTrue) throw new Error(what);
  }

  /** P5. @throws when `promise` takes longer than `limitMs`. */
  async #within<T>(limitMs: number, what: string, promise: Promise<T>): Promise<T> {
    let timer: unknown;
    const limit = new Promise<never>((_, reject) => {
      timer = this.world.clock.setTimeout(
        () => reject(new Error(`${what}: not within ${limitMs} ms`)),
        limitMs,
      );
    });
    try {
      return await Promise.race([promise, limit]);
    } finally {
      this.world.clock.clearTimeout(timer);
    }
  }

  async #until(limitMs: number, what: () => string, isTrue: () => boolean): Promise<void> {
    const end = this.#now + limitMs;
    while (!isTrue()) {
      if (this.#now >= end) throw new Error(`${what()}: not within ${limitMs} ms`);
      await this.world.sleep(100);
    }
  }

  // --- building -------------------------------------------------------------------------------------------------------------

  async build(): Promise<void> {
    const rng = this.#rng;
    const relays = rng.between(1, 2);
    for (let i = 1; i <= relays; i++)
      this.#relays.push(await RelaySite.open(this.world, i, { delayMs: rng.between(5, 60) }));
    const machines = rng.between(2, 3);
    for (let i = 1; i <= machines; i++) this.#machines.push(await this.#addMachine(i));
    await this.#within(
      DIAL_LIMIT_MS,
      'P1: home relays',
      Promise.all(this.#machines.map(({ endpoint }) => endpoint.online())),
    );
    for (const [i, client] of this.#machines.entries())
      for (const server of this.#machines.slice(i + 1)) this.#links.push(await this.#connect(client, server));
  }

  async #addMachine(number: number): Promise<Machine> {
    const rng = this.#rng;
    const nat = rng.pick(['none', 'open', 'moderate', 'strict'] as const);
    const isLossy = rng.chance(0.4);
    const links: LinkPart[] = [delay(rng.between(2, 60), rng.between(0, 2))];
    if (isLossy) links.push(loss(0.05 * rng.float()), reorder(0.05, 20), duplicate(0.02));
    const host = this.world.addHost(`host ${number}`, `10.0.0.${number}`, {
      links,
      ...(nat !== 'none' && { nat: { kind: nat, outsideIp: `203.0.113.${number}` } }),
    });
    const isUdpBlocked = rng.chance(0.1);
    if (isUdpBlocked) host.up.dropIf = host.down.dropIf = () => true;
    const endpoint = await Endpoint.bind({
      secretKey: SecretKey.fromBytes(rng.bytes(32)),
      alpns: [ALPN],
      bind: ['0.0.0.0:0'],
      relay: this.#relays.map(({ config }) => config),
      tls: SIM_TRUST,
      lookup: this.#lookup,
      platform: this.world.platformOf(host),
    });
    const name = `m${number}`;
    this.#tell(`${name} nat ${nat}${isLossy ? ' lossy' : ''}${isUdpBlocked ? ' no udp' : ''}`);
    return { name, host, endpoint, nat, isUdpBlocked, isLossy, isClosed: false };
  }

  async #connect(client: Machine, server: Machine): Promise<Link> {
    const name = `${client.name}-${server.name}`;
    const { endpoint } = server;
    const { id, addr } = endpoint;
    const relayed = new EndpointAddr(
      id,
      addr.addrs.filter(({ type }) => type === 'relay'),
    );
    const how = this.#rng.pick(['relay', 'all', 'lookup'] as const);
    if (how === 'lookup') this.#lookup.add(addr);
    const accepted = endpoint.accept().then((incoming) => incoming!.accept().connected);
    accepted.catch(() => undefined);
    const ours = await this.#within(
      DIAL_LIMIT_MS,
      `P1: ${name} by ${how}`,
      client.endpoint.connect({ relay: relayed, all: addr, lookup: id }[how], ALPN),
    );
    const theirs = await this.#within(DIAL_LIMIT_MS, `P1: ${name} accepted`, accepted);
    this.#require(ours.alpnText === ALPN && theirs.alpnText === ALPN, `P1: ${name}: another protocol`);
    this.#require(ours.remoteId.equals(id), `P1: ${name}: another server`);
    this.#require(theirs.remoteId.equals(client.endpoint.id), `P1: ${name}: another client`);
    this.#tell(`${name} connected by ${how}`);
    for (const [side, connection] of Object.entries({ client: ours, server: theirs })) {
      connection.pathEvents$.subscribe((event) => {
        if (event.type !== 'lagged')
          this.#tell(
            `${name} ${side} ${event.type} ${event.id} ${event.remoteAddr.type}${'reason' in event ? ` ${JSON.stringify(event.reason)}` : ''}`,
          );
      });
      void connection.closed.then(({ code, message }) =>
        this.#tell(`${name} ${side} ended: ${code}: ${message}`),
      );
    }
    const rng = this.#rng.fork();
    const pace: FlowPace = {
      size: () => rng.between(1, rng.chance(0.05) ? 60_000 : 2_000),
      pauseMs: () => rng.between(50, 1_500),
    };
    const { clock } = this.world;
    const flows = [new Flow(ours, theirs, clock, pace), new Flow(theirs, ours, clock, pace)];
    const waits = [ours.acceptBi(), ours.readDatagram(), theirs.acceptBi(), theirs.readDatagram()].map(
      (wait) => (wait as Promise<unknown>).catch(() => undefined),
    );
    return { name, client, server, ours, theirs, flows, waits };
  }

  // --- trouble --------------------------------------------------------------------------------------------------------------

  /** Lets something go wrong. @returns false when it is to end in the middle of it. */
  async trouble(): Promise<boolean> {
    // Before both sides know of a second path, nothing can take over from the first one.
    await this.#until(
      BACKUP_LIMIT_MS,
      () =>
        `P1: ${this.#links.map(({ name, ours }) => `${name} ${ours.paths.length}`).join()}: no path over a relay`,
      () =>
        this.#links.every(({ ours, theirs }) =>
          [ours, theirs].every(({ paths }) => paths.some(({ remoteAddr }) => remoteAddr.type === 'relay')),
        ),
    );
    const steps = this.#rng.between(3, 12);
    for (let i = 0; i < steps; i++) {
      if (this.#rng.chance(0.6)) this.#repairAll();
      this.#rng.pick(this.#troubles)();
      await this.world.sleep(this.#rng.between(50, 8_000));
    }
    if (this.#rng.chance(0.2)) return false;
    this.#repairAll();
    return true;
  }

  #repairAll(): void {
    for (const [what, repair] of this.#repairs) {
      this.#tell(`repaired: ${what}`);
      repair();
    }
    this.#repairs.clear();
  }

  get #someone(): Machine {
    return this.#rng.pick(this.#machines);
  }

  /** Breaks something unless it is broken. It is repaired later, 8 s at the latest. */
  #break(what: string, action: () => void, repair: () => void): void {
    if (this.#repairs.has(what)) return;
    this.#tell(what);
    action();
    this.#repairs.set(what, repair);
    this.world.clock.setTimeout(
      () => {
        if (this.#repairs.get(what) !== repair) return;
        this.#repairs.delete(what);
        this.#tell(`repaired: ${what}`);
        repair();
      },
      this.#rng.between(300, 8_000),
    );
  }

  /** Relays fail one after the other: P3 asks that one works within the idle time. @param forMs - Until all is well again. */
  #breakRelay(forMs: number, action: (site: RelaySite) => void): void {
    if (this.#now < this.#relaysTrustedAt) return;
    this.#relaysTrustedAt = this.#now + forMs;
    action(this.#rng.pick(this.#relays));
  }

  readonly #troubles: readonly (() => void)[] = [
    () => {
      const { name, host } = this.#someone;
      this.#break(
        `${name} without udp`,
        () => (host.isUp = false),
        () => (host.isUp = true),
      );
    },
    () => {
      const { name, host } = this.#someone;
      this.#tell(`${name} nat forgets`);
      host.nat?.rebind();
    },
    () => {
      const { name, host } = this.#someone;
      if (host.nat === undefined) return;
      const ip = `203.0.113.${this.#nextIp++}`;
      this.#tell(`${name} nat moves to ${ip}`);
      this.world.network.moveNat(host, ip);
    },
    () =>
      // Relay connections from the address before have to be made anew.
      this.#breakRelay(15_000, () => {
        const { name, host } = this.#someone;
        const ip = `10.0.0.${this.#nextIp++}`;
        this.#tell(`${name} moves to ${ip}`);
        host.setIps([ip]);
      }),
    () => {
      const { name, endpoint } = this.#someone;
      this.#tell(`${name} is told of a change`);
      endpoint.networkChanged();
    },
    () => {
      const { name, host } = this.#someone;
      this.#tell(`${name} loses some datagrams`);
      host.up.dropNext = this.#rng.between(1, 20);
      host.down.dropNext = this.#rng.between(1, 20);
    },
    () =>
      this.#breakRelay(10_000, ({ relay }) => {
        this.#tell(`${relay.url.href} restarts`);
        relay.restart();
      }),
    () =>
      this.#breakRelay(15_000, (site) => {
        this.#break(
          `${site.relay.url.href} down`,
          () => site.goDown(),
          () => site.comeUp(),
        );
      }),
    () =>
      this.#breakRelay(30_000, ({ relay }) => {
        this.#break(
          `${relay.url.href} silent`,
          () => relay.fallSilent(),
          () => relay.comeUp(),
        );
      }),
    () => {
      const { name, host } = this.#someone;
      const network = this.world.interfacesOf(host);
      this.#break(
        `${name} without a route`,
        () => {
          network.defaultRoute = undefined;
          host.isUp = false;
        },
        () => {
          network.defaultRoute = 'eth0';
          host.isUp = true;
        },
      );
    },
  ];

  // --- properties -----------------------------------------------------------------------------------------------------------

  /** All works again: P2, P3, P6. */
  async checkCalm(): Promise<void> {
    this.#tell('calm');
    // A path that died a moment ago may still count as one, until its idle time is over.
    await this.world.sleep(Math.max(PATH_MAX_IDLE_TIMEOUT_MS + 5_000, this.#relaysTrustedAt - this.#now));
    for (const link of this.#links) {
      const { name, ours, theirs, client, server } = link;
      const canBeDirect = canPunch(client, server) && !client.isUdpBlocked && !server.isUdpBlocked;
      for (const [side, { closeReason }] of Object.entries({ client: ours, server: theirs }))
        this.#require(closeReason === undefined, `P3: ${name} ${side} ended: ${closeReason?.code}`);
      const selected = (): (string | undefined)[] =>
        [ours, theirs].map(({ paths }) => paths.find(({ isSelected }) => isSelected)?.remoteAddr.type);
      await this.#until(
        canBeDirect ? DIRECT_LIMIT_MS : DELIVERY_LIMIT_MS,
        () => `P2: ${name} ${canBeDirect ? 'direct' : 'has a path'}, but ${selected().join(', ')}`,
        () => selected().every((type) => (canBeDirect ? type === 'ip' : type !== undefined)),
      );
    }
    await this.#checkStaysDirect();
    for (const { flows } of this.#links) for (const flow of flows) flow.stop();
    for (const { name, flows } of this.#links)
      for (const flow of flows) await this.#within(DELIVERY_LIMIT_MS, `P6: ${name}`, flow.finish());
  }

  async #checkStaysDirect(): Promise<void> {
    const quiet = this.#links.filter(
      ({ client, server, ours }) =>
        !client.isLossy &&
        !server.isLossy &&
        ours.paths.some(({ isSelected, remoteAddr }) => isSelected && remoteAddr.type === 'ip'),
    );
    const strays: string[] = [];
    const subscriptions = quiet.map(({ name, ours }) => {
      let isFirst = true;
      return ours.pathEvents$.subscribe((event) => {
        // What is selected now is told at once.
        if (event.type === 'selected' && event.remoteAddr.type === 'relay' && !isFirst) strays.push(name);
        if (event.type === 'selected') isFirst = false;
      });
    });
    await this.world.sleep(10_000);
    for (const subscription of subscriptions) subscription.unsubscribe();
    this.#require(strays.length === 0, `P2: ${strays.join(', ')} did not stay direct`);
  }

  /** Endpoints close one after the other, or all at once: P4, P5, P7. @param isCalm - All works. */
  async closeAll(isCalm: boolean): Promise<void> {
    const order = [...this.#machines].sort(() => this.#rng.float() - 0.5);
    const isCut = !isCalm || this.#rng.chance(0.2);
    if (isCut && isCalm) {
      this.#tell('nothing works any more');
      for (const site of this.#relays) site.goDown();
      for (const { host } of order) host.isUp = false;
    }
    const close = (machine: Machine): Promise<void> => this.#close(machine, isCut);
    if (this.#rng.chance(0.3)) await Promise.all(order.map(close));
    else for (const machine of order) await close(machine);
    // P5: who waits for anything of it, and has not been answered, is told.
    for (const { name, waits, flows } of this.#links)
      // A flow looks up from its pause.
      await this.#within(
        2_000,
        `P5: ${name}: a wait`,
        Promise.all([...waits, ...flows.map(({ done }) => done)]),
      );
    // Whatever broke may still have its repair coming.
    this.#repairAll();
    await this.world.sleep(10_000);
    for (const site of this.#relays) await site.close();
    const { clock, network, openSockets } = this.world;
    const underWay = this.#relays.reduce((sum, { relay }) => sum + relay.inFlight, network.inFlight);
    this.#require(clock.pendingTimers === underWay, `P7: ${clock.pendingTimers - underWay} timers are left`);
    this.#require(openSockets === 0, `P7: ${openSockets} sockets are left`);
  }

  async #close(machine: Machine, isCut: boolean): Promise<void> {
    const { name, endpoint } = machine;
    const links = this.#links.filter(
      ({ client, server }) => [client, server].includes(machine) && !client.isClosed && !server.isClosed,
    );
    machine.isClosed = true;
    this.#tell(`${name} closes`);
    const start = this.#now;
    await this.#within(3_500, `P5: ${name} closes`, endpoint.close());
    this.#tell(`${name} closed after ${Math.round(this.#now - start)} ms`);
    this.#require(
      partsOf.get(endpoint)!.system.running.size === 0,
      `P7: ${name}: ${[...partsOf.get(endpoint)!.system.running].join()}`,
    );
    for (const link of links) {
      const [peer, other] = link.client === machine ? [link.server, link.theirs] : [link.client, link.ours];
      const isLossy = link.client.isLossy || link.server.isLossy;
      const { code } = await this.#within(
        TIMEOUT_LIMIT_MS,
        `P4: ${link.name} hears of the end`,
        other.closed,
      );
      const mayTimeOut = isCut || isLossy;
      this.#require(
        code === 'ConnectionError.ApplicationClosed' ||
          (mayTimeOut && GAVE_UP.includes(code)) ||
          (peer.isClosed && code === 'ConnectionError.LocallyClosed'),
        `P4: ${link.name} ended with ${code}`,
      );
    }
  }

  /** After a failure: whatever can end ends, so that nothing runs on. */
  abandon(): void {
    for (const { endpoint } of this.#machines) void endpoint.close({ timeoutMs: 0 });
  }
}

/** Runs one seed. @throws {Error} naming the property that does not hold, with the story as `cause`. */
export async function runWholeSystem(seed: number): Promise<SystemRun> {
  const system = new WholeSystem(seed);
  const { world, story } = system;
  const work = async (): Promise<void> => {
    await system.build();
    const isCalm = await system.trouble();
    if (isCalm) await system.checkCalm();
    await system.closeAll(isCalm);
  };
  try {
    await world.run(work(), RUN_LIMIT_MS);
  } catch (error) {
    system.abandon();
    const message = error instanceof Error ? error.message : String(error);
    throw new Error(`seed ${seed}, after ${Math.round(world.clock.now())} ms: ${message}`, {
      cause: story.join('\n'),
    });
  }
  return { virtualMs: world.clock.now(), story };
}
