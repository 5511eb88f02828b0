/**
 * A coverage-guided loop: what reaches something new is kept and changed further.
 *
 * @module
 */
import { SimRng } from '../support/sim-rng.ts';
import { mutate } from './mutate.ts';
import { FuzzFailure, type Target } from './target.ts';

/** Executions spent on one corpus entry before the next is picked. */
const ROUNDS_PER_PICK = 32;
/** Recent discoveries are picked this often. */
const RECENT_SHARE = 0.4;
const RECENT = 16;

/** A failure with the input that causes it. */
export class FailingInput extends Error {
  override readonly name = 'FailingInput';
  readonly input: Uint8Array;

  constructor(input: Uint8Array, cause: unknown) {
    super(cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause), { cause });
    this.input = input;
  }
}

/** The magnitude of a count: how often something ran matters, but not exactly. 0 to 8. */
function magnitude(count: number): number {
  return count < 4 ? count : count < 8 ? 4 : count < 16 ? 5 : count < 32 ? 6 : count < 128 ? 7 : 8;
}

export class Fuzzer {
  readonly target: Target;
  readonly corpus: Uint8Array[] = [];
  executions = 0;
  /** Most branches that one input ran through. */
  mostWork = 0;
  readonly #rng: SimRng;
  readonly #counters: Uint32Array;
  /** Highest magnitudes seen, by counter. */
  readonly #seen: Uint8Array;
  #pick: Uint8Array = new Uint8Array(0);
  #rounds = 0;

  /** @param counters - One per branch; counted up by what runs. Empty: no guidance, nothing is kept. */
  constructor(target: Target, seed: number, counters: Uint32Array) {
    this.target = target;
    this.#rng = new SimRng(seed);
    this.#counters = counters;
    this.#seen = new Uint8Array(counters.length);
  }

  /** Branches reached so far. */
  isReached(counter: number): boolean {
    return this.#seen[counter]! > 0;
  }

  /** Takes inputs in, those that reach something new. */
  load(inputs: readonly Uint8Array[]): void {
    for (const input of inputs) {
      if (this.execute(input) || this.corpus.length === 0 || this.#counters.length === 0)
        this.corpus.push(input);
    }
  }

  /** One mutation of one entry. Returns the input if it was kept. */
  step(): Uint8Array | undefined {
    const rng = this.#rng;
    const { corpus, target } = this;
    if (this.#rounds-- <= 0) {
      this.#rounds = ROUNDS_PER_PICK;
      const recent = rng.chance(RECENT_SHARE) ? Math.min(RECENT, corpus.length) : corpus.length;
      this.#pick = corpus[corpus.length - 1 - rng.below(recent)]!;
    }
    const input = mutate(this.#pick, {
      rng,
      corpus,
      dictionary: target.dictionary ?? [],
      maxLength: target.maxLength,
    });
    if (!this.execute(input)) return undefined;
    corpus.push(input);
    return input;
  }

  /** Runs one input. True when it reached something new. @throws {FailingInput} */
  execute(input: Uint8Array): boolean {
    const counters = this.#counters;
    const seen = this.#seen;
    counters.fill(0);
    this.executions++;
    try {
      this.target.run(input.slice());
    } catch (error) {
      throw new FailingInput(input, error);
    }
    let work = 0;
    let isNew = false;
    for (let i = 0; i < counters.length; i++) {
      const count = counters[i]!;
      if (count === 0) continue;
      work += count;
      const size = magnitude(count);
      if (size <= seen[i]!) continue;
      seen[i] = size;
      isNew = true;
    }
    if (work > this.mostWork) this.mostWork = work;
    if (work > this.target.maxWork)
      throw new FailingInput(input, new FuzzFailure(`${work} branches, allowed are ${this.target.maxWork}`));
    return isNew;
  }
}

/**
 * The few of `inputs` that together reach every branch that all of them do, short ones first.
 * @param reach - Branches that an input runs through.
 */
export function distill(
  inputs: readonly Uint8Array[],
  reach: (input: Uint8Array) => ReadonlySet<number>,
): Uint8Array[] {
  const entries = inputs
    .map((input) => ({ input, reached: reach(input) }))
    .sort((a, b) => a.input.length - b.input.length);
  const missing = new Set(entries.flatMap(({ reached }) => [...reached]));
  const kept: Uint8Array[] = [];
  while (missing.size > 0) {
    let best = entries[0]!;
    let bestGain = 0;
    for (const entry of entries) {
      let gain = 0;
      for (const branch of entry.reached) if (missing.has(branch)) gain++;
      if (gain <= bestGain) continue;
      best = entry;
      bestGain = gain;
    }
    kept.push(best.input);
    for (const branch of best.reached) missing.delete(branch);
  }
  return kept;
}
