import { Pair } from '../../support/pair.ts';
import { burstLoss, delay, loss } from '../../support/sim-network.ts';
import { exchange, type Scenario } from '../scenario.ts';

function lossScenario(percent: number, withinMs: number): Scenario {
  return {
    name: `loss-${percent}`,
    claim: `with ${percent} % of the datagrams lost each way, the handshake completes and every byte arrives`,
    run(seed) {
      const pair = new Pair({ seed, links: [delay(25), loss(percent / 100)] });
      const both = pair.connect({ withinMs });
      exchange(pair, both, { withinMs });
      pair.transfer(both.client, both.server, 100_000, { withinMs });
      pair.end();
    },
  };
}

export const loss1 = lossScenario(1, 30_000);
export const loss5 = lossScenario(5, 60_000);
export const loss10 = lossScenario(10, 120_000);
export const loss30: Scenario = {
  name: 'loss-30',
  claim: 'with 30 % lost each way, whoever gets through the handshake gets every byte through',
  run(seed) {
    // The idle time-out is off: at this rate a run of losses longer than 30 s is not impossible.
    const pair = new Pair({
      seed,
      links: [delay(25), loss(0.3)],
      transport: { maxIdleTimeoutMs: 0, pathMaxIdleTimeoutMs: undefined },
    });
    const both = pair.connect({ withinMs: 600_000 });
    exchange(pair, both, { streams: 4, maxBytes: 20_000, withinMs: 900_000 });
    pair.end();
  },
};

export const bursts: Scenario = {
  name: 'burst-loss',
  claim: 'runs of up to 20 lost datagrams are repaired',
  run(seed) {
    const pair = new Pair({ seed, links: [delay(15), burstLoss(0.01, 20)] });
    const both = pair.connect();
    exchange(pair, both);
    pair.transfer(both.server, both.client, 200_000);
    pair.end();
  },
};
