/**
 * Finds endpoints of the local network, and lets itself be found by them, without any server (upstream
 * `iroh-mdns-address-lookup/src/lib.rs`). The body of the node in `address-lookup/mdns-swarm.ts`: sockets, a timer, who listens.
 *
 * @module
 */
import { Observable } from 'rxjs';
import { systemPlatform } from '#transport/system-platform';
import type { EndpointInfo } from '../address-lookup/endpoint-info.ts';
import { DEFAULT_SERVICE_NAME } from '../address-lookup/mdns-message.ts';
import { Swarm, type MdnsFault, type SwarmOutput } from '../address-lookup/mdns-swarm.ts';
import type { AddrFilter, AddressLookup, LookupAnswer, PublishedData } from '../address-lookup/service.ts';
import type { Millis } from '../base/clock.ts';
import { EndpointAddr } from '../base/endpoint-addr.ts';
import type { EndpointId } from '../base/endpoint-id.ts';
import { MdnsError, TimeoutError } from '../base/errors.ts';
import { isOnLink, type InterfaceState } from '../base/interface-state.ts';
import { toAddr, type Addr } from '../base/socket-addr.ts';
import type { Events } from '../transport/channel.ts';
import type { MulticastTransport } from '../transport/datagram.ts';
import { Log } from '../transport/log.ts';
import type { Platform } from '../transport/platform.ts';
import { ActorSystem } from './actor-system.ts';
import type { LookupHost } from './lookup-host.ts';
import { WaitQueue, settleWithin } from './wait.ts';

/** How long one question waits for who is not there yet; upstream `LOOKUP_DURATION`. */
export const MDNS_LOOKUP_MS = 10_000;
/** RFC 6762 §3; by family. */
const GROUPS = { 4: toAddr('224.0.0.251', 5_353), 6: toAddr('ff02::fb', 5_353) } as const;
/** `swarm-discovery` `src/socket.rs`. Both groups are those of one link: no router passes them on, whatever it says. */
const MULTICAST_TTL = 16;
/** What interfaces there are is looked up for a datagram once in so long. */
const INTERFACES_TRUST_MS = 1_000;
/** What could not be joined is tried again after so long, ms: a way to the group may come without any new address of ours. */
export const MDNS_RETRY_INTERVAL_MS = 5_000;
/** Questions have it tried again at once, but not more often than so, ms: each try opens a socket. */
const MIN_RETRY_INTERVAL_MS = 1_000;

type Family = keyof typeof GROUPS;
const FAMILIES = [4, 6] as const;

/** How an {@link MdnsLookup} is made. */
export interface MdnsLookupOptions extends LookupHost {
  /** Others of the same service are found, and find us: `_NAME._udp.local`. Default `irohv1`, that of iroh. */
  readonly serviceName?: string | undefined;
  /** Whether others hear of us; else we listen only. Default true. */
  readonly advertise?: boolean | undefined;
  /** Which addresses others are told; by default all of them. Comes after the filter of the endpoint. */
  readonly filter?: AddrFilter | undefined;
}

/** Who came and who went in the local network. */
export type DiscoveryEvent =
  /** An endpoint is new, or says something new of itself. */
  | { readonly type: 'discovered'; readonly addr: EndpointAddr; readonly userData?: string | undefined }
  /** An endpoint was not heard for too long: 2 s, or its turn three times where there are many. */
  | { readonly type: 'expired'; readonly id: EndpointId };

/**
 * Address lookup in the local network, by multicast DNS in the way of iroh's own. For one endpoint.
 *
 * Everybody in the network learns id, IP addresses, home relay and user data of the endpoint. Nobody signs that: whoever is in the
 * network can forge it and lead us to a wrong place, but nobody else than the endpoint asked for can answer there.
 *
 * Nothing is sent before the first call. One question waits for 10 s, so that dialling an id that nobody knows takes as long.
 *
 * @example
 * ```ts
 * const endpoint = await Endpoint.bind({ preset: 'minimal', lookup: new MdnsLookup() });
 * const connection = await endpoint.connect(id, 'example/echo/0');
 * ```
 */
export class MdnsLookup implements AddressLookup {
  readonly name = 'mdns';
  /** {@link resolve} ends by itself. */
  readonly timeLimitMs = Infinity;
  /** Those that are known first, then what happens; listening begins with the first subscriber. Completes with the endpoint. */
  readonly discoveryEvents$: Observable<DiscoveryEvent>;
  readonly #platform: Platform;
  readonly #advertise: boolean;
  readonly #filter: AddrFilter;
  readonly #log: Log;
  readonly #swarm: Swarm;
  readonly #events: Events<DiscoveryEvent>;
  /** Wakes questions. */
  readonly #changed: WaitQueue;
  readonly #sockets = new Map<Family, MulticastTransport>();
  /** Why there is none, of those without. */
  readonly #failures = new Map<Family, unknown>();
  /** Failures of sending that were told, by socket. */
  readonly #told = new WeakSet<MulticastTransport>();
  #self: EndpointId | undefined;
  /** What tries to open sockets, or did so last. */
  #opening: Promise<void> | undefined;
  #triedAt: Millis = -Infinity;
  #timer: unknown;
  #retryTimer: unknown;
  /** Whom the groups were joined by, as text. */
  #joinedBy = '';
  #interfaces: { readonly state: InterfaceState; readonly at: Millis } | undefined;
  #isClosed = false;
  #closing: Promise<void> | undefined;

