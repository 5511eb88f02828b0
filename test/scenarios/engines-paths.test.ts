/** Relays and direct paths over every pair of engines: by hole punching and several paths, or by migration. */
import { expect } from '@jest/globals';
import { fromUtf8 } from '../../src/base/bytes.ts';
import { createRecorder } from '../../src/inspect/index.ts';
import { Router, type Connection, type IncomingInfo } from '../../src/index.ts';
import { ALPN, echo, failure, WAIT } from '../support/endpoints.ts';
import { describeRows, type Row } from '../support/engine-rows.ts';
import type { Lan } from '../support/lan.ts';

/** Kind of the selected path. */
function selectedOf({ paths }: Connection): string | undefined {
  return paths.find(({ isSelected }) => isSelected)?.remoteAddr.type;
}

/** Kinds of the open paths, the selected one in capitals. */
function kinds({ paths }: Connection): string[] {
  return paths.map(({ remoteAddr: { type }, isSelected }) => (isSelected ? type.toUpperCase() : type)).sort();
}

/** Waits until data goes that way on both sides, and says something there. */
async function goes(place: Lan, way: 'ip' | 'relay', ours: Connection, theirs: Connection): Promise<void> {
  for (const [side, connection] of [
    ['client', ours],
    ['server', theirs],
  ] as const)
    await place.until(
      `${side} by ${way}, has ${kinds(connection).join(', ')}`,
      () => selectedOf(connection) === way,
    );
  expect(fromUtf8((await place.ask(ours)).answer)).toBe('ping');
}

/** Values of the region `selected`, one after the other, of the one remote of an endpoint that records. */
function regionOf(recorder: ReturnType<typeof createRecorder>): string[] {
  const seen: string[] = [];
  for (const line of recorder.toString().split('\n')) {
    const { actor, value } = JSON.parse(line || '{}') as {
      readonly actor?: string;
      readonly value?: { readonly active?: { readonly selected?: string } };
    };
    const selected = value?.active?.selected;
    if (actor?.startsWith('remote ') === true && selected !== undefined && selected !== seen.at(-1))
      seen.push(selected);
  }
  return seen;
}

