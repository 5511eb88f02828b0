/** Scenarios J that need no real network: a host that gets other addresses; in virtual time. */
import { expect, test } from '@jest/globals';
import { simulated } from '../support/endpoints.ts';

/** By when a change is known, and a new path is found. */
const SETTLED_MS = 5_000;

test(
  'J15: the address that a direct path started from went: the path is given up at once, and another one takes its place',
  simulated(async (place) => {
    const site = await place.addRelay();
    const { client, server } = await place.relayedPair([site], { client: { bind: ['0.0.0.0:4433'] } });
    const { ours, theirs } = await place.dial(client, server, place.relayAddrOf(server));
    await place.sleep(SETTLED_MS);
    const selected = () => [ours, theirs].map(({ paths }) => paths.find(({ isSelected }) => isSelected)!);
    expect(selected().map(({ remoteAddr }) => remoteAddr.type)).toEqual(['ip', 'ip']);
    const before = selected().map(({ id }) => id);
    const reasons: string[] = [];
    for (const connection of [ours, theirs])
      connection.pathEvents$.subscribe((event) => {
        if (event.type === 'closed') reasons.push(event.reason.type);
      });
    const host = place.hostOf(client);
    host.setIps(['10.9.9.9', ...host.ips.filter((ip) => !ip.startsWith('10.'))]);
    await place.sleep(SETTLED_MS);
    // Before this the path was pinged on and on: a peer that does not know better acknowledges where nobody is any more.
    expect(reasons).toEqual(['unusableAfterNetworkChange', 'remoteAbandoned']);
    expect(selected().map(({ remoteAddr }) => remoteAddr.type)).toEqual(['ip', 'ip']);
    expect(selected().map(({ id }) => id)).not.toEqual(before);
  }),
);