  /** @throws {DnsError} `Name` for a service that cannot have such a name. */
  constructor(options: MdnsLookupOptions = {}) {
    const { platform = systemPlatform, serviceName = DEFAULT_SERVICE_NAME, filter = all, inspect } = options;
    const { clock, rng } = platform;
    this.#platform = platform;
    this.#advertise = options.advertise ?? true;
    this.#filter = filter;
    this.#log = new Log(options.logger);
    this.#swarm = new Swarm({ serviceName, rng });
    this.#changed = new WaitQueue(clock);
    const system = new ActorSystem({ clock, inspect, onError: () => undefined });
    this.#events = system.events<DiscoveryEvent>('discovery events', `mdns ${serviceName}`);
    this.discoveryEvents$ = new Observable((subscriber) => {
      this.#start();
      for (const info of this.#swarm.peers) subscriber.next(toEvent(info));
      return this.#events.events$.subscribe(subscriber);
    });
  }

  /** What was refused, and how often. */
  get refused(): ReadonlyMap<MdnsFault, number> {
    return this.#swarm.refused;
  }

  /** @throws {RangeError} when the data are those of another endpoint than before. */
  publish({ addr, userData }: PublishedData): void {
    if (this.#isClosed) return;
    if (this.#self !== undefined && !this.#self.equals(addr.id))
      throw new RangeError('an MdnsLookup serves one endpoint: another one needs its own');
    this.#self = addr.id;
    const filtered = new EndpointAddr(addr.id, this.#filter(addr.addrs));
    this.#swarm.setSelf(addr.id, this.#advertise ? { addr: filtered, userData } : undefined);
    if (this.#opening === undefined) this.#start();
    else this.#renew();
  }

  /**
   * What is known, then what changes, for 10 s.
   * @throws {MdnsError} `NoSocket`; the signal's reason.
   */
  async *resolve(
    id: EndpointId,
    { signal }: { readonly signal: AbortSignal },
  ): AsyncGenerator<LookupAnswer, void, undefined> {
    if (this.#isClosed) return;
    const { clock } = this.#platform;
    const end = clock.now() + MDNS_LOOKUP_MS;
    if (this.#opening === undefined) this.#start();
    else this.#retry();
    await settleWithin(clock, this.#opening!, { signal });
    if (this.#sockets.size === 0 && !this.#isClosed) throw this.#noSocket();
    let told: EndpointInfo | undefined;
    while (!this.#isClosed) {
      signal.throwIfAborted();
      const known = this.#swarm.peer(id);
      if (known !== undefined && known !== told) {
        told = known;
        yield known;
      } else if (!(await this.#change(end - clock.now(), signal))) {
        return;
      }
    }
  }

  /** False when nothing changed in time. */
  async #change(timeoutMs: Millis, signal: AbortSignal): Promise<boolean> {
    if (timeoutMs <= 0) return false;
    try {
      await this.#changed.wait({ signal, timeoutMs });
      return true;
    } catch (error) {
      if (error instanceof TimeoutError) return false;
      throw error;
    }
  }

  /** Ends all questions and frees the sockets. Others notice after a while: nobody says goodbye here. */
  close(): Promise<void> {
    return (this.#closing ??= this.#free());
  }

  async #free(): Promise<void> {
    this.#isClosed = true;
    const { clock } = this.#platform;
    clock.clearTimeout(this.#timer);
    clock.clearTimeout(this.#retryTimer);
    this.#changed.wakeAll();
    this.#events.close();
    await this.#opening;
    await Promise.all([...this.#sockets.values()].map((socket) => socket.close()));
  }

  // --- sockets --------------------------------------------------------------------------------------------------------------

  #start(): void {
    if (this.#isClosed || this.#opening !== undefined) return;
    this.#opening = this.#open();
    this.#scheduleRetry();
  }

  #scheduleRetry(): void {
    if (this.#platform.bindMulticast === undefined) return;
    this.#retryTimer = this.#platform.clock.setTimeout(() => {
      this.#retry();
      this.#scheduleRetry();
    }, MDNS_RETRY_INTERVAL_MS);
  }

  /** What did not work is tried again, and everything when the network is another one. */
  #retry(): void {
    if (this.#now - this.#triedAt < MIN_RETRY_INTERVAL_MS) return;
    if (this.#networkText() !== this.#joinedBy) this.#renew();
    else {
      for (const [family, socket] of this.#sockets)
        if (socket.joinError !== undefined) this.#rejoin(family, socket);
      this.#openMissing();
    }
  }

  /** The network may be another one: groups are joined on the interface that is preferred now, and missing sockets tried again. */
  #renew(): void {
    this.#interfaces = undefined;
    for (const [family, socket] of this.#sockets) this.#rejoin(family, socket);
    this.#openMissing();
    this.#joinedBy = this.#networkText();
  }

  #rejoin(family: Family, socket: MulticastTransport): void {
    this.#triedAt = this.#now;
    const wasJoined = socket.joinError === undefined;
    if (!socket.rejoin() && wasJoined)
      this.#write(() => `IPv${family}: not joined again: ${String(socket.joinError)}`);
  }

  #openMissing(): void {
    if (this.#sockets.size < FAMILIES.length) this.#opening = this.#opening!.then(() => this.#open());
  }

  /** What decides which interface a group is joined on. */
  #networkText(): string {
    const { defaultRoute, interfaces } = this.#interfaceState();
    const ips = interfaces.map(({ name, prefixes }) => [name, ...prefixes.map(({ ip }) => ip)].join(' '));
    return [defaultRoute, ...ips].join('\n');
  }

  /** Never rejects. */
  async #open(): Promise<void> {
    const isFirst = this.#sockets.size === 0;
    this.#triedAt = this.#now;
    if (isFirst) this.#joinedBy = this.#networkText();
    await Promise.all(FAMILIES.map((family) => this.#openFamily(family)));
    if (isFirst) this.#swarm.begin(this.#now);
    this.#schedule();
  }

  async #openFamily(family: Family): Promise<void> {
    if (this.#isClosed || this.#sockets.has(family)) return;
    try {
      const { bindMulticast } = this.#platform;
      if (bindMulticast === undefined) throw new Error('this platform has no multicast');
      const socket = await bindMulticast({ group: GROUPS[family], ttl: MULTICAST_TTL });
      this.#sockets.set(family, socket);
      this.#failures.delete(family);
      socket.onDatagram = (data, from) => this.#receive(data, from, family);
    } catch (error) {
      if (!this.#failures.has(family)) this.#write(() => `no IPv${family}: ${String(error)}`);
      this.#failures.set(family, error);
    }
  }

  #noSocket(): MdnsError {
    const [cause] = this.#failures.values();
    return new MdnsError('MdnsError.NoSocket', 'multicast works with neither IPv4 nor IPv6 here', cause);
  }

  #receive(data: Uint8Array, from: Addr, family: Family): void {
    if (this.#isClosed) return;
    if (isOnLink(this.#interfaceState(), from)) this.#do(this.#swarm.receive(data, family, this.#now));
    else this.#swarm.refuse('offLink');
    this.#schedule();
  }

  #interfaceState(): InterfaceState {
    const at = this.#now;
    if (this.#interfaces === undefined || at - this.#interfaces.at >= INTERFACES_TRUST_MS)
      this.#interfaces = { state: this.#platform.interfaceState(), at };
    return this.#interfaces.state;
  }

  // --- the node -------------------------------------------------------------------------------------------------------------

  get #now(): Millis {
    return this.#platform.clock.now();
  }

  #schedule(): void {
    // Without a socket there is nobody to talk to.
    if (this.#isClosed || this.#sockets.size === 0) return;
    const { clock } = this.#platform;
    clock.clearTimeout(this.#timer);
    this.#timer = clock.setTimeout(
      () => {
        this.#do(this.#swarm.advance(this.#now));
        this.#schedule();
      },
      Math.max(0, this.#swarm.deadline - this.#now),
    );
  }

  #do(outputs: readonly SwarmOutput[]): void {
    for (const output of outputs) {
      switch (output.type) {
        case 'send':
          this.#send(output.data, output.family);
          break;
        case 'discovered': {
          const { info } = output;
          this.#write(() => `${info.addr.id.short()} is here: ${info.addr.addrs.length} addresses`);
          this.#events.send(toEvent(info));
          this.#changed.wakeAll();
          break;
        }
        case 'expired': {
          const { id } = output;
          this.#write(() => `${id.short()} has gone`);
          this.#events.send({ type: 'expired', id });
        }
      }
    }
  }

  #send(data: Uint8Array, family: Family | 'any'): void {
    const socket =
      family === 'any' ? (this.#sockets.get(4) ?? this.#sockets.get(6)) : this.#sockets.get(family);
    if (socket === undefined) return;
    socket.send(data);
    if (socket.sendErrors > 0 && !this.#told.has(socket)) {
      this.#told.add(socket);
      this.#write(() => `sending failed: ${String(socket.lastError)}`);
    }
  }

  #write(line: () => string): void {
    this.#log.write('lookup', () => `mdns ${this.#self?.short() ?? 'listener'}: ${line()}`);
  }
}

function toEvent({ addr, userData }: EndpointInfo): DiscoveryEvent {
  return { type: 'discovered', addr, ...(userData !== undefined && { userData }) };
}

const all: AddrFilter = (addrs) => addrs;
