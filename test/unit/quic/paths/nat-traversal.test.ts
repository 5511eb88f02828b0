import { describe, expect, test } from '@jest/globals';
import { Writer } from '../../../../src/base/bytes.ts';
import { toAddr } from '../../../../src/base/socket-addr.ts';
import {
  MAX_NAT_PROBE_ATTEMPTS,
  MAX_NAT_PROBE_INTERVAL_MS,
  NatTraversal,
} from '../../../../src/quic/paths/nat-traversal.ts';
import type { SentFrame } from '../../../../src/quic/sent-frame.ts';
import { SimRng } from '../../../support/sim-rng.ts';

const addr = (n: number) => toAddr('192.0.2.1', n);
const violation = expect.objectContaining({ code: 'PROTOCOL_VIOLATION' });
const make = (side: 'client' | 'server', local = 3, remote = 3): NatTraversal =>
  new NatTraversal(side, local, remote, 1_000);

function frames(nat: NatTraversal): SentFrame[] {
  const sent: SentFrame[] = [];
  nat.writeFrames(new Writer(), sent);
  return sent;
}

function events(nat: NatTraversal): unknown[] {
  const list: unknown[] = [];
  for (let event = nat.pollEvent(); event !== undefined; event = nat.pollEvent()) list.push(event);
  return list;
}

describe('candidates', () => {
  test('of ours: not more than the peer takes; a removal makes room', () => {
    const nat = make('server', 3, 2);
    for (const n of [1, 1, 2]) nat.addLocal(addr(n));
    expect(() => nat.addLocal(addr(3))).toThrow(expect.objectContaining({ code: 'tooManyAddresses' }));
    nat.removeLocal(addr(1));
    nat.addLocal(addr(3));
    expect(nat.localAddresses()).toEqual([addr(2), addr(3)]);
  });

  test('a server advertises them; one never sent needs no withdrawal, a lost one is repeated while it holds', () => {
    const nat = make('server');
    nat.addLocal(addr(1));
    nat.addLocal(addr(2));
    nat.removeLocal(addr(1));
    const [first] = frames(nat);
    expect(first).toEqual({ type: 'addAddress', sequence: 1 });
    nat.onFrameLost(first!);
    expect(frames(nat)).toEqual([first]);
    nat.removeLocal(addr(2));
    expect(frames(nat)).toEqual([{ type: 'removeAddress', sequence: 1 }]);
    nat.onFrameLost(first!);
    expect(nat.wantsFrames).toBe(false);
  });

  test('of the server: above our limit they are ignored, another address under a number replaces', () => {
    const nat = make('client', 2);
    for (const n of [0, 1, 2]) nat.handleAddAddress(n, addr(n));
    nat.handleAddAddress(0, addr(0));
    nat.handleAddAddress(1, addr(9));
    nat.handleRemoveAddress(7);
    nat.handleRemoveAddress(0);
    expect(nat.remoteAddresses()).toEqual([addr(9)]);
    expect(events(nat)).toEqual([
      { type: 'natAddressAdded', addr: addr(0) },
      { type: 'natAddressAdded', addr: addr(1) },
      { type: 'natAddressRemoved', addr: addr(1) },
      { type: 'natAddressAdded', addr: addr(9) },
      { type: 'natAddressRemoved', addr: addr(0) },
    ]);
  });

  test('frames from the wrong side are a PROTOCOL_VIOLATION', () => {
    expect(() => make('server').handleAddAddress(0, addr(1))).toThrow(violation);
    expect(() => make('server').handleRemoveAddress(0)).toThrow(violation);
    expect(() => make('client').handleReachOut(1, addr(1), 0)).toThrow(violation);
  });
});

