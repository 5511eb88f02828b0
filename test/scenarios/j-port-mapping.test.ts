/** Scenario J20: a port that a router opens makes direct what no hole punching can; whole endpoints in virtual time. */
import { describe, expect, test } from '@jest/globals';
import { GATEWAY_ANSWER_LIMIT_MS } from '../../src/actors/mapping-services.ts';
import type { Connection, Endpoint } from '../../src/index.ts';
import type { GatewayProtocol } from '../support/sim-gateway.ts';
import { echo, simulated, type Simulated } from '../support/endpoints.ts';

/** By when the connection is direct; what J20 asks for. */
const DIRECT_MS = 15_000;

function kinds({ paths }: Connection): string[] {
  return paths.map(({ remoteAddr: { type }, isSelected }) => (isSelected ? type.toUpperCase() : type)).sort();
}

/** Two endpoints behind strict NATs, dialled by relay alone; routers of `services` open ports. */
async function strictPair(
  place: Simulated,
  services: { readonly client: readonly GatewayProtocol[]; readonly server: readonly GatewayProtocol[] },
): Promise<{ client: Endpoint; server: Endpoint; ours: Connection; theirs: Connection }> {
  const site = await place.addRelay();
  place.nat = 'strict';
  place.routerServices = services.server;
  const server = await place.serve({ ...place.using(site), portMapper: true });
  place.routerServices = services.client;
  const client = await place.bind({ ...place.using(site), portMapper: true });
  await place.online(server, client);
  const { ours, theirs } = await place.dial(client, server, place.relayAddrOf(server));
  void echo(theirs);
  return { client, server, ours, theirs };
}

describe('J20: strict and strict', () => {
  test(
    'without a mapping they stay relayed',
    simulated(async (place) => {
      const { ours, theirs } = await strictPair(place, { client: [], server: [] });
      await place.sleep(DIRECT_MS);
      expect([kinds(ours), kinds(theirs)]).toEqual([['RELAY'], ['RELAY']]);
    }),
  );

  test.each(['pcp', 'natPmp', 'upnp'] as const)(
    'with a mapping by %s on either side they become direct within 15 s; it is closed with the endpoint',
    async (protocol) => {
      for (const side of ['client', 'server'] as const) {
        await simulated(async (place) => {
          const services = { client: [], server: [], [side]: [protocol] };
          const { ours, theirs, ...ends } = await strictPair(place, services);
          await place.sleep(DIRECT_MS);
          expect([kinds(ours), kinds(theirs)]).toEqual([
            ['IP', 'relay'],
            ['IP', 'relay'],
          ]);
          expect((await place.ask(ours)).answer).toHaveLength(4);
          const mapped = ends[side];
          const { openPorts, externalIp } = place.gatewayOf(mapped);
          expect(openPorts.size).toBe(1);
          const [port] = openPorts.keys();
          expect(
            mapped.addr.addrs.map((each) => (each.type === 'ip' ? each.addr.text : each.type)),
          ).toContain(`${externalIp}:${port}`);
          expect(mapped.metrics().value('portmap_external_address_updated')).toBe(1);
          await mapped.close({ timeoutMs: 1_000 });
          expect(place.gatewayOf(mapped).openPorts.size).toBe(0);
        })();
      }
    },
  );

  test(
    'a connection is told of a mapping that comes later',
    simulated(async (place) => {
      const { server, ours } = await strictPair(place, { client: [], server: [] });
      await place.sleep(DIRECT_MS);
      expect(kinds(ours)).toEqual(['RELAY']);
      place.gatewayOf(server).services.add('natPmp');
      // The next report asks the router again.
      await place.sleep(26_000 + DIRECT_MS);
      expect(kinds(ours)).toEqual(['IP', 'relay']);
    }),
  );
});

test(
  'the option decides: routers are left alone by the preset minimal, asked without relays when it says so',
  simulated(async (place) => {
    place.nat = 'moderate';
    place.routerServices = ['pcp', 'natPmp', 'upnp'];
    const minimal = await place.bind();
    const asking = await place.bind({ portMapper: true });
    const relayOnly = await place.bind({
      portMapper: true,
      pathPolicy: 'relay',
      ...place.using(await place.addRelay()),
    });
    await place.sleep(60_000);
    expect(place.gatewayOf(minimal).requests).toEqual([]);
    expect(place.gatewayOf(relayOnly).requests).toEqual([]);
    const { openPorts, externalIp } = place.gatewayOf(asking);
    const [port] = openPorts.keys();
    expect(asking.addr.addrs.map((each) => each.type === 'ip' && each.addr.text)).toContain(
      `${externalIp}:${port}`,
    );
  }),
);

test(
  'closing during a probe or a mapping leaves no port open',
  simulated(async (place) => {
    place.nat = 'moderate';
    for (const protocol of ['pcp', 'natPmp', 'upnp'] as const) {
      place.routerServices = [protocol];
      const firstMs = protocol === 'upnp' ? GATEWAY_ANSWER_LIMIT_MS : 0;
      for (let afterMs = firstMs; afterMs < firstMs + 30; afterMs += 3) {
        const endpoint = await place.bind({ portMapper: true });
        await place.sleep(afterMs);
        await endpoint.close();
        expect([protocol, afterMs, place.gatewayOf(endpoint).openPorts.size]).toEqual([protocol, afterMs, 0]);
      }
    }
  }),
);
