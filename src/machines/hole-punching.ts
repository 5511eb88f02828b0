/**
 * When another round of hole punching is worth while (upstream `remote_state.rs`, `trigger_holepunching`). Pure.
 *
 * @module
 */
import type { Millis } from '../base/clock.ts';
import type { Addr } from '../base/socket-addr.ts';

/** With the same candidates a round is repeated at most so often, ms; upstream `HOLEPUNCH_ATTEMPTS_INTERVAL`. */
export const HOLEPUNCH_ATTEMPTS_INTERVAL_MS = 5_000;

/** The candidates of a round. */
export interface Candidates {
  readonly local: readonly Addr[];
  readonly remote: readonly Addr[];
}

/** A round that was started. */
export interface PunchAttempt extends Candidates {
  readonly at: Millis;
}

/** What to do about hole punching. */
export type PunchDecision =
  /** Nothing is to be gained: the next candidate says when to look again. */
  { readonly type: 'wait' } | { readonly type: 'now' } | { readonly type: 'later'; readonly delayMs: Millis };

/** True when there is a candidate that the last round did not have. Those that went do not count. */
export function hasNewCandidates(now: Candidates, last: Candidates | undefined): boolean {
  if (last === undefined) return true;
  return (
    now.local.some((addr) => !last.local.includes(addr)) ||
    now.remote.some((addr) => !last.remote.includes(addr))
  );
}

/**
 * Decides about the next round. The first one does not wait for the peer's candidates: with ours it can begin to probe, and its
 * own arrive with its first probe. That saves a round trip.
 */
export function decidePunch(
  candidates: Candidates,
  last: PunchAttempt | undefined,
  now: Millis,
): PunchDecision {
  if (candidates.local.length === 0) return { type: 'wait' };
  if (last === undefined || hasNewCandidates(candidates, last)) return { type: 'now' };
  if (candidates.remote.length === 0) return { type: 'wait' };
  const delayMs = last.at + HOLEPUNCH_ATTEMPTS_INTERVAL_MS - now;
  return delayMs <= 0 ? { type: 'now' } : { type: 'later', delayMs };
}
