/** Whoever watches, filters or carries for an endpoint: is shown no secret and no payload, and disturbs nothing by throwing. */
import { describe, expect, test } from '@jest/globals';
import { fromUtf8, toHex, utf8 } from '../../src/base/bytes.ts';
import {
  Router,
  SecretKey,
  type CustomTransport,
  type EndpointOptions,
  type InspectedEvent,
} from '../../src/index.ts';
import { createRecorder } from '../../src/inspect/index.ts';
import { ALPN, failure, simulated, type Simulated } from '../support/endpoints.ts';

/** Objects that lead from an event to everything else: who is watched holds what it works with. */
const DOORS = new Set([
  'actorRef',
  'sourceRef',
  'rootId',
  'children',
  'machine',
  '_nodes',
  'target',
  'self',
  'system',
]);

/** Looks for secrets in whatever an event shows. */
class Searcher {
  readonly found: string[] = [];
  readonly #secrets: readonly {
    readonly name: string;
    readonly bytes: Uint8Array;
    readonly texts: readonly string[];
  }[];

  constructor(secrets: Readonly<Record<string, Uint8Array>>) {
    this.#secrets = Object.entries(secrets).map(([name, bytes]) => ({
      name,
      bytes,
      texts: [
        fromUtf8(bytes),
        toHex(bytes),
        Buffer.from(bytes).toString('base64').replace(/=+$/, ''),
        [...bytes].join(),
        [...bytes].join(', '),
      ],
    }));
  }

  searchText(text: string, where: string): void {
    for (const { name, texts } of this.#secrets)
      for (const form of texts) if (text.includes(form)) this.found.push(`${name} in ${where}`);
  }

  search(value: unknown, where: string, seen = new Set<object>()): void {
    if (typeof value === 'string') this.searchText(value, where);
    if (typeof value !== 'object' || value === null || seen.has(value)) return;
    seen.add(value);
    if (value instanceof SecretKey) this.found.push(`a SecretKey in ${where}`);
    if (value instanceof Uint8Array) {
      for (const { name, bytes } of this.#secrets)
        if (Buffer.from(value).includes(Buffer.from(bytes))) this.found.push(`${name} in ${where}`);
      return;
    }
    if (value instanceof Error) this.searchText(String(value), where);
    const parts = value instanceof Map || value instanceof Set ? [...value].entries() : Object.entries(value);
    for (const [key, part] of parts) if (!DOORS.has(String(key))) this.search(part, `${where}.${key}`, seen);
  }
}

describe('what an inspector is shown', () => {
  test(
    'no secret, no key, no payload, from the first dial over a relay to the end: neither to itself nor in a recording',
    simulated(async (place) => {
      const secrets = {
        clientKey: new Uint8Array(32).map((_, i) => 7 * i + 55),
        serverKey: new Uint8Array(32).map((_, i) => 3 * i + 101),
        payload: utf8('the payload of a stream'),
        datagram: utf8('the payload of a datagram'),
        token: utf8('swordfish-of-the-relay'),
      };
      const keyLines: string[] = [];
      const events: InspectedEvent[] = [];
      const recorder = createRecorder({ maxBytes: 64 * 1024 * 1024 });
      const site = await place.addRelay({
        access: ({ token }, decide) => decide(token === 'swordfish-of-the-relay' ? 'allow' : 'deny'),
      });
      const options: EndpointOptions = {
        ...place.using(site),
        relay: [{ ...site.config, authToken: 'swordfish-of-the-relay' }],
        inspect: (event) => {
          events.push(event);
          recorder.inspect(event as Parameters<typeof recorder.inspect>[0]);
        },
        keylog: (line) => keyLines.push(line),
      };
      const server = await place.serve({ ...options, secretKey: secrets.serverKey });
      const client = await place.bind({ ...options, secretKey: secrets.clientKey });
      await place.online(client, server);
      const { ours, theirs } = await place.dial(client, server, place.relayAddrOf(server));
      const send = await ours.openUni();
      await send.write(secrets.payload);
      send.finish();
      expect(await (await theirs.acceptUni()).readToEnd(100)).toEqual(secrets.payload);
      ours.sendDatagram(secrets.datagram);
      expect(await theirs.readDatagram()).toEqual(secrets.datagram);
      await place.sleep(70_000);
      place.hostOf(client).isUp = false;
      await place.sleep(5_000);
      place.hostOf(client).isUp = true;
      ours.close(7, secrets.payload);
      await theirs.closed;
      await client.close();
      await server.close();

      const traffic = keyLines.map((line) => Buffer.from(line.split(' ')[2]!, 'hex'));
      expect(traffic.length).toBeGreaterThan(4);
      const searcher = new Searcher({
        ...secrets,
        ...Object.fromEntries(traffic.map((bytes, i) => [`traffic secret ${i}`, new Uint8Array(bytes)])),
      });
      const kinds = new Set<string>();
      for (const event of events) {
        kinds.add(event.type);
        searcher.search(event, event.type);
      }
      searcher.searchText(recorder.toString(), 'the recording');
      expect([...new Set(searcher.found)]).toEqual([]);
      // It finds what is there.
      const planted = { snapshot: { context: new Map([['a', [{ at: secrets.payload.slice() }]]]) } };
      searcher.search(planted, 'planted');
      searcher.searchText(`x${toHex(secrets.serverKey)}x`, 'planted');
      expect(searcher.found).toHaveLength(2);
      // It has seen everything that there is to see.
      expect([...kinds].sort()).toEqual([
        '@xstate.action',
        '@xstate.actor',
        '@xstate.event',
        '@xstate.microstep',
        '@xstate.snapshot',
        'iroh.channel.send',
      ]);
      for (const event of events)
        if (event.type === 'iroh.channel.send')
          for (const value of Object.values(event)) expect(['string', 'number']).toContain(typeof value);
      for (const actor of ['relay', 'remote', 'socket', 'net report', 'endpoint', 'connection'])
        expect(recorder.toString()).toMatch(new RegExp(`"actor":"${actor} `));
    }),
  );
});

/** A carrier whose every part throws, beside one's own sockets. */
const throwing: CustomTransport = {
  id: 99n,
  bind: () =>
    Promise.resolve({
      get localAddrs(): never {
        throw new Error('a carrier that throws');
      },
      onDatagrams: undefined,
      onLocalAddrs: undefined,
      send: () => {
        throw new Error('a carrier that throws');
      },
      close: () => {
        throw new Error('a carrier that throws');
      },
    }),
};

/** What happens to two endpoints with a relay between them, with its times. */
async function story(place: Simulated, options: EndpointOptions): Promise<string[]> {
  const told: string[] = [];
  const site = await place.addRelay();
  const own = { ...place.using(site), ...options };
  const server = await place.serve({ ...own, secretKey: new Uint8Array(32).fill(1) });
  const client = await place.bind({ ...own, secretKey: new Uint8Array(32).fill(2) });
  await place.online(client, server);
  const { ours, theirs } = await place.dial(client, server, place.relayAddrOf(server));
  for (const [side, { pathEvents$ }] of [
    ['client', ours],
    ['server', theirs],
  ] as const)
    pathEvents$.subscribe((event) => {
      const where = event.type === 'lagged' ? '' : event.remoteAddr.type;
      told.push(`${Math.round(place.clock.now())} ${side} ${event.type} ${where}`);
    });
  const send = await ours.openUni();
  await send.write(utf8('hello'));
  send.finish();
  told.push(fromUtf8(await (await theirs.acceptUni()).readToEnd(100)));
  await place.sleep(3_000);
  place.hostOf(server).isUp = false;
  await place.sleep(3_000);
  place.hostOf(server).isUp = true;
  await place.sleep(20_000);
  await client.close();
  told.push(`${(await theirs.closed).code} at ${Math.round(place.clock.now())}`);
  return told;
}

async function storyOf(options: EndpointOptions): Promise<string[]> {
  let told: string[] = [];
  await simulated(async (place) => {
    told = await story(place, options);
  })();
  return told;
}

test(
  'qlog says where paths lead: relays by name, and no mapped address',
  simulated(async (place) => {
    let text = '';
    const qlog = () => ({ write: (part: string) => void (text += part), close: () => undefined });
    await story(place, { qlog });
    expect(text).toContain(`"remote":{"iroh_addr":"endpoint:${place.endpoints[0]!.id.toString()}"}`);
    expect(text).toContain('"tuple_remote":{"iroh_addr":"relay:http');
    expect(text).toContain('"tuple_remote":{"ip_v4":"10.0.0.');
    expect(text).not.toContain('fd15:');
  }),
);

describe('who throws', () => {
  test.each<[string, EndpointOptions]>([
    [
      'an inspector',
      {
        inspect: () => {
          throw new Error('an inspector that throws');
        },
      },
    ],
    [
      'a logger',
      {
        logger: {
          debug: () => {
            throw new Error('a logger that throws');
          },
        },
      },
    ],
    ['a custom transport', { transports: [throwing] }],
    [
      'a key log',
      {
        keylog: () => {
          throw new Error('a key log that throws');
        },
      },
    ],
    [
      'a qlog',
      {
        qlog: () => {
          throw new Error('a qlog that throws');
        },
      },
    ],
    [
      'a qlog, later,',
      {
        qlog: () => ({
          write: () => {
            throw new Error('a qlog that throws');
          },
          close: () => {
            throw new Error('a qlog that throws');
          },
        }),
      },
    ],
  ])('%s changes nothing of what happens, nor when', async (_, options) => {
    const plain = await storyOf({});
    expect(plain.length).toBeGreaterThan(6);
    expect(await storyOf(options)).toEqual(plain);
  });

  test(
    'hooks refuse what they were asked about, filters the attempt that they were given; all else goes on',
    simulated(async (place) => {
      let isThrowing = false;
      const maybe = (): undefined => {
        if (isThrowing) throw new Error('a hook that throws');
      };
      const server = await place.bind();
      const router = Router.builder(server)
        .accept(ALPN, (connection) => connection.closed)
        .incomingFilter(() => {
          maybe();
          return 'accept';
        })
        .spawn();
      const client = await place.bind({ hooks: { beforeConnect: maybe, afterHandshake: maybe } });
      const plain = await place.bind();
      const before = await client.connect(place.addrOf(server), ALPN, place.wait);
      isThrowing = true;
      expect(await failure(client.connect(place.addrOf(server), ALPN, place.wait))).toMatchObject({
        code: 'ConnectError.LocallyRejected',
      });
      expect(await failure(plain.connect(place.addrOf(server), ALPN, place.wait))).toMatchObject({
        code: 'ConnectError.Connection',
      });
      isThrowing = false;
      const after = await client.connect(place.addrOf(server), ALPN, place.wait);
      await plain.connect(place.addrOf(server), ALPN, place.wait);
      await place.sleep(1_000);
      expect([before.closeReason, after.closeReason]).toEqual([undefined, undefined]);
      await router.shutdown();
    }),
  );
});
