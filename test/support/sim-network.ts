/**
 * A network in memory and virtual time: hosts on links made of equal nodes, NATs, and a core that knows every address.
 *
 * A datagram's way: socket → the sender's `up` nodes → its NAT → core → the receiver's NAT → its `down` nodes → socket. Each
 * node may drop, copy, change, delay. Nothing is random but what the seeded rng says.
 *
 * @module
 */
import type { Millis } from '../../src/base/clock.ts';
import { toAddr, type Addr } from '../../src/base/socket-addr.ts';
import type { SimClock } from './sim-clock.ts';
import type { SimRng } from './sim-rng.ts';

/** A UDP payload under way. Nodes never change one in place. */
export interface SimDatagram {
  readonly from: Addr;
  readonly to: Addr;
  readonly data: Uint8Array;
}

/** Hands a datagram to the next node, `delayMs` later. */
export type Forward = (datagram: SimDatagram, delayMs: Millis) => void;

/** One thing that happens to datagrams on a link, in one direction. */
export interface SimNode {
  process(datagram: SimDatagram, now: Millis, forward: Forward): void;
}

/** Makes a node; each direction of each link gets its own. */
export type LinkPart = (rng: SimRng) => SimNode;

// --- parts of links -----------------------------------------------------------------------------------------------------

/** Every datagram takes `ms`, give or take `jitterMs`; jitter alone never reorders. */
export function delay(ms: Millis, jitterMs: Millis = 0): LinkPart {
  return (rng) => {
    let lastAt = 0;
    return {
      process(datagram, now, forward) {
        const at = Math.max(lastAt, now + ms + jitterMs * (2 * rng.float() - 1), now);
        lastAt = at;
        forward(datagram, at - now);
      },
    };
  };
}

/** Loses each datagram with probability `rate`. */
export function loss(rate: number): LinkPart {
  return (rng) => ({
    process(datagram, _now, forward) {
      if (!rng.chance(rate)) forward(datagram, 0);
    },
  });
}

/** Loses runs of datagrams: each starts with probability `rate` and has up to `longest` members. */
export function burstLoss(rate: number, longest: number): LinkPart {
  return (rng) => {
    let left = 0;
    return {
      process(datagram, _now, forward) {
        if (left === 0 && rng.chance(rate)) left = rng.between(1, longest);
        if (left > 0) left--;
        else forward(datagram, 0);
      },
    };
  };
}

/** Holds a datagram back by up to `byMs` with probability `rate`, so that later ones overtake it. */
export function reorder(rate: number, byMs: Millis): LinkPart {
  return (rng) => ({
    process(datagram, _now, forward) {
      forward(datagram, rng.chance(rate) ? byMs * rng.float() : 0);
    },
  });
}

/** Delivers a second copy with probability `rate`, up to `byMs` later. */
export function duplicate(rate: number, byMs: Millis = 20): LinkPart {
  return (rng) => ({
    process(datagram, _now, forward) {
      forward(datagram, 0);
      if (rng.chance(rate)) forward(datagram, byMs * rng.float());
    },
  });
}

/** Changes up to four bits, cuts bytes off or adds some, with probability `rate`. */
export function corrupt(rate: number): LinkPart {
  return (rng) => ({
    process(datagram, _now, forward) {
      if (!rng.chance(rate) || datagram.data.length === 0) return forward(datagram, 0);
      let data = datagram.data.slice();
      const kind = rng.below(8);
      if (kind === 0) data = data.slice(0, rng.below(data.length));
      else if (kind === 1) {
        const longer = new Uint8Array(data.length + rng.between(1, 64));
        longer.set(data);
        rng.fill(longer.subarray(data.length));
        data = longer;
      } else {
        for (let flips = rng.between(1, 4); flips > 0; flips--) {
          const at = rng.below(data.length);
          data[at] = data[at]! ^ (1 << rng.below(8));
        }
      }
      forward({ ...datagram, data }, 0);
    },
  });
}

