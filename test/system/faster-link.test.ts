/**
 * Scenarios J04, J05: a faster link comes up, and the connection moves to it.
 */
import { describe, expect, test } from '@jest/globals';
import type { Device, Lab } from './lab.ts';
import { OWN_PAIRINGS, waitDirect, withMeeting } from './pairs.ts';

/** A mobile connection. */
const MOBILE = { delayMs: 40 };

/** A device with a slow way out, which may also plug into the network of the other one. */
async function build(lab: Lab): Promise<[active: Device, passive: Device]> {
  const home = await lab.addRouter();
  const active = await lab.addDevice(await lab.addRouter(), MOBILE);
  const passive = await lab.addDevice(home);
  await active.plugSecond(home);
  return [active, passive];
}

describe.each(OWN_PAIRINGS)('$client dials $server', (pairing) => {
  test.each([
    ['J04', 'client'],
    ['J05', 'server'],
  ] as const)('%s: a faster link comes up on the %s', async (_id, side) => {
    await withMeeting(
      pairing,
      async (lab) => {
        const [active, passive] = await build(lab);
        return side === 'client' ? [active, passive] : [passive, active];
      },
      async ({ links, ...peers }) => {
        const [active, passive] = side === 'client' ? links : [links[1], links[0]];
        await waitDirect(links, 15_000);
        expect(await active.ping(15_000)).toBeGreaterThan(2 * MOBILE.delayMs - 1);
        const fast = await peers[side].device.secondUp();
        await passive.waitNextPath({ kind: 'ip', prefixes: [`${fast.v4}:`], timeoutMs: 15_000 });
        await active.ping(15_000);
      },
    );
  });
});
