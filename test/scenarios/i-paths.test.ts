/** Paths of one connection: opening, statuses, closing from either side, and data that goes on meanwhile. */
import { describe, expect, test } from '@jest/globals';
import { toAddr } from '../../src/base/socket-addr.ts';
import { MAX_MULTIPATH_PATHS } from '../../src/quic/config.ts';
import type { FourTuple, PathId, StreamId } from '../../src/quic/engine.ts';
import { PathError } from '../../src/quic/paths/path-table.ts';
import { TRANSPORT_CODES } from '../../src/quic/transport-error.ts';
import { CLIENT_SECOND_IP, Pair, type Connected, type PairOptions } from '../support/pair.ts';
import type { SimConnection } from '../support/sim-connection.ts';
import { delay, loss } from '../support/sim-network.ts';

const SEED = 20_260;
/** Nobody answers here. */
const NOWHERE = toAddr('192.0.2.77', 9);

/** A connected pair whose connection ids for further paths have arrived. */
function connected(options: Partial<PairOptions> = {}): { pair: Pair; both: Connected } {
  const pair = new Pair({ seed: SEED, ...options });
  const both = pair.connect();
  pair.runFor(500);
  return { pair, both };
}

function codeOf(action: () => unknown): string | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    if (!(error instanceof PathError)) throw error;
    return error.code;
  }
}

const abandoned = (side: SimConnection, path: PathId) =>
  side.all('pathAbandoned').find((event) => event.path === path)?.reason;

/** Stream data and acks that a side sent on a path. */
const sentBytes = (side: SimConnection, path: PathId): number => side.quic.pathStats(path)!.udpTx.bytes;

describe('I01: multipath is on only when both sides offer it', () => {
  test.each([
    [8, 8, true],
    [undefined, 8, false],
    [8, undefined, false],
    [undefined, undefined, false],
  ])('client %s paths, server %s paths', (clientPaths, serverPaths, expected) => {
    const { pair, both } = connected({
      clientTransport: { maxConcurrentPaths: clientPaths, maxNatAddresses: undefined },
      serverTransport: { maxConcurrentPaths: serverPaths, maxNatAddresses: undefined },
    });
    expect([both.client.quic.multipath, both.server.quic.multipath]).toEqual([expected, expected]);
    if (!expected) {
      const tuple = { local: undefined, remote: NOWHERE };
      const open = () => both.client.quic.openPathEnsure(tuple, 'available', pair.now);
      expect(codeOf(open)).toBe('multipathNotNegotiated');
      expect(codeOf(() => both.client.quic.closePath(0, 0, pair.now))).toBe('multipathNotNegotiated');
    }
    pair.transfer(both.client, both.server, 5_000);
    pair.end();
  });
});

describe('I02: a client opens a path', () => {
  test('I02: it is validated, both sides say so once, and its packets are acknowledged', () => {
    const { pair, both } = connected();
    const path = pair.openPath(both);
    expect(path).toBe(1);
    for (const side of [both.client, both.server]) {
      expect(side.all('pathEstablished').map((event) => event.path)).toEqual([0, 1]);
    }
    // Only the second path is left to carry data, so its own acknowledgments must work in both directions.
    both.client.quic.setPathStatus(0, 'backup');
    both.server.quic.setPathStatus(0, 'backup');
    pair.transfer(both.client, both.server, 200_000);
    pair.transfer(both.server, both.client, 200_000);
    pair.runFor(200);
    for (const side of [both.client, both.server]) {
      const stats = side.quic.pathStats(path)!;
      expect(stats.udpTx.bytes).toBeGreaterThan(200_000);
      expect(stats.rttMs).toBeGreaterThanOrEqual(20);
      expect(stats.bytesInFlight).toBeLessThan(5_000);
      expect(stats.lostPackets).toBe(0);
    }
    pair.end();
  });

  test('I02: a key update is shared by all paths', () => {
    const { pair, both } = connected();
    pair.openPath(both);
    pair.transfer(both.client, both.server, 20_000);
    const before = both.client.quic.stats().keyUpdates;
    both.client.quic.forceKeyUpdate();
    pair.transfer(both.client, both.server, 100_000);
    pair.transfer(both.server, both.client, 100_000);
    expect(both.client.quic.stats().keyUpdates).toBeGreaterThan(before);
    expect(both.server.quic.stats().keyUpdates).toBe(both.client.quic.stats().keyUpdates);
    const second = pair.openPath(both, { local: pair.client.bind(0, CLIENT_SECOND_IP) });
    expect(both.server.isPathOpen(second)).toBe(true);
    pair.end();
  });

  test('I02: the server does not open paths', () => {
    const { pair, both } = connected();
    const tuple: FourTuple = { local: undefined, remote: pair.client.addr };
    expect(codeOf(() => both.server.quic.openPathEnsure(tuple, 'available', pair.now))).toBe(
      'serverSideNotAllowed',
    );
    pair.end();
  });
});

