/**
 * What a simulated scenario is, and the traffic that most of them carry.
 *
 * @module
 */
import type { Millis } from '../../src/base/clock.ts';
import type { Direction, StreamId } from '../../src/quic/engine.ts';
import type { Connected, Pair } from '../support/pair.ts';
import type { SimConnection } from '../support/sim-connection.ts';

/** A situation that must end well for every seed. */
export interface Scenario {
  /** As given to `npm run sim -- --scenario`. */
  readonly name: string;
  /** One sentence: what happens, and what has to hold. */
  readonly claim: string;
  /** Runs one instance to its end. @throws {Error} when something that must hold does not. */
  run(seed: number): void;
}

interface Plan {
  readonly from: SimConnection;
  readonly to: SimConnection;
  readonly data: Uint8Array;
  readonly reply: Uint8Array | undefined;
  id: StreamId | undefined;
  hasReplied: boolean;
}

export interface TrafficOptions {
  readonly streams?: number;
  /** Bytes per stream and direction, at most. */
  readonly maxBytes?: number;
  readonly withinMs?: Millis;
}

/**
 * Streams of random sizes in both directions, bidirectional ones answered, all at once. Runs until every byte and every FIN
 * arrived, and compares.
 */
export function exchange(pair: Pair, both: Connected, options: TrafficOptions = {}): void {
  startExchange(pair, both, options)();
}

/** Starts an {@link exchange}; the returned function runs it to its end. */
export function startExchange(
  pair: Pair,
  { client, server }: Connected,
  options: TrafficOptions = {},
): () => void {
  const { streams = 6, maxBytes = 40_000, withinMs = 180_000 } = options;
  const { rng } = pair;
  const plans: Plan[] = [];
  for (let i = 0; i < streams; i++) {
    const [from, to] = rng.chance(0.5) ? [client, server] : [server, client];
    const dir: Direction = rng.chance(0.5) ? 'bi' : 'uni';
    const data = pair.bytes(rng.below(maxBytes + 1));
    const reply = dir === 'bi' ? pair.bytes(rng.below(maxBytes + 1)) : undefined;
    const plan: Plan = { from, to, data, reply, id: undefined, hasReplied: false };
    plans.push(plan);
    from.openSoon(dir, (id) => {
      plan.id = id;
      from.send(id, data);
    });
  }
  const isDone = (plan: Plan): boolean => {
    const { from, to, id, reply } = plan;
    if (id === undefined) return false;
    if (reply !== undefined && !plan.hasReplied && to.accepted.includes(id)) {
      to.send(id, reply);
      plan.hasReplied = true;
    }
    return to.isFinished(id) && (reply === undefined || from.isFinished(id));
  };
  return () => {
    pair.runUntil(
      () => {
        pair.requireOpen(client, server);
        // No short cut: every plan may have an answer to send.
        return plans.filter(isDone).length === plans.length;
      },
      { withinMs, what: 'all streams complete in both directions' },
    );
    for (const { from, to, id, data, reply } of plans) {
      pair.requireEqual(to.data(id!), data, `stream ${id}`);
      if (reply !== undefined) pair.requireEqual(from.data(id!), reply, `the answer on stream ${id}`);
    }
  };
}
