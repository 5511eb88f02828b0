/**
 * What is killed, paused or taken away while bytes flow: nothing hangs beyond its bound, and a stream that survives loses and
 * repeats no byte. In virtual time; processes that are killed and paused: kill-processes.test.ts.
 */
import { describe, expect, test } from '@jest/globals';
import type { Connection } from '../../src/index.ts';
import { ALPN, failure, simulated, type Pair, type Simulated } from '../support/endpoints.ts';
import { Flow } from '../support/flow.ts';
import { delay } from '../support/sim-network.ts';
import { StoppableClock } from '../support/stoppable-clock.ts';

/** Idle time-out of a connection after the last thing that was sent unasked, and three PTOs (RFC 9000 §10.1), ms. */
const IDLE_LIMIT_MS = 30_000 + 5_000 + 3_000;

/** Connected over one relay; `relay`: that is all there is. */
async function meet(place: Simulated, pathPolicy: 'any' | 'relay'): Promise<Pair & { flows: Flow[] }> {
  const site = await place.addRelay();
  const { client, server } = await place.relayedPair([site], {
    client: { pathPolicy },
    server: { pathPolicy },
  });
  const both = await place.dial(client, server, place.relayAddrOf(server));
  const flows = [
    new Flow(both.ours, both.theirs, place.clock),
    new Flow(both.theirs, both.ours, place.clock),
  ];
  await place.sleep(3_000);
  expect(selected(both.ours)).toBe(pathPolicy === 'any' ? 'ip' : 'relay');
  return { client, server, ...both, flows };
}

function selected({ paths }: Connection): string | undefined {
  return paths.find(({ isSelected }) => isSelected)?.remoteAddr.type;
}

async function finish(flows: readonly Flow[], atLeast = 10_000): Promise<void> {
  for (const flow of flows) {
    await flow.finish();
    expect(flow.written).toBeGreaterThan(atLeast);
  }
}

/** Both ends learn of it, and all that waits for the connection hears the same. */
async function expectTimedOut(
  place: Simulated,
  { ours, theirs }: Pair,
  flows: readonly Flow[],
): Promise<void> {
  const start = place.clock.now();
  const waiting = [
    failure(ours.acceptBi()),
    failure(ours.acceptUni()),
    failure(ours.readDatagram()),
    failure(theirs.acceptBi()),
  ];
  for (const { closed } of [ours, theirs])
    expect(await closed).toMatchObject({ code: 'ConnectionError.TimedOut' });
  expect(place.clock.now() - start).toBeLessThan(IDLE_LIMIT_MS);
  for (const error of await Promise.all(waiting))
    expect(error).toMatchObject({ code: 'ConnectionError.TimedOut' });
  for (const flow of flows) {
    await flow.done;
    // What came before was right.
    expect(flow.readError).toMatchObject({ code: 'ReadError.ConnectionLost' });
    expect(flow.read).toBeLessThanOrEqual(flow.written);
  }
}

describe('a relay is killed', () => {
  test(
    'with a direct path nobody notices; when it is back, it is the backup again',
    simulated(async (place) => {
      const { ours, theirs, flows } = await meet(place, 'any');
      const [site] = place.relays;
      site!.goDown();
      for (const flow of flows) flow.longestGapMs = 0;
      await place.sleep(40_000);
      expect([ours.closeReason, theirs.closeReason]).toEqual([undefined, undefined]);
      for (const { longestGapMs } of flows) expect(longestGapMs).toBeLessThan(100);
      site!.comeUp();
      await place.sleep(70_000);
      for (const { paths } of [ours, theirs])
        expect(paths.map(({ remoteAddr }) => remoteAddr.type).sort()).toEqual(['ip', 'relay']);
      await finish(flows);
    }),
  );

  // Who waited longer is dialled again later: after 16 s of outage the next dial may be beyond the idle time-out.
  test.each([
    ['for a second', 1_000],
    ['for 10 s', 10_000],
  ])('%s, and it was all there was: the stream goes on where it was', (_, ms) =>
    simulated(async (place) => {
      const { ours, theirs, flows } = await meet(place, 'relay');
      place.relays[0]!.goDown();
      await place.sleep(ms);
      place.relays[0]!.comeUp();
      await place.sleep(20_000);
      expect([ours.closeReason, theirs.closeReason]).toEqual([undefined, undefined]);
      await finish(flows);
    })(),
  );

  test(
    'for good, and it was all there was: the connection times out, and close does not wait',
    simulated(async (place) => {
      const pair = await meet(place, 'relay');
      place.relays[0]!.goDown();
      await expectTimedOut(place, pair, pair.flows);
      const start = place.clock.now();
      await pair.client.close();
      expect(place.clock.now() - start).toBeLessThan(500);
    }),
  );

  test(
    'it says nothing any more: found out by its silence, and made anew once it answers',
    simulated(async (place) => {
      const { ours, theirs, flows } = await meet(place, 'relay');
      place.relays[0]!.relay.fallSilent();
      await place.sleep(5_000);
      place.relays[0]!.relay.comeUp();
      await place.sleep(40_000);
      expect([ours.closeReason, theirs.closeReason]).toEqual([undefined, undefined]);
      await finish(flows);
    }),
  );
});

