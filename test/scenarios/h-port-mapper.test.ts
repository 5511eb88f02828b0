/** Scenario H21: a router opens a port for us, by each of the protocols, well and badly; in virtual time. */
import { describe, expect, test } from '@jest/globals';
import { GATEWAY_ANSWER_LIMIT_MS } from '../../src/actors/mapping-services.ts';
import { utf8 } from '../../src/base/bytes.ts';
import { toAddr } from '../../src/base/socket-addr.ts';
import { RELEASE_GRACE_MS, RENEWAL_RETRY_MS } from '../../src/machines/port-mapper.ts';
import { AVAILABILITY_TRUST_MS, UNAVAILABILITY_TRUST_MS } from '../../src/port-mapper/availability.ts';
import type { GatewayProtocol } from '../support/sim-gateway.ts';
import { EXTERNAL_IP, GATEWAY_IP, HOST_IP, PortMapperRig } from '../support/port-mapper-rig.ts';

const HOUR_MS = 3_600_000;
const PROTOCOLS: readonly GatewayProtocol[] = ['pcp', 'natPmp', 'upnp'];
/** Half of the lease that each protocol asks for. */
const HALF_MS = { pcp: HOUR_MS / 2, natPmp: HOUR_MS, upnp: HOUR_MS } as const;

describe('H21: one after the other', () => {
  test.each(PROTOCOLS)('%s alone: mapped, renewed at half the lease, given back', async (protocol) => {
    const rig = new PortMapperRig({ services: [protocol] });
    const addr = await rig.procure();
    expect(addr).toMatch(/^203\.0\.113\.7:\d+$/);
    const port = toAddr(EXTERNAL_IP, Number(addr!.split(':')[1])).port;
    expect(rig.gateway.openPorts.get(port)).toMatchObject({ localIp: HOST_IP, localPort: 4_242, protocol });

    // Held: nothing to ask for.
    expect(await rig.during(() => rig.mapper.procure(), HALF_MS[protocol] - 5_000)).toEqual([]);
    const renewal = await rig.during(() => undefined, 5_000);
    expect(renewal.length).toBeGreaterThan(0);
    await rig.run(3 * HOUR_MS);
    expect(rig.gateway.openPorts.size).toBe(1);
    expect(rig.told).toEqual([addr]);

    await rig.stop();
    expect(rig.gateway.openPorts.size).toBe(0);
    expect(rig.told).toEqual([addr, 'none']);
    expect(rig.metrics.value('portmap_mapping_attempts')).toBe(1);
    expect(rig.metrics.value('portmap_mapping_failures')).toBe(0);
  });

  test('PCP comes before NAT-PMP, and that before UPnP', async () => {
    for (const [services, expected] of [
      [['pcp', 'natPmp', 'upnp'], 'pcp'],
      [['natPmp', 'upnp'], 'natPmp'],
      [['upnp'], 'upnp'],
    ] as const) {
      const rig = new PortMapperRig({ services });
      await rig.procure();
      expect([...rig.gateway.openPorts.values()].map(({ protocol }) => protocol)).toEqual([expected]);
      await rig.stop();
    }
  });

  test('a service that fails is followed by the next; what answered lately is not probed again', async () => {
    const rig = new PortMapperRig({ services: ['natPmp', 'upnp'] });
    await rig.procure();
    rig.mapper.setPort(undefined);
    await rig.run(1_000);
    expect(rig.gateway.openPorts.size).toBe(0);
    const again = await rig.during(() => {
      rig.mapper.setPort(4_242);
      rig.mapper.procure();
    }, 2_000);
    expect(again).toEqual(['natPmp address', 'natPmp map 4242']);
    rig.mapper.setPort(undefined);
    await rig.run(AVAILABILITY_TRUST_MS);
    rig.gateway.services.delete('natPmp');
    const probed = await rig.during(() => {
      rig.mapper.setPort(4_242);
      rig.mapper.procure();
    }, 4_000);
    expect(probed).toContain('upnp search');
    expect([...rig.gateway.openPorts.values()].map(({ protocol }) => protocol)).toEqual(['upnp']);
    await rig.stop();
  });

  test('a router without services: none is told, each wish is a probe, but not more often than every 5 s', async () => {
    const rig = new PortMapperRig({ services: [] });
    expect(await rig.procure()).toBeUndefined();
    expect(rig.metrics.value('portmap_probes_started')).toBe(1);
    rig.mapper.procure();
    await rig.run(UNAVAILABILITY_TRUST_MS - 4_000);
    expect(rig.metrics.value('portmap_probes_started')).toBe(1);
    rig.mapper.procure();
    await rig.run(4_000);
    expect(rig.metrics.value('portmap_probes_started')).toBe(2);
    expect(rig.told).toEqual([]);
    await rig.stop();
  });

  test('no gateway, no port, no UDP: nobody is asked', async () => {
    const rig = new PortMapperRig();
    rig.mapper.procure();
    await rig.run(1_000);
    rig.host.gatewayIp = undefined;
    expect(await rig.procure()).toBeUndefined();
    expect(rig.gateway.requests).toEqual([]);
    await rig.stop();
    const browser = new PortMapperRig({ platform: (own) => ({ ...own, bindUdp: undefined }) });
    expect(await browser.procure()).toBeUndefined();
    expect(browser.gateway.requests).toEqual([]);
    await browser.stop();
  });
});

