/** Recordings: what is in them, what is not, and that they stay small; an inspector changes nothing and costs nothing. */
import { afterEach, describe, expect, test } from '@jest/globals';
import { assign, fromPromise, setup } from 'xstate';
import { ActorSystem } from '../../../src/actors/actor-system.ts';
import { RelayUrl } from '../../../src/base/relay-url.ts';
import { parseAddr } from '../../../src/base/socket-addr.ts';
import { SecretKey } from '../../../src/crypto/keys.ts';
import { createRecorder, createStatelyInspector, toPlain } from '../../../src/inspect/index.ts';
import { SimClock } from '../../support/sim-clock.ts';

const secret = SecretKey.fromBytes(new Uint8Array(32).fill(7));

const doorMachine = setup({
  // eslint-disable-next-line @typescript-eslint/no-unnecessary-type-assertion -- XState infers from it
  types: {} as {
    events: { type: 'push'; by: string; payload: Uint8Array } | { type: 'pull' };
    context: { pushes: number; key: unknown };
    input: { key: unknown };
  },
  actors: { creak: fromPromise<{ noise: Uint8Array }>(async () => ({ noise: new Uint8Array(64).fill(42) })) },
  actions: { 'count push': assign({ pushes: ({ context }) => context.pushes + 1 }), ring: () => undefined },
  guards: { 'is first': ({ context }) => context.pushes === 0 },
}).createMachine({
  id: 'door',
  context: ({ input }) => ({ pushes: 0, key: input.key }),
  initial: 'closed',
  states: {
    closed: { on: { push: { guard: 'is first', target: 'open', actions: ['count push', 'ring'] } } },
    open: { invoke: { id: 'creak', src: 'creak' }, on: { pull: 'shut' } },
    shut: { type: 'final' },
  },
});

const endings: (() => void)[] = [];
afterEach(() => {
  for (const end of endings.splice(0)) end();
});

function systemWith(inspect?: ConstructorParameters<typeof ActorSystem>[0]['inspect']): {
  readonly system: ActorSystem;
  readonly errors: unknown[];
} {
  const errors: unknown[] = [];
  const system = new ActorSystem({
    clock: new SimClock(),
    inspect,
    onError: (_actor, error) => errors.push(error),
  });
  return { system, errors };
}

const push = { type: 'push', by: 'me', payload: new Uint8Array(100).fill(42) } as const;

describe('a recording', () => {
  test('tells who started, what came, what it changed and why; no payload, no secret', async () => {
    const streamed: string[] = [];
    const recorder = createRecorder({ now: () => 1.23456, onLine: (line) => streamed.push(line) });
    const { system } = systemWith(recorder.inspect);
    const door = system.start(doorMachine, 'door 1', { key: secret });
    const knocks = system.inbox<{ type: 'knock'; secret: string }, { knock: 'dropNewest' }>({
      name: 'knocks',
      owner: 'door 1',
      capacities: [1],
      overflow: { knock: 'dropNewest' },
      deliver: () => door.send(push),
    });
    knocks.sender('visitor').send({ type: 'knock', secret: 'swordfish' });
    await new Promise((resolve) => setImmediate(resolve));
    door.send({ type: 'pull' });
    const kinds = recorder.lines
      .filter((line) => 'actor' in line && line.actor === 'door 1')
      .map(({ kind }) => kind);
    expect(kinds).toEqual([
      ...['actor', 'event', 'state'],
      ...['event', 'action', 'action', 'transition', 'state'],
      // What the actor in it returned.
      'event',
      // It ends what runs in the state that is left.
      ...['event', 'action', 'transition', 'state'],
    ]);
    expect(recorder.lines).toContainEqual(
      expect.objectContaining({
        kind: 'transition',
        actor: 'door 1',
        event: 'push',
        from: 'closed',
        to: ['open'],
        guard: 'is first',
        actions: ['count push', 'ring'],
      }),
    );
    expect(recorder.lines).toContainEqual(
      expect.objectContaining({
        kind: 'state',
        value: 'open',
        context: { pushes: 1, key: '[SecretKey]' },
        t: 1.235,
      }),
    );
    expect(recorder.lines).toContainEqual(
      expect.objectContaining({ kind: 'channel', from: 'visitor', to: 'door 1', event: 'knock', depth: 1 }),
    );
    const text = recorder.toString();
    expect(text).toBe(`{"kind":"recording","version":1,"dropped":0}\n${streamed.join('')}`);
    expect(text).toContain('[Uint8Array]');
    for (const leak of ['swordfish', '42,42', '"42"', '07070707', '7,7,7']) expect(text).not.toContain(leak);
  });

  test('keeps the latest lines within its bound and counts the others', () => {
    const maxBytes = 10_000;
    const recorder = createRecorder({ maxBytes });
    const { system } = systemWith(recorder.inspect);
    const events = system.events<{ type: string }>('facts', 'tester');
    for (let i = 0; i < 5_000; i++) {
      events.send({ type: `fact ${i}` });
      expect(recorder.size).toBeLessThanOrEqual(maxBytes);
    }
    const lines = recorder.lines;
    expect(lines.at(-1)).toMatchObject({ event: 'fact 4999', n: 4_999 });
    expect(recorder.dropped).toBe(5_000 - lines.length);
    expect(lines.length).toBeGreaterThan(50);
    expect(recorder.toString()).toMatch(
      new RegExp(`^\\{"kind":"recording","version":1,"dropped":${recorder.dropped}\\}\n`),
    );
  });
});

