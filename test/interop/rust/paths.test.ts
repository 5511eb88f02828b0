/** Several paths with real iroh: opened by us and by the peer, used, put back, abandoned; networks that change. */
import { describe, expect, test } from '@jest/globals';
import type { Connection, Endpoint } from '../../../src/index.ts';
import type { Addr } from '../../../src/base/socket-addr.ts';
import type { ConnectionEvent, PathId } from '../../../src/quic/engine.ts';
import {
  actorFor,
  ask,
  askUs,
  DIALLERS,
  echoAll,
  eventually,
  ipOf,
  useRustPeer,
  type Pair,
} from './fixture.ts';

const rust = useRustPeer();
/** The layer that opens and closes paths on command. */
const NOQ = { layer: 'noq' };
/** More than a path carries besides: acknowledgments, MTU probes. */
const BULK = 'x'.repeat(100_000);

/** The socket beside the main one. */
function secondSocket(our: Endpoint): Addr {
  return our.boundSockets.find((addr) => addr.ip === '127.0.0.2')!;
}

function mainSocket(our: Endpoint): Addr {
  return our.boundSockets.find((addr) => addr.ip === '127.0.0.1')!;
}

/** All path events of one of our connections from now on. */
function eventsOf(ours: Connection): { all: ConnectionEvent[]; seen: (event: object) => Promise<void> } {
  const all: ConnectionEvent[] = [];
  const actor = actorFor(ours);
  actor.driver.listen(actor.quic, {
    onEvent: (event) => {
      all.push(event);
      actor.onEvent(event);
    },
  });
  const contains = (event: object): boolean =>
    all.some((each) =>
      Object.entries(event).every(([key, value]) => {
        const field = each[key as keyof typeof each] as unknown;
        return JSON.stringify(field) === JSON.stringify(value);
      }),
    );
  return { all, seen: (event) => eventually(() => contains(event)) };
}

/** Opens a path of ours to where the peer is, from another socket. */
function openFrom(ours: Connection, local: Addr): PathId {
  const { quic, clock, wake } = commandsOf(ours);
  const path = quic.openPathEnsure({ local, remote: quic.remote }, 'available', clock.now());
  wake();
  return path;
}

function commandsOf(ours: Connection) {
  const actor = actorFor(ours);
  return { quic: actor.quic, clock: actor.clock, wake: () => actor.wake() };
}

/** Bytes that we sent and received on a path. */
function traffic(ours: Connection, path: PathId): { sent: number; received: number } {
  const stats = actorFor(ours).quic.pathStats(path);
  return { sent: stats?.udpTx.bytes ?? 0, received: stats?.udpRx.bytes ?? 0 };
}

/** Sends {@link BULK} there and back; gives which path carried most of it from us. */
async function mainPath({ ours }: Pair, ask: () => Promise<string>): Promise<PathId> {
  const paths = ours.paths.map(({ id }) => id);
  const before = paths.map((id) => traffic(ours, id).sent);
  expect(await ask()).toBe(BULK);
  const sent = paths.map((id, i) => traffic(ours, id).sent - before[i]!);
  return paths[sent.indexOf(Math.max(...sent))]!;
}

async function secondPath(
  dialler: 'we dial' | 'iroh dials',
): Promise<{ pair: Pair; events: ReturnType<typeof eventsOf> }> {
  const pair = await rust.pair(dialler, { sockets: 2, their: NOQ });
  const { our, ours, theirs } = pair;
  const events = eventsOf(ours);
  await theirs.pathEvents();
  expect(theirs.facts['multipath']).toBe(true);
  await theirs.call('handshakeConfirmed');
  await eventually(() => actorFor(ours).quic.multipath);
  if (dialler === 'we dial') {
    // The peer's connection ids for path 1 come after the handshake.
    await theirs.serve();
    await ask(ours, 'hello');
    expect(openFrom(ours, secondSocket(our))).toBe(1);
  } else {
    void echoAll(ours);
    expect(await theirs.call('openPath', { addr: secondSocket(our).text })).toEqual({ path: 1 });
  }
  await events.seen({ type: 'pathEstablished', path: 1 });
  await theirs.pathEvent('established', { path: 1 });
  return { pair, events };
}

