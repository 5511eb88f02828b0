/**
 * Every state and transition of every machine is reached by random orders of events, within few runs. The same with more runs:
 * `npm run test:model -- --runs N --seed S`.
 */
import { describe, expect, test } from '@jest/globals';
import { assign, fromPromise, setup } from 'xstate';
import * as machines from '../../src/machines/index.ts';
import { notProvided } from '../../src/machines/not-provided.ts';
import { Model, type ModelSubject } from './driver.ts';
import { subjects } from './subjects.ts';

const SEED = Number(process.env['MODEL_SEED'] ?? 1);
const RUNS = Number(process.env['SIM_RUNS'] ?? 200);
const MAX_STEPS = 60;

test('every exported machine is driven', () => {
  const exported = Object.values(machines)
    .filter((each) => 'root' in each)
    .map(({ id }) => id);
  expect(subjects.map(({ machine }) => machine.id).sort()).toEqual(exported.sort());
});

test.each(subjects.map((subject) => [subject.name, subject] as const))(
  `%s: all is reached within ${RUNS} runs from seed ${SEED}, and no run leaves a timer`,
  (_name, subject) => {
    const model = new Model(subject);
    for (let i = 0; i < RUNS; i++) model.run(SEED + i, MAX_STEPS);
    const { states, transitions, wrongBelts } = model.coverage;
    expect({ states: states.missing, transitions: transitions.missing, wrongBelts }).toEqual({
      states: [],
      transitions: [],
      wrongBelts: [],
    });
    expect(transitions.reached).toBeGreaterThan(3);
  },
);

describe('the driver itself', () => {
  const lamp = setup({
    // eslint-disable-next-line @typescript-eslint/no-unnecessary-type-assertion -- XState infers from it
    types: {} as {
      context: { count: number };
      events: { type: 'press' } | { type: 'never' };
      input: undefined;
    },
    actors: { warm: fromPromise<void>(notProvided('warm')) },
    actions: { glow: notProvided('glow'), count: assign({ count: ({ context }) => context.count + 1 }) },
    guards: { 'has power': notProvided('has power') },
    delays: { 'burn time': notProvided('burn time') },
  }).createMachine({
    id: 'lamp',
    context: { count: 0 },
    initial: 'off',
    states: {
      off: { on: { press: { guard: 'has power', target: 'warming' } } },
      warming: { invoke: { id: 'warm', src: 'warm', onDone: 'on', onError: 'off' } },
      on: { entry: ['glow', 'count'], after: { 'burn time': 'off' }, on: { never: 'broken' } },
      broken: { type: 'final' },
    },
  });
  const subject: ModelSubject = { name: 'lamp', machine: lamp, events: [() => ({ type: 'press' })] };

  test('names what was not reached', () => {
    const model = new Model(subject);
    for (let seed = 0; seed < 20; seed++) model.run(seed, 30);
    expect(model.coverage).toEqual({
      states: { reached: 3, missing: ['broken'] },
      transitions: { reached: 4, missing: ['on --never--> broken'] },
      wrongBelts: [],
    });
  });

  test('repeats a run by its seed, and a broken rule names the seed and the steps', () => {
    const storyOf = (seed: number): string => {
      const lines: string[] = [];
      new Model(subject).run(seed, 30, ({ snapshot, steps, effects }) =>
        lines.push(JSON.stringify([snapshot.value, steps.at(-1), effects.length])),
      );
      return lines.join('\n');
    };
    expect(storyOf(7)).toBe(storyOf(7));
    expect(storyOf(7)).not.toBe(storyOf(8));
    const broken = (): void =>
      new Model(subject).run(7, 100, ({ snapshot }) => {
        if (snapshot.value === 'on') throw new Error('no light');
      });
    expect(broken).toThrow(/^lamp, seed 7: Error: no light\n\{"type":"/);
  });
});
