/** Streams and datagrams of the engine: stops, resets, limits, tiny windows, what stays after the end. */
import { describe, expect, test } from '@jest/globals';
import { utf8 } from '../../src/base/bytes.ts';
import type { StreamId } from '../../src/quic/engine.ts';
import { StreamError } from '../../src/quic/streams/stream-error.ts';
import { Pair, type Connected, type PairOptions } from '../support/pair.ts';
import { delay, loss } from '../support/sim-network.ts';
import { exchange } from '../sim/scenario.ts';

const SEED = 20_263;

function connected(options: Partial<PairOptions> = {}): { pair: Pair; both: Connected } {
  const pair = new Pair({ seed: SEED, ...options });
  return { pair, both: pair.connect() };
}

function kindOf(action: () => unknown): string | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    if (!(error instanceof StreamError)) throw error;
    return error.kind;
  }
}

describe('I18: an endpoint closes with attempts that nobody decided about', () => {
  test('I18: they are refused; accepting one afterwards is an error, not a crash', () => {
    const pair = new Pair({ seed: SEED });
    pair.server.onIncoming = 'hold';
    const client = pair.dial();
    pair.runUntil(() => pair.server.incomings.length === 1);
    pair.server.engine.close(0n, utf8('bye'), pair.now);
    expect(() => pair.server.accept(pair.server.incomings[0]!)).toThrow('decided before');
    pair.runUntil(() => client.closeReason !== undefined);
    expect(client.closeReason).toMatchObject({ type: 'connectionClosed', code: 2n });
    pair.end();
  });

  test('I18: an attempt that comes after the close is refused', () => {
    const pair = new Pair({ seed: SEED });
    pair.server.engine.close(0n, utf8('bye'), pair.now);
    const client = pair.dial();
    pair.runUntil(() => client.closeReason !== undefined);
    expect(client.closeReason).toMatchObject({ type: 'connectionClosed', code: 2n });
    expect(pair.server.incomings).toEqual([]);
    pair.end();
  });
});

describe('I20: reading after the close', () => {
  test('I20: what arrived before stays readable, then the stream fails', () => {
    const { pair, both } = connected();
    both.server.isReading = false;
    const sent = pair.bytes(10_000);
    const id = both.client.open('uni');
    both.client.send(id, sent, { fin: false });
    pair.runFor(200);
    both.client.close(3n, utf8('done'));
    pair.runUntil(() => both.server.closeReason !== undefined);
    expect(both.server.closeReason).toMatchObject({ type: 'applicationClosed', code: 3n });
    expect(both.server.quic.acceptStream('uni')).toBe(id);
    let length = 0;
    for (let data = both.server.quic.readStream(id, 3_000); length < sent.length;) {
      expect(data!.slice()).toEqual(sent.slice(length, length + data!.length));
      length += data!.length;
      if (length < sent.length) data = both.server.quic.readStream(id, 3_000);
    }
    expect(kindOf(() => both.server.quic.readStream(id, 1))).toBe('connectionLost');
    expect(kindOf(() => both.server.quic.writeStream(both.server.quic.openStream('uni')!, sent))).toBe(
      'connectionLost',
    );
    both.server.isReading = false;
    pair.end();
  });
});

describe('I21: stop and reset', () => {
  test('I21: STOP_SENDING arrives with its code; the writer then only resets', () => {
    const { pair, both } = connected();
    const id = both.client.open('uni');
    both.client.send(id, pair.bytes(1_000), { fin: false });
    pair.runUntil(() => both.server.received(id) === 1_000);
    both.server.quic.stopStream(id, 41n);
    pair.runUntil(() => both.client.has('streamStopped'));
    expect(both.client.all('streamStopped')).toEqual([{ type: 'streamStopped', id, code: 41n }]);
    expect(kindOf(() => both.client.quic.writeStream(id, utf8('x')))).toBe('stopped');
    expect(kindOf(() => both.client.quic.finishStream(id))).toBe('stopped');
    both.client.quic.resetStream(id, 42n);
    pair.runUntil(() => both.client.has('streamFinished'));
    expect(kindOf(() => both.server.quic.readStream(id, 1))).toBe('closed');
    pair.end();
  });

  test('I21: a stream that is read to its end was not stopped: it finishes once all is acknowledged', () => {
    const { pair, both } = connected({ links: [delay(10), loss(0.1)] });
    const id = both.client.sendNew(pair.bytes(50_000));
    pair.runUntil(() => both.client.has('streamFinished'));
    expect(both.client.has('streamStopped')).toBe(false);
    expect(both.server.isFinished(id)).toBe(true);
    pair.end();
  });

  test('I21: RESET_STREAM arrives with its code, under loss, and throws away what was not read', () => {
    const { pair, both } = connected({ links: [delay(10), loss(0.2)] });
    both.server.isReading = false;
    const id = both.client.open('bi');
    both.client.send(id, pair.bytes(5_000), { fin: false });
    pair.runFor(300);
    both.client.quic.resetStream(id, 2n ** 62n - 1n);
    pair.runUntil(() => both.client.has('streamFinished'));
    both.server.readAll();
    expect(both.server.inbound(id).error).toMatchObject({ kind: 'reset', code: 2n ** 62n - 1n });
    // The other half is not touched.
    both.server.send(id, pair.bytes(2_000));
    pair.runUntil(() => both.client.isFinished(id));
    pair.end();
  });

  test('I21: streams stopped and reset from both ends at once leave nothing stuck', () => {
    const { pair, both } = connected({
      links: [delay(10), loss(0.05)],
      transport: { maxConcurrentBidiStreams: 4, maxConcurrentUniStreams: 4 },
    });
    const { client, server } = both;
    let opened = 0;
    const next = (): void => {
      client.openSoon('bi', (id) => {
        opened++;
        client.send(id, pair.bytes(pair.rng.below(4_000)), { fin: false });
        if (pair.rng.chance(0.5)) client.quic.stopStream(id, 1n);
        client.quic.resetStream(id, 2n);
        if (opened < 60) next();
      });
    };
    for (let i = 0; i < 4; i++) next();
    pair.runUntil(
      () => {
        for (const id of server.accepted.splice(0)) {
          try {
            server.quic.stopStream(id, 3n);
          } catch (error) {
            if (!(error instanceof StreamError)) throw error;
          }
          server.quic.resetStream(id, 4n);
        }
        return server.count('streamFinished') >= 60;
      },
      { withinMs: 120_000, what: 'sixty streams through a limit of four' },
    );
    exchange(pair, both, { streams: 4, maxBytes: 5_000 });
    pair.end();
  });
});

