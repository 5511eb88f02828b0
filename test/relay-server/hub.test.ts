import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { fromHex, utf8 } from '../../src/base/bytes.ts';
import { SecretKey } from '../../src/crypto/keys.ts';
import { RELAY_PROTOCOLS, encodeDatagrams, encodePing, type RelayProtocol } from '../../src/relay/frames.ts';
import {
  CLIENT_AUTH_HEADER,
  encodeClientAuth,
  keyMaterialHeader,
  relayIdentity,
} from '../../src/relay/handshake.ts';
import { requireToken, type AccessVerdict } from '../../src/relay/server/access.ts';
import { CLIENT_QUEUE_BYTES, CLIENT_QUEUE_FRAMES } from '../../src/relay/server/frame-queue.ts';
import { WebSocketError, type RelaySocket } from '../../src/transport/relay-socket.ts';
import { RawRelayClient } from '../support/raw-relay-client.ts';
import { SimClock } from '../support/sim-clock.ts';
import { SimRelay, type SimRelayOptions, type SimRelaySocket } from '../support/sim-relay.ts';
import { SimRng } from '../support/sim-rng.ts';

interface DialOptions {
  readonly protocols?: readonly string[];
  readonly token?: string;
  /** Proves itself by header. */
  readonly headerKey?: SecretKey;
  readonly header?: string;
}

const noHeaders: Record<string, string> = {};

/** A relay in virtual time and those who dial it. */
class Scene {
  readonly clock = new SimClock();
  readonly relay: SimRelay;

  constructor(options: SimRelayOptions = {}, url = 'https://relay.test/') {
    this.relay = new SimRelay(this.clock, new SimRng(1), url, options);
  }

  /** Lets `ms` pass. */
  async run(ms: number): Promise<void> {
    const end = this.clock.now() + ms;
    for (;;) {
      await new Promise((resolve) => setImmediate(resolve));
      const at = this.clock.nextAt();
      if (at === undefined || at > end) break;
      this.clock.advanceTo(at);
    }
    this.clock.advanceTo(end);
    await new Promise((resolve) => setImmediate(resolve));
  }

  async open(options: DialOptions = {}): Promise<SimRelaySocket> {
    const { headerKey, header } = options;
    let socket: RelaySocket | Error | undefined;
    this.relay
      .openWebSocket(
        {
          url: this.relay.url,
          protocols: options.protocols ?? RELAY_PROTOCOLS,
          authToken: options.token,
          headers: (exporter) =>
            header !== undefined
              ? { [CLIENT_AUTH_HEADER]: header }
              : headerKey && exporter
                ? { [CLIENT_AUTH_HEADER]: keyMaterialHeader(relayIdentity(headerKey), exporter) }
                : noHeaders,
          tls: undefined,
          proxy: undefined,
          preferIpv6: false,
          signal: new AbortController().signal,
        },
        '10.0.0.1',
      )
      .then(
        (opened) => (socket = opened),
        (error: Error) => (socket = error),
      );
    await this.run(2 * this.relay.delayMs);
    if (socket instanceof Error) throw socket;
    return socket as SimRelaySocket;
  }

  /** A client that is through with the handshake. */
  async connect(seed: number | SecretKey, options: DialOptions = {}): Promise<RawRelayClient> {
    const client = new RawRelayClient(await this.open(options), seed);
    await this.run(100);
    return client;
  }

  /** What the relay says about the last client that left. */
  get lastEnd(): unknown {
    return this.relay.events.findLast(({ type }) => type === 'ended');
  }

  value(name: Parameters<SimRelay['hub']['metrics']['value']>[0]): number {
    return this.relay.hub.metrics.value(name);
  }
}

const hello = utf8('hello');

