/** Scenarios F, the relay client's part: managers of endpoints and the hub of the real relay, in virtual time. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { MAX_FRAME_SEGMENTS } from '../../src/actors/relay-connection.ts';
import { MAX_ACTIVE_RELAYS } from '../../src/actors/relay-manager.ts';
import { toHex } from '../../src/base/bytes.ts';
import { RelayUrl } from '../../src/base/relay-url.ts';
import {
  MAX_RELAY_BACKOFF_MS,
  RELAY_INACTIVE_CLEANUP_MS,
  RELAY_PING_INTERVAL_MS,
  UNDELIVERABLE_DATAGRAM_TIMEOUT_MS,
  relayBackoffMs,
} from '../../src/machines/relay-client.ts';
import {
  RELAY_STATUS,
  encodeDatagrams,
  encodeHealth,
  encodeRestarting,
  encodeStatus,
} from '../../src/relay/frames.ts';
import { requireToken } from '../../src/relay/server/access.ts';
import { SEND_QUEUE_FRAMES } from '../../src/relay/send-queue.ts';
import { RelayRig, type RigPeer } from '../support/relay-rig.ts';

let rig: RelayRig;
beforeEach(() => {
  rig = new RelayRig();
});
afterEach(() => rig.close());

function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });
}

/** Two endpoints whose home is the relay, connected. */
async function twoAtHome(): Promise<{ relay: ReturnType<RelayRig['addRelay']>; a: RigPeer; b: RigPeer }> {
  const relay = rig.addRelay('https://one.example/');
  const [a, b] = [rig.addPeer(), rig.addPeer()];
  for (const peer of [a, b]) peer.manager.setHome(relay.url);
  await rig.run(1_000);
  for (const peer of [a, b])
    expect(peer.takeStatuses()).toEqual(['none', 'one.example connecting', 'one.example connected']);
  return { relay, a, b };
}

test('F07: a wrong token is told in words and never connects; with the right one in the map it connects at once', async () => {
  const relay = rig.addRelay('https://one.example/', { access: requireToken(['right']) }, 'wrong');
  const a = rig.addPeer();
  a.manager.setHome(relay.url);
  await rig.run(60_000);
  const { state, lastError } = a.manager.homeRelay.value!;
  expect(state).not.toBe('connected');
  expect(lastError).toMatchObject({ code: 'RelayError.Dial.Connect.Denied', reason: 'not authorized' });
  expect(lastError!.message).toContain('not authorized');
  expect(a.statuses.some((status) => status?.state === 'connected')).toBe(false);
  expect(a.count('relay_conns_failed')).toBeGreaterThan(8);
  rig.map.set({ url: relay.url, quicPort: undefined, authToken: 'right' });
  a.manager.relayMapChanged();
  await rig.run(100);
  expect(a.manager.homeRelay.value).toEqual({ url: relay.url, state: 'connected' });
});

test('F08: two endpoints with one key: the first is told once, the second never; when the second leaves, all is well', async () => {
  const relay = rig.addRelay('https://one.example/');
  const [a, twin, c] = [rig.addPeer({ key: 7 }), rig.addPeer({ key: 7 }), rig.addPeer()];
  a.manager.setHome(relay.url);
  await rig.run(1_000);
  twin.manager.setHome(relay.url);
  await rig.run(1_000);
  c.send(relay, a, 'hello');
  await rig.run(100_000);
  expect([a.texts, twin.texts]).toEqual([[], ['hello']]);
  expect(a.takeStatuses().filter((status) => status.includes('sameEndpointId'))).toHaveLength(1);
  expect(a.manager.homeRelay.value).toEqual({
    url: relay.url,
    state: 'connected',
    problem: 'sameEndpointId',
  });
  expect(twin.takeStatuses().filter((status) => status.includes('sameEndpointId'))).toEqual([]);
  await twin.close();
  await rig.run(1_000);
  expect(a.takeStatuses()).toEqual(['one.example connected']);
});

