/** What an endpoint does about a peer when its engine can migrate, and no more: no multipath, no NAT traversal. */
import { describe, expect, test } from '@jest/globals';
import { EndpointAddr } from '../../../src/base/endpoint-addr.ts';
import { RelayUrl } from '../../../src/base/relay-url.ts';
import { parseAddr, type Addr } from '../../../src/base/socket-addr.ts';
import type { TransportAddr } from '../../../src/base/transport-addr.ts';
import { UPGRADE_INTERVAL_MS } from '../../../src/machines/remote.ts';
import { RemoteRig, type RemoteRigOptions, type ScriptedConnection } from '../../support/remote-rig.ts';

const V4 = parseAddr('10.0.0.1:1');
const OTHER_V4 = parseAddr('10.0.0.2:2');
const OURS = parseAddr('10.0.0.9:9');
const URL = RelayUrl.parse('https://relay.example/');

const ip = (addr: Addr): TransportAddr => ({ type: 'ip', addr });
const RELAY: TransportAddr = { type: 'relay', url: URL };

function makeRig(options: RemoteRigOptions = {}): RemoteRig {
  const capabilities = { multipath: false, natTraversal: false, addressDiscovery: false };
  const rig = new RemoteRig({ capabilities, ...options });
  rig.setDirect(OURS);
  return rig;
}

function relayed(rig: RemoteRig): Addr {
  return rig.mapped.ofRelay(URL, rig.id.toBytes());
}

/** A connection that was dialled by relay to a peer of which these direct addresses are known. */
async function dialRelayed(rig: RemoteRig, ...direct: Addr[]): Promise<ScriptedConnection> {
  await rig.map.resolve(new EndpointAddr(rig.id, [RELAY, ...direct.map(ip)]), undefined);
  return rig.connect('client', relayed(rig));
}

const opens = ({ calls }: ScriptedConnection): string[] => calls.filter((call) => call.startsWith('open'));
const statuses = ({ paths }: ScriptedConnection): string[] =>
  paths.map(({ id, status }) => `${id} ${status}`);

/** Tells the remote what the engine did. */
async function tell(rig: RemoteRig, connection: ScriptedConnection): Promise<void> {
  connection.tellAll();
  await rig.run(0);
}