describe('a peer is killed', () => {
  test.each(['direct', 'relayed'])('%s: whoever waits for it hears of it in time', (how) =>
    simulated(async (place) => {
      const pair = await meet(place, how === 'direct' ? 'any' : 'relay');
      const [site] = place.relays;
      place.hostOf(pair.server).isUp = false;
      // Its TCP connections are dead as well. The other side makes its own anew.
      site!.relay.fallSilent();
      site!.relay.comeUp();
      const network = place.world.interfacesOf(place.hostOf(pair.server));
      network.defaultRoute = undefined;
      await expectTimedOut(place, pair, pair.flows);
      expect(await failure(pair.client.connect(place.relayAddrOf(pair.server), ALPN))).toMatchObject({
        code: 'ConnectError.Connection',
        message: expect.stringContaining('nothing was heard'),
      });
    })(),
  );
});

describe('the way out fails', () => {
  test(
    'the system refuses every datagram for a while: the relay carries on, then the direct path does',
    simulated(async (place) => {
      const site = await place.addRelay();
      const host = place.world.addHost('refusing', '10.0.9.1', { links: [delay(10)] });
      const platform = place.world.platformOf(host);
      let isRefusing = false;
      let refused = 0;
      const server = await place.serve(place.using(site));
      const client = await place.bind({
        ...place.using(site),
        bind: ['10.0.9.1:0'],
        platform: {
          ...platform,
          bindUdp: async (request) => {
            const transport = await platform.bindUdp!(request);
            const send = transport.send.bind(transport);
            transport.send = (batch, from, to) => {
              if (isRefusing) refused += to - from;
              else send(batch, from, to);
            };
            return transport;
          },
        },
      });
      await place.online(client, server);
      const both = await place.dial(client, server, place.relayAddrOf(server));
      const flows = [
        new Flow(both.ours, both.theirs, place.clock),
        new Flow(both.theirs, both.ours, place.clock),
      ];
      await place.sleep(3_000);
      expect(selected(both.ours)).toBe('ip');
      isRefusing = true;
      for (const flow of flows) flow.longestGapMs = 0;
      await place.sleep(5_000);
      expect(selected(both.ours)).toBe('relay');
      for (const { longestGapMs } of flows) expect(longestGapMs).toBeLessThan(1_000);
      isRefusing = false;
      await place.sleep(80_000);
      expect(selected(both.ours)).toBe('ip');
      expect(refused).toBeGreaterThan(10);
      await finish(flows);
    }),
  );

  test(
    'the interface is gone, and another one comes: paths and relay connections are made anew from there',
    simulated(async (place) => {
      const site = await place.addRelay();
      const { client, server } = await place.relayedPair([site], {
        client: { bind: ['0.0.0.0:0'] },
      });
      const both = await place.dial(client, server, place.relayAddrOf(server));
      const flows = [
        new Flow(both.ours, both.theirs, place.clock),
        new Flow(both.theirs, both.ours, place.clock),
      ];
      await place.sleep(3_000);
      const network = place.world.interfacesOf(place.hostOf(client));
      network.removeInterface('eth0');
      await place.sleep(8_000);
      network.addInterface('wlan0', ['10.1.0.1']);
      network.defaultRoute = 'wlan0';
      await place.sleep(20_000);
      expect([both.ours.closeReason, both.theirs.closeReason]).toEqual([undefined, undefined]);
      expect(selected(both.ours)).toBe('ip');
      await finish(flows);
    }),
  );

  test(
    "the peer's router has another address: the relay carries on, then a new direct path does, the dead one never again",
    simulated(async (place) => {
      place.nat = 'open';
      const { server, ours, flows } = await meet(place, 'any');
      const dead = ours.paths.find(({ isSelected }) => isSelected)!;
      const selections: string[] = [];
      ours.pathEvents$.subscribe((event) => {
        if (event.type === 'selected') selections.push(event.id === dead.id ? 'dead' : event.remoteAddr.type);
      });
      // Its packets come from there now; ours go where it was.
      place.world.network.moveNat(place.hostOf(server), '203.0.113.99');
      server.networkChanged();
      await place.sleep(40_000);
      expect(selections).toEqual(['dead', 'relay', 'ip']);
      await finish(flows);
    }),
  );

  test(
    'the interface is gone for good: the connection times out, a dial fails, close does not wait',
    simulated(async (place) => {
      const site = await place.addRelay();
      const { client, server } = await place.relayedPair([site], { client: { bind: ['0.0.0.0:0'] } });
      const both = await place.dial(client, server, place.relayAddrOf(server));
      await place.sleep(3_000);
      const start = place.clock.now();
      place.world.interfacesOf(place.hostOf(client)).removeInterface('eth0');
      expect(await both.ours.closed).toMatchObject({ code: 'ConnectionError.TimedOut' });
      expect(await both.theirs.closed).toMatchObject({ code: 'ConnectionError.TimedOut' });
      expect(place.clock.now() - start).toBeLessThan(IDLE_LIMIT_MS);
      expect(await failure(client.connect(place.relayAddrOf(server), ALPN))).toMatchObject({
        code: 'ConnectError.Connection',
        message: expect.stringContaining('nothing was heard'),
      });
      const closing = place.clock.now();
      await client.close();
      expect(place.clock.now() - closing).toBeLessThan(3_200);
    }),
  );
});