describe('I01: multipath is on only when both sides offer it', () => {
  test.each(DIALLERS)('%s: both do', async (dialler) => {
    const { ours, theirs } = await rust.pair(dialler, { their: NOQ });
    await theirs.call('handshakeConfirmed');
    await eventually(() => actorFor(ours).quic.multipath);
    expect(theirs.facts['multipath']).toBe(true);
  });

  test.each(DIALLERS)('%s: we do not', async (dialler) => {
    const { ours, theirs } = await rust.pair(dialler, {
      our: { transport: { maxConcurrentPaths: undefined } },
      their: NOQ,
    });
    await theirs.serve();
    expect(await ask(ours, BULK)).toBe(BULK);
    expect(actorFor(ours).quic.multipath).toBe(false);
    expect(theirs.facts['multipath']).toBe(false);
    await expect(theirs.call('openPath', { addr: '127.0.0.1:9' })).rejects.toThrow('not negotiated');
  });
});

describe('I02: a second path', () => {
  test('we open it, data on both, we abandon one', async () => {
    const { pair, events } = await secondPath('we dial');
    const { our, ours, theirs } = pair;
    const { quic, clock, wake } = commandsOf(ours);
    expect(ours.paths.map(({ id, localAddr }) => [id, localAddr?.ip])).toEqual([
      [0, '127.0.0.1'],
      [1, '127.0.0.2'],
    ]);
    const sendBulk = (): Promise<string> => ask(ours, BULK);

    quic.setPathStatus(0, 'backup');
    expect(await mainPath(pair, sendBulk)).toBe(1);
    await theirs.pathEvent('remoteStatus', { path: 0, status: 'backup' });
    quic.setPathStatus(0, 'available');
    quic.setPathStatus(1, 'backup');
    expect(await mainPath(pair, sendBulk)).toBe(0);

    // Path 0 has no privileges: it can go.
    quic.closePath(0, 77, clock.now());
    wake();
    await theirs.pathEvent('abandoned', { path: 0, reason: { type: 'remoteAbandoned', code: 77 } });
    expect(await mainPath(pair, sendBulk)).toBe(1);
    await events.seen({ type: 'pathDiscarded', path: 0 });

    // Its id is spent; the budget has grown.
    expect(openFrom(ours, mainSocket(our))).toBe(2);
    await theirs.pathEvent('established', { path: 2 });
    expect(await ask(ours, BULK)).toBe(BULK);
    expect(ours.closeReason).toBeUndefined();
  });

  test('iroh opens it, data on both, it abandons one', async () => {
    const { pair, events } = await secondPath('iroh dials');
    const { our, ours, theirs } = pair;
    expect(ours.paths[1]!.localAddr).toBe(secondSocket(our));
    const sendBulk = (): Promise<string> => askUs(theirs, BULK);

    await theirs.call('setPathStatus', { path: 0, status: 'backup' });
    await events.seen({ type: 'pathRemoteStatus', path: 0, status: 'backup' });
    const before = traffic(ours, 1).received;
    await sendBulk();
    expect(traffic(ours, 1).received - before).toBeGreaterThan(BULK.length);
    commandsOf(ours).quic.setPathStatus(1, 'backup');
    expect(await mainPath(pair, sendBulk)).toBe(0);
    commandsOf(ours).quic.setPathStatus(1, 'available');

    await theirs.call('closePath', { path: 0 });
    await events.seen({ type: 'pathAbandoned', path: 0 });
    expect(events.all.find(({ type }) => type === 'pathAbandoned')).toMatchObject({
      reason: { type: 'remoteAbandoned' },
    });
    expect(await mainPath(pair, sendBulk)).toBe(1);
    await theirs.pathEvent('discarded', { path: 0 });
    expect(await theirs.call('openPath', { addr: mainSocket(our).text })).toEqual({ path: 2 });
    expect(await sendBulk()).toBe(BULK);
    expect(ours.closeReason).toBeUndefined();
  });

  test.each(DIALLERS)('%s: paths come and go during a transfer, and keys change (I08)', async (dialler) => {
    const { pair } = await secondPath(dialler);
    const { our, ours, theirs } = pair;
    const { quic, clock, wake } = commandsOf(ours);
    const message = BULK.repeat(30);
    let isDone = false;
    const transfer = (dialler === 'we dial' ? ask(ours, message) : askUs(theirs, message)).finally(
      () => (isDone = true),
    );
    const sockets = [secondSocket(our), mainSocket(our)];
    let turns = 0;
    let closed = 0;
    await eventually(async () => {
      const used = ours.paths.filter(({ id }) => traffic(ours, id).received > 0);
      // Once: for three of its PTOs noq looks for a key update only in packets numbered above the one before, whatever
      // their path, so that another update would make it deaf on young paths.
      if (++turns === 5) quic.forceKeyUpdate();
      try {
        if (used.length > 1) {
          const { id } = used[0]!;
          if (dialler === 'we dial') quic.closePath(id, 0, clock.now());
          else await theirs.call('closePath', { path: id });
          wake();
          closed++;
        } else {
          const free = sockets.find((socket) => !ours.paths.some(({ localAddr }) => localAddr === socket));
          if (free === undefined) return isDone;
          if (dialler === 'we dial') openFrom(ours, free);
          else await theirs.call('openPath', { addr: free.text });
        }
      } catch {
        // No path id or connection id to open with yet, or the path has just gone: another turn will do.
      }
      return isDone;
    });
    expect((await transfer) === message).toBe(true);
    expect(closed).toBeGreaterThan(1);
    expect(ours.stats().keyUpdates).toBeGreaterThan(0);
    expect(ours.closeReason).toBeUndefined();
  });
});