describe('I03: a path that cannot be validated', () => {
  test('I03: nobody answers the client: abandoned, never established, the connection lives', () => {
    const { pair, both } = connected();
    const path = both.client.quic.openPathEnsure(
      { local: undefined, remote: NOWHERE },
      'available',
      pair.now,
    );
    pair.runUntil(() => abandoned(both.client, path) !== undefined, { withinMs: 20_000 });
    expect(both.client.all('pathEstablished').map((event) => event.path)).toEqual([0]);
    expect(['validationFailed', 'timedOut']).toContain(abandoned(both.client, path)!.type);
    pair.transfer(both.client, both.server, 20_000);
    pair.end();
  });

  test("I03: the client's answers get lost: the server abandons the path, the connection lives", () => {
    const { pair, both } = connected();
    const local = pair.client.bind();
    // The first packet arrives and opens the path; nothing that follows does.
    let passed = 0;
    pair.client.host.up.dropIf = (datagram) => datagram.from === local && passed++ > 0;
    const path = both.client.quic.openPathEnsure({ local, remote: pair.server.addr }, 'available', pair.now);
    pair.runUntil(() => abandoned(both.server, path) !== undefined, { withinMs: 40_000 });
    expect(both.server.all('pathEstablished').map((event) => event.path)).toEqual([0]);
    pair.transfer(both.server, both.client, 20_000);
    pair.end();
  });

  test('I03: a lost challenge is sent again', () => {
    const { pair, both } = connected();
    const local = pair.client.bind();
    let lost = 0;
    pair.client.host.up.dropIf = (datagram) => datagram.from === local && lost++ < 3;
    const path = pair.openPath(both, { local });
    expect(lost).toBeGreaterThan(3);
    expect(both.client.isPathOpen(path)).toBe(true);
    pair.end();
  });
});

describe('I04: opening is idempotent', () => {
  test('I04: the same remote gives the same path, an abandoned one a new id', () => {
    const { pair, both } = connected();
    const local = pair.client.bind();
    const tuple = { local, remote: pair.server.addr };
    const path = pair.openPath(both, { local });
    expect(both.client.quic.openPathEnsure(tuple, 'available', pair.now)).toBe(path);
    expect(
      both.client.quic.openPathEnsure({ ...tuple, local: undefined }, 'available', pair.now),
    ).toBeLessThanOrEqual(path);
    both.client.quic.closePath(path, 0, pair.now);
    expect(pair.openPath(both, { local })).toBe(path + 1);
    pair.end();
  });
});

describe('I05: path status', () => {
  test('I05: available and backup reach the peer, and repeat nothing', () => {
    const { pair, both } = connected();
    const path = pair.openPath(both, {}, 'backup');
    pair.runFor(200);
    const statuses = (): string[] =>
      both.server
        .all('pathRemoteStatus')
        .filter((event) => event.path === path)
        .map((event) => event.status);
    expect(statuses()).toEqual(['backup']);
    expect(both.client.quic.setPathStatus(path, 'available')).toBe('backup');
    expect(both.client.quic.setPathStatus(path, 'available')).toBe('available');
    pair.runFor(200);
    expect(statuses()).toEqual(['backup', 'available']);
    expect(both.client.quic.setPathStatus(path, 'backup')).toBe('available');
    pair.runFor(200);
    expect(statuses()).toEqual(['backup', 'available', 'backup']);
    // What the peer asks for does not change what we prefer.
    expect(both.server.quic.paths().find(({ id }) => id === path)!.status).toBe('available');
    pair.end();
  });

  test('I05: a status whose packet is lost is sent again', () => {
    const { pair, both } = connected();
    const path = pair.openPath(both);
    pair.runFor(200);
    both.client.quic.setPathStatus(path, 'backup');
    pair.drop('client', 1);
    pair.runUntil(() => both.server.all('pathRemoteStatus').at(-1)?.status === 'backup');
    pair.end();
  });

  test('I05, inv-P3: data goes over available paths only, over a backup when there is no other', () => {
    const { pair, both } = connected();
    const path = pair.openPath(both, {}, 'backup');
    pair.runFor(1_000);
    let before = sentBytes(both.client, path);
    pair.transfer(both.client, both.server, 300_000);
    expect(sentBytes(both.client, path) - before).toBeLessThan(6_000);
    both.client.quic.setPathStatus(0, 'backup');
    both.client.quic.setPathStatus(path, 'available');
    before = sentBytes(both.client, 0);
    pair.transfer(both.client, both.server, 300_000);
    expect(sentBytes(both.client, 0) - before).toBeLessThan(60_000);
    both.client.quic.setPathStatus(path, 'backup');
    both.client.quic.closePath(path, 0, pair.now);
    pair.transfer(both.client, both.server, 100_000);
    pair.end();
  });
});

