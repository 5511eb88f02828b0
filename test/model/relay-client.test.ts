/**
 * What the chart of a relay connection promises, whatever the order of events (`MODEL_SEED` replays). The same chart with its
 * actor: f-relay-random.
 */
import { expect, test } from '@jest/globals';
import {
  MAX_RELAY_BACKOFF_MS,
  relayBackoffMs,
  type RelayClientContext,
} from '../../src/machines/relay-client.ts';
import { Model, type ModelRun } from './driver.ts';
import { subjects } from './subjects.ts';

const SEED = Number(process.env['MODEL_SEED'] ?? 1);
const RUNS = Number(process.env['SIM_RUNS'] ?? 75);
const STEPS = 80;

/** `start` makes the check of one run, which may remember what it saw. */
function check(start: () => (run: ModelRun) => void): void {
  const model = new Model(subjects.find(({ name }) => name === 'relayClient')!);
  for (let i = 0; i < RUNS; i++) model.run(SEED + i, STEPS, start());
}

const last = ({ steps }: ModelRun): string => {
  const step = steps.at(-1);
  return step?.type === 'event' ? step.event.type : (step?.type ?? 'start');
};
const context = ({ snapshot }: ModelRun): RelayClientContext => snapshot.context as RelayClientContext;
/** `dialing`, `handshaking`, `backoff`, `probing`, `established`, or the state of the machine itself. */
const linkOf = ({ snapshot: { value } }: ModelRun): string => {
  if (typeof value === 'string') return value;
  const { link } = (value as { readonly active: { readonly link: unknown } }).active;
  if (typeof link === 'string') return link;
  const { connecting, connected } = link as { connecting?: string; connected?: { readonly proof: string } };
  return connecting ?? connected!.proof;
};

test(`model-4 inv-C1: who is home is never left for lack of use (seed ${SEED})`, () => {
  check(() => {
    let before: ModelRun['snapshot'] | undefined;
    return (run) => {
      const link = linkOf(run);
      const wasActive = typeof before?.value === 'object';
      if (wasActive && link === 'closing' && last(run) === 'time')
        expect((before!.context as RelayClientContext).isHome).toBe(false);
      // Who became home while the goodbye was under way is dialled again.
      if (run.snapshot.status === 'done') expect(context(run).mustStop || !context(run).isHome).toBe(true);
      before = run.snapshot;
    };
  });
});

test(`model-4 inv-C3: waits grow until a pong, and never above their bound (seed ${SEED})`, () => {
  check(() => {
    let before = { link: 'dialing', failures: 0 };
    return (run) => {
      const now = { link: linkOf(run), failures: context(run).failures };
      if (now.link === 'established') expect(now.failures).toBe(0);
      else if (before.link === 'established') expect([0, before.failures]).toContain(now.failures);
      else expect(now.failures).toBeGreaterThanOrEqual(before.failures);
      if (now.link === 'backoff') expect(now.failures).toBeGreaterThan(0);
      before = now;
    };
  });
  const waits = Array.from({ length: 20 }, (_, i) => relayBackoffMs(i + 1));
  expect(waits.slice(0, 4)).toEqual([10, 20, 40, 80]);
  expect(waits).toEqual([...waits].sort((a, b) => a - b));
  expect(Math.max(...waits)).toBe(MAX_RELAY_BACKOFF_MS);
});

test(`model-4 inv-C5: one attempt or one connection, and each loss drops what there was (seed ${SEED})`, () => {
  check(() => {
    let before = 'none';
    let drops = 0;
    return (run) => {
      const link = linkOf(run);
      expect(run.children.filter((id) => id !== 'goodbye' && id !== 'look')).toEqual(
        link === 'dialing' ? ['dial'] : link === 'handshaking' ? ['handshake'] : [],
      );
      expect(run.children.includes('goodbye')).toBe(link === 'closing');
      const dropsNow = run.effects.filter(({ name }) => name === 'drop connection').length;
      const hadSocket = ['handshaking', 'probing', 'established'].includes(before);
      const hasSocket = ['probing', 'established', 'closing'].includes(link);
      if (hadSocket && !hasSocket && link !== before && run.snapshot.status === 'active')
        expect(dropsNow).toBeGreaterThan(drops);
      drops = dropsNow;
      before = link;
    };
  });
});

test(`model-4: lost after a pong it is dialled at once, before one it waits; the end leaves no timer (seed ${SEED})`, () => {
  check(() => {
    let before = 'none';
    return (run) => {
      const link = linkOf(run);
      if (last(run) === 'lost' && before === 'established') expect(link).toBe('dialing');
      if (last(run) === 'lost' && before === 'probing') expect(link).toBe('backoff');
      if (last(run) === 'retry' && before === 'backoff') expect(link).toBe('dialing');
      if (last(run) === 'stop' && before !== 'closing') expect(link).toBe('closing');
      if (run.snapshot.status === 'done') expect(run.timers).toBe(0);
      before = link;
    };
  });
});
