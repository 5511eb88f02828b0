/**
 * A client of BitTorrent's Mainline DHT: finds and stores signed packets by their key (BEP 5, BEP 44; upstream
 * `iroh-mainline-address-lookup`, `n0-mainline`).
 *
 * The package `pkarr` walks the network. All datagrams of it pass here: what it sends is counted and marked as that of somebody
 * who only asks (BEP 43), what it hears is an answer to one of its questions, from who was asked, and well formed; packets are
 * verified here. Nobody is served.
 *
 * @module
 */
import {
  encodeReply,
  isItemOf,
  isLocalIpv4,
  readQuery,
  readReply,
  toItem,
  toSignedPacket,
  usableContacts,
} from '../address-lookup/dht-messages.ts';
import type { DhtItem, DhtQuery, DhtReply } from '../address-lookup/dht-messages.ts';
import type { SignedPacket } from '../address-lookup/signed-packet.ts';
import { FreshnessCheck } from '../address-lookup/timestamps.ts';
import { toHex } from '../base/bytes.ts';
import type { Clock, Millis, TimerId } from '../base/clock.ts';
import type { EndpointId } from '../base/endpoint-id.ts';
import { DhtError, PkarrError, type ErrorCode } from '../base/errors.ts';
import { toAddr, type Addr } from '../base/socket-addr.ts';
import type { DatagramTransport } from '../transport/datagram.ts';
import { loadPkarrDht, PkarrSocket, targetOf, type PkarrDht } from '../transport/pkarr-dht.ts';
import type { Platform } from '../transport/platform.ts';
import { Refusals } from './refusals.ts';
import { WaitQueue } from './wait.ts';

/** Who is asked first; upstream `n0-mainline/src/actor/config.rs`. */
export const DHT_BOOTSTRAP: readonly string[] = [
  'router.bittorrent.com:6881',
  'dht.transmissionbt.com:6881',
  'dht.libtorrent.org:25401',
  'relay.pkarr.org:6881',
];
/** What the package stores: less than what packets may have. */
export const MAX_DHT_VALUE_BYTES = 999;
/** A walk through the network may take so long, once there is a client, ms. Seconds are usual: nodes that are gone take 2 s each. */
export const DHT_TIME_LIMIT_MS = 20_000;
/** Names of the first nodes must be found by then, ms. */
const RESOLVE_LIMIT_MS = 5_000;
/** Questions of one walk; some 50 are usual. Nodes that make up others without end keep us that long, not longer. */
const MAX_QUERIES = 300;
/** Questions for other nodes, not for a value, are counted anew after so long, ms: the library refreshes its table then. */
const NODE_QUERIES_INTERVAL_MS = 900_000;
/** Walks under way. */
const MAX_SEARCHES = 256;
/** The library waits up to 2.5 s for an answer. */
const ANSWER_LIMIT_MS = 5_000;
/** Error of a query that was not sent, or is given up; as nodes have it (BEP 5). */
const GENERIC_ERROR = 201;

/** How a {@link MainlineDht} is made. */
export interface MainlineDhtOptions {
  /** `host:port` of nodes to ask first. Default: four that are known to everybody. */
  readonly bootstrap?: readonly string[] | undefined;
  readonly platform: Platform;
  /** Something that a node said was refused. Must not throw. */
  readonly onRefused?: (() => void) | undefined;
}

/** A query that is not answered. */
interface Pending {
  readonly to: Addr;
  /** Of the value that it is about, as hex. */
  readonly target: string | undefined;
  readonly sentAt: Millis;
}

/** The running library and its socket. */
interface Client {
  readonly dht: PkarrDht;
  readonly socket: PkarrSocket;
  readonly udp: DatagramTransport;
  readonly pending: Map<number, Pending>;
  /** Whether a first node is in a network that is not the internet: then others may be, too. */
  readonly isLocal: boolean;
  /** Questions for other nodes, not for values, since then. */
  nodeQueries: number;
  nodeQueriesSince: Millis;
}

/** One walk that somebody waits for. */
class Search {
  readonly id: EndpointId;
  /** As hex. */
  readonly target: string;
  readonly wantsItems: boolean;
  readonly changed: WaitQueue;
  queries = 0;
  answers = 0;
  /** The newest packet that nobody has taken. */
  news: SignedPacket | undefined;
  best: SignedPacket | undefined;
  isDone = false;
  error: unknown;
  readonly #clock: Clock;
  #timer: TimerId;

  constructor(id: EndpointId, wantsItems: boolean, clock: Clock) {
    this.id = id;
    this.target = toHex(targetOf(id.toBytes()));
    this.wantsItems = wantsItems;
    this.changed = new WaitQueue(clock);
    this.#clock = clock;
  }