/** Drops datagrams of more than `bytes`. `setMtu` changes it while traffic flows. */
export function mtu(bytes: number): LinkPart {
  return () => ({
    process(datagram, _now, forward) {
      if (datagram.data.length <= bytes) forward(datagram, 0);
    },
  });
}

/** A bottleneck: `bytesPerSecond`, and a queue of `queueBytes` in front of it that drops what does not fit. */
export function rate(bytesPerSecond: number, queueBytes: number): LinkPart {
  return () => {
    let freeAt = 0;
    return {
      process(datagram, now, forward) {
        const waitMs = Math.max(0, freeAt - now);
        if ((waitMs / 1000) * bytesPerSecond + datagram.data.length > queueBytes) return;
        freeAt = Math.max(freeAt, now) + (datagram.data.length / bytesPerSecond) * 1000;
        forward(datagram, freeAt - now);
      },
    };
  };
}

/** What a test turns while traffic flows: cut, limit, drop by choice. Every link has one in each direction. */
export class Gate implements SimNode {
  isUp = true;
  /** Larger datagrams are dropped. */
  mtu = Infinity;
  /** Datagrams still to be dropped, whatever they are. */
  dropNext = 0;
  /** Drops what it returns true for. */
  dropIf: ((datagram: SimDatagram, now: Millis) => boolean) | undefined;
  /** Sees what passes. */
  onPass: ((datagram: SimDatagram, now: Millis) => void) | undefined;
  passed = 0;
  dropped = 0;

  process(datagram: SimDatagram, now: Millis, forward: Forward): void {
    if (this.#drops(datagram, now)) {
      this.dropped++;
      return;
    }
    this.passed++;
    this.onPass?.(datagram, now);
    forward(datagram, 0);
  }

  #drops(datagram: SimDatagram, now: Millis): boolean {
    if (!this.isUp || datagram.data.length > this.mtu) return true;
    if (this.dropNext > 0) {
      this.dropNext--;
      return true;
    }
    return this.dropIf?.(datagram, now) === true;
  }
}

// --- NATs -------------------------------------------------------------------------------------------------------------------

/**
 * - `open`: one mapping per inside address, and anybody may use it (full cone).
 * - `moderate`: one mapping per inside address; only addresses that were sent to may answer (port restricted cone).
 * - `strict`: a mapping per destination; only that destination may answer (symmetric).
 */
export type NatKind = 'open' | 'moderate' | 'strict';

interface Mapping {
  readonly inside: Addr;
  readonly outside: Addr;
  /** Destinations that this mapping was used for. */
  readonly contacted: Set<Addr>;
}

/** A port of the outside that leads to an inside address, whoever sends. */
interface ForwardedPort {
  readonly inside: Addr;
  readonly isOpen: () => boolean;
  /** Who has sent to it: answers leave from the same port. */
  readonly senders: Set<Addr>;
}

/** Rewrites addresses between an inside network and one outside IP. */
export class Nat {
  readonly kind: NatKind;
  outsideIp: string;
  readonly #rng: SimRng;
  #byInside = new Map<string, Mapping>();
  #byOutside = new Map<Addr, Mapping>();
  #forwarded = new Map<Addr, ForwardedPort>();

  constructor(kind: NatKind, outsideIp: string, rng: SimRng) {
    this.kind = kind;
    this.outsideIp = outsideIp;
    this.#rng = rng;
  }

  /** Opens a port until `isOpen` says no. */
  forwardPort(port: number, inside: Addr, isOpen: () => boolean): void {
    this.#forwarded.set(toAddr(this.outsideIp, port), { inside, isOpen, senders: new Set() });
  }

