/** Scenarios F, the relay client's part: real managers and the real relay's hub, in virtual time. */
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { RelayRig } from '../support/relay-rig.ts';

let rig: RelayRig;
beforeEach(() => {
  rig = new RelayRig();
});
afterEach(() => rig.close());

test('F09: broken by the relay, the connection is made anew and datagrams flow; disconnected, then connected', async () => {
  const relay = rig.addRelay('https://one.example/');
  const [a, b] = [rig.addPeer(), rig.addPeer()];
  for (const peer of [a, b]) peer.manager.setHome(relay.url);
  await rig.run(1_000);
  a.send(relay, b, 'before');
  await rig.run(1_000);
  expect(b.texts).toEqual(['before']);
  expect(a.takeStatuses()).toEqual(['none', 'one.example connecting', 'one.example connected']);
  relay.restart();
  await rig.run(1_000);
  expect(a.takeStatuses()).toEqual([
    'one.example connected restarting',
    'one.example disconnected restarting',
    'one.example connecting RelayError.Established.StreamClosedServer',
    'one.example connected',
  ]);
  a.send(relay, b, 'after');
  await rig.run(1_000);
  expect(b.texts).toEqual(['before', 'after']);
});
