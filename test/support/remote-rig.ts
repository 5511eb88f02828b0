/**
 * The remotes of an endpoint in virtual time, without an endpoint: connections are scripts whose engine does as the test says,
 * and everything asked of it is written down.
 *
 * @module
 */
import { ActorSystem, type ActorInspectionEvent } from '../../src/actors/actor-system.ts';
import { ConnectionActor, type ConnectionFact } from '../../src/actors/connection-actor.ts';
import type { PathEvent } from '../../src/actors/connection-paths.ts';
import type { EngineDriver } from '../../src/actors/engine-driver.ts';
import { LookupRegistry } from '../../src/actors/lookup-registry.ts';
import { MappedAddrs } from '../../src/actors/mapped-addrs.ts';
import { RemoteMap } from '../../src/actors/remote-map.ts';
import type { AddressLookup } from '../../src/address-lookup/service.ts';
import type { Millis } from '../../src/base/clock.ts';
import type { EndpointId } from '../../src/base/endpoint-id.ts';
import { Metrics } from '../../src/base/metrics.ts';
import type { Addr } from '../../src/base/socket-addr.ts';
import { SecretKey } from '../../src/crypto/keys.ts';
import type { PathPolicy, PathSelector } from '../../src/machines/path-selection.ts';
import type { RemoteContext } from '../../src/machines/remote.ts';
import type {
  EngineCapabilities,
  FourTuple,
  PathAbandonReason,
  PathId,
  PathInfo,
  PathStatus,
  QuicConnection,
  Side,
} from '../../src/quic/engine.ts';
import { NatTraversalError } from '../../src/quic/paths/nat-traversal.ts';
import { PathError } from '../../src/quic/paths/path-table.ts';
import { Watch } from '../../src/transport/channel.ts';
import { Log } from '../../src/transport/log.ts';
import { SimWorld } from './sim-platform.ts';

type MutableInfo = { -readonly [Key in keyof PathInfo]: PathInfo[Key] };

/** A round of hole punching that was started. */
export interface Round {
  readonly at: Millis;
  readonly local: readonly Addr[];
  readonly remote: readonly Addr[];
}

/** A connection whose engine does what the test says. What happened on it waits in {@link pending} until it is told. */
export class ScriptedConnection {
  readonly actor: ConnectionActor;
  readonly side: Side;
  /** Facts that the actor has not heard. */
  readonly pending: ConnectionFact[] = [];
  /** What was asked of the engine: `open 10.0.0.1:1`, `close 3`. */
  readonly calls: string[] = [];
  /** As an application sees them. */
  readonly events: PathEvent[] = [];
  readonly rounds: Round[] = [];
  readonly remoteNat = new Set<Addr>();
  readonly localNat = new Set<Addr>();
  /** How opening a path is refused; undefined: it is not. */
  refuses: PathError['code'] | undefined;
  /** How it is refused that data goes another way. */
  refusesMove: PathError['code'] | undefined;
  /** How a round is refused. */
  refusesRound: NatTraversalError['code'] | undefined;
  hasEventsEnded = false;
  /** Both sides agreed on several paths. */
  readonly hasMultipath: boolean;
  readonly #table = new Map<PathId, MutableInfo>();
  #nextId = 1;
  #closeReason: QuicConnection['closeReason'];

  constructor(rig: RemoteRig, side: Side, first: FourTuple, number: number) {
    this.side = side;
    this.hasMultipath = rig.capabilities.multipath && rig.doPeersKnowMultipath;
    this.#table.set(0, { id: 0, ...first, status: 'available', validated: true, stalled: false, rttMs: 20 });
    const { clock } = rig.world;
    this.actor = new ConnectionActor({
      quic: this.#quic(number, rig),
      driver: { clock, listen: () => undefined, wake: () => undefined } as unknown as EngineDriver,
      mapped: rig.mapped,
      log: rig.log,
      system: rig.system,
      admit: () => Promise.resolve(),
    });
    this.actor.paths.events$.subscribe({
      next: (event) => this.events.push(event),
      complete: () => (this.hasEventsEnded = true),
    });
  }

