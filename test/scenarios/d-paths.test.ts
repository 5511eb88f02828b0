/** Scenarios D: relayed, direct, and the way from one to the other. */
import { describe, expect, test } from '@jest/globals';
import { actorOf } from '../../src/actors/internals.ts';
import { Deferred } from '../../src/actors/wait.ts';
import { fromUtf8, utf8 } from '../../src/base/bytes.ts';
import { parseAddr } from '../../src/base/socket-addr.ts';
import {
  EndpointAddr,
  type AddressLookup,
  type Connection,
  type Endpoint,
  type Path,
  type PathEvent,
  type PathSelector,
  type TransportAddr,
} from '../../src/index.ts';
import { ALPN, echo, failure, simulated, type Simulated } from '../support/endpoints.ts';

/** Until every path that there can be is open. */
const SETTLED_MS = 3_000;

function told(event: PathEvent): string {
  return event.type === 'lagged' ? `lagged ${event.missed}` : `${event.type} ${event.remoteAddr.type}`;
}

/** Everything that is told of the paths of a connection, from now on. */
function storyOf(connection: Connection): string[] {
  const story: string[] = [];
  connection.pathEvents$.subscribe({
    next: (event) => story.push(told(event)),
    complete: () => story.push('end'),
  });
  return story;
}

function selectedOf({ paths }: Connection): Path | undefined {
  return paths.find(({ isSelected }) => isSelected);
}

/** Kinds of the open paths, the selected one in capitals. */
function kinds({ paths }: Connection): string[] {
  return paths.map(({ remoteAddr: { type }, isSelected }) => (isSelected ? type.toUpperCase() : type)).sort();
}

/** A connection dialled by relay alone that has had the time to become direct. */
async function becomeDirect(place: Simulated) {
  const site = await place.addRelay();
  const { client, server } = await place.relayedPair([site]);
  const both = await place.dial(client, server, place.relayAddrOf(server));
  void echo(both.theirs);
  await place.sleep(SETTLED_MS);
  return { site, client, server, ...both };
}

/** Lets nothing through between two endpoints but what goes over relays. */
function cutDirect(place: Simulated, ...endpoints: readonly Endpoint[]): (isCut: boolean) => void {
  const ips = new Set(endpoints.flatMap((endpoint) => place.hostOf(endpoint).ips));
  return (isCut) => {
    for (const endpoint of endpoints) {
      const { down } = place.hostOf(endpoint);
      down.dropIf = isCut ? ({ from }) => ips.has(from.ip) : undefined;
    }
  };
}

