/**
 * A small internet of Linux network namespaces: a core, public hosts, routers with NAT, and devices behind them.
 *
 * ```
 *   host ── core (bridge 198.18.0.0/16, 2001:db8::/64) ── wan [router] lan ── eth0 [device]
 * ```
 *
 * Each lab has a core of its own, so that labs may run side by side; the kernel forwards, filters and translates.
 * {@link Lab.close} removes all of it, and ends every process in it.
 *
 * @module
 */
import { Child, pathOf } from './child.ts';
import { blackHoleRules, natRules, type NatKind } from './nat.ts';
import { NAME_PREFIX, Namespace } from './netns.ts';

/** Which families a network has. */
export type Families = 'v4' | 'v6' | 'dual';

/**
 * Without one of its own a bridge takes the lowest address among its ports, so that a router that is added may change it: all
 * neighbours then send to an address that is nobody's, for 30 s. One is enough, as no bridge is plugged into another.
 */
const BRIDGE_MAC = '02:00:00:00:00:01';

let labCount = 0;

/** What a cable does to packets, in each direction. */
export interface CableOptions {
  readonly delayMs: number;
  readonly lossPercent?: number;
  /** Without it there is no limit. */
  readonly bytesPerSecond?: number;
}

/** An address of a device or host. */
export interface HostAddrs {
  readonly v4: string | undefined;
  readonly v6: string | undefined;
}

/** A machine directly on the internet. */
export interface Host {
  readonly namespace: Namespace;
  readonly addrs: HostAddrs;
}

/** How {@link Lab.addRouter} builds one. */
export interface RouterOptions {
  readonly nat?: NatKind;
  readonly families?: Families;
  readonly isUdpBlocked?: boolean;
}

function hasV4(families: Families): boolean {
  return families !== 'v6';
}

function hasV6(families: Families): boolean {
  return families !== 'v4';
}

/** A router between the core and one local network. */
export class Router {
  readonly namespace: Namespace;
  readonly nat: NatKind;
  readonly families: Families;
  /** The address that the internet sees, unless the kind is `none`. */
  readonly publicIpv4: string | undefined;
  /** Number of the network: third byte of its IPv4 prefix. */
  readonly index: number;
  deviceCount = 0;

  constructor(namespace: Namespace, nat: NatKind, families: Families, index: number) {
    this.namespace = namespace;
    this.nat = nat;
    this.families = families;
    this.index = index;
    this.publicIpv4 = hasV4(families) ? `198.18.1.${index}` : undefined;
  }

  /** Prefix of the IPv4 network behind it: public where there is no translation. */
  get lanIpv4(): string {
    return this.nat === 'none' ? `198.19.${this.index}` : `192.168.${this.index}`;
  }

  get lanIpv6(): string {
    return `2001:db8:${this.index.toString(16)}:1`;
  }

  /** Drops all UDP through this router except with `exceptions`. */
  async blackHole(exceptions: readonly string[]): Promise<void> {
    await this.namespace.nft(blackHoleRules(exceptions));
  }

  /** Ends {@link blackHole}. */
  async endBlackHole(): Promise<void> {
    await this.namespace.nft('flush chain inet lab blocked\n');
  }
}

/** A network card of a device and the router that it is plugged into. */
class Card {
  readonly #namespace: Namespace;
  readonly #name: string;
  readonly #isDefault: boolean;
  readonly router: Router;
  readonly addrs: HostAddrs;

  private constructor(namespace: Namespace, name: string, router: Router, isDefault: boolean, host: number) {
    this.#namespace = namespace;
    this.#name = name;
    this.router = router;
    this.#isDefault = isDefault;
    this.addrs = {
      v4: hasV4(router.families) ? `${router.lanIpv4}.${host}` : undefined,
      v6: hasV6(router.families) ? `${router.lanIpv6}::${host}` : undefined,
    };
  }

  /** Plugs a card in; it is down. With a cable of its own packets take their time. */
  static async plug(
    namespace: Namespace,
    name: string,
    router: Router,
    isDefault: boolean,
    cable: Cable | undefined,
  ): Promise<Card> {
    const host = ++router.deviceCount + 1;
    if (cable === undefined) {
      await router.namespace.ip(
        `link add d${host} type veth peer name ${name} netns ${namespace.name}`,
        `link set d${host} master lan up`,
      );
    } else {
      await cable.namespace.ip(
        `link add left type veth peer name ${name} netns ${namespace.name}`,
        `link add right type veth peer name d${host} netns ${router.namespace.name}`,
        'link set left up',
        'link set right up',
      );
      await router.namespace.ip(`link set d${host} master lan up`);
      await cable.start();
    }
    return new Card(namespace, name, router, isDefault, host);
  }

