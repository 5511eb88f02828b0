/** Scenarios H: what the socket actor does about changes, reports and addresses; in virtual time. */
import { describe, expect, test } from '@jest/globals';
import { parseAddr, toAddr } from '../../src/base/socket-addr.ts';
import {
  MAX_NETWORK_WAIT_MS,
  MAX_RE_STUN_INTERVAL_MS,
  MIN_RE_STUN_INTERVAL_MS,
} from '../../src/machines/socket.ts';
import { NETWORK_DEBOUNCE_MS, NETWORK_LOOK_INTERVAL_MS } from '../../src/transport/network-monitor.ts';
import { SocketRig, relayUrl } from '../support/socket-rig.ts';

/** By when a change of the interfaces is known. */
const NOTICED_MS = NETWORK_LOOK_INTERVAL_MS + NETWORK_DEBOUNCE_MS + 1;

async function started(options: ConstructorParameters<typeof SocketRig>[0] = {}): Promise<SocketRig> {
  const rig = new SocketRig({ reportMs: 100, ...options });
  rig.actor.start();
  await rig.run(200);
  return rig;
}

describe('at the start', () => {
  test('direct addresses are known at once, published, and the first report is asked for', async () => {
    const rig = new SocketRig({ reportMs: 100 });
    rig.actor.start();
    expect(rig.actor.directAddrs.value).toEqual([{ addr: toAddr('192.0.2.7', 4_242), type: 'local' }]);
    expect(rig.story.map(({ what }) => what)).toEqual(['report', 'publish']);
    await rig.stop();
  });

  test('nothing runs after the end, whenever it comes', async () => {
    for (const afterMs of [0, 50, 150, 30_000]) {
      const rig = new SocketRig({ reportMs: 100 });
      rig.actor.start();
      await rig.run(afterMs);
      await rig.stop();
      expect(rig.world.clock.pendingTimers).toBeLessThanOrEqual(1); // the script's own
      expect(rig.system.running.size).toBe(0);
      expect(rig.errors).toEqual([]);
    }
  });
});