test('F09: ended by the relay, the connection is made anew and datagrams flow; disconnected, then connected', async () => {
  const { relay, a, b } = await twoAtHome();
  a.send(relay, b, 'before');
  await rig.run(1_000);
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
  expect([a.count('relay_conns_success'), a.count('relay_conns_closed')]).toEqual([2, 1]);
  relay.goDown();
  await rig.run(5_000);
  expect(a.takeStatuses().slice(0, 3)).toEqual([
    'one.example disconnected RelayError.Established.ClientStreamRead',
    'one.example connecting RelayError.Established.ClientStreamRead',
    'one.example disconnected RelayError.Dial.Connect.Dial',
  ]);
  relay.comeUp();
  await rig.run(MAX_RELAY_BACKOFF_MS);
  b.send(relay, a, 'again');
  await rig.run(1_000);
  expect(a.texts).toEqual(['again']);
});

test('F10: unused for 60 s, a relay that is not home is left, home stays; to receive is no use', async () => {
  const { relay: home, a, b } = await twoAtHome();
  const other = rig.addRelay('https://two.example/');
  a.send(other, b, 'lost');
  await rig.run(RELAY_INACTIVE_CLEANUP_MS / 2);
  b.send(other, a, 'heard');
  await rig.run(1_000);
  a.send(other, b, 'used');
  await rig.run(RELAY_INACTIVE_CLEANUP_MS - 2_000);
  expect(a.stateOf(other)).toBe('connected');
  b.send(other, a, 'heard again');
  await rig.run(2_100);
  expect([a.stateOf(other), b.stateOf(other), a.stateOf(home)]).toEqual([
    undefined,
    'connected',
    'connected',
  ]);
  expect(other.events.at(-1)).toMatchObject({ type: 'ended', reason: 'closed', detail: 'by the client' });
  expect(b.gone).toEqual([toHex(a.id)]);
  await rig.run(10 * RELAY_INACTIVE_CLEANUP_MS);
  expect([a.stateOf(home), b.stateOf(other)]).toEqual(['connected', undefined]);
  expect(a.texts).toEqual(['heard', 'heard again']);
});

test('F10: needed again while the goodbye is under way, it is dialled again and nothing is lost', async () => {
  const other = rig.addRelay('https://two.example/');
  const a = rig.addPeer({
    openWebSocket: async (request, dial) => {
      const socket = await dial(request);
      const close = socket.close.bind(socket);
      // A relay that takes its time to answer.
      socket.close = () => void rig.world.clock.setTimeout(close, 300);
      return socket;
    },
  });
  const b = rig.addPeer();
  b.manager.setHome(other.url);
  a.send(other, b, 'first');
  await rig.run(RELAY_INACTIVE_CLEANUP_MS + 100);
  expect(a.stateOf(other)).toBe('disconnected');
  a.send(other, b, 'second');
  await rig.run(2_000);
  expect(b.texts).toEqual(['first', 'second']);
  expect(a.stateOf(other)).toBe('connected');
});

test('F12, inv-C6: a relay in back-off knows nobody and says so at once: another one that does is used', async () => {
  const { relay, a, b } = await twoAtHome();
  const dead = rig.addRelay('https://dead.example/');
  dead.goDown();
  a.send(dead, b, 'lost');
  b.send(relay, a, 'here I am');
  await rig.run(30_000);
  expect(a.stateOf(dead)).toBe('disconnected');
  const before = rig.world.clock.now();
  a.send(RelayUrl.parse('https://never-dialled.example/'), b, 'over the one that heard you');
  await rig.run(100);
  expect(b.received).toMatchObject([{ at: before + 2 * relay.delayMs, url: relay.url.href }]);
  expect(a.dials.some(({ url }) => url.includes('never-dialled'))).toBe(false);
});

