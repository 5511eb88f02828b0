/** How a whole endpoint ends: in the order of its chart, within its limits whoever hangs, and with nothing left. */
import { describe, expect, test } from '@jest/globals';
import { partsOf } from '../../src/actors/internals.ts';
import { utf8 } from '../../src/base/bytes.ts';
import { EndpointAddr, Router, type AddressLookup, type Endpoint, type RelayUrl } from '../../src/index.ts';
import { createRecorder, type Recorder } from '../../src/inspect/index.ts';
import { DEFAULT_DRAIN_LIMIT_MS, LOOKUP_GRACE_MS, RUNTIME_GRACE_MS } from '../../src/machines/endpoint.ts';
import { ACTOR_GRACE_MS } from '../../src/machines/socket.ts';
import { ALPN, failure, simulated, type Simulated } from '../support/endpoints.ts';

const hang = (): Promise<never> => new Promise(() => undefined);

function running(endpoint: Endpoint): string[] {
  return [...partsOf.get(endpoint)!.system.running];
}

function relayAddrOf(endpoint: Endpoint, url: RelayUrl): EndpointAddr {
  return new EndpointAddr(endpoint.id, [{ type: 'relay', url }]);
}

/** States that the endpoint's own chart entered, in order. */
function statesOf({ lines }: Recorder): string[] {
  return lines.flatMap((line) =>
    line.kind === 'transition' && /^endpoint [0-9a-f]+$/.test(line.actor) ? line.to : [],
  );
}

/** Closes, and says how long it took, ms. Nothing of the endpoint runs any more then. */
async function timeClose(place: Simulated, endpoint: Endpoint, timeoutMs?: number): Promise<number> {
  const start = place.clock.now();
  await endpoint.close(timeoutMs === undefined ? {} : { timeoutMs });
  expect(running(endpoint)).toEqual([]);
  return place.clock.now() - start;
}

/** Two endpoints at one relay, dialled over it; they have not become direct yet. */
async function connectOverRelay(
  place: Simulated,
  delayMs: number,
  options: { readonly inspect?: Recorder['inspect'] } = {},
): Promise<{ site: Awaited<ReturnType<Simulated['addRelay']>> } & Awaited<ReturnType<Simulated['connect']>>> {
  const site = await place.addRelay({ delayMs });
  const relayOnly = { ...place.using(site), pathPolicy: 'relay' } as const;
  const server = await place.serve(relayOnly);
  const client = await place.bind({ ...relayOnly, ...options });
  await Promise.all([client.online(place.wait), server.online(place.wait)]);
  const accepted = place.acceptOn(server);
  const ours = await client.connect(relayAddrOf(server, site.relay.url), ALPN, place.wait);
  return { site, client, server, ours, theirs: await accepted };
}

describe('an end in order', () => {
  test(
    'with a live connection the recording lists the states of the chart in order, and the peer hears code 0 in a round trip',
    simulated(async (place) => {
      const recorder = createRecorder();
      const site = await place.addRelay();
      const { client, ours, theirs } = await place.connect({
        client: { ...place.using(site), inspect: recorder.inspect },
        server: place.using(site),
      });
      const send = await ours.openUni();
      await send.write(utf8('not the end'));
      await place.sleep(1_000);
      const before = recorder.lines.length;
      // A round trip of 40 ms for the peer, and the relay's answer to our goodbye.
      expect(await timeClose(place, client)).toBeLessThanOrEqual(40 + 20 + 5);
      expect(await theirs.closed).toMatchObject({ code: 'ConnectionError.ApplicationClosed', errorCode: 0 });
      expect(statesOf(recorder)).toEqual([
        'closing',
        'closing.lookups',
        'closing.draining',
        'closing.actors',
        // Side by side; who needs no time is first.
        'closing.actors.lookups.stopped',
        'closing.actors.mapping.stopped',
        'closing.actors.remotes.stopped',
        'closing.actors.socket.stopped',
        'closing.actors.relays.stopped',
        'closing.runtime',
        'closing.runtime.sockets',
        'closing.runtime.done',
        'closing.done',
        'closed',
      ]);
      // E2: nobody has been stopped before the peers knew.
      const lines = recorder.lines.slice(before);
      const at = (isIt: (line: (typeof lines)[number]) => boolean): number => lines.findIndex(isIt);
      const told = at((line) => line.kind === 'transition' && line.to.includes('closing.actors'));
      const ended = at(
        (line) =>
          line.kind === 'state' && line.status === 'done' && /^(socket|remote|relay) /.test(line.actor),
      );
      expect(told).toBeGreaterThan(0);
      expect(ended).toBeGreaterThan(told);
    }),
  );

  test(
    'over a relay: the peer hears of it, however far the relay is, and it takes the round trips that there are',
    simulated(async (place) => {
      for (const delayMs of [10, 150]) {
        const { client, theirs } = await connectOverRelay(place, delayMs);
        const start = place.clock.now();
        const closing = timeClose(place, client);
        expect(await theirs.closed).toMatchObject({
          code: 'ConnectionError.ApplicationClosed',
          errorCode: 0,
        });
        // From client to relay to server.
        expect(place.clock.now() - start).toBeLessThanOrEqual(2 * delayMs + 5);
        // Until its answer is here; the far relay's answer to our goodbye is not waited for.
        expect(await closing).toBeLessThanOrEqual(4 * delayMs + ACTOR_GRACE_MS + 5);
      }
    }),
  );

  test(
    'over a relay that is far, with no time for peers: the last words are on their way all the same',
    simulated(async (place) => {
      const { client, theirs } = await connectOverRelay(place, 150);
      expect(await timeClose(place, client, 0)).toBe(ACTOR_GRACE_MS);
      expect(await theirs.closed).toMatchObject({ code: 'ConnectionError.ApplicationClosed', errorCode: 0 });
    }),
  );
});

