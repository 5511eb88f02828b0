import { Pair } from '../../support/pair.ts';
import { delay, loss, mtu, rate } from '../../support/sim-network.ts';
import { exchange, startExchange, type Scenario } from '../scenario.ts';

export const blackhole: Scenario = {
  name: 'blackhole-heal',
  claim:
    'nothing passes for some seconds in the middle of a transfer: it goes on where it was, without a new connection',
  run(seed) {
    const pair = new Pair({ seed, links: [delay(25)] });
    const both = pair.connect();
    const finish = startExchange(pair, both, { streams: 8, maxBytes: 100_000 });
    pair.runFor(pair.rng.between(0, 200));
    pair.client.host.isUp = false;
    pair.runFor(pair.rng.between(100, 12_000));
    pair.client.host.isUp = true;
    finish();
    pair.end();
  },
};

export const oneWayOutage: Scenario = {
  name: 'one-way-outage',
  claim: 'only one direction is cut for some seconds: both sides recover',
  run(seed) {
    const pair = new Pair({ seed, links: [delay(25)] });
    const both = pair.connect();
    const finish = startExchange(pair, both, { streams: 8, maxBytes: 60_000 });
    pair.runFor(pair.rng.between(0, 200));
    const gate = pair.rng.chance(0.5) ? pair.client.host.up : pair.client.host.down;
    gate.isUp = false;
    pair.runFor(pair.rng.between(100, 10_000));
    gate.isUp = true;
    finish();
    pair.end();
  },
};

export const deadPeer: Scenario = {
  name: 'dead-peer',
  claim: 'the network goes for good: both sides time out after the idle time-out and keep nothing',
  run(seed) {
    const pair = new Pair({ seed, links: [delay(25)] });
    const { client, server } = pair.connect();
    client.sendNew(pair.bytes(100_000));
    pair.runFor(pair.rng.between(0, 100));
    pair.client.host.isUp = false;
    const took = pair.runUntil(() => client.closeReason !== undefined && server.closeReason !== undefined, {
      withinMs: 120_000,
      what: 'both sides gave up',
    });
    pair.require(client.closeReason?.type === 'timedOut', `client: ${client.closeReason?.type}`);
    pair.require(server.closeReason?.type === 'timedOut', `server: ${server.closeReason?.type}`);
    // 30 s, counted from the last packet that had something to answer; at least three PTOs (RFC 9000 §10.1).
    pair.require(took > 25_000 && took < 60_000, `gave up after ${took} ms`);
    pair.end();
  },
};

export const silentGap: Scenario = {
  name: 'silent-gap',
  claim: 'an idle connection lives for minutes by its keep-alives, and is usable at once afterwards',
  run(seed) {
    const pair = new Pair({ seed, links: [delay(25), loss(0.02)] });
    const both = pair.connect();
    pair.runFor(pair.rng.between(60_000, 300_000));
    pair.requireOpen(both.client, both.server);
    exchange(pair, both, { streams: 4, maxBytes: 5_000 });
    pair.end();
  },
};

export const mtuDrop: Scenario = {
  name: 'mtu-drop',
  claim:
    'the network starts to drop large datagrams after discovery had found them to fit: the black hole is noticed',
  run(seed) {
    const pair = new Pair({ seed, links: [delay(15)] });
    const both = pair.connect();
    pair.transfer(both.client, both.server, 200_000);
    const before = both.client.quic.pathStats(0)!.mtu;
    pair.require(before > 1_400, `discovery stopped at ${before}`);
    const finish = startExchange(pair, both, { streams: 8, maxBytes: 100_000 });
    pair.runFor(pair.rng.between(0, 60));
    pair.client.host.mtu = pair.rng.between(1_200, 1_300);
    finish();
    const after = both.client.quic.pathStats(0)!.mtu;
    if (both.client.quic.pathStats(0)!.blackHolesDetected > 0) {
      pair.require(after <= 1_300, `mtu ${after} after the black hole`);
    }
    pair.transfer(both.client, both.server, 100_000);
    pair.end();
  },
};

export const narrowPath: Scenario = {
  name: 'narrow-path',
  claim:
    'the network drops datagrams above some size from the start: discovery ends just below it, nothing else suffers',
  run(seed) {
    const limit = 1_200 + (seed % 253);
    const pair = new Pair({ seed, links: [delay(15), mtu(limit)] });
    const both = pair.connect();
    exchange(pair, both, { streams: 4, maxBytes: 60_000 });
    // Three losses of a size end its part of the search.
    pair.runFor(10_000);
    for (const { quic } of [both.client, both.server]) {
      const found = quic.pathStats(0)!.mtu;
      pair.require(found <= limit && found > limit - 40, `mtu ${found} where ${limit} fit`);
    }
    pair.end();
  },
};

export const tailLoss: Scenario = {
  name: 'tail-loss',
  claim:
    'the last datagrams of a transfer are lost: a probe finds out, in a few PTOs and not in an idle time-out',
  run(seed) {
    const pair = new Pair({ seed, links: [delay(25)] });
    const { client, server } = pair.connect();
    pair.transfer(client, server, 50_000);
    pair.runFor(1_000);
    const count = pair.rng.between(1, 4);
    pair.drop('client', count);
    const data = pair.bytes(pair.rng.between(1, 1_000 * count));
    const took = pair.awaitStream(client, server, client.sendNew(data), data);
    pair.require(took < 3_000, `repairing the tail took ${took} ms`);
    pair.end();
  },
};

export const lostHandshakeDone: Scenario = {
  name: 'lost-handshake-done',
  claim: 'what the server sends on completion (HANDSHAKE_DONE, tickets, cids) is lost: it comes again',
  run(seed) {
    const pair = new Pair({ seed, links: [delay(25)] });
    const client = pair.dial();
    pair.runUntil(() => pair.server.connections[0]?.quic.isHandshaking === false);
    // Some of it left in this very instant and is on its way; the gate drops what arrives from now on.
    pair.drop('server', pair.rng.between(1, 6));
    const server = pair.awaitConnected(client);
    exchange(pair, { client, server });
    pair.end();
  },
};

export const lostFlights: Scenario = {
  name: 'lost-flights',
  claim: 'any few datagrams of the handshake are lost, in either direction: it completes',
  run(seed) {
    const pair = new Pair({ seed, links: [delay(25)] });
    for (const gate of [pair.client.host.up, pair.client.host.down]) {
      let lost = 0;
      let index = 0;
      gate.dropIf = () => index++ < 12 && lost < 5 && pair.rng.chance(0.4) && ++lost > 0;
    }
    const both = pair.connect();
    exchange(pair, both, { streams: 3, maxBytes: 10_000 });
    pair.end();
  },
};

export const bottleneck: Scenario = {
  name: 'bottleneck',
  claim:
    'a 1 MB/s link with a short queue: congestion control fills at least a third of it and everything arrives',
  run(seed) {
    const newReno = seed % 2 === 1;
    const pair = new Pair({
      seed,
      links: [delay(20)],
      toServer: [rate(1_000_000, 30_000 + (seed % 10) * 5_000)],
      transport: { congestionControl: newReno ? 'newReno' : 'cubic' },
    });
    const { client, server } = pair.connect();
    const bytes = 1_500_000;
    const took = pair.transfer(client, server, bytes);
    const share = bytes / (took / 1_000) / 1_000_000;
    pair.require(share > 0.33, `used ${Math.round(share * 100)} % of the link`);
    pair.end();
  },
};
