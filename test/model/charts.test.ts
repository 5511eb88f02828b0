/**
 * What the charts alone promise, whatever the order of events (`MODEL_SEED` replays). The same machines with their actors:
 * h-socket-random, the router's tests, and the simulations.
 */
import { expect, test } from '@jest/globals';
import type { PublisherContext } from '../../src/machines/publisher.ts';
import type { RemoteContext } from '../../src/machines/remote.ts';
import { MAX_NETWORK_WAIT_MS, type SocketContext } from '../../src/machines/socket.ts';
import { Model, type ModelRun } from './driver.ts';
import { subjects } from './subjects.ts';

const SEED = Number(process.env['MODEL_SEED'] ?? 1);
const RUNS = Number(process.env['SIM_RUNS'] ?? 60);

/** Runs a machine; `start` makes the check of one run, which may remember what it saw. */
function check(name: string, start: () => (run: ModelRun) => void): void {
  const model = new Model(subjects.find((subject) => subject.name === name)!);
  for (let i = 0; i < RUNS; i++) model.run(SEED + i, 80, start());
}

const count = ({ effects }: ModelRun, name: string): number =>
  effects.filter((effect) => effect.name === name).length;
const last = ({ steps }: ModelRun): string => {
  const step = steps.at(-1);
  return step?.type === 'event' ? step.event.type : (step?.type ?? 'start');
};

/** The state of a region of the only composite state. */
const region = ({ snapshot: { value } }: ModelRun, state: string, name: string): unknown =>
  typeof value === 'object' && value !== null
    ? ((value as Record<string, Record<string, unknown>>)[state]?.[name] ?? undefined)
    : undefined;

test(`model-1 the socket chart: inv-S1 one report, inv-S2 no wish lost, inv-S3 notice in time, inv-S5 quiet at the end (seed ${SEED})`, () => {
  check('socket', () => {
    let isClosed = false;
    let atStop: number | undefined;
    return (run) => {
      const context = run.snapshot.context as SocketContext;
      const report = region(run, 'running', 'report');
      isClosed ||= last(run) === 'closeStarted';
      // S1: the actor that makes reports runs exactly in this state, so there is one.
      expect(run.children.includes('report')).toBe(report === 'running');
      // S2: a wish is remembered only while a report runs, and becomes the next one.
      if (context.wanted !== undefined && !isClosed) expect(['running', undefined]).toContain(report);
      if (isClosed && atStop === undefined && run.snapshot.status === 'active') {
        if (run.snapshot.value !== 'stopping') expect(report).toBe('closed');
      }
      // S3: nothing is pending but while the network is awaited, and that is bounded.
      const notice = region(run, 'running', 'notice');
      if (notice === 'given') expect(context.isPendingMajor).toBe(false);
      if (notice === 'awaitingNetwork') expect(context.waitedMs).toBeLessThan(MAX_NETWORK_WAIT_MS);
      // S5: the end has begun.
      if (atStop !== undefined) expect(run.effects.length).toBe(atStop);
      if (last(run) === 'stop') atStop ??= run.effects.length;
    };
  });
});

test(`model-2 the remote chart: the selected region is the selected path, every lookup is answered once, the end is asked for or idle (seed ${SEED})`, () => {
  check('remote', () => {
    let lookups = 0;
    let wasRunning = false;
    let wasIdle = false;
    return (run) => {
      const context = run.snapshot.context as RemoteContext;
      const isActive = run.snapshot.status === 'active';
      if (isActive) {
        expect(region(run, 'active', 'selected')).toBe(context.selected?.kind ?? 'none');
        expect(context.selected === undefined || context.reason !== undefined).toBe(true);
        const isRunning = region(run, 'active', 'lookup') === 'running';
        expect(run.children.includes('lookup')).toBe(isRunning);
        // R6: answered when a lookup ends, well or not, and only then.
        if (wasRunning && !isRunning) lookups++;
        expect(count(run, 'answer waiting resolves')).toBe(lookups);
        wasRunning = isRunning;
      } else {
        // R9: only the end of the endpoint, or a minute of idleness, ends it.
        expect(last(run) === 'stop' || (last(run) === 'time' && wasIdle)).toBe(true);
      }
      wasIdle = region(run, 'active', 'life') === 'idleCountdown';
      // R7: a round is started by a decision that says so.
      for (const { name, event } of run.effects)
        if (name === 'start punch round') expect(event).toMatchObject({ type: 'punch', decision: 'now' });
    };
  });
});