describe('an end that somebody holds up', () => {
  test(
    'a lookup service that never answers and never closes: dials end at once, the end comes in its time',
    simulated(async (place) => {
      let isAborted = false;
      const stuck: AddressLookup = {
        name: 'stuck',
        timeLimitMs: Infinity,
        async *resolve(_id, { signal }) {
          signal.addEventListener('abort', () => (isAborted = true));
          await hang();
        },
        close: hang,
      };
      const server = await place.serve();
      const client = await place.bind({ lookup: stuck });
      const dialled = failure(client.connect(server.id, ALPN));
      await place.sleep(5_000);
      const start = place.clock.now();
      const closing = timeClose(place, client);
      expect(await dialled).toMatchObject({ code: 'ConnectError.EndpointStopping' });
      expect(place.clock.now()).toBe(start);
      expect(isAborted).toBe(true);
      expect(await closing).toBe(LOOKUP_GRACE_MS);
    }),
  );

  test.each([
    ['three round trips', undefined],
    ['the limit that was asked for', 200],
    ['no time', 0],
  ])('a peer that is silent costs %s', (_, timeoutMs) =>
    simulated(async (place) => {
      const { client, server, ours } = await place.connect();
      await place.sleep(1_000);
      place.hosts[0]!.isUp = false;
      const start = place.clock.now();
      const closing = timeClose(place, client, timeoutMs);
      expect(await ours.closed).toMatchObject({ code: 'ConnectionError.LocallyClosed' });
      expect(place.clock.now()).toBe(start);
      // Three PTOs of a way of 40 ms there and back.
      const limit = timeoutMs ?? 3 * (40 + 4 * 20 + 25);
      expect(await closing).toBeLessThanOrEqual(limit);
      expect(limit).toBeLessThan(DEFAULT_DRAIN_LIMIT_MS);
      await timeClose(place, server, 0);
    })(),
  );

  test(
    'an actor that does not stop: a relay that is silent is dropped at the limit, and nothing of it is left',
    simulated(async (place) => {
      const recorder = createRecorder();
      const { site, client, server } = await connectOverRelay(place, 10, { inspect: recorder.inspect });
      site.relay.fallSilent();
      expect(site.relay.lines.size).toBe(2);
      expect(await timeClose(place, client, 300)).toBe(300 + ACTOR_GRACE_MS);
      const over = recorder.lines
        .filter((line) => line.kind === 'transition' && /^relay /.test(line.actor))
        .at(-1);
      expect(over).toMatchObject({ to: ['stopped'] });
      expect(await timeClose(place, server, 0)).toBe(ACTOR_GRACE_MS);
      // Their ends are ours to free, the relay's are its own.
      expect([...site.relay.lines].map(({ openEnds }) => openEnds)).toEqual([1, 1]);
    }),
  );

  test(
    'a relay that is being dialled, and one that says nothing after the upgrade, hold up nobody',
    simulated(async (place) => {
      const [silent, mute] = [await place.addRelay(), await place.addRelay()];
      silent.relay.fallSilent();
      mute.relay.hub.accept = () => undefined;
      const client = await place.bind({ ...place.using(silent, mute), pathPolicy: 'relay' });
      const server = await place.serve();
      for (const { relay } of [silent, mute]) {
        const addr = relayAddrOf(server, relay.url);
        place.mustSettle('dial', client.connect(addr, ALPN));
      }
      await place.sleep(1_000);
      expect(running(client).filter((name) => name.startsWith('relay '))).toHaveLength(2);
      const took = await timeClose(place, client, 0);
      expect(took).toBeLessThanOrEqual(ACTOR_GRACE_MS);
    }),
  );

  test(
    'a socket that does not close',
    simulated(async (place) => {
      const { client, server, ours, theirs } = await place.connect({
        client: {
          transports: [
            {
              id: 7n,
              bind: async () => ({
                localAddrs: [],
                onDatagrams: undefined,
                onLocalAddrs: undefined,
                send: () => undefined,
                close: hang,
              }),
            },
          ],
        },
      });
      const took = await timeClose(place, client);
      expect(took).toBeGreaterThanOrEqual(RUNTIME_GRACE_MS);
      expect(took).toBeLessThanOrEqual(RUNTIME_GRACE_MS + 50);
      expect(await theirs.closed).toMatchObject({ errorCode: 0 });
      expect(ours.closeReason).toMatchObject({ code: 'ConnectionError.LocallyClosed' });
      await timeClose(place, server);
    }),
  );

  test(
    'a handler whose goodbye never ends: the limit of the router counts, and the endpoint is not held up',
    simulated(async (place) => {
      for (const isEndpointFirst of [false, true]) {
        const server = await place.bind();
        const client = await place.bind();
        const router = Router.builder(server).accept(ALPN, { accept: hang, shutdown: hang }).spawn();
        const ours = await client.connect(place.addrOf(server), ALPN, place.wait);
        await place.sleep(100);
        const start = place.clock.now();
        if (isEndpointFirst) {
          await server.close();
          expect(place.clock.now() - start).toBeLessThanOrEqual(50);
        }
        await router.shutdown({ timeoutMs: 700 });
        expect(place.clock.now() - start).toBeLessThanOrEqual(800);
        expect(await ours.closed).toMatchObject({ code: 'ConnectionError.ApplicationClosed', errorCode: 0 });
        expect(running(server)).toEqual([]);
        await timeClose(place, client);
      }
    }),
  );
});