describe('H21: changes', () => {
  test.each(PROTOCOLS)('%s: another port is mapped at once, the old one is closed', async (protocol) => {
    const rig = new PortMapperRig({ services: [protocol] });
    const first = await rig.procure(4_242);
    rig.mapper.setPort(5_353);
    expect(rig.mapper.externalAddr.value).toBeUndefined();
    await rig.run(4_000);
    const second = rig.mapper.externalAddr.value?.text;
    // The old one was given back before the new one was asked for.
    expect(second).toBe(first);
    expect([...rig.gateway.openPorts.values()].map(({ localPort }) => localPort)).toEqual([5_353]);
    rig.mapper.setPort(5_353);
    rig.mapper.setPort(undefined);
    await rig.run(1_000);
    expect(rig.gateway.openPorts.size).toBe(0);
    expect(rig.told).toEqual([first, 'none', second, 'none']);
    await rig.stop();
  });

  test.each(PROTOCOLS)(
    '%s: a router that went away: asked several times, none at the end of the lease, the same address once it is back',
    async (protocol) => {
      const rig = new PortMapperRig({ services: [protocol] });
      const addr = await rig.procure();
      rig.gateway.services.clear();
      await rig.run(2 * HALF_MS[protocol] - 10_000);
      expect(rig.told).toEqual([addr]);
      await rig.run(10_000);
      expect(rig.told).toEqual([addr, 'none']);
      expect(rig.gateway.openPorts.size).toBe(0);
      rig.gateway.services.add(protocol);
      await rig.run(UNAVAILABILITY_TRUST_MS);
      expect(await rig.procure()).toBe(addr);
      expect(rig.told).toEqual([addr, 'none', addr]);
      await rig.stop();
    },
  );

  test.each(PROTOCOLS)('%s: a renewal that failed is tried again', async (protocol) => {
    const rig = new PortMapperRig({ services: [protocol] });
    const addr = await rig.procure();
    rig.gateway.services.clear();
    await rig.run(HALF_MS[protocol] + 60_000);
    rig.gateway.services.add(protocol);
    await rig.run(3 * HOUR_MS);
    expect(rig.told).toEqual([addr]);
    await rig.stop();
  });

  test.each(PROTOCOLS)('%s: a router that forgot all opens the same port again', async (protocol) => {
    const rig = new PortMapperRig({ services: [protocol] });
    const addr = await rig.procure();
    rig.gateway.restart();
    await rig.during(() => rig.mapper.check(), 1_000);
    expect(rig.gateway.openPorts.size).toBe(1);
    expect(rig.told).toEqual([addr]);
    await rig.stop();
  });

  test.each(PROTOCOLS)(
    '%s: another external address is told when the lease is looked at',
    async (protocol) => {
      const rig = new PortMapperRig({ services: [protocol] });
      const addr = await rig.procure();
      rig.world.network.moveNat(rig.host, '203.0.113.99');
      await rig.during(() => rig.mapper.check(), 1_000);
      expect(rig.told).toEqual([addr, addr!.replace(EXTERNAL_IP, '203.0.113.99')]);
      await rig.stop();
    },
  );

  test.each(PROTOCOLS)(
    '%s: a look at the lease that gets no answer is repeated in seconds, then less and less often',
    async (protocol) => {
      const rig = new PortMapperRig({ services: [protocol] });
      const addr = await rig.procure();
      rig.world.network.moveNat(rig.host, '203.0.113.99');
      const askedAt: number[] = [];
      const noteAndDrop = (): undefined => void askedAt.push(rig.world.clock.now());
      rig.gateway.mangleDatagram = noteAndDrop;
      rig.gateway.mangleWeb = () => {
        noteAndDrop();
        return Promise.reject(new Error('reset'));
      };
      rig.mapper.check();
      await rig.run(240_000);
      const waits = askedAt.slice(1).map((at, i) => at - askedAt[i]!);
      const pauses = waits.filter((ms) => ms > 1_000);
      // RFC 6887 §11.2.1: not more often than every 4 s.
      expect(Math.min(...pauses)).toBeGreaterThanOrEqual(RENEWAL_RETRY_MS);
      expect(pauses.length).toBeGreaterThanOrEqual(4);
      expect(pauses.length).toBeLessThanOrEqual(6);
      expect(pauses).toEqual(pauses.toSorted((a, b) => a - b));

      rig.gateway.mangleDatagram = undefined;
      rig.gateway.mangleWeb = undefined;
      await rig.run(240_000);
      expect(rig.told).toEqual([addr, addr!.replace(EXTERNAL_IP, '203.0.113.99')]);

      // Once answered, the next one is repeated after 4 s again.
      rig.world.network.moveNat(rig.host, '203.0.113.98');
      rig.gateway.services.clear();
      rig.mapper.check();
      await rig.run(2_000);
      rig.gateway.services.add(protocol);
      await rig.run(RENEWAL_RETRY_MS);
      expect(rig.told.at(-1)).toBe(addr!.replace(EXTERNAL_IP, '203.0.113.98'));
      await rig.stop();
    },
  );

  test.each(PROTOCOLS)(
    '%s: a look is repeated in seconds, however often renewals failed before',
    async (protocol) => {
      const rig = new PortMapperRig({ services: [protocol] });
      const addr = await rig.procure();
      rig.gateway.services.clear();
      await rig.run(HALF_MS[protocol] + 300_000);
      rig.world.network.moveNat(rig.host, '203.0.113.99');
      await rig.during(() => rig.mapper.check(), 3_000);
      expect(rig.told).toEqual([addr]);
      rig.gateway.services.add(protocol);
      await rig.run(RENEWAL_RETRY_MS);
      expect(rig.told).toEqual([addr, addr!.replace(EXTERNAL_IP, '203.0.113.99')]);
      await rig.stop();
    },
  );

  test('another router: the old lease is dropped, and a new one asked for', async () => {
    const rig = new PortMapperRig({ services: ['pcp'] });
    const addr = await rig.procure();
    // Away for a moment.
    rig.network.defaultRoute = undefined;
    rig.mapper.procure();
    expect(rig.told).toEqual([addr]);
    rig.network.defaultRoute = 'eth0';
    rig.host.gatewayIp = '192.168.1.254';
    rig.mapper.procure();
    expect(rig.told).toEqual([addr, 'none']);
    await rig.run(2_000);
    rig.mapper.procure();
    await rig.run(2_000);
    expect(rig.told).toHaveLength(3);
    await rig.stop();
  });

  test('a lease that ended while the host slept is not believed', async () => {
    let sleptMs = 0;
    const rig = new PortMapperRig({
      services: ['pcp'],
      platform: (own) => ({
        ...own,
        clock: {
          ...own.clock,
          now: () => own.clock.now(),
          wallNow: () => own.clock.wallNow() + sleptMs,
          setTimeout: (fn, ms) => own.clock.setTimeout(fn, ms),
          clearTimeout: (id) => own.clock.clearTimeout(id),
          defer: (fn) => own.clock.defer(fn),
          afterMicrotasks: (fn) => own.clock.afterMicrotasks(fn),
        },
      }),
    });
    const addr = await rig.procure();
    sleptMs = 2 * HOUR_MS;
    rig.mapper.procure();
    expect(rig.told).toEqual([addr, 'none']);
    await rig.run(2_000);
    expect(rig.told).toEqual([addr, 'none', addr]);
    await rig.stop();
  });
});

