/**
 * Scenario H21 with a real router's software: `miniupnpd` (Debian) opens a port by UPnP, PCP or NAT-PMP, strangers reach an
 * endpoint through it, and the port is closed with the endpoint.
 */
import { expect, test } from '@jest/globals';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Child } from './child.ts';
import { Lab, type Router } from './lab.ts';

const MINIUPNPD = '/usr/sbin/miniupnpd';
/** The daemon refuses every address that is no public one, those of the lab among them. This one is used inside the lab only. */
const EXTERNAL_IP = '20.0.0.1';
/** The daemon is up, the endpoint has asked, the answer is there. */
const MAPPED_MS = 15_000;

/** Where the daemon puts its rules. What it has translated may pass the firewall of the lab. */
const RULES = `
table inet miniupnpd {
  chain miniupnpd {
  }
  chain forward {
    type filter hook forward priority filter; policy accept;
    jump miniupnpd
  }
  chain prerouting_miniupnpd {
  }
  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    jump prerouting_miniupnpd
  }
  chain postrouting_miniupnpd {
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    jump postrouting_miniupnpd
  }
}
insert rule inet lab forward ct status dnat accept
`;

/** Drops requests of PCP, whose first byte is 2: NAT-PMP is left. */
const NO_PCP = 'insert rule inet lab input iifname "lan" udp dport 5351 @th,64,8 0x2 drop\n';

function config(isUpnp: boolean): string {
  return [
    'ext_ifname=wan',
    `ext_ip=${EXTERNAL_IP}`,
    'listening_ip=lan',
    `enable_upnp=${isUpnp ? 'yes' : 'no'}`,
    `enable_natpmp=${isUpnp ? 'no' : 'yes'}`,
    'secure_mode=yes',
    'upnp_table_name=miniupnpd',
    'upnp_nat_table_name=miniupnpd',
    'upnp_forward_chain=miniupnpd',
    'upnp_nat_chain=prerouting_miniupnpd',
    'upnp_nat_postrouting_chain=postrouting_miniupnpd',
    'uuid=00000000-0000-0000-0000-000000000000',
    'allow 1024-65535 0.0.0.0/0 1024-65535',
    '',
  ].join('\n');
}

/** Starts the daemon and waits until it listens. */
async function startMiniupnpd(router: Router, isUpnp: boolean, folder: string): Promise<void> {
  const { namespace } = router;
  await namespace.nft(RULES);
  // Groups are reached through it.
  await namespace.ip('route add 224.0.0.0/4 dev lan');
  const file = join(folder, 'miniupnpd.conf');
  await writeFile(file, config(isUpnp));
  Child.program(namespace, [MINIUPNPD, '-d', '-f', file, '-P', join(folder, 'pid')]);
  const port = isUpnp ? 1900 : 5351;
  await namespace.shell(
    `for i in $(seq 100); do ss -lun | grep -q ':${port} ' && exit 0; sleep 0.1; done; exit 1`,
  );
}

test.each([
  ['UPnP', 'upnp'],
  ['PCP', 'pcp'],
  ['NAT-PMP', 'natPmp'],
] as const)('H21: a port that miniupnpd opens by %s', async (_name, protocol) => {
  const folder = await mkdtemp(join(tmpdir(), 'iroh-ts-mapper-'));
  try {
    await Lab.with(async (lab) => {
      const router = await lab.addRouter({ nat: 'moderate' });
      const device = await lab.addDevice(router);
      const stranger = await lab.addHost();
      await stranger.namespace.ip(`route add ${EXTERNAL_IP} via ${router.publicIpv4}`);
      await startMiniupnpd(router, protocol === 'upnp', folder);
      if (protocol === 'natPmp') await router.namespace.nft(NO_PCP);
      const ours = Child.script(device.namespace, 'mapper.mjs');
      const theirs = Child.script(stranger.namespace, 'mapper.mjs');
      const { id } = await ours.call<{ id: string }>('bind', { portMapper: true });
      const { addr, how } = await ours.call<{ addr: string; how: string }>('mapped', {
        ip: EXTERNAL_IP,
        timeoutMs: MAPPED_MS,
      });
      expect(how).toBe(protocol);
      const rules = (): Promise<string> =>
        router.namespace.shell('nft list chain inet miniupnpd prerouting_miniupnpd');
      expect(await rules()).toContain(`dport ${addr.split(':')[1]}`);

      await theirs.call('bind', { portMapper: false });
      expect(await theirs.call('dial', { remote: id, addr, timeoutMs: 10_000 })).toEqual({ remote: addr });

      await ours.call('close');
      expect(await rules()).not.toContain('dport');
      await Promise.all([ours.stop(), theirs.stop()]);
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
