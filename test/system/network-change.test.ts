/**
 * Scenarios J06–J08, J15, J16: a link goes down and comes up, a device moves to another network, the connection stays.
 */
import { describe, test } from '@jest/globals';
import type { Families } from './lab.ts';
import {
  ALL_PAIRINGS,
  OWN_PAIRINGS,
  expectRelayed,
  seenAs,
  waitDirect,
  withMeeting,
  type Pairing,
} from './pairs.ts';

const OUTAGE_MS = 5000;
const FAMILIES: readonly Families[] = ['v4', 'v6', 'dual'];
const MOVES = FAMILIES.flatMap((from) => FAMILIES.map((to) => ({ from, to })));

const ms = (value: number) => `${Math.round(value)} ms`;

/** Measured times are worth reading next to those of real iroh. */
function tell(id: string, { client, server }: Pairing, text: string): void {
  console.log(`${id}, ${client} dials ${server}: ${text}`);
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function outage(id: string, pairing: Pairing, side: 'client' | 'server'): Promise<void> {
  await withMeeting(
    pairing,
    async (lab) => [await lab.addBehind(), await lab.addBehind()],
    async ({ links, ...peers }) => {
      await waitDirect(links, 15_000);
      const { device } = peers[side];
      await device.linkDown();
      await pause(OUTAGE_MS);
      await device.linkUp();
      const upAt = performance.now();
      await links[0].ping(15_000);
      const pingMs = performance.now() - upAt;
      await waitDirect(links, 15_000);
      tell(id, pairing, `ping after ${ms(pingMs)}, direct after ${ms(performance.now() - upAt)}`);
      await links[1].ping(5000);
    },
  );
}

async function move(
  pairing: Pairing,
  side: 'client' | 'server',
  from: Families,
  to: Families,
): Promise<void> {
  const families = { client: 'dual', server: 'dual', [side]: from } as const;
  await withMeeting(
    pairing,
    async (lab) => [
      await lab.addBehind({ families: families.client }),
      await lab.addBehind({ families: families.server }),
    ],
    async ({ lab, links, ...peers }) => {
      const [mover, watcher] = side === 'client' ? links : [links[1], links[0]];
      await waitDirect(links, 15_000);
      await mover.ping(5000);
      const { device } = peers[side];
      await device.plug(await lab.addRouter({ families: to }));
      const movedAt = performance.now();
      await peers[side].tellMapping();
      await watcher.waitNextPath({ kind: 'ip', prefixes: seenAs(device), timeoutMs: 30_000 });
      tell(
        side === 'client' ? 'J15' : 'J16',
        pairing,
        `${from} to ${to}: ${ms(performance.now() - movedAt)}`,
      );
      await mover.ping(10_000);
    },
  );
}

describe.each(ALL_PAIRINGS)('$client dials $server', (pairing) => {
  test('J06: the link of the client is down for 5 s', async () => {
    await outage('J06', pairing, 'client');
  });

  test.each(MOVES)('J15: the client moves from $from to $to', async ({ from, to }) => {
    await move(pairing, 'client', from, to);
  });
});

describe.each(OWN_PAIRINGS)('$client dials $server', (pairing) => {
  test('J07: the link of the server is down for 5 s', async () => {
    await outage('J07', pairing, 'server');
  });

  test.each(['client', 'server'] as const)(
    'J08: the %s moves from a strict router to a moderate one',
    async (side) => {
      await withMeeting(
        pairing,
        async (lab) => [
          await lab.addBehind({ nat: side === 'client' ? 'strict' : 'moderate' }),
          await lab.addBehind({ nat: side === 'server' ? 'strict' : 'moderate' }),
        ],
        async ({ lab, links, ...peers }) => {
          await pause(3000);
          await expectRelayed(links);
          await peers[side].device.plug(await lab.addRouter());
          const movedAt = performance.now();
          await peers[side].tellMapping();
          await waitDirect(links, 15_000);
          tell('J08', pairing, `${side}: direct after ${ms(performance.now() - movedAt)}`);
          await links[0].ping(5000);
        },
      );
    },
  );

  test.each(MOVES)('J16: the server moves from $from to $to', async ({ from, to }) => {
    await move(pairing, 'server', from, to);
  });
});
