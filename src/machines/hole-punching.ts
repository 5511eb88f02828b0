/**
 * When another round of hole punching is worth while (upstream `remote_state.rs`, `trigger_holepunching`), and what is done
 * instead where an engine has no NAT traversal. Pure.
 *
 * @module
 */
import type { Millis } from '../base/clock.ts';
import type { Addr } from '../base/socket-addr.ts';

/** With the same candidates a round is repeated at most so often, ms; upstream `HOLEPUNCH_ATTEMPTS_INTERVAL`. */
export const HOLEPUNCH_ATTEMPTS_INTERVAL_MS = 5_000;

/** Upper bound of what the interval of probes grows to, ms. */
export const MAX_PROBE_INTERVAL_MS = 60_000;

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

/** Probes that were sent to a peer's addresses. */
export interface ProbeAttempt {
  readonly remote: readonly Addr[];
  readonly at: Millis;
  /** Times that the same addresses were probed before, without a direct path in between. */
  readonly repeats: number;
}

/** When the same addresses are probed again after an attempt. */
export function probeAgainAt({ at, repeats }: ProbeAttempt): Millis {
  return at + Math.min(HOLEPUNCH_ATTEMPTS_INTERVAL_MS * 2 ** repeats, MAX_PROBE_INTERVAL_MS);
}

/**
 * Decides about the next probes of an engine without NAT traversal: the client asks for no help and offers no candidates, it
 * knocks where the peer is known to be. Ever more rarely, as nothing tells it that the peer's door has opened.
 * @param remote - Direct addresses that are known, and lead nowhere yet.
 */
export function decideProbe(
  remote: readonly Addr[],
  last: ProbeAttempt | undefined,
  now: Millis,
): PunchDecision {
  if (remote.length === 0) return { type: 'wait' };
  if (last === undefined || remote.some((addr) => !last.remote.includes(addr))) return { type: 'now' };
  const delayMs = probeAgainAt(last) - now;
  return delayMs <= 0 ? { type: 'now' } : { type: 'later', delayMs };
}