describe('what asks for a report, and what else it does', () => {
  test('NetworkChange, major: sockets anew, relays checked, a full report, QUIC told', async () => {
    const rig = await started();
    const story = await rig.during(
      () => rig.network.addInterface('wlan0', ['198.51.100.7']),
      NOTICED_MS + 50,
    );
    expect(story).toEqual([
      'rebind',
      'publish',
      'check relays',
      'cut back-off',
      'notify major',
      'full report',
    ]);
    expect(rig.notices[0]!.localIps).toEqual(new Set(['192.0.2.7', '198.51.100.7']));
    expect(rig.notices[0]!.goneIps).toEqual(new Set());
    await rig.stop();
  });

  test('NetworkChange, an address went: QUIC is told of it once', async () => {
    const rig = await started();
    rig.network.addInterface('wlan0', ['198.51.100.7']);
    await rig.run(NOTICED_MS);
    rig.network.removeInterface('wlan0');
    await rig.run(NOTICED_MS);
    rig.network.addInterface('eth1', ['203.0.113.7']);
    await rig.run(NOTICED_MS);
    expect(rig.notices.map(({ goneIps }) => [...goneIps])).toEqual([[], ['198.51.100.7'], []]);
    await rig.stop();
  });

  test('NetworkChange, minor: a report, QUIC told', async () => {
    const rig = await started();
    const story = await rig.during(() => rig.network.addInterface('eth1', ['fe80::7']), NOTICED_MS + 50);
    expect(story).toEqual(['notify minor', 'report']);
    await rig.stop();
  });

  test('NetworkChange, a hint when nothing changed: nothing', async () => {
    const rig = await started();
    const sender = rig.actor.sender('test');
    const story = await rig.during(() => {
      expect(sender.send({ type: 'networkHint' })).toBe(true);
    }, 1_000);
    expect(story).toEqual([]);
    await rig.stop();
  });

  test('PeriodicReStun: a report after 20 to 26 s', async () => {
    const rig = await started();
    const before = rig.runs.length;
    await rig.run(MAX_RE_STUN_INTERVAL_MS);
    expect(rig.runs.length).toBe(before + 1);
    expect(rig.runs.at(-1)!.isFull).toBe(false);
    expect(rig.runs.at(-1)!.at).toBeGreaterThanOrEqual(MIN_RE_STUN_INTERVAL_MS);
    await rig.stop();
  });

  test('RelayMapChange: a full report', async () => {
    const rig = await started();
    const story = await rig.during(() => {
      rig.actor.sender('test').send({ type: 'relayMapChanged' });
    }, 50);
    expect(story).toEqual(['full report']);
    await rig.stop();
  });

  test('PortmapUpdated: the address is told at once, and a report follows; counted', async () => {
    const rig = await started({ hasPortMapper: true });
    const addr = toAddr('203.0.113.5', 999);
    const story = await rig.during(() => void rig.mappedAddr.set(addr), 50);
    expect(story).toEqual(['publish', 'map 4242', 'report']);
    expect(rig.actor.directAddrs.value[0]).toEqual({ addr, type: 'portmapped' });
    expect(rig.metrics.value('portmap_external_address_updated')).toBe(1);
    await rig.run(200);
    expect(await rig.during(() => void rig.mappedAddr.set(undefined), 50)).toEqual([
      'publish',
      'map 4242',
      'report',
    ]);
    expect(rig.actor.directAddrs.value.map(({ type }) => type)).toEqual(['local']);
    expect(rig.metrics.value('portmap_external_address_updated')).toBe(1);
    await rig.stop();
  });

  test('a mapping is asked for with each report, with and without relays', async () => {
    for (const relays of [0, 1]) {
      const rig = await started({ hasPortMapper: true, relays });
      await rig.run(MAX_RE_STUN_INTERVAL_MS);
      const asked = rig.story.filter(({ what }) => what === 'map 4242');
      expect(asked.length).toBeGreaterThanOrEqual(2);
      expect(rig.metrics.value('portmap_attempts')).toBe(asked.length);
      expect(await rig.during(() => rig.actor.closeStarted(), 30_000)).toEqual([
        'mapper ends',
        'reporter closed',
      ]);
      await rig.stop();
    }
  });

  test('a socket that a router cannot send to has no port to be mapped', async () => {
    const sockets = ['[::]:1', '127.0.0.1:2', '198.51.100.7:5', '192.0.2.7:3', '0.0.0.0:4'].map((text) => ({
      addr: parseAddr(text),
      requestedPort: 0,
    }));
    for (const [count, port] of [
      [3, 'undefined'],
      [5, '3'],
    ] as const) {
      const rig = await started({ hasPortMapper: true, sockets: sockets.slice(0, count) });
      expect(rig.story.filter(({ what }) => what.startsWith('map '))[0]!.what).toBe(`map ${port}`);
      await rig.stop();
    }
  });

  test('another public address puts the mapping in doubt', async () => {
    let ip: string | undefined = '203.0.113.5';
    const report = () => ({ globalV4: ip === undefined ? undefined : toAddr(ip, 1_000) });
    const rig = await started({ hasPortMapper: true, report });
    await rig.run(MAX_RE_STUN_INTERVAL_MS);
    expect(rig.story.some(({ what }) => what === 'check mapping')).toBe(false);
    // A report that knows no address is between the two.
    ip = undefined;
    await rig.run(MAX_RE_STUN_INTERVAL_MS);
    ip = '203.0.113.6';
    await rig.run(2 * MAX_RE_STUN_INTERVAL_MS);
    expect(rig.story.filter(({ what }) => what === 'check mapping')).toHaveLength(1);
    await rig.stop();
  });

  test('DirectAddrRefresh: addresses from the last report, no other report', async () => {
    const globalV4 = toAddr('203.0.113.5', 999);
    const rig = await started({ report: () => ({ globalV4 }) });
    rig.externalAddrs.add(toAddr('203.0.113.9', 80));
    const story = await rig.during(() => {
      rig.actor.sender('test').send({ type: 'directRefresh' });
    }, 50);
    expect(story).toEqual(['publish']);
    expect(rig.actor.directAddrs.value.map(({ type }) => type)).toEqual(['qad', 'local', 'config']);
    await rig.stop();
  });
});

describe('H07: the network is told of when it can be used', () => {
  test('a route that appears after 600 ms: at the first look after it', async () => {
    const rig = await started();
    rig.network.defaultRoute = undefined;
    await rig.run(NOTICED_MS);
    const at = rig.story.find(({ what }) => what === 'rebind')!.at;
    await rig.world.run(rig.world.sleep(at + 600 - rig.world.clock.now()), 10_000);
    expect(rig.notices).toEqual([]);
    rig.network.defaultRoute = 'eth0';
    await rig.run(200);
    // Looks come after 100, 300, 700 and 1500 ms.
    expect(rig.notices.map((notice) => [notice.isMajor, notice.at - at])).toEqual([[true, 700]]);
    await rig.stop();
  });

  test('a route that never appears: after 5 s, with the OR of the changes', async () => {
    const rig = await started();
    rig.network.defaultRoute = undefined;
    await rig.run(NOTICED_MS);
    const at = rig.story.find(({ what }) => what === 'rebind')!.at;
    rig.network.addInterface('eth1', ['fe80::7']);
    await rig.run(10_000);
    expect(rig.notices.map((notice) => [notice.isMajor, notice.at - at])).toEqual([
      [true, MAX_NETWORK_WAIT_MS],
    ]);
    await rig.stop();
  });

  test('a minor change that makes the network usable does not hide the major one before it', async () => {
    const rig = await started();
    let isLate = false;
    rig.network.defaultRoute = undefined;
    await rig.run(NOTICED_MS);
    // Seen by the guard at once, while the monitor tells of a minor change only.
    void rig.actor.sender('test').send({ type: 'forceNetworkChange', isMajor: false });
    rig.network.defaultRoute = 'eth0';
    await rig.run(1);
    isLate = rig.notices.length > 0;
    expect(isLate).toBe(true);
    expect(rig.notices[0]!.isMajor).toBe(true);
    await rig.stop();
  });
});

