/** Remotes that end just when somebody needs them: nothing is lost, and everything has one answer. `MAP_SEED` replays one run. */
import { describe, expect, test } from '@jest/globals';
import { EndpointAddr } from '../../src/base/endpoint-addr.ts';
import { parseAddr } from '../../src/base/socket-addr.ts';
import { IDLE_NOTICE_MS } from '../../src/actors/idle-notice.ts';
import { ACTOR_MAX_IDLE_TIMEOUT_MS } from '../../src/machines/remote.ts';
import { REMOTE_INBOX_CAPACITY } from '../../src/actors/remote-commands.ts';
import { RemoteRig } from '../support/remote-rig.ts';
import { SimRng } from '../support/sim-rng.ts';

const RUNS = Number(process.env['SIM_RUNS'] ?? 60);
const ONLY = process.env['MAP_SEED'];
const V4 = parseAddr('10.0.0.1:1');
const OURS = parseAddr('10.0.0.9:9');

/** What was asked, and how often it was answered. */
class Asked {
  readonly answers: string[] = [];
  readonly what: string;

  constructor(what: string, promise: Promise<unknown>) {
    this.what = what;
    promise.then(
      () => this.answers.push('answered'),
      (error: unknown) => this.answers.push((error as Error).message),
    );
  }
}

/**
 * Calls at the moment at which a remote ends that was used now for the last time. Timers of one moment fire in order of making:
 * the remote's is made a second from now.
 */
function atTheEnd(rig: RemoteRig, call: () => void, isAfter = false): void {
  const { clock } = rig.world;
  const wait = isAfter ? IDLE_NOTICE_MS + 1 : 0;
  clock.setTimeout(() => clock.setTimeout(call, ACTOR_MAX_IDLE_TIMEOUT_MS - wait), wait);
}

describe('at the end of a remote', () => {
  test('E16: what waits when it ends goes to the successor, which is the one in the table', async () => {
    const rig = new RemoteRig();
    const addr = new EndpointAddr(rig.id).withIp(V4);
    const asked: Asked[] = [];
    // The timer of the remote is made a moment later, so this is before it.
    atTheEnd(rig, () => asked.push(new Asked('a resolve', rig.map.resolve(addr, undefined))));
    await rig.map.resolve(new EndpointAddr(rig.id).withIp(OURS), undefined);
    await rig.run(ACTOR_MAX_IDLE_TIMEOUT_MS);
    await rig.run(0);
    expect(asked.map(({ answers }) => answers)).toEqual([['answered']]);
    // It knows what it was asked, and nothing of what its predecessor knew.
    expect(rig.targets).toEqual([V4]);
    expect((await rig.map.info(rig.id))!.addrs.map(({ addr: { type }, sources }) => [type, sources])).toEqual(
      [['ip', ['app']]],
    );
    expect(rig.map.size).toBe(1);
    await rig.run(ACTOR_MAX_IDLE_TIMEOUT_MS + 1);
    expect(rig.map.size).toBe(0);
  });

  test('E16: so does what found no room', async () => {
    const rig = new RemoteRig();
    const addr = new EndpointAddr(rig.id).withIp(V4);
    const asked: Asked[] = [];
    const count = 3 * REMOTE_INBOX_CAPACITY;
    atTheEnd(rig, () => {
      for (let each = 0; each < count; each++)
        asked.push(new Asked('a resolve', rig.map.resolve(addr, undefined)));
    });
    await rig.map.resolve(addr, undefined);
    await rig.run(ACTOR_MAX_IDLE_TIMEOUT_MS);
    await rig.run(0);
    expect(asked.map(({ answers }) => answers.join())).toEqual(Array<string>(count).fill('answered'));
  });

  test('E16: a connection that is handed over then is kept by the successor', async () => {
    const rig = new RemoteRig();
    let connected: Promise<unknown> | undefined;
    atTheEnd(rig, () => {
      connected = rig.connect('client', V4, OURS);
    });
    await rig.map.resolve(new EndpointAddr(rig.id).withIp(V4), undefined);
    await rig.run(ACTOR_MAX_IDLE_TIMEOUT_MS);
    await connected;
    await rig.run(3 * ACTOR_MAX_IDLE_TIMEOUT_MS);
    expect([rig.map.size, rig.selected]).toEqual([1, 'direct']);
  });

  test('a change of the network that it does not hear of any more makes no successor', async () => {
    const rig = new RemoteRig();
    atTheEnd(rig, () => rig.map.networkChanged(true));
    await rig.map.resolve(new EndpointAddr(rig.id).withIp(V4), undefined);
    await rig.run(ACTOR_MAX_IDLE_TIMEOUT_MS);
    await rig.run(0);
    expect([rig.map.size, [...rig.system.running], rig.world.clock.pendingTimers]).toEqual([0, [], 0]);
  });

  test('what waits when the endpoint closes fails, and nothing begins after', async () => {
    const rig = new RemoteRig({
      lookups: [{ name: 'hanging', timeLimitMs: Infinity, resolve: () => hang() }],
    });
    const waiting = new Asked('a resolve', rig.map.resolve(new EndpointAddr(rig.id), undefined));
    await rig.run(10);
    const queued = new Asked('a resolve', rig.map.resolve(new EndpointAddr(rig.id).withIp(V4), undefined));
    rig.map.stop();
    const late = new Asked('a late one', rig.map.resolve(new EndpointAddr(rig.id).withIp(V4), undefined));
    await rig.run(0);
    for (const { answers } of [waiting, queued, late]) {
      expect(answers).toHaveLength(1);
      expect(answers).not.toContain('answered');
    }
    expect([rig.map.size, [...rig.system.running], rig.world.clock.pendingTimers]).toEqual([0, [], 0]);
  });
});

