/** Endpoints without relays in real local networks: neighbours find each other by id alone, over real multicast. */
import { expect, test } from '@jest/globals';
import { Child } from './child.ts';
import { Lab, type Device, type Families } from './lab.ts';

/** A newcomer is heard after a second; the machine may be busy. */
const FOUND_MS = 15_000;
/** Three turns of 0.7 s. */
const MISSED_MS = 15_000;
const DIAL_MS = 20_000;
/** A question waits for ten seconds. */
const ASKED_MS = 30_000;

interface Neighbour {
  readonly device: Device;
  readonly child: Child;
  readonly id: string;
}

async function start(device: Device): Promise<Neighbour> {
  const child = Child.script(device.namespace, 'neighbour.mjs');
  return { device, child, id: (await child.call<{ id: string }>('bind')).id };
}

function told({ child }: Neighbour, event: 'discovered' | 'expired', { id }: Neighbour): Promise<unknown> {
  const limitMs = event === 'discovered' ? FOUND_MS : MISSED_MS;
  return child.event(event, (each) => each['event'] === event && each['neighbour'] === id, limitMs);
}

/** @returns where it was reached. */
async function dial({ child }: Neighbour, { id }: Neighbour): Promise<string> {
  return (await child.call<{ remote: string }>('dial', { remote: id, timeoutMs: DIAL_MS })).remote;
}

test.each<Families>(['v4', 'v6', 'dual'])(
  'two in one network find each other, %s; nobody outside does',
  async (families) => {
    await Lab.with(async (lab) => {
      const home = await lab.addRouter({ families });
      const [one, other, stranger] = await Promise.all([
        start(await lab.addDevice(home)),
        start(await lab.addDevice(home)),
        start(await lab.addBehind({ families })),
      ]);
      await Promise.all([told(one, 'discovered', other), told(other, 'discovered', one)]);
      for (const [client, server] of [
        [one, other],
        [other, one],
      ] as const) {
        const { v4, v6 } = server.device.addrs;
        const remote = await dial(client, server);
        expect([v4, `[${v6}]`].some((ip) => ip !== undefined && remote.startsWith(`${ip}:`))).toBe(true);
      }
      const outside = stranger.child.call('dial', { remote: one.id, timeoutMs: ASKED_MS });
      await expect(outside).rejects.toThrow('no service knows an address');
      for (const { child } of [one, other, stranger]) await child.stop();
    });
  },
);

test('who is killed is missed; who moves to another network is found there', async () => {
  await Lab.with(async (lab) => {
    const [home, office] = [await lab.addRouter(), await lab.addRouter()];
    const [guest, killed, colleague] = await Promise.all([
      start(await lab.addDevice(home)),
      start(await lab.addDevice(home)),
      start(await lab.addDevice(office)),
    ]);
    await told(guest, 'discovered', killed);
    killed.child.kill('SIGKILL');
    await told(guest, 'expired', killed);

    await guest.device.plug(office);
    await Promise.all([told(guest, 'discovered', colleague), told(colleague, 'discovered', guest)]);
    await dial(colleague, guest);
    await dial(guest, colleague);
    for (const { child } of [guest, colleague]) await child.stop();
  });
});