describe('H08: requests while a report runs', () => {
  test.each([
    [['minor', 'major', 'minor'], true],
    [['minor', 'minor', 'minor'], false],
    [['relays', 'minor', 'minor'], true],
  ])('%j: one more run, full: %s', async (requests, isFull) => {
    const rig = new SocketRig();
    rig.actor.start();
    await rig.run(10);
    const sender = rig.actor.sender('test');
    for (const request of requests) {
      if (request === 'relays') sender.send({ type: 'relayMapChanged' });
      else void sender.send({ type: 'forceNetworkChange', isMajor: request === 'major' });
      await rig.run(10);
    }
    expect(rig.runs.length).toBe(1);
    rig.runs[0]!.finish();
    await rig.run(10);
    expect(rig.runs.map((run) => run.isFull)).toEqual([false, isFull]);
    rig.runs[1]!.finish();
    await rig.run(10);
    expect(rig.runs.length).toBe(2);
    await rig.stop();
  });
});

test('H10: a report without preferred relay keeps the home relay', async () => {
  let preferredRelay = [relayUrl(0)] as [ReturnType<typeof relayUrl>] | [];
  const rig = await started({ report: () => ({ preferredRelay: preferredRelay[0] }) });
  expect(rig.homeRelay.value!.url.href).toBe(relayUrl(0).href);
  preferredRelay = [];
  await rig.run(MAX_RE_STUN_INTERVAL_MS + 200);
  expect(rig.runs.length).toBe(2);
  expect(rig.homeRelay.value!.url.href).toBe(relayUrl(0).href);
  expect(rig.actor.netReport.value!.preferredRelay!.href).toBe(relayUrl(0).href);
  expect(rig.published.at(-1)!.homeRelay!.href).toBe(relayUrl(0).href);
  await rig.stop();
});

test('without relays nothing is probed, and addresses are still kept', async () => {
  const rig = await started({ relays: 0 });
  await rig.run(60_000);
  expect(rig.runs).toEqual([]);
  expect(rig.actor.netReport.value).toBeUndefined();
  rig.network.addInterface('wlan0', ['198.51.100.7']);
  await rig.run(NOTICED_MS);
  expect(rig.actor.directAddrs.value.map(({ addr }) => addr.ip)).toEqual(['192.0.2.7', '198.51.100.7']);
  await rig.stop();
});

test('H17: the gap after each report is 20 to 26 s', async () => {
  for (const seed of [1, 2, 3]) {
    const rig = await started({ seed });
    await rig.run(600_000);
    const gaps = rig.runs.slice(1).map((run, i) => run.at - (rig.runs[i]!.at + 100));
    expect(gaps.length).toBeGreaterThan(20);
    for (const gap of gaps) {
      expect(gap).toBeGreaterThanOrEqual(MIN_RE_STUN_INTERVAL_MS);
      expect(gap).toBeLessThanOrEqual(MAX_RE_STUN_INTERVAL_MS);
    }
    expect(new Set(gaps.map(Math.round)).size).toBeGreaterThan(15);
    await rig.stop();
  }
});

test('a report that hangs is given up after 10 s, and the next one comes', async () => {
  const rig = new SocketRig();
  rig.actor.start();
  await rig.run(10_001);
  expect(rig.runs[0]!.signal.aborted).toBe(true);
  await rig.run(MAX_RE_STUN_INTERVAL_MS);
  expect(rig.runs.length).toBe(2);
  await rig.stop();
});

test('a host that slept: a minor change', async () => {
  const rig = await started();
  const { clock } = rig.world;
  const wallNow = clock.wallNow.bind(clock);
  clock.wallNow = () => wallNow() + 3_600_000;
  const story = await rig.during(() => undefined, NOTICED_MS + 50);
  expect(story).toEqual(['notify minor', 'report']);
  await rig.stop();
});

test('once closing starts, the report is aborted and none follows', async () => {
  const rig = new SocketRig();
  rig.actor.start();
  await rig.run(10);
  rig.actor.closeStarted();
  void rig.actor.sender('test').send({ type: 'relayMapChanged' });
  await rig.run(60_000);
  expect(rig.runs.length).toBe(1);
  expect(rig.runs[0]!.signal.aborted).toBe(true);
  await rig.stop();
});