describe('relays and direct paths', () => {
  test(
    'D01: with direct addresses alone there is one direct path, and it stays',
    simulated(async (place) => {
      const { ours, theirs } = await place.connect();
      void echo(theirs);
      const stories = [storyOf(ours), storyOf(theirs)];
      for (let minute = 0; minute < 6; minute++) {
        expect(fromUtf8((await place.ask(ours)).answer)).toBe('ping');
        await place.sleep(10_000);
      }
      expect([kinds(ours), kinds(theirs)]).toEqual([['IP'], ['IP']]);
      expect(stories).toEqual([
        ['opened ip', 'selected ip'],
        ['opened ip', 'selected ip'],
      ]);
    }),
  );

  test(
    'D02: dialled by relay alone, a connection becomes direct, and both sides see it',
    simulated(async (place) => {
      const site = await place.addRelay();
      const { client, server } = await place.relayedPair([site]);
      const { ours, theirs } = await place.dial(client, server, place.relayAddrOf(server));
      const story = storyOf(ours);
      await place.sleep(2_000);
      for (const connection of [ours, theirs]) expect(kinds(connection)).toEqual(['IP', 'relay']);
      expect(story).toEqual(['opened relay', 'selected relay', 'opened ip', 'selected ip']);
    }),
  );

  test(
    'D02: through NATs as well, also if one of them is strict and the other one open',
    simulated(async (place) => {
      const site = await place.addRelay();
      for (const [one, other] of [
        ['moderate', 'moderate'],
        ['strict', 'open'],
      ] as const) {
        place.nat = one;
        const server = await place.serve(place.using(site));
        place.nat = other;
        const client = await place.bind(place.using(site));
        await place.online(server, client);
        const { ours, theirs } = await place.dial(client, server, place.relayAddrOf(server));
        await place.sleep(8_000);
        expect([one, other, kinds(ours), kinds(theirs)]).toEqual([
          one,
          other,
          ['IP', 'relay'],
          ['IP', 'relay'],
        ]);
      }
    }),
  );

  test(
    'D03: without IP on either side one relay path carries everything, and stays',
    simulated(async (place) => {
      const site = await place.addRelay();
      const options = { pathPolicy: 'relay' } as const;
      const { client, server } = await place.relayedPair([site], { client: options, server: options });
      expect([client.boundSockets, server.addr.addrs.map(({ type }) => type)]).toEqual([[], ['relay']]);
      const { ours, theirs } = await place.dial(client, server, server.addr);
      void echo(theirs);
      const bytes = new Uint8Array(200_000).fill(7);
      expect((await place.ask(ours, bytes)).answer).toEqual(bytes);
      await place.sleep(20_000);
      expect([kinds(ours), kinds(theirs)]).toEqual([['RELAY'], ['RELAY']]);
      expect(client.metrics().value('holepunch_attempts')).toBe(0);
    }),
  );

  test(
    'D04: dialled directly and by relay, the direct path comes first and the relay is a backup on both sides',
    simulated(async (place) => {
      const site = await place.addRelay({ delayMs: 40 });
      const { client, server } = await place.relayedPair([site]);
      const { ours, theirs } = await place.dial(client, server, server.addr);
      expect(selectedOf(ours)).toMatchObject({ id: 0, remoteAddr: { type: 'ip' } });
      await place.sleep(5_000);
      for (const connection of [ours, theirs]) {
        expect(kinds(connection)).toEqual(['IP', 'relay']);
        for (const { isSelected, status, state } of connection.paths) {
          expect(status).toBe(isSelected ? 'available' : 'backup');
          expect(state).toBe(isSelected ? 'available' : 'backup');
        }
      }
    }),
  );

  test(
    'D05: once direct, a megabyte leaves the relay alone',
    simulated(async (place) => {
      const { client, ours, theirs } = await becomeDirect(place);
      const before = client.metrics().value('send_relay');
      const send = await ours.openUni();
      const received = theirs.acceptUni(place.wait).then((recv) => recv.readToEnd(1_000_000));
      await send.write(new Uint8Array(1_000_000));
      send.finish();
      expect((await received).length).toBe(1_000_000);
      expect(client.metrics().value('send_relay') - before).toBeLessThan(10_000);
      expect(client.metrics().value('send_ipv4')).toBeGreaterThan(1_000_000);
    }),
  );

  test(
    'D06: a relay that cannot be reached is no hindrance to a direct connection',
    simulated(async (place) => {
      const site = await place.addRelay();
      site.goDown();
      const server = await place.serve(place.using(site));
      const client = await place.bind(place.using(site));
      const addr = new EndpointAddr(server.id, [
        ...place.addrOf(server).addrs,
        { type: 'relay', url: site.relay.url },
      ]);
      const startedAt = place.clock.now();
      const { ours, theirs } = await place.dial(client, server, addr);
      expect(place.clock.now() - startedAt).toBeLessThan(200);
      void echo(theirs);
      await place.sleep(20_000);
      expect(fromUtf8((await place.ask(ours)).answer)).toBe('ping');
      expect(kinds(ours)).toEqual(['IP']);
    }),
  );

  test(
    'D07: paths as they are now, then each change; they end with the connection',
    simulated(async (place) => {
      const { ours, theirs } = await becomeDirect(place);
      const seen: string[][] = [];
      const ends = [0, 0];
      for (const [index, connection] of [ours, theirs].entries()) {
        connection.paths$.subscribe({
          next: (paths) => seen.push(paths.map(({ remoteAddr }) => remoteAddr.type)),
          complete: () => ends[index]!++,
        });
      }
      expect(seen).toEqual([
        ['relay', 'ip'],
        ['relay', 'ip'],
      ]);
      ours.close();
      // What waits for the other side is a burst away, no round trip.
      await place.sleep(0);
      expect(ends[0]).toBe(1);
      await theirs.closed;
      await place.sleep(0);
      expect(ends).toEqual([1, 1]);
      expect([seen.at(-1), ours.paths, theirs.paths]).toEqual([[], [], []]);
    }),
  );

  test(
    'D08, inv-R12: paths open, are selected, and close once each with their counters before the story ends',
    simulated(async (place) => {
      const site = await place.addRelay();
      const { client, server } = await place.relayedPair([site]);
      const { ours, theirs } = await place.dial(client, server, place.relayAddrOf(server));
      const story = storyOf(ours);
      const closed: PathEvent[] = [];
      ours.pathEvents$.subscribe((event) => event.type === 'closed' && closed.push(event));
      void echo(theirs);
      await place.sleep(SETTLED_MS);
      await place.ask(ours, new Uint8Array(50_000));
      ours.close(3);
      await place.sleep(0);
      expect(story).toEqual([
        'opened relay',
        'selected relay',
        'opened ip',
        'selected ip',
        'closed relay',
        'closed ip',
        'end',
      ]);
      for (const event of closed)
        expect(event).toMatchObject({ reason: { type: 'connectionClosed' }, stats: expect.anything() });
      const sent = closed.map((event) => (event.type === 'closed' ? event.stats!.udpTx.bytes : 0));
      expect(sent[1]).toBeGreaterThan(50_000);
      expect(sent[0]).toBeGreaterThan(1_000);
    }),
  );

  test(
    'D09: a slow reader of path events hears how many it missed, then goes on',
    simulated(async (place) => {
      const { ours } = await place.connect();
      const events = ours.pathEvents();
      expect((await events.next()).value).toMatchObject({ type: 'opened' });
      // One of those from before is still to be read.
      const { paths } = actorOf.get(ours)!;
      const { remote, local } = paths.open.get(0)!;
      for (let id = 1; id <= 12; id++) paths.opened(id, remote, local);
      expect((await events.next()).value).toEqual({ type: 'lagged', missed: 5 });
      expect((await events.next()).value).toMatchObject({ type: 'opened', id: 5 });
      await events.return();
    }),
  );

  test(
    'D14: a custom transport alone carries a connection',
    simulated(async (place) => {
      const network = place.addCustomNetwork();
      const bind = async (name: string, alpns: string[]): Promise<Endpoint> => {
        const host = place.world.addHost(name, `10.9.0.${name.length}`);
        const platform = { ...place.world.platformOf(host), bindUdp: undefined };
        return place.bind({ platform, alpns, transports: [network.transport(name)] });
      };
      const server = await bind('sandra', [ALPN]);
      const client = await bind('kim', []);
      expect(server.addr.addrs).toEqual([network.addrOf('sandra')]);
      const { ours, theirs } = await place.dial(client, server, server.addr);
      void echo(theirs);
      const bytes = new Uint8Array(100_000).fill(9);
      expect((await place.ask(ours, bytes)).answer).toEqual(bytes);
      expect([kinds(ours), kinds(theirs)]).toEqual([['CUSTOM'], ['CUSTOM']]);
      expect(ours.paths[0]).toMatchObject({ remoteAddr: network.addrOf('sandra'), localAddr: undefined });
      expect(client.metrics().value('send_custom')).toBeGreaterThan(100_000);
      expect(client.metrics().value('recv_data_custom')).toBeGreaterThan(100_000);
      await client.close();
      expect(network.size).toBe(1);
    }),
  );

  test(
    'D14: addresses of a custom transport that is all there is are told when they change',
    simulated(async (place) => {
      const network = place.addCustomNetwork();
      const transport = network.transport('sandra');
      let addr = utf8('sandra');
      let tell = (): void => undefined;
      const published: (readonly TransportAddr[])[] = [];
      const endpoint = await place.bind({
        platform: { ...place.world.platformOf(place.world.addHost('host', '10.9.0.1')), bindUdp: undefined },
        transports: [
          {
            ...transport,
            bind: async () => {
              const socket = await transport.bind();
              Object.defineProperty(socket, 'localAddrs', { get: () => [addr] });
              tell = () => socket.onLocalAddrs!();
              return socket;
            },
          },
        ],
        lookup: { name: 'book', publish: ({ addr: { addrs } }) => void published.push(addrs) },
      });
      expect(endpoint.addr.addrs).toEqual([network.addrOf('sandra')]);
      addr = utf8('sandra at work');
      tell();
      await place.sleep(0);
      const [before, after] = [network.addrOf('sandra'), network.addrOf('sandra at work')];
      expect(endpoint.addr.addrs).toEqual([after]);
      expect(published).toEqual([[before], [after]]);
    }),
  );

  test(
    'D15: a custom transport that can tell at which of our addresses datagrams arrive: paths have it',
    simulated(async (place) => {
      const network = place.addCustomNetwork();
      const server = await place.serve({ transports: [network.transport('sandra')] });
      const client = await place.bind({ transports: [network.transport('kim')] });
      const { ours, theirs } = await place.dial(
        client,
        server,
        new EndpointAddr(server.id, [network.addrOf('sandra')]),
      );
      await place.sleep(SETTLED_MS);
      const locals = (connection: Connection) =>
        connection.paths.map(({ remoteAddr, localAddr, localCustomAddr }) =>
          remoteAddr.type === 'custom' ? [localAddr, fromUtf8(localCustomAddr!)] : localCustomAddr,
        );
      // The direct paths have no such address, and the custom ones no other.
      expect(locals(ours)).toEqual([[undefined, 'kim'], undefined]);
      expect(locals(theirs)).toEqual([[undefined, 'sandra'], undefined]);
      // To look is not to change.
      ours.paths[0]!.localCustomAddr!.fill(0);
      expect(locals(ours)[0]).toEqual([undefined, 'kim']);
    }),
  );

  test(
    'D16: of a custom path and a direct one the selector takes what it prefers',
    simulated(async (place) => {
      const preferring =
        (type: string): PathSelector =>
        (candidates) =>
          candidates.find(({ remoteAddr }) => remoteAddr.type === type) ?? candidates[0];
      for (const type of ['custom', 'ip']) {
        const network = place.addCustomNetwork();
        const pathSelector = preferring(type);
        const server = await place.serve({ transports: [network.transport('server')], pathSelector });
        const client = await place.bind({ transports: [network.transport('client')], pathSelector });
        const { ours, theirs } = await place.dial(client, server, server.addr);
        await place.sleep(SETTLED_MS);
        for (const connection of [ours, theirs]) expect(selectedOf(connection)?.remoteAddr.type).toBe(type);
        expect(kinds(ours)).toHaveLength(2);
      }
    }),
  );

  test(
    'D17: a custom path takes over from a relay that was first',
    simulated(async (place) => {
      const site = await place.addRelay();
      const network = place.addCustomNetwork();
      // Slower than the relay.
      network.delayMs = 100;
      const server = await place.serve({ ...place.using(site), transports: [network.transport('server')] });
      const client = await place.bind({ ...place.using(site), transports: [network.transport('client')] });
      await place.online(server, client);
      cutDirect(place, client, server)(true);
      const addr = new EndpointAddr(
        server.id,
        server.addr.addrs.filter(({ type }) => type !== 'ip'),
      );
      const { ours, theirs } = await place.dial(client, server, addr);
      expect(selectedOf(ours)?.remoteAddr.type).toBe('relay');
      await place.sleep(SETTLED_MS);
      for (const connection of [ours, theirs]) expect(kinds(connection)).toEqual(['CUSTOM', 'relay']);
    }),
  );

  test(
    'D18: what is known of a peer: nothing, addresses in use, addresses, and after a minute nothing again',
    simulated(async (place) => {
      const { client, server, ours } = await place.connect();
      const other = await place.bind();
      expect(await client.remoteInfo(other.id)).toBeUndefined();
      const [addr] = place.addrOf(server).addrs;
      const known = (usage: string) => ({
        id: server.id,
        addrs: [{ addr, usage, sources: ['app', 'connection'] }],
      });
      expect(await client.remoteInfo(server.id)).toEqual(known('active'));
      ours.close();
      await place.sleep(59_000);
      expect(await client.remoteInfo(server.id.toString())).toEqual(known('inactive'));
      // To ask is to use.
      await place.sleep(59_000);
      expect(await client.remoteInfo(server.id)).toBeDefined();
      await place.sleep(61_000);
      expect(await client.remoteInfo(server.id)).toBeUndefined();
    }),
  );

  test(
    'D19: a second connection to the same peer goes the way of the first',
    simulated(async (place) => {
      const { client, server, ours } = await becomeDirect(place);
      const second = await place.dial(client, server, place.relayAddrOf(server));
      await place.sleep(SETTLED_MS);
      for (const connection of [ours, second.ours, second.theirs]) {
        const [direct, ...others] = connection.paths.filter(({ remoteAddr }) => remoteAddr.type === 'ip');
        expect(others).toEqual([]);
        expect(direct).toMatchObject({ isSelected: true, status: 'available' });
      }
      expect(selectedOf(second.ours)?.remoteAddr).toEqual(selectedOf(ours)?.remoteAddr);
      expect(
        (await client.remoteInfo(server.id))?.addrs.filter(({ usage }) => usage === 'active').length,
      ).toBe(2);
    }),
  );

  test(
    'D20: a direct path that goes silent is given up, and the relay carries on without an error',
    simulated(async (place) => {
      const { client, server, ours, theirs } = await becomeDirect(place);
      const story = storyOf(ours);
      cutDirect(place, client, server)(true);
      const cutAt = place.clock.now();
      const bytes = new Uint8Array(100_000).fill(5);
      const { answer, tookMs } = await place.ask(ours, bytes);
      expect(answer).toEqual(bytes);
      expect(tookMs).toBeLessThan(2_000);
      while (kinds(ours).includes('ip') || kinds(theirs).includes('ip')) {
        await place.ask(ours);
        await place.sleep(500);
      }
      expect(place.clock.now() - cutAt).toBeLessThan(16_000);
      expect([kinds(ours), kinds(theirs)]).toEqual([['RELAY'], ['RELAY']]);
      expect(story).toEqual(expect.arrayContaining(['selected relay', 'closed ip']));
    }),
  );
});

