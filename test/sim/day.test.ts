import { describe, expect, test } from '@jest/globals';
import { runDay } from './day.ts';

/** One morning here; `npm run sim -- --scenario day --seeds 200` is the long form. */
const SEEDS = process.env['SIM_SEED'] === undefined ? [1] : [Number(process.env['SIM_SEED'])];
const HOURS = 6;

const replay = (seed: number): string =>
  `replay: npm run sim -- --scenario day --seed ${seed} --hours ${HOURS} --story`;

describe('model-9: a day of an endpoint whose networks change all the time', () => {
  test.each(SEEDS)(
    'it is found and answers after each incident, and nothing piles up: seed %d',
    async (seed) => {
      try {
        const { virtualMs, incidents, recoveries } = await runDay(seed, HOURS);
        expect(virtualMs).toBeGreaterThanOrEqual(HOURS * 3_600_000);
        expect(incidents).toBeGreaterThan(25);
        expect(recoveries).toHaveLength(incidents + 1);
      } catch (error) {
        if (error instanceof Error) error.message += `\n${replay(seed)}`;
        throw error;
      }
    },
    240_000,
  );
});
