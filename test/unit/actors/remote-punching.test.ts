/** When a remote punches holes, against an engine that does as it is told. */
import { describe, expect, test } from '@jest/globals';
import { RelayUrl } from '../../../src/base/relay-url.ts';
import { parseAddr, type Addr } from '../../../src/base/socket-addr.ts';
import { UPGRADE_INTERVAL_MS } from '../../../src/machines/remote.ts';
import { RemoteRig } from '../../support/remote-rig.ts';

const V4 = parseAddr('10.0.0.1:1');
const OTHER_V4 = parseAddr('10.0.0.2:2');
const V6 = parseAddr('[2001:db8::1]:1');
const OURS = parseAddr('10.0.0.9:9');
const URL = RelayUrl.parse('https://relay.example/');

function relayed(rig: RemoteRig): Addr {
  return rig.mapped.ofRelay(URL, rig.id.toBytes());
}

describe('hole punching', () => {
  test('Q1: without candidates of ours nothing is tried; the first one begins a round at once', async () => {
    const rig = new RemoteRig();
    const connection = await rig.connect('client', relayed(rig));
    connection.offer(V4);
    connection.tellAll();
    await rig.run(10_000);
    expect(connection.rounds).toEqual([]);
    rig.setDirect(OURS);
    await rig.run(0);
    expect(connection.rounds).toEqual([{ at: 10_000, local: [OURS], remote: [V4] }]);
  });

  test('the first round does not wait for candidates of the peer; when they come there is another', async () => {
    const rig = new RemoteRig();
    rig.setDirect(OURS);
    const connection = await rig.connect('client', relayed(rig));
    await rig.run(30_000);
    expect(connection.rounds).toEqual([{ at: 0, local: [OURS], remote: [] }]);
    connection.offer(V4);
    connection.tellAll();
    await rig.run(0);
    expect(connection.rounds.slice(1)).toEqual([{ at: 30_000, local: [OURS], remote: [V4] }]);
  });

  test('a fast direct path is good enough while it is heard, and no more when it is stalled', async () => {
    const rig = new RemoteRig();
    rig.setDirect(OURS);
    const connection = await rig.connect('client', relayed(rig));
    connection.offer(V4);
    connection.tellAll();
    await rig.run(0);
    const path = connection.begin({ remote: V4, local: OURS });
    connection.validate(path, 1);
    connection.tellAll();
    const rounds = connection.rounds.length;
    await rig.run(2 * UPGRADE_INTERVAL_MS);
    expect(connection.rounds.length).toBe(rounds);
    connection.stall(path, true);
    connection.tellAll();
    await rig.run(UPGRADE_INTERVAL_MS);
    expect(connection.rounds.length).toBe(rounds + 1);
  });

  test('inv-R7, H22: with the same candidates a round is at least 5 s after the last one; a new one is not waited for', async () => {
    const rig = new RemoteRig();
    rig.setDirect(OURS);
    const connection = await rig.connect('client', relayed(rig));
    connection.offer(V4);
    for (let at = 0; at < 19_000; at += 100) {
      connection.tellAll();
      rig.map.networkChanged(true);
      await rig.run(100);
    }
    expect(connection.rounds.map(({ at }) => at)).toEqual([0, 0, 5_000, 10_000, 15_000]);
    connection.offer(OTHER_V4);
    connection.tellAll();
    await rig.run(0);
    expect(connection.rounds.at(-1)).toEqual({ at: 19_000, local: [OURS], remote: [V4, OTHER_V4] });
    // One that went is nothing new.
    connection.withdraw(OTHER_V4);
    connection.tellAll();
    await rig.run(4_999);
    expect(connection.rounds.length).toBe(6);
  });

  test('a round that is too early waits for its time, though nothing more happens', async () => {
    const rig = new RemoteRig();
    rig.setDirect(OURS);
    const connection = await rig.connect('client', relayed(rig));
    // Nothing new after the first one.
    for (let i = 0; i < 3; i++) {
      connection.offer(V4);
      connection.tellAll();
      await rig.run(100);
    }
    await rig.run(20_000);
    expect(connection.rounds.map(({ at }) => at)).toEqual([0, 0, 5_000]);
  });

  test('a direct path that timed out is looked for at once, though nothing is new', async () => {
    const rig = new RemoteRig();
    rig.setDirect(OURS);
    const connection = await rig.connect('client', relayed(rig));
    connection.offer(V4);
    connection.tellAll();
    await rig.run(0);
    const path = connection.begin({ remote: V4, local: OURS });
    connection.validate(path);
    connection.tellAll();
    await rig.run(20_000);
    const rounds = connection.rounds.length;
    connection.abandon(path, { type: 'timedOut' });
    connection.tellAll();
    await rig.run(0);
    expect(connection.rounds.slice(rounds)).toEqual([{ at: 20_000, local: [OURS], remote: [V4] }]);
  });

  test('a round that cannot start now is tried again, more and more rarely', async () => {
    const rig = new RemoteRig();
    rig.setDirect(OURS);
    rig.onConnection = (each) => (each.refusesRound = 'notEnoughAddresses');
    const connection = await rig.connect('client', relayed(rig));
    connection.offer(V4);
    connection.tellAll();
    await rig.run(60_000);
    const tries = rig.lines.filter((line) => line.includes('not now')).length;
    expect(tries).toBeGreaterThan(10);
    expect(tries).toBeLessThan(25);
    connection.refusesRound = undefined;
    await rig.run(5_100);
    expect(connection.rounds.length).toBe(1);
  });

  test('a peer that does not know the extension is left alone', async () => {
    const rig = new RemoteRig();
    rig.setDirect(OURS);
    rig.onConnection = (connection) => (connection.refusesRound = 'notNegotiated');
    const connection = await rig.connect('client', relayed(rig));
    connection.offer(V4);
    connection.tellAll();
    await rig.run(10);
    const tries = (): number => rig.lines.filter((line) => line.includes('not now')).length;
    const soFar = tries();
    expect(soFar).toBeGreaterThan(0);
    await rig.run(49_000);
    expect(tries()).toBe(soFar);
  });

  test('the oldest connection of which we are the client punches; servers never do', async () => {
    const rig = new RemoteRig();
    rig.setDirect(OURS);
    const server = await rig.connect('server', relayed(rig));
    server.offer(V4);
    server.tellAll();
    await rig.run(10);
    expect(server.rounds).toEqual([]);
    const [one, two] = [await rig.connect('client', relayed(rig)), await rig.connect('client', relayed(rig))];
    for (const connection of [two, one]) connection.offer(V4);
    for (const connection of [two, one]) connection.tellAll();
    await rig.run(10);
    expect([one.rounds.length, two.rounds.length]).toEqual([2, 0]);
  });

  test('a network change asks every path, and punches when it is major', async () => {
    const rig = new RemoteRig();
    rig.setDirect(OURS);
    const connection = await rig.connect('client', relayed(rig));
    connection.offer(V4);
    connection.tellAll();
    await rig.run(6_000);
    connection.calls.length = 0;
    rig.map.networkChanged(false);
    await rig.run(0);
    expect([connection.calls, connection.rounds.length]).toEqual([['ping 0'], 2]);
    rig.map.networkChanged(true);
    await rig.run(0);
    expect(connection.rounds.length).toBe(3);
  });

  test('our own addresses are offered as they come, and taken back as they go', async () => {
    const rig = new RemoteRig();
    rig.setDirect(OURS);
    const connection = await rig.connect('server', relayed(rig));
    expect([...connection.localNat]).toEqual([OURS]);
    rig.setDirect(V4, V6);
    await rig.run(0);
    expect([...connection.localNat]).toEqual([V4, V6]);
    const hidden = new RemoteRig({ policy: 'relay' });
    hidden.setDirect(OURS);
    expect((await hidden.connect('server', relayed(hidden))).localNat.size).toBe(0);
  });

  test('inv-R7: an address of ours that the peer has not been offered is no candidate yet', async () => {
    const rig = new RemoteRig();
    rig.setDirect(OURS);
    const connection = await rig.connect('client', relayed(rig));
    connection.offer(V4);
    connection.tellAll();
    await rig.run(1_000);
    // What the peer says is heard before what we say.
    rig.setDirect(OURS, V6);
    connection.offer(OTHER_V4);
    connection.tellAll();
    await rig.run(0);
    expect(connection.rounds.slice(2).map(({ local, remote }) => [local, remote])).toEqual([
      [[OURS], [V4, OTHER_V4]],
      [
        [OURS, V6],
        [V4, OTHER_V4],
      ],
    ]);
  });
});
