/**
 * Whole endpoints, with all that is asynchronous about them, in virtual time on a simulated network.
 *
 * A step fires everything due at the next deadline; then real turns of the event loop are awaited until one of them adds
 * nothing; then time goes on to the next deadline. An hour takes milliseconds, and no test sleeps.
 *
 * @module
 */
import { isIP } from 'node:net';
import type { InterfacePrefix, InterfaceState } from '../../src/base/interface-state.ts';
import { toAddr, type Addr } from '../../src/base/socket-addr.ts';
import type { Datagram, Transmit } from '../../src/quic/engine.ts';
import type { BindRequest, DatagramTransport } from '../../src/transport/datagram.ts';
import type { HttpRequest, HttpResponse, Platform, ResolveTxt } from '../../src/transport/platform.ts';
import { WebSocketError } from '../../src/transport/relay-socket.ts';
import { SimClock } from './sim-clock.ts';
import {
  SimNetwork,
  type HostOptions,
  type SimDatagram,
  type SimHost,
  type SimSocket,
} from './sim-network.ts';
import type { SimRelays } from './sim-relay.ts';
import { SimRng } from './sim-rng.ts';

/** Turns at one instant after which time is held to stand still. */
const MAX_TURNS_PER_INSTANT = 20_000;
/** Turns that work may take at its end, without any timer. */
const SPARE_TURNS = 10;

/** A real turn of the event loop: all promise reactions have run after it. */
function realTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** A socket on a simulated host; bound to "any" it has all addresses of its family. */
class SimTransport implements DatagramTransport {
  readonly localAddr: Addr;
  readonly queued = 0;
  readonly sendErrors = 0;
  onDatagrams: ((batch: readonly Datagram[]) => void) | undefined;
  onDrained: (() => void) | undefined;
  readonly #clock: SimClock;
  readonly #sockets: SimSocket[] = [];
  readonly #onClose: () => void;
  #batch: Datagram[] = [];
  #isClosed = false;

