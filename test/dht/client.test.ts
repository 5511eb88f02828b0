/** The DHT client on a DHT of loopback: nodes of another make, and nodes that lie. */
import { createSocket } from 'node:dgram';
import { afterEach, describe, expect, jest, test } from '@jest/globals';
import { SignedPacket } from '../../src/address-lookup/signed-packet.ts';
import { DHT_TIME_LIMIT_MS, MainlineDht, type MainlineDhtOptions } from '../../src/actors/mainline-dht.ts';
import type { Bencoded } from '../../src/address-lookup/bencode.ts';
import { concatBytes } from '../../src/base/bytes.ts';
import { SecretKey } from '../../src/index.ts';
import { toAddr } from '../../src/base/socket-addr.ts';
import type { DatagramTransport } from '../../src/transport/datagram.ts';
import { PkarrSocket } from '../../src/transport/pkarr-dht.ts';
import { systemPlatform } from '../../src/transport/system-platform.ts';
import { DhtNet, LyingNode, valueOf } from '../support/dht-net.ts';

const KEY = SecretKey.fromBytes(new Uint8Array(32).fill(0x2a));
const ID = KEY.publicKey;
const OTHER = SecretKey.fromBytes(new Uint8Array(32).fill(0x2b));
const RELAY = ['relay=https://relay.example.com/'];
const { signal } = new AbortController();

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});
const closing = <T extends { close(): Promise<void> }>(each: T): T => {
  closers.push(() => each.close());
  return each;
};

const startNet = async (count = 5): Promise<DhtNet> => closing(await DhtNet.start(count));
const liar = async (...answer: Parameters<typeof LyingNode.start>): Promise<LyingNode> =>
  closing(await LyingNode.start(...answer));
const client = (
  bootstrap: readonly string[],
  platform: MainlineDhtOptions['platform'] = systemPlatform,
): MainlineDht => closing(new MainlineDht({ bootstrap, platform }));
/** A platform that keeps its sockets to look at. */
function watched(): {
  readonly platform: MainlineDhtOptions['platform'];
  readonly sockets: DatagramTransport[];
} {
  const sockets: DatagramTransport[] = [];
  const platform = {
    ...systemPlatform,
    bindUdp: async (request: Parameters<NonNullable<typeof systemPlatform.bindUdp>>[0]) => {
      const socket = await systemPlatform.bindUdp!(request);
      sockets.push(socket);
      return socket;
    },
  };
  return { platform, sockets };
}

/** A platform on which nodes of loopback have the addresses 203.0.113.x, in order; and whom it sends to. */
function translated(nodes: readonly LyingNode[]): {
  readonly platform: MainlineDhtOptions['platform'];
  readonly sentTo: Set<string>;
} {
  const sentTo = new Set<string>();
  const ports = (): number[] => nodes.map(({ hostPort }) => Number(hostPort.split(':')[1]));
  const bindUdp = async (
    request: Parameters<NonNullable<typeof systemPlatform.bindUdp>>[0],
  ): Promise<DatagramTransport> => {
    const inner = await systemPlatform.bindUdp!(request);
    const outer: DatagramTransport = {
      localAddr: inner.localAddr,
      onDatagrams: undefined,
      onDrained: undefined,
      queued: 0,
      sendErrors: 0,
      close: () => inner.close(),
      send: (batch, from, to) => {
        for (const { data, to: addr } of batch.slice(from, to)) {
          sentTo.add(addr.text);
          const port = ports()[Number(addr.ip.split('.')[3])];
          if (addr.ip.startsWith('203.0.113.') && port !== undefined)
            inner.send([{ data, to: toAddr('127.0.0.1', port), local: undefined }], 0, 1);
        }
      },
    };
    inner.onDatagrams = (batch) =>
      outer.onDatagrams?.(
        batch.map((each) => ({
          ...each,
          from: toAddr(`203.0.113.${ports().indexOf(each.from.port)}`, 6_881),
        })),
      );
    return outer;
  };
  return { platform: { ...systemPlatform, bindUdp }, sentTo };
}

const now = (): bigint => BigInt(Date.now()) * 1_000n;
const packetOf = (timestampMicros = now(), key = KEY): SignedPacket =>
  SignedPacket.sign(key, { strings: RELAY, timestampMicros });

