/**
 * The triggers of the Socket actor, each by the name that iroh's own description gives it: event in, exact actions out. Then all
 * of it in one chain, on whole endpoints. In virtual time.
 */
import { describe, expect, test } from '@jest/globals';
import { actorOf } from '../../src/actors/internals.ts';
import { parseAddr, toAddr } from '../../src/base/socket-addr.ts';
import {
  EndpointAddr,
  MemoryLookup,
  type AddressLookup,
  type EndpointId,
  type PublishedData,
} from '../../src/index.ts';
import { MAX_RE_STUN_INTERVAL_MS, MIN_RE_STUN_INTERVAL_MS } from '../../src/machines/socket.ts';
import type { DatagramTransport } from '../../src/transport/datagram.ts';
import { NETWORK_DEBOUNCE_MS, NETWORK_LOOK_INTERVAL_MS } from '../../src/transport/network-monitor.ts';
import { echo, engineOf, simulated } from '../support/endpoints.ts';
import { RemoteRig } from '../support/remote-rig.ts';
import { relayUrl, SocketRig } from '../support/socket-rig.ts';

/** A socket actor whose first report is done, with a home relay and a port mapper. */
async function started(): Promise<SocketRig> {
  const rig = new SocketRig({
    reportMs: 100,
    report: () => ({ udpV4: true, preferredRelay: relayUrl(0), globalV4: toAddr('203.0.113.5', 999) }),
    hasPortMapper: true,
  });
  rig.actor.start();
  await rig.run(200);
  return rig;
}

/** What a report does that finds what the last one found. */
const REPORT_TAKEN = ['home https://relay0.example/'];

