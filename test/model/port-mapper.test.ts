/**
 * What the chart of the port mapper promises, whatever the order of events (`MODEL_SEED` replays). The same chart with its
 * actor and routers: h-port-mapper-random.
 */
import { expect, test } from '@jest/globals';
import type { PortMapperContext } from '../../src/machines/port-mapper.ts';
import { Model, type ModelRun } from './driver.ts';
import { subjects } from './subjects.ts';

const SEED = Number(process.env['MODEL_SEED'] ?? 1);
const RUNS = Number(process.env['SIM_RUNS'] ?? 80);
const STEPS = 80;

/** `start` makes the check of one run, which may remember what it saw. */
function check(start: () => (run: ModelRun) => void): void {
  const model = new Model(subjects.find(({ name }) => name === 'portMapper')!);
  for (let i = 0; i < RUNS; i++) model.run(SEED + i, STEPS, start());
}

/** `idle`, `ready`, `probing`, `mapping`, `mapped`, or the state of the machine itself. */
function stateOf({ snapshot: { value } }: ModelRun): string {
  if (typeof value === 'string') return value;
  const { enabled } = value as { readonly enabled: string | object };
  return typeof enabled === 'string' ? enabled : Object.keys(enabled)[0]!;
}

test(`inv-M1: at most one question to a router is under way (seed ${SEED})`, () => {
  check(() => (run) => {
    expect(run.children.length).toBeLessThanOrEqual(1);
    const expected: Record<string, string> = { probing: 'probe', mapping: 'map', releasing: 'release' };
    const state = stateOf(run);
    if (state === 'mapped') expect([[], ['renew']]).toContainEqual(run.children);
    else expect(run.children).toEqual(state in expected ? [expected[state]] : []);
  });
});

test(`inv-M2: an address is told while there is a lease that runs, and no longer (seed ${SEED})`, () => {
  check(() => (run) => {
    const told = run.effects.filter(({ name }) => name.startsWith('tell ')).at(-1)?.name;
    expect(told === 'tell address').toBe(stateOf(run) === 'mapped');
    // Half of it, or what is left.
    if (stateOf(run) === 'mapped') expect(run.timers).toBeGreaterThan(0);
  });
});

test(`inv-M3: who had a lease has forgotten it, released it, or is giving it back (seed ${SEED})`, () => {
  check(() => {
    let before = 'none';
    let ends = 0;
    return (run) => {
      const state = stateOf(run);
      const endsNow = run.effects.filter(
        ({ name }) => name === 'forget lease' || name === 'release lease',
      ).length;
      if (before === 'mapped' && state !== 'mapped' && state !== 'releasing')
        expect(endsNow).toBeGreaterThan(ends);
      if (run.steps.at(-1)?.type === 'event' && before !== 'disabled' && before !== 'none') {
        const { event } = run.steps.at(-1) as Extract<(typeof run.steps)[number], { type: 'event' }>;
        if (event.type === 'stop' && before !== 'releasing') expect(state).toBe('releasing');
      }
      if (run.snapshot.status === 'done') expect(run.timers).toBe(0);
      before = state;
      ends = endsNow;
    };
  });
});

test(`without a port nobody is asked (seed ${SEED})`, () => {
  check(() => (run) => {
    const { port } = run.snapshot.context as PortMapperContext;
    if (port === undefined) expect(['idle', 'disabled', 'releasing', 'stopped']).toContain(stateOf(run));
  });
});
