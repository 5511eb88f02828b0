import { Pair } from '../../support/pair.ts';
import { corrupt, delay, duplicate, loss, reorder } from '../../support/sim-network.ts';
import { exchange, type Scenario } from '../scenario.ts';

export const reordering: Scenario = {
  name: 'reorder',
  claim: 'one datagram in five overtakes or is overtaken by up to 30 ms: order within streams holds',
  run(seed) {
    const pair = new Pair({ seed, links: [delay(20, 5), reorder(0.2, 30)] });
    const both = pair.connect();
    exchange(pair, both, { streams: 10 });
    pair.transfer(both.client, both.server, 150_000);
    pair.end();
  },
};

export const duplication: Scenario = {
  name: 'duplicate',
  claim: 'a third of all datagrams arrives twice: nothing is delivered twice, nobody is confused',
  run(seed) {
    const pair = new Pair({ seed, links: [delay(20), duplicate(0.3, 50)] });
    const both = pair.connect();
    exchange(pair, both, { streams: 10 });
    const sent = pair.bytes(500);
    both.client.quic.sendDatagram(sent, false);
    pair.runUntil(() => both.server.datagrams.length > 0);
    pair.runFor(500);
    pair.require(both.server.datagrams.length === 1, 'a duplicated datagram was delivered twice');
    // Copies of the client's first flight must not become connections of their own.
    pair.require(pair.server.connections.length === 1, 'a duplicate Initial opened another connection');
    pair.end();
  },
};

export const corruption: Scenario = {
  name: 'corrupt',
  claim:
    'one datagram in ten has flipped bits, is cut or padded with noise: it is dropped, and nothing else suffers',
  run(seed) {
    const pair = new Pair({ seed, links: [delay(20), corrupt(0.1)] });
    const both = pair.connect();
    exchange(pair, both);
    pair.transfer(both.client, both.server, 100_000);
    pair.end();
  },
};

export const chaos: Scenario = {
  name: 'chaos',
  claim: 'loss, reordering, duplication, corruption and jitter of random strength, all at once',
  run(seed) {
    const pair = new Pair({
      seed,
      links: [
        delay(5 + (seed % 7) * 20, 10),
        loss(((seed >> 3) % 5) * 0.03),
        reorder(((seed >> 5) % 4) * 0.1, 40),
        duplicate(((seed >> 7) % 4) * 0.1, 60),
        corrupt(((seed >> 9) % 4) * 0.02),
      ],
    });
    const both = pair.connect({ withinMs: 120_000 });
    exchange(pair, both, { streams: 12, maxBytes: 30_000, withinMs: 300_000 });
    pair.end();
  },
};
