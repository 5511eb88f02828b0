import { Pair } from '../../support/pair.ts';
import { delay, loss } from '../../support/sim-network.ts';
import { exchange, type Scenario } from '../scenario.ts';

export const zeroRtt: Scenario = {
  name: 'zero-rtt-loss',
  claim:
    'early data under loss: accepted, or refused and sent again by the application; either way all of it arrives',
  run(seed) {
    const pair = new Pair({ seed, links: [delay(25), loss(0.08)] });
    pair.connect();
    // The tickets come right after the handshake.
    pair.runFor(2_000);
    for (const connection of [...pair.client.connections, ...pair.server.connections]) connection.close();
    pair.runFor(5_000);
    const isRestarted = pair.rng.chance(0.3);
    if (isRestarted) pair.server.restart();
    const before = pair.server.connections.length;
    const client = pair.dial();
    pair.require(client.quic.has0Rtt, 'no ticket for early data');
    const early = pair.bytes(pair.rng.between(1, 5_000));
    let id = client.sendNew(early, 'bi');
    pair.require(client.quic.streamIs0Rtt(id), 'the stream is not marked as early');
    pair.runUntil(() => client.has('connected'), { withinMs: 60_000 });
    if (client.quic.accepted0Rtt === false) {
      pair.require(client.has('zeroRttRejected'), 'refused without an event');
      id = client.sendNew(early, 'bi');
    }
    pair.runUntil(() => pair.server.connections.length > before);
    const server = pair.awaitConnected(client);
    pair.awaitStream(client, server, id, early);
    pair.require(!isRestarted || client.quic.accepted0Rtt === false, 'a restarted server took early data');
    exchange(pair, { client, server }, { streams: 4, maxBytes: 10_000 });
    pair.end();
  },
};

export const retry: Scenario = {
  name: 'retry-loss',
  claim: 'the server asks for a proof of address first, under loss: the client comes back with the token',
  run(seed) {
    const pair = new Pair({ seed, links: [delay(25), loss(0.1)] });
    pair.server.onIncoming = 'retry';
    const both = pair.connect({ withinMs: 120_000 });
    exchange(pair, both, { streams: 4, maxBytes: 20_000 });
    pair.end();
  },
};

export const refused: Scenario = {
  name: 'refused',
  claim:
    'a refused attempt ends at the client with CONNECTION_REFUSED, an ignored one with a time-out; nothing stays',
  run(seed) {
    const pair = new Pair({ seed, links: [delay(25), loss(0.05)] });
    const ignore = pair.rng.chance(0.5);
    pair.server.onIncoming = ignore ? 'ignore' : 'refuse';
    const client = pair.dial();
    pair.runUntil(() => client.closeReason !== undefined, { withinMs: 120_000 });
    const reason = client.closeReason!;
    if (ignore) pair.require(reason.type === 'timedOut', reason.type);
    else pair.require(reason.type === 'connectionClosed' && reason.code === 2n, reason.type);
    pair.require(pair.server.connections.length === 0, 'the server made a connection');
    pair.end();
  },
};

export const closing: Scenario = {
  name: 'close-loss',
  claim:
    'one side closes under loss at any moment: the other learns of it or times out, and nothing is left on either',
  run(seed) {
    const pair = new Pair({ seed, links: [delay(25), loss(0.25)] });
    const client = pair.dial();
    // Anywhere from the first flight to the middle of a transfer.
    pair.runFor(pair.rng.between(0, 1_500));
    if (client.has('connected')) client.sendNew(pair.bytes(50_000));
    pair.runFor(pair.rng.between(0, 500));
    const server = pair.server.connections.at(-1);
    const [closer, other] =
      server !== undefined && server.has('connected') && pair.rng.chance(0.5)
        ? [server, client]
        : [client, server];
    closer.close(7n, new TextEncoder().encode('bye'));
    pair.require(closer.closeReason !== undefined, 'closed, and still open');
    if (other !== undefined) {
      pair.runUntil(() => other.closeReason !== undefined, { withinMs: 120_000 });
      const reason = other.closeReason!;
      if (reason.type === 'applicationClosed') pair.require(reason.code === 7n, `code ${reason.code}`);
    }
    pair.end();
  },
};

export const restart: Scenario = {
  name: 'stateless-reset',
  claim:
    'the server forgets everything: its stateless reset, or a time-out, ends the connection, and a new dial works',
  run(seed) {
    const pair = new Pair({
      seed,
      links: [delay(25), loss(0.02)],
      // Reset tokens must outlive the process for the client to recognise them.
      serverEngine: { resetKey: new Uint8Array(32).fill(7) },
    });
    const { client } = pair.connect();
    pair.runFor(500);
    pair.server.restart();
    client.sendNew(pair.bytes(20_000));
    pair.runUntil(() => client.closeReason !== undefined, { withinMs: 120_000 });
    const { type } = client.closeReason!;
    pair.require(type === 'reset' || type === 'timedOut', type);
    const again = pair.connect();
    exchange(pair, again, { streams: 3, maxBytes: 10_000 });
    pair.end();
  },
};
