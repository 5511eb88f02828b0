/**
 * All paths to one peer, over all connections: which of them carries data, and what follows from that on each connection
 * (upstream `iroh/src/socket/remote_map/remote_state.rs`, `select_path`, `apply_selected_path`).
 *
 * Only clients open and close paths. Servers say which they prefer.
 *
 * @module
 */
import type { Clock, Millis } from '../base/clock.ts';
import type { Metrics, MetricName } from '../base/metrics.ts';
import type { Addr } from '../base/socket-addr.ts';
import type { KnownAddrs } from '../machines/known-addrs.ts';
import {
  biasedRttSelector,
  isSameTuple,
  selectPath,
  type PathCandidate,
  type PathPolicy,
  type PathSelector,
  type PathTuple,
  type SelectionReason,
} from '../machines/path-selection.ts';
import { RELAY_PATH_MAX_IDLE_TIMEOUT_MS } from '../quic/config.ts';
import type { PathAbandonReason, PathId, PathInfo } from '../quic/engine.ts';
import { PathError } from '../quic/paths/path-table.ts';
import type { ConnectionActor } from './connection-actor.ts';
import type { MappedAddrs } from './mapped-addrs.ts';

/** Code in PATH_ABANDON for paths that are closed because another one is better; draft-ietf-quic-multipath-21 §4.2. */
const APPLICATION_ABANDON_PATH = 0x3e;

/** How {@link RemotePaths} are made. */
export interface RemotePathsOptions {
  readonly clock: Clock;
  readonly mapped: MappedAddrs;
  readonly known: KnownAddrs;
  readonly policy: PathPolicy;
  readonly selector: PathSelector | undefined;
  readonly metrics: Metrics;
  /** Clients open and move paths without multipath, too. */
  readonly canMigrate: boolean;
  /** Data goes another way; `to` undefined: no path is left. */
  readonly onSelected: (to: PathCandidate | undefined, reason: SelectionReason) => void;
  /** A path could not be opened for lack of ids. */
  readonly onOpenBlocked: () => void;
  /** Anything that should be told to whoever debugs. */
  readonly log: (line: () => string) => void;
}

/** Why the selection is looked at. */
export type SelectionTrigger =
  'opened' | 'moved' | 'stalled' | 'resumed' | 'tick' | PathAbandonReason['type'];

const REASONS = {
  moved: 'moved',
  stalled: 'stalled',
  resumed: 'resumed',
  tick: 'betterRtt',
  connectionClosed: 'connectionClosed',
  applicationClosed: 'closedByUs',
  remoteAbandoned: 'closedByPeer',
  validationFailed: 'validationFailed',
  timedOut: 'timedOut',
  unusableAfterNetworkChange: 'unusableAfterNetworkChange',
} as const satisfies Record<Exclude<SelectionTrigger, 'opened'>, SelectionReason>;

/** The paths to one peer. */
export class RemotePaths {
  readonly #options: RemotePathsOptions;
  /** In the order in which they were added. */
  readonly #connections = new Set<ConnectionActor>();
  /** Connections that were counted as direct. */
  readonly #direct = new WeakSet<ConnectionActor>();
  /** Wanted, and not opened for lack of ids. */
  readonly #blocked = new Map<Addr, PathTuple>();
  /** A connection could not move to the selected path for lack of ids. */
  #isMoveBlocked = false;
  #selected: PathCandidate | undefined;

  constructor(options: RemotePathsOptions) {
    this.#options = options;
  }

  get connections(): ReadonlySet<ConnectionActor> {
    return this.#connections;
  }

