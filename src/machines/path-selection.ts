/**
 * Which of all open paths to a peer carries data (upstream `iroh/src/socket/biased_rtt_path_selector.rs`). Pure.
 *
 * @module
 */
import type { Millis } from '../base/clock.ts';
import type { Addr } from '../base/socket-addr.ts';

/** How much better an IPv6 path counts, ms; upstream `IPV6_RTT_ADVANTAGE`. */
export const IPV6_RTT_ADVANTAGE_MS = 3;
/** A path of the same tier must be better by so much, ms; upstream `RTT_SWITCHING_MIN`. */
export const RTT_SWITCHING_MIN_MS = 5;

/** Why data goes another way. */
export type SelectionReason =
  | 'established'
  | 'betterRtt'
  | 'timedOut'
  | 'closedByPeer'
  | 'closedByUs'
  | 'unusableAfterNetworkChange'
  | 'validationFailed'
  | 'moved'
  | 'connectionClosed'
  | 'stalled'
  | 'resumed'
  | 'lastConnectionClosed';

/** What carries a path's datagrams. */
export type PathKind = 'ipv4' | 'ipv6' | 'relay' | 'custom';

/** A path as the selection sees it. */
export interface PathCandidate {
  /** Where it leads; relays and custom transports have mapped addresses. */
  readonly remote: Addr;
  /** Where it starts; undefined when that is not known yet. */
  readonly local: Addr | undefined;
  readonly kind: PathKind;
  /** Smoothed round-trip time, ms. */
  readonly rttMs: Millis;
  /** Nothing was acknowledged there for two PTOs. */
  readonly isStalled: boolean;
}

/** The two ends of a path. */
export type PathTuple = Pick<PathCandidate, 'remote' | 'local'>;

/** What an endpoint may use. */
export type PathPolicy =
  /** Direct paths when there are any, relays else. */
  | 'any'
  /** Never a relay. */
  | 'direct'
  /** Relays only. */
  | 'relay';

/** Picks a path, or undefined for none. `current` is among `candidates`, or undefined. */
export type PathSelector = (
  candidates: readonly PathCandidate[],
  current: PathCandidate | undefined,
) => PathCandidate | undefined;

/** True for the same path; an end that is not known yet matches any. */
export function isSameTuple(a: PathTuple, b: PathTuple): boolean {
  return a.remote === b.remote && (a.local === b.local || a.local === undefined || b.local === undefined);
}

/** True when the policy lets data go over such a path. */
export function isAllowed(policy: PathPolicy, kind: PathKind): boolean {
  return policy === 'any' || (policy === 'relay') === (kind === 'relay');
}

/** The round-trip time with what speaks for the kind taken off, ms. */
function biasedRtt({ kind, rttMs }: PathCandidate): Millis {
  return kind === 'ipv6' ? rttMs - IPV6_RTT_ADVANTAGE_MS : rttMs;
}

/** 0: used while one is there; 1: relays, only when nothing else is. */
function tierOf({ kind }: PathCandidate): number {
  return kind === 'relay' ? 1 : 0;
}

/** Negative when `a` is better. */
function compare(a: PathCandidate, b: PathCandidate): number {
  return tierOf(a) - tierOf(b) || biasedRtt(a) - biasedRtt(b);
}

/** Upstream's selector: direct before relay, then the lower biased round-trip time, with hysteresis inside a tier. */
export const biasedRttSelector: PathSelector = (candidates, current) => {
  let best: PathCandidate | undefined;
  for (const candidate of candidates) {
    if (best === undefined || compare(candidate, best) < 0) best = candidate;
  }
  if (best === undefined || current === undefined || tierOf(best) !== tierOf(current)) return best;
  return biasedRtt(best) + RTT_SWITCHING_MIN_MS <= biasedRtt(current) ? best : current;
};

/**
 * Picks the path for data. The same path on several connections counts with its lowest round-trip time; stalled ones count
 * only if all are.
 * @param open - Open paths of all connections to the peer.
 * @param current - The path in use.
 */
export function selectPath(
  open: readonly PathCandidate[],
  current: PathTuple | undefined,
  policy: PathPolicy,
  selector: PathSelector = biasedRttSelector,
): PathCandidate | undefined {
  const allowed = open.filter(({ kind }) => isAllowed(policy, kind));
  const alive = allowed.filter(({ isStalled }) => !isStalled);
  const candidates: PathCandidate[] = [];
  for (const candidate of alive.length > 0 ? alive : allowed) {
    const index = candidates.findIndex((known) => isSameTuple(known, candidate));
    if (index < 0) candidates.push(candidate);
    else if (candidate.rttMs < candidates[index]!.rttMs) candidates[index] = candidate;
  }
  return selector(candidates, current && candidates.find((candidate) => isSameTuple(candidate, current)));
}