describe('I06: closing a path here', () => {
  test.each(['client', 'server'] as const)('I06: the %s closes one of two, not the last', (name) => {
    const { pair, both } = connected();
    const path = pair.openPath(both);
    const side = both[name];
    const peer = name === 'client' ? both.server : both.client;
    side.quic.closePath(0, 77, pair.now);
    pair.drive();
    expect(abandoned(side, 0)).toEqual({ type: 'applicationClosed', code: 77 });
    expect(codeOf(() => side.quic.closePath(0, 0, pair.now))).toBe('closedPath');
    expect(codeOf(() => side.quic.closePath(path, 0, pair.now))).toBe('lastOpenPath');
    expect(codeOf(() => side.quic.closePath(99, 0, pair.now))).toBe('closedPath');
    expect(codeOf(() => side.quic.setPathStatus(0, 'backup'))).toBe('closedPath');
    pair.runUntil(() => abandoned(peer, 0) !== undefined);
    expect(abandoned(peer, 0)).toEqual({ type: 'remoteAbandoned', code: 77 });
    // The state lingers for three PTOs, then goes, with its last figures.
    const before = pair.now;
    pair.runUntil(() => [side, peer].every((each) => each.has('pathDiscarded')));
    expect(pair.now - before).toBeGreaterThan(60);
    expect(side.all('pathDiscarded')[0]!.stats.udpTx.bytes).toBeGreaterThan(0);
    expect(side.quic.pathStats(0)).toBeUndefined();
    pair.transfer(both.client, both.server, 30_000);
    pair.transfer(both.server, both.client, 30_000);
    pair.end();
  });
});

describe('I07: the peer abandons a path', () => {
  test('I07: with another path the connection goes on', () => {
    const { pair, both } = connected();
    const path = pair.openPath(both);
    both.server.quic.closePath(path, 5, pair.now);
    pair.runUntil(() => abandoned(both.client, path) !== undefined);
    expect(abandoned(both.client, path)).toEqual({ type: 'remoteAbandoned', code: 5 });
    pair.transfer(both.client, both.server, 100_000);
    pair.end();
  });

  /** Each side closes the path that the other one keeps: together they close both. */
  function crossedClose(pair: Pair, both: Connected): void {
    const path = pair.openPath(both);
    both.client.quic.closePath(0, 0, pair.now);
    both.server.quic.closePath(path, 0, pair.now);
  }

  test('I07: the last one: after a grace, the connection ends with NO_VIABLE_PATH', () => {
    const { pair, both } = connected();
    crossedClose(pair, both);
    const startedAt = pair.now;
    pair.runUntil(() => both.client.closeReason !== undefined && both.server.closeReason !== undefined);
    expect(pair.now - startedAt).toBeGreaterThan(100);
    const reasons = [both.client.closeReason, both.server.closeReason];
    const failed = reasons.filter(
      (reason) => reason?.type === 'transportError' && reason.error.code === 'NO_VIABLE_PATH',
    );
    expect(failed.length).toBeGreaterThan(0);
    for (const reason of reasons) {
      expect(
        (reason?.type === 'transportError' && reason.error.wireCode === TRANSPORT_CODES.NO_VIABLE_PATH) ||
          (reason?.type === 'connectionClosed' && reason.code === BigInt(TRANSPORT_CODES.NO_VIABLE_PATH)),
      ).toBe(true);
    }
    pair.end();
  });

  test('I07: the last one: the client may open a new path within the grace', () => {
    const { pair, both } = connected();
    crossedClose(pair, both);
    pair.runUntil(() => both.client.quic.paths().length === 0);
    const path = pair.openPath(both);
    expect(path).toBe(2);
    pair.runFor(10_000);
    pair.requireOpen(both.client, both.server);
    pair.transfer(both.client, both.server, 50_000);
    pair.transfer(both.server, both.client, 50_000);
    pair.end();
  });
});

