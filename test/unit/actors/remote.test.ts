/** What an endpoint does about one peer, against an engine that does as it is told. */
import { describe, expect, test } from '@jest/globals';
import { MAX_FIRST_FLIGHT_TARGETS } from '../../../src/actors/remote.ts';
import { RelayUrl } from '../../../src/base/relay-url.ts';
import { parseAddr, type Addr } from '../../../src/base/socket-addr.ts';
import { EndpointAddr } from '../../../src/base/endpoint-addr.ts';
import type { TransportAddr } from '../../../src/base/transport-addr.ts';
import { RemoteRig, type ScriptedConnection } from '../../support/remote-rig.ts';

const V4 = parseAddr('10.0.0.1:1');
const OTHER_V4 = parseAddr('10.0.0.2:2');
const THIRD_V4 = parseAddr('10.0.0.3:3');
const V6 = parseAddr('[2001:db8::1]:1');
const OURS = parseAddr('10.0.0.9:9');
const URL = RelayUrl.parse('https://relay.example/');
const OTHER_URL = RelayUrl.parse('https://other.example/');

const ip = (addr: Addr): TransportAddr => ({ type: 'ip', addr });
const relay = (url: RelayUrl): TransportAddr => ({ type: 'relay', url });

/** A lookup that never answers. */
async function* hang(): AsyncGenerator<EndpointAddr, void, undefined> {
  await new Promise(() => undefined);
}

function relayed(rig: RemoteRig, url = URL): Addr {
  return rig.mapped.ofRelay(url, rig.id.toBytes());
}

/** Remotes of the open paths as an application sees them, the one that data goes to in brackets. */
function shown(connection: ScriptedConnection): string[] {
  const { open, selected } = connection.actor.paths;
  return [...open.values()].map(({ id, remote }) => (id === selected ? `[${remote.text}]` : remote.text));
}

function statuses({ paths }: ScriptedConnection): string[] {
  return paths.map(({ id, status }) => `${id} ${status}`);
}

async function settle(rig: RemoteRig): Promise<void> {
  for (let round = 0; round < 10; round++) {
    for (const connection of rig.connections) {
      connection.validateAll();
      connection.tellAll();
    }
    await rig.run(0);
  }
}

describe('opening paths', () => {
  test('R3: a server opens and closes nothing, and says what it prefers', async () => {
    const rig = new RemoteRig();
    const server = await rig.connect('server', relayed(rig));
    const id = server.begin({ remote: V4, local: OURS });
    server.validate(id);
    server.tellAll();
    await rig.run(0);
    expect(shown(server)).toEqual([relayed(rig).text, `[${V4.text}]`]);
    expect(statuses(server)).toEqual(['0 backup', '1 available']);
    const surplus = server.begin({ remote: OTHER_V4, local: OURS });
    server.validate(surplus, 100);
    server.tellAll();
    await rig.run(0);
    expect(server.calls).toEqual([]);
    expect(statuses(server)).toEqual(['0 backup', '1 available', '2 backup']);
  });

  test('a client that began directly opens its relays as backups; one that began at a relay opens none', async () => {
    const rig = new RemoteRig();
    await rig.map.resolve(new EndpointAddr(rig.id, [ip(V4), relay(URL), relay(OTHER_URL)]), undefined);
    const direct = await rig.connect('client', V4, OURS);
    const relays = [relayed(rig), relayed(rig, OTHER_URL)].map(({ text }) => `open ${text}`);
    expect([...direct.calls].sort()).toEqual(relays.sort());
    await settle(rig);
    expect(statuses(direct)).toEqual(['0 available', '1 backup', '2 backup']);
    const other = new RemoteRig();
    await other.map.resolve(new EndpointAddr(other.id, [relay(URL), relay(OTHER_URL)]), undefined);
    const second = await other.connect('client', relayed(other));
    expect(second.calls).toEqual([]);
  });

  test.each(['remoteCidsExhausted', 'maxPathIdReached'] as const)(
    'a path that cannot be opened for %s is tried again each third of a second until it can',
    async (code) => {
      const rig = new RemoteRig();
      await rig.map.resolve(new EndpointAddr(rig.id, [relay(URL)]), undefined);
      const blocked = await connectRefusing(rig, code);
      expect(blocked.calls.length).toBe(1);
      await rig.run(332);
      expect(blocked.calls.length).toBe(1);
      await rig.run(2);
      expect(blocked.calls.length).toBe(2);
      await rig.run(1_000);
      expect(blocked.calls.length).toBe(5);
      blocked.refuses = undefined;
      await rig.run(334);
      await settle(rig);
      expect(shown(blocked)).toEqual([`[${V4.text}]`, relayed(rig).text]);
      const { length } = blocked.calls;
      await rig.run(5_000);
      expect(blocked.calls.length).toBe(length);
    },
  );

  test('the path that is selected is opened on every connection of ours', async () => {
    const rig = new RemoteRig();
    await rig.connect('client', V4, OURS);
    const second = await rig.connect('client', relayed(rig));
    expect(second.calls).toEqual([`open ${V4.text}`]);
    // Until it is there the relay is all there is.
    expect([shown(second), statuses(second)]).toEqual([[relayed(rig).text], ['0 backup', '1 available']]);
    await settle(rig);
    expect(shown(second)).toEqual([relayed(rig).text, `[${V4.text}]`]);
  });

  test('a path that is refused for good is not tried again', async () => {
    const rig = new RemoteRig();
    await rig.map.resolve(new EndpointAddr(rig.id, [relay(URL)]), undefined);
    const connection = await connectRefusing(rig, 'invalidRemoteAddress');
    await rig.run(10_000);
    expect(connection.calls).toEqual([`open ${relayed(rig).text}`]);
    expect(rig.lines.join('\n')).toContain('could not be opened');
  });

  test('what waits to be opened is forgotten when the connection ends meanwhile', async () => {
    const rig = new RemoteRig();
    await rig.map.resolve(new EndpointAddr(rig.id, [relay(URL)]), undefined);
    const connection = await connectRefusing(rig, 'remoteCidsExhausted');
    connection.close();
    await rig.run(1_000);
    expect(connection.calls.length).toBe(1);
    connection.tellAll();
    await rig.run(1_000);
    expect(connection.calls.length).toBe(1);
  });
});