  #quic(number: number, rig: RemoteRig): QuicConnection {
    const { clock } = rig.world;
    const { side, localNat, remoteNat } = this;
    const closeReason = (): QuicConnection['closeReason'] => this.#closeReason;
    const connection: Partial<QuicConnection> = {
      stableId: number,
      side,
      multipath: this.hasMultipath,
      get closeReason() {
        return closeReason();
      },
      paths: () => [...this.#table.values()].map((info) => ({ ...info })),
      pathStats: () => undefined,
      openPathEnsure: (tuple, status) => this.#open(tuple, status),
      closePath: (id) => this.#close(id),
      setPathStatus: (id, status) => {
        const path = this.#table.get(id);
        if (path === undefined) throw new PathError('closedPath', `no path ${id}`);
        const before = path.status;
        if (status === 'available' && this.refusesMove !== undefined)
          throw new PathError(this.refusesMove, 'not now');
        path.status = status;
        return before;
      },
      setPathMaxIdleTimeout: () => undefined,
      pingPath: (id) => void this.calls.push(`ping ${id}`),
      addNatAddress: (addr) => void localNat.add(addr),
      removeNatAddress: (addr) => void localNat.delete(addr),
      localNatAddresses: () => [...localNat],
      remoteNatAddresses: () => [...remoteNat],
      initiateNatRound: (_now, found = []) => {
        if (this.refusesRound !== undefined) throw new NatTraversalError(this.refusesRound, 'not now');
        const remote = [...new Set([...remoteNat, ...found])];
        if (localNat.size === 0) throw new NatTraversalError('notEnoughAddresses', 'nothing to offer');
        this.rounds.push({ at: clock.now(), local: [...localNat], remote });
        return remote;
      },
    };
    return connection as QuicConnection;
  }

  #open(tuple: FourTuple, status: PathStatus): PathId {
    this.calls.push(`open ${tuple.remote.text}`);
    if (this.side === 'server') throw new PathError('serverSideNotAllowed', 'servers open nothing');
    for (const { id, remote, local } of this.#table.values())
      if (remote === tuple.remote && (tuple.local === undefined || local === tuple.local)) return id;
    if (this.refuses !== undefined) throw new PathError(this.refuses, 'not now');
    return this.begin(tuple, status);
  }

