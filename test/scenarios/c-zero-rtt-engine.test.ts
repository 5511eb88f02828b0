/** Early data at the level of the engine. */
import { describe, expect, test } from '@jest/globals';
import { utf8 } from '../../src/base/bytes.ts';
import { Pair, type PairOptions } from '../support/pair.ts';

const SEED = 20_264;

/** A pair whose client holds a ticket. */
function visited(options: Partial<PairOptions> = {}): Pair {
  const pair = new Pair({ seed: SEED, ...options });
  const { client } = pair.connect();
  pair.runFor(500);
  client.close();
  pair.runUntil(() => pair.client.engine.connectionCount + pair.server.engine.connectionCount === 0);
  return pair;
}

describe('C05: early data', () => {
  test('C05: accepted: streams and datagrams arrive before the handshake is over, and the streams live on', () => {
    const pair = visited();
    const client = pair.dial();
    expect(client.quic.has0Rtt).toBe(true);
    const data = pair.bytes(2_000);
    const id = client.open('bi');
    client.send(id, data, { fin: false });
    client.quic.sendDatagram(utf8('early'), false);
    expect(client.quic.streamIs0Rtt(id)).toBe(true);
    const startedAt = pair.now;
    const server = () => pair.server.connections.at(-1)!;
    pair.runUntil(() => pair.server.connections.length === 2 && server().received(id) === data.length);
    // One way, with the ClientHello itself.
    expect(pair.now - startedAt).toBe(10);
    expect(server().quic.streamIs0Rtt(id)).toBe(true);
    expect(server().datagrams).toEqual([utf8('early')]);
    expect(server().has('connected')).toBe(false);
    pair.awaitConnected(client);
    expect(client.quic.accepted0Rtt).toBe(true);
    expect(server().quic.accepted0Rtt).toBe(true);
    const more = pair.bytes(3_000);
    client.send(id, more);
    pair.runUntil(() => server().isFinished(id));
    pair.requireEqual(server().data(id).subarray(data.length), more, 'the rest');
    expect(client.quic.streamIs0Rtt(client.open('uni'))).toBe(false);
    pair.end();
  });

  test('C05: a datagram that does not fit behind the ClientHello gets a packet of its own', () => {
    const pair = visited();
    const client = pair.dial();
    expect(client.quic.has0Rtt).toBe(true);
    const data = pair.bytes(1_100);
    client.quic.sendDatagram(data, false);
    const server = pair.awaitConnected(client);
    pair.runFor(100);
    expect(server.datagrams).toEqual([data]);
    pair.end();
  });

  test('C05: refused: early streams fail, early datagrams are gone, the connection is fine', () => {
    const pair = visited();
    pair.server.restart();
    const client = pair.dial();
    expect(client.quic.has0Rtt).toBe(true);
    const data = pair.bytes(2_000);
    const id = client.open('bi');
    client.send(id, data);
    client.quic.sendDatagram(utf8('early'), false);
    const server = pair.awaitConnected(client);
    expect(client.count('zeroRttRejected')).toBe(1);
    expect(client.quic.accepted0Rtt).toBe(false);
    expect(client.quic.has0Rtt).toBe(false);
    expect(() => client.quic.readStream(id, 1)).toThrow(expect.objectContaining({ kind: 'zeroRttRejected' }));
    expect(client.quic.streamIs0Rtt(id)).toBe(true);
    expect(server.datagrams).toEqual([]);
    expect(server.accepted).toEqual([]);
    const again = client.open('bi');
    expect(client.quic.streamIs0Rtt(again)).toBe(false);
    client.send(again, data);
    pair.awaitStream(client, server, again, data);
    pair.end();
  });

  test('C05: the first contact has no early data', () => {
    const pair = new Pair({ seed: SEED });
    const client = pair.dial();
    expect(client.quic.has0Rtt).toBe(false);
    expect(client.quic.openStream('bi')).toBeUndefined();
    pair.awaitConnected(client);
    expect(client.quic.accepted0Rtt).not.toBe(true);
    pair.end();
  });
});