describe('event in, exact actions out', () => {
  test('NetworkChange, major', async () => {
    const rig = await started();
    const story = await rig.during(
      () => void rig.actor.sender('test').send({ type: 'forceNetworkChange', isMajor: true }),
      150,
    );
    expect(story).toEqual([
      'rebind',
      'check relays',
      'cut back-off',
      'map 4242',
      'notify major',
      'full report',
      ...REPORT_TAKEN,
    ]);
    await rig.stop();
  });

  test('NetworkChange, minor', async () => {
    const rig = await started();
    const story = await rig.during(
      () => void rig.actor.sender('test').send({ type: 'forceNetworkChange', isMajor: false }),
      150,
    );
    expect(story).toEqual(['map 4242', 'notify minor', 'report', ...REPORT_TAKEN]);
    await rig.stop();
  });

  test('PeriodicReStun', async () => {
    const rig = await started();
    const quiet = await rig.during(() => undefined, MIN_RE_STUN_INTERVAL_MS - 150);
    expect(quiet).toEqual([]);
    const story = await rig.during(() => undefined, MAX_RE_STUN_INTERVAL_MS - MIN_RE_STUN_INTERVAL_MS + 200);
    expect(story).toEqual(['map 4242', 'report', ...REPORT_TAKEN]);
    await rig.stop();
  });

  test('PortmapUpdated', async () => {
    const rig = await started();
    const addr = toAddr('203.0.113.5', 4_242);
    const story = await rig.during(() => void rig.mappedAddr.set(addr), 150);
    expect(story).toEqual(['publish', 'map 4242', 'report', ...REPORT_TAKEN]);
    expect(rig.published.at(-1)!.directAddrs[0]).toEqual({ addr, type: 'portmapped' });
    await rig.stop();
  });

  test('RelayMapChange', async () => {
    const rig = await started();
    const story = await rig.during(
      () => void rig.actor.sender('test').send({ type: 'relayMapChanged' }),
      150,
    );
    expect(story).toEqual(['map 4242', 'full report', ...REPORT_TAKEN]);
    await rig.stop();
  });

  test('DirectAddrRefresh', async () => {
    const rig = await started();
    const refresh = (): void => void rig.actor.sender('test').send({ type: 'directRefresh' });
    expect(await rig.during(refresh, 150)).toEqual([]);
    rig.externalAddrs.add(toAddr('203.0.113.9', 80));
    expect(await rig.during(refresh, 150)).toEqual(['publish']);
    expect(rig.actor.directAddrs.value.map(({ type }) => type)).toEqual(['qad', 'local', 'config']);
    await rig.stop();
  });

  test('ResolveRemote: the remote is made, its addresses are first-flight targets, the asker has a mapped address', async () => {
    const asked: EndpointId[] = [];
    const lookup: AddressLookup = {
      name: 'book',
      async *resolve(id) {
        asked.push(id);
        yield new EndpointAddr(id).withIp(parseAddr('192.0.2.2:2'));
      },
    };
    const rig = new RemoteRig({ lookups: [lookup] });
    expect([rig.map.size, rig.targets]).toEqual([0, []]);
    const given = parseAddr('192.0.2.1:1');
    const mapped = await rig.world.run(
      rig.map.resolve(new EndpointAddr(rig.id).withIp(given), undefined),
      10,
    );
    expect(rig.map.size).toBe(1);
    expect(rig.mapped.lookup(mapped)).toMatchObject({ type: 'endpoint', id: rig.id });
    await rig.run(10);
    // What the asker knows, and what the services know.
    expect(asked.map(String)).toEqual([String(rig.id)]);
    expect(rig.targets.map(({ text }) => text)).toEqual(['192.0.2.1:1', '192.0.2.2:2']);
    expect(rig.connections).toEqual([]);
    rig.map.stop();
  });

  test('AddConnection: our addresses are offered on it, hole punching begins, its path is the selected one', async () => {
    const rig = new RemoteRig();
    const own = parseAddr('198.51.100.9:9');
    rig.setDirect(own);
    // The peer said so while the handshake was finished.
    rig.onConnection = ({ remoteNat }) => void remoteNat.add(parseAddr('192.0.2.3:3'));
    const connection = await rig.connect('client', parseAddr('192.0.2.1:1'));
    await rig.run(10);
    expect(rig.map.size).toBe(1);
    expect([...connection.localNat]).toEqual([own]);
    expect(
      connection.rounds.map(({ local, remote }) => [local, remote].flat().map(({ text }) => text)),
    ).toEqual([['198.51.100.9:9', '192.0.2.3:3']]);
    expect(connection.events.map((event) => event.type)).toEqual(['opened', 'selected']);
    expect(rig.selected).toBe('direct');
    connection.close();
    connection.tellAll();
    rig.map.stop();
  });
});

/** Notes what it is told. */
class Notebook implements AddressLookup {
  readonly name: string;
  readonly told: PublishedData[] = [];

  constructor(name: string) {
    this.name = name;
  }

  publish(data: PublishedData): void {
    this.told.push(data);
  }

  resolve(id: EndpointId): AsyncIterable<EndpointAddr> {
    return new MemoryLookup().resolve(id);
  }
}

