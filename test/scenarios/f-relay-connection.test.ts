/** What can go wrong with one connection to a relay, how it is proven, held up, checked and closed; in virtual time. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { RELAY_HIGH_WATER_BYTES } from '../../src/actors/relay-connection.ts';
import {
  RELAY_CLOSE_GRACE_MS,
  RELAY_CONNECT_TIMEOUT_MS,
  RELAY_SEND_TIMEOUT_MS,
} from '../../src/machines/relay-client.ts';
import { FRAME_TYPE, encodePing } from '../../src/relay/frames.ts';
import { CLIENT_AUTH_HEADER } from '../../src/relay/handshake.ts';
import { MAX_PONG_TIMEOUT_MS } from '../../src/relay/ping-tracker.ts';
import { RelayProtocolError } from '../../src/relay/protocol-error.ts';
import { SEND_QUEUE_BYTES } from '../../src/relay/send-queue.ts';
import { WebSocketError, type WebSocketFailure } from '../../src/transport/relay-socket.ts';
import { RelayRig, type RigPeer } from '../support/relay-rig.ts';
import type { SimRelay } from '../support/sim-relay.ts';

let rig: RelayRig;
beforeEach(() => {
  rig = new RelayRig();
});
afterEach(() => rig.close());

/** Bytes that a simulated connection takes before it holds the sender up. */
const WINDOW_BYTES = 262_144;

async function atHome(
  url = 'https://one.example/',
  options: Parameters<RelayRig['addPeer']>[0] = {},
): Promise<{ relay: SimRelay; a: RigPeer }> {
  const relay = rig.addRelay(url);
  const a = rig.addPeer(options);
  a.manager.setHome(relay.url);
  await rig.run(1_000);
  expect(a.manager.homeRelay.value).toEqual({ url: relay.url, state: 'connected' });
  a.statuses.length = 0;
  return { relay, a };
}

describe('proof of identity', () => {
  test.each([
    ['https://one.example/', 'a header of the request, which saves a round trip', 3],
    ['http://one.example/', 'the answer to a challenge', 5],
  ])('over %s by %s', async (url, _how, ways) => {
    const relay = rig.addRelay(url, { delayMs: 10 });
    const a = rig.addPeer();
    let connectedAt: number | undefined;
    a.manager.homeRelay.subscribe('test', (status) => {
      if (status?.state === 'connected') connectedAt ??= rig.world.clock.now();
    });
    a.manager.setHome(relay.url);
    await rig.run(1_000);
    expect(connectedAt).toBe(ways * 10);
    expect(relay.events).toMatchObject([{ type: 'connected' }]);
  });

  test('a header that no longer fits the connection (a proxy is between): the challenge follows', async () => {
    const relay = rig.addRelay('https://one.example/');
    const a = rig.addPeer({
      openWebSocket: (request, dial) =>
        dial({
          ...request,
          headers: () => request.headers!((length) => new Uint8Array(length)),
        }),
    });
    a.manager.setHome(relay.url);
    await rig.run(1_000);
    expect(a.stateOf(relay)).toBe('connected');
    expect(a.dials).toHaveLength(1);
  });

  test('without TLS there is no header', async () => {
    let headers: Record<string, string> | undefined;
    const relay = rig.addRelay('http://one.example/');
    const a = rig.addPeer({
      openWebSocket: (request, dial) => {
        headers = request.headers!(undefined);
        return dial(request);
      },
    });
    a.manager.setHome(relay.url);
    await rig.run(1_000);
    expect(headers).toEqual({});
    expect(CLIENT_AUTH_HEADER in headers!).toBe(false);
  });
});