describe('what the application says about paths', () => {
  test(
    'pathPolicy direct: no relay is dialled, named, or used',
    simulated(async (place) => {
      const site = await place.addRelay();
      const options = { ...place.using(site), pathPolicy: 'direct' } as const;
      const server = await place.serve(options);
      const client = await place.bind(options);
      await place.sleep(5_000);
      expect([server.homeRelay, server.addr.addrs.map(({ type }) => type)]).toEqual([undefined, ['ip']]);
      const { ours } = await place.dial(client, server, server.addr);
      await place.sleep(5_000);
      expect(kinds(ours)).toEqual(['IP']);
      const byRelay = new EndpointAddr(server.id, [{ type: 'relay', url: site.relay.url }]);
      const other = await place.bind(options);
      expect(await failure(other.connect(byRelay, ALPN))).toMatchObject({
        code: 'ConnectError.NoAddress.NoServiceConfigured',
      });
      expect(site.relay.dials).toBe(0);
    }),
  );

  test(
    'pathPolicy relay on one side: the other one learns no address and stays on the relay',
    simulated(async (place) => {
      const site = await place.addRelay();
      const { client, server } = await place.relayedPair([site], { server: { pathPolicy: 'relay' } });
      const { ours, theirs } = await place.dial(client, server, server.addr);
      await place.sleep(20_000);
      expect([kinds(ours), kinds(theirs)]).toEqual([['RELAY'], ['RELAY']]);
      expect(client.metrics().value('holepunch_attempts')).toBeLessThanOrEqual(1);
      expect((await client.remoteInfo(server.id))?.addrs.map(({ addr }) => addr.type)).toEqual(['relay']);
    }),
  );

  test(
    'pathSelector: what it picks carries data, and it sees no mapped address',
    simulated(async (place) => {
      const seen = new Set<string>();
      const pathSelector: PathSelector = (candidates) => {
        for (const { remoteAddr, localAddr } of candidates)
          seen.add(`${remoteAddr.type} from ${localAddr === undefined ? 'nowhere' : localAddr.ip}`);
        return candidates.find(({ remoteAddr }) => remoteAddr.type === 'relay');
      };
      const site = await place.addRelay();
      const { client, server } = await place.relayedPair([site], { client: { pathSelector } });
      const { ours, theirs } = await place.dial(client, server, place.relayAddrOf(server));
      void echo(theirs);
      await place.sleep(SETTLED_MS);
      const before = client.metrics().value('send_relay');
      await place.ask(ours, new Uint8Array(100_000));
      expect(client.metrics().value('send_relay') - before).toBeGreaterThan(100_000);
      expect(kinds(ours)).toEqual(['RELAY', 'ip']);
      expect([...seen].sort()).toEqual(['ip from 10.0.0.2', 'relay from nowhere']);
    }),
  );

  test(
    'pathSelector: one that throws, or returns what it made up, is passed over',
    simulated(async (place) => {
      const site = await place.addRelay();
      const throwing: PathSelector = () => {
        throw new Error('no idea');
      };
      const inventing: PathSelector = (candidates) => ({ ...candidates[0]! });
      for (const pathSelector of [throwing, inventing]) {
        const lines: string[] = [];
        const logger = { debug: (line: string) => void lines.push(line) };
        const { client, server } = await place.relayedPair([site], { client: { pathSelector, logger } });
        const { ours } = await place.dial(client, server, place.relayAddrOf(server));
        await place.sleep(SETTLED_MS);
        expect(kinds(ours)).toEqual(['IP', 'relay']);
        expect(lines.filter((line) => line.includes('the path selector failed')).length).toBeGreaterThan(0);
      }
    }),
  );

  test(
    'pathSelector: none of them: nothing is selected, and data flows all the same',
    simulated(async (place) => {
      const { ours, theirs } = await place.connect({ client: { pathSelector: () => undefined } });
      void echo(theirs);
      expect(fromUtf8((await place.ask(ours)).answer)).toBe('ping');
      expect(kinds(ours)).toEqual(['ip']);
    }),
  );
});