describe('the process sleeps', () => {
  /** A client whose process can be stopped: what comes meanwhile is lost, as the buffers of a system are small. */
  async function withSleeper(
    place: Simulated,
    isSuspended: boolean,
  ): Promise<Pair & { flows: Flow[]; sleep: (ms: number) => Promise<void> }> {
    const site = await place.addRelay();
    const host = place.world.addHost('sleeper', '10.0.9.1', { links: [delay(10)] });
    const clock = new StoppableClock(place.clock, isSuspended);
    const server = await place.serve(place.using(site));
    const client = await place.bind({
      ...place.using(site),
      bind: ['10.0.9.1:0'],
      platform: { ...place.world.platformOf(host), clock },
    });
    await place.online(client, server);
    const both = await place.dial(client, server, place.relayAddrOf(server));
    const flows = [new Flow(both.ours, both.theirs, clock), new Flow(both.theirs, both.ours, place.clock)];
    await place.sleep(3_000);
    const sleep = async (ms: number): Promise<void> => {
      clock.stop();
      host.isUp = false;
      await place.sleep(ms);
      host.isUp = true;
      clock.goOn();
    };
    return { client, server, ...both, flows, sleep };
  }

  test.each([
    ['process', false, 20_000],
    ['machine', true, 20_000],
  ])('a %s that slept shorter than the idle time-out goes on with its streams', (_, isSuspended, ms) =>
    simulated(async (place) => {
      const { ours, theirs, flows, sleep } = await withSleeper(place, isSuspended);
      await sleep(ms);
      await place.sleep(40_000);
      expect([ours.closeReason, theirs.closeReason]).toEqual([undefined, undefined]);
      await finish(flows);
    })(),
  );

  test.each([
    ['process', false],
    ['machine', true],
  ])('a %s that slept for ten minutes learns what it missed, and can dial again', (_, isSuspended) =>
    simulated(async (place) => {
      const { client, server, ours, theirs, flows, sleep } = await withSleeper(place, isSuspended);
      await sleep(600_000);
      const start = place.clock.now();
      expect(await theirs.closed).toMatchObject({ code: 'ConnectionError.TimedOut' });
      await ours.closed;
      expect(place.clock.now() - start).toBeLessThan(IDLE_LIMIT_MS);
      for (const flow of flows) {
        await flow.done;
        expect(flow.read).toBeLessThanOrEqual(flow.written);
      }
      const again = await place.dial(client, server, place.relayAddrOf(server));
      const flow = new Flow(again.ours, again.theirs, place.clock);
      await place.sleep(5_000);
      await finish([flow]);
    })(),
  );
});
