/**
 * The application's own say in which path carries data.
 *
 * @module
 */
import type { MappedAddrs } from './actors/mapped-addrs.ts';
import type { Millis } from './base/clock.ts';
import type { RemoteAddr } from './base/remote-addr.ts';
import type { Addr } from './base/socket-addr.ts';
import type { PathCandidate, PathSelector as MappedSelector } from './machines/path-selection.ts';

/** An open path to choose from. The same path on several connections is one, with its lowest round-trip time. */
export interface PathChoice {
  /** Where it leads. */
  readonly remoteAddr: RemoteAddr;
  /** Bound address of the socket it starts at; undefined for relays and custom transports. */
  readonly localAddr: Addr | undefined;
  /** Smoothed round-trip time, ms. */
  readonly rttMs: Millis;
  /** Nothing was acknowledged there for two PTOs. Such paths are offered only if all are like that. */
  readonly isStalled: boolean;
}

/**
 * Picks one of the candidates for data, or undefined for none; `current` is the one in use, if it is still there. Called when
 * paths open, close, stall or move. When it throws, or returns something else, the usual choice is made.
 */
export type PathSelector = (
  candidates: readonly PathChoice[],
  current: PathChoice | undefined,
) => PathChoice | undefined;

/** The same for addresses as the engine knows them. */
export function toMappedSelector(selector: PathSelector, mapped: MappedAddrs): MappedSelector {
  return (candidates, current) => {
    const choices = new Map<PathChoice, PathCandidate>();
    let chosen: PathChoice | undefined;
    for (const candidate of candidates) {
      const { remote, local, rttMs, isStalled } = candidate;
      const remoteAddr = mapped.describe(remote);
      const choice = {
        remoteAddr,
        localAddr: remoteAddr.type === 'ip' ? local : undefined,
        rttMs,
        isStalled,
      };
      choices.set(choice, candidate);
      if (candidate === current) chosen = choice;
    }
    const picked = selector([...choices.keys()], chosen);
    if (picked === undefined) return undefined;
    const candidate = choices.get(picked);
    if (candidate === undefined) throw new TypeError('a path selector returns one of its candidates');
    return candidate;
  };
}
