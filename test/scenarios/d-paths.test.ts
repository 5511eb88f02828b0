/** Scenarios D: relayed, direct, and the way from one to the other. */
import { describe, expect, test } from '@jest/globals';
import { EndpointAddr, type Endpoint, type PathEvent } from '../../src/index.ts';
import { ALPN, simulated, type Simulated } from '../support/endpoints.ts';

/** Where an endpoint is reached by relay alone. */
function relayAddrOf(endpoint: Endpoint): EndpointAddr {
  return new EndpointAddr(
    endpoint.id,
    endpoint.addr.addrs.filter(({ type }) => type === 'relay'),
  );
}

async function online(place: Simulated, ...endpoints: readonly Endpoint[]): Promise<void> {
  await Promise.all(endpoints.map((endpoint) => endpoint.online(place.wait)));
}

function told(event: PathEvent): string {
  return event.type === 'lagged' ? 'lagged' : `${event.type} ${event.remoteAddr.type}`;
}

describe('relays and direct paths', () => {
  test(
    'D02: dialled by relay alone, a connection becomes direct, and both sides see it',
    simulated(async (place) => {
      const site = await place.addRelay();
      const server = await place.serve(place.using(site));
      const client = await place.bind(place.using(site));
      await online(place, server, client);
      const accepted = place.acceptOn(server);
      const ours = await client.connect(relayAddrOf(server), ALPN, place.wait);
      const theirs = await accepted;
      const events: string[] = [];
      ours.pathEvents$.subscribe((event) => events.push(told(event)));
      await place.sleep(2_000);
      for (const connection of [ours, theirs]) {
        const selected = connection.paths.find(({ isSelected }) => isSelected);
        expect(selected?.remoteAddr.type).toBe('ip');
      }
      expect(events).toEqual(['opened relay', 'selected relay', 'opened ip', 'selected ip']);
    }),
  );
});