describe('handshake', () => {
  test('by challenge, and by the keys of the TLS connection in one round trip less', async () => {
    const scene = new Scene();
    const first = await scene.connect(1);
    expect(first.state).toBe('confirmed');
    const key = SecretKey.fromBytes(new Uint8Array(32).fill(2));
    const second = new RawRelayClient(await scene.open({ headerKey: key }), key);
    await scene.run(scene.relay.delayMs);
    expect(second.state).toBe('confirmed');
    expect(scene.relay.hub.clientCount).toBe(2);
    first.sendTo(second, hello);
    await scene.run(50);
    expect(second.received('datagrams')).toEqual([
      { type: 'datagrams', peer: first.id, ecn: 2, segmentBytes: 0, contents: hello },
    ]);
  });

  test('a header of another connection is worth a challenge; one that is no proof ends it', async () => {
    const scene = new Scene();
    const key = SecretKey.fromBytes(new Uint8Array(32).fill(2));
    const foreign = keyMaterialHeader(relayIdentity(key), (length) => new Uint8Array(length));
    expect((await scene.connect(key, { header: foreign })).state).toBe('confirmed');
    expect((await scene.connect(key, { header: 'no proof' })).state).toBe('closed');
    expect(scene.lastEnd).toMatchObject({ reason: 'protocolError' });
  });

  test('a forged signature is denied with the wire’s reason', async () => {
    const scene = new Scene();
    const socket = await scene.open();
    const forged = encodeClientAuth(
      relayIdentity(SecretKey.fromBytes(new Uint8Array(32))),
      new Uint8Array(16),
    );
    const messages: Uint8Array[] = [];
    socket.onMessage = (message) => messages.push(message);
    await scene.run(50);
    socket.send(forged);
    await scene.run(50);
    expect(messages.map((message) => message[0])).toEqual([0, 3]);
    expect(Buffer.from(messages[1]!.subarray(2)).toString()).toBe('signature invalid');
    expect(socket.closedWith).toEqual({ code: 1_008, reason: 'signature invalid' });
    expect(scene.value('auth_denied')).toBe(1);
  });

  test.each([
    [
      'a datagram',
      encodeDatagrams('client', { peer: new Uint8Array(32), ecn: 0, segmentBytes: 0, contents: hello }),
    ],
    ['a ping', encodePing(new Uint8Array(8))],
    ['nothing', new Uint8Array(0)],
    ['noise', fromHex('ffeeddccbbaa99887766')],
    ['half an authentication', fromHex('01aabbcc')],
  ])('%s before authentication: closed with a reason', async (_name, message) => {
    const scene = new Scene();
    const other = await scene.connect(1);
    const socket = await scene.open();
    socket.send(message);
    await scene.run(100);
    expect(socket.closedWith).toMatchObject({
      code: 1_002,
      reason: expect.stringContaining('relay protocol'),
    });
    expect(scene.relay.hub.connectionCount).toBe(1);
    expect(other.state).toBe('confirmed');
  });

  test('who says nothing has ten seconds', async () => {
    const scene = new Scene();
    const socket = await scene.open();
    await scene.run(9_900);
    expect(socket.isClosed).toBe(false);
    await scene.run(200);
    expect(socket.closedWith?.code).toBe(1_008);
    expect(scene.value('auth_timeouts')).toBe(1);
    expect(scene.clock.pendingTimers).toBe(0);
  });

  test('no common subprotocol: refused; the old one is still spoken', async () => {
    await expect(new Scene({ protocols: [] }).open()).rejects.toThrow(WebSocketError);
    const client = await new Scene().connect(1, { protocols: ['iroh-relay-v1'] });
    expect(client.state).toBe('confirmed');
    expect(client.socket.protocol).toBe('iroh-relay-v1');
  });
});

describe('access', () => {
  test('F07: a token', async () => {
    const scene = new Scene({ access: requireToken(['right', 'other']) });
    const wrong = await scene.connect(1, { token: 'wrong' });
    expect([wrong.state, wrong.denial]).toEqual(['denied', 'not authorized']);
    expect((await scene.connect(1)).state).toBe('denied');
    expect((await scene.connect(1, { token: 'right' })).state).toBe('confirmed');
    expect((await scene.connect(1, { token: 'other' })).state).toBe('confirmed');
  });

  test('may take its time, give a reason, and come too late', async () => {
    let decide: ((verdict: AccessVerdict) => void) | undefined;
    const scene = new Scene({ access: (_request, then) => void (decide = then) });
    const client = await scene.connect(1);
    expect(client.state).toBe('handshake');
    decide!({ deny: 'not on Sundays' });
    await scene.run(50);
    expect(client.denial).toBe('not on Sundays');
    const gone = await scene.connect(2);
    gone.socket.terminate();
    await scene.run(50);
    decide!('allow');
    expect(scene.relay.hub.clientCount).toBe(0);
    const slow = await scene.connect(3);
    await scene.run(10_000);
    expect(slow.state).toBe('closed');
    decide!('allow');
    expect(scene.relay.hub.connectionCount).toBe(0);
    expect(scene.clock.pendingTimers).toBe(0);
  });
});