  /** We dialled one of the connections that are open. */
  get hasClient(): boolean {
    for (const { quic } of this.#connections)
      if (quic.side === 'client' && quic.closeReason === undefined) return true;
    return false;
  }

  /** Data goes to the peer by no relay, and the peer is heard. */
  get isHeardDirectly(): boolean {
    return this.#selected !== undefined && this.#selected.kind !== 'relay' && !this.#selected.isStalled;
  }

  /** The path that carries data on all connections. */
  get selected(): PathTuple | undefined {
    return this.#selected;
  }

  /** Takes a connection whose handshake is complete. Its open paths are registered: path 0 announces itself in no event. */
  add(connection: ConnectionActor): void {
    const { metrics } = this.#options;
    metrics.add('num_conns_opened');
    this.#connections.add(connection);
    connection.paths.register();
    const infos = connection.quic.paths();
    for (const info of infos) if (info.validated || info.id === 0) this.#register(connection, info);
    this.#openBackups(connection);
    this.select('opened');
  }

  /** A connection ended. */
  remove(connection: ConnectionActor): void {
    if (!this.#connections.delete(connection)) return;
    const { metrics } = this.#options;
    metrics.add('num_conns_closed');
    const gone = [...connection.paths.open.values()];
    connection.paths.end();
    for (const { remote } of gone) this.#unregistered(remote);
    this.select('connectionClosed');
  }

  onEstablished(connection: ConnectionActor, id: PathId): void {
    const info = infoOf(connection, id);
    if (info === undefined || !this.#connections.has(connection)) return;
    this.#register(connection, info);
    this.select('opened');
  }

  onMoved(connection: ConnectionActor, id: PathId): void {
    const info = infoOf(connection, id);
    const before = connection.paths.open.get(id)?.remote;
    if (info === undefined || before === undefined) return;
    connection.paths.moved(id, info.remote, info.local);
    if (before !== info.remote) {
      this.#unregistered(before);
      this.#arrived(connection, info);
    }
    this.select('moved');
  }

  /** @returns whether it had been open. */
  onAbandoned(connection: ConnectionActor, id: PathId, reason: PathAbandonReason): boolean {
    const path = connection.paths.closed(id, reason);
    if (path === undefined) return false;
    this.#unregistered(path.remote);
    this.select(reason.type);
    return true;
  }

  /** A path stalled or was heard again. Which of them the engine knows best: it may have been told late. */
  onStall(connection: ConnectionActor, id: PathId): void {
    const info = infoOf(connection, id);
    if (info === undefined) return;
    const step = info.stalled ? 'stalled' : 'resumed';
    connection.paths.step(id, step);
    this.select(step);
  }

  /** Events of the connection were missed: what is open is read again. */
  resync(connection: ConnectionActor): void {
    if (!this.#connections.has(connection)) return;
    const open = new Map(connection.quic.paths().map((info) => [info.id, info]));
    for (const id of [...connection.paths.open.keys()])
      if (!open.has(id)) this.onAbandoned(connection, id, { type: 'timedOut' });
    for (const info of open.values()) {
      if (!connection.paths.open.has(info.id)) {
        if (info.validated) this.#register(connection, info);
        continue;
      }
      this.onMoved(connection, info.id);
      connection.paths.step(info.id, info.stalled ? 'stalled' : 'resumed');
    }
    this.select('tick');
  }

  /** The lowest round-trip time of a direct path on the connection, ms; Infinity when none is heard. */
  directRtt(connection: ConnectionActor): Millis {
    let best = Infinity;
    for (const { id, remote, rttMs, stalled } of connection.quic.paths())
      if (!stalled && connection.paths.open.has(id) && isIp(this.#kindOf(remote)))
        best = Math.min(best, rttMs);
    return best;
  }

  /** Opens what could not be opened before, and has data go where it could not. */
  retryBlocked(): void {
    const blocked = [...this.#blocked.values()];
    this.#blocked.clear();
    for (const tuple of blocked) for (const connection of this.#connections) this.#open(connection, tuple);
    if (!this.#isMoveBlocked) return;
    this.#isMoveBlocked = false;
    this.select('tick');
  }

  /** Opens paths to where the peer is heard to be only now. */
  openLater(remote: Addr): void {
    for (const connection of this.#connections) this.#open(connection, { remote, local: undefined });
  }

  #kindOf(addr: Addr): PathCandidate['kind'] {
    return this.#options.mapped.kindOf(addr);
  }

  #register(connection: ConnectionActor, { id, remote, local, stalled }: PathInfo): void {
    const { mapped } = this.#options;
    // First flights go to an address that is no place; a path leads somewhere.
    if (connection.paths.open.has(id) || mapped.lookup(remote)?.type === 'endpoint') return;
    connection.paths.opened(id, remote, local);
    if (stalled) connection.paths.step(id, 'stalled');
    this.#arrived(connection, { id, remote });
  }

  /** A path leads to `remote` now. */
  #arrived(connection: ConnectionActor, { id, remote }: Pick<PathInfo, 'id' | 'remote'>): void {
    const { known, metrics, clock } = this.#options;
    const kind = this.#kindOf(remote);
    known.on('open', remote, kind === 'relay', clock.now());
    metrics.add(countOf(kind, 'added'));
    if (kind === 'relay')
      connection.quic.setPathMaxIdleTimeout(id, RELAY_PATH_MAX_IDLE_TIMEOUT_MS, clock.now());
    if (isIp(kind) && !this.#direct.has(connection)) {
      this.#direct.add(connection);
      metrics.add('num_conns_direct');
    }
  }

  /** A path to `remote` ended; its address fares worse unless another connection still has a path there. */
  #unregistered(remote: Addr): void {
    const { metrics, known, clock } = this.#options;
    const kind = this.#kindOf(remote);
    metrics.add(countOf(kind, 'removed'));
    for (const { paths } of this.#connections)
      for (const path of paths.open.values()) if (path.remote === remote) return;
    known.on('abandon', remote, kind === 'relay', clock.now());
  }

  /** Picks the path for data, and has all connections follow. */
  select(trigger: SelectionTrigger): void {
    const before = this.#selected;
    const picked = this.#pick();
    const isSame =
      picked === undefined ? before === undefined : before !== undefined && isSameTuple(picked, before);
    this.#selected = picked;
    const reason = this.#reason(trigger, before, picked);
    if (!isSame) this.#options.onSelected(picked, reason);
    for (const connection of this.#connections) {
      this.#apply(connection, reason);
      // A relay that was gone for long may be back.
      if (trigger === 'tick') this.#openBackups(connection);
    }
  }

  /**
   * Opens what nobody else does: relays, so that there is something to fall back to, and custom paths, which upstream has only
   * if they were the first.
   */
  #openBackups(connection: ConnectionActor): void {
    const isRelayed = [...connection.paths.open.values()].some(
      ({ remote }) => this.#kindOf(remote) === 'relay',
    );
    for (const { addr } of this.#options.known) {
      const kind = this.#kindOf(addr);
      if (kind === 'custom' || (kind === 'relay' && !isRelayed))
        this.#open(connection, { remote: addr, local: undefined });
    }
  }

  #pick(): PathCandidate | undefined {
    const { policy, selector, log } = this.#options;
    const candidates: PathCandidate[] = [];
    for (const { paths, quic } of this.#connections)
      for (const { id, remote: to, local: from, rttMs, stalled } of quic.paths()) {
        const path = paths.open.get(id);
        if (path === undefined) continue;
        // Where a path moved to counts once we are told: whatever is selected is a path that we know.
        const { remote } = path;
        const local = remote === to ? from : path.local;
        candidates.push({ remote, local, kind: this.#kindOf(remote), rttMs, isStalled: stalled });
      }
    if (selector === undefined) return selectPath(candidates, this.#selected, policy);
    try {
      return selectPath(candidates, this.#selected, policy, selector);
    } catch (error) {
      log(() => `the path selector failed: ${String(error)}`);
      return selectPath(candidates, this.#selected, policy, biasedRttSelector);
    }
  }

  #reason(
    trigger: SelectionTrigger,
    before: PathCandidate | undefined,
    picked: PathCandidate | undefined,
  ): SelectionReason {
    if (this.#connections.size === 0) return 'lastConnectionClosed';
    if (trigger !== 'opened') return REASONS[trigger];
    const isSameTier =
      before !== undefined && picked !== undefined && (before.kind === 'relay') === (picked.kind === 'relay');
    return isSameTier ? 'betterRtt' : 'established';
  }

  /** Has one connection follow the selection. */
  #apply(connection: ConnectionActor, reason: SelectionReason): void {
    const selected = this.#selected;
    const { quic, paths } = connection;
    if (quic.closeReason !== undefined) return;
    if (selected === undefined) {
      paths.select(undefined, reason);
      return;
    }
    let here: PathId | undefined;
    for (const path of paths.open.values()) if (isSameTuple(path, selected)) here = path.id;
    if (here === undefined) this.#open(connection, selected);
    // Rule R11: with a direct path in use, other direct paths are surplus. While it is not open here, they are all there is.
    const areOthersSurplus = quic.side === 'client' && here !== undefined && isIp(selected.kind);
    // First what is to carry data: at no time should nothing be preferred.
    if (here !== undefined) this.#setStatus(connection, here, true);
    for (const { id, remote } of [...paths.open.values()]) {
      if (id === here) continue;
      if (areOthersSurplus && isIp(this.#kindOf(remote))) this.#close(connection, id);
      else this.#setStatus(connection, id, false);
    }
    paths.select(here, reason);
    connection.wake();
  }

  #setStatus({ quic }: ConnectionActor, id: PathId, isSelected: boolean): void {
    ignoringPathErrors(
      () => void quic.setPathStatus(id, isSelected ? 'available' : 'backup'),
      (code) => {
        if (!isForLackOfIds(code)) return;
        this.#isMoveBlocked = true;
        this.#options.onOpenBlocked();
      },
    );
  }

  #close({ quic }: ConnectionActor, id: PathId): void {
    // Refused when it is the last one.
    ignoringPathErrors(() => quic.closePath(id, APPLICATION_ABANDON_PATH, this.#options.clock.now()));
  }

  /** Opens a path on a connection of ours as client, unless it has it. */
  #open(connection: ConnectionActor, { remote, local }: PathTuple): void {
    const { quic, paths } = connection;
    if (quic.side !== 'client' || quic.closeReason !== undefined) return;
    if (!quic.multipath && !this.#options.canMigrate) return;
    for (const path of paths.open.values()) if (isSameTuple(path, { remote, local })) return;
    const isSelected = this.#selected !== undefined && isSameTuple(this.#selected, { remote, local });
    // What starts at no socket of ours has no local address.
    const from = isIp(this.#kindOf(remote)) ? local : undefined;
    try {
      const status = isSelected ? 'available' : 'backup';
      quic.openPathEnsure({ remote, local: from }, status, this.#options.clock.now());
      connection.wake();
    } catch (error) {
      if (!(error instanceof PathError)) throw error;
      if (!isForLackOfIds(error.code)) {
        this.#options.log(() => `a path could not be opened: ${error.message}`);
        return;
      }
      this.#blocked.set(remote, { remote, local });
      this.#options.onOpenBlocked();
    }
  }
}

function infoOf({ quic }: ConnectionActor, id: PathId): PathInfo | undefined {
  return quic.paths().find((info) => info.id === id);
}

function isIp(kind: PathCandidate['kind']): boolean {
  return kind === 'ipv4' || kind === 'ipv6';
}

function countOf(kind: PathCandidate['kind'], what: 'added' | 'removed'): MetricName {
  return `transport_${isIp(kind) ? 'ip' : (kind as 'relay' | 'custom')}_paths_${what}`;
}

/** The engine may have given a path up a moment ago. */
function ignoringPathErrors(call: () => void, onError?: (code: PathError['code']) => void): void {
  try {
    call();
  } catch (error) {
    if (!(error instanceof PathError)) throw error;
    onError?.(error.code);
  }
}

function isForLackOfIds(code: PathError['code']): boolean {
  return code === 'remoteCidsExhausted' || code === 'maxPathIdReached';
}
