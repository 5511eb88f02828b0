/**
 * What a remote is asked and told, through its inbox.
 *
 * @module
 */
import type { TransportAddr } from '../base/transport-addr.ts';
import type { ConnectionEvent } from '../quic/engine.ts';
import type { Reply, Sender } from '../transport/channel.ts';
import type { ConnectionActor } from './connection-actor.ts';
import type { LookupItem } from './lookup-registry.ts';
import type { RemoteInfo } from './remote-info.ts';

/** Commands that may wait for one remote; upstream `remote_state.rs`. */
export const REMOTE_INBOX_CAPACITY = 16;
/** Facts of the connections that may wait, of each kind; upstream's broadcasts, per connection there. */
const FACTS_CAPACITY = 32;

/** What happens to the paths of a connection. */
export type PathFact = Extract<
  ConnectionEvent,
  { type: 'pathEstablished' | 'pathAbandoned' | 'pathStalled' | 'pathResumed' | 'pathMigrated' }
>;

/** What is asked of a remote, and what it is told. */
export type RemoteCommand =
  /** Is any address known? Answered as soon as one is. */
  | { readonly type: 'resolve'; readonly addrs: readonly TransportAddr[]; readonly reply: Reply<void> }
  | { readonly type: 'addConnection'; readonly connection: ConnectionActor; readonly reply: Reply<void> }
  | { readonly type: 'remoteInfo'; readonly reply: Reply<RemoteInfo> }
  | { readonly type: 'networkChange'; readonly isMajor: boolean }
  | { readonly type: 'pathEvent'; readonly connection: ConnectionActor; readonly event: PathFact }
  /** The peer has other candidates for hole punching. */
  | { readonly type: 'natCandidates' }
  | { readonly type: 'connectionClosed'; readonly connection: ConnectionActor }
  | { readonly type: 'directAddrs' }
  | { readonly type: 'found'; readonly item: LookupItem };

/** What happens to those that find no room. Facts that are dropped are made up for by reading all paths again. */
export const REMOTE_OVERFLOW = {
  resolve: 'wait',
  addConnection: 'wait',
  remoteInfo: 'wait',
  networkChange: 'dropNewest',
  pathEvent: 'dropNewest',
  natCandidates: 'dropNewest',
  connectionClosed: 'wait',
  directAddrs: 'dropNewest',
  found: 'wait',
} as const;

/** The lane of each in upstream's order of urgency; those that are not named are in the first. */
export const REMOTE_LANES = {
  pathEvent: 1,
  natCandidates: 2,
  connectionClosed: 3,
  directAddrs: 4,
  found: 5,
} as const;

/** How many may wait in each lane. */
export const REMOTE_CAPACITIES = [REMOTE_INBOX_CAPACITY, FACTS_CAPACITY, 1, FACTS_CAPACITY, 1, 1] as const;

/** How one remote is talked to. */
export type RemoteSender = Sender<RemoteCommand, typeof REMOTE_OVERFLOW>;