describe('H21: routers with peculiarities', () => {
  test('IGD 1: a port of others is passed over', async () => {
    const rig = new PortMapperRig({ services: ['upnp'] });
    rig.gateway.taken.add(4_242);
    const addr = await rig.procure();
    expect(addr).toMatch(/^203\.0\.113\.7:\d+$/);
    expect(addr).not.toBe('203.0.113.7:4242');
    await rig.stop();
    expect(rig.gateway.openPorts.size).toBe(0);
  });

  test('IGD 2: the router chooses', async () => {
    const rig = new PortMapperRig({ services: ['upnp'] });
    rig.gateway.igdVersion = 2;
    rig.gateway.taken.add(4_242);
    expect(await rig.procure()).toBe('203.0.113.7:50001');
    expect(rig.gateway.requests.filter((each) => each.includes(' Add'))).toEqual([
      'upnp AddAnyPortMapping 4242',
    ]);
    // Renewed in the older way, which names the port.
    const renewal = await rig.during(() => undefined, HALF_MS.upnp);
    expect(renewal).toEqual(['upnp GetExternalIPAddress', 'upnp AddPortMapping 50001']);
    await rig.stop();
    expect(rig.gateway.openPorts.size).toBe(0);
  });

  test('IGD 1 without leases: one for ever, looked after and taken away', async () => {
    const rig = new PortMapperRig({ services: ['upnp'] });
    rig.gateway.isPermanentOnly = true;
    const addr = await rig.procure();
    expect([...rig.gateway.openPorts.values()].map(({ until }) => until)).toEqual([Infinity]);
    rig.gateway.restart();
    await rig.run(HALF_MS.upnp);
    expect(rig.gateway.openPorts.size).toBe(1);
    expect(rig.told).toEqual([addr]);
    await rig.stop();
    expect(rig.gateway.openPorts.size).toBe(0);
  });

  test.each(['pcp', 'natPmp'] as const)(
    '%s: short leases are renewed in time, too short ones refused',
    async (protocol) => {
      const rig = new PortMapperRig({ services: [protocol] });
      rig.gateway.maxLeaseS = 10;
      const addr = await rig.procure();
      await rig.run(60_000);
      expect(rig.told).toEqual([addr]);
      await rig.stop();
      const other = new PortMapperRig({ services: [protocol] });
      other.gateway.maxLeaseS = 2;
      expect(await other.procure()).toBeUndefined();
      expect(other.gateway.openPorts.size).toBe(0);
      expect(other.mapper.refusals.get('unusable')).toBeGreaterThan(0);
      await other.stop();
    },
  );

  test.each(PROTOCOLS)('%s: a router that says no', async (protocol) => {
    const rig = new PortMapperRig({ services: [protocol] });
    rig.gateway.isRefusing = true;
    expect(await rig.procure()).toBeUndefined();
    expect(rig.mapper.refusals.get('refused')).toBeGreaterThan(0);
    expect(rig.metrics.value('portmap_mapping_failures')).toBe(1);
    rig.gateway.isRefusing = false;
    await rig.run(UNAVAILABILITY_TRUST_MS);
    expect(await rig.procure()).toBeDefined();
    await rig.stop();
  });
});

