/** The sockets of an endpoint: which one a datagram leaves from, who fails alone, and that none is left behind. */
import { expect, test } from '@jest/globals';
import { MAPPED_PORT, MappedAddrs } from '../../../src/actors/mapped-addrs.ts';
import { Transports, type TransportsOptions } from '../../../src/actors/transports.ts';
import { Metrics } from '../../../src/base/metrics.ts';
import { RelayUrl } from '../../../src/base/relay-url.ts';
import { toAddr, type Addr } from '../../../src/base/socket-addr.ts';
import { SecretKey } from '../../../src/crypto/keys.ts';
import type { Transmit } from '../../../src/quic/engine.ts';
import type { CustomDatagram, CustomSocket, CustomTransport } from '../../../src/transport/custom.ts';
import { SimWorld } from '../../support/sim-platform.ts';

const BIND_MS = 500;

test.each([0, 1, BIND_MS - 1, BIND_MS + 1])(
  'closed %i ms after it began to bind anew, it ends with its last socket',
  async (delayMs) => {
    const world = new SimWorld(1);
    const sleep = (ms: number): Promise<void> =>
      new Promise((resolve) => world.clock.setTimeout(resolve, ms));
    const platform = world.platformOf(world.addHost('host', '10.0.0.1'));
    const bindUdp = platform.bindUdp!;
    let isSlow = false;
    let isClosed = false;
    const boundAfterwards: string[] = [];
    const transports = await Transports.bind({
      platform: {
        ...platform,
        bindUdp: async (request) => {
          if (isSlow) await sleep(BIND_MS);
          if (isClosed) boundAfterwards.push(request.ip);
          return bindUdp(request);
        },
      },
      mapped: new MappedAddrs(platform.rng),
      metrics: new Metrics(),
      bind: ['10.0.0.1:0'],
      custom: [],
    });
    expect(world.openSockets).toBe(1);
    isSlow = true;
    const left: number[] = [];
    await world.run(
      (async () => {
        const rebinding = transports.rebind();
        await sleep(delayMs);
        await transports.close();
        isClosed = true;
        left.push(world.openSockets);
        await rebinding;
        left.push(world.openSockets);
      })(),
      10_000,
    );
    expect([left, boundAfterwards]).toEqual([[0, 0], []]);
    expect(world.clock.now()).toBeLessThanOrEqual(2 * BIND_MS);
  },
);

/** One address of a peer that nothing is known of. */
const stranger = SecretKey.generate().publicKey;

/** Transports on a host, and which of its sockets each datagram leaves from. */
async function watched(options: Pick<TransportsOptions, 'bind' | 'custom'>, ips: readonly string[]) {
  const world = new SimWorld(1);
  const platform = world.platformOf(world.addHost('host', ips));
  const left: string[] = [];
  const mapped = new MappedAddrs(platform.rng);
  const transports = await Transports.bind({
    platform: {
      ...platform,
      bindUdp: async (request) => {
        const socket = await platform.bindUdp!(request);
        const send = socket.send.bind(socket);
        socket.send = (batch, from, to) => {
          for (let i = from; i < to; i++) left.push(`${socket.localAddr.ip} → ${batch[i]!.to.ip}`);
          send(batch, from, to);
        };
        return socket;
      },
    },
    mapped,
    metrics: new Metrics(),
    ...options,
  });
  return { world, transports, mapped, left };
}

const datagram = (to: Addr, byte = 0): Transmit => ({ to, local: undefined, data: Uint8Array.of(byte) });

test('A06: what is inside of the prefix of a socket leaves from there, the longest prefix first; else the default', async () => {
  const { transports, left } = await watched(
    {
      bind: [
        { addr: '10.0.0.1:0', prefixLength: 8 },
        { addr: '10.2.0.1:0', prefixLength: 16 },
        { addr: '10.2.3.1:0', prefixLength: 24 },
        '192.0.2.1:0',
      ],
      custom: [],
    },
    ['10.0.0.1', '10.2.0.1', '10.2.3.1', '192.0.2.1'],
  );
  for (const ip of ['10.2.3.9', '10.2.9.9', '10.9.9.9', '11.9.9.9'])
    transports.send([datagram(toAddr(ip, 1))]);
  expect(left).toEqual([
    '10.2.3.1 → 10.2.3.9',
    '10.2.0.1 → 10.2.9.9',
    '10.0.0.1 → 10.9.9.9',
    '192.0.2.1 → 11.9.9.9',
  ]);
  await transports.close();
});