  /** The walk begins: its time runs. */
  start(): void {
    this.#timer = this.#clock.setTimeout(
      () => this.finish(new DhtError('DhtError.TimedOut', `no end within ${DHT_TIME_LIMIT_MS} ms`)),
      DHT_TIME_LIMIT_MS,
    );
  }

  finish(error?: unknown): void {
    if (this.isDone) return;
    this.isDone = true;
    this.error = error;
    this.#clock.clearTimeout(this.#timer);
    this.changed.wakeAll();
  }
}

/** A client, for any number of keys. Costs nothing before it is used. */
export class MainlineDht {
  readonly #platform: Platform;
  readonly #bootstrap: readonly { readonly host: string; readonly port: number }[];
  readonly #refusals = new Refusals();
  readonly #onRefused: (() => void) | undefined;
  readonly #freshness = new FreshnessCheck();
  /** By target. */
  readonly #searches = new Map<string, Set<Search>>();
  #searchCount = 0;
  #client: Promise<Client> | undefined;
  /** Clients that are being ended. */
  readonly #ending = new Set<Promise<void>>();
  readonly #abort = new AbortController();

  /** @throws {RangeError} for what is not `host:port`. */
  constructor({ bootstrap = DHT_BOOTSTRAP, platform, onRefused }: MainlineDhtOptions) {
    this.#platform = platform;
    this.#onRefused = onRefused;
    this.#bootstrap = bootstrap.map(parseHostPort);
  }

  /** How often a message or a packet was refused, by the code of the error. */
  get refused(): ReadonlyMap<ErrorCode, number> {
    return this.#refusals.counts;
  }