  outbound(datagram: SimDatagram): SimDatagram {
    for (const [outside, { inside, isOpen, senders }] of this.#forwarded)
      if (inside === datagram.from && senders.has(datagram.to) && isOpen())
        return { ...datagram, from: outside };
    const key = this.kind === 'strict' ? `${datagram.from.text} ${datagram.to.text}` : datagram.from.text;
    let mapping = this.#byInside.get(key);
    if (mapping === undefined) {
      const outside = this.#freePort();
      mapping = { inside: datagram.from, outside, contacted: new Set() };
      this.#byInside.set(key, mapping);
      this.#byOutside.set(outside, mapping);
    }
    mapping.contacted.add(datagram.to);
    return { ...datagram, from: mapping.outside };
  }

  inbound(datagram: SimDatagram): SimDatagram | undefined {
    const forwarded = this.#forwarded.get(datagram.to);
    if (forwarded?.isOpen() === true) {
      forwarded.senders.add(datagram.from);
      return { ...datagram, to: forwarded.inside };
    }
    const mapping = this.#byOutside.get(datagram.to);
    if (mapping === undefined) return undefined;
    if (this.kind !== 'open' && !mapping.contacted.has(datagram.from)) return undefined;
    return { ...datagram, to: mapping.inside };
  }

  /** Forgets all mappings, as a NAT does when it restarts or its entries expire. */
  rebind(): void {
    this.#byInside = new Map();
    this.#byOutside = new Map();
    this.#forwarded = new Map();
  }

  #freePort(): Addr {
    for (;;) {
      const addr = toAddr(this.outsideIp, this.#rng.between(1024, 65_535));
      if (!this.#byOutside.has(addr) && !this.#forwarded.has(addr)) return addr;
    }
  }
}

// --- hosts and the core -----------------------------------------------------------------------------------------------------

/** How a host is attached. */
export interface HostOptions {
  /** Nodes from the host to the core, and, each a new one, from the core to the host. */
  readonly links?: readonly LinkPart[];
  /** Nodes of one direction only, after {@link links}. */
  readonly up?: readonly LinkPart[];
  readonly down?: readonly LinkPart[];
  readonly nat?: {
    readonly kind: NatKind;
    readonly outsideIp: string;
    /** The router's own address inside. */
    readonly gatewayIp?: string;
  };
}

/** A bound socket. */
export interface SimSocket {
  readonly addr: Addr;
  /** Copies the data. */
  send(to: Addr, data: Uint8Array): void;
  close(): void;
}

/** A machine with one or more IP addresses and one way into the network. */
export class SimHost {
  readonly name: string;
  /** From this host into the network. */
  readonly up = new Gate();
  /** From the network to this host. */
  readonly down = new Gate();
  readonly nat: Nat | undefined;
  /** The router's own address on our side. */
  gatewayIp: string | undefined;
  /** What is sent to the router itself, or to a group. */
  onGatewayDatagram: ((datagram: SimDatagram) => void) | undefined;
  readonly #network: SimNetwork;
  readonly #upNodes: readonly SimNode[];
  readonly #downNodes: readonly SimNode[];
  readonly #sockets = new Map<Addr, (datagram: SimDatagram) => void>();
  #ips: readonly string[];
  #nextPort = 40_000;

  constructor(network: SimNetwork, name: string, ips: readonly string[], options: HostOptions, rng: SimRng) {
    this.#network = network;
    this.name = name;
    this.#ips = ips;
    this.nat = options.nat && new Nat(options.nat.kind, options.nat.outsideIp, rng.fork());
    this.gatewayIp = options.nat?.gatewayIp;
    const { links = [], up = [], down = [] } = options;
    this.#upNodes = [this.up, ...[...links, ...up].map((part) => part(rng.fork()))];
    this.#downNodes = [...[...links, ...down].map((part) => part(rng.fork())), this.down];
  }

  get ips(): readonly string[] {
    return this.#ips;
  }

  /** Gives the host another set of addresses. Sockets on addresses that are gone hear and send nothing any more. */
  setIps(ips: readonly string[]): void {
    const before = this.#ips;
    this.#ips = ips;
    for (const addr of [...this.#sockets.keys()]) if (!ips.includes(addr.ip)) this.#sockets.delete(addr);
    this.#network.readdress(this, before);
  }

  /** Both directions at once. */
  set isUp(value: boolean) {
    this.up.isUp = value;
    this.down.isUp = value;
  }

  set mtu(bytes: number) {
    this.up.mtu = bytes;
    this.down.mtu = bytes;
  }

  /** @throws {Error} EADDRINUSE. @param port - 0: any. */
  bind(onDatagram: (datagram: SimDatagram) => void, port = 0, ip: string = this.ips[0]!): SimSocket {
    if (!this.ips.includes(ip)) throw Object.assign(new Error(`no address ${ip}`), { code: 'EADDRNOTAVAIL' });
    const addr = toAddr(ip, port === 0 ? this.#nextPort++ : port);
    if (this.#sockets.has(addr)) {
      throw Object.assign(new Error(`address in use: ${addr.text}`), { code: 'EADDRINUSE' });
    }
    this.#sockets.set(addr, onDatagram);
    return {
      addr,
      send: (to, data) => {
        if (this.#sockets.has(addr)) this.#send({ from: addr, to, data: data.slice() });
      },
      close: () => this.#sockets.delete(addr),
    };
  }

  #send(datagram: SimDatagram): void {
    this.#network.pass(this.#upNodes, 0, datagram, (out) => {
      if (out.to.ip === this.gatewayIp || out.to.ip.startsWith('239.')) return this.onGatewayDatagram?.(out);
      this.#network.route(this.nat === undefined ? out : this.nat.outbound(out));
    });
  }

  /** From the core. */
  receive(datagram: SimDatagram): void {
    const inside = this.nat === undefined ? datagram : this.nat.inbound(datagram);
    if (inside !== undefined) this.receiveLocally(inside);
  }

  /** From the inside network. */
  receiveLocally(datagram: SimDatagram): void {
    this.#network.pass(this.#downNodes, 0, datagram, (arrived) => this.deliver(arrived));
  }

  /** To the socket, past everything that lies in front of it. */
  deliver(datagram: SimDatagram): void {
    this.#sockets.get(datagram.to)?.(datagram);
  }
}

/** Hosts and what lies between them. */
export class SimNetwork {
  readonly clock: SimClock;
  readonly hosts: SimHost[] = [];
  /** Datagrams that are under way with a delay ahead of them. */
  inFlight = 0;
  readonly #rng: SimRng;
  readonly #byIp = new Map<string, SimHost>();

  constructor(clock: SimClock, rng: SimRng) {
    this.clock = clock;
    this.#rng = rng;
  }

  addHost(name: string, ips: string | readonly string[], options: HostOptions = {}): SimHost {
    const host = new SimHost(this, name, typeof ips === 'string' ? [ips] : ips, options, this.#rng.fork());
    this.hosts.push(host);
    this.#announce(host);
    return host;
  }

  #announce(host: SimHost): void {
    // Behind a NAT only the outside address exists for the others.
    for (const ip of host.nat === undefined ? host.ips : [host.nat.outsideIp]) this.#byIp.set(ip, host);
  }

  /** After a host's addresses changed. */
  readdress(host: SimHost, before: readonly string[]): void {
    if (host.nat !== undefined) return;
    for (const ip of before) if (this.#byIp.get(ip) === host) this.#byIp.delete(ip);
    this.#announce(host);
  }

  /** Gives a host's NAT another outside address, as when its uplink changes. */
  moveNat(host: SimHost, outsideIp: string): void {
    if (host.nat === undefined) throw new Error(`${host.name} has no NAT`);
    this.#byIp.delete(host.nat.outsideIp);
    host.nat.outsideIp = outsideIp;
    host.nat.rebind();
    this.#announce(host);
  }

  /** Delivers to whoever has the address; nobody: gone. */
  route(datagram: SimDatagram): void {
    this.#byIp.get(datagram.to.ip)?.receive(datagram);
  }

  /** Runs a datagram through `nodes` from index `at` on. */
  pass(
    nodes: readonly SimNode[],
    at: number,
    datagram: SimDatagram,
    end: (datagram: SimDatagram) => void,
  ): void {
    const node = nodes[at];
    if (node === undefined) return end(datagram);
    node.process(datagram, this.clock.now(), (out, delayMs) => {
      if (!(delayMs > 0)) return this.pass(nodes, at + 1, out, end);
      this.inFlight++;
      this.clock.setTimeout(() => {
        this.inFlight--;
        this.pass(nodes, at + 1, out, end);
      }, delayMs);
    });
  }
}