test('H05: to a peer without addresses, or where no socket leads, a datagram is lost without an error; the next one goes', async () => {
  const { transports, mapped, left } = await watched(
    { bind: [{ addr: '10.0.0.1:0', exclusive: true }], custom: [] },
    ['10.0.0.1'],
  );
  const url = RelayUrl.parse('https://relay.example');
  for (const to of [
    // An id of which nothing is known.
    mapped.ofEndpoint(stranger),
    // A family without a socket, a relay without a relay client, a custom transport that is not there.
    toAddr('2001:db8::1', 1),
    mapped.ofRelay(url, stranger.toBytes()),
    mapped.ofCustom(7n, Uint8Array.of(1)),
    // It looks like ours and is none: an IPv6 address.
    toAddr('fd15:70a:510b:1::1', MAPPED_PORT),
  ])
    transports.send([datagram(to)]);
  expect(left).toEqual([]);
  transports.send([datagram(toAddr('10.0.0.2', 1))]);
  expect(left).toEqual(['10.0.0.1 → 10.0.0.2']);
  transports.targetsOf = () => [toAddr('10.0.0.3', 1), toAddr('2001:db8::3', 1)];
  transports.send([datagram(mapped.ofEndpoint(stranger))]);
  expect(left.slice(1)).toEqual(['10.0.0.1 → 10.0.0.3']);
  await transports.close();
});

/** A transport that does as it is told. */
class Puppet implements CustomTransport, CustomSocket {
  readonly id: bigint;
  onLocalAddrs: (() => void) | undefined;
  onDatagrams: ((batch: readonly CustomDatagram[]) => void) | undefined;
  isBroken = false;
  readonly sent: number[] = [];

  constructor(id: bigint) {
    this.id = id;
  }

  get localAddrs(): readonly Uint8Array[] {
    if (this.isBroken) throw new Error('broken');
    return [Uint8Array.of(Number(this.id))];
  }

  bind(): CustomSocket {
    return this;
  }

  send(_to: Uint8Array, data: Uint8Array): void {
    if (this.isBroken) throw new Error('broken');
    this.sent.push(data[0]!);
  }

  close(): void {
    if (this.isBroken) throw new Error('broken');
  }
}

test('H18: of two custom transports that always have something each is heard in its turn', async () => {
  const puppets = [new Puppet(1n), new Puppet(2n)];
  const { transports, mapped } = await watched({ bind: undefined, custom: puppets }, ['10.0.0.1']);
  const heard: string[] = [];
  transports.onDatagrams = (batch) => {
    for (const { from, data } of batch)
      heard.push(`${(mapped.lookup(from) as { id: bigint }).id}:${data[0]}`);
  };
  for (let turn = 0; turn < 8; turn++)
    puppets[(turn + 1) % 2]!.onDatagrams!([{ from: Uint8Array.of(9), data: Uint8Array.of(turn) }]);
  expect(heard).toEqual(['2:0', '1:1', '2:2', '1:3', '2:4', '1:5', '2:6', '1:7']);
  await transports.close();
});

test('H19: a transport that only fails silences no other; when all fail nothing is thrown, and who recovers is heard', async () => {
  const [broken, working] = [new Puppet(1n), new Puppet(2n)];
  const { transports, mapped } = await watched({ bind: undefined, custom: [broken, working] }, ['10.0.0.1']);
  const heard: number[] = [];
  transports.onDatagrams = (batch) => heard.push(...batch.map(({ data }) => data[0]!));
  const [toBroken, toWorking] = [1n, 2n].map((id) => mapped.ofCustom(id, Uint8Array.of(9)));
  broken.isBroken = true;
  const round = (byte: number): void => {
    transports.send([datagram(toBroken!, byte), datagram(toWorking!, byte)]);
    working.onDatagrams!([{ from: Uint8Array.of(9), data: Uint8Array.of(byte) }]);
  };
  for (let i = 0; i < 8; i++) round(i);
  expect([working.sent, heard]).toEqual([
    [0, 1, 2, 3, 4, 5, 6, 7],
    [0, 1, 2, 3, 4, 5, 6, 7],
  ]);
  expect(transports.customAddrs).toEqual([{ type: 'custom', id: 2n, data: Uint8Array.of(2) }]);
  // Upstream gives up once all have failed eight times.
  working.isBroken = true;
  for (let i = 0; i < 20; i++) transports.send([datagram(toBroken!), datagram(toWorking!)]);
  expect(transports.customAddrs).toEqual([]);
  broken.isBroken = working.isBroken = false;
  round(42);
  expect([broken.sent, working.sent.at(-1), heard.at(-1)]).toEqual([[42], 42, 42]);
  broken.isBroken = true;
  await transports.close();
});