const D: Row[] = [
  {
    name: 'D01, D07: with direct addresses alone there is one direct path; its end is told',
    run: async (place) => {
      const { ours, theirs } = await place.connect();
      void echo(theirs);
      const story: string[] = [];
      ours.pathEvents$.subscribe({ next: ({ type }) => story.push(type), complete: () => story.push('end') });
      await place.ask(ours);
      expect([kinds(ours), kinds(theirs)]).toEqual([['IP'], ['IP']]);
      theirs.close();
      await ours.closed;
      await place.until('the end', () => story.at(-1) === 'end');
      expect(story).toEqual(['opened', 'selected', 'closed', 'end']);
    },
  },
  {
    name: 'D02: dialled by relay alone, a connection becomes direct, and both sides see it',
    needs: ['natTraversal'],
    run: async (place) => {
      const { client, server } = await place.relayedPair();
      const { ours, theirs } = await place.dial(client, server, place.relayAddrOf(server));
      void echo(theirs);
      await goes(place, 'ip', ours, theirs);
    },
  },
  {
    name: 'D02: dialled by relay while UDP is blocked, a connection becomes direct once it is not, and both sides see it',
    needs: ['movesClients'],
    run: async (place) => {
      const { client, server } = await place.relayedPair();
      const { ours, theirs } = await place.dialRelayed(client, server);
      void echo(theirs);
      await goes(place, 'ip', ours, theirs);
      expect(client.metrics().value('num_conns_direct')).toBe(1);
    },
  },
  {
    name: 'D03: without IP on either side one relay path carries everything, and stays',
    run: async (place) => {
      const options = { ...(await place.addRelay()), pathPolicy: 'relay' } as const;
      const server = await place.serve(options);
      const client = await place.bind(options);
      await Promise.all([server.online(WAIT), client.online(WAIT)]);
      const { ours, theirs } = await place.dial(client, server, server.addr);
      void echo(theirs);
      const bytes = new Uint8Array(200_000).fill(7);
      expect(Buffer.compare((await place.ask(ours, bytes)).answer, bytes)).toBe(0);
      expect([kinds(ours), kinds(theirs)]).toEqual([['RELAY'], ['RELAY']]);
      expect([client.boundSockets, client.metrics().value('holepunch_attempts')]).toEqual([[], 0]);
    },
  },
  {
    name: 'D04: dialled directly and by relay, the direct path comes first and the relay is a backup on both sides',
    needs: ['multipath'],
    run: async (place) => {
      const { client, server } = await place.relayedPair();
      const { ours, theirs } = await place.dial(client, server, place.bothAddrsOf(server));
      const want = (connection: Connection) => kinds(connection).join(' ') === 'IP relay';
      await place.until('direct with a backup', () => want(ours) && want(theirs));
    },
  },
  {
    name: 'D18: what is known of a peer: nothing, then addresses in use, then addresses',
    run: async (place) => {
      const { client, server, ours } = await place.connect();
      expect(await client.remoteInfo((await place.bind()).id)).toBeUndefined();
      const [addr] = place.addrOf(server).addrs;
      const known = (usage: string) => ({
        id: server.id,
        addrs: [{ addr, usage, sources: ['app', 'connection'] }],
      });
      expect(await client.remoteInfo(server.id)).toEqual(known('active'));
      ours.close();
      await place.until('the path is closed', async () => {
        const info = await client.remoteInfo(server.id);
        return info?.addrs[0]?.usage === 'inactive';
      });
      expect(await client.remoteInfo(server.id)).toEqual(known('inactive'));
    },
  },
  {
    name: 'D19: a second connection to the same peer goes the way of the first',
    needs: ['movesClients'],
    run: async (place) => {
      const { client, server } = await place.relayedPair();
      const first = await place.dialRelayed(client, server);
      void echo(first.theirs);
      await goes(place, 'ip', first.ours, first.theirs);
      const second = await place.dial(client, server, place.relayAddrOf(server));
      void echo(second.theirs);
      await goes(place, 'ip', second.ours, second.theirs);
    },
  },
  {
    name: 'D20: relayed, direct, relayed when the direct path goes silent, and direct again; nothing is lost',
    needs: ['movesClients'],
    run: async (place) => {
      const recorder = createRecorder();
      const options = await place.addRelay();
      const server = await place.serve(options);
      const client = await place.bind({ ...options, inspect: recorder.inspect });
      await Promise.all([server.online(WAIT), client.online(WAIT)]);
      const { ours, theirs } = await place.dialRelayed(client, server);
      void echo(theirs);
      await goes(place, 'ip', ours, theirs);
      place.block(server, true);
      expect(fromUtf8((await place.ask(ours)).answer)).toBe('ping');
      await goes(place, 'relay', ours, theirs);
      const bytes = new Uint8Array(100_000).fill(5);
      expect(Buffer.compare((await place.ask(ours, bytes)).answer, bytes)).toBe(0);
      place.block(server, false);
      await goes(place, 'ip', ours, theirs);
      expect(regionOf(recorder)).toEqual(['none', 'relayed', 'direct', 'relayed', 'direct']);
    },
  },
];

const F: Row[] = [
  {
    name: 'F01, F02, G06: at home at a relay, an endpoint is dialled by it alone, and knows who came that way',
    run: async (place) => {
      const { client, server } = await place.relayedPair();
      expect(server.homeRelay?.state).toBe('connected');
      const refused = await place.bind(await place.addRelay());
      const seen: IncomingInfo[] = [];
      const router = Router.builder(server)
        .incomingFilter((incoming) => {
          seen.push(incoming);
          const { remoteAddr } = incoming;
          return remoteAddr.type === 'relay' && remoteAddr.endpointId.equals(refused.id)
            ? 'reject'
            : 'accept';
        })
        .accept(ALPN, echo)
        .spawn();
      const addr = place.relayAddrOf(server);
      expect(await failure(refused.connect(addr, ALPN, WAIT))).toMatchObject({
        cause: { cause: { transportCode: 'CONNECTION_REFUSED' } },
      });
      const ours = await client.connect(addr, ALPN, WAIT);
      expect(fromUtf8((await place.ask(ours)).answer)).toBe('ping');
      expect(seen.map(({ remoteAddr }) => remoteAddr)).toMatchObject([
        { type: 'relay', endpointId: refused.id },
        { type: 'relay', endpointId: client.id },
      ]);
      await router.shutdown();
    },
  },
];

await describeRows([...D, ...F]);
