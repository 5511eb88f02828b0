/**
 * What the routers of the lab do to UDP, measured: other tests of this folder stand on it.
 */
import { describe, expect, test } from '@jest/globals';
import { Child } from './child.ts';
import { Lab, type Device, type Host } from './lab.ts';
import { NAT_KINDS, type NatKind } from './nat.ts';
import type { Namespace } from './netns.ts';

/** How long a packet that should not come is waited for, ms. A packet that comes takes below 1 ms. */
const QUIET_MS = 400;

interface Bound {
  readonly child: Child;
  readonly host: string;
  readonly port: number;
}

async function bind(namespace: Namespace, host: string, port?: number): Promise<Bound> {
  const child = Child.script(namespace, 'probe.mjs');
  const bound = await child.call<{ port: number }>('bind', { host, port });
  return { child, host, port: bound.port };
}

let count = 0;

/** Sends from one to an address; who the other sees as the sender, or undefined when nothing came. */
async function probe(
  from: Bound,
  to: Bound,
  at: { host: string; port: number } = to,
): Promise<{ host: string; port: number } | undefined> {
  const text = `probe ${++count}`;
  await from.child.call('send', { host: at.host, port: at.port, text });
  const seen = await to.child.poll((event) => event['text'] === text, QUIET_MS);
  return seen && { host: seen['host'] as string, port: seen['port'] as number };
}

interface Measured {
  readonly mapping: 'none' | 'endpoint-independent' | 'address and port-dependent';
  readonly filtering: 'endpoint-independent' | 'address and port-dependent';
  readonly isPortKept: boolean;
  /** A sender that nobody spoke to reached the device before it sent anything. */
  readonly isOpenBefore: boolean;
}

/** Two public hosts, of which the device speaks to the first only; each has two ports. */
async function measure(device: Device, hosts: readonly [Host, Host], family: 'v4' | 'v6'): Promise<Measured> {
  const inside = device.addrs[family]!;
  const [one, two] = hosts.map((host) => host.addrs[family]!) as [string, string];
  const publicAddr = family === 'v4' && device.router.nat !== 'none' ? device.router.publicIpv4! : inside;
  const mine = await bind(device.namespace, inside);
  const first = await bind(hosts[0].namespace, one, 4001);
  const second = await bind(hosts[1].namespace, two, 4002);
  const third = await bind(hosts[1].namespace, two, 4003);
  const bounds = [mine, first, second, third];
  try {
    const isOpenBefore = (await probe(second, mine, { host: publicAddr, port: mine.port })) !== undefined;
    const seenByFirst = await probe(mine, first);
    if (seenByFirst === undefined) throw new Error('nothing got out');
    expect(seenByFirst.host).toBe(publicAddr);
    // The one it spoke to may answer.
    expect(await probe(first, mine, seenByFirst)).toEqual({ host: one, port: 4001 });
    const isStrangerLetIn = (await probe(third, mine, seenByFirst)) !== undefined;
    const seenBySecond = await probe(mine, second);
    const isSame = seenBySecond?.port === seenByFirst.port;
    // Another port of an address that it spoke to is a stranger too.
    const isOtherPortLetIn = (await probe(third, mine, seenBySecond)) !== undefined;
    expect(isOtherPortLetIn).toBe(isStrangerLetIn);
    return {
      mapping:
        publicAddr === inside ? 'none' : isSame ? 'endpoint-independent' : 'address and port-dependent',
      filtering: isStrangerLetIn ? 'endpoint-independent' : 'address and port-dependent',
      isPortKept: seenByFirst.port === mine.port,
      isOpenBefore,
    };
  } finally {
    await Promise.all(bounds.map(({ child }) => child.stop()));
  }
}

const EXPECTED: Record<NatKind, Measured> = {
  none: { mapping: 'none', filtering: 'endpoint-independent', isPortKept: true, isOpenBefore: true },
  open: {
    mapping: 'endpoint-independent',
    filtering: 'endpoint-independent',
    isPortKept: true,
    isOpenBefore: false,
  },
  moderate: {
    mapping: 'endpoint-independent',
    filtering: 'address and port-dependent',
    isPortKept: true,
    isOpenBefore: false,
  },
  strict: {
    mapping: 'address and port-dependent',
    filtering: 'address and port-dependent',
    isPortKept: false,
    isOpenBefore: false,
  },
};