describe('a failed dial has its code', () => {
  const failures: [WebSocketFailure, number | undefined, string][] = [
    ['dns', undefined, 'RelayError.Dial.Connect.Dial'],
    ['dial', undefined, 'RelayError.Dial.Connect.Dial'],
    ['proxy', 407, 'RelayError.Dial.Connect.Dial'],
    ['tls', undefined, 'RelayError.Dial.Connect.Tls'],
    ['upgrade', 404, 'RelayError.Dial.Connect.UnexpectedUpgradeStatus'],
    ['upgrade', undefined, 'RelayError.Dial.Connect.Upgrade'],
    ['protocol', undefined, 'RelayError.Dial.Connect.BadVersionHeader'],
  ];
  test.each(failures)('%s %s: %s', async (failure, status, code) => {
    const relay = rig.addRelay('https://one.example/');
    const a = rig.addPeer({
      openWebSocket: () =>
        Promise.reject(new WebSocketError(failure, 'no', status === undefined ? {} : { status })),
    });
    a.manager.setHome(relay.url);
    await rig.run(1);
    const error = a.manager.homeRelay.value!.lastError!;
    expect(error).toMatchObject({ name: 'RelayError', code, message: 'no' });
    expect(error.status).toBe(failure === 'upgrade' ? status : undefined);
    expect(error.cause).toBeInstanceOf(WebSocketError);
    expect(error.toJSON()).toMatchObject({ name: 'RelayError', code });
  });

  test('a socket that agreed on nothing that we speak', async () => {
    const relay = rig.addRelay('https://one.example/');
    const a = rig.addPeer({
      openWebSocket: async (request, dial) =>
        Object.defineProperty(await dial(request), 'protocol', { value: 'iroh-relay-v9' }),
    });
    a.manager.setHome(relay.url);
    await rig.run(25);
    expect(a.manager.homeRelay.value!.lastError!.code).toBe('RelayError.Dial.Connect.BadVersionHeader');
  });

  test('nobody answers: given up after 10 s, and the attempt is aborted', async () => {
    const relay = rig.addRelay('https://one.example/');
    relay.fallSilent();
    let signal: AbortSignal | undefined;
    const a = rig.addPeer({
      openWebSocket: (request, dial) => {
        signal ??= request.signal;
        return dial(request);
      },
    });
    a.manager.setHome(relay.url);
    await rig.run(RELAY_CONNECT_TIMEOUT_MS - 1);
    expect(a.takeStatuses()).toEqual(['none', 'one.example connecting']);
    await rig.run(1);
    expect(a.takeStatuses()).toEqual(['one.example disconnected RelayError.Dial.Timeout']);
    expect(signal!.aborted).toBe(true);
  });

  test('the upgrade is answered, the handshake never: the same limit for both', async () => {
    const relay = rig.addRelay('https://one.example/', { access: () => undefined, delayMs: 1_000 });
    const a = rig.addPeer();
    a.manager.setHome(relay.url);
    await rig.run(RELAY_CONNECT_TIMEOUT_MS);
    expect(a.takeStatuses().at(-1)).toBe('one.example disconnected RelayError.Dial.Timeout');
    expect(a.socketOf(relay).isClosed).toBe(true);
  });

  test.each([
    [
      'a frame that does not belong there',
      Uint8Array.of(FRAME_TYPE.ping, 1, 2, 3, 4, 5, 6, 7, 8),
      'Handshake',
    ],
    ['nothing, and the end', undefined, 'Websocket'],
  ])('in the handshake comes %s', async (_what, frame, leaf) => {
    const relay = rig.addRelay('https://one.example/', { access: () => undefined });
    const a = rig.addPeer();
    a.manager.setHome(relay.url);
    await rig.run(100);
    const { peer } = a.socketOf(relay);
    if (frame === undefined) peer.close();
    else peer.send(frame);
    await rig.run(relay.delayMs);
    expect(a.takeStatuses().at(-1)).toBe(`one.example disconnected RelayError.Dial.Connect.${leaf}`);
  });
});

test('a frame that nobody knows ends the connection, and that one only', async () => {
  const { relay, a } = await atHome();
  a.socketOf(relay).peer.send(Uint8Array.of(0x3f));
  await rig.run(1_000);
  expect(a.takeStatuses()).toEqual([
    'one.example disconnected RelayError.Established.ClientStreamRead',
    'one.example connecting RelayError.Established.ClientStreamRead',
    'one.example connected',
  ]);
  expect(relay.events).toHaveLength(3);
});

test('the cause of a broken connection is kept', async () => {
  const { relay, a } = await atHome();
  const errors: unknown[] = [];
  a.manager.homeRelay.subscribe('test', (status) => {
    if (status?.state === 'disconnected') errors.push(status.lastError?.cause);
  });
  a.socketOf(relay).peer.send(Uint8Array.of(0x3f));
  await rig.run(1_000);
  expect(errors).toEqual([expect.any(RelayProtocolError)]);
});

