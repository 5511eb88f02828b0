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

/**
 * Real iroh on our relay. `iroh-ts:iroh-ts,iroh-ts:iroh,iroh:iroh-ts` belong here as soon as `Endpoint` dials by relay:
 * the tests and `peer.mjs` are written for them.
 */
const DEFAULT_PAIRS = 'iroh:iroh';

/** Client and server, `IROH_TS_LAB_PAIRS=iroh-ts:iroh,iroh-rust:iroh-rust` chooses others. */
export const PAIRINGS: readonly Pairing[] = (process.env['IROH_TS_LAB_PAIRS'] ?? DEFAULT_PAIRS)
  .split(',')
  .map((text) => text.split(':') as [Implementation, Implementation])
  .map(([client, server]) => ({ client, server }));

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
