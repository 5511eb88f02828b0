/** Several relays in one simulated world. */
import { expect, test } from '@jest/globals';
import { RelayUrl } from '../../src/base/relay-url.ts';
import { RELAY_PROTOCOLS } from '../../src/relay/frames.ts';
import type { WebSocketRequest } from '../../src/transport/relay-socket.ts';
import { SimRelays } from '../support/sim-relay.ts';
import { SimWorld } from '../support/sim-platform.ts';
import { SimRng } from '../support/sim-rng.ts';

function requestOf(url: string): WebSocketRequest {
  return {
    url: RelayUrl.parse(url),
    protocols: RELAY_PROTOCOLS,
    authToken: undefined,
    tls: undefined,
    proxy: undefined,
    preferIpv6: false,
    signal: new AbortController().signal,
  };
}

test('a dial reaches the relay of its URL, and no other; an unknown one has no address', async () => {
  const world = new SimWorld(1);
  const relays = new SimRelays(world, new SimRng(1));
  const [one, two] = ['http://one.example/', 'http://two.example/'].map((url) => relays.add(url));
  const dial = relays.dialler('10.0.0.1');
  const socket = await world.run(dial(requestOf('http://two.example/')), 10_000);
  expect(socket.localIp).toBe('10.0.0.1');
  expect([one!.dials, two!.dials]).toEqual([0, 1]);
  expect(relays.get(RelayUrl.parse('http://one.example/'))).toBe(one);
  await expect(dial(requestOf('http://three.example/'))).rejects.toMatchObject({ failure: 'dns' });
  relays.close();
  await world.run(world.sleep(1_000), 2_000);
  expect(relays.inFlight).toBe(0);
});

test('hosts of a world dial its relays from their own address, as long as they have a way out', async () => {
  const world = new SimWorld(1);
  const relays = new SimRelays(world, new SimRng(1));
  relays.add('http://one.example/');
  const host = world.addHost('host', ['127.0.0.1', '10.0.0.2']);
  const platform = world.platformOf(host);
  const request = requestOf('http://one.example/');
  // Nobody has said which relays there are.
  await expect(platform.openWebSocket(request)).rejects.toMatchObject({ failure: 'dial' });
  world.relays = relays;
  const socket = await world.run(platform.openWebSocket(request), 10_000);
  expect(socket.localIp).toBe('10.0.0.2');
  world.interfacesOf(host).removeInterface('eth0');
  await expect(platform.openWebSocket(request)).rejects.toMatchObject({ failure: 'dial' });
  relays.close();
});