test('a relay that never answers a ping is given up after 5 s, and waited for', async () => {
  const relay = rig.addRelay('https://one.example/');
  const a = rig.addPeer({
    openWebSocket: async (request, dial) => {
      const socket = await dial(request);
      const send = socket.send.bind(socket);
      socket.send = (data) => data[0] !== FRAME_TYPE.ping && send(data);
      return socket;
    },
  });
  a.manager.setHome(relay.url);
  await rig.run(3 * relay.delayMs + MAX_PONG_TIMEOUT_MS);
  expect(a.takeStatuses().slice(1)).toEqual([
    'one.example connecting',
    'one.example connected',
    'one.example disconnected RelayError.Handshake.PingTimeout',
  ]);
});

test('a pong that has come, and that we were too late to read, counts', async () => {
  const { relay, a } = await atHome();
  const { peer } = a.socketOf(relay);
  const send = peer.send.bind(peer);
  // It arrives as the limit of half a second is over, and the limit is looked at first.
  peer.send = (data) => void rig.world.clock.setTimeout(() => send(data), 500 - 2 * relay.delayMs);
  a.manager.checkConnections(['10.0.0.1']);
  await rig.run(1_000);
  expect([a.takeStatuses(), a.dials.length]).toEqual([[], 1]);
  peer.send = (data) => void rig.world.clock.setTimeout(() => send(data), 1_600);
  a.manager.checkConnections(['10.0.0.1']);
  await rig.run(1_500);
  expect(a.takeStatuses()[0]).toBe('one.example disconnected RelayError.Established.PingTimeout');
});

describe('a network change', () => {
  test('our address is still there: the relay is asked, and the connection stays', async () => {
    const { relay, a } = await atHome();
    const before = relay.hub.metrics.value('got_ping');
    a.manager.checkConnections(['192.0.2.1', '10.0.0.1']);
    await rig.run(1_000);
    expect(relay.hub.metrics.value('got_ping')).toBe(before + 1);
    expect([a.takeStatuses(), a.dials.length]).toEqual([[], 1]);
  });

  test('it is still there, and the relay does not answer: known by the round trip, not by the silence', async () => {
    const { relay, a } = await atHome();
    relay.fallSilent();
    a.manager.checkConnections(['10.0.0.1']);
    await rig.run(499);
    expect(a.takeStatuses()).toEqual([]);
    await rig.run(1);
    expect(a.takeStatuses()[0]).toBe('one.example disconnected RelayError.Established.PingTimeout');
  });

  test.each([
    ['is gone', '10.0.0.1', 'LocalIpInvalid'],
    ['is hidden', undefined, 'LocalAddrMissing'],
  ])('our address %s: dialled anew at once', async (_how, ip, leaf) => {
    const { a } = await atHome('https://one.example/', { ip });
    a.manager.checkConnections(['192.0.2.1']);
    await rig.run(100);
    expect(a.takeStatuses()).toEqual([
      `one.example disconnected RelayError.Established.${leaf}`,
      `one.example connecting RelayError.Established.${leaf}`,
      'one.example connected',
    ]);
  });

  test('an IPv4 address that the system shows as an IPv6 one is the same', async () => {
    const { a } = await atHome('https://one.example/', { ip: '::ffff:10.0.0.9' });
    a.manager.checkConnections(['10.0.0.9']);
    await rig.run(100);
    expect(a.takeStatuses()).toEqual([]);
  });

  test('while it is dialled it means nothing; IPv6 is preferred from the next dial on', async () => {
    const preferred: boolean[] = [];
    const relay = rig.addRelay('https://one.example/');
    const a = rig.addPeer({
      openWebSocket: (request, dial) => {
        preferred.push(request.preferIpv6);
        return dial(request);
      },
    });
    a.manager.setHome(relay.url);
    a.manager.setIpv6Works(true);
    a.manager.checkConnections([]);
    await rig.run(100);
    expect(a.dials).toHaveLength(1);
    relay.restart();
    await rig.run(100);
    expect(preferred).toEqual([false, true]);
  });
});