describe('I14: observed addresses, per path', () => {
  test('iroh tells us', async () => {
    const { our, ours, theirs } = await rust.pair('we dial', {
      sockets: 2,
      our: { transport: { addressDiscovery: 'receive' } },
      their: { ...NOQ, transport: { sendObservedAddresses: true } },
    });
    const observed = eventsOf(ours);
    await theirs.serve();
    await ask(ours, 'hello');
    openFrom(ours, secondSocket(our));
    await observed.seen({ type: 'observedAddress', path: 1 });
    expect(observed.all.find((event) => event.type === 'observedAddress' && event.path === 1)).toMatchObject({
      addr: secondSocket(our),
    });
  });

  test('we tell iroh', async () => {
    const { our, ours, theirs } = await rust.pair('iroh dials', {
      sockets: 2,
      our: { transport: { addressDiscovery: 'send' } },
      their: { ...NOQ, transport: { receiveObservedAddresses: true } },
    });
    void echoAll(ours);
    await theirs.pathEvents();
    await theirs.call('handshakeConfirmed');
    await theirs.call('openPath', { addr: secondSocket(our).text });
    const told = await theirs.pathEvent('observedAddr', { path: 1 });
    expect(told['addr']).toBe(ipOf(ours.paths[1]!));
  });
});

describe('network change', () => {
  test('iroh moves to another socket: we follow', async () => {
    const { their, ours, theirs } = await rust.pair('iroh dials', { their: NOQ });
    void echoAll(ours);
    expect(await askUs(theirs, 'before')).toBe('before');
    const { addr } = await their.call<{ addr: string }>('rebind', { addr: '127.0.0.1:0' });
    expect(await askUs(theirs, BULK)).toBe(BULK);
    expect(ours.paths.some((path) => ipOf(path) === addr)).toBe(true);
  });

  test('iroh moves without multipath: the path migrates (RFC 9000 §9)', async () => {
    const { their, ours, theirs } = await rust.pair('iroh dials', {
      our: { transport: { maxConcurrentPaths: undefined } },
      their: NOQ,
    });
    const events = eventsOf(ours);
    void echoAll(ours);
    expect(await askUs(theirs, 'before')).toBe('before');
    const { addr } = await their.call<{ addr: string }>('rebind', { addr: '127.0.0.1:0' });
    expect(await askUs(theirs, BULK)).toBe(BULK);
    await events.seen({ type: 'pathMigrated', path: 0 });
    expect(ours.paths.map((path) => [path.id, ipOf(path)])).toEqual([[0, addr]]);
  });

  test.each(DIALLERS)('%s: iroh hears of a change, data goes on', async (dialler) => {
    const { their, ours, theirs } = await rust.pair(dialler);
    await theirs.serve();
    expect(await ask(ours, 'before')).toBe('before');
    await their.call('networkChange');
    expect(await ask(ours, BULK)).toBe(BULK);
  });

  test.each(DIALLERS)('%s: we hear of a change, data goes on', async (dialler) => {
    const { our, ours, theirs } = await rust.pair(dialler, { their: NOQ });
    const events = eventsOf(ours);
    await theirs.serve();
    expect(await ask(ours, 'before')).toBe('before');
    our.networkChanged();
    expect(await ask(ours, BULK)).toBe(BULK);
    if (dialler === 'we dial') {
      // The client replaces the path (noq `handle_network_change`).
      await events.seen({ type: 'pathAbandoned', path: 0, reason: { type: 'unusableAfterNetworkChange' } });
      expect(ours.paths.map(({ id }) => id)).toEqual([1]);
    }
  });
});