describe('I08: no byte is lost when paths end', () => {
  test.each(['client', 'server'] as const)(
    'I08: the %s abandons the path that carries a transfer',
    (name) => {
      const { pair, both } = connected({ links: [delay(15), loss(0.01)] });
      pair.openPath(both);
      const up = pair.bytes(400_000);
      const down = pair.bytes(400_000);
      const upId = both.client.sendNew(up);
      const downId = both.server.sendNew(down);
      pair.runUntil(() => both.server.received(upId) > 50_000 && both.client.received(downId) > 50_000);
      both[name].quic.closePath(0, 0, pair.now);
      pair.awaitStream(both.client, both.server, upId, up);
      pair.awaitStream(both.server, both.client, downId, down);
      pair.end();
    },
  );

  test('I08: paths are opened and abandoned again and again; none is established after its end', () => {
    const { pair, both } = connected({ links: [delay(15), loss(0.02)] });
    const data = pair.bytes(3_000_000);
    const id = both.client.sendNew(data);
    for (let cycle = 0; cycle < 12; cycle++) {
      const path = pair.openPath(both);
      pair.runFor(60);
      // The path that carries the data now.
      const carrying = both.client.quic.paths()[0]!.id;
      (cycle % 2 === 0 ? both.client : both.server).quic.closePath(carrying, 0, pair.now);
      expect(path).toBe(cycle + 1);
    }
    pair.awaitStream(both.client, both.server, id, data);
    for (const side of [both.client, both.server]) {
      for (const { path } of side.all('pathAbandoned')) {
        const end = side.events.findIndex((event) => event.type === 'pathAbandoned' && event.path === path);
        const late = side.events.slice(end).filter((event) => 'path' in event && event.path === path);
        expect(late.map((event) => event.type).filter((type) => type === 'pathEstablished')).toEqual([]);
      }
    }
    pair.end();
  });

  test('I08: abandoned before its validation: never established', () => {
    const { pair, both } = connected();
    const local = pair.client.bind();
    const path = both.client.quic.openPathEnsure({ local, remote: pair.server.addr }, 'available', pair.now);
    pair.runFor(15);
    both.client.quic.closePath(path, 0, pair.now);
    pair.runFor(2_000);
    expect(both.client.all('pathEstablished').map((event) => event.path)).not.toContain(path);
    pair.end();
  });
});

describe('I09: path ids and connection ids', () => {
  test('I09: the budget of ids follows their use, also when grants arrive in disorder', () => {
    const { pair, both } = connected({ links: [delay(10, 8), loss(0.05)] });
    const used: PathId[] = [];
    for (let i = 0; i < 3 * MAX_MULTIPATH_PATHS; i++) {
      const path = pair.openPath(both);
      used.push(path);
      both.client.quic.closePath(path, 0, pair.now);
      pair.runUntil(() => both.client.all('pathDiscarded').some((event) => event.path === path));
    }
    expect(used).toEqual(Array.from(used, (_, i) => i + 1));
    pair.end();
  });

  test('I09: not more paths at a time than the limit, and PATHS_BLOCKED harms nobody', () => {
    const { pair, both } = connected();
    for (let i = 1; i < MAX_MULTIPATH_PATHS; i++) pair.openPath(both);
    const tuple = (): FourTuple => ({ local: pair.client.bind(), remote: pair.server.addr });
    const open = () => both.client.quic.openPathEnsure(tuple(), 'available', pair.now);
    expect(codeOf(open)).toBe('maxPathIdReached');
    pair.drop('client', 2);
    pair.runFor(2_000);
    pair.requireOpen(both.client, both.server);
    both.client.quic.closePath(3, 0, pair.now);
    pair.runUntil(() => both.client.all('pathDiscarded').length === 1);
    expect(pair.openPath(both)).toBe(MAX_MULTIPATH_PATHS);
    pair.end();
  });
});