describe('H21: answers that are none', () => {
  test.each(PROTOCOLS)('%s: from another address: passed over and counted', async (protocol) => {
    const rig = new PortMapperRig({ services: [protocol] });
    rig.gateway.mangleDatagram = (datagram) => ({
      ...datagram,
      from: toAddr('192.168.1.66', datagram.from.port),
    });
    expect(await rig.procure()).toBeUndefined();
    expect(rig.mapper.refusals.get('foreign')).toBeGreaterThan(0);
    expect(rig.metrics.value('portmap_refusals')).toBeGreaterThan(0);
    await rig.stop();
  });

  test.each(PROTOCOLS)('%s: garbage: passed over and counted', async (protocol) => {
    const rig = new PortMapperRig({ services: [protocol] });
    rig.gateway.mangleDatagram = (datagram) => ({ ...datagram, data: new Uint8Array(3_000).fill(0x41) });
    expect(await rig.procure()).toBeUndefined();
    expect([...rig.mapper.refusals.keys()]).toEqual([protocol === 'upnp' ? 'tooLarge' : 'wrongVersion']);
    await rig.stop();
  });

  test('garbage before the answer does not keep it away', async () => {
    const rig = new PortMapperRig({ services: ['pcp'] });
    rig.gateway.mangleDatagram = (datagram) => {
      rig.host.receiveLocally({ ...datagram, data: datagram.data.slice().fill(0x7f, 1, 2) });
      return datagram;
    };
    expect(await rig.procure()).toBeDefined();
    expect(rig.mapper.refusals.get('unasked')).toBeGreaterThan(0);
    await rig.stop();
  });

  test.each([
    ['a megabyte', 'silent', 'x'.repeat(1_000_000)],
    ['more than a description', 'tooLarge', 'x'.repeat(70_000)],
    ['no XML', 'malformed', 'hello'],
    ['a bomb', 'malformed', '<!DOCTYPE r [<!ENTITY a "aaaa">]><root>&a;</root>'],
    ['no service', 'noService', '<root><device/></root>'],
    [
      'a service elsewhere',
      'foreign',
      '<root><device><serviceList><service><serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType><controlURL>http://198.51.100.1/x</controlURL></service></serviceList></device></root>',
    ],
  ] as const)('UPnP, %s: %s', async (_name, fault, text) => {
    const rig = new PortMapperRig({ services: ['upnp'] });
    const asked: string[] = [];
    rig.gateway.mangleWeb = async ({ url, maxBodyBytes }, answer) => {
      asked.push(url);
      if (text.length > 500_000) throw new Error(`the answer is longer than ${maxBodyBytes} bytes`);
      return { ...answer, body: utf8(text) };
    };
    expect(await rig.procure()).toBeUndefined();
    expect([...rig.mapper.refusals.keys()]).toEqual([fault]);
    expect(new Set(asked)).toEqual(new Set([`http://${GATEWAY_IP}:5000/desc.xml`]));
    await rig.stop();
  });

  test('UPnP, a server that stalls is given up, and so is one that redirects', async () => {
    const rig = new PortMapperRig({ services: ['upnp'] });
    rig.gateway.delayMs = 1_000_000;
    rig.gateway.mangleDatagram = (datagram) => {
      rig.host.receiveLocally(datagram);
      return undefined;
    };
    expect(await rig.procure()).toBeUndefined();
    expect([...rig.mapper.refusals.keys()]).toEqual(['silent']);
    rig.gateway.delayMs = 1;
    rig.gateway.mangleDatagram = undefined;
    rig.gateway.mangleWeb = async (_request, answer) => ({ ...answer, status: 302 });
    await rig.run(UNAVAILABILITY_TRUST_MS);
    expect(await rig.procure()).toBeUndefined();
    expect(rig.mapper.refusals.get('refused')).toBe(1);
    await rig.stop();
  });
});

