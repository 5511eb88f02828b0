import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { IDLE_NOTICE_MS, IdleNotice } from '../../../src/actors/idle-notice.ts';
import { SimClock } from '../../support/sim-clock.ts';

const LIMIT_MS = 60_000;

function makeNotice() {
  const clock = new SimClock();
  const told: string[] = [];
  const state = { isNeeded: false };
  const notice = new IdleNotice({
    clock,
    limitMs: LIMIT_MS,
    isNeeded: () => state.isNeeded,
    tell: (forMs) => told.push(`${clock.now()}: ${forMs === undefined ? 'busy' : `idle for ${forMs}`}`),
  });
  const use = (isNeeded: boolean): void => {
    state.isNeeded = isNeeded;
    notice.used();
  };
  const run = (ms: number): void => clock.advanceTo(clock.now() + ms);
  return { clock, told, notice, use, run };
}

describe('a chart', () => {
  test('that is used again and again within a second is told nothing', () => {
    const { clock, told, use, run } = makeNotice();
    for (let i = 0; i < 100; i++) {
      use(true);
      run(IDLE_NOTICE_MS / 10);
      use(false);
      run(IDLE_NOTICE_MS - 1);
    }
    expect(told).toEqual([]);
    run(1);
    expect(told).toEqual([`${clock.now()}: idle for ${IDLE_NOTICE_MS}`]);
  });

  test('is told at once that it is busy, once', () => {
    const { told, use, run } = makeNotice();
    use(false);
    run(5_000);
    use(true);
    use(true);
    run(5_000);
    expect(told).toEqual(['1000: idle for 1000', '5000: busy']);
  });

  test('counts from its last use, of which it hears late but never too late', () => {
    const { told, use, run } = makeNotice();
    use(false);
    run(30_000);
    use(false);
    run(500);
    use(false);
    run(57_000);
    // Three seconds before its end, then two seconds before the next one.
    use(false);
    run(58_000);
    use(false);
    run(10_000);
    expect(told).toEqual([
      '1000: idle for 1000',
      '31500: idle for 1000',
      '88500: idle for 1000',
      '145500: idle for 0',
    ]);
  });

  test('is told once of a use right before its end, whatever was due', () => {
    const { told, use, run } = makeNotice();
    use(false);
    run(57_900);
    use(false);
    run(100);
    use(false);
    run(10_000);
    expect(told).toEqual(['1000: idle for 1000', '58000: idle for 0']);
  });

  test('is told also where the fractions of time do not add up', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 100_000, noNaN: true }), (at) => {
        const { told, use, run } = makeNotice();
        run(at);
        use(false);
        run(1_500);
        expect(told).toHaveLength(1);
      }),
    );
  });

  test('that has ended hears nothing more', () => {
    const { told, notice, use, run } = makeNotice();
    use(false);
    notice.cancel();
    run(10_000);
    expect(told).toEqual([]);
  });
});