test(`model-5 the router chart: inv-A1 no task after shutdown, inv-A2 one goodbye, inv-A3 then abort, then close (seed ${SEED})`, () => {
  check('router', () => {
    let tasksAtShutdown: number | undefined;
    let goodbyes = 0;
    let wasSayingGoodbye = false;
    return (run) => {
      const tasks = count(run, 'start handler task');
      if (tasksAtShutdown !== undefined) expect(tasks).toBe(tasksAtShutdown);
      if (run.snapshot.value !== 'listening') tasksAtShutdown ??= tasks;
      const isSayingGoodbye = run.children.includes('goodbyes');
      if (isSayingGoodbye && !wasSayingGoodbye) goodbyes++;
      wasSayingGoodbye = isSayingGoodbye;
      expect(goodbyes).toBe(tasksAtShutdown === undefined ? 0 : 1);
      const aborts = count(run, 'abort all tasks');
      expect(aborts).toBe(run.children.includes('closing') || run.snapshot.status === 'done' ? 1 : 0);
      // Once for each attempt: somebody decided about it.
      const attempts = run.steps.filter(
        (step) => step.type === 'event' && step.event.type === 'attemptArrived',
      );
      const ended = run.snapshot.status !== 'active' && last(run) === 'attemptArrived' ? 1 : 0;
      const decisions = ['start handler task', 'ask for retry', 'refuse', 'ignore'].map((name) =>
        count(run, name),
      );
      expect(decisions.reduce((sum, each) => sum + each, 0)).toBe(attempts.length - ended);
    };
  });
});

test(`model-6 the endpoint chart: inv-E2 nothing is stopped before peers know, inv-E4 one end, inv-E5 each wait has a limit and nothing is left (seed ${SEED})`, () => {
  const ORDER = ['draining', 'actors', 'runtime'];
  const PARTS: Record<string, readonly string[]> = {
    draining: ['draining'],
    actors: ['mapping', 'lookups', 'socket', 'remotes', 'relays'],
    runtime: ['drivers', 'sockets'],
  };
  check('endpoint', () => {
    let step = -1;
    return (run) => {
      const { snapshot, children } = run;
      const names = run.effects.map(({ name }) => name).filter((name) => name !== 'report overrun');
      if (snapshot.value === 'open' || snapshot.value === 'aborted') {
        expect(names).toEqual(snapshot.value === 'open' ? [] : ['drop everything']);
        expect([children, run.timers]).toEqual([[], 0]);
        return;
      }
      const isClosed = snapshot.value === 'closed';
      // E4: however often it is asked for, all is said once.
      expect(names).toEqual(['announce end', 'clear lookup services', ...(isClosed ? ['end watches'] : [])]);
      // E2: steps follow each other, and only the actors of the present one run.
      if (isClosed) expect(children).toEqual([]);
      else {
        const { closing } = snapshot.value as { closing: Record<string, unknown> };
        const name = Object.keys(closing)[0]!;
        expect(ORDER.indexOf(name)).toBeGreaterThanOrEqual(step);
        step = ORDER.indexOf(name);
        for (const child of children) expect(PARTS[name]).toContain(child);
        expect(children.length).toBeGreaterThan(0);
        // Nobody waits without a limit.
        expect(run.timers).toBe(children.length);
      }
      // Only time makes a step one that took too long.
      const overruns = run.effects.flatMap(({ name, event }) =>
        name === 'report overrun' ? [event.type] : [],
      );
      expect(overruns.every((type) => type.startsWith('xstate.after.'))).toBe(true);
      // E5, with what the driver looks at itself: no timer.
      if (isClosed) expect(run.timers).toBe(0);
    };
  });
});

test(`the connection chart: open until it is closed, and then never open again, with an end that says whose it was (seed ${SEED})`, () => {
  const ENDS: Record<string, string> = {
    locallyClosed: 'closedLocally',
    transportError: 'closedLocally',
    applicationClosed: 'closedByPeer',
    connectionClosed: 'closedByPeer',
    timedOut: 'timedOut',
    reset: 'lost',
    versionMismatch: 'lost',
  };
  check('connection', () => {
    let reason: string | undefined;
    return ({ snapshot: { value }, steps, timers, children, effects }) => {
      const latest = steps.at(-1);
      if (latest?.type === 'event' && latest.event.type === 'closed')
        reason ??= (latest.event as unknown as { reason: string }).reason;
      const state = typeof value === 'string' ? value : Object.keys(value as object)[0]!;
      const expected = reason === undefined ? ['open', 'dropped'] : [ENDS[reason], 'drained', 'dropped'];
      expect(expected).toContain(state);
      // Thousands of them: nothing but a state.
      expect([timers, children.length, effects.length]).toEqual([0, 0, 0]);
    };
  });
});

test(`the net report chart: inv-N1 at most one report per run, inv-N5 within its limits (seed ${SEED})`, () => {
  check('netReport', () => (run) => {
    const runs = count(run, 'plan probes');
    expect(count(run, 'hand out report')).toBeLessThanOrEqual(runs);
    const isProbing = run.children.length > 0;
    if (run.snapshot.value === 'idle') expect([isProbing, run.timers]).toEqual([false, 0]);
  });
});

test(`the publisher chart: one request at a time, no news is lost, each wait ends, and nothing is left at the end (seed ${SEED})`, () => {
  check('publisher', () => (run) => {
    const { value } = run.snapshot;
    const { hasNews } = run.snapshot.context as PublisherContext;
    expect(run.children).toEqual(value === 'publishing' ? ['put'] : []);
    // A timer for each state but the first and the last.
    expect(run.timers).toBe(value === 'idle' || value === 'closed' ? 0 : 1);
    // What changed is in the request that begins, or is remembered until the next one does.
    if (last(run) === 'changed') expect(['gathering', 'publishing', 'closed']).toContain(value);
    if (hasNews) expect(['publishing', 'closed']).toContain(value);
  });
});
