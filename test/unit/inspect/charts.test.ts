/** Charts and tables of machines, and that those in docs/machines are of the machines as they are. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from '@jest/globals';
import { and, fromPromise, not, raise, setup, type AnyStateMachine } from 'xstate';
import { describeChart, toMermaid, toTransitionTable } from '../../../src/inspect/index.ts';
import * as machines from '../../../src/machines/index.ts';

const kettle = setup({
  actors: { heat: fromPromise(async () => undefined) },
  actions: { hiss: () => undefined, whistle: (_, _params: { loud: boolean }) => undefined },
  guards: { 'has water': () => true, 'is hot': () => true },
  delays: { 'cooling time': 1_000 },
}).createMachine({
  id: 'kettle',
  initial: 'on',
  states: {
    on: {
      type: 'parallel',
      on: { break: 'broken' },
      states: {
        water: {
          initial: 'cold',
          on: { refill: '.cold' },
          states: {
            cold: {
              on: {
                start: { guard: and(['has water', not('is hot')]), target: 'heating' },
                tap: { actions: 'hiss' },
              },
            },
            heating: {
              entry: 'hiss',
              invoke: { id: 'heater', src: 'heat', onDone: 'hot', onError: 'cold' },
            },
            hot: {
              entry: [{ type: 'whistle', params: { loud: true } }, raise({ type: 'ready' })],
              after: { 'cooling time': 'cold' },
            },
          },
        },
        lamp: {
          initial: 'dark',
          states: { dark: { on: { ready: 'bright' } }, bright: { on: { ready: '#kettle.broken' } } },
        },
      },
    },
    broken: { type: 'final' },
  },
});

test('a chart names events, conditions, delays and actions, and draws regions beside each other', () => {
  expect(toMermaid(kettle)).toBe(`stateDiagram-v2
  state "on" as on {
    state "water" as on_water {
      state "cold" as on_water_cold
      state "heating" as on_water_heating
      state "hot" as on_water_hot
      [*] --> on_water_cold
      on_water_cold --> on_water_cold: refill<br/>tap / hiss
      on_water_heating --> on_water_cold: refill<br/>heater failed
      on_water_hot --> on_water_cold: refill<br/>after cooling time
      on_water_cold --> on_water_heating: start [has water and not is hot]
      on_water_heating --> on_water_hot: heater done
    }
    --
    state "lamp" as on_lamp {
      state "dark" as on_lamp_dark
      state "bright" as on_lamp_bright
      [*] --> on_lamp_dark
      on_lamp_dark --> on_lamp_bright: ready
    }
  }
  state "broken" as broken
  [*] --> on
  on --> broken: break
  broken --> [*]
  on_lamp_bright --> broken: ready
`);
});

test('a table has a row per transition, entry and running actor', () => {
  const rows = toTransitionTable(kettle).split('\n');
  expect(rows).toContain('| `on.water.cold` | start | has water and not is hot | `on.water.heating` |  |');
  expect(rows).toContain('| `on.water.heating` | *meanwhile* |  |  | runs heater (heat) |');
  expect(rows).toContain('| `on.water.hot` | *on entry* |  |  | whistle (loud: true), raise ready |');
  expect(rows).toContain('| `on.water.hot` | after cooling time |  | `on.water.cold` |  |');
  expect(rows.filter((row) => row.startsWith('| `')).length).toBe(
    describeChart(kettle).transitions.length + 4,
  );
});

test('every machine and table that is exported has names for all it does, and texts that Mermaid reads', () => {
  const subjects = Object.entries(machines).filter(([name]) => /(Machine|Table)$/.test(name));
  expect(subjects.length).toBeGreaterThan(2);
  for (const [name, subject] of subjects) {
    const chart = toMermaid(subject as AnyStateMachine);
    expect([name, /\(inline\)/.test(chart)]).toEqual([name, false]);
    expect(toMermaid(subject as AnyStateMachine)).toBe(chart);
    const labels = chart.split('\n').filter((line) => line.includes(' --> '));
    for (const label of labels) expect(label).toMatch(/^ *(\w+|\[\*\]) --> (\w+|\[\*\])(: [^:]+)?$/);
  }
});

test('docs/machines is up to date', async () => {
  const root = join(import.meta.dirname, '../../..');
  const check = promisify(execFile)(process.execPath, ['scripts/machines-doc.mjs', '--check'], { cwd: root });
  await expect(check).resolves.toMatchObject({ stderr: '' });
});