/** A client at V4 whose engine opens no path. */
async function connectRefusing(
  rig: RemoteRig,
  code: NonNullable<ScriptedConnection['refuses']>,
): Promise<ScriptedConnection> {
  rig.onConnection = (connection) => (connection.refuses = code);
  return rig.connect('client', V4, OURS);
}

describe('the selected path', () => {
  test('inv-R11: with a direct path in use a client closes other direct ones, and keeps relays', async () => {
    const rig = new RemoteRig();
    const connection = await rig.connect('client', relayed(rig));
    for (const [remote, rttMs] of [
      [V4, 20],
      [OTHER_V4, 40],
      [V6, 21],
      [THIRD_V4, 5],
    ] as const)
      connection.validate(connection.begin({ remote, local: OURS }), rttMs);
    connection.tellAll();
    await rig.run(0);
    connection.tellAll();
    await rig.run(0);
    expect(shown(connection)).toEqual([relayed(rig).text, `[${THIRD_V4.text}]`]);
    expect(statuses(connection)).toEqual(['0 backup', '4 available']);
  });

  test('inv-R4: the last path is kept, whatever is selected', async () => {
    const rig = new RemoteRig();
    const first = await rig.connect('client', V4, OURS);
    // The path that all should take cannot be opened here.
    rig.onConnection = (connection) => (connection.refuses = 'invalidRemoteAddress');
    const second = await rig.connect('client', OTHER_V4, OURS);
    await settle(rig);
    expect([shown(first), shown(second)]).toEqual([[`[${V4.text}]`], [OTHER_V4.text]]);
    expect(second.paths.length).toBe(1);
  });

  test('R1: the selection ends with the last path, and with the last connection', async () => {
    const rig = new RemoteRig();
    const connection = await rig.connect('client', V4, OURS);
    expect([rig.selected, rig.targets]).toEqual(['direct', [V4]]);
    connection.abandon(0, { type: 'remoteAbandoned', code: 0 });
    connection.tellAll();
    await rig.run(0);
    expect([rig.selected, rig.context?.reason, rig.targets]).toEqual(['none', 'closedByPeer', [V4]]);
    const next = await rig.connect('server', relayed(rig));
    expect(rig.selected).toBe('relayed');
    connection.close();
    connection.tellAll();
    await rig.run(0);
    expect(rig.selected).toBe('relayed');
    next.close();
    next.tellAll();
    await rig.run(0);
    expect([rig.selected, rig.context?.reason]).toEqual(['none', 'lastConnectionClosed']);
  });

  test('why it changed is told: relayed, direct, relayed, with both ends', async () => {
    const rig = new RemoteRig();
    const connection = await rig.connect('client', relayed(rig));
    expect(rig.context).toMatchObject({
      selected: { kind: 'relayed', remote: expect.stringContaining('relay.example'), local: undefined },
      reason: 'established',
    });
    const id = connection.begin({ remote: V4, local: OURS });
    connection.validate(id);
    connection.tellAll();
    await rig.run(0);
    expect(rig.context).toMatchObject({
      selected: { kind: 'direct', remote: expect.stringContaining('10.0.0.1:1'), local: '10.0.0.9:9' },
      reason: 'established',
    });
    connection.stall(id, true);
    connection.tellAll();
    await rig.run(0);
    expect([rig.selected, rig.context?.reason]).toEqual(['relayed', 'stalled']);
    connection.stall(id, false);
    connection.tellAll();
    await rig.run(0);
    expect([rig.selected, rig.context?.reason]).toEqual(['direct', 'resumed']);
    connection.abandon(id, { type: 'timedOut' });
    connection.tellAll();
    await rig.run(0);
    expect([rig.selected, rig.context?.reason]).toEqual(['relayed', 'timedOut']);
    expect(rig.context?.selected?.remote).not.toContain('fd15');
  });

  test('a path that is in use, stalls and is heard again is in use again', async () => {
    const rig = new RemoteRig();
    const connection = await rig.connect('client', V4, OURS);
    const [path] = connection.actor.paths.open.values();
    expect(path!.state).toBe('available');
    connection.stall(0, true);
    connection.tellAll();
    await rig.run(0);
    expect(path!.state).toBe('stalled');
    connection.stall(0, false);
    connection.tellAll();
    await rig.run(0);
    expect([path!.state, connection.actor.paths.selected]).toEqual(['available', 0]);
  });

  test('a round-trip time that got better is noticed by the minute', async () => {
    const rig = new RemoteRig();
    const server = await rig.connect('server', V4, OURS);
    server.validate(server.begin({ remote: OTHER_V4, local: OURS }), 30);
    server.tellAll();
    await rig.run(0);
    expect(rig.targets).toEqual([V4]);
    server.setRtt(1, 10);
    await rig.run(59_000);
    expect(rig.targets).toEqual([V4]);
    await rig.run(1_001);
    expect([rig.targets, rig.context?.reason]).toEqual([[OTHER_V4], 'betterRtt']);
  });

  test('the address of a path that moved is the one that counts', async () => {
    const rig = new RemoteRig();
    const server = await rig.connect('server', V4, OURS);
    server.move(0, { remote: OTHER_V4, local: OURS });
    server.tellAll();
    await rig.run(0);
    expect([rig.targets, shown(server)]).toEqual([[OTHER_V4], [`[${OTHER_V4.text}]`]]);
    const usages = (await rig.map.info(rig.id))!.addrs.map(({ addr, usage }) => [addr, usage]);
    expect(usages).toEqual([
      [ip(V4), 'inactive'],
      [ip(OTHER_V4), 'active'],
    ]);
    expect(server.events.map(({ type }) => type)).toContain('moved');
  });

  test.each([
    ['another address', () => OTHER_V4],
    ['a relay', relayed],
  ])('paths that moved to %s are counted: as many went as came, of each kind', async (_, where) => {
    const rig = new RemoteRig();
    const server = await rig.connect('server', V4, OURS);
    server.move(0, { remote: where(rig), local: OURS });
    server.tellAll();
    await rig.run(0);
    server.close();
    server.tellAll();
    await rig.run(0);
    for (const kind of ['ip', 'relay'] as const) {
      const { metrics } = rig;
      const [added, removed] = [`transport_${kind}_paths_added`, `transport_${kind}_paths_removed`] as const;
      expect([kind, metrics.value(removed)]).toEqual([kind, metrics.value(added)]);
    }
  });
});