describe('datagrams', () => {
  test('a batch passes unchanged; unknown recipients drop silently', async () => {
    const scene = new Scene();
    const [a, b] = [await scene.connect(1), await scene.connect(2)];
    a.sendTo(b, utf8('Hello World!'), 6);
    a.sendTo(new Uint8Array(32).fill(9), hello);
    await scene.run(50);
    expect(b.received('datagrams')).toMatchObject([{ segmentBytes: 6, contents: utf8('Hello World!') }]);
    expect(a.frames).toEqual([]);
    expect(scene.value('send_packets_recv')).toBe(2);
    expect(scene.value('send_packets_sent')).toBe(1);
    expect(scene.value('send_packets_dropped')).toBe(1);
  });

  test.each([
    ['empty', new Uint8Array(34).fill(0, 0).map((_, i) => (i === 0 ? 4 : 1))],
    ['of 65,536 bytes', new Uint8Array(65_537).map((_, i) => (i === 0 ? 4 : 1))],
  ])('one that is %s ends its sender and not its recipient', async (_name, message) => {
    const scene = new Scene();
    const [a, b] = [await scene.connect(1), await scene.connect(2)];
    message.set(b.id, 1);
    a.socket.send(message);
    await scene.run(50);
    expect([a.state, b.state]).toEqual(['closed', 'confirmed']);
    expect(scene.lastEnd).toMatchObject({ reason: 'protocolError' });
    expect(b.received('datagrams')).toEqual([]);
  });

  test('to itself', async () => {
    const scene = new Scene();
    const a = await scene.connect(1);
    a.sendTo(a, hello);
    await scene.run(50);
    expect(a.received('datagrams')).toMatchObject([{ peer: a.id }]);
  });
});

describe('one id, several connections', () => {
  test.each<[RelayProtocol, string]>([
    ['iroh-relay-v2', 'status'],
    ['iroh-relay-v1', 'health'],
  ])(
    'F08: %s: the newest receives, the older one is told and may send, and is promoted back',
    async (version, type) => {
      const scene = new Scene();
      const peer = await scene.connect(1);
      const old = await scene.connect(2, { protocols: [version] });
      const newest = await scene.connect(2, { protocols: [version] });
      expect(old.frames.map((frame) => frame.type)).toEqual([type]);
      expect(newest.frames).toEqual([]);
      peer.sendTo(old, hello);
      old.sendTo(peer, utf8('from the old one'));
      await scene.run(50);
      expect(old.received('datagrams')).toEqual([]);
      expect(newest.received('datagrams')).toHaveLength(1);
      expect(peer.received('datagrams')).toMatchObject([{ contents: utf8('from the old one') }]);
      newest.socket.close();
      await scene.run(50);
      expect(old.frames.map((frame) => frame.type)).toEqual([type, type]);
      if (type === 'status') expect(old.frames).toMatchObject([{ status: 1 }, { status: 0 }]);
      peer.sendTo(old, hello);
      await scene.run(50);
      expect(old.received('datagrams')).toHaveLength(1);
      // It had sent to the peer, and is still here.
      expect(peer.received('endpointGone')).toEqual([]);
      expect(scene.value('clients_inactive_added')).toBe(1);
      expect(scene.value('clients_inactive_removed')).toBe(1);
    },
  );

  test('an inactive one that ends changes nothing', async () => {
    const scene = new Scene();
    const first = await scene.connect(2);
    const second = await scene.connect(2);
    const third = await scene.connect(2);
    second.socket.close();
    await scene.run(50);
    expect(scene.relay.hub.connectionCount).toBe(2);
    third.socket.terminate();
    await scene.run(50);
    expect(first.frames).toMatchObject([{ status: 1 }, { status: 0 }]);
  });

  test('who sent to somebody is announced as gone when its last connection ends, to those only', async () => {
    const scene = new Scene();
    const [a, b, c, d] = [
      await scene.connect(1),
      await scene.connect(2),
      await scene.connect(3),
      await scene.connect(4),
    ];
    a.sendTo(b, hello);
    c.sendTo(a, hello);
    a.sendTo(d, hello);
    await scene.run(50);
    d.socket.close();
    await scene.run(50);
    a.socket.close();
    await scene.run(50);
    expect(b.received('endpointGone')).toEqual([{ type: 'endpointGone', peer: a.id }]);
    expect(c.received('endpointGone')).toEqual([]);
    expect(scene.relay.hub.clientCount).toBe(2);
  });
});