describe('I13 to I15: measurements and silence', () => {
  test('I13: a path survives a silent gap by its keep-alives', () => {
    const { pair, both } = connected();
    const local = pair.client.bind();
    const path = pair.openPath(both, { local });
    pair.runFor(1_000);
    pair.client.host.up.dropIf = (datagram) => datagram.from === local;
    pair.client.host.down.dropIf = (datagram) => datagram.to === local;
    pair.runFor(8_000);
    pair.client.host.up.dropIf = undefined;
    pair.client.host.down.dropIf = undefined;
    const heard = both.client.quic.pathStats(path)!.udpRx.datagrams;
    pair.runFor(8_000);
    expect(both.client.isPathOpen(path)).toBe(true);
    expect(both.client.quic.pathStats(path)!.udpRx.datagrams).toBeGreaterThan(heard);
    pair.end();
  });

  test.each(['client', 'server'] as const)(
    'D20, the engine: the %s sends on a path that goes silent: the backup takes over long before the idle time-out, and back',
    (name) => {
      const { pair, both } = connected();
      const peer = name === 'client' ? both.server : both.client;
      const backup = pair.openPath(both, {}, 'backup');
      pair.runFor(1_000);
      const first = pair.client.addr;
      pair.client.host.up.dropIf = (datagram) => datagram.from === first;
      pair.client.host.down.dropIf = (datagram) => datagram.to === first;
      const start = pair.now;
      const sent = pair.bytes(100_000);
      const id = both[name].sendNew(sent);
      pair.awaitStream(both[name], peer, id, sent);
      expect(pair.now - start).toBeLessThan(1_000);
      expect(both[name].all('pathStalled').map((event) => event.path)).toEqual([0]);
      expect(both[name].quic.paths().map((path) => [path.id, path.stalled])).toEqual([
        [0, true],
        [backup, false],
      ]);
      pair.client.host.up.dropIf = undefined;
      pair.client.host.down.dropIf = undefined;
      pair.runUntil(() => both[name].has('pathResumed'));
      pair.transfer(both[name], peer, 30_000);
      pair.end();
    },
  );

  test('D20, the engine: who never stops sending notices the silence as soon', () => {
    const { pair, both } = connected();
    pair.openPath(both, {}, 'backup');
    pair.runFor(1_000);
    const first = pair.client.addr;
    pair.client.host.up.dropIf = (datagram) => datagram.from === first;
    pair.client.host.down.dropIf = (datagram) => datagram.to === first;
    const ids: StreamId[] = [];
    // More often than once a PTO, so that no PTO ever fires.
    for (let ms = 0; ms < 1_000; ms += 10) {
      ids.push(both.client.sendNew(pair.bytes(100)));
      pair.runFor(10);
    }
    expect(both.client.all('pathStalled').map((event) => event.path)).toEqual([0]);
    pair.runFor(500);
    expect(ids.filter((id) => !both.server.isFinished(id))).toEqual([]);
    pair.end();
  });

  test('D20, the engine: nothing is heard any more, but one way still works: probes there bring the data', () => {
    const { pair, both } = connected();
    const backup = pair.openPath(both, {}, 'backup');
    pair.runFor(1_000);
    const first = pair.client.addr;
    // As with iroh: it acknowledges on the path that it prefers, whatever it hears where.
    pair.client.host.up.dropIf = (datagram) => datagram.from === first;
    pair.client.host.down.dropIf = () => true;
    for (const path of [0, backup]) both.client.quic.pingPath(path);
    pair.runUntil(() => both.client.quic.paths().every(({ stalled }) => stalled));
    const start = pair.now;
    const sent = pair.bytes(500);
    const id = both.client.sendNew(sent);
    pair.awaitStream(both.client, both.server, id, sent);
    expect(pair.now - start).toBeLessThan(5_000);
    pair.end();
  });

  test('I14: observed addresses are reported per path', () => {
    const { pair, both } = connected({ clientNat: 'moderate', transport: { addressDiscovery: 'both' } });
    const path = pair.openPath(both);
    pair.runFor(500);
    for (const id of [0, path]) {
      const seen = both.client.all('observedAddress').filter((event) => event.path === id);
      const remote = both.server.quic.paths().find((each) => each.id === id)!.remote;
      expect(seen.at(-1)!.addr).toBe(remote);
      expect(remote.ip).not.toBe(pair.client.addr.ip);
    }
    expect(both.server.all('observedAddress').at(-1)!.addr).toBe(pair.server.addr);
    pair.end();
  });

  test('I14: nothing is reported unless both agreed', () => {
    const { pair, both } = connected({ clientTransport: { addressDiscovery: 'both' } });
    expect(both.client.has('observedAddress') || both.server.has('observedAddress')).toBe(false);
    pair.end();
  });

  test('I15: two paths find two different MTUs', () => {
    const { pair, both } = connected();
    const narrow = pair.client.bind();
    const tooBig = (datagram: { from: unknown; to: unknown; data: Uint8Array }): boolean =>
      (datagram.from === narrow || datagram.to === narrow) && datagram.data.length > 1_300;
    pair.client.host.up.dropIf = tooBig;
    pair.client.host.down.dropIf = tooBig;
    const path = pair.openPath(both, { local: narrow });
    pair.runFor(20_000);
    expect(both.client.isPathOpen(path)).toBe(true);
    expect(both.client.quic.pathStats(0)!.mtu).toBeGreaterThanOrEqual(1_432);
    const { mtu } = both.client.quic.pathStats(path)!;
    expect(mtu).toBeLessThanOrEqual(1_300);
    expect(mtu).toBeGreaterThan(1_250);
    pair.end();
  });
});