describe('routers', () => {
  test.each(NAT_KINDS)('%s over IPv4', async (nat) => {
    await Lab.with(async (lab) => {
      const hosts = [await lab.addHost(), await lab.addHost()] as const;
      expect(await measure(await lab.addBehind({ nat }), hosts, 'v4')).toEqual(EXPECTED[nat]);
    });
  });

  test.each(NAT_KINDS)('%s over IPv6: routed, filtered by its kind', async (nat) => {
    await Lab.with(async (lab) => {
      const hosts = [await lab.addHost(), await lab.addHost()] as const;
      const isFiltered = nat === 'moderate' || nat === 'strict';
      expect(await measure(await lab.addBehind({ nat, families: 'dual' }), hosts, 'v6')).toEqual({
        ...EXPECTED[isFiltered ? 'moderate' : 'none'],
        mapping: 'none',
      });
    });
  });

  test('two sides of moderate routers reach each other when both send', async () => {
    await Lab.with(async (lab) => {
      const [a, b] = [await lab.addBehind(), await lab.addBehind()];
      const [left, right] = [await bind(a.namespace, a.addrs.v4!), await bind(b.namespace, b.addrs.v4!)];
      const [toLeft, toRight] = [
        { host: a.router.publicIpv4!, port: left.port },
        { host: b.router.publicIpv4!, port: right.port },
      ];
      // The first one is lost and opens the way for the answer; a lost packet must not change the mapping.
      expect(await probe(left, right, toRight)).toBeUndefined();
      expect(await probe(right, left, toLeft)).toEqual(toRight);
      expect(await probe(left, right, toRight)).toEqual(toLeft);
    });
  });

  test('blocked UDP passes to port 53 only; a black hole spares its exceptions and ends', async () => {
    await Lab.with(async (lab) => {
      const [host, relay] = [await lab.addHost(), await lab.addHost()];
      const [blocked, holed] = [await lab.addBehind({ isUdpBlocked: true }), await lab.addBehind()];
      const dns = await bind(host.namespace, host.addrs.v4!, 53);
      const other = await bind(host.namespace, host.addrs.v4!, 4001);
      const relayed = await bind(relay.namespace, relay.addrs.v4!, 4001);
      const one = await bind(blocked.namespace, blocked.addrs.v4!);
      expect(await probe(one, dns)).toBeDefined();
      expect(await probe(one, other)).toBeUndefined();

      const two = await bind(holed.namespace, holed.addrs.v4!);
      await holed.router.blackHole([relay.addrs.v4!, relay.addrs.v6!]);
      expect(await probe(two, other)).toBeUndefined();
      expect(await probe(two, relayed)).toBeDefined();
      await holed.router.endBlackHole();
      expect(await probe(two, other)).toBeDefined();
    });
  });

  test('a link goes down and comes up; a moved cable gives other addresses', async () => {
    await Lab.with(async (lab) => {
      const host = await lab.addHost();
      const device = await lab.addBehind({ families: 'dual' });
      const server = await bind(host.namespace, host.addrs.v4!, 4001);
      const server6 = await bind(host.namespace, host.addrs.v6!, 4001);
      const client = await bind(device.namespace, '0.0.0.0');
      const client6 = await bind(device.namespace, '::');
      expect((await probe(client, server))?.host).toBe('198.18.1.1');
      expect((await probe(client6, server6))?.host).toBe('2001:db8:1:1::2');
      await device.linkDown();
      await expect(probe(client, server)).rejects.toThrow(/ENETUNREACH|EHOSTUNREACH/);
      await device.linkUp();
      expect((await probe(client, server))?.host).toBe('198.18.1.1');
      expect((await probe(client6, server6))?.host).toBe('2001:db8:1:1::2');
      await device.plug(await lab.addRouter({ families: 'dual' }));
      expect((await probe(client, server))?.host).toBe('198.18.1.2');
      expect((await probe(client6, server6))?.host).toBe('2001:db8:2:1::2');
    });
  });

  test('a cable delays each packet both ways and loses some', async () => {
    await Lab.with(async (lab) => {
      const host = await lab.addHost();
      const server = await bind(host.namespace, host.addrs.v4!, 4001);
      const slow = await lab.addDevice(await lab.addRouter(), { delayMs: 60 });
      const lossy = await lab.addDevice(await lab.addRouter(), { delayMs: 5, lossPercent: 30 });
      const [client, unlucky] = [
        await bind(slow.namespace, slow.addrs.v4!),
        await bind(lossy.namespace, lossy.addrs.v4!),
      ];
      // The first packet also waits for ARP.
      await probe(client, server);
      const startedAt = performance.now();
      const seen = await probe(client, server);
      expect(await probe(server, client, seen)).toBeDefined();
      const roundTripMs = performance.now() - startedAt;
      expect(roundTripMs).toBeGreaterThanOrEqual(120);
      expect(roundTripMs).toBeLessThan(300);
      // ARP gets lost too: three lost questions are a second each without any packet.
      let first;
      for (let count = 0; count < 100 && first === undefined; count++) first = await probe(unlucky, server);
      expect(first).toBeDefined();
      let arrived = 0;
      for (let count = 0; count < 40; count++) if ((await probe(unlucky, server)) !== undefined) arrived++;
      expect(arrived).toBeGreaterThan(4);
      expect(arrived).toBeLessThan(40);
    });
  });
});