test('F13, inv-C2: when home moves, nothing of the old home is told any more; it is left when unused', async () => {
  const { relay: one, a } = await twoAtHome();
  const two = rig.addRelay('https://two.example/');
  a.manager.setHome(two.url);
  one.goDown();
  await rig.run(1_000);
  expect(a.takeStatuses()).toEqual(['two.example connecting', 'two.example connected']);
  one.comeUp();
  await rig.run(RELAY_INACTIVE_CLEANUP_MS);
  expect([a.stateOf(one), a.stateOf(two)]).toEqual([undefined, 'connected']);
  // A relay that is connected becomes home as it is.
  a.manager.setHome(one.url);
  await rig.run(1_000);
  a.takeStatuses();
  a.manager.setHome(two.url);
  expect(a.takeStatuses()).toEqual(['two.example connected']);
  a.manager.setHome(undefined);
  two.restart();
  await rig.run(1_000);
  expect(a.takeStatuses()).toEqual(['none']);
  expect(a.count('relay_home_change')).toBe(4);
});

test('F14: a run goes in one frame and comes out as it was; a frame cut too fine is dropped and counted', async () => {
  const { relay, a, b } = await twoAtHome();
  const texts = Array.from({ length: 20 }, (_, i) => String(i).padStart(1_200, '.'));
  const short = 'x'.repeat(300);
  a.send(relay, b, ...texts, short);
  await rig.run(1_000);
  expect(b.texts).toEqual([...texts, short]);
  expect(b.batches.map((batch) => batch.length)).toEqual([21]);
  // Neither an empty nor an oversize datagram can be relayed.
  a.send(relay, b, '', 'y'.repeat(70_000), 'z');
  await rig.run(1_000);
  expect(b.texts.at(-1)).toBe('z');
  expect(a.count('send_dropped')).toBe(2);
  const contents = new Uint8Array(MAX_FRAME_SEGMENTS + 1);
  a.socketOf(relay).send(encodeDatagrams('client', { peer: b.id, ecn: 0, segmentBytes: 1, contents }));
  await rig.run(1_000);
  expect([b.received.length, b.count('recv_dropped')]).toEqual([22, MAX_FRAME_SEGMENTS + 1]);
  expect(b.stateOf(relay)).toBe('connected');
});

test('F15: what a relay tells of itself changes the status once, counts once, and never the connection', async () => {
  const { relay, a, b } = await twoAtHome();
  const server = a.socketOf(relay).peer;
  for (const frame of [
    encodeStatus(RELAY_STATUS.rateLimited),
    encodeStatus(RELAY_STATUS.rateLimited),
    encodeStatus(77),
    encodeRestarting(10, 20),
    encodeStatus(RELAY_STATUS.healthy),
    encodeStatus(RELAY_STATUS.rateLimited),
  ])
    server.send(frame);
  // Somebody whom nobody knows has left.
  server.send(Uint8Array.of(8, ...new Uint8Array(32)));
  await rig.run(1_000);
  expect(a.takeStatuses()).toEqual([
    'one.example connected rateLimited',
    'one.example connected restarting',
    'one.example connected',
    'one.example connected rateLimited',
  ]);
  expect(a.count('relay_conns_ratelimited')).toBe(1);
  b.send(relay, a, 'still here');
  await rig.run(1_000);
  expect([a.texts, a.count('relay_conns_success')]).toEqual([['still here'], 1]);
});

test('F15: version 1 has words instead: the same problem, anything else is for the log', async () => {
  const relay = rig.addRelay('http://one.example/', { protocols: ['iroh-relay-v1'] });
  const [a, twin] = [rig.addPeer({ key: 7 }), rig.addPeer({ key: 7 })];
  a.manager.setHome(relay.url);
  await rig.run(1_000);
  a.socketOf(relay).peer.send(encodeHealth('it is hot in here'));
  twin.manager.setHome(relay.url);
  await rig.run(1_000);
  await twin.close();
  await rig.run(1_000);
  expect(a.takeStatuses().slice(2)).toEqual([
    'one.example connected',
    'one.example connected sameEndpointId',
    'one.example connected',
  ]);
  expect(a.lines.some((line) => line.includes('it is hot in here'))).toBe(true);
});

