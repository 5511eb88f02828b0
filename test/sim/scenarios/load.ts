import { Pair } from '../../support/pair.ts';
import { delay, loss, reorder } from '../../support/sim-network.ts';
import { exchange, startExchange, type Scenario } from '../scenario.ts';

export const tinyWindows: Scenario = {
  name: 'tiny-windows',
  claim:
    'stream and connection windows of a few hundred bytes, under loss: credit always comes back, all data arrives',
  run(seed) {
    const streamReceiveWindow = 200 + (seed % 13) * 100;
    const receiveWindow = 300 + (seed % 7) * 300;
    const pair = new Pair({
      seed,
      links: [delay(10), loss(0.02)],
      transport: {
        streamReceiveWindow,
        receiveWindow,
        maxReceiveWindow: receiveWindow,
        maxIdleTimeoutMs: 60_000,
      },
    });
    const both = pair.connect();
    exchange(pair, both, { streams: 5, maxBytes: 8_000, withinMs: 600_000 });
    pair.end();
  },
};

export const slowReader: Scenario = {
  name: 'slow-reader',
  claim: 'the receiver does not read: the sender stops at the window, and goes on when it reads',
  run(seed) {
    const receiveWindow = 40_000;
    const pair = new Pair({
      seed,
      links: [delay(10), loss(0.01)],
      serverTransport: { receiveWindow, maxReceiveWindow: receiveWindow, streamReceiveWindow: 30_000 },
    });
    const { client, server } = pair.connect();
    server.isReading = false;
    const data = pair.bytes(200_000);
    const id = client.sendNew(data);
    pair.runFor(5_000);
    const sent = client.quic.stats().udpTx.bytes;
    pair.require(sent < 400_000, `${sent} bytes sent against a window of ${receiveWindow}`);
    server.readAll();
    pair.awaitStream(client, server, id, data);
    pair.end();
  },
};

export const manyStreams: Scenario = {
  name: 'many-streams',
  claim: 'hundreds of streams each way against limits of a few at a time, under loss: each gets its turn',
  run(seed) {
    const pair = new Pair({
      seed,
      links: [delay(15), loss(0.02)],
      transport: { maxConcurrentBidiStreams: 1 + (seed % 20), maxConcurrentUniStreams: 1 + (seed % 15) },
    });
    const both = pair.connect();
    exchange(pair, both, { streams: 300, maxBytes: 600, withinMs: 600_000 });
    pair.end();
  },
};

export const resets: Scenario = {
  name: 'resets',
  claim:
    'streams are reset and stopped at random moments under loss: codes arrive, credit comes back, others are unhurt',
  run(seed) {
    const pair = new Pair({
      seed,
      links: [delay(15), loss(0.05)],
      transport: { maxConcurrentUniStreams: 10, receiveWindow: 60_000, maxReceiveWindow: 60_000 },
    });
    const both = pair.connect();
    const { client, server } = both;
    for (let round = 0; round < 15; round++) {
      const id = client.quic.openStream('uni');
      if (id !== undefined) {
        client.send(id, pair.bytes(pair.rng.below(30_000)), { fin: pair.rng.chance(0.5) });
        pair.runFor(pair.rng.below(60));
        const code = BigInt(pair.rng.below(1 << 20));
        const isStopping = pair.rng.chance(0.5) && server.accepted.includes(id);
        if (isStopping) {
          if (!server.isFinished(id) && server.inbound(id).error === undefined)
            server.quic.stopStream(id, code);
        } else if (client.isWritten(id) === false || !server.isFinished(id)) {
          tryReset(client.quic, id, code);
        }
      }
      pair.runFor(pair.rng.below(100));
    }
    // Whatever the resets left in flow control: a transfer larger than the window still goes through.
    pair.transfer(client, server, 150_000);
    pair.end();
  },
};

function tryReset(quic: { resetStream(id: number, code: bigint): void }, id: number, code: bigint): void {
  try {
    quic.resetStream(id, code);
  } catch (error) {
    // Already finished and acknowledged, or stopped by the peer: nothing left to reset.
    if (!(error instanceof Error && error.name === 'StreamError')) throw error;
  }
}

export const datagrams: Scenario = {
  name: 'datagrams-loss',
  claim:
    'unreliable datagrams under loss and reordering: what arrives is whole and was sent, most of it arrives',
  run(seed) {
    const pair = new Pair({ seed, links: [delay(15), loss(0.05), reorder(0.1, 20)] });
    const both = pair.connect();
    const finish = startExchange(pair, both, { streams: 3, maxBytes: 30_000 });
    const sent = new Set<string>();
    const count = 200;
    for (let i = 0; i < count; i++) {
      const max = both.client.quic.maxDatagramSize!;
      const data = pair.bytes(pair.rng.between(8, max));
      sent.add(Buffer.from(data).toString('latin1'));
      both.client.quic.sendDatagram(data, false);
      pair.runFor(5);
    }
    finish();
    pair.runFor(1_000);
    const received = both.server.datagrams.map((data) => Buffer.from(data).toString('latin1'));
    pair.require(new Set(received).size === received.length, 'a datagram arrived twice');
    pair.require(
      received.every((data) => sent.has(data)),
      'a datagram arrived that was not sent',
    );
    pair.require(received.length > count * 0.8, `${received.length} of ${count} arrived`);
    pair.end();
  },
};

export const keyUpdates: Scenario = {
  name: 'key-update-storm',
  claim:
    'both sides update keys whenever they may, under loss and reordering, during a transfer: no packet is misread',
  run(seed) {
    const pair = new Pair({
      seed,
      links: [delay(10), loss(0.03), reorder(0.1, 20)],
      transport: { keyUpdateAfterPackets: { min: 3, max: 10 } },
    });
    const both = pair.connect();
    const finish = startExchange(pair, both, { streams: 8, maxBytes: 60_000 });
    // Old keys stay for three PTOs, and no update may start while they do: a few per second is as fast as it goes.
    for (let i = 0; i < 60; i++) {
      pair.runFor(pair.rng.below(80));
      // A phase is over when packets of it went both ways.
      if (i % 5 === 0) both.client.openSoon('uni', (id) => both.client.send(id, pair.bytes(1_000)));
      if (pair.rng.chance(0.5)) both.client.quic.forceKeyUpdate();
      if (pair.rng.chance(0.5)) both.server.quic.forceKeyUpdate();
    }
    finish();
    const updates = both.client.quic.stats().keyUpdates;
    pair.require(updates >= 3, `${updates} key updates`);
    pair.end();
  },
};

export const manyConnections: Scenario = {
  name: 'many-connections',
  claim: 'twenty connections at once and one after another, under loss: each its own, and nothing is left',
  run(seed) {
    const pair = new Pair({ seed, links: [delay(15), loss(0.05)] });
    const clients = Array.from({ length: 8 }, () => pair.dial());
    pair.runUntil(() => clients.every((client) => client.has('handshakeConfirmed')), { withinMs: 60_000 });
    const sent = clients.map((client) => {
      const data = pair.bytes(pair.rng.below(5_000));
      return { data, id: client.sendNew(data) };
    });
    const total = (): number =>
      pair.server.connections.reduce(
        (sum, each) => sum + each.accepted.filter((id) => each.isFinished(id)).length,
        0,
      );
    pair.runUntil(() => total() === clients.length);
    const received = pair.server.connections.map((each) =>
      Buffer.from(each.data(each.accepted[0]!)).toString('hex'),
    );
    for (const { data } of sent) {
      pair.require(received.includes(Buffer.from(data).toString('hex')), 'a message went missing');
    }
    pair.end();
  },
};
