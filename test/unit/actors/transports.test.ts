/** The sockets of an endpoint: none is left behind. */
import { expect, test } from '@jest/globals';
import { MappedAddrs } from '../../../src/actors/mapped-addrs.ts';
import { Transports } from '../../../src/actors/transports.ts';
import { Metrics } from '../../../src/base/metrics.ts';
import { SimWorld } from '../../support/sim-platform.ts';

const BIND_MS = 500;

test.each([0, 1, BIND_MS - 1, BIND_MS + 1])(
  'closed %i ms after it began to bind anew, it ends with its last socket',
  async (delayMs) => {
    const world = new SimWorld(1);
    const sleep = (ms: number): Promise<void> =>
      new Promise((resolve) => world.clock.setTimeout(resolve, ms));
    const platform = world.platformOf(world.addHost('host', '10.0.0.1'));
    const bindUdp = platform.bindUdp!;
    let isSlow = false;
    let isClosed = false;
    const boundAfterwards: string[] = [];
    const transports = await Transports.bind({
      platform: {
        ...platform,
        bindUdp: async (request) => {
          if (isSlow) await sleep(BIND_MS);
          if (isClosed) boundAfterwards.push(request.ip);
          return bindUdp(request);
        },
      },
      mapped: new MappedAddrs(platform.rng),
      metrics: new Metrics(),
      bind: ['10.0.0.1:0'],
      custom: [],
    });
    expect(world.openSockets).toBe(1);
    isSlow = true;
    const left: number[] = [];
    await world.run(
      (async () => {
        const rebinding = transports.rebind();
        await sleep(delayMs);
        await transports.close();
        isClosed = true;
        left.push(world.openSockets);
        await rebinding;
        left.push(world.openSockets);
      })(),
      10_000,
    );
    expect([left, boundAfterwards]).toEqual([[0, 0], []]);
    expect(world.clock.now()).toBeLessThanOrEqual(2 * BIND_MS);
  },
);