describe('plain data', () => {
  test('shows what is public and plain, and only the kind of all else', () => {
    expect(
      toPlain({
        text: 'a'.repeat(300),
        relay: RelayUrl.parse('https://user:word@relay.example/'),
        addr: parseAddr('192.0.2.1:7'),
        bytes: new Uint8Array(4),
        numbers: [1, 2, 3, 4, 5, 6, 7, 8, 9],
        ports: [7842, 443],
        many: Array.from({ length: 20 }, (_, i) => `item ${i}`),
        error: new TypeError('broken'),
        map: new Map([['a', 1]]),
        call: () => 1,
        nothing: undefined,
        big: 10n,
        infinite: Infinity,
        authToken: 'swordfish',
        deep: { deep: { deep: { deep: { deep: 1 } } } },
      }),
    ).toEqual({
      text: `${'a'.repeat(256)}…`,
      relay: 'https://…@relay.example/',
      addr: '192.0.2.1:7',
      bytes: '[Uint8Array]',
      numbers: '[9 numbers]',
      ports: [7842, 443],
      many: [...Array.from({ length: 16 }, (_, i) => `item ${i}`), '… 4 more'],
      error: 'TypeError: broken',
      map: '[Map]',
      big: '10',
      infinite: 'Infinity',
      authToken: '[hidden]',
      deep: { deep: { deep: { deep: '[…]' } } },
    });
    expect(toPlain(secret.publicKey)).toBe(secret.publicKey.toString());
  });
});

describe('who watches', () => {
  test('costs nothing when absent: nothing is asked of an event, no actor has an observer', () => {
    const { system } = systemWith();
    let reads = 0;
    const event = {
      get type(): string {
        reads++;
        return 'fact';
      },
    };
    const heard: unknown[] = [];
    const events = system.events<{ readonly type: string }>('facts', 'tester');
    events.subscribe('listener', (each) => heard.push(each));
    events.send(event);
    expect([heard.length, reads]).toEqual([1, 0]);
    const door = system.start(doorMachine, 'door 1', { key: secret });
    expect('inspect' in door.options).toBe(false);
    const watched = systemWith(() => undefined).system.events<{ readonly type: string }>('facts', 'tester');
    watched.send(event);
    expect(reads).toBe(1);
  });

  test('cannot disturb: what an inspector throws is lost, and actors and channels go on', () => {
    let calls = 0;
    const { system, errors } = systemWith(() => {
      calls++;
      throw new Error('bad inspector');
    });
    const door = system.start(doorMachine, 'door 1', { key: secret });
    const values: number[] = [];
    const watch = system.watch('pushes', 'door 1', 0);
    watch.subscribe('tester', (value) => values.push(value));
    door.subscribe(({ context }) => watch.set(context.pushes));
    door.send(push);
    expect(door.getSnapshot().value).toBe('open');
    door.send({ type: 'pull' });
    expect([values, errors, [...system.running]]).toEqual([[0, 1], [], []]);
    expect(calls).toBeGreaterThan(5);
  });
});

test('Stately’s inspector is given plain data, and channels as events between actors', async () => {
  const { WebSocketServer } = await import('ws');
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
  endings.push(() => server.close());
  await new Promise((resolve) => server.once('listening', resolve));
  const received: string[] = [];
  const enough = new Promise<void>((resolve) =>
    server.on('connection', (socket) =>
      socket.on('message', (data: Buffer) => {
        received.push(data.toString());
        if (received.some((text) => text.includes('knock'))) resolve();
      }),
    ),
  );
  const { port } = server.address() as { port: number };
  const stately = await createStatelyInspector({ via: 'webSocket', url: `ws://127.0.0.1:${port}` });
  endings.push(() => stately.stop());
  const { system } = systemWith(stately.inspect);
  const door = system.start(doorMachine, 'door 1', { key: secret });
  door.send(push);
  system.events<{ type: 'knock' }>('knocks', 'door 1').send({ type: 'knock' });
  await enough;
  const text = received.join('\n');
  expect(text).toContain('door');
  for (const leak of ['07070707', '42,42', '"0":42']) expect(text).not.toContain(leak);
  door.send({ type: 'pull' });
  for (const client of server.clients) client.terminate();
});
