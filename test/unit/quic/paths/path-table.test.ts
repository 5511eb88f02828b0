import { describe, expect, test } from '@jest/globals';
import { toAddr } from '../../../../src/base/socket-addr.ts';
import { DEFAULT_TRANSPORT_CONFIG } from '../../../../src/quic/config.ts';
import { MAX_LINGERING_PATHS, MAX_PATH_ID, PathTable } from '../../../../src/quic/paths/path-table.ts';
import { MAX_PENDING_RESPONSES, Path } from '../../../../src/quic/paths/path.ts';

const LOCAL = toAddr('10.0.0.1', 1);
const remote = (n: number) => toAddr('192.0.2.1', n);
const violation = expect.objectContaining({ code: 'PROTOCOL_VIOLATION' });

function newPath(id: number, local = false): Path {
  const tuple = { remote: remote(id), local: local ? LOCAL : undefined };
  return new Path(id, tuple, 'client', DEFAULT_TRANSPORT_CONFIG, 25);
}

function abandon(path: Path): void {
  path.abandoned = {
    reason: { type: 'timedOut' },
    code: 0,
    framePending: true,
    frameAcked: false,
    peerAbandoned: false,
  };
}

describe('path ids', () => {
  test('are never used twice (draft-ietf-quic-multipath §3.4)', () => {
    const table = new PathTable();
    const path = newPath(4);
    table.add(newPath(0));
    table.add(path);
    table.remove(path);
    expect([table.wasUsed(4), table.wasUsed(3), table.get(4), table.nextId()]).toEqual([
      true,
      false,
      undefined,
      5,
    ]);
  });

  test('are limited by the smaller of both limits; without multipath there is path 0 alone', () => {
    const table = new PathTable();
    expect([table.multipath, table.maxPathId]).toEqual([false, 0]);
    table.localMax = 7;
    expect([table.multipath, table.maxPathId]).toEqual([false, 0]);
    table.remoteMax = 3;
    expect([table.multipath, table.maxPathId]).toEqual([true, 3]);
  });

  test('MAX_PATH_ID only raises the limit, never beyond 32 bits (§4.6)', () => {
    const table = new PathTable();
    expect(() => table.handleMaxPathId(1)).toThrow(violation);
    table.remoteMax = 5;
    expect([4, 5, 6].map((max) => table.handleMaxPathId(max))).toEqual([false, false, true]);
    table.handleMaxPathId(2 ** 40);
    expect(table.remoteMax).toBe(MAX_PATH_ID);
  });

  test('a blocked frame may name the limit, not more (§4.7)', () => {
    const table = new PathTable();
    expect(() => table.checkAllowed(0, 'PATHS_BLOCKED')).toThrow(violation);
    table.localMax = 5;
    table.checkAllowed(5, 'PATHS_BLOCKED');
    expect(() => table.checkAllowed(6, 'PATHS_BLOCKED')).toThrow(violation);
  });

  test('each path that ends grants one id, up to the last of 32 bits', () => {
    const table = new PathTable();
    table.grantOneMore();
    expect(table.maxPathIdPending).toBe(false);
    table.localMax = MAX_PATH_ID - 1;
    table.grantOneMore();
    table.grantOneMore();
    expect([table.localMax, table.maxPathIdPending]).toEqual([MAX_PATH_ID, true]);
  });
});

test('ids that many lingering paths would earn are granted when those are forgotten', () => {
  const table = new PathTable();
  table.localMax = 8;
  const count = MAX_LINGERING_PATHS + 5;
  const paths = Array.from({ length: count }, (_, id) => newPath(id));
  for (const path of paths) {
    table.add(path);
    abandon(path);
    table.grantOneMore();
  }
  expect(table.localMax).toBe(8 + MAX_LINGERING_PATHS);
  for (const path of paths) table.remove(path);
  expect(table.localMax).toBe(8 + count);
});

describe('the path that carries data', () => {
  test('is the lowest validated one that is available, else the lowest validated backup', () => {
    const table = new PathTable();
    const [a, b, c] = [newPath(0), newPath(1), newPath(2)];
    for (const path of [c, a, b]) table.add(path);
    expect(table.list.map(({ id }) => id)).toEqual([0, 1, 2]);
    expect([table.dataPath(false), table.dataPath(true)]).toEqual([undefined, a]);
    c.validated = true;
    c.status = 'backup';
    expect(table.dataPath(true)).toBe(c);
    b.validated = true;
    expect(table.dataPath(true)).toBe(b);
    abandon(b);
    expect(table.dataPath(true)).toBe(c);
    expect(table.openCount()).toBe(2);
  });

  test('is found by its addresses; an unknown local one matches any; an abandoned one none', () => {
    const table = new PathTable();
    const path = newPath(1, true);
    table.add(path);
    expect([table.find(remote(1), undefined), table.find(remote(1), LOCAL)]).toEqual([path, path]);
    expect([table.find(remote(1), remote(9)), table.find(remote(2), LOCAL)]).toEqual([undefined, undefined]);
    expect(table.isValidatedAddress(remote(1), LOCAL)).toBe(false);
    path.validated = true;
    expect(table.isValidatedAddress(remote(1), LOCAL)).toBe(true);
    abandon(path);
    expect(table.find(remote(1), LOCAL)).toBeUndefined();
  });
});

test('waiting responses: one per remote, the newest challenge; a flood from more is dropped', () => {
  const path = newPath(0);
  const queue = (n: number, mark: number): void =>
    path.queueResponse({
      token: new Uint8Array(8).fill(mark),
      remote: remote(n),
      local: LOCAL,
      padTo: 1_200,
    });
  for (let n = 0; n < 2 * MAX_PENDING_RESPONSES; n++) queue(n, 1);
  queue(0, 2);
  expect(path.responses).toHaveLength(MAX_PENDING_RESPONSES);
  expect(path.responses[0]?.token[0]).toBe(2);
  expect(path.responses.at(-1)?.remote).toBe(remote(MAX_PENDING_RESPONSES - 1));
});
