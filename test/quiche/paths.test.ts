import { describe, expect, test } from '@jest/globals';
import { toAddr, type Addr } from '../../src/base/socket-addr.ts';
import { SimRng } from '../support/sim-rng.ts';
import { EngineLink, type EngineKind, type LinkOptions } from './engine-link.ts';

const bytes = (length: number, seed: number): Uint8Array => new SimRng(seed).bytes(length);
const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

/** Other addresses of both; the wire delivers by port, whatever the ip. */
const SERVER_ELSEWHERE = toAddr('127.0.0.9', 4_002);
const CLIENT_ELSEWHERE = toAddr('127.0.0.8', 4_077);
const SHORT: LinkOptions = { transport: { pathKeepAliveIntervalMs: 100, pathMaxIdleTimeoutMs: 400 } };

function addressOf(link: EngineLink): Addr | undefined {
  return link.server.accepted[0]?.quic.paths()[0]?.remote;
}

/** A connection of a quiche client with a second validated path. */
function twoPaths(options: LinkOptions = {}, server: EngineKind = 'quiche') {
  const link = new EngineLink({ ...options, client: 'quiche', server });
  const { ours, theirs } = link.connect();
  const tuple = { remote: SERVER_ELSEWHERE, local: CLIENT_ELSEWHERE };
  const id = ours.quic.openPathEnsure(tuple, 'backup', link.now);
  link.run(() => ours.has('pathEstablished'), 'the second path');
  return { link, ours, theirs, id };
}

describe.each(['quiche', 'ours'] as const)('a quiche client and a server that is %s', (server) => {
  test('a probed path is established, and nothing moves', () => {
    const { link, ours, theirs, id } = twoPaths({}, server);
    expect(ours.all('pathEstablished')).toEqual([{ type: 'pathEstablished', path: id }]);
    expect(ours.quic.paths()).toMatchObject([
      { id: 0, remote: link.server.addr, status: 'available', validated: true, stalled: false },
      { id, remote: SERVER_ELSEWHERE, local: CLIENT_ELSEWHERE, status: 'backup', validated: true },
    ]);
    expect(theirs.quic.paths()).toMatchObject([{ id: 0, remote: link.client.addr, validated: true }]);
    const again = ours.quic.openPathEnsure(
      { remote: SERVER_ELSEWHERE, local: undefined },
      'backup',
      link.now,
    );
    expect(again).toBe(id);
  });

  test('an available path takes the connection over, and gives it back', () => {
    const { link, ours, theirs, id } = twoPaths({}, server);
    expect(ours.quic.setPathStatus(id, 'available')).toBe('backup');
    link.run(() => theirs.has('pathMigrated'), 'the server follows');
    expect(addressOf(link)).toBe(CLIENT_ELSEWHERE);
    const data = bytes(50_000, 1);
    const stream = ours.open('bi');
    link.settle();
    const before = link.sent.length;
    ours.send(stream, data);
    link.run(() => theirs.isFinished(stream), 'data over the second path');
    theirs.send(stream, data);
    link.run(() => ours.isFinished(stream), 'data back');
    expect(same(ours.data(stream), data)).toBe(true);
    const used = new Set(link.sent.slice(before).map(({ to }) => to));
    expect([...used].sort()).toEqual([CLIENT_ELSEWHERE, SERVER_ELSEWHERE].sort());
    ours.quic.setPathStatus(0, 'available');
    link.run(() => theirs.count('pathMigrated') === 2, 'back');
    expect(addressOf(link)).toBe(link.client.addr);
  });

  test('a NAT gives the client another address', () => {
    const link = new EngineLink({ client: 'quiche', server });
    const { ours, theirs } = link.connect();
    link.aliases.set(link.client.addr, CLIENT_ELSEWHERE);
    const data = bytes(50_000, 1);
    const stream = ours.open('bi');
    ours.send(stream, data);
    link.run(() => theirs.isFinished(stream), 'data from the new address');
    link.run(() => theirs.has('pathMigrated'), 'the server follows');
    expect(addressOf(link)).toBe(CLIENT_ELSEWHERE);
    theirs.send(stream, data);
    link.run(() => ours.isFinished(stream), 'data to the new address');
  });
});

