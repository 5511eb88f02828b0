/** n0's NAT traversal, through real NATs of the simulated network. */
import { describe, expect, test } from '@jest/globals';
import { toAddr, type Addr } from '../../src/base/socket-addr.ts';
import { NatTraversalError } from '../../src/quic/paths/nat-traversal.ts';
import {
  CLIENT_OUTSIDE_IP,
  Pair,
  SERVER_SECOND_IP,
  type Connected,
  type PairOptions,
} from '../support/pair.ts';

const SEED = 20_262;

function connected(options: Partial<PairOptions> = {}): { pair: Pair; both: Connected } {
  const pair = new Pair({ seed: SEED, ...options });
  const both = pair.connect();
  pair.runFor(500);
  return { pair, both };
}

/** The client's address as the server sees it: what address discovery would have told it. */
const seenByServer = ({ server }: Connected): Addr => server.quic.paths()[0]!.remote;

/** The server offers `candidate`, the client learns of it, and starts rounds until a path leads there. */
function punch(pair: Pair, both: Connected, candidate: Addr, ours: Addr, rounds = 4): number {
  const { client, server } = both;
  server.quic.addNatAddress(candidate);
  pair.runUntil(() => client.quic.remoteNatAddresses().includes(candidate));
  client.quic.addNatAddress(ours);
  const isOpen = (): boolean =>
    client.quic.paths().some(({ remote, validated }) => remote === candidate && validated);
  for (let round = 1; round <= rounds; round++) {
    expect(client.quic.initiateNatRound(pair.now)).toContain(candidate);
    pair.runFor(3_000);
    if (isOpen()) return round;
  }
  return pair.fail(`no path to ${candidate.text}`);
}

function errorCode(action: () => unknown): string | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    if (!(error instanceof NatTraversalError)) throw error;
    return error.code;
  }
}

