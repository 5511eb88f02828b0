/** The life of a path, whole: a changed arrow is a diff here. */
import { expect, test } from '@jest/globals';
import { nextPathState, pathTable, type PathState, type PathTransition } from '../../../src/machines/path.ts';

const EVENTS: readonly PathTransition[] = [
  'validated',
  'selected',
  'deselected',
  'stalled',
  'resumed',
  'abandoned',
];

test('every event in every state', () => {
  const states = Object.keys(pathTable) as PathState[];
  const arrows = states.map(
    (state) => `${state}: ${EVENTS.map((event) => nextPathState(state, event)).join(' ')}`,
  );
  expect(arrows).toEqual([
    'opening: backup opening opening opening opening closed',
    'backup: backup available backup stalled backup closed',
    'available: available available backup stalled available closed',
    'stalled: stalled stalled stalled stalled backup closed',
    'closed: closed closed closed closed closed closed',
  ]);
});
