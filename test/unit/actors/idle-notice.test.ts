import { describe, expect, test } from '@jest/globals';
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
    // Two and a half seconds before its end, then a second and a half before the next one.
    use(false);
    run(58_500);
    use(false);
    run(10_000);
    expect(told).toEqual([
      '1000: idle for 1000',
      '31500: idle for 1000',
      '88500: idle for 1000',
      '146000: idle for 0',
    ]);
  });

  test('that has ended hears nothing more', () => {
    const { told, notice, use, run } = makeNotice();
    use(false);
    notice.end();
    run(10_000);
    expect(told).toEqual([]);
  });
});
