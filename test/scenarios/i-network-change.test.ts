/** What the engine does when it is told that the local network changed. */
import { describe, expect, test } from '@jest/globals';
import type { NetworkChangeHint } from '../../src/quic/engine.ts';
import { CLIENT_SECOND_IP, Pair, type Connected } from '../support/pair.ts';
import type { SimConnection } from '../support/sim-connection.ts';

const SEED = 20_261;

function connected(): { pair: Pair; both: Connected } {
  const pair = new Pair({ seed: SEED });
  const both = pair.connect();
  pair.runFor(500);
  return { pair, both };
}

const openIds = (side: SimConnection): number[] => side.quic.paths().map(({ id }) => id);
const unusable = (side: SimConnection): number[] =>
  side
    .all('pathAbandoned')
    .filter((event) => event.reason.type === 'unusableAfterNetworkChange')
    .map((event) => event.path);

/** The hint that only the named paths may survive. */
const recoverable =
  (...ids: readonly number[]): NetworkChangeHint =>
  (path) => ({ recoverable: ids.includes(path) });

describe('I10: the client, without a hint', () => {
  test('I10: the path is replaced by a new one to the same remote; data goes on', () => {
    const { pair, both } = connected();
    const data = pair.bytes(500_000);
    const id = both.client.sendNew(data);
    pair.runFor(30);
    pair.client.unbind(pair.client.addr);
    pair.client.bind(0, CLIENT_SECOND_IP);
    pair.client.engine.handleNetworkChange(undefined, pair.now);
    pair.drive();
    expect(unusable(both.client)).toEqual([0]);
    expect(openIds(both.client)).toEqual([1]);
    pair.awaitStream(both.client, both.server, id, data);
    expect(both.client.isPathOpen(1)).toBe(true);
    const seen = both.server.quic.paths();
    expect(seen.map((path) => [path.id, path.remote.ip])).toEqual([[1, CLIENT_SECOND_IP]]);
    pair.transfer(both.server, both.client, 50_000);
    pair.end();
  });

  test('I10: every path is replaced, keeping its status', () => {
    const { pair, both } = connected();
    pair.openPath(both, {}, 'backup');
    const before = both.client.quic.paths().map(({ status }) => status);
    expect(before).toEqual(['available', 'backup']);
    pair.client.engine.handleNetworkChange(undefined, pair.now);
    pair.drive();
    expect(unusable(both.client)).toEqual([0, 1]);
    pair.runUntil(() => both.client.quic.paths().every(({ validated }) => validated));
    expect(both.client.quic.paths()[0]!.status).toBe('available');
    pair.transfer(both.client, both.server, 50_000);
    pair.end();
  });

  test('I10: a second change while the first is being dealt with', () => {
    const { pair, both } = connected();
    pair.client.engine.handleNetworkChange(undefined, pair.now);
    pair.drive();
    pair.runFor(5);
    pair.client.engine.handleNetworkChange(undefined, pair.now);
    pair.drive();
    pair.runFor(3_000);
    pair.requireOpen(both.client, both.server);
    pair.transfer(both.client, both.server, 50_000);
    expect(unusable(both.client)).toEqual([0, 1]);
    pair.end();
  });
});

describe('I11: the client, with a hint', () => {
  test('I11: only the unrecoverable path is replaced; the recoverable one is pinged', () => {
    const { pair, both } = connected();
    const kept = pair.openPath(both);
    pair.runFor(1_000);
    const sent = both.client.quic.pathStats(kept)!.udpTx.datagrams;
    pair.client.engine.handleNetworkChange(recoverable(kept), pair.now);
    pair.runFor(200);
    expect(unusable(both.client)).toEqual([0]);
    expect(openIds(both.client)).toContain(kept);
    expect(both.client.quic.pathStats(kept)!.udpTx.datagrams).toBeGreaterThan(sent);
    pair.transfer(both.client, both.server, 50_000);
    pair.end();
  });

  test('I11: all recoverable: nothing is replaced', () => {
    const { pair, both } = connected();
    const path = pair.openPath(both);
    pair.client.engine.handleNetworkChange(recoverable(0, path), pair.now);
    pair.runFor(2_000);
    expect(openIds(both.client)).toEqual([0, path]);
    expect(both.client.has('pathAbandoned')).toBe(false);
    pair.transfer(both.client, both.server, 50_000);
    pair.end();
  });
});

describe('I12: the server', () => {
  test('I12: no hint: it keeps its path, and recovers once it is reachable again', () => {
    const { pair, both } = connected();
    const data = pair.bytes(200_000);
    const id = both.server.sendNew(data);
    pair.runFor(30);
    pair.client.host.isUp = false;
    pair.runFor(1_500);
    pair.client.host.isUp = true;
    pair.server.engine.handleNetworkChange(undefined, pair.now);
    pair.awaitStream(both.server, both.client, id, data);
    expect(openIds(both.server)).toEqual([0]);
    pair.end();
  });

  test('I12: a hint with a second path: both stay usable', () => {
    const { pair, both } = connected();
    const path = pair.openPath(both);
    pair.server.engine.handleNetworkChange(recoverable(path), pair.now);
    pair.runFor(1_000);
    pair.requireOpen(both.client, both.server);
    pair.transfer(both.server, both.client, 50_000);
    pair.end();
  });

  test('I12: one path and no hope for it: the server cannot open another, so it stays', () => {
    const { pair, both } = connected();
    pair.server.engine.handleNetworkChange(recoverable(), pair.now);
    pair.runFor(1_000);
    expect(openIds(both.server)).toEqual([0]);
    pair.transfer(both.server, both.client, 50_000);
    pair.end();
  });
});