describe('I16: NAT traversal opens a path', () => {
  test('I16: simple NAT: endpoint-independent mapping at the client', () => {
    const { pair, both } = connected({ clientNat: 'moderate' });
    const second = pair.server.bind(0, SERVER_SECOND_IP);
    expect(punch(pair, both, second, seenByServer(both))).toBe(1);
    expect(both.client.all('natAddressAdded').map(({ addr }) => addr)).toEqual([second]);
    const path = both.client.quic.paths().find(({ remote }) => remote === second)!;
    // Paths that come of hole punching start as backups; who decides promotes them.
    expect(path.status).toBe('backup');
    both.client.quic.setPathStatus(path.id, 'available');
    both.client.quic.closePath(0, 0, pair.now);
    pair.transfer(both.client, both.server, 100_000);
    pair.transfer(both.server, both.client, 100_000);
    pair.end();
  });

  test('I16: a round towards an address found elsewhere opens a path; before confirmation it waits', () => {
    const pair = new Pair({ seed: SEED });
    const second = pair.server.bind(0, SERVER_SECOND_IP);
    const client = pair.dial();
    pair.runUntil(() => client.has('connected'));
    client.quic.addNatAddress(pair.client.addr);
    // Time must go on although the probe cannot leave yet.
    expect(client.quic.initiateNatRound(pair.now, [second])).toEqual([second]);
    pair.runUntil(() => client.quic.paths().some(({ remote, validated }) => remote === second && validated));
    pair.end();
  });

  test('I16: hard NAT at the client: the server sees the probes come from a new mapping and answers there', () => {
    const { pair, both } = connected({ clientNat: 'strict' });
    const second = pair.server.bind(0, SERVER_SECOND_IP);
    const first = seenByServer(both);
    punch(pair, both, second, first);
    const moved = both.server.quic.paths().find(({ local }) => local === second)!;
    expect(moved.remote.ip).toBe(CLIENT_OUTSIDE_IP);
    expect(moved.remote).not.toBe(first);
    pair.transfer(both.client, both.server, 50_000);
    pair.end();
  });

  test('I16: hard NAT at the server: its probe comes from an address that it did not advertise', () => {
    // Only the client's own filter is in the way: an open NAT lets the server's probes in.
    const { pair, both } = connected({ clientNat: 'open' });
    const { client, server } = both;
    const unadvertised = pair.server.bind(0, SERVER_SECOND_IP);
    const wrong = toAddr(SERVER_SECOND_IP, 9);
    server.quic.addNatAddress(wrong);
    client.quic.addNatAddress(seenByServer(both));
    pair.runUntil(() => client.quic.remoteNatAddresses().includes(wrong));
    client.quic.initiateNatRound(pair.now);
    pair.runFor(15);
    // The round has begun; from now on the server's probes leave through its NAT under another address.
    pair.server.unbind(pair.server.addr);
    expect(pair.server.addr).toBe(unadvertised);
    const toUnadvertised = () => client.quic.paths().find(({ remote }) => remote === unadvertised);
    pair.runUntil(() => toUnadvertised()?.validated === true, {
      withinMs: 10_000,
      what: 'a path to where the probe came from',
    });
    client.quic.closePath(0, 0, pair.now);
    pair.transfer(client, server, 50_000);
    pair.end();
  });

  test('I16: the peer may probe: only after REACH_OUT does a server send to a new address, and boundedly', () => {
    const { pair, both } = connected();
    const { client, server } = both;
    const victim = toAddr('192.0.2.200', 5_000);
    const probes: number[] = [];
    pair.client.host.down.onPass = undefined;
    pair.server.host.up.onPass = ({ to, data }) => {
      if (to === victim) probes.push(data.length);
    };
    server.quic.addNatAddress(pair.server.addr);
    pair.runUntil(() => client.quic.remoteNatAddresses().length === 1);
    client.quic.addNatAddress(victim);
    pair.runFor(1_000);
    expect(probes).toEqual([]);
    client.quic.initiateNatRound(pair.now);
    pair.runFor(60_000);
    expect(probes.length).toBe(9);
    // A probe is small: nobody can make the server flood a third party.
    expect(Math.max(...probes)).toBeLessThan(100);
    pair.requireOpen(client, server);
    pair.end();
  });

  test('I16: a round towards an address that has a path validates that path again', () => {
    const { pair, both } = connected();
    const { client, server } = both;
    server.quic.addNatAddress(pair.server.addr);
    pair.runUntil(() => client.quic.remoteNatAddresses().length === 1);
    client.quic.addNatAddress(pair.client.addr);
    const before = client.quic.pathStats(0)!.udpTx.datagrams;
    client.quic.initiateNatRound(pair.now);
    pair.runFor(1_000);
    expect(client.quic.paths().map(({ id }) => id)).toEqual([0]);
    expect(client.isPathOpen(0)).toBe(true);
    expect(client.quic.pathStats(0)!.udpTx.datagrams).toBeGreaterThan(before);
    pair.transfer(client, server, 50_000);
    pair.end();
  });
});

describe('I17: candidates', () => {
  test('I17: an added candidate goes out without other traffic, and a removed one is taken back', () => {
    const { pair, both } = connected();
    const { client, server } = both;
    const addr = toAddr('203.0.113.9', 4_000);
    const startedAt = pair.now;
    server.quic.addNatAddress(addr);
    pair.runUntil(() => client.has('natAddressAdded'), { withinMs: 500 });
    expect(pair.now - startedAt).toBeLessThan(100);
    expect(client.quic.remoteNatAddresses()).toEqual([addr]);
    server.quic.removeNatAddress(addr);
    pair.runUntil(() => client.has('natAddressRemoved'), { withinMs: 500 });
    expect(client.quic.remoteNatAddresses()).toEqual([]);
    expect(server.quic.localNatAddresses()).toEqual([]);
    pair.end();
  });

  test('I17: an advertisement that is lost is sent again', () => {
    const { pair, both } = connected();
    const addr = toAddr('203.0.113.9', 4_000);
    pair.drop('server', 1);
    both.server.quic.addNatAddress(addr);
    pair.runUntil(() => both.client.quic.remoteNatAddresses().includes(addr));
    pair.end();
  });

  test('I17: calls on the wrong side, without candidates, or without the extension are refused', () => {
    const { pair, both } = connected();
    expect(errorCode(() => both.server.quic.initiateNatRound(pair.now))).toBe('wrongSide');
    expect(errorCode(() => both.client.quic.initiateNatRound(pair.now))).toBe('notEnoughAddresses');
    pair.end();
    const plain = connected({ transport: { maxNatAddresses: undefined } });
    expect(errorCode(() => plain.both.client.quic.addNatAddress(pair.client.addr))).toBe('notNegotiated');
    plain.pair.end();
  });
});