async function find(dht: MainlineDht, id = ID): Promise<SignedPacket[]> {
  const list: SignedPacket[] = [];
  for await (const packet of dht.resolve(id, signal)) list.push(packet);
  return list;
}
const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => 'no failure',
    (error: unknown) => (error as { code?: unknown }).code ?? error,
  );

describe('on nodes of another make', () => {
  test('what one stores another one finds, byte for byte; what nobody stored is not found', async () => {
    const { bootstrap } = await startNet();
    const packet = packetOf();
    await client(bootstrap).put(packet, signal);
    const reader = client(bootstrap);
    const [found] = await find(reader);
    expect(found?.toBytes()).toEqual(packet.toBytes());
    expect(await find(reader, OTHER.publicKey)).toEqual([]);
    expect([...reader.refused]).toEqual([]);
  });

  test('a newer packet takes the place of an older one, and an older one is not taken back', async () => {
    const { bootstrap } = await startNet();
    const writer = client(bootstrap);
    const newer = packetOf();
    await writer.put(packetOf(now() - 1_000_000n), signal);
    await writer.put(newer, signal);
    expect(await failure(writer.put(packetOf(now() - 2_000_000n), signal))).toBe('DhtError.Refused');
    const found = await find(client(bootstrap));
    expect(found.at(-1)?.toBytes()).toEqual(newer.toBytes());
  });

  test('several who want the same key, and other keys, are served side by side', async () => {
    const { bootstrap } = await startNet();
    const dht = client(bootstrap);
    await Promise.all([dht.put(packetOf(), signal), dht.put(packetOf(now(), OTHER), signal)]);
    const counts = await Promise.all([ID, ID, OTHER.publicKey, ID].map((id) => find(client(bootstrap), id)));
    expect(counts.map(({ length }) => length)).toEqual([1, 1, 1, 1]);
  });

  test('999 bytes of records are stored; the package takes no more', async () => {
    const { bootstrap } = await startNet();
    const dht = client(bootstrap);
    const sized = (bytes: number): SignedPacket => {
      const strings = (n: number): string[] => [
        'x'.repeat(n),
        ...Array.from({ length: 3 }, () => 'x'.repeat(250)),
      ];
      const base =
        SignedPacket.sign(KEY, { strings: strings(0), timestampMicros: now() }).toRelayPayload().length - 72;
      return SignedPacket.sign(KEY, { strings: strings(bytes - base), timestampMicros: now() });
    };
    await dht.put(sized(999), signal);
    expect(await failure(dht.put(sized(1_000), signal))).toBe('PkarrError.TooLong');
  });
});