describe('liveness', () => {
  test('pings after 16 to 20 s of silence, and lets go of who does not answer', async () => {
    const scene = new Scene();
    const [a, b] = [await scene.connect(1), await scene.connect(2)];
    b.answersPings = false;
    await scene.run(15_800);
    expect(a.received('ping')).toEqual([]);
    await scene.run(4_400);
    expect(a.received('ping')).toHaveLength(1);
    expect(b.received('ping')).toHaveLength(1);
    await scene.run(5_000);
    expect([a.state, b.state]).toEqual(['confirmed', 'closed']);
    expect(scene.value('pong_timeouts')).toBe(1);
    // Any frame counts as a sign of life.
    a.sendTo(a, hello);
    await scene.run(50);
    a.frames.length = 0;
    for (let i = 0; i < 6; i++) {
      await scene.run(10_000);
      a.sendTo(a, hello);
    }
    expect(a.received('ping')).toEqual([]);
  });

  test('a ping is answered at once, with the same bytes', async () => {
    const scene = new Scene();
    const a = await scene.connect(1);
    const payload = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
    a.socket.send(encodePing(payload));
    await scene.run(2 * scene.relay.delayMs);
    expect(a.frames).toEqual([{ type: 'pong', payload }]);
    expect(scene.value('got_ping')).toBe(1);
    expect(scene.value('sent_pong')).toBe(1);
  });
});