describe('a direct path that is found, lost, and found again', () => {
  test(
    'a relayed connection becomes direct by a looked-up address alone: its peer names none',
    simulated(async (place) => {
      const site = await place.addRelay({ hasDiscovery: false });
      const found = new Deferred<EndpointAddr>();
      const lookup: AddressLookup = {
        name: 'slow',
        timeLimitMs: Infinity,
        async *resolve() {
          yield await found.promise;
        },
      };
      const host = place.world.addHost('unnamed', '10.8.0.1');
      const platform = {
        ...place.world.platformOf(host),
        interfaceState: () => ({ interfaces: [], defaultRoute: 'eth0', isExpensive: false }),
      };
      const server = await place.serve({ ...place.using(site), platform, bind: ['0.0.0.0:4433'] });
      // Nobody reaches the client who was not written to.
      place.nat = 'moderate';
      const client = await place.bind({ ...place.using(site), lookup });
      await place.online(server, client);
      expect(server.addr.addrs.map(({ type }) => type)).toEqual(['relay']);
      const { ours, theirs } = await place.dial(client, server, server.addr);
      await place.sleep(10_000);
      expect([kinds(ours), kinds(theirs)]).toEqual([['RELAY'], ['RELAY']]);
      found.resolve(new EndpointAddr(server.id).withIp(parseAddr('10.8.0.1:4433')));
      await place.sleep(SETTLED_MS);
      expect([kinds(ours), kinds(theirs)]).toEqual([
        ['IP', 'relay'],
        ['IP', 'relay'],
      ]);
      expect((await client.remoteInfo(server.id))?.addrs).toContainEqual(
        expect.objectContaining({ usage: 'active', sources: ['slow', 'connection'] }),
      );
    }),
  );

  test(
    'a black hole: bytes flow again within a second, and directly once it is gone',
    simulated(async (place) => {
      const { client, server, ours, theirs } = await becomeDirect(place);
      const cut = cutDirect(place, client, server);
      await place.ask(ours);
      cut(true);
      expect((await place.ask(ours)).tookMs).toBeLessThan(1_000);
      // From now on the relay is the way: no probing of the hole holds anything up.
      expect((await place.ask(ours)).tookMs).toBeLessThan(200);
      await place.sleep(30_000);
      expect((await place.ask(ours)).tookMs).toBeLessThan(200);
      expect([kinds(ours), kinds(theirs)]).toEqual([['RELAY'], ['RELAY']]);
      cut(false);
      await place.sleep(65_000);
      expect([kinds(ours), kinds(theirs)]).toEqual([
        ['IP', 'relay'],
        ['IP', 'relay'],
      ]);
      const { tookMs } = await place.ask(ours);
      expect(tookMs).toBeLessThan(60);
    }),
  );

  test(
    'H04: sockets bound anew after a change of the network: data arrives without other traffic',
    simulated(async (place) => {
      const { client, server, ours, theirs } = await place.connect();
      void echo(theirs);
      await place.sleep(1_000);
      for (const endpoint of [client, server]) {
        const host = place.hostOf(endpoint);
        place.world.interfacesOf(host).addInterface('eth1', [`10.1.0.${place.hosts.indexOf(host)}`]);
        endpoint.networkChanged();
        expect((await place.ask(ours)).tookMs).toBeLessThan(1_500);
        await place.sleep(5_000);
        expect((await place.ask(ours)).tookMs).toBeLessThan(100);
      }
      expect(client.metrics().value('actor_link_change')).toBe(1);
    }),
  );
});
