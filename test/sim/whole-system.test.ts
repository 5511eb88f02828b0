import { describe, expect, test } from '@jest/globals';
import { runWholeSystem } from './whole-system.ts';

/** Few here; `npm run sim -- --scenario whole-system --seeds 1000` is the long form. */
const SEEDS = process.env['SIM_SEED'] === undefined ? [1, 2, 3, 4] : [Number(process.env['SIM_SEED'])];

const replay = (seed: number): string =>
  `replay: npm run sim -- --scenario whole-system --seed ${seed} --story`;

describe('model-7: the whole system, whatever happens to its networks', () => {
  test.each(SEEDS)(
    'P1 to P7 hold: seed %d',
    async (seed) => {
      try {
        const { story } = await runWholeSystem(seed);
        expect(story.length).toBeGreaterThan(10);
      } catch (error) {
        if (error instanceof Error) error.message += `\n${replay(seed)}`;
        throw error;
      }
    },
    60_000,
  );

  test('a seed tells the same story again', async () => {
    const [first, second] = [await runWholeSystem(5), await runWholeSystem(5)];
    expect(second.story).toEqual(first.story);
  }, 60_000);
});
