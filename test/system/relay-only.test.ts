/**
 * Scenarios J11–J14: where no direct path is possible, the relay carries everything and comes back after a failure.
 */
import { describe, expect, test } from '@jest/globals';
import type { Families, Lab } from './lab.ts';
import { ALL_PAIRINGS, OWN_PAIRINGS, expectRelayed, withMeeting } from './pairs.ts';

/** How long a connection that must stay relayed is watched, ms. */
const STAYS_RELAYED_MS = 6000;
/** Hold time of J12, ms. */
const HOLD_MS = 3000;
const OUTAGE_MS = 5000;

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function bothStrict(lab: Lab) {
  return [await lab.addBehind({ nat: 'strict' }), await lab.addBehind({ nat: 'strict' })] as const;
}

describe.each(OWN_PAIRINGS)('$client dials $server', (pairing) => {
  test.each<Families>(['v4', 'v6'])('J11: UDP blocked except for names, %s only', async (families) => {
    await withMeeting(
      pairing,
      async (lab) => [
        await lab.addBehind({ families, isUdpBlocked: true }),
        await lab.addBehind({ families, isUdpBlocked: true }),
      ],
      async ({ links }) => {
        await Promise.all(links.map((link) => link.ping(10_000)));
        await pause(STAYS_RELAYED_MS);
        await expectRelayed(links);
        await links[0].ping(10_000);
      },
    );
  });

  test.each(['client', 'server', 'both'] as const)('J12: UDP blocked on the side of %s', async (blocked) => {
    await withMeeting(
      pairing,
      async (lab) => [
        await lab.addBehind({ isUdpBlocked: blocked !== 'server' }),
        await lab.addBehind({ isUdpBlocked: blocked !== 'client' }),
      ],
      async ({ links }) => {
        await links[0].ping(10_000);
        await pause(HOLD_MS);
        await links[1].ping(10_000);
        for (const link of links) expect((await link.story()).story).toHaveLength(1);
        await expectRelayed(links);
      },
    );
  });
});

describe.each(ALL_PAIRINGS)('$client dials $server', (pairing) => {
  test.each(['client', 'server'] as const)('J13: the link of the %s is down for 5 s', async (side) => {
    await withMeeting(pairing, bothStrict, async ({ links, ...peers }) => {
      await links[0].ping(10_000);
      const { device } = peers[side];
      await device.linkDown();
      await pause(OUTAGE_MS);
      await device.linkUp();
      const upAt = performance.now();
      await links[0].ping(30_000);
      console.log(
        `J13 ${pairing.client} dials ${pairing.server}, ${side} down: ${Math.round(performance.now() - upAt)} ms`,
      );
      await expectRelayed(links);
    });
  });

  test('J14: the relay is restarted in place', async () => {
    await withMeeting(pairing, bothStrict, async ({ links, relay }) => {
      await links[0].ping(10_000);
      await relay.restart();
      const upAt = performance.now();
      await links[0].ping(20_000);
      console.log(
        `J14 ${pairing.client} dials ${pairing.server}: ${Math.round(performance.now() - upAt)} ms`,
      );
      expect((await links[0].story()).closed).toBeUndefined();
      await expectRelayed(links);
    });
  });
});