  constructor(host: SimHost, request: BindRequest, clock: SimClock, onClose: () => void) {
    this.#clock = clock;
    this.#onClose = onClose;
    const isV6 = request.ip.includes(':');
    const isAny = request.ip === '0.0.0.0' || request.ip === '::';
    const ips = isAny ? host.ips.filter((ip) => ip.includes(':') === isV6) : [request.ip];
    if (ips.length === 0) throw Object.assign(new Error('no such family'), { code: 'EAFNOSUPPORT' });
    let { port } = request;
    for (const ip of ips) {
      const socket = host.bind((datagram) => this.#receive(datagram), port, ip);
      port = socket.addr.port;
      this.#sockets.push(socket);
    }
    this.localAddr = toAddr(request.ip, port);
  }

  #receive({ from, data }: SimDatagram): void {
    if (this.#batch.length === 0) this.#clock.defer(() => this.#deliver());
    // The engine changes what it gets; a duplicate must not see that.
    this.#batch.push({ from, local: this.localAddr, data: data.slice() });
  }

  #deliver(): void {
    const batch = this.#batch;
    this.#batch = [];
    if (!this.#isClosed) this.onDatagrams?.(batch);
  }

  send(batch: readonly Transmit[], from: number, to: number): void {
    if (this.#isClosed) return;
    for (let i = from; i < to; i++) this.#sockets[0]!.send(batch[i]!.to, batch[i]!.data);
  }

  close(): Promise<void> {
    if (this.#isClosed) return Promise.resolve();
    this.#isClosed = true;
    for (const socket of this.#sockets) socket.close();
    this.#onClose();
    return Promise.resolve();
  }
}

/** The interfaces of a simulated host, as its system shows them: `eth0` with all its addresses, and what a test adds. */
export class SimHostNetwork {
  /** Undefined: no way out. */
  defaultRoute: string | undefined = 'eth0';
  readonly #host: SimHost;
  readonly #added = new Map<string, string>();
  readonly #deprecated = new Set<string>();

  constructor(host: SimHost) {
    this.#host = host;
  }

  /** Adds addresses on an interface. Datagrams reach them once a socket is bound to them. */
  addInterface(name: string, ips: readonly string[]): void {
    for (const ip of ips) this.#added.set(ip, name);
    this.#host.setIps([...this.#host.ips, ...ips]);
  }

  /** Takes an interface away with its addresses, and the default route if it went through it. */
  removeInterface(name: string): void {
    this.#host.setIps(this.#host.ips.filter((ip) => this.#nameOf(ip) !== name));
    if (this.defaultRoute === name) this.defaultRoute = undefined;
  }

  /** Marks an IPv6 address as one that is not to be used for anything new. */
  deprecate(ip: string): void {
    this.#deprecated.add(ip);
  }

  #nameOf(ip: string): string {
    return this.#added.get(ip) ?? (isLoopbackIp(ip) ? 'lo' : 'eth0');
  }

  get state(): InterfaceState {
    const byName = new Map<string, InterfacePrefix[]>();
    for (const ip of this.#host.ips) {
      const prefixes = byName.get(this.#nameOf(ip)) ?? [];
      prefixes.push({ ip, length: ip.includes(':') ? 64 : 24, isDeprecated: this.#deprecated.has(ip) });
      byName.set(this.#nameOf(ip), prefixes);
    }
    const interfaces = [...byName].map(([name, prefixes]) => ({
      name,
      mac: '',
      isLoopback: name === 'lo',
      prefixes,
    }));
    const gateway = this.defaultRoute === undefined ? undefined : this.#host.gatewayIp;
    return { interfaces, defaultRoute: this.defaultRoute, gateway, isExpensive: false };
  }
}

function isLoopbackIp(ip: string): boolean {
  return ip.startsWith('127.') || ip === '::1';
}

/** Time, network and hosts of one simulation. */
export class SimWorld {
  readonly seed: number;
  readonly clock = new SimClock();
  readonly network: SimNetwork;
  /** Sockets of endpoints that are bound. */
  openSockets = 0;
  readonly #rng: SimRng;
  readonly #networks = new Map<SimHost, SimHostNetwork>();
  /** Addresses of hosts by name, without the dot at its end. IP literals need no entry. */
  readonly dns = new Map<string, readonly string[]>();
  /** Answers questions for TXT records, as `Platform.resolveTxt` does; nobody does without it. */
  serveTxt: ResolveTxt | undefined;
  /** Relays that hosts can dial; nobody is there without them. */
  relays: Pick<SimRelays, 'dialler'> | undefined;
  readonly #webServers = new Map<string, (request: HttpRequest) => Promise<HttpResponse>>();

  constructor(seed: number) {
    this.seed = seed;
    this.#rng = new SimRng(seed);
    this.network = new SimNetwork(this.clock, this.#rng.fork());
  }

  /** A new machine on the network. */
  addHost(name: string, ips: string | readonly string[], options: HostOptions = {}): SimHost {
    return this.network.addHost(name, ips, options);
  }

  /** The interfaces of that machine, to be changed while endpoints run. */
  interfacesOf(host: SimHost): SimHostNetwork {
    const network = this.#networks.get(host) ?? new SimHostNetwork(host);
    this.#networks.set(host, network);
    return network;
  }

  /** Answers requests to an origin such as `https://relay0.example`; undefined: nobody does any more. */
  serveWeb(origin: string, serve: ((request: HttpRequest) => Promise<HttpResponse>) | undefined): void {
    if (serve === undefined) this.#webServers.delete(origin);
    else this.#webServers.set(origin, serve);
  }

  /** What an endpoint on that machine is to be bound with. */
  platformOf(host: SimHost): Platform {
    return {
      clock: this.clock,
      rng: this.#rng.fork(),
      bindUdp: async (request) => {
        const transport = new SimTransport(host, request, this.clock, () => this.openSockets--);
        this.openSockets++;
        return transport;
      },
      interfaceState: () => this.interfacesOf(host).state,
      fetch: async (request) => {
        const serve = this.#webServers.get(new URL(request.url).origin);
        if (serve === undefined || this.interfacesOf(host).defaultRoute === undefined)
          throw Object.assign(new Error(`nobody is at ${request.url}`), { code: 'ECONNREFUSED' });
        return serve(request);
      },
      openWebSocket: async (request) => {
        if (this.relays === undefined || this.interfacesOf(host).defaultRoute === undefined)
          throw new WebSocketError('dial', `nobody is at ${request.url}`);
        const [ip] = host.ips.filter((each) => !isLoopbackIp(each));
        return this.relays.dialler(ip)(request);
      },
      resolveDns: async (name, family, signal) => {
        signal.throwIfAborted();
        const host = name.replace(/\.$/, '');
        const ips = isIP(host) === 0 ? (this.dns.get(host) ?? []) : [host];
        const found = ips.filter((ip) => isIP(ip) === family);
        if (found.length === 0)
          throw Object.assign(new Error(`${name} has no IPv${family} address`), { code: 'ENOTFOUND' });
        return found;
      },
      resolveTxt: async (name, request) => {
        request.signal.throwIfAborted();
        if (this.serveTxt === undefined || this.interfacesOf(host).defaultRoute === undefined)
          throw Object.assign(new Error('no name server answers'), { code: 'ECONNREFUSED' });
        return this.serveTxt(name, request);
      },
    };
  }

  /** Resolves after `ms` of virtual time. */
  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.clock.setTimeout(resolve, ms));
  }

  /**
   * Lets time pass until `work` settles, and returns what it does. With `limitMs` fails once so much virtual time is over.
   * @throws {Error} also when nothing is left that could happen: the work waits for ever.
   */
  async run<T>(work: Promise<T>, limitMs: number): Promise<T> {
    let isSettled = false;
    const mark = (): void => void (isSettled = true);
    work.then(mark, mark);
    const end = this.clock.now() + limitMs;
    for (;;) {
      await this.#settle();
      if (isSettled) return work;
      const at = this.clock.nextAt();
      if (at === undefined) {
        // It may be waiting for turns of the event loop themselves.
        for (let turns = 0; turns < SPARE_TURNS && !isSettled; turns++) await realTurn();
        if (isSettled) return work;
        throw new Error(`seed ${this.seed}: the work waits, and nothing can happen any more`);
      }
      if (at > end) throw new Error(`seed ${this.seed}: not done after ${limitMs} ms`);
      this.clock.advanceTo(at);
    }
  }

  /** Lets everything happen that can at this instant. */
  async #settle(): Promise<void> {
    for (let turns = 0; ; turns++) {
      const before = this.clock.activity;
      await realTurn();
      this.clock.runAfterMicrotasks();
      this.clock.runDeferred();
      if (this.clock.activity === before) return;
      if (turns > MAX_TURNS_PER_INSTANT) throw new Error(`seed ${this.seed}: time stands still`);
    }
  }
}
