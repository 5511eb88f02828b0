/**
 * Gives the chart of `machines/remote.ts` its body: everything about one peer. Finds addresses, tries to reach it directly,
 * chooses the path for data, and ends when nobody needs the peer any more (upstream
 * `iroh/src/socket/remote_map/remote_state.rs`).
 *
 * Commands and facts come through one inbox, in upstream's order of urgency. First flights do not: they read the tables.
 *
 * @module
 */
import { fromPromise, type Actor } from 'xstate';
import type { Clock } from '../base/clock.ts';
import type { EndpointId } from '../base/endpoint-id.ts';
import { AddressLookupFailed } from '../base/errors.ts';
import type { Metrics } from '../base/metrics.ts';
import { formatRemoteAddr } from '../base/remote-addr.ts';
import type { Addr } from '../base/socket-addr.ts';
import type { TransportAddr } from '../base/transport-addr.ts';
import { KnownAddrs } from '../machines/known-addrs.ts';
import type { PathCandidate, PathPolicy, PathSelector, SelectionReason } from '../machines/path-selection.ts';
import { ACTOR_MAX_IDLE_TIMEOUT_MS, remoteMachine } from '../machines/remote.ts';
import type { EngineCapabilities, PathAbandonReason, PathId } from '../quic/engine.ts';
import type { Inbox, Reply, Watched } from '../transport/channel.ts';
import type { ActorSystem } from './actor-system.ts';
import type { ConnectionActor } from './connection-actor.ts';
import { IdleNotice } from './idle-notice.ts';
import type { LookupItem, LookupRegistry } from './lookup-registry.ts';
import type { MappedAddrs } from './mapped-addrs.ts';
import { HolePunching, type PathFinder } from './path-finder.ts';
import { PathProbing } from './path-probing.ts';
import {
  REMOTE_CAPACITIES,
  REMOTE_LANES,
  REMOTE_OVERFLOW,
  type PathFact,
  type RemoteCommand,
  type RemoteSender,
} from './remote-commands.ts';
import type { RemoteInfo } from './remote-info.ts';
import { RemotePaths } from './remote-paths.ts';

/** Direct paths faster than this are not improved upon, ms; upstream `GOOD_ENOUGH_LATENCY`. */
export const GOOD_ENOUGH_LATENCY_MS = 10;

/**
 * First flights go to so many addresses at most: who publishes a new set with each lookup must not make us send to all of
 * them. Upstream has no limit.
 */
export const MAX_FIRST_FLIGHT_TARGETS = 32;

/** What all remotes of an endpoint share. */
export interface RemoteShared {
  readonly system: ActorSystem;
  readonly clock: Clock;
  readonly mapped: MappedAddrs;
  readonly lookup: LookupRegistry;
  /** Where we are reached, as far as we know. */
  readonly directAddrs: Watched<readonly { readonly addr: Addr }[]>;
  /** What the engine can do. */
  readonly capabilities: EngineCapabilities;
  readonly policy: PathPolicy;
  /** Undefined: upstream's. */
  readonly selector: PathSelector | undefined;
  readonly metrics: Metrics;
  /** A path fell silent: the peer is gone, or the network is another one. */
  readonly onStalled?: (() => void) | undefined;
  readonly log: (line: () => string) => void;
}