test('F16: at home at different relays: one goes to where the other is, and is answered there', async () => {
  const [one, two] = [rig.addRelay('https://one.example/'), rig.addRelay('http://two.example/')];
  const [a, b] = [rig.addPeer(), rig.addPeer()];
  a.manager.setHome(one.url);
  b.manager.setHome(two.url);
  await rig.run(1_000);
  a.send(two, b, 'question');
  await rig.run(1_000);
  // As far as b knows, a is at home at the first.
  b.send(one, a, 'answer');
  await rig.run(1_000);
  expect(b.received).toMatchObject([{ text: 'question', url: two.url.href, from: toHex(a.id) }]);
  expect(a.received).toMatchObject([{ text: 'answer', url: two.url.href, from: toHex(b.id) }]);
  expect(b.stateOf(one)).toBeUndefined();
});

describe('F17: back-off', () => {
  const gaps = (peer: RigPeer): number[] => peer.dials.slice(1).map(({ at }, i) => at - peer.dials[i]!.at);

  test('inv-C3: waits double from 10 ms to 16 s, each with up to as much again at random', async () => {
    const relay = rig.addRelay('https://one.example/');
    relay.goDown();
    const a = rig.addPeer();
    a.manager.setHome(relay.url);
    await rig.run(300_000);
    // A refusal takes a round trip.
    const waits = gaps(a).map((gap) => gap - 2 * relay.delayMs);
    expect(waits.length).toBeGreaterThan(18);
    waits.forEach((wait, i) => {
      const least = relayBackoffMs(i + 1);
      expect(wait).toBeGreaterThanOrEqual(least);
      expect(wait).toBeLessThanOrEqual(2 * least);
    });
    expect(new Set(waits).size).toBeGreaterThan(10);
    expect(Math.max(...waits)).toBeGreaterThan(MAX_RELAY_BACKOFF_MS);
    expect(a.count('relay_conns_failed')).toBe(a.dials.length);
  });

  test('a connection without a pong does not count: waits go on growing; with one it is dialled at once, and they begin anew', async () => {
    const relay = rig.addRelay('https://one.example/');
    const a = rig.addPeer();
    let mustBreak = true;
    a.manager.homeRelay.subscribe('test', (status) => {
      if (status?.state === 'connected' && mustBreak) a.socketOf(relay).peer.terminate();
    });
    a.manager.setHome(relay.url);
    await rig.run(60_000);
    const growing = gaps(a);
    expect(growing.length).toBeGreaterThan(9);
    for (let i = 0; i < growing.length; i++) expect(growing[i]).toBeGreaterThanOrEqual(relayBackoffMs(i + 1));
    expect(a.manager.homeRelay.value!.lastError!.code).toBe('RelayError.Handshake.ClientStreamRead');
    mustBreak = false;
    await rig.run(2 * MAX_RELAY_BACKOFF_MS);
    const { length } = a.dials;
    a.socketOf(relay).peer.terminate();
    await rig.run(1_000);
    expect(a.dials).toHaveLength(length + 1);
    expect(a.dials.at(-1)!.at).toBe(rig.world.clock.now() - 1_000 + relay.delayMs);
    relay.goDown();
    await rig.run(200);
    // The first after the loss, then 10 to 20 ms, 20 to 40, 40 to 80.
    expect(a.dials.length).toBeGreaterThan(length + 3);
  });

  test('Q14: a hint that the network is back ends the wait', async () => {
    const relay = rig.addRelay('https://one.example/');
    relay.goDown();
    const a = rig.addPeer();
    a.manager.setHome(relay.url);
    await rig.run(100_000);
    relay.comeUp();
    const { length } = a.dials;
    a.manager.cutBackoff();
    expect(a.dials).toHaveLength(length + 1);
    await rig.run(100);
    expect(a.stateOf(relay)).toBe('connected');
  });

  test('Q13: a relay that never answers is left like any other when nobody sends there', async () => {
    const [down, silent] = [rig.addRelay('https://one.example/'), rig.addRelay('https://two.example/')];
    down.goDown();
    silent.fallSilent();
    const [a, b] = [rig.addPeer(), rig.addPeer()];
    for (const relay of [down, silent]) a.send(relay, b, 'lost');
    await rig.run(RELAY_INACTIVE_CLEANUP_MS - 1);
    expect(a.manager.activeRelays()).toHaveLength(2);
    await rig.run(1);
    expect(a.manager.activeRelays()).toEqual([]);
    expect(a.count('send_dropped')).toBe(2);
  });
});