describe('a relay that does not read', () => {
  /** Sends as much as the connection takes, and then some. @returns bytes that waited in our queue at most. */
  function fill(a: RigPeer, b: RigPeer, relay: SimRelay, bytes: number): void {
    for (let sent = 0; sent < bytes; sent += 1_000) a.send(relay, b, 'x'.repeat(1_000));
  }

  test('what waits is bounded, the oldest goes; once it reads again what is left goes out', async () => {
    const { relay, a } = await atHome();
    const b = rig.addPeer();
    b.manager.setHome(relay.url);
    await rig.run(100);
    const socket = a.socketOf(relay);
    socket.peer.pause();
    fill(a, b, relay, 2_000_000);
    expect(socket.queuedBytes).toBeLessThanOrEqual(RELAY_HIGH_WATER_BYTES + 2_000);
    const dropped = a.count('send_dropped');
    expect(dropped).toBeGreaterThan((2_000_000 - WINDOW_BYTES - SEND_QUEUE_BYTES) / 1_000 - 100);
    a.send(relay, b, 'newest');
    await rig.run(1_000);
    socket.peer.resume();
    await rig.run(1_000);
    expect(b.texts.at(-1)).toBe('newest');
    expect(b.texts).toHaveLength(2_000 + 1 - a.count('send_dropped'));
    expect(a.takeStatuses()).toEqual([]);
  });

  test('it takes nothing for 15 s: given up, though it still talks', async () => {
    const { relay, a } = await atHome();
    const b = rig.addPeer();
    const start = rig.world.clock.now();
    a.socketOf(relay).peer.pause();
    fill(a, b, relay, 400_000);
    let lost: { readonly at: number; readonly code: string } | undefined;
    a.manager.homeRelay.subscribe('test', (status) => {
      if (status?.state === 'disconnected')
        lost ??= { at: rig.world.clock.now() - start, code: status.lastError!.code };
    });
    for (let i = 0; i < 16; i++) {
      a.socketOf(relay).peer.send(encodePing(new Uint8Array(8)));
      await rig.run(1_000);
    }
    expect(lost).toEqual({ at: RELAY_SEND_TIMEOUT_MS, code: 'RelayError.Established.SendTimeout' });
  });

  test('it is slow, and takes some in each 15 s: kept', async () => {
    const { relay, a } = await atHome();
    const b = rig.addPeer();
    const { peer } = a.socketOf(relay);
    peer.pause();
    for (let i = 0; i < 50; i++) {
      fill(a, b, relay, 400_000);
      peer.send(encodePing(new Uint8Array(8)));
      await rig.run(900);
      peer.resume();
      peer.pause();
    }
    expect(a.takeStatuses()).toEqual([]);
  });

  test('it asks and asks and never reads: one answer waits, to the newest', async () => {
    const { relay, a } = await atHome();
    const b = rig.addPeer();
    const socket = a.socketOf(relay);
    const { peer } = socket;
    const pongs: number[] = [];
    const handle = peer.onMessage!;
    peer.onMessage = (message) => {
      if (message[0] === FRAME_TYPE.pong) pongs.push(message[1]!);
      handle(message);
    };
    peer.pause();
    fill(a, b, relay, 400_000);
    const queued = socket.queuedBytes;
    for (let i = 0; i < 100; i++) peer.send(encodePing(new Uint8Array(8).fill(i)));
    await rig.run(100);
    expect(socket.queuedBytes).toBe(queued);
    peer.resume();
    await rig.run(1_000);
    expect(pongs).toEqual([99]);
  });
});

