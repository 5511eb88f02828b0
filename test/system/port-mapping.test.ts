/**
 * Scenarios H21 and J20 with a real router's software: `miniupnpd` (Debian) opens a port by UPnP, PCP or NAT-PMP. Strangers
 * reach an endpoint through it; it makes direct what no hole punching can; it is closed with the endpoint.
 */
import { expect, test } from '@jest/globals';
import { Child } from './child.ts';
import { Lab } from './lab.ts';
import { EXTERNAL_IP, Miniupnpd } from './miniupnpd.ts';
import { ALL_PAIRINGS, dialRelayed, expectRelayed, waitDirect, withMeeting } from './pairs.ts';

/** The daemon is up, the endpoint has asked, the answer is there. */
const MAPPED_MS = 15_000;
/** J20: from the dial to the direct path, which waits for the mapping. */
const DIRECT_MS = 15_000;
/** How long two strict routers are watched before one of them opens a port: a round of hole punching, and the next. */
const STAYS_RELAYED_MS = 6000;

test.each([
  ['UPnP', 'upnp'],
  ['PCP', 'pcp'],
  ['NAT-PMP', 'natPmp'],
] as const)('H21: a port that miniupnpd opens by %s', async (_name, protocol) => {
  let daemon: Miniupnpd | undefined;
  try {
    await Lab.with(async (lab) => {
      const router = await lab.addRouter({ nat: 'moderate' });
      const device = await lab.addDevice(router);
      const stranger = await lab.addHost();
      daemon = await Miniupnpd.start(router, protocol === 'upnp');
      await daemon.tellRoute(stranger.namespace);
      if (protocol === 'natPmp') await daemon.refusePcp();
      const ours = Child.script(device.namespace, 'mapper.mjs');
      const theirs = Child.script(stranger.namespace, 'mapper.mjs');
      const { id } = await ours.call<{ id: string }>('bind', { portMapper: true });
      const { addr, how } = await ours.call<{ addr: string; how: string }>('mapped', {
        ip: EXTERNAL_IP,
        timeoutMs: MAPPED_MS,
      });
      expect(how).toBe(protocol);
      expect(await daemon.rules()).toContain(`dport ${addr.split(':')[1]}`);

      await theirs.call('bind', { portMapper: false });
      expect(await theirs.call('dial', { remote: id, addr, timeoutMs: 10_000 })).toEqual({ remote: addr });

      await ours.call('close');
      expect(await daemon.rules()).not.toContain('dport');
      await Promise.all([ours.stop(), theirs.stop()]);
    });
  } finally {
    await daemon?.clean();
  }
});

const MAPPED_SIDES = ALL_PAIRINGS.flatMap((pairing) =>
  (['client', 'server'] as const).map((side) => ({ ...pairing, pairing, side })),
);

test.each(MAPPED_SIDES)(
  'J20: $client dials $server, two strict routers stay relayed; that of the $side opens a port: direct within 15 s',
  async ({ pairing, side }) => {
    let daemon: Miniupnpd | undefined;
    try {
      await withMeeting(
        pairing,
        async (lab) => [await lab.addBehind({ nat: 'strict' }), await lab.addBehind({ nat: 'strict' })],
        async (before) => {
          await new Promise((resolve) => setTimeout(resolve, STAYS_RELAYED_MS));
          await expectRelayed(before.links);
          for (const link of before.links) expect((await link.story()).story).toHaveLength(1);
          const peers = { client: before.client, server: before.server };
          await Promise.all([before.client.close(), before.server.close()]);

          const [mapped, other] =
            side === 'client' ? [peers.client, peers.server] : [peers.server, peers.client];
          // Real iroh, which has asked no router yet, asks by UPnP alone (`portmapper/src/lib.rs` `get_mapping`).
          daemon = await Miniupnpd.start(mapped.device.router, pairing[side] !== 'iroh-ts');
          await daemon.tellRoute(other.device.router.namespace);
          // Endpoints that have found no service ask again after 20 s; new ones ask at once.
          peers[side] = await mapped.again({ portMapper: true });
          const unmapped = side === 'client' ? 'server' : 'client';
          peers[unmapped] = await other.again();
          const dialledAt = performance.now();
          const links = await dialRelayed(peers.client, peers.server);
          await waitDirect(links, DIRECT_MS);
          const ms = Math.round(performance.now() - dialledAt);
          await Promise.all(links.map((link) => link.ping(5000)));
          const paths = await Promise.all(links.map((link) => link.selected()));
          expect(paths.map((path) => path?.kind)).toEqual(['ip', 'ip']);
          expect(paths[side === 'client' ? 1 : 0]?.remote).toContain(`${EXTERNAL_IP}:`);
          console.log(
            `J20, ${pairing.client} dials ${pairing.server}, ${side} mapped: direct after ${ms} ms`,
          );
        },
      );
    } finally {
      await daemon?.clean();
    }
  },
);