describe('on nodes that lie', () => {
  const future = (): bigint => now() + 2n * 86_400_000_000n;
  const good = packetOf();
  const flipped = good.toRelayPayload();
  flipped[3]! ^= 1;
  const tooLong = concatBytes(good.toRelayPayload(), new Uint8Array(1_001));

  test.each<[string, () => ReadonlyMap<string, Bencoded>, string]>([
    ['a wrong signature', () => valueOf(ID, flipped), 'PkarrError.Signature'],
    [
      'the packet of another key',
      () => valueOf(OTHER.publicKey, packetOf(now(), OTHER).toRelayPayload()),
      'DhtError.WrongKey',
    ],
    [
      'what another key has signed',
      () => valueOf(ID, packetOf(now(), OTHER).toRelayPayload()),
      'PkarrError.Signature',
    ],
    ['more bytes than a packet has', () => valueOf(ID, tooLong), 'PkarrError.TooLong'],
    ['a packet from the future', () => valueOf(ID, packetOf(future()).toRelayPayload()), 'PkarrError.Future'],
  ])('%s is refused and counted, and what an honest node has is found', async (_what, lie, code) => {
    const node = await liar(({ kind }) => (kind === 'get' ? lie() : new Map()));
    const honest = await liar(({ kind }) =>
      kind === 'get' ? valueOf(ID, good.toRelayPayload()) : new Map(),
    );
    const dht = client([node.hostPort, honest.hostPort]);
    const found = await find(dht);
    expect(found.map((packet) => packet.toBytes())).toEqual([good.toBytes()]);
    expect([...dht.refused.keys()]).toEqual([code]);
  });

  test('answers that break the rules are as good as none', async () => {
    const lies: ReadonlyMap<string, Bencoded>[] = [
      new Map([...valueOf(ID, flipped), ['sig', new Uint8Array(63)]]),
      new Map([...valueOf(ID, flipped), ['k', new Uint8Array(33)]]),
      new Map([...valueOf(ID, flipped), ['seq', -1]]),
      new Map([...valueOf(ID, flipped), ['v', 7]]),
      new Map([['nodes', new Uint8Array(25)]]),
      new Map([['nodes', new Uint8Array(26 * 100)]]),
      new Map([['nodes', new Uint8Array(26 * 2_000)]]),
      new Map([['token', new Uint8Array(65)]]),
      new Map([['id', new Uint8Array(19)]]),
    ];
    const nodes = await Promise.all(
      lies.map((lie) => liar(({ kind }) => (kind === 'get' ? lie : new Map()))),
    );
    const dht = client(nodes.map(({ hostPort }) => hostPort));
    expect(await failure(find(dht))).toBe('DhtError.NoNodes');
    expect([...dht.refused.keys()]).toEqual(['DhtError.Malformed']);
    // The library may ask a first node twice: as such, and as one of its table.
    expect(dht.refused.get('DhtError.Malformed')).toBeGreaterThanOrEqual(lies.length);
  });

  test('of several packets the newest one counts, whenever it comes; who lags behind does nothing wrong', async () => {
    const [older, newer] = [packetOf(now() - 1_000_000n), packetOf()];
    const nodes = await Promise.all(
      [older, newer, older].map((packet) =>
        liar(({ kind }) => (kind === 'get' ? valueOf(ID, packet.toRelayPayload()) : new Map())),
      ),
    );
    const dht = client(nodes.map(({ hostPort }) => hostPort));
    const found = await find(dht);
    expect(found.at(-1)?.toBytes()).toEqual(newer.toBytes());
    expect([...dht.refused]).toEqual([]);
  });

  test('the packet that all nodes have is verified once, also for several who want it', async () => {
    const verify = jest.spyOn(SignedPacket, 'verify');
    const nodes = await Promise.all(
      Array.from({ length: 8 }, () =>
        liar(({ kind }) => (kind === 'get' ? valueOf(ID, good.toRelayPayload()) : new Map())),
      ),
    );
    const dht = client(nodes.map(({ hostPort }) => hostPort));
    const found = await Promise.all([find(dht), find(dht)]);
    expect(found.map(({ length }) => length)).toEqual([1, 1]);
    expect(verify).toHaveBeenCalledTimes(1);
    // What nodes have matters nothing to who stores.
    await dht.put(packetOf(), signal);
    expect(verify).toHaveBeenCalledTimes(1);
    verify.mockRestore();
  });

  test('who is said to be a node in our network, or at no address of a node, is not asked; that is counted', async () => {
    const contact = (...ip: number[]): Uint8Array => Uint8Array.of(...new Uint8Array(20), ...ip, 26, 225);
    const bystanders = [
      [127, 0, 0, 1],
      [192, 168, 1, 1],
      [10, 0, 0, 1],
      [224, 0, 0, 251],
      [255, 255, 255, 255],
    ].map((ip, i) => contact(...ip).fill(i + 1, 0, 20));
    const nodes: LyingNode[] = [];
    nodes.push(
      await liar(
        () => new Map([['nodes', concatBytes(...bystanders, contact(203, 0, 113, 1).fill(9, 0, 20))]]),
      ),
      await liar(({ kind }) => (kind === 'get' ? valueOf(ID, good.toRelayPayload()) : new Map())),
    );
    nodes[1]!.id.fill(9);
    const { platform, sentTo } = translated(nodes);
    const dht = client(['203.0.113.0:6881'], platform);
    expect(await find(dht)).toHaveLength(1);
    expect([...sentTo].sort()).toEqual(['203.0.113.0:6881', '203.0.113.1:6881']);
    expect([...dht.refused.keys()]).toEqual(['DhtError.Contact']);
  });

  test('what is no message, or answers nothing, is counted; nothing ends the process or keeps it busy', async () => {
    const { platform, sockets } = watched();
    const honest = await liar(({ kind }) =>
      kind === 'get' ? valueOf(ID, good.toRelayPayload()) : new Map(),
    );
    const dht = client([honest.hostPort], platform);
    expect(await find(dht)).toHaveLength(1);
    const { port } = sockets[0]!.localAddr;
    const stranger = createSocket('udp4');
    closers.push(() => new Promise((resolve) => stranger.close(() => resolve())));
    // The first two keep the decoders of the package busy for ever, the third one throws in its server side.
    const datagrams = [
      'l-3:e',
      'd-3:e',
      'd1:ad2:id20:aaaaaaaaaaaaaaaaaaaa6:targeti5ee1:q3:get1:t2:aa1:y1:qe',
      `${'l'.repeat(3_000)}${'e'.repeat(3_000)}`,
      'd1:t2:aa1:y1:re',
      'd1:rd2:id20:aaaaaaaaaaaaaaaaaaaae1:t2:zz1:y1:re',
      '',
      'hello',
    ];
    for (const datagram of datagrams) stranger.send(datagram, port, '127.0.0.1');
    // In order: the last one is counted when all are.
    while ((dht.refused.get('DhtError.Malformed') ?? 0) < 6)
      await new Promise((resolve) => setImmediate(resolve));
    expect(Object.fromEntries(dht.refused)).toEqual({ 'DhtError.Malformed': 6, 'DhtError.Unexpected': 1 });
    expect(await find(dht)).toHaveLength(1);
  });

  test('nodes that make up others without end keep us for 300 questions', async () => {
    const swarm: LyingNode[] = [];
    let asked = 0;
    for (let i = 0; i < 400; i++)
      swarm.push(
        await liar(({ kind, args }) => {
          if (kind !== 'get') return new Map();
          asked++;
          const next = swarm.slice(i + 1, i + 9).map((node, n) => {
            // Each closer to the target than all before.
            const id = (args.get('target') as Uint8Array).slice();
            id[2 + ((i + n) >> 6)]! ^= 1 << ((i + n) & 7);
            node.id.set(id);
            return node.contact(id);
          });
          return new Map([['nodes', concatBytes(...next)]]);
        }),
      );
    const dht = client([swarm[0]!.hostPort]);
    expect(await find(dht)).toEqual([]);
    expect(asked).toBeGreaterThan(20);
    expect(asked).toBeLessThanOrEqual(300);
  });

  test('all questions say that we serve nobody (BEP 43)', async () => {
    const node = await liar(() => new Map());
    await find(client([node.hostPort]));
    expect(node.asked.map(({ kind }) => kind)).toContain('get');
    expect(node.asked.filter(({ isReadOnly }) => !isReadOnly)).toEqual([]);
  });

  test('a packet that nobody takes is an error', async () => {
    const node = await liar(({ kind }) => (kind === 'put' ? 205 : new Map()));
    expect(await failure(client([node.hostPort]).put(packetOf(), signal))).toBe('DhtError.Refused');
  });
});