describe('H21: the end', () => {
  test.each(PROTOCOLS)(
    '%s: whenever it comes, nothing is left, neither here nor at the router',
    async (protocol) => {
      // UPnP has its turn when it is clear that there is nothing better.
      const firstMs = protocol === 'upnp' ? GATEWAY_ANSWER_LIMIT_MS - 5 : 0;
      for (let afterMs = firstMs; afterMs < firstMs + 60; afterMs += 1) {
        const rig = new PortMapperRig({ services: [protocol], seed: afterMs });
        rig.gateway.delayMs = 5;
        rig.mapper.setPort(4_242);
        rig.mapper.procure();
        await rig.run(afterMs);
        if (afterMs % 2 === 0) rig.mapper.closeStarted();
        await rig.stop();
        expect([afterMs, rig.gateway.openPorts.size]).toEqual([afterMs, 0]);
      }
    },
  );

  test.each(PROTOCOLS)('%s: during a renewal', async (protocol) => {
    for (let afterMs = 0; afterMs < 40; afterMs += 2) {
      const rig = new PortMapperRig({ services: [protocol], seed: afterMs });
      await rig.procure();
      rig.gateway.delayMs = 5;
      rig.mapper.check();
      await rig.run(afterMs);
      if (afterMs % 4 === 0) rig.mapper.closeStarted();
      await rig.stop();
      expect([afterMs, rig.gateway.openPorts.size]).toEqual([afterMs, 0]);
    }
  });

  test.each(PROTOCOLS)(
    '%s: a router that does not answer is not waited for longer than its time',
    async (protocol) => {
      const rig = new PortMapperRig({ services: [protocol] });
      await rig.procure();
      rig.gateway.services.clear();
      rig.gateway.delayMs = 1_000_000;
      const startedAt = rig.world.clock.now();
      await rig.world.run(rig.mapper.stop(), 1_000);
      expect(rig.world.clock.now() - startedAt).toBeLessThanOrEqual(RELEASE_GRACE_MS);
      await rig.stop();
    },
  );
});