describe('slow and greedy clients', () => {
  test('who does not read costs no more than its queue, and is cut off after two seconds', async () => {
    const scene = new Scene();
    const [sender, deaf, other] = [await scene.connect(1), await scene.connect(2), await scene.connect(3)];
    deaf.socket.pause();
    const before = scene.value('send_packets_dropped');
    let most = 0;
    for (let i = 0; i < 40; i++) {
      for (let n = 0; n < 100; n++) sender.sendTo(deaf, new Uint8Array(16_384));
      sender.sendTo(other, hello);
      await scene.run(50);
      most = Math.max(most, scene.relay.hub.waitingBytes);
    }
    expect(most).toBeGreaterThan(1_000_000);
    expect(most).toBeLessThanOrEqual(CLIENT_QUEUE_BYTES);
    expect(scene.value('send_packets_dropped')).toBeGreaterThan(before + 1_000);
    await scene.run(4_000);
    expect(scene.value('write_timeouts')).toBe(1);
    expect(scene.relay.hub.waitingBytes).toBe(0);
    expect([sender.state, other.state]).toEqual(['confirmed', 'confirmed']);
    expect(other.received('datagrams')).toHaveLength(40);
  });

  test('small frames are bounded by their number, and the newest are dropped', async () => {
    const scene = new Scene();
    const [sender, slow] = [await scene.connect(1), await scene.connect(2)];
    slow.socket.pause();
    // First fill what the system takes.
    for (let i = 0; i < 8; i++) sender.sendTo(slow, new Uint8Array(60_000));
    await scene.run(50);
    const number = (i: number): Uint8Array => utf8(String(i).padStart(5, '0'));
    for (let i = 0; i < 2 * CLIENT_QUEUE_FRAMES; i++) sender.sendTo(slow, number(i));
    await scene.run(50);
    slow.socket.resume();
    await scene.run(100);
    const small = slow.received('datagrams').filter(({ contents }) => contents.length === 5);
    expect(small.length).toBeGreaterThanOrEqual(CLIENT_QUEUE_FRAMES - 8);
    expect(small.length).toBeLessThanOrEqual(CLIENT_QUEUE_FRAMES);
    small.forEach(({ contents }, i) => expect(contents).toEqual(number(i)));
    expect(slow.state).toBe('confirmed');
  });

  test('who reads slowly stays', async () => {
    const scene = new Scene();
    const [sender, slow] = [await scene.connect(1), await scene.connect(2)];
    for (let i = 0; i < 20; i++) {
      slow.socket.pause();
      for (let n = 0; n < 20; n++) sender.sendTo(slow, new Uint8Array(30_000));
      await scene.run(1_500);
      slow.socket.resume();
      await scene.run(100);
    }
    expect(slow.state).toBe('confirmed');
    expect(slow.received('datagrams')).toHaveLength(400);
  });

  test('the rate limit holds back, drops nothing, and is told once', async () => {
    const scene = new Scene({ rateLimit: { bytesPerSecond: 100_000 } });
    const [sender, receiver] = [await scene.connect(1), await scene.connect(2)];
    for (let i = 0; i < 100; i++) sender.sendTo(receiver, new Uint8Array(10_000));
    await scene.run(1_000);
    const inOneSecond = receiver.received('datagrams').length;
    expect(inOneSecond).toBeGreaterThanOrEqual(9);
    expect(inOneSecond).toBeLessThanOrEqual(13);
    await scene.run(10_000);
    expect(receiver.received('datagrams')).toHaveLength(100);
    expect(sender.frames).toEqual([{ type: 'status', status: 2 }]);
    expect(scene.value('conns_rx_ratelimited')).toBe(1);
    expect(() => new Scene({ rateLimit: { bytesPerSecond: 9 } })).toThrow(RangeError);
  });
});

test('F15: a shutdown is announced, everything is flushed, and nothing is left', async () => {
  const scene = new Scene();
  const [a, b] = [await scene.connect(1), await scene.connect(2)];
  const pending = await scene.open();
  a.sendTo(b, hello);
  await scene.run(scene.relay.delayMs);
  scene.relay.hub.shutDown();
  expect(scene.clock.pendingTimers).toBe(scene.relay.inFlight);
  await scene.run(50);
  expect(b.frames.map(({ type }) => type)).toEqual(['datagrams', 'restarting']);
  expect([a.state, b.state]).toEqual(['closed', 'closed']);
  expect(pending.isClosed).toBe(true);
  expect(scene.relay.hub.connectionCount).toBe(0);
  expect((await scene.open()).isClosed).toBe(false);
  await scene.run(50);
  expect(scene.relay.hub.connectionCount).toBe(0);
});

test('whatever clients send, others are not hurt, and nothing is left of who is gone', async () => {
  const anyMessage = fc.oneof(
    fc.uint8Array({ maxLength: 80 }),
    fc
      .tuple(fc.integer({ min: 0, max: 14 }), fc.uint8Array({ maxLength: 80 }))
      .map(([type, rest]) => Uint8Array.of(type, ...rest)),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(anyMessage, { maxLength: 8 }),
      fc.boolean(),
      async (messages, isAuthenticated) => {
        const scene = new Scene();
        const [a, b] = [await scene.connect(1), await scene.connect(2)];
        const hostile = isAuthenticated ? (await scene.connect(3)).socket : await scene.open();
        for (const message of messages) hostile.send(new Uint8Array(message));
        await scene.run(200);
        a.sendTo(b, hello);
        await scene.run(50);
        expect([a.state, b.state]).toEqual(['confirmed', 'confirmed']);
        expect(b.received('datagrams').at(-1)).toMatchObject({ peer: a.id, contents: hello });
        hostile.terminate();
        a.socket.close();
        b.socket.close();
        await scene.run(100);
        expect([scene.relay.hub.connectionCount, scene.relay.hub.clientCount]).toEqual([0, 0]);
        expect(scene.clock.pendingTimers).toBe(0);
      },
    ),
    { numRuns: 100 },
  );
});