describe('on nobody', () => {
  test('no answer is an error, and later there may be one', async () => {
    const node = await liar(() => undefined);
    const { hostPort } = node;
    const dht = client([hostPort]);
    expect(await failure(find(dht))).toBe('DhtError.NoNodes');
    expect(await failure(dht.put(packetOf(), signal))).toBe('DhtError.NoNodes');
    let isThere = false;
    const late = await liar(() => (isThere ? new Map() : undefined));
    const other = client([late.hostPort]);
    expect(await failure(find(other))).toBe('DhtError.NoNodes');
    isThere = true;
    expect(await find(other)).toEqual([]);
  });

  test('names that cannot be found are no nodes', async () => {
    const platform = { ...systemPlatform, resolveDns: () => Promise.reject(new Error('no such name')) };
    expect(await failure(find(client(['node.example:6881'], platform)))).toBe('DhtError.NoNodes');
  });

  test('without UDP there is no DHT', async () => {
    const dht = client(['127.0.0.1:1'], { ...systemPlatform, bindUdp: undefined });
    expect(await failure(dht.check())).toBe('DhtError.Unavailable');
    expect(await failure(find(dht))).toBe('DhtError.Unavailable');
  });

  test('a package that does not start is said, and leaves no socket', async () => {
    const { platform, sockets } = watched();
    const spy = jest.spyOn(PkarrSocket.prototype, 'on').mockImplementation(() => {
      throw new Error('made otherwise');
    });
    try {
      const dht = client(['127.0.0.1:1'], platform);
      await expect(find(dht)).rejects.toMatchObject({
        code: 'DhtError.Unavailable',
        cause: { message: 'made otherwise' },
      });
    } finally {
      spy.mockRestore();
    }
    // The port is free again.
    const again = await systemPlatform.bindUdp!({ ip: '0.0.0.0', port: sockets[0]!.localAddr.port });
    await again.close();
  });

  test('the time of a walk begins with the walk, not while names of first nodes are looked up', async () => {
    const limits: number[] = [];
    const clock = Object.create(systemPlatform.clock) as typeof systemPlatform.clock;
    clock.setTimeout = (run, ms) => {
      limits.push(ms);
      return systemPlatform.clock.setTimeout(run, ms);
    };
    const node = await liar(() => new Map());
    const [, port] = node.hostPort.split(':');
    let answer!: (ips: string[]) => void;
    const resolveDns = (): Promise<string[]> => new Promise((resolve) => (answer = resolve));
    const dht = client([`node.example:${port}`], { ...systemPlatform, clock, resolveDns });
    const finding = find(dht);
    while ((answer as unknown) === undefined) await new Promise((resolve) => setImmediate(resolve));
    expect(limits).not.toContain(DHT_TIME_LIMIT_MS);
    answer(['127.0.0.1']);
    expect(await finding).toEqual([]);
    expect(limits).toContain(DHT_TIME_LIMIT_MS);
  });

  test.each(['', 'node', 'node:0', ':1', 'node:65536', '1.2.3:4', '1.2.3.256:5', '[::1]:5'])(
    '"%s" is no node',
    (text) => {
      expect(() => new MainlineDht({ bootstrap: [text], platform: systemPlatform })).toThrow(RangeError);
    },
  );
});