describe('the end', () => {
  test('what was sent before goes out, the relay hears a goodbye, home ends with its status', async () => {
    const { relay, a } = await atHome();
    const b = rig.addPeer();
    b.manager.setHome(relay.url);
    await rig.run(100);
    let isComplete = false;
    a.manager.homeRelay.changes$.subscribe({ complete: () => (isComplete = true) });
    a.send(relay, b, 'last words');
    await a.close();
    await rig.run(100);
    expect(b.texts).toEqual(['last words']);
    expect(relay.events.filter(({ type }) => type === 'ended')).toMatchObject([
      { reason: 'closed', detail: 'by the client' },
    ]);
    expect(a.takeStatuses()).toEqual(['one.example disconnected']);
    expect(isComplete).toBe(true);
    // Nothing happens any more.
    a.manager.setHome(relay.url);
    a.send(relay, b, 'ghost');
    a.manager.cutBackoff();
    await rig.run(1_000);
    expect([a.dials.length, a.count('send_dropped')]).toEqual([1, 1]);
    await a.close();
  });

  test('nothing is heard once the end has begun', async () => {
    const { relay, a } = await atHome();
    const b = rig.addPeer();
    b.manager.setHome(relay.url);
    await rig.run(100);
    b.send(relay, a, 'too late');
    await rig.run(15);
    await a.close();
    await rig.run(100);
    expect(a.received).toEqual([]);
  });

  test('a relay that does not answer the goodbye has 3 s', async () => {
    const { relay, a } = await atHome();
    const b = rig.addPeer();
    a.socketOf(relay).peer.pause();
    for (let i = 0; i < 400; i++) a.send(relay, b, 'x'.repeat(1_000));
    const start = rig.world.clock.now();
    await a.close();
    expect(rig.world.clock.now() - start).toBe(RELAY_CLOSE_GRACE_MS);
    expect(a.socketOf(relay).isClosed).toBe(true);
  });

  test.each([0, 100])(
    'a relay that does not answer is dropped when time is up, after %d ms',
    async (afterMs) => {
      const { relay, a } = await atHome();
      relay.fallSilent();
      const start = rig.world.clock.now();
      const limit = new AbortController();
      const closing = a.manager.close(limit.signal);
      await rig.run(afterMs);
      expect(a.socketOf(relay).isClosed).toBe(false);
      limit.abort();
      await rig.world.run(closing, 1_000);
      expect(a.socketOf(relay).isClosed).toBe(true);
      expect(a.manager.activeRelays()).toEqual([]);
      // Once more, with no time at all.
      await rig.world.run(a.manager.close(limit.signal), 1_000);
      expect(rig.world.clock.now() - start).toBe(afterMs);
    },
  );

  test.each([
    ['dialled', 5, 0],
    // The connection is there: it ends as others do, with an answer.
    ['asked who it is', 25, 20],
  ])('while the relay is %s: at once', async (_what, ms, tookMs) => {
    const relay = rig.addRelay('http://one.example/');
    const a = rig.addPeer();
    a.manager.setHome(relay.url);
    await rig.run(ms);
    const start = rig.world.clock.now();
    await a.close();
    expect(rig.world.clock.now() - start).toBe(tookMs);
    expect(a.stateOf(relay)).toBeUndefined();
  });

  test('in back-off: at once, and it is not dialled again', async () => {
    const relay = rig.addRelay('https://one.example/');
    relay.goDown();
    const a = rig.addPeer();
    a.manager.setHome(relay.url);
    await rig.run(10_000);
    const { length } = a.dials;
    await a.close();
    await rig.run(100_000);
    expect(a.dials).toHaveLength(length);
  });

  test('a dial that succeeds after the end is closed', async () => {
    const relay = rig.addRelay('https://one.example/');
    const a = rig.addPeer({
      openWebSocket: async (request, dial) => {
        const socket = await dial({ ...request, signal: new AbortController().signal });
        await rig.world.sleep(1_000);
        return socket;
      },
    });
    a.manager.setHome(relay.url);
    await rig.run(100);
    await a.close();
    await rig.run(2_000);
    expect(a.socketOf(relay).isClosed).toBe(true);
  });
});

test('moments between milliseconds: what is due is done, and no timer is set for less than time can show', async () => {
  const { relay, a } = await atHome();
  const b = rig.addPeer();
  const other = rig.addRelay('https://two.example/');
  for (let i = 1; i <= 60; i++) {
    if (i % 2 === 0) relay.goDown();
    else relay.comeUp();
    for (let j = 0; j < 20; j++) {
      a.send(relay, b, 'x');
      a.send(other, b, 'x');
      await rig.run(700 / (i + j));
    }
    await rig.run(60_000 + 1 / i);
  }
  relay.comeUp();
  await rig.run(60_000);
  expect(a.stateOf(relay)).toBe('connected');
}, 30_000);

test('each actor is named and watched: an inspector sees the relay and what is said of home, no secret among it', async () => {
  const seen: string[] = [];
  const contexts: string[] = [];
  const relay = rig.addRelay('https://user:secret@one.example/?token=secret');
  const a = rig.addPeer({
    inspect: (event) => {
      seen.push(describeEvent(event));
      if ('snapshot' in event)
        contexts.push(JSON.stringify((event.snapshot as { context?: unknown }).context));
    },
  });
  a.manager.setHome(relay.url);
  await rig.run(1_000);
  expect(seen).toContain('iroh.channel.send home relay relays peer1');
  expect([...a.system.running]).toEqual(['relay peer1 1 one.example']);
  expect(a.lines.join('\n')).toContain('peer1 relay one.example: connected');
  expect(contexts).toContain('{"relay":"one.example","isHome":true,"failures":0,"mustStop":false}');
  expect([...seen, ...contexts, ...a.lines].join('\n')).not.toContain('secret');
});

function describeEvent(event: { readonly type: string }): string {
  const { channel, from } = event as { readonly channel?: string; readonly from?: string };
  return [event.type, channel, from].filter((part) => part !== undefined).join(' ');
}
