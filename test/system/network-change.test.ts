/**
 * Scenarios J06 and J15: a link goes down and comes up, a device moves to another network, the connection stays.
 */
import { describe, expect, test } from '@jest/globals';
import type { Device, Families } from './lab.ts';
import { PAIRINGS, waitDirect, withMeeting } from './pairs.ts';

const OUTAGE_MS = 5000;
const FAMILIES: readonly Families[] = ['v4', 'v6', 'dual'];
const MOVES = FAMILIES.flatMap((from) => FAMILIES.map((to) => ({ from, to })));

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** How others see the addresses of a device behind a moderate router. */
function seenAs({ router, addrs }: Device): string[] {
  return [...(router.publicIpv4 ? [`${router.publicIpv4}:`] : []), ...(addrs.v6 ? [`[${addrs.v6}]:`] : [])];
}

describe.each(PAIRINGS)('$client dials $server', (pairing) => {
  test('J06: the link of the client is down for 5 s', async () => {
    await withMeeting(
      pairing,
      async (lab) => [await lab.addBehind(), await lab.addBehind()],
      async ({ links, client }) => {
        await waitDirect(links, 15_000);
        await client.device.linkDown();
        await pause(OUTAGE_MS);
        await client.device.linkUp();
        const upAt = performance.now();
        await links[0].ping(15_000);
        const pingMs = performance.now() - upAt;
        await waitDirect(links, 15_000);
        const directMs = performance.now() - upAt;
        console.log(
          `J06 ${pairing.client} dials ${pairing.server}: ping after ${Math.round(pingMs)} ms, direct after ${Math.round(directMs)} ms`,
        );
        await links[1].ping(5000);
      },
    );
  });

  test.each(MOVES)('J15: the client moves from $from to $to', async ({ from, to }) => {
    await withMeeting(
      pairing,
      async (lab) => [await lab.addBehind({ families: from }), await lab.addBehind({ families: 'dual' })],
      async ({ lab, links, client }) => {
        await waitDirect(links, 15_000);
        await links[0].ping(5000);
        await client.device.plug(await lab.addRouter({ families: to }));
        const movedAt = performance.now();
        const path = await links[1].waitNextPath({
          kind: 'ip',
          prefixes: seenAs(client.device),
          timeoutMs: 30_000,
        });
        expect(path.kind).toBe('ip');
        console.log(
          `J15 ${pairing.client} dials ${pairing.server}, ${from} to ${to}: ${Math.round(performance.now() - movedAt)} ms`,
        );
        await links[0].ping(10_000);
      },
    );
  });
});