describe('what comes late, in another order, or not at all', () => {
  test('asked about while the endpoint ends, a peer is not known', async () => {
    const rig = new RemoteRig();
    await rig.connect('client', V4, OURS);
    const [before, asked] = [await rig.map.info(rig.id), rig.map.info(rig.id)];
    rig.map.stop();
    await rig.run(0);
    expect([before?.addrs.length, await asked, await rig.map.info(rig.id)]).toEqual([
      1,
      undefined,
      undefined,
    ]);
  });

  test('established, told after the path was abandoned, opens nothing', async () => {
    const rig = new RemoteRig();
    const connection = await rig.connect('client', relayed(rig));
    const id = connection.begin({ remote: V4, local: OURS });
    connection.validate(id);
    connection.abandon(id, { type: 'timedOut' });
    connection.tell(1);
    connection.tell();
    await rig.run(0);
    expect(shown(connection)).toEqual([`[${relayed(rig).text}]`]);
    expect(connection.events.filter(({ type }) => type === 'opened').length).toBe(1);
  });

  test('inv-R12: what is told after the end changes nothing; each path was closed once before the story ended', async () => {
    const rig = new RemoteRig();
    const connection = await rig.connect('client', relayed(rig));
    const id = connection.begin({ remote: V4, local: OURS });
    connection.validate(id);
    connection.tellAll();
    await rig.run(0);
    connection.stall(id, true);
    connection.abandon(id, { type: 'timedOut' });
    connection.close();
    connection.tell(2);
    connection.tellAll();
    await rig.run(0);
    const told = connection.events.map((event) => `${event.type} ${'id' in event ? event.id : ''}`);
    expect(told.filter((line) => line.startsWith('closed')).sort()).toEqual(['closed 0', 'closed 1']);
    expect([connection.hasEventsEnded, rig.selected, connection.actor.paths.open.size]).toEqual([
      true,
      'none',
      0,
    ]);
  });

  test('a connection that ended before it was handed over is taken and let go', async () => {
    const rig = new RemoteRig();
    rig.onConnection = (connection) => connection.close();
    const connection = await rig.connect('client', V4, OURS);
    await rig.run(0);
    expect([connection.hasEventsEnded, rig.selected]).toEqual([true, 'none']);
    await rig.run(61_000);
    expect(rig.map.size).toBe(0);
  });

  test('when more facts come than wait, what is open is read again', async () => {
    const rig = new RemoteRig();
    const connection = await rig.connect('client', relayed(rig));
    const lost = connection.begin({ remote: V4, local: OURS });
    connection.validate(lost);
    connection.tellAll();
    await rig.run(0);
    expect(shown(connection)).toEqual([relayed(rig).text, `[${V4.text}]`]);
    for (let each = 0; each < 40; each++) connection.stall(0, each % 2 === 0);
    connection.stall(0, true);
    const next = connection.begin({ remote: V6, local: OURS });
    connection.validate(next);
    connection.abandon(lost, { type: 'timedOut' });
    // All in one burst: nothing of the end is heard.
    connection.tellAll();
    await rig.run(0);
    expect(shown(connection)).toEqual([relayed(rig).text, `[${V6.text}]`]);
    expect([...connection.actor.paths.open.values()].map(({ state }) => state)).toEqual([
      'stalled',
      'available',
    ]);
    expect(connection.events.filter(({ type }) => type === 'closed')).toMatchObject([{ id: lost }]);
  });
});