  /** Finds out whether there can be a client here. @throws {DhtError} `Unavailable` */
  async check(): Promise<void> {
    await load(this.#platform);
  }

  /**
   * Looks for a packet: the first one that is found, and newer ones as they come.
   * @throws {DhtError} `Unavailable`, `NoNodes`, `TimedOut`, `Busy`, `Closed`; the signal's reason.
   */
  async *resolve(id: EndpointId, signal: AbortSignal): AsyncGenerator<SignedPacket, void, undefined> {
    const search = this.#begin(id, true, signal);
    void this.#run(search, ({ dht }) => dht.get(id.toBytes()));
    try {
      for (;;) {
        signal.throwIfAborted();
        const { news } = search;
        search.news = undefined;
        if (news !== undefined) yield news;
        else if (search.isDone) break;
        else await search.changed.wait({ signal });
      }
      if (search.best === undefined && search.error !== undefined) throw search.error;
    } finally {
      this.#end(search);
    }
  }

  /**
   * Stores a packet at the nodes that are closest to its key.
   * @throws {DhtError} `Unavailable`, `NoNodes`, `Refused`, `TimedOut`, `Busy`, `Closed`; {@link PkarrError} `TooLong`; the
   * signal's reason.
   */
  async put(packet: SignedPacket, signal: AbortSignal): Promise<void> {
    const item = toItem(packet);
    if (item.value.length > MAX_DHT_VALUE_BYTES)
      throw new PkarrError('PkarrError.TooLong', `${item.value.length} bytes of records do not fit`);
    const search = this.#begin(packet.id, false, signal);
    void this.#run(search, ({ dht }) => dht.put(item));
    try {
      while (!search.isDone) await search.changed.wait({ signal });
      if (search.error !== undefined) throw search.error;
    } finally {
      this.#end(search);
    }
  }

  /** Gives up everything at once; resolves when all is freed. */
  async close(): Promise<void> {
    if (!this.#abort.signal.aborted) {
      const closed = new DhtError('DhtError.Closed', 'the DHT client is closed');
      this.#abort.abort(closed);
      for (const search of [...this.#searches.values()].flatMap((each) => [...each])) search.finish(closed);
      this.#reset();
    }
    await Promise.all(this.#ending);
  }

  #begin(id: EndpointId, wantsItems: boolean, signal: AbortSignal): Search {
    this.#abort.signal.throwIfAborted();
    signal.throwIfAborted();
    if (this.#searchCount >= MAX_SEARCHES)
      throw new DhtError('DhtError.Busy', `${MAX_SEARCHES} keys are being looked for`);
    const search = new Search(id, wantsItems, this.#platform.clock);
    const same = this.#searches.get(search.target) ?? new Set();
    this.#searches.set(search.target, same.add(search));
    this.#searchCount++;
    return search;
  }

  /** Never rejects. */
  async #run(search: Search, walk: (client: Client) => Promise<void>): Promise<void> {
    try {
      const client = await this.#ready();
      if (search.isDone) return;
      search.start();
      await walk(client);
      if (search.answers === 0) throw new Error('no answer');
      search.finish();
    } catch (error) {
      if (error instanceof DhtError) search.finish(error);
      else if (search.answers > 0) search.finish(refused(error));
      else {
        // Whom it knows is gone, or the network was. The next walk starts from the beginning, if there is none now.
        const isAlone = this.#searchCount === 1 && !search.isDone;
        search.finish(new DhtError('DhtError.NoNodes', 'no node of the DHT answered'));
        if (isAlone) this.#reset();
      }
    }
  }

  /** @throws {DhtError} `Unavailable`, `NoNodes`, `Closed` */
  #ready(): Promise<Client> {
    return (this.#client ??= this.#open().catch((error: unknown) => {
      this.#client = undefined;
      throw error;
    }));
  }

  #end(search: Search): void {
    search.finish();
    const same = this.#searches.get(search.target)!;
    if (!same.delete(search)) return;
    this.#searchCount--;
    if (same.size > 0) return;
    this.#searches.delete(search.target);
    // What is under way for it would take the places of others until it times out.
    void this.#client?.then(
      (client) => {
        for (const [transaction, pending] of client.pending)
          if (pending.target === search.target) this.#giveUp(client, transaction, pending.to);
      },
      () => undefined,
    );
  }

  #reset(): void {
    const client = this.#client;
    this.#client = undefined;
    if (client === undefined) return;
    const ending = client
      .then(
        async ({ dht, udp }) => {
          const closing = udp.close();
          await dht.destroy();
          await closing;
        },
        () => undefined,
      )
      .catch(() => undefined)
      .finally(() => this.#ending.delete(ending));
    this.#ending.add(ending);
  }

  async #open(): Promise<Client> {
    const { clock } = this.#platform;
    const { bindUdp, start } = await load(this.#platform);
    const bootstrap = await this.#resolveBootstrap();
    this.#abort.signal.throwIfAborted();
    if (bootstrap.length === 0) throw new DhtError('DhtError.NoNodes', 'no first node has an IPv4 address');
    let udp: DatagramTransport;
    try {
      udp = await bindUdp({ ip: '0.0.0.0', port: 0 });
    } catch (cause) {
      throw new DhtError('DhtError.Unavailable', 'no UDP socket for the DHT', cause);
    }
    const socket = new PkarrSocket(udp.localAddr.port);
    let dht: PkarrDht;
    try {
      dht = start(socket, bootstrap);
    } catch (cause) {
      await udp.close();
      throw new DhtError('DhtError.Unavailable', 'the package pkarr does not start a client', cause);
    }
    const client: Client = {
      dht,
      socket,
      udp,
      pending: new Map(),
      isLocal: bootstrap.some(({ host }) => isLocalIpv4(toAddr(host, 0).bytes)),
      nodeQueries: 0,
      nodeQueriesSince: clock.now(),
    };
    socket.onSend = (data, ip, port) => this.#send(client, data, ip, port);
    udp.onDatagrams = (batch) => {
      for (const { data, from } of batch) this.#receive(client, data, from, clock.now());
    };
    return client;
  }

  /** IPv4 only, as the DHT is. Those that have none are passed over. */
  async #resolveBootstrap(): Promise<{ readonly host: string; readonly port: number }[]> {
    const { clock, resolveDns } = this.#platform;
    const limit = new AbortController();
    const timer = clock.setTimeout(() => limit.abort(new Error('too slow')), RESOLVE_LIMIT_MS);
    const signal = AbortSignal.any([limit.signal, this.#abort.signal]);
    try {
      const found = await Promise.all(
        this.#bootstrap.map(async ({ host, port }) => {
          if (isIpv4(host)) return [{ host, port }];
          try {
            return (await resolveDns!(host, 4, signal)).map((ip) => ({ host: ip, port }));
          } catch {
            return [];
          }
        }),
      );
      return found.flat();
    } finally {
      clock.clearTimeout(timer);
    }
  }

  /** A datagram of the library. */
  #send(client: Client, data: Uint8Array, ip: string, port: number): void {
    const { pending, udp } = client;
    const query = readQuery(data, targetOf);
    const to = toAddr(ip, port);
    const { transaction } = query;
    const target = valueTargetOf(query);
    if (!this.#mayAsk(client, query.kind, target)) {
      this.#giveUp(client, transaction, to);
      return;
    }
    const now = this.#platform.clock.now();
    pending.delete(transaction);
    pending.set(transaction, { to, target, sentAt: now });
    for (const [old, { sentAt }] of pending) {
      if (now - sentAt < ANSWER_LIMIT_MS) break;
      pending.delete(old);
    }
    udp.send([{ data: query.bytes, to, local: undefined }], 0, 1);
  }

  #mayAsk(client: Client, kind: string, target: string | undefined): boolean {
    if (target === undefined) {
      const now = this.#platform.clock.now();
      if (now - client.nodeQueriesSince >= NODE_QUERIES_INTERVAL_MS) {
        client.nodeQueriesSince = now;
        client.nodeQueries = 0;
      }
      // Whether nodes of its table are there is asked once in a while.
      return kind === 'ping' || client.nodeQueries++ < MAX_QUERIES;
    }
    const searches = [...(this.#searches.get(target) ?? [])].filter(
      ({ isDone, queries }) => !isDone && queries < MAX_QUERIES,
    );
    for (const search of searches) search.queries++;
    return searches.length > 0;
  }

  /** Has the library go on without an answer. */
  #giveUp({ socket, pending }: Client, transaction: number, { ip, port }: Addr): void {
    pending.delete(transaction);
    const reply: DhtReply = { kind: 'error', transaction, code: GENERIC_ERROR, explanation: 'given up' };
    this.#platform.clock.defer(() => socket.deliver(encodeReply(reply), ip, port));
  }

  #receive({ socket, pending, isLocal }: Client, data: Uint8Array, from: Addr, now: Millis): void {
    let reply: DhtReply | undefined;
    try {
      reply = readReply(data);
    } catch (error) {
      this.#refuse(error);
      return;
    }
    if (reply === undefined) return;
    const question = pending.get(reply.transaction);
    const { ip, port } = from;
    const isAwaited =
      question?.to.ip === ip && question.to.port === port && now - question.sentAt < ANSWER_LIMIT_MS;
    if (!isAwaited) {
      this.#refuse(new DhtError('DhtError.Unexpected', `an answer of ${from.text} to nothing`));
      return;
    }
    pending.delete(reply.transaction);
    const searches = [...(this.#searches.get(question.target ?? '') ?? [])];
    for (const search of searches) search.answers++;
    if (reply.kind === 'response') {
      const contacts = usableContacts(reply.contacts, isLocal);
      if (contacts.length < reply.contacts.length)
        this.#refuse(new DhtError('DhtError.Contact', `${from.text} told of nodes where none can be`));
      const isItemFine = reply.item !== undefined && this.#offer(reply.item, searches);
      reply = { ...reply, contacts, item: isItemFine ? reply.item : undefined };
    }
    socket.deliver(encodeReply(reply), ip, port);
  }

  #refuse(error: unknown): void {
    this.#refusals.note(error);
    this.#onRefused?.();
  }

  /** @returns whether it is a packet that may be believed. */
  #offer(item: DhtItem, searches: readonly Search[]): boolean {
    const waiting = searches.filter(({ isDone, wantsItems }) => !isDone && wantsItems);
    const [first] = waiting;
    // Who stores does not ask what there was.
    if (first === undefined) return false;
    try {
      // All nodes have the same one: it is verified once.
      const known = waiting.find(({ best }) => best !== undefined && isItemOf(best, item))?.best;
      const packet = known ?? toSignedPacket(first.id, item);
      if (known === undefined) this.#freshness.check(packet, this.#platform.clock.wallNow());
      for (const search of waiting) {
        if (search.best !== undefined && !packet.isNewerThan(search.best)) continue;
        search.best = search.news = packet;
        search.changed.wakeAll();
      }
      return true;
    } catch (error) {
      // Nodes that lag behind do nothing wrong.
      const isStale = error instanceof PkarrError && error.code === 'PkarrError.Stale';
      if (!isStale) this.#refuse(error);
      return false;
    }
  }
}