test('F18, inv-C7: 500 datagrams for a relay that is never reached delay nobody', async () => {
  const { relay, a, b } = await twoAtHome();
  const dead = rig.addRelay('https://dead.example/');
  dead.fallSilent();
  for (let i = 0; i < 500; i++) a.send(dead, b, `lost ${i}`);
  const before = rig.world.clock.now();
  a.send(relay, b, 'prompt');
  await rig.run(1_000);
  expect(b.received).toMatchObject([{ text: 'prompt', at: before + 2 * relay.delayMs }]);
  expect(a.count('send_dropped')).toBe(500 - SEND_QUEUE_FRAMES);
  await rig.run(UNDELIVERABLE_DATAGRAM_TIMEOUT_MS);
  expect(a.count('send_dropped')).toBe(500);
});

test('inv-C4: what waited for 3 s is not sent when the relay is back, what is fresh is', async () => {
  const { relay, a, b } = await twoAtHome();
  relay.goDown();
  await rig.run(100);
  const down = rig.world.clock.now();
  for (let i = 0; i < 80; i++) {
    a.send(relay, b, String(rig.world.clock.now()));
    await rig.run(150);
  }
  relay.comeUp();
  for (const peer of [b, a]) peer.manager.cutBackoff();
  await rig.run(1_000);
  expect(b.received.length).toBeGreaterThan(10);
  for (const { at, text } of b.received)
    expect(at - Number(text)).toBeLessThanOrEqual(UNDELIVERABLE_DATAGRAM_TIMEOUT_MS + 200);
  expect(Number(b.texts[0])).toBeGreaterThan(down);
  expect(a.count('send_dropped')).toBe(80 - b.received.length);
});

test('peers can name any number of relays; so many are dialled at once, and one more once another is left', async () => {
  const b = rig.addPeer();
  const a = rig.addPeer({ openWebSocket: ({ signal }) => untilAborted(signal) });
  for (let i = 0; i < MAX_ACTIVE_RELAYS + 5; i++)
    a.send(RelayUrl.parse(`https://relay${i}.example/`), b, 'x');
  expect(a.manager.activeRelays()).toHaveLength(MAX_ACTIVE_RELAYS);
  expect(a.count('send_dropped')).toBe(5);
  await rig.run(RELAY_INACTIVE_CLEANUP_MS);
  expect(a.manager.activeRelays()).toEqual([]);
});

test('F11: silence of 15 s is asked about, and a relay that does not answer is given up by the round trip', async () => {
  const { relay, a } = await twoAtHome();
  const heardAt = 4 * relay.delayMs + 10;
  relay.fallSilent();
  let lostAt: number | undefined;
  a.manager.homeRelay.subscribe('test', (status) => {
    if (status?.state === 'disconnected') lostAt ??= rig.world.clock.now();
  });
  await rig.run(RELAY_PING_INTERVAL_MS + 1_000);
  // Three round trips would be 60 ms; half a second is the least.
  expect(lostAt).toBe(heardAt + RELAY_PING_INTERVAL_MS + 500);
  expect(a.manager.homeRelay.value).toMatchObject({
    state: 'connecting',
    lastError: { code: 'RelayError.Established.PingTimeout' },
  });
});

test('a chart that breaks is reported, and leaves no connection; the next report starts another', async () => {
  const { relay, a } = await twoAtHome();
  const add = a.metrics.add.bind(a.metrics);
  a.metrics.add = (name, amount) => {
    if (name === 'relay_conns_success') throw new Error('out of order');
    add(name, amount);
  };
  relay.restart();
  await rig.run(1_000);
  expect(a.errors.splice(0)).toMatchObject([{ message: 'out of order' }]);
  expect([a.manager.activeRelays(), a.socketOf(relay).isClosed]).toEqual([[], true]);
  expect(a.manager.homeRelay.value).toEqual({ url: relay.url, state: 'disconnected' });
  a.metrics.add = add;
  a.manager.setHome(relay.url);
  await rig.run(1_000);
  expect(a.manager.homeRelay.value).toEqual({ url: relay.url, state: 'connected' });
});