test('our client moves, and the quiche server follows', () => {
  const link = new EngineLink({ client: 'ours', server: 'quiche' });
  const { ours, theirs } = link.connect();
  link.aliases.set(link.client.addr, CLIENT_ELSEWHERE);
  ours.sendNew(bytes(5_000, 1), 'uni');
  link.run(() => theirs.has('pathMigrated'), 'the server follows');
  expect(theirs.all('pathMigrated').at(-1)).toMatchObject({ path: 0, to: { remote: CLIENT_ELSEWHERE } });
});

test.each(['quiche', 'ours'] as const)(
  'a path that stalls is left for another one, and heard again: server %s',
  (server) => {
    const { link, ours, theirs, id } = twoPaths({ transport: { pathKeepAliveIntervalMs: 1_000 } }, server);
    ours.quic.setPathStatus(id, 'available');
    link.run(() => addressOf(link) === CLIENT_ELSEWHERE, 'the server follows');
    // The direct path breaks; the first one works.
    link.cut = (to) => to === SERVER_ELSEWHERE || to === CLIENT_ELSEWHERE;
    const data = bytes(60_000, 1);
    const stream = ours.sendNew(data, 'uni');
    link.run(() => ours.has('pathStalled'), 'stall');
    expect(ours.all('pathStalled')).toEqual([{ type: 'pathStalled', path: id }]);
    expect(ours.quic.paths().find((path) => path.id === id)?.stalled).toBe(true);
    ours.quic.setPathStatus(0, 'available');
    link.run(() => theirs.isFinished(stream), 'data over the first path');
    expect(same(theirs.data(stream), data)).toBe(true);
    expect(addressOf(link)).toBe(link.client.addr);
    expect(ours.has('pathResumed')).toBe(false);
    link.cut = () => false;
    link.run(() => ours.has('pathResumed'), 'the other one is heard again');
    expect(ours.all('pathResumed')).toEqual([{ type: 'pathResumed', path: id }]);
    expect(ours.quic.paths().find((path) => path.id === id)?.stalled).toBe(false);
  },
);

test('a path that nobody answers on is given up', () => {
  const link = new EngineLink();
  const { ours } = link.connect();
  link.cut = (to) => to === SERVER_ELSEWHERE;
  const id = ours.quic.openPathEnsure({ remote: SERVER_ELSEWHERE, local: undefined }, 'backup', link.now);
  expect(ours.quic.paths().find((path) => path.id === id)?.validated).toBe(false);
  link.run(() => ours.has('pathAbandoned'), 'the end of the path');
  expect(ours.all('pathAbandoned')).toEqual([
    { type: 'pathAbandoned', path: id, reason: { type: 'validationFailed' } },
  ]);
  expect(ours.quic.paths().map((path) => path.id)).toEqual([0]);
});

test('a path that is asked for again while nobody answers is probed at once', () => {
  const link = new EngineLink();
  const { ours } = link.connect();
  const open = (): number =>
    ours.quic.openPathEnsure({ remote: SERVER_ELSEWHERE, local: undefined }, 'backup', link.now);
  link.cut = (to) => to === SERVER_ELSEWHERE;
  const id = open();
  link.settle();
  const before = link.sent.length;
  link.cut = () => false;
  expect(open()).toBe(id);
  link.settle();
  expect(link.sent.slice(before).map(({ to }) => to)).toContain(SERVER_ELSEWHERE);
  expect(ours.has('pathEstablished')).toBe(true);
});

test('paths that carry no data are kept alive, and given up when they are silent', () => {
  const { link, ours, id } = twoPaths(SHORT);
  const until = link.now + 1_000;
  link.run(() => link.now > until, 'some keep-alives');
  expect(ours.has('pathAbandoned')).toBe(false);
  link.cut = (to) => to === SERVER_ELSEWHERE || to === CLIENT_ELSEWHERE;
  link.run(() => ours.has('pathAbandoned'), 'the end of the path');
  expect(ours.all('pathAbandoned')).toMatchObject([{ path: id }]);
  expect(ours.closeReason).toBeUndefined();
});