describe('rounds', () => {
  test('start at the client, and only with candidates of its own', () => {
    expect(() => make('server').startRound(0)).toThrow(expect.objectContaining({ code: 'wrongSide' }));
    const nat = make('client');
    nat.handleAddAddress(0, addr(2));
    expect(() => nat.startRound(0)).toThrow(expect.objectContaining({ code: 'notEnoughAddresses' }));
    nat.addLocal(addr(1));
    expect([nat.startRound(0), nat.round, nat.probeDue(0)]).toEqual([[addr(2)], 1, addr(2)]);
  });

  test('do not wait for candidates of the server: it is told ours, and an answer of the round before still counts', () => {
    const nat = make('client');
    nat.addLocal(addr(1));
    expect([nat.startRound(0), nat.probeDue(0)]).toEqual([[], undefined]);
    expect(frames(nat)).toEqual([{ type: 'reachOut', round: 1, addr: addr(1) }]);
    // Its first probe comes before its candidates.
    const rng = new SimRng(1);
    const token = nat.challengeFor(addr(2), rng)!;
    const other = nat.challengeFor(addr(3), rng)!;
    nat.handleAddAddress(0, addr(2));
    expect([nat.startRound(5), nat.probeDue(5)]).toEqual([[addr(2)], addr(2)]);
    expect(nat.handleResponse(token, addr(2))).toBe(true);
    expect(nat.handleResponse(other, addr(3))).toBe(true);
    expect([nat.probeDue(5), nat.deadline]).toEqual([undefined, Infinity]);
  });

  test('remember as many challenges to an address as may be under way', () => {
    const nat = make('client');
    nat.addLocal(addr(1));
    const rng = new SimRng(1);
    const rounds = [1, 2].map(() => {
      nat.startRound(0);
      return Array.from({ length: MAX_NAT_PROBE_ATTEMPTS + 1 }, () => nat.challengeFor(addr(2), rng)!);
    });
    expect(nat.handleResponse(rounds[0]![0]!, addr(2))).toBe(false);
    expect(nat.handleResponse(rounds[0]![2]!, addr(2))).toBe(true);
    expect(nat.handleResponse(rounds[1]![0]!, addr(2))).toBe(true);
  });

  test('a lost REACH_OUT of the present round is repeated, one of an older round is not', () => {
    const nat = make('client');
    nat.addLocal(addr(1));
    nat.handleAddAddress(0, addr(2));
    nat.startRound(0);
    const [old] = frames(nat);
    nat.startRound(0);
    const [present] = frames(nat);
    nat.onFrameLost(old!);
    expect(nat.wantsFrames).toBe(false);
    nat.onFrameLost(present!);
    expect(frames(nat)).toEqual([{ type: 'reachOut', round: 2, addr: addr(1) }]);
  });

  test('a server probes as many addresses of a round as it takes, and forgets them with the next', () => {
    const nat = make('server', 2);
    for (const n of [1, 1, 2]) nat.handleReachOut(5, addr(n), 0);
    expect(() => nat.handleReachOut(5, addr(3), 0)).toThrow(violation);
    nat.handleReachOut(4, addr(3), 0);
    nat.handleReachOut(6, addr(3), 0);
    expect([nat.round, nat.probeDue(0)]).toEqual([6, addr(3)]);
  });
});

describe('probes', () => {
  test('go out nine times, each gap twice the last, at most two seconds', () => {
    const nat = make('server');
    nat.handleReachOut(1, addr(1), 0);
    const rng = new SimRng(1);
    const gaps: number[] = [];
    let now = 0;
    while (nat.probeDue(now) !== undefined) {
      nat.onProbeSend(addr(1), rng, now);
      gaps.push(nat.deadline - now);
      now = nat.deadline;
      if (now === Infinity) break;
    }
    expect(gaps).toEqual([100, 100, 200, 400, 800, 1_600, MAX_NAT_PROBE_INTERVAL_MS, 2_000, Infinity]);
    expect(gaps).toHaveLength(MAX_NAT_PROBE_ATTEMPTS);
  });

  test('are answered from their own address only, and end with the answer', () => {
    const nat = make('server');
    nat.handleReachOut(1, addr(1), 0);
    nat.handleReachOut(1, addr(2), 0);
    const token = nat.onProbeSend(addr(1), new SimRng(1), 0);
    expect(nat.handleResponse(token, addr(2))).toBe(false);
    expect(nat.handleResponse(new Uint8Array(8), addr(1))).toBe(false);
    expect(nat.handleResponse(token, addr(1))).toBe(true);
    expect(nat.probeDue(10_000)).toBe(addr(2));
  });

  test('beside an answer: client only, bounded in addresses and in challenges of each', () => {
    const rng = new SimRng(1);
    expect(make('server').challengeFor(addr(1), rng)).toBeUndefined();
    const nat = make('client', 2);
    nat.addLocal(addr(1));
    nat.handleAddAddress(0, addr(2));
    expect(nat.challengeFor(addr(3), rng)).toBeUndefined();
    nat.startRound(0);
    let count = 0;
    while (nat.challengeFor(addr(3), rng) !== undefined) count++;
    expect(count).toBe(2 * MAX_NAT_PROBE_ATTEMPTS);
    expect(nat.challengeFor(addr(4), rng)).toBeUndefined();
  });
});
