/**
 * Which implementations meet, and how a test runs one such meeting.
 *
 * @module
 */
import { expect } from '@jest/globals';
import { Lab, type Device } from './lab.ts';
import { LabRelay, Peer, type Implementation, type Link } from './peers.ts';

/** Who dials whom. */
export interface Pairing {
  readonly client: Implementation;
  readonly server: Implementation;
}

const OURS: Pairing = { client: 'iroh-ts', server: 'iroh-ts' };
const MIXED: readonly Pairing[] = [
  { client: 'iroh-ts', server: 'iroh' },
  { client: 'iroh', server: 'iroh-ts' },
];

/** `IROH_TS_LAB_PAIRS=iroh-ts:iroh,iroh-rust:iroh-rust` (client and server) chooses others for every scenario. */
const CHOSEN = process.env['IROH_TS_LAB_PAIRS']
  ?.split(',')
  .map((text) => text.split(':') as [Implementation, Implementation])
  .map(([client, server]) => ({ client, server }));

/** Who meets in scenarios that are about one side only. */
export const OWN_PAIRINGS: readonly Pairing[] = CHOSEN ?? [OURS];

/** Who meets in scenarios where both sides have to do their part: ours, and real iroh in either role. */
export const ALL_PAIRINGS: readonly Pairing[] = CHOSEN ?? [OURS, ...MIXED];

/** A connection and everything around it. */
export interface Meeting {
  readonly lab: Lab;
  readonly relay: LabRelay;
  readonly client: Peer;
  readonly server: Peer;
  readonly links: readonly [client: Link, server: Link];
}

/**
 * Dials by the relay's address alone, so that there is no other beginning. Where the first look at the paths cannot come
 * too late, it is checked: without delays on the cables a direct path is there after 4 ms.
 */
export async function dialRelayed(client: Peer, server: Peer): Promise<[client: Link, server: Link]> {
  const links = await client.dial(server);
  if (client.implementation === 'iroh-ts') expect((await links[0].story()).story[0]?.kind).toBe('relay');
  return links;
}

/** Builds a lab with a relay and two devices, connects them by the relay, and removes all of it after `body`. */
export function withMeeting(
  pairing: Pairing,
  build: (lab: Lab) => Promise<readonly [client: Device, server: Device]>,
  body: (meeting: Meeting) => Promise<void>,
): Promise<void> {
  return Lab.with(async (lab) => {
    const relay = await LabRelay.start(lab);
    const devices = await build(lab);
    const [client, server] = await Promise.all([
      Peer.start(devices[0], pairing.client, relay),
      Peer.start(devices[1], pairing.server, relay),
    ]);
    await body({ lab, relay, client, server, links: await dialRelayed(client, server) });
  });
}

/** Waits until both sides send over a direct path. */
export async function waitDirect(links: readonly [Link, Link], timeoutMs: number): Promise<void> {
  await Promise.all(links.map((link) => link.waitNextPath({ kind: 'ip', timeoutMs })));
}

/** Both sides still use the relay. */
export async function expectRelayed(links: readonly [Link, Link]): Promise<void> {
  for (const link of links) expect((await link.selected())?.kind).toBe('relay');
}

/** How others see the addresses of a device behind a moderate router. */
export function seenAs({ router, addrs }: Device): string[] {
  return [...(router.publicIpv4 ? [`${router.publicIpv4}:`] : []), ...(addrs.v6 ? [`[${addrs.v6}]:`] : [])];
}