describe('I22: stream limits', () => {
  test.each(['bi', 'uni'] as const)('I22: opening %s streams beyond the limit waits for credit', (dir) => {
    const { pair, both } = connected({
      transport: { maxConcurrentBidiStreams: 3, maxConcurrentUniStreams: 3 },
    });
    const { client, server } = both;
    const ids: StreamId[] = [];
    for (let i = 0; i < 10; i++) client.openSoon(dir, (id) => ids.push(id));
    expect(ids.length).toBe(3);
    pair.runFor(2_000);
    expect(ids.length).toBe(3);
    const finish = (id: StreamId): void => {
      client.send(id, utf8('x'));
      pair.runUntil(() => server.isFinished(id));
      if (dir === 'bi') server.send(id, utf8('y'));
    };
    for (let done = 0; done < 10; done++) {
      pair.runUntil(() => ids.length > done, { what: `stream ${done}` });
      finish(ids[done]!);
      expect(ids.length).toBeLessThanOrEqual(done + 4);
    }
    pair.end();
  });
});

describe('I23: tiny flow-control windows', () => {
  test.each([
    ['connection', { receiveWindow: 500, maxReceiveWindow: 500 }],
    ['stream', { streamReceiveWindow: 100, maxReceiveWindow: 500 }],
    ['both', { receiveWindow: 500, streamReceiveWindow: 100, maxReceiveWindow: 500 }],
  ])('I23: %s: all data arrives', (_, transport) => {
    const { pair, both } = connected({ links: [delay(2), loss(0.01)], transport });
    exchange(pair, both, { streams: 12, maxBytes: 6_000, withinMs: 600_000 });
    pair.end();
  });
});

describe('I24: datagrams', () => {
  test('I24: each datagram is handed out exactly once; a reader that found nothing is told of the next', () => {
    const { pair, both } = connected();
    const { client, server } = both;
    server.isReading = false;
    for (let i = 0; i < 5; i++) expect(client.quic.sendDatagram(Uint8Array.of(i), false)).toBe(true);
    pair.runUntil(() => server.has('datagramReceived'));
    expect(server.count('datagramReceived')).toBe(1);
    const read = Array.from({ length: 5 }, () => server.quic.readDatagram()?.[0]);
    expect(read).toEqual([0, 1, 2, 3, 4]);
    expect(server.quic.readDatagram()).toBeUndefined();
    client.quic.sendDatagram(Uint8Array.of(9), false);
    pair.runUntil(() => server.count('datagramReceived') === 2);
    expect(server.quic.readDatagram()).toEqual(Uint8Array.of(9));
    pair.end();
  });
});

describe('I25: what stays after the end', () => {
  test("I25: an abandoned path's figures come with its end, and count in the connection's", () => {
    const { pair, both } = connected();
    pair.runFor(500);
    const path = pair.openPath(both);
    pair.transfer(both.client, both.server, 50_000);
    const before = both.client.quic.stats().udpTx.bytes;
    both.client.quic.closePath(0, 0, pair.now);
    pair.runUntil(() => both.client.has('pathDiscarded'));
    const { stats } = both.client.all('pathDiscarded')[0]!;
    expect(stats.udpTx.bytes).toBeGreaterThan(0);
    expect(both.client.quic.stats().udpTx.bytes).toBeGreaterThanOrEqual(before);
    expect(both.client.isPathOpen(path)).toBe(true);
    pair.end();
    // After the end nothing is kept by the engine, but the figures can be read.
    expect(both.client.quic.stats().udpTx.bytes).toBeGreaterThanOrEqual(before);
  });
});

describe('B13: a server that does not answer', () => {
  test('B13: the dial ends with timedOut at the idle limit, and little is sent meanwhile', () => {
    const pair = new Pair({ seed: SEED, transport: { maxIdleTimeoutMs: 10_000 } });
    pair.client.host.down.isUp = false;
    const client = pair.dial();
    const took = pair.runUntil(() => client.closeReason !== undefined);
    expect(client.closeReason).toEqual({ type: 'timedOut' });
    expect(took).toBeGreaterThanOrEqual(10_000);
    expect(took).toBeLessThan(12_000);
    expect(client.quic.stats().udpTx.datagrams).toBeLessThan(30);
    expect(client.has('connected')).toBe(false);
    pair.client.host.down.isUp = true;
    for (const connection of pair.server.connections) connection.close();
    pair.end();
  });
});
