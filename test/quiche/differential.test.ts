import { describe, expect, test } from '@jest/globals';
import { SimRng } from '../support/sim-rng.ts';
import { EngineLink, PAIRINGS as WITH_QUICHE } from './engine-link.ts';
import { carryOut, expectedOf, planOf } from './operations.ts';

/** The same list of operations, carried out by each pairing of engines: the same bytes, and the same ends of all streams. */
const SEED = Number(process.env['QUICHE_SEED'] ?? 1);
const LISTS = Number(process.env['QUICHE_LISTS'] ?? 12);
const LOSS = 0.05;
const PAIRINGS = [...WITH_QUICHE, ['ours', 'ours']] as const;

test.each(PAIRINGS)(
  `%s dials %s: ${LISTS} random lists of operations`,
  (client, server) => {
    for (let seed = SEED; seed < SEED + LISTS; seed++) {
      const plan = planOf(seed);
      expect([seed, carryOut(seed, plan, client, server)]).toEqual([seed, expectedOf(plan)]);
    }
  },
  60_000 + LISTS * 2_000,
);

describe.each(PAIRINGS)('%s dials %s on a wire that loses packets', (client, server) => {
  test.each([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])(
    'seed %d',
    (seed) => {
      const rng = new SimRng(seed);
      const link = new EngineLink({ client, server, seed });
      link.wire = () => (rng.chance(LOSS) ? [] : [rng.between(0, 3)]);
      const { ours, theirs } = link.connect();
      const data = rng.bytes(rng.between(20_000, 100_000));
      const id = ours.open('bi');
      ours.send(id, data);
      theirs.sendNew(data, 'uni');
      link.run(() => theirs.isFinished(id) && ours.accepted.some((each) => ours.isFinished(each)), 'data');
      theirs.send(id, data.subarray(0, 5_000));
      link.run(() => ours.isFinished(id), 'the answer');
      expect(Buffer.compare(theirs.data(id), data)).toBe(0);
      expect(Buffer.compare(ours.data(ours.accepted[0]!), data)).toBe(0);
    },
    30_000,
  );
});