  /** Commands of `ip` that take it down. */
  get toDown(): string[] {
    return [`link set ${this.#name} down`, `addr flush dev ${this.#name}`];
  }

  /** Commands that bring it up with its addresses and routes, as a DHCP client would. */
  get toUp(): string[] {
    const { v4, v6 } = this.addrs;
    const { lanIpv4, lanIpv6 } = this.router;
    return [
      `link set ${this.#name} up`,
      ...(v4 ? [`addr add ${v4}/24 dev ${this.#name}`] : []),
      ...(v4 && this.#isDefault ? [`route add default via ${lanIpv4}.1`] : []),
      ...(v6 ? [`addr add ${v6}/64 dev ${this.#name} nodad`] : []),
      ...(v6 && this.#isDefault ? [`route add ::/0 via ${lanIpv6}::1`] : []),
    ];
  }

  async down(): Promise<void> {
    await this.#namespace.ip(...this.toDown);
  }

  async up(): Promise<void> {
    await this.#namespace.ip(...this.toUp);
  }

  async remove(): Promise<void> {
    await this.#namespace.ip(`link del ${this.#name}`);
  }
}

/** A cable that delays, in a namespace of its own. */
class Cable {
  readonly namespace: Namespace;
  readonly #options: CableOptions;

  constructor(namespace: Namespace, options: CableOptions) {
    this.namespace = namespace;
    this.#options = options;
  }

  /** Starts the program that carries the frames; it ends with the namespace. */
  async start(): Promise<void> {
    const { delayMs, lossPercent = 0, bytesPerSecond = 0 } = this.#options;
    const args = ['left', 'right', delayMs, lossPercent, bytesPerSecond].map(String);
    const wire = Child.program(this.namespace, ['perl', pathOf('wire.pl'), ...args]);
    await wire.text('ready');
  }
}

/** A machine behind a router. */
export class Device {
  readonly namespace: Namespace;
  #card: Card | undefined;
  #second: Card | undefined;
  #spare: Card | undefined;

  constructor(namespace: Namespace) {
    this.namespace = namespace;
  }

  get #first(): Card {
    if (this.#card === undefined) throw new Error(`${this.namespace.name} is not plugged in`);
    return this.#card;
  }

  /** Where it is plugged in. */
  get router(): Router {
    return this.#first.router;
  }

  get addrs(): HostAddrs {
    return this.#first.addrs;
  }

  /** Moves the cable to a router, at once: the old interface is gone, the new one has other addresses. */
  async plug(router: Router, cable?: Cable): Promise<void> {
    await this.#card?.remove();
    this.#card = await Card.plug(this.namespace, 'eth0', router, true, cable);
    await this.#card.up();
  }

  /** Takes the link down: addresses and routes go with it. */
  linkDown(): Promise<void> {
    return this.#first.down();
  }

  linkUp(): Promise<void> {
    return this.#first.up();
  }

  /** Plugs a card in for {@link switchOver}; it stays down. */
  async plugSpare(router: Router): Promise<void> {
    this.#spare = await Card.plug(this.namespace, 'eth2', router, true, undefined);
  }

  /** From the card in use to the spare one, as a phone leaves its Wi-Fi: within some ms, and the next time back again. */
  async switchOver(): Promise<void> {
    const [from, to] = [this.#first, this.#spare];
    if (to === undefined) throw new Error(`${this.namespace.name} has no spare card`);
    [this.#card, this.#spare] = [to, from];
    await this.namespace.ip(...from.toDown, ...to.toUp);
  }

  /** Plugs a second card in, which stays down. */
  async plugSecond(router: Router): Promise<void> {
    this.#second = await Card.plug(this.namespace, 'eth1', router, false, undefined);
  }

  /** Brings the second card up and returns its addresses. Everything far goes on to use the first one. */
  async secondUp(): Promise<HostAddrs> {
    if (this.#second === undefined) throw new Error(`${this.namespace.name} has no second card`);
    await this.#second.up();
    return this.#second.addrs;
  }
}

/** A core with everything that is plugged into it. */
export class Lab {
  readonly #name: string;
  readonly #core: Namespace;
  readonly #namespaces: Namespace[];
  #routerCount = 0;
  #deviceCount = 0;
  #hostCount = 0;
  #nameServers: readonly string[] = [];

  private constructor(name: string, core: Namespace) {
    this.#name = name;
    this.#core = core;
    this.#namespaces = [core];
  }

  /** Builds the core. */
  static async create(): Promise<Lab> {
    const name = `${NAME_PREFIX}-${process.env['JEST_WORKER_ID'] ?? 0}-${process.pid}-${++labCount}`;
    const core = await Namespace.create(`${name}-core`, [
      'ipv4/ip_forward=1',
      'ipv6/conf/all/forwarding=1',
      // Packets between ports of the bridge are no business of the firewall.
      'bridge/bridge-nf-call-iptables=0',
      'bridge/bridge-nf-call-ip6tables=0',
    ]);
    const lab = new Lab(name, core);
    await lab.#orClose(() =>
      core.ip(
        `link add ix address ${BRIDGE_MAC} type bridge`,
        'link set ix up',
        'addr add 198.18.0.1/16 dev ix',
        'addr add 2001:db8::1/64 dev ix nodad',
      ),
    );
    return lab;
  }

  /** Runs `body` in a fresh lab and removes it whatever happens. */
  static async with<T>(body: (lab: Lab) => Promise<T>): Promise<T> {
    const lab = await Lab.create();
    try {
      return await body(lab);
    } finally {
      await lab.close();
    }
  }

  async #orClose<T>(body: () => Promise<T>): Promise<T> {
    try {
      return await body();
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  async #addNamespace(label: string, settings: readonly string[] = []): Promise<Namespace> {
    const namespace = await Namespace.create(`${this.#name}-${label}`, settings);
    this.#namespaces.push(namespace);
    if (this.#nameServers.length > 0) await namespace.setNameServers(this.#nameServers);
    return namespace;
  }

  /** Which name servers everybody knows: those that exist, and those to come. */
  async setNameServers(addrs: readonly string[]): Promise<void> {
    this.#nameServers = addrs;
    await Promise.all(this.#namespaces.map((namespace) => namespace.setNameServers(addrs)));
  }

  /** A public host with addresses of both families. */
  async addHost(label = `h${this.#hostCount + 1}`): Promise<Host> {
    const index = ++this.#hostCount + 1;
    const namespace = await this.#addNamespace(label);
    const addrs = { v4: `198.18.0.${index}`, v6: `2001:db8::${index.toString(16)}` };
    await this.#core.ip(
      `link add h${index} type veth peer name eth0 netns ${namespace.name}`,
      `link set h${index} master ix up`,
    );
    await namespace.ip(
      'link set eth0 up',
      `addr add ${addrs.v4}/16 dev eth0`,
      `addr add ${addrs.v6}/64 dev eth0 nodad`,
      'route add default via 198.18.0.1',
      'route add ::/0 via 2001:db8::1',
    );
    return { namespace, addrs };
  }

  /** A router with an empty network behind it. */
  async addRouter(options: RouterOptions = {}): Promise<Router> {
    const { nat = 'moderate', families = 'v4', isUdpBlocked = false } = options;
    const index = ++this.#routerCount;
    const namespace = await this.#addNamespace(`r${index}`, [
      'ipv4/ip_forward=1',
      'ipv6/conf/all/forwarding=1',
    ]);
    const router = new Router(namespace, nat, families, index);
    const wanIpv6 = `2001:db8::1:${index.toString(16)}`;
    await this.#core.ip(
      `link add r${index} type veth peer name wan netns ${namespace.name}`,
      `link set r${index} master ix up`,
    );
    await namespace.ip(
      'link set wan up',
      `link add lan address ${BRIDGE_MAC} type bridge`,
      'link set lan up',
      ...(router.publicIpv4
        ? [
            `addr add ${router.publicIpv4}/16 dev wan`,
            'route add default via 198.18.0.1',
            `addr add ${router.lanIpv4}.1/24 dev lan`,
          ]
        : []),
      ...(hasV6(families)
        ? [
            `addr add ${wanIpv6}/64 dev wan nodad`,
            'route add ::/0 via 2001:db8::1',
            `addr add ${router.lanIpv6}::1/64 dev lan nodad`,
          ]
        : []),
    );
    // Translated networks are private: nobody has a route to them.
    if (nat === 'none' && router.publicIpv4) {
      await this.#core.ip(`route add ${router.lanIpv4}.0/24 via ${router.publicIpv4}`);
    }
    if (hasV6(families)) await this.#core.ip(`route add ${router.lanIpv6}::/64 via ${wanIpv6}`);
    await namespace.nft(natRules({ kind: nat, publicIpv4: router.publicIpv4, isUdpBlocked }));
    return router;
  }

  /** A device behind `router`, over a cable that delays if one is described. */
  async addDevice(router: Router, cable?: CableOptions): Promise<Device> {
    const index = ++this.#deviceCount;
    const device = new Device(await this.#addNamespace(`d${index}`));
    await device.plug(router, cable && new Cable(await this.#addNamespace(`c${index}`), cable));
    return device;
  }

  /** A device behind a router of its own. */
  async addBehind(options: RouterOptions = {}): Promise<Device> {
    return this.addDevice(await this.addRouter(options));
  }

  /** Ends all processes inside and removes all namespaces. */
  async close(): Promise<void> {
    await Promise.all(this.#namespaces.splice(0).map((namespace) => namespace.remove()));
  }
}