/** What an endpoint knows and does about one peer. */
export class RemoteState {
  /** Whose body an actor's system belongs to. */
  static readonly #bodies = new WeakMap<object, RemoteState>();
  /** One chart for all: each machine of its own would take 40 KiB. */
  static readonly #machine = remoteMachine.provide({
    actors: {
      'look up addresses': fromPromise(({ system, signal }) => RemoteState.#bodyOf(system).#lookUp(signal)),
    },
    actions: {
      'answer waiting resolves': ({ system }) => RemoteState.#bodyOf(system).#onLookupEnd(),
      'start punch round': ({ system }) => RemoteState.#bodyOf(system).#finder.start(),
      'decide about punching': ({ system }) => RemoteState.#bodyOf(system).#finder.consider(),
      'retry blocked opens': ({ system }) => RemoteState.#bodyOf(system).#paths.retryBlocked(),
      'check paths': ({ system }) => RemoteState.#bodyOf(system).#check(),
    },
  });
  readonly id: EndpointId;
  readonly #name: string;
  readonly #shared: RemoteShared;
  readonly #inbox: Inbox<RemoteCommand, typeof REMOTE_OVERFLOW>;
  readonly #known = new KnownAddrs();
  readonly #paths: RemotePaths;
  readonly #finder: PathFinder;
  readonly #resolves = new Set<Reply<void>>();
  /** Connections of which path events were dropped. */
  readonly #lagging = new Set<ConnectionActor>();
  readonly #actor: Actor<typeof remoteMachine>;
  readonly #idle: IdleNotice;
  #lookupError: unknown;

  /** @param onEnd - Called once, with the commands that nobody has seen. */
  constructor(id: EndpointId, shared: RemoteShared, onEnd: (leftovers: RemoteCommand[]) => void) {
    this.id = id;
    this.#shared = shared;
    const short = id.toString().slice(0, 10);
    this.#name = `remote ${short}`;
    this.#inbox = shared.system.inbox<RemoteCommand, typeof REMOTE_OVERFLOW>({
      name: 'remote commands',
      owner: this.#name,
      capacities: REMOTE_CAPACITIES,
      lanes: REMOTE_LANES,
      overflow: REMOTE_OVERFLOW,
      deliver: (command) => this.#deliver(command),
      onDropped: (command) => {
        if (command.type === 'pathEvent') this.#lagging.add(command.connection);
      },
    });
    const { multipath, natTraversal, migration } = shared.capabilities;
    this.#paths = new RemotePaths({
      clock: shared.clock,
      mapped: shared.mapped,
      known: this.#known,
      policy: shared.policy,
      selector: shared.selector,
      metrics: shared.metrics,
      canMigrate: migration && !multipath,
      onSelected: (to, reason) => this.#onSelected(to, reason),
      onOpenBlocked: () => this.#actor.send({ type: 'openBlocked' }),
      log: (line) => this.#log(line),
    });
    this.#finder = new (natTraversal ? HolePunching : PathProbing)({
      shared,
      known: this.#known,
      paths: this.#paths,
      send: (event) => this.#actor.send(event),
      log: (line) => this.#log(line),
    });
    this.#actor = shared.system.start(RemoteState.#machine, this.#name, { remote: short }, ({ system }) =>
      RemoteState.#bodies.set(system, this),
    );
    this.#idle = new IdleNotice({
      clock: shared.clock,
      limitMs: ACTOR_MAX_IDLE_TIMEOUT_MS,
      isNeeded: () => this.#paths.connections.size > 0 || this.#resolves.size > 0,
      tell: (forMs) => this.#actor.send(forMs === undefined ? { type: 'busy' } : { type: 'idle', forMs }),
    });
    const addrsSubscription = shared.directAddrs.subscribe(this.#name, () => {
      // The first value is there before anything could be done about it.
      if (this.#paths.connections.size > 0) this.#inbox.sender('socket').send({ type: 'directAddrs' });
    });
    const end = (): void => {
      this.#idle.cancel();
      addrsSubscription.unsubscribe();
      for (const { addr } of this.#known) shared.mapped.release(addr);
      for (const reply of this.#resolves) reply.reject(new Error('the remote ends'));
      for (const { paths } of this.#paths.connections) paths.end();
      onEnd(this.#inbox.close());
    };
    this.#actor.subscribe({ complete: end, error: end });
  }

  static #bodyOf(system: object): RemoteState {
    return RemoteState.#bodies.get(system)!;
  }

  /** For one actor that has something to say. @param from - Its name. */
  sender(from: string): RemoteSender {
    return this.#inbox.sender(from);
  }

  /** Ends the actor. */
  stop(): void {
    this.#actor.send({ type: 'stop' });
  }

  /** Where first flights go: the selected path, or everywhere. */
  get targets(): readonly Addr[] {
    const { selected } = this.#paths;
    if (selected !== undefined) return [selected.remote];
    const own = this.#shared.directAddrs.value;
    const known = [...this.#known].filter(({ addr }) => !own.some((each) => each.addr === addr));
    // Relays first: they are the surest.
    known.sort((a, b) => Number(b.isRelay) - Number(a.isRelay));
    return known.slice(0, MAX_FIRST_FLIGHT_TARGETS).map(({ addr }) => addr);
  }

  #deliver(command: RemoteCommand): void {
    if (this.#actor.getSnapshot().status !== 'active') return;
    this.#handle(command);
    for (const connection of this.#lagging) this.#paths.resync(connection);
    this.#lagging.clear();
    this.#handled();
  }

  /** Something was done: is anybody left who needs the peer? */
  #handled(): void {
    if (this.#actor.getSnapshot().status === 'active') this.#idle.used();
  }

  #handle(command: RemoteCommand): void {
    switch (command.type) {
      case 'resolve':
        this.#resolve(command.addrs, command.reply);
        return;
      case 'addConnection':
        this.#addConnection(command.connection);
        command.reply.resolve();
        return;
      case 'remoteInfo':
        command.reply.resolve(this.#info());
        return;
      case 'networkChange':
        this.#onNetworkChange(command.isMajor);
        return;
      case 'pathEvent':
        this.#onPathEvent(command.connection, command.event);
        return;
      case 'natCandidates':
        this.#consider();
        return;
      case 'connectionClosed':
        this.#paths.remove(command.connection);
        return;
      case 'directAddrs':
        for (const connection of this.#paths.connections) this.#finder.offer(connection);
        this.#consider();
        return;
      case 'found':
        this.#onFound(command.item);
    }
  }

  // --- addresses ------------------------------------------------------------------------------------------------------------

  #resolve(addrs: readonly TransportAddr[], reply: Reply<void>): void {
    const isAnyNew = this.#insert(addrs, 'app');
    if (isAnyNew && this.#paths.connections.size > 0) this.#consider();
    if (this.#known.size > 0) reply.resolve();
    else this.#resolves.add(reply);
    const forget = (): void => {
      // Still there: the caller gave up, and may have been the last one.
      if (this.#resolves.delete(reply)) this.#handled();
    };
    reply.promise.then(forget, forget);
    const isPointless = this.#shared.lookup.size === 0 && this.#known.size > 0;
    if (this.#paths.selected === undefined && !isPointless) this.#actor.send({ type: 'lookUp' });
  }

  /** Notes what can be used. @returns whether any of it is new. */
  #insert(addrs: readonly TransportAddr[], source: string): boolean {
    let isAnyNew = false;
    const { clock, mapped, directAddrs } = this.#shared;
    for (const each of addrs) {
      const addr = this.#toAddr(each);
      // Our own addresses lead to ourselves, whatever an address book says.
      if (addr === undefined || directAddrs.value.some((own) => own.addr === addr)) continue;
      if (!this.#known.insert(addr, each.type === 'relay', source, clock.now())) continue;
      mapped.hold(addr);
      isAnyNew = true;
    }
    this.#onInserted();
    return isAnyNew;
  }

  /** Whoever waits for an address has one now. */
  #onInserted(): void {
    for (const gone of this.#known.prune()) this.#shared.mapped.release(gone);
    if (this.#known.size === 0) return;
    for (const reply of this.#resolves) reply.resolve();
    this.#resolves.clear();
  }

  /** Undefined for what the endpoint's policy does not use. */
  #toAddr(addr: TransportAddr): Addr | undefined {
    const { policy, mapped } = this.#shared;
    switch (addr.type) {
      case 'ip':
        return policy === 'relay' ? undefined : addr.addr;
      case 'relay':
        return policy === 'direct' ? undefined : mapped.ofRelay(addr.url, this.id.toBytes());
      case 'custom':
        return policy === 'relay' ? undefined : mapped.ofCustom(addr.id, addr.data);
    }
  }

  async #lookUp(signal: AbortSignal): Promise<void> {
    this.#lookupError = undefined;
    const sender = this.#inbox.sender('address lookup');
    try {
      for await (const item of this.#shared.lookup.resolve(this.id, signal))
        await sender.send({ type: 'found', item }, { signal });
    } catch (error) {
      this.#lookupError = error;
      throw error;
    }
  }

  #onFound({ addr, provenance }: LookupItem): void {
    const before = new Set([...this.#known].map((each) => each.addr));
    this.#insert(addr.addrs, provenance);
    if (this.#paths.connections.size === 0) return;
    // Upstream uses what is found for first flights only; the connections that are there may gain by it as well.
    for (const { addr: found } of this.#known) {
      const kind = this.#shared.mapped.kindOf(found);
      if (!before.has(found) && (kind === 'custom' || (kind === 'relay' && this.#isDirect())))
        this.#paths.openLater(found);
    }
    this.#consider();
  }

  #onLookupEnd(): void {
    // What was found may have been our own addresses, or relays on an endpoint that uses none.
    const error =
      this.#lookupError ??
      new AddressLookupFailed('AddressLookupFailed.NoResults', 'what was found is of no use to us');
    this.#log(() => `address lookup ended, ${this.#known.size} addresses known`);
    // Who still waits does so because no address is known.
    for (const reply of this.#resolves) reply.reject(error);
    this.#resolves.clear();
    this.#handled();
  }

  #info(): RemoteInfo {
    const { mapped } = this.#shared;
    const addrs = [...this.#known].map(({ addr, status, sources }) => ({
      addr: mapped.describe(addr),
      usage: status === 'open' ? ('active' as const) : ('inactive' as const),
      sources: [...sources.keys()],
    }));
    return { id: this.id, addrs };
  }

  // --- connections and paths ------------------------------------------------------------------------------------------------

  #addConnection(connection: ConnectionActor): void {
    const from = `connection #${connection.quic.stableId}`;
    const sender = this.#inbox.sender(from);
    connection.onFact = (fact) => {
      if (fact.type === 'closed') {
        // Refused only when this actor has ended, and its connections with it.
        sender.send({ type: 'connectionClosed', connection }).catch(() => undefined);
      } else if (fact.type === 'natAddressAdded' || fact.type === 'natAddressRemoved') {
        sender.send({ type: 'natCandidates' });
      } else {
        sender.send({ type: 'pathEvent', connection, event: fact });
      }
    };
    this.#finder.offer(connection);
    const known = new Set([...this.#known].map(({ addr }) => addr));
    this.#paths.add(connection);
    this.#holdNew(known);
    // It may have ended before anybody listened.
    if (connection.error !== undefined) this.#paths.remove(connection);
    else this.#consider();
  }

  #onPathEvent(connection: ConnectionActor, event: PathFact): void {
    if (!this.#paths.connections.has(connection)) return;
    const known = new Set([...this.#known].map(({ addr }) => addr));
    switch (event.type) {
      case 'pathEstablished':
        this.#paths.onEstablished(connection, event.path);
        break;
      case 'pathMigrated':
        this.#paths.onMoved(connection, event.path);
        break;
      case 'pathAbandoned':
        this.#onAbandoned(connection, event.path, event.reason);
        break;
      case 'pathStalled':
        this.#paths.onStall(connection, event.path);
        this.#shared.onStalled?.();
        break;
      case 'pathResumed':
        this.#paths.onStall(connection, event.path);
    }
    this.#holdNew(known);
  }

  #onAbandoned(connection: ConnectionActor, id: PathId, reason: PathAbandonReason): void {
    const wasOpen = this.#paths.onAbandoned(connection, id, reason);
    // What was lost may be found again. Upstream waits for the next look, up to a minute.
    if (wasOpen && (reason.type === 'timedOut' || reason.type === 'validationFailed')) this.#consider();
  }

  /** Addresses that connections brought are kept as long as we know them. */
  #holdNew(known: ReadonlySet<Addr>): void {
    for (const { addr } of this.#known) if (!known.has(addr)) this.#shared.mapped.hold(addr);
    this.#onInserted();
  }

  #onSelected(to: PathCandidate | undefined, reason: SelectionReason): void {
    const { mapped, system } = this.#shared;
    this.#log(() =>
      to === undefined
        ? `no path (${reason})`
        : `selected ${formatRemoteAddr(mapped.describe(to.remote))} (${reason})`,
    );
    // The chart decides nothing by it. It tells whoever watches, and costs as much as a packet for each connection.
    if (!system.isInspected) return;
    if (to === undefined) {
      this.#actor.send({ type: 'deselect', reason });
      return;
    }
    const addr = mapped.describe(to.remote);
    const remote = formatRemoteAddr(addr);
    this.#actor.send({
      type: 'select',
      path: {
        kind: addr.type === 'ip' ? 'direct' : addr.type === 'relay' ? 'relayed' : 'custom',
        remote,
        local: addr.type === 'ip' ? to.local?.text : undefined,
      },
      reason,
    });
  }

  /** Not for actions of the chart: it shows what it was before them. */
  #consider(): void {
    this.#finder.consider(this.#actor.getSnapshot().matches({ active: { punch: 'scheduled' } }));
  }

  #isDirect(): boolean {
    const { selected } = this.#paths;
    return selected !== undefined && this.#shared.mapped.kindOf(selected.remote) !== 'relay';
  }

  #onNetworkChange(isMajor: boolean): void {
    for (const connection of this.#paths.connections) {
      for (const id of connection.paths.open.keys()) connection.quic.pingPath(id);
      connection.wake();
    }
    if (isMajor) this.#finder.networkChanged();
  }

  #check(): void {
    this.#paths.select('tick');
    for (const connection of this.#paths.connections)
      if (this.#paths.directRtt(connection) > GOOD_ENOUGH_LATENCY_MS) return this.#finder.consider();
  }

  #log(line: () => string): void {
    this.#shared.log(() => `${this.#name} ${line()}`);
  }
}
