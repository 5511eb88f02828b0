/** The router's chart under random orders of events: its invariants hold, however it ends. */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { createActor, fromPromise } from 'xstate';
import { routerMachine, type RouterEvent } from '../../../src/machines/router.ts';
import { SimClock } from '../../support/sim-clock.ts';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** What happens from outside. */
const step = fc.oneof(
  fc.record({
    type: fc.constant('attemptArrived' as const),
    attempt: fc.nat(),
    outcome: fc.constantFrom('accept', 'retry', 'reject', 'ignore', 'failed'),
    isValidated: fc.boolean(),
  }),
  fc.constant({ type: 'taskEnded' as const }),
  fc.constant({ type: 'endpointClosed' as const }),
  fc.record({ type: fc.constant('shutdown' as const), limitMs: fc.option(fc.nat(50), { nil: undefined }) }),
  fc.constant({ type: 'goodbyes are said' as const }),
  fc.record({ type: fc.constant('time passes' as const), ms: fc.nat(30) }),
);

const seed = Number(process.env['SEED'] ?? 7);

describe('router', () => {
  test(`inv-A1 to inv-A5 under random orders (SEED=${seed})`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        const clock = new SimClock();
        const log: string[] = [];
        let say!: () => void;
        const said = new Promise<void>((resolve) => (say = resolve));
        const decide = (what: string) => () => void log.push(what);
        const actor = createActor(
          routerMachine.provide({
            actors: {
              'shut down all handlers': fromPromise(() => {
                log.push('goodbyes');
                return said;
              }),
              'close endpoint': fromPromise(() => {
                log.push('close');
                return Promise.resolve();
              }),
            },
            actions: {
              'start handler task': decide('start'),
              'ask for retry': decide('retry'),
              refuse: decide('refuse'),
              ignore: decide('ignore'),
              'abort all tasks': decide('abort'),
            },
          }),
          { input: { endpoint: 'x' }, clock },
        );
        actor.start();
        let attempts = 0;
        let isEnding = false;
        let isSaid = false;
        for (const each of [...steps, { type: 'shutdown' as const, limitMs: undefined }]) {
          if (actor.getSnapshot().status === 'done') break;
          if (each.type === 'time passes') clock.advanceTo(clock.now() + each.ms);
          else if (each.type === 'goodbyes are said') {
            isSaid = true;
            say();
          } else {
            if (each.type === 'taskEnded' && actor.getSnapshot().context.tasks === 0) continue;
            const before = log.length;
            const event: RouterEvent = each.type === 'shutdown' ? { ...each, now: clock.now() } : each;
            actor.send(event);
            if (each.type === 'attemptArrived') {
              attempts++;
              // A1: nothing starts once the end has begun; A4: each attempt is decided, whatever became of others.
              const expected = isEnding
                ? 'refuse'
                : {
                    accept: 'start',
                    ignore: 'ignore',
                    reject: 'refuse',
                    failed: 'refuse',
                    retry: each.isValidated ? 'refuse' : 'retry',
                  }[each.outcome];
              expect(log.slice(before)).toEqual([expected]);
            }
            isEnding ||= each.type === 'shutdown' || each.type === 'endpointClosed';
          }
          await turn();
        }
        const wasLimited = log.includes('abort') && !isSaid;
        // A3: without a limit it waits for the goodbyes.
        if (wasLimited)
          expect(steps.some((each) => each.type === 'shutdown' && each.limitMs !== undefined)).toBe(true);
        say();
        await turn();
        // A2, A3, A5: everything once, in this order, and the end is reached.
        expect(log.filter((what) => ['goodbyes', 'abort', 'close'].includes(what))).toEqual([
          'goodbyes',
          'abort',
          'close',
        ]);
        expect(log.length).toBe(attempts + 3);
        expect(actor.getSnapshot().status).toBe('done');
        expect(clock.pendingTimers).toBe(0);
      }),
      { seed, numRuns: 200 },
    );
  });
});