describe('a client', () => {
  test('probes the direct addresses that it knows, and moves to one that answers; another is closed', async () => {
    const rig = makeRig();
    const connection = await dialRelayed(rig, V4, OTHER_V4);
    await rig.run(0);
    expect(opens(connection)).toEqual([`open ${V4.text}`, `open ${OTHER_V4.text}`]);
    expect([rig.selected, connection.rounds, [...connection.localNat]]).toEqual(['relayed', [], []]);
    connection.validateAll();
    await tell(rig, connection);
    expect([rig.selected, rig.context?.reason]).toEqual(['direct', 'established']);
    expect(connection.calls.at(-1)).toBe('close 2');
    expect(statuses(connection)).toEqual(['0 backup', '1 available']);
  });

  test('falls back to the relay when the direct path stalls, and is direct again when it is heard', async () => {
    const rig = makeRig();
    const connection = await dialRelayed(rig, V4);
    await rig.run(0);
    connection.validateAll();
    await tell(rig, connection);
    connection.stall(1, true);
    await tell(rig, connection);
    expect([rig.selected, rig.context?.reason]).toEqual(['relayed', 'stalled']);
    expect(statuses(connection)).toEqual(['0 available', '1 backup']);
    connection.stall(1, false);
    await tell(rig, connection);
    expect([rig.selected, rig.context?.reason]).toEqual(['direct', 'resumed']);
  });

  test.each(['timedOut', 'validationFailed'] as const)(
    'a direct path that ended (%s) is probed anew',
    async (type) => {
      const rig = makeRig();
      const connection = await dialRelayed(rig, V4);
      await rig.run(0);
      connection.validateAll();
      await tell(rig, connection);
      await rig.run(20_000);
      connection.abandon(1, { type });
      await tell(rig, connection);
      expect([rig.selected, rig.context?.reason]).toEqual(['relayed', type]);
      expect(opens(connection)).toEqual([`open ${V4.text}`, `open ${V4.text}`]);
      connection.validateAll();
      await tell(rig, connection);
      expect(rig.selected).toBe('direct');
    },
  );

  test('that began directly opens the relay as a backup', async () => {
    const rig = makeRig();
    await rig.map.resolve(new EndpointAddr(rig.id, [RELAY, ip(V4)]), undefined);
    const connection = await rig.connect('client', V4, OURS);
    await rig.run(0);
    expect(connection.calls).toEqual([`open ${relayed(rig).text}`]);
    connection.validateAll();
    await tell(rig, connection);
    expect([rig.selected, ...statuses(connection)]).toEqual(['direct', '0 available', '1 backup']);
  });

  test('knocks ever more rarely where nobody answers, at once at a new address, and after a change of network', async () => {
    const rig = makeRig();
    const times: number[] = [];
    const connection = await dialRelayed(rig, V4);
    const probe = async (ms: number): Promise<void> => {
      for (let at = 0; at < ms; at += 1_000) {
        // Nobody answers, and the engine gives the path up.
        for (const { id, validated } of connection.paths)
          if (!validated) connection.abandon(id, { type: 'validationFailed' });
        connection.tellAll();
        const before = opens(connection).length;
        await rig.run(1_000);
        if (opens(connection).length > before) times.push(rig.world.clock.now() / 1_000);
      }
    };
    await probe(200_000);
    expect(times).toEqual([5, 15, 35, 75, 135, 195]);
    times.length = 0;
    rig.map.networkChanged(true);
    await probe(6_000);
    expect(times).toEqual([201, 205]);
    await rig.map.resolve(new EndpointAddr(rig.id, [ip(OTHER_V4)]), undefined);
    await rig.run(0);
    expect(opens(connection).at(-1)).toBe(`open ${OTHER_V4.text}`);
  });

  test('does nothing of it where only relays are allowed, and as long as the direct path is heard', async () => {
    const relayOnly = makeRig({ policy: 'relay' });
    const connection = await dialRelayed(relayOnly, V4);
    await relayOnly.run(2 * UPGRADE_INTERVAL_MS);
    expect(opens(connection)).toEqual([]);
    const rig = makeRig();
    const direct = await rig.connect('client', V4, OURS);
    await rig.map.resolve(new EndpointAddr(rig.id, [ip(OTHER_V4)]), undefined);
    await rig.run(2 * UPGRADE_INTERVAL_MS);
    expect(opens(direct)).toEqual([]);
  });

  test('a move for which there is no connection id is made once there is one', async () => {
    const rig = makeRig();
    const connection = await dialRelayed(rig, V4);
    connection.refusesMove = 'remoteCidsExhausted';
    await rig.run(0);
    connection.validateAll();
    await tell(rig, connection);
    await rig.run(1_000);
    expect(statuses(connection)).toEqual(['0 backup', '1 backup']);
    connection.refusesMove = undefined;
    await rig.run(334);
    expect([rig.selected, ...statuses(connection)]).toEqual(['direct', '0 backup', '1 available']);
  });

  test('a path without connection ids is opened once there are some', async () => {
    const rig = makeRig();
    rig.onConnection = (each) => (each.refuses = 'remoteCidsExhausted');
    const connection = await dialRelayed(rig, V4);
    await rig.run(1_000);
    const before = opens(connection).length;
    expect(before).toBeGreaterThan(1);
    connection.refuses = undefined;
    await rig.run(334);
    connection.validateAll();
    await tell(rig, connection);
    expect(rig.selected).toBe('direct');
  });
});

test('a server opens nothing and follows the client', async () => {
  const rig = makeRig();
  const connection = await rig.connect('server', relayed(rig));
  await rig.map.resolve(new EndpointAddr(rig.id, [ip(V4)]), undefined);
  await rig.run(UPGRADE_INTERVAL_MS);
  expect([rig.selected, connection.calls]).toEqual(['relayed', []]);
  connection.move(0, { remote: V4, local: OURS });
  await tell(rig, connection);
  expect([rig.selected, rig.context?.reason]).toEqual(['direct', 'moved']);
  connection.move(0, { remote: relayed(rig), local: undefined });
  await tell(rig, connection);
  expect([rig.selected, rig.context?.reason]).toEqual(['relayed', 'moved']);
});

test('an engine of several paths opens none where the peer knows only one', async () => {
  const rig = new RemoteRig();
  rig.doPeersKnowMultipath = false;
  await rig.map.resolve(new EndpointAddr(rig.id, [RELAY, ip(V4)]), undefined);
  const connection = await rig.connect('client', V4, OURS);
  await rig.run(UPGRADE_INTERVAL_MS);
  expect([rig.selected, opens(connection)]).toEqual(['direct', []]);
});