async function* hang(): AsyncGenerator<EndpointAddr, void, undefined> {
  await new Promise(() => undefined);
}

async function runOne(seed: number): Promise<void> {
  const rng = new SimRng(seed);
  const rig = new RemoteRig({ seed });
  const addr = new EndpointAddr(rig.id).withIp(V4);
  const asked: Asked[] = [];
  const actions: (() => void)[] = [
    () => asked.push(new Asked('resolve', rig.map.resolve(addr, undefined))),
    () => asked.push(new Asked('info', rig.map.info(rig.id))),
    () => {
      for (let each = 0; each < 40; each++)
        asked.push(new Asked('resolve', rig.map.resolve(addr, undefined)));
    },
    () => rig.map.networkChanged(rng.chance(0.5)),
    () => {
      if (rig.connections.filter(({ isOpen }) => isOpen).length < 3)
        asked.push(new Asked('connection', rig.connect('client', V4, OURS)));
    },
    () => {
      const open = rig.connections.find(({ isOpen }) => isOpen);
      open?.close();
      open?.tellAll();
    },
  ];
  for (let step = 0; step < 30; step++) {
    // Before the remote's own timer, after it, and around it.
    if (rng.chance(0.5)) atTheEnd(rig, rng.pick(actions), rng.chance(0.5));
    if (rng.chance(0.7)) rng.pick(actions)();
    await rig.run(rng.pick([0, 1, 100, ACTOR_MAX_IDLE_TIMEOUT_MS - 1, ACTOR_MAX_IDLE_TIMEOUT_MS]));
    if (rig.connections.some(({ isOpen, actor }) => isOpen && actor.onFact !== undefined))
      expect(rig.map.size).toBe(1);
  }
  await rig.run(ACTOR_MAX_IDLE_TIMEOUT_MS);
  for (const connection of rig.connections) {
    expect([connection.side, connection.actor.onFact === undefined]).toEqual(['client', false]);
    connection.close();
    connection.tellAll();
    connection.actor.onEvent({ type: 'drained' });
  }
  await rig.run(ACTOR_MAX_IDLE_TIMEOUT_MS + 1);
  expect(asked.filter(({ answers }) => answers.join() !== 'answered')).toEqual([]);
  expect(rig.connections.every(({ hasEventsEnded }) => hasEventsEnded)).toBe(true);
  const left = [rig.map.size, [...rig.system.running], rig.world.clock.pendingTimers, rig.errors];
  expect(left).toEqual([0, [], 0, []]);
}

test(`model-3 inv-S6, inv-R9, inv-R10, inv-R13: ${RUNS} random runs around the moment at which a remote ends`, async () => {
  const seeds = ONLY === undefined ? Array.from({ length: RUNS }, (_, seed) => seed) : [Number(ONLY)];
  for (const seed of seeds) {
    try {
      await runOne(seed);
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error });
    }
  }
});
