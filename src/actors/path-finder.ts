/**
 * How direct paths to one peer are found: by hole punching (upstream `iroh/src/socket/remote_map/remote_state.rs`,
 * `trigger_holepunching`, `do_holepunching`).
 *
 * @module
 */
import type { Addr } from '../base/socket-addr.ts';
import {
  decidePunch,
  type Candidates,
  type PunchAttempt,
  type PunchDecision,
} from '../machines/hole-punching.ts';
import type { KnownAddrs } from '../machines/known-addrs.ts';
import type { RemoteEvent } from '../machines/remote.ts';
import { NatTraversalError } from '../quic/paths/nat-traversal.ts';
import type { ConnectionActor } from './connection-actor.ts';
import type { RemotePaths } from './remote-paths.ts';
import type { RemoteShared } from './remote.ts';

/** What a path finder is made with. */
export interface PathFinderOptions {
  readonly shared: RemoteShared;
  readonly known: KnownAddrs;
  readonly paths: RemotePaths;
  /** Tells the chart. */
  readonly send: (event: RemoteEvent) => void;
  readonly log: (line: () => string) => void;
}

/** Finds direct paths to one peer. */
export interface PathFinder {
  /** Tells the peer where we are reached, as far as it did not know. */
  offer(connection: ConnectionActor): void;
  /** Something may have changed: tells the chart what is to be done. @param isScheduled - It waits for a moment already. */
  consider(isScheduled?: boolean): void;
  /** Another network: what was tried in the old one counts for nothing. */
  networkChanged(): void;
  /** Starts a round. */
  start(): void;
}

/** Tells the chart what was decided, unless it would change nothing: each further connection to a peer decides anew. */
export function tellDecision(
  decision: PunchDecision,
  isScheduled: boolean,
  send: (event: RemoteEvent) => void,
): void {
  if (decision.type === 'wait' || (decision.type === 'later' && isScheduled)) return;
  const delayMs = decision.type === 'later' ? decision.delayMs : 0;
  send({ type: 'punch', decision: decision.type, delayMs });
}

/** Direct addresses from elsewhere than the peer itself, unless a path is open there. */
export function foundAddrs({ known, shared: { mapped } }: PathFinderOptions): Addr[] {
  const found: Addr[] = [];
  for (const { addr, isRelay, status } of known)
    if (!isRelay && status !== 'open' && mapped.lookup(addr) === undefined) found.push(addr);
  return found;
}

/** Rounds of n0's NAT traversal: both sides send to each other at once. */
export class HolePunching implements PathFinder {
  readonly #options: PathFinderOptions;
  #last: PunchAttempt | undefined;

  constructor(options: PathFinderOptions) {
    this.#options = options;
  }

  offer(connection: ConnectionActor): void {
    const { policy, directAddrs } = this.#options.shared;
    if (policy === 'relay') return;
    const own = directAddrs.value.map(({ addr }) => addr);
    const { quic } = connection;
    ignoringRefusals(() => {
      for (const addr of quic.localNatAddresses()) if (!own.includes(addr)) quic.removeNatAddress(addr);
      const offered = quic.localNatAddresses();
      for (const addr of own) if (!offered.includes(addr)) quic.addNatAddress(addr);
    });
    connection.wake();
  }

  /** The oldest connection of which we are the client. */
  #punchable(): ConnectionActor | undefined {
    for (const connection of this.#options.paths.connections)
      if (connection.quic.side === 'client' && connection.error === undefined) return connection;
    return undefined;
  }

  #candidates({ quic }: ConnectionActor): Candidates {
    let local: Addr[] = [];
    let remote: Addr[] = [];
    ignoringRefusals(() => {
      // What the peer was offered is what a round takes: addresses of this moment may still wait to be.
      local = quic.localNatAddresses();
      remote = quic.remoteNatAddresses();
    });
    return { local, remote: [...new Set([...remote, ...foundAddrs(this.#options)])] };
  }

  networkChanged(): void {
    this.consider();
  }

  consider(isScheduled = false): void {
    const { shared, send } = this.#options;
    const connection = shared.policy === 'relay' ? undefined : this.#punchable();
    if (connection === undefined) return;
    tellDecision(
      decidePunch(this.#candidates(connection), this.#last, shared.clock.now()),
      isScheduled,
      send,
    );
  }

  start(): void {
    const { shared, send, log } = this.#options;
    const { clock, metrics } = shared;
    const connection = this.#punchable();
    if (connection === undefined) return;
    const candidates = this.#candidates(connection);
    try {
      const probed = connection.quic.initiateNatRound(clock.now(), foundAddrs(this.#options));
      log(
        () =>
          `hole punching: ${probed.map(({ text }) => text).join(', ') || 'its addresses are not known yet'}`,
      );
    } catch (error) {
      if (!(error instanceof NatTraversalError)) throw error;
      log(() => `hole punching: ${error.message}`);
      // Candidates may be there in a moment; everything else stays as it is for this connection.
      if (error.code === 'notEnoughAddresses') send({ type: 'punchFailed' });
      return;
    }
    metrics.add('holepunch_attempts');
    this.#last = { ...candidates, at: clock.now() };
    send({ type: 'punchStarted' });
    connection.wake();
  }
}

/** The peer does not know the extension, or takes no more addresses. */
function ignoringRefusals(call: () => void): void {
  try {
    call();
  } catch (error) {
    if (!(error instanceof NatTraversalError)) throw error;
  }
}
