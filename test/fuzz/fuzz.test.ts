import { describe, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { fromHex } from '../../src/base/bytes.ts';
import { distill, FailingInput, Fuzzer } from './fuzzer.ts';
import { FuzzFailure, must, type Target } from './target.ts';
import { TARGETS } from './targets/index.ts';

/** What each target may take here, ms: `npm run fuzz` does the real work. */
const BUDGET_MS = 1_500;
const MAX_MUTATIONS = 500;
/** Another one finds other things; a failure prints it. */
const SEED = Number(process.env['FUZZ_SEED'] ?? 1);

describe.each(TARGETS.map((target) => [target.name, target] as const))('%s', (name, target) => {
  test(`the corpus and mutations of it, seed ${SEED}`, () => {
    const corpus = readFileSync(new URL(`./corpus/${name}.txt`, import.meta.url), 'utf8');
    const stored = corpus.split('\n').filter((line) => line !== '');
    const fuzzer = new Fuzzer(target, SEED, new Uint32Array(0));
    const until = performance.now() + BUDGET_MS;
    fuzzer.load([target.seeds()[0]!]);
    for (const line of stored) {
      fuzzer.load([fromHex(line)]);
      if (performance.now() > until) break;
    }
    for (let i = 0; i < MAX_MUTATIONS && performance.now() < until; i++) fuzzer.step();
    expect(fuzzer.executions).toBeGreaterThan(10);
  });
});

describe('the loop', () => {
  /** Fails on inputs that start with three certain bytes, which nobody guesses at once. */
  function lock(counters: Uint32Array): Target {
    return {
      name: 'lock',
      decoders: [],
      maxLength: 8,
      maxWork: 100,
      seeds: () => [new Uint8Array(4)],
      run: (input) => {
        if (input[0] !== 0x2a) return;
        counters[0]!++;
        if (input[1] !== 0x17) return;
        counters[1]!++;
        must(input[2] !== 0x99, 'open');
      },
    };
  }

  function executionsUntilOpen(counters: Uint32Array, limit: number): number {
    const fuzzer = new Fuzzer(lock(counters), SEED, counters);
    try {
      fuzzer.load([new Uint8Array(4)]);
      while (fuzzer.executions < limit) fuzzer.step();
      return limit;
    } catch (error) {
      if (!(error instanceof FailingInput)) throw error;
      expect(error.cause).toBeInstanceOf(FuzzFailure);
      expect([...error.input.subarray(0, 3)]).toEqual([0x2a, 0x17, 0x99]);
      return fuzzer.executions;
    }
  }

  test('is led by coverage to what chance would not find', () => {
    expect(executionsUntilOpen(new Uint32Array(2), 100_000)).toBeLessThan(100_000);
  });

  test('does the same for the same seed', () => {
    expect(executionsUntilOpen(new Uint32Array(2), 100_000)).toBe(
      executionsUntilOpen(new Uint32Array(2), 100_000),
    );
  });

  test('stops at too much work', () => {
    const counters = new Uint32Array(1);
    const target: Target = { ...lock(counters), run: () => void (counters[0] = 101) };
    expect(() => new Fuzzer(target, SEED, counters).execute(new Uint8Array(1))).toThrow('101 branches');
  });

  test('keeps the few inputs that reach everything', () => {
    const reach = new Map([
      [1, new Set([1, 2])],
      [2, new Set([2, 3])],
      [3, new Set([1, 2, 3])],
    ]);
    const inputs = [1, 2, 3].map((byte) => Uint8Array.of(byte));
    expect(distill(inputs, (input) => reach.get(input[0]!)!)).toEqual([Uint8Array.of(3)]);
  });
});