  #close(id: PathId): void {
    this.calls.push(`close ${id}`);
    if (!this.#table.has(id)) throw new PathError('closedPath', `no path ${id}`);
    if (this.#table.size === 1) throw new PathError('lastOpenPath', 'the last path cannot be closed');
    this.abandon(id, { type: 'applicationClosed', code: 0 });
  }

  // --- what the network and the peer do -----------------------------------------------------------------------------

  /** Open paths, as the engine has them. */
  get paths(): readonly PathInfo[] {
    return [...this.#table.values()];
  }

  get isOpen(): boolean {
    return this.#closeReason === undefined;
  }

  /** A path begins; it counts once it is validated. */
  begin({ remote, local }: FourTuple, status: PathStatus = 'backup'): PathId {
    const id = this.#nextId++;
    this.#table.set(id, { id, remote, local, status, validated: false, stalled: false, rttMs: 20 });
    return id;
  }

  validate(id: PathId, rttMs = 20): void {
    const path = this.#table.get(id);
    if (path === undefined || path.validated) return;
    path.validated = true;
    path.rttMs = rttMs;
    this.#happened({ type: 'pathEstablished', path: id });
  }

  /** All paths that are opening. */
  validateAll(rttMs = 20): void {
    for (const { id } of this.paths) this.validate(id, rttMs);
  }

  abandon(id: PathId, reason: PathAbandonReason): void {
    if (this.#table.delete(id)) this.#happened({ type: 'pathAbandoned', path: id, reason });
  }

  stall(id: PathId, isStalled: boolean): void {
    const path = this.#table.get(id);
    if (path === undefined || path.stalled === isStalled) return;
    path.stalled = isStalled;
    this.#happened({ type: isStalled ? 'pathStalled' : 'pathResumed', path: id });
  }

  move(id: PathId, to: FourTuple): void {
    const path = this.#table.get(id);
    if (path === undefined) return;
    Object.assign(path, to);
    this.#happened({ type: 'pathMigrated', path: id, to });
  }

  setRtt(id: PathId, rttMs: Millis): void {
    const path = this.#table.get(id);
    if (path !== undefined) path.rttMs = rttMs;
  }

  /** The peer says where it can be reached. */
  offer(addr: Addr): void {
    this.remoteNat.add(addr);
    this.#happened({ type: 'natAddressAdded', addr });
  }

  withdraw(addr: Addr): void {
    this.remoteNat.delete(addr);
    this.#happened({ type: 'natAddressRemoved', addr });
  }

  close(): void {
    if (!this.isOpen) return;
    this.#closeReason = { type: 'locallyClosed' };
    this.#table.clear();
    this.#happened({ type: 'closed', reason: { type: 'locallyClosed' } });
  }

  #happened(fact: ConnectionFact): void {
    this.pending.push(fact);
  }

  /** Tells one fact, the oldest unless another one is named. */
  tell(index = 0): void {
    const [fact] = this.pending.splice(index, 1);
    if (fact !== undefined) this.actor.onEvent(fact);
  }

  /** Tells everything in order. */
  tellAll(): void {
    while (this.pending.length > 0) this.tell();
  }
}

export interface RemoteRigOptions {
  readonly seed?: number;
  readonly policy?: PathPolicy;
  readonly selector?: PathSelector;
  readonly lookups?: readonly AddressLookup[];
  /** What the engine cannot do. */
  readonly capabilities?: Partial<EngineCapabilities>;
}

/** Remotes, and connections for them. */
export class RemoteRig {
  readonly world: SimWorld;
  readonly system: ActorSystem;
  readonly mapped: MappedAddrs;
  readonly metrics = new Metrics();
  readonly log: Log;
  readonly lines: string[] = [];
  readonly errors: unknown[] = [];
  readonly directAddrs = new Watch<readonly { readonly addr: Addr }[]>(
    { name: 'direct addresses', owner: 'test' },
    [],
  );
  readonly map: RemoteMap;
  /** The peer. */
  readonly id: EndpointId = SecretKey.fromBytes(new Uint8Array(32).fill(3)).publicKey;
  readonly connections: ScriptedConnection[] = [];
  /** Called with each connection before the remote has it. */
  onConnection: ((connection: ScriptedConnection) => void) | undefined;
  /** What the chart of the newest remote says about the way of data: a kind, `none`, or undefined before there is one. */
  selected: string | undefined;
  context: RemoteContext | undefined;

  /** False: connections that come have one path. */
  doPeersKnowMultipath = true;
  /** What the engine can do: everything, unless told otherwise. */
  readonly capabilities: EngineCapabilities;

  constructor(options: RemoteRigOptions = {}) {
    this.capabilities = {
      multipath: true,
      natTraversal: true,
      addressDiscovery: true,
      rawPublicKeys: true,
      migration: true,
      exporter: true,
      virtualTime: true,
      ...options.capabilities,
    };
    const { seed = 1, policy = 'any', selector, lookups = [] } = options;
    this.world = new SimWorld(seed);
    const { clock } = this.world;
    const { rng } = this.world.platformOf(this.world.addHost('host', '192.0.2.9'));
    this.mapped = new MappedAddrs(rng);
    this.log = new Log({ debug: (line) => void this.lines.push(line) });
    this.system = new ActorSystem({
      clock,
      inspect: (event) => this.#look(event),
      onError: (_, error) => this.errors.push(error),
    });
    this.map = new RemoteMap(
      {
        system: this.system,
        clock,
        mapped: this.mapped,
        lookup: new LookupRegistry({ clock, log: this.log, services: lookups }),
        directAddrs: this.directAddrs,
        capabilities: this.capabilities,
        policy,
        selector,
        metrics: this.metrics,
        log: (line) => this.log.write('path', line),
      },
      'test',
    );
  }

  #look(event: ActorInspectionEvent): void {
    if (event.type !== '@xstate.snapshot') return;
    if (!(event.actorRef as { readonly id?: string }).id?.startsWith('remote ')) return;
    const { status, value, context } = event.snapshot as unknown as {
      readonly status: string;
      readonly value: { readonly active?: { readonly selected: string } };
      readonly context: RemoteContext;
    };
    if (status !== 'active') return;
    this.selected = value.active?.selected;
    this.context = context;
  }

  /** A connection whose handshake is complete. It is the remote's once {@link run} or a turn has passed. */
  async connect(side: Side, remote: Addr, local?: Addr): Promise<ScriptedConnection> {
    const number = this.connections.length + 1;
    const connection = new ScriptedConnection(this, side, { remote, local }, number);
    this.connections.push(connection);
    this.onConnection?.(connection);
    await this.map.addConnection(this.id, connection.actor);
    return connection;
  }

  /** Lets time pass. */
  run(ms: Millis): Promise<void> {
    return this.world.run(this.world.sleep(ms), ms + 1);
  }

  /** Where first flights go. */
  get targets(): readonly Addr[] {
    return this.map.targetsOf(this.id);
  }

  setDirect(...addrs: Addr[]): void {
    this.directAddrs.set(addrs.map((addr) => ({ addr })));
  }
}
