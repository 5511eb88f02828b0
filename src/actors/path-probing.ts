/**
 * How direct paths to one peer are found by an engine that can migrate, and no more (RFC 9000 §9): the client knocks at each
 * address of the peer that it knows. The peer neither knocks back nor tells further addresses.
 *
 * @module
 */
import type { Addr } from '../base/socket-addr.ts';
import { decideProbe, probeAgainAt, type ProbeAttempt } from '../machines/hole-punching.ts';
import { foundAddrs, tellDecision, type PathFinder, type PathFinderOptions } from './path-finder.ts';

/** Probes of known addresses, until one of them leads to the peer. */
export class PathProbing implements PathFinder {
  readonly #options: PathFinderOptions;
  #last: ProbeAttempt | undefined;

  constructor(options: PathFinderOptions) {
    this.#options = options;
  }

  /** Nothing: there is no way to tell. */
  offer(): void {}

  consider(isScheduled = false): void {
    const { shared, paths, send } = this.#options;
    if (shared.policy === 'relay' || !paths.hasClient) return;
    if (paths.isHeardDirectly) {
      this.#last = undefined;
      return;
    }
    tellDecision(decideProbe(foundAddrs(this.#options), this.#last, shared.clock.now()), isScheduled, send);
  }

  networkChanged(): void {
    this.#last = undefined;
    this.consider();
  }

  start(): void {
    const { shared, paths, send, log } = this.#options;
    const { clock, metrics } = shared;
    const remote = foundAddrs(this.#options);
    if (remote.length === 0 || !paths.hasClient) return;
    log(() => `probes ${remote.map(({ text }) => text).join(', ')}`);
    for (const addr of remote) paths.openLater(addr);
    metrics.add('holepunch_attempts');
    const now = clock.now();
    this.#last = { remote, at: now, repeats: this.#repeatsOf(remote) };
    send({ type: 'punchStarted' });
    // Silence is all that a failure is.
    send({ type: 'punch', decision: 'later', delayMs: probeAgainAt(this.#last) - now });
  }

  #repeatsOf(remote: readonly Addr[]): number {
    const last = this.#last;
    return last !== undefined && remote.every((addr) => last.remote.includes(addr)) ? last.repeats + 1 : 0;
  }
}