describe('addresses', () => {
  test('inv-R5: whoever waits for an address has one when the peer itself connects to us', async () => {
    const rig = new RemoteRig({ lookups: [{ name: 'hanging', timeLimitMs: Infinity, resolve: hang }] });
    let isAnswered = false;
    void rig.map.resolve(new EndpointAddr(rig.id), undefined).then(() => (isAnswered = true));
    await rig.run(1_000);
    expect(isAnswered).toBe(false);
    await rig.connect('server', V4, OURS);
    await rig.run(0);
    expect([isAnswered, rig.targets]).toEqual([true, [V4]]);
  });

  test('E06, E21: sources add up, dials hold what a relay stands for, and what is too much is forgotten', async () => {
    const rig = new RemoteRig();
    const many = Array.from({ length: 40 }, (_, port) => ip(parseAddr(`10.1.0.1:${port + 1}`)));
    await rig.map.resolve(new EndpointAddr(rig.id, [...many, relay(URL)]), undefined);
    // Untried ones stay.
    expect((await rig.map.info(rig.id))!.addrs.length).toBe(41);
    const held = relayed(rig);
    for (let peer = 0; peer < 5_000; peer++) rig.mapped.ofCustom(1n, Uint8Array.of(peer >> 8, peer));
    expect(rig.mapped.lookup(held)).toMatchObject({ type: 'relay' });
    await rig.run(61_000);
    expect(rig.map.size).toBe(0);
  });

  test('a policy keeps addresses out that it does not use', async () => {
    for (const [policy, kept] of [
      ['direct', ['ip']],
      ['relay', ['relay']],
    ] as const) {
      const rig = new RemoteRig({ policy });
      await rig.map.resolve(new EndpointAddr(rig.id, [ip(V4), relay(URL)]), undefined);
      expect((await rig.map.info(rig.id))!.addrs.map(({ addr }) => addr.type)).toEqual(kept);
    }
  });
});

test('first flights go to a bounded number of addresses, relays first', async () => {
  const rig = new RemoteRig();
  const many = Array.from({ length: 3 * MAX_FIRST_FLIGHT_TARGETS }, (_, i) => ip(parseAddr(`10.1.0.${i}:1`)));
  await rig.map.resolve(new EndpointAddr(rig.id, [...many, relay(URL)]), undefined);
  expect(rig.targets.length).toBe(MAX_FIRST_FLIGHT_TARGETS);
  expect(rig.targets[0]).toBe(relayed(rig));
});