/** What a client is made of. @throws {DhtError} `Unavailable` */
async function load({ bindUdp }: Platform): Promise<{
  readonly bindUdp: NonNullable<Platform['bindUdp']>;
  readonly start: Awaited<ReturnType<typeof loadPkarrDht>>;
}> {
  if (bindUdp === undefined)
    throw new DhtError('DhtError.Unavailable', 'the DHT needs UDP: there is none here');
  try {
    return { bindUdp, start: await loadPkarrDht() };
  } catch (cause) {
    throw new DhtError(
      'DhtError.Unavailable',
      'the DHT needs the package pkarr with its native part, sodium-native, which has none for every platform: npm install pkarr',
      cause,
    );
  }
}

function refused(cause: unknown): DhtError {
  return new DhtError('DhtError.Refused', `no node of the DHT stored the packet: ${String(cause)}`, cause);
}

/** Undefined for questions about nodes. */
function valueTargetOf({ kind, target }: DhtQuery): string | undefined {
  return target === undefined || kind === 'find_node' ? undefined : toHex(target);
}

function isIpv4(host: string): boolean {
  return /^(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?!$)|$)){4}$/.test(host);
}

/** @throws {RangeError} */
function parseHostPort(text: string): { readonly host: string; readonly port: number } {
  const [, host, digits] = /^([^\s:]+):(\d{1,5})$/.exec(text) ?? [];
  const port = Number(digits);
  const isFine = host !== undefined && port > 0 && port < 65_536 && (isIpv4(host) || !/^[\d.]+$/.test(host));
  if (!isFine) throw new RangeError(`not host:port: ${text}`);
  return { host, port };
}
