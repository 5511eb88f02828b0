import { describe, expect, test } from '@jest/globals';
import { pairDefaults } from '../support/pair.ts';
import { scenarios } from './scenarios/index.ts';

/** Few and quick here; `npm run sim -- --seeds 500` is the long form. */
const SEEDS = process.env['SIM_SEED'] === undefined ? [1, 2, 3] : [Number(process.env['SIM_SEED'])];

describe('scenarios', () => {
  test('have names of their own', () => {
    expect(new Set(scenarios.map(({ name }) => name)).size).toBe(scenarios.length);
    expect(scenarios.length).toBeGreaterThanOrEqual(20);
    expect(pairDefaults.qlog).toBeUndefined();
  });

  for (const { name, claim, run } of scenarios) {
    test(`${name}: ${claim}`, () => {
      for (const seed of SEEDS) {
        try {
          run(seed);
        } catch (error) {
          if (error instanceof Error)
            error.message += `\nreplay: npm run sim -- --scenario ${name} --seed ${seed}`;
          throw error;
        }
      }
    });
  }
});