test('closed paths are opened again, more often than quiche has room for', () => {
  const { link, ours, theirs, id } = twoPaths();
  let last = id;
  for (let round = 0; round < 40; round++) {
    ours.quic.closePath(last, 0x3e, link.now);
    const established = ours.count('pathEstablished');
    last = ours.quic.openPathEnsure(
      { remote: toAddr('127.0.0.9', 4_002), local: CLIENT_ELSEWHERE },
      'backup',
      link.now,
    );
    link.run(() => ours.count('pathEstablished') > established, `path ${round}`);
  }
  expect(() => ours.quic.closePath(0, 0x3e, link.now)).not.toThrow();
  link.run(() => theirs.has('pathMigrated'), 'the last path is in use');
  expect(() => ours.quic.closePath(last, 0x3e, link.now)).toThrow(
    expect.objectContaining({ code: 'lastOpenPath' }),
  );
});

test('only the client opens and closes paths, and no more than eight', () => {
  const { link, ours, theirs } = twoPaths();
  const open = (quic: typeof ours.quic, host: number) =>
    quic.openPathEnsure({ remote: toAddr(`127.0.1.${host}`, 4_002), local: undefined }, 'backup', link.now);
  expect(() => open(theirs.quic, 1)).toThrow(expect.objectContaining({ code: 'serverSideNotAllowed' }));
  for (let host = 1; host <= 6; host++) open(ours.quic, host);
  expect(() => open(ours.quic, 7)).toThrow(expect.objectContaining({ code: 'maxPathIdReached' }));
});

test('a network change moves the connection to another id on the same path', () => {
  const { link, ours, theirs } = twoPaths();
  link.client.engine.handleNetworkChange(() => ({ recoverable: true }), link.now);
  const data = bytes(20_000, 1);
  const stream = ours.sendNew(data, 'uni');
  link.run(() => theirs.isFinished(stream), 'data');
  expect(ours.quic.paths().map(({ id }) => id)).toContain(0);
  link.client.engine.handleNetworkChange(
    (_path, { remote }) => ({ recoverable: remote === link.server.addr }),
    link.now,
  );
  link.step();
  expect(ours.all('pathAbandoned')).toMatchObject([{ reason: { type: 'unusableAfterNetworkChange' } }]);
});

test('the server may answer from another address than was dialled', () => {
  const link = new EngineLink();
  const placeless = toAddr('fd15:70a:510b::1', 4_002);
  link.redirect = (to) => (to === placeless ? link.server.addr : to);
  const dialled = link.client.dial({ remote: placeless, local: undefined }, link.server.id);
  link.run(() => dialled.has('connected'), 'handshake');
  expect(dialled.quic.paths()).toMatchObject([{ id: 0, remote: link.server.addr, local: link.client.addr }]);
  expect(dialled.has('pathMigrated')).toBe(true);
});

test('addresses that never prove anything leave no trace', () => {
  const link = new EngineLink();
  const { ours, theirs } = link.connect();
  const stream = ours.sendNew(bytes(1_000, 1), 'uni');
  link.run(() => theirs.isFinished(stream), 'data');
  const genuine = link.sent.findLast(({ to, data }) => to === link.server.addr && (data[0]! & 0x80) === 0)!;
  for (let port = 1; port <= 500; port++) {
    const data = genuine.data.slice();
    data[data.length - 1]! ^= 0xff;
    const from = toAddr('10.0.0.1', port);
    link.server.engine.handleDatagrams([{ from, local: link.server.addr, data }], link.now);
  }
  link.aliases.set(link.client.addr, CLIENT_ELSEWHERE);
  const another = ours.sendNew(bytes(1_000, 1), 'uni');
  link.run(() => theirs.isFinished(another), 'a real change of address is still heard');
  expect(theirs.closeReason).toBeUndefined();
});
