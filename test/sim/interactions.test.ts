/**
 * Random lists of operations on a connected pair: whatever an application does, and whatever the network does to it, no rule
 * breaks, no byte changes, and nothing is left behind. fast-check shortens a list that fails.
 *
 * `SIM_RUNS=1000` runs more lists; `SIM_SEED=n` repeats one run.
 */
import { test } from '@jest/globals';
import fc from 'fast-check';
import { Interactions, type Operation } from './interactions.ts';

const RUNS = Number(process.env['SIM_RUNS'] ?? 30);
const SEED = Number(process.env['SIM_SEED'] ?? Date.now() % 1_000_000_000);

const side = fc.constantFrom('client' as const, 'server' as const);
/** Picks a stream, path or datagram by its place among those that exist. */
const pick = fc.nat(20);
const dir = fc.constantFrom('bi' as const, 'uni' as const);
const gate = fc.constantFrom('up' as const, 'down' as const);

const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ type: fc.constant('open' as const), side, dir }) },
  {
    weight: 8,
    arbitrary: fc.record({
      type: fc.constant('write' as const),
      side,
      pick,
      bytes: fc.integer({ min: 0, max: 60_000 }),
    }),
  },
  { weight: 4, arbitrary: fc.record({ type: fc.constant('finish' as const), side, pick }) },
  {
    weight: 2,
    arbitrary: fc.record({ type: fc.constant('reset' as const), side, pick, code: fc.nat(1 << 30) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ type: fc.constant('stop' as const), side, pick, code: fc.nat(1 << 30) }),
  },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('reading' as const), side, isOn: fc.boolean() }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('datagram' as const), side, bytes: fc.nat(1_200) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('priority' as const),
      side,
      pick,
      priority: fc.integer({ min: -3, max: 3 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('updateKeys' as const), side }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('openPath' as const), isBackup: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('closePath' as const), side, pick }) },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant('pathStatus' as const), side, pick, isBackup: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('rebind' as const) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('networkChange' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('mtu' as const),
      bytes: fc.integer({ min: 1_200, max: 1_500 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ type: fc.constant('drop' as const), gate, count: fc.integer({ min: 1, max: 6 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant('hold' as const),
      gate,
      count: fc.integer({ min: 1, max: 6 }),
      ms: fc.integer({ min: 1, max: 200 }),
    }),
  },
  {
    weight: 10,
    arbitrary: fc.record({ type: fc.constant('run' as const), ms: fc.oneof(fc.nat(30), fc.nat(2_000)) }),
  },
);
/** At the end, or not at all: what comes after a close is about one operation more. */
const ending = fc.option(fc.record({ type: fc.constant('close' as const), side, code: fc.nat(1 << 30) }), {
  nil: undefined,
});

test('operations in any order, under loss and reordering', () => {
  fc.assert(
    fc.property(
      fc.nat(1 << 30),
      fc.array(operation, { minLength: 5, maxLength: 60, size: 'max' }),
      ending,
      (seed, operations, end) => {
        const interactions = new Interactions(seed);
        for (const each of operations) interactions.perform(each);
        if (end !== undefined) interactions.perform(end);
        interactions.settle();
      },
    ),
    { numRuns: RUNS, seed: SEED, endOnFailure: false },
  );
}, 600_000);