test(
  'from a change of the network to the peer: a report, addr$, every lookup service, new candidates on live connections, QUIC',
  simulated(async (place) => {
    const site = await place.addRelay();
    const books = [new Notebook('first'), new Notebook('second')];
    const server = await place.serve(place.using(site));
    const client = await place.bind({
      ...place.using(site),
      bind: ['0.0.0.0:4433'],
      lookup: books,
    });
    await place.online(server, client);
    const { ours, theirs } = await place.dial(client, server, place.relayAddrOf(server));
    await place.sleep(5_000);
    const selected = (): string | undefined =>
      ours.paths.find(({ isSelected }) => isSelected)?.remoteAddr.type;
    expect(selected()).toBe('ip');
    const reports = client.metrics().value('reports_full');
    const addrs: EndpointAddr[] = [];
    const subscription = client.addr$.subscribe((addr) => addrs.push(addr));
    const newIp = '10.9.9.9';
    const has = (addr: EndpointAddr): boolean => addr.ips.some(({ ip }) => ip === newIp);
    expect([addrs.length, addrs.some(has)]).toEqual([1, false]);
    const opened: string[] = [];
    theirs.pathEvents$.subscribe((event) => {
      if (event.type === 'opened' && event.remoteAddr.type === 'ip') opened.push(event.remoteAddr.addr.ip);
    });
    const told = books.map((book) => book.told.length);

    const engine = engineOf(ours);
    const quicTold: number[] = [];
    const { handleNetworkChange } = engine;
    engine.handleNetworkChange = function (...args): void {
      quicTold.push(place.clock.now());
      handleNetworkChange.apply(this, args);
    };
    const host = place.hostOf(client);
    host.setIps([newIp, ...host.ips.filter((ip) => ip.startsWith('127.'))]);
    await place.sleep(5_000);

    expect(client.metrics().value('reports_full')).toBe(reports + 1);
    expect(client.netReport!.globalV4!.ip).toBe(newIp);
    expect(has(addrs.at(-1)!)).toBe(true);
    for (const [i, book] of books.entries()) {
      expect(book.told.length).toBeGreaterThan(told[i]!);
      expect(book.told.at(-1)!.addr.toTicket()).toBe(client.addr.toTicket());
    }
    // The engine moved off the address that is gone, and the peer has a path to the new one.
    expect(opened).toContain(newIp);
    expect(selected()).toBe('ip');
    expect(quicTold).toHaveLength(1);
    const candidates = actorOf
      .get(ours)!
      .quic.localNatAddresses()
      .map(({ ip }) => ip);
    expect(candidates).toEqual([newIp]);
    subscription.unsubscribe();
  }),
);

test(
  'a socket that knows no way to a peer makes the monitor look at once',
  simulated(async (place) => {
    const host = place.world.addHost('host', '10.1.1.1', {});
    const inside = place.world.platformOf(host);
    const sockets: DatagramTransport[] = [];
    const endpoint = await place.bind({
      bind: ['0.0.0.0:0'],
      platform: {
        ...inside,
        bindUdp: async (request) => {
          const socket = await inside.bindUdp!(request);
          sockets.push(socket);
          return socket;
        },
      },
    });
    const ips = (): string[] => endpoint.addr.ips.map(({ ip }) => ip);
    await place.sleep(NETWORK_LOOK_INTERVAL_MS + 10);
    host.setIps(['10.1.1.2']);
    sockets[0]!.onNoRoute!();
    await place.sleep(NETWORK_DEBOUNCE_MS + 1);
    expect(ips()).toEqual(['10.1.1.2']);
    // The socket that takes its place is listened to as well.
    host.setIps(['10.1.1.3']);
    sockets.at(-1)!.onNoRoute!();
    await place.sleep(NETWORK_DEBOUNCE_MS + 1);
    expect([sockets.length > 1, ips()]).toEqual([true, ['10.1.1.3']]);
  }),
);

test(
  'a path that falls silent makes the monitor look before its turn',
  simulated(async (place) => {
    const host = place.world.addHost('host', '10.1.1.1', {});
    const inside = place.world.platformOf(host);
    let looks = 0;
    const server = await place.serve();
    const client = await place.bind({
      bind: ['0.0.0.0:0'],
      platform: {
        ...inside,
        interfaceState: () => {
          looks++;
          return inside.interfaceState();
        },
      },
    });
    const { ours, theirs } = await place.dial(client, server, server.addr);
    void echo(theirs);
    await place.ask(ours);
    /** How many looks there are before the next turn, from the moment of one. */
    const early = async (): Promise<number> => {
      for (const before = looks; looks === before;) await place.sleep(1);
      const before = looks;
      void place.ask(ours).catch(() => undefined);
      await place.sleep(NETWORK_LOOK_INTERVAL_MS - 10);
      return looks - before;
    };
    expect(await early()).toBe(0);
    host.down.dropIf = () => true;
    expect(await early()).toBeGreaterThan(0);
  }),
);