describe('ends', () => {
  const silent = (): Promise<LyingNode> => liar(() => undefined);
  /** Settles before anything else can happen. */
  const inThisTurn = (promise: Promise<unknown>): Promise<unknown> =>
    Promise.race([failure(promise), new Promise((resolve) => setImmediate(() => resolve('later')))]);

  test('who gives up is free in that turn', async () => {
    const node = await silent();
    const dht = client([node.hostPort]);
    const abort = new AbortController();
    const waits = [dht.resolve(ID, abort.signal).next(), dht.put(packetOf(), abort.signal)];
    while (node.asked.length < 2) await new Promise((resolve) => setImmediate(resolve));
    const reason = new Error('enough');
    abort.abort(reason);
    expect(await Promise.all(waits.map(inThisTurn))).toEqual([reason, reason]);
    expect(await failure(dht.resolve(ID, abort.signal).next())).toBe(reason);
  });

  test('close gives up everything in that turn, and frees the socket; afterwards there is no client', async () => {
    const node = await silent();
    const dht = client([node.hostPort]);
    const waits = [dht.resolve(ID, signal).next(), dht.put(packetOf(), signal)];
    while (node.asked.length < 2) await new Promise((resolve) => setImmediate(resolve));
    const closed = dht.close();
    expect(await Promise.all(waits.map(inThisTurn))).toEqual(['DhtError.Closed', 'DhtError.Closed']);
    await closed;
    await dht.close();
    expect(await failure(find(dht))).toBe('DhtError.Closed');
  });

  test('close while it is being opened leaves nothing', async () => {
    const { platform, sockets } = watched();
    const node = await silent();
    const dht = client([node.hostPort], platform);
    const wait = failure(dht.resolve(ID, signal).next());
    await dht.close();
    expect(await wait).toBe('DhtError.Closed');
    // Whatever was bound meanwhile was closed.
    for (const socket of sockets) expect(socket.queued).toBe(0);
    expect(node.asked).toEqual([]);
  });

  test('the process has no more handlers than before', async () => {
    const events = ['SIGINT', 'SIGTERM', 'SIGHUP', 'beforeExit', 'exit', 'uncaughtException'];
    const count = (): number[] => events.map((event) => process.listenerCount(event));
    const before = count();
    const { bootstrap } = await startNet(2);
    const dht = client(bootstrap);
    await find(dht);
    expect(count()).toEqual(before);
  });
});
