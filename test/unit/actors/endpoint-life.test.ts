/** An endpoint's end with bodies that work, fail and hang, in virtual time: each step has its turn, and the end comes. */
import { describe, expect, test } from '@jest/globals';
import { ActorSystem } from '../../../src/actors/actor-system.ts';
import { EndpointLife, type EndpointSteps } from '../../../src/actors/endpoint-life.ts';
import { Recorder } from '../../../src/inspect/recorder.ts';
import {
  DEFAULT_DRAIN_LIMIT_MS,
  LOOKUP_GRACE_MS,
  MAPPING_GRACE_MS,
  RUNTIME_GRACE_MS,
  type EndpointStep,
} from '../../../src/machines/endpoint.ts';
import { ACTOR_GRACE_MS } from '../../../src/machines/socket.ts';
import { Log } from '../../../src/transport/log.ts';
import { SimWorld } from '../../support/sim-platform.ts';

const ORDER = [
  'announce',
  'lookups',
  'draining',
  'mapping',
  'socket',
  'remotes',
  'relays',
  'drivers',
  'sockets',
  'endWatches',
] as const satisfies readonly (keyof EndpointSteps)[];

const LIMITS: Record<EndpointStep, number> = {
  draining: DEFAULT_DRAIN_LIMIT_MS,
  lookups: LOOKUP_GRACE_MS,
  mapping: MAPPING_GRACE_MS,
  socket: ACTOR_GRACE_MS,
  remotes: ACTOR_GRACE_MS,
  relays: ACTOR_GRACE_MS,
  drivers: RUNTIME_GRACE_MS,
  sockets: RUNTIME_GRACE_MS,
};
const STEPS = Object.keys(LIMITS) as EndpointStep[];

const hang = (): Promise<void> => new Promise(() => undefined);

/** An endpoint's life whose steps are written down. */
class Rig {
  readonly world = new SimWorld(1);
  readonly recorder = new Recorder();
  /** Steps in the order in which they began, and when, ms. */
  readonly began: string[] = [];
  readonly beganAt = new Map<string, number>();
  /** When the signal of a step aborted, ms. */
  readonly abortedAt = new Map<string, number>();
  readonly lines: string[] = [];
  readonly errors: unknown[] = [];
  readonly system: ActorSystem;
  readonly life: EndpointLife;

  constructor(bodies: Partial<EndpointSteps> = {}) {
    const { clock } = this.world;
    this.system = new ActorSystem({
      clock,
      inspect: this.recorder.inspect,
      onError: (_actor, error) => this.errors.push(error),
    });
    const step =
      (name: keyof EndpointSteps) =>
      (signal?: AbortSignal): Promise<void> | void => {
        this.began.push(name);
        this.beganAt.set(name, clock.now());
        signal?.addEventListener('abort', () => this.abortedAt.set(name, clock.now()));
        return bodies[name]?.(signal!);
      };
    this.life = new EndpointLife({
      system: this.system,
      name: 'test',
      steps: {
        announce: () => void step('announce')(),
        lookups: step('lookups'),
        draining: step('draining'),
        mapping: step('mapping'),
        socket: step('socket'),
        remotes: step('remotes'),
        relays: step('relays'),
        drivers: step('drivers'),
        sockets: step('sockets'),
        endWatches: () => void step('endWatches')(),
        abort: () => void step('abort')(),
      },
      log: new Log({ debug: (line) => this.lines.push(line) }),
    });
  }

  get now(): number {
    return this.world.clock.now();
  }

  close(timeoutMs?: number): Promise<void> {
    return this.world.run(this.life.close(timeoutMs), 60_000);
  }

  /** E5: closed, and nothing is left. */
  expectNothingLeft(): void {
    expect(this.life.state).toBe('closed');
    expect([...this.system.running]).toEqual([]);
    expect(this.world.clock.pendingTimers).toBe(0);
    expect(this.errors).toEqual([]);
  }
}

describe('an orderly end', () => {
  test('each step once, in order, and an inspector sees them', async () => {
    const rig = new Rig();
    expect(rig.life.state).toBe('open');
    expect([...rig.system.running]).toEqual(['endpoint test']);
    await rig.close();
    expect(rig.began).toEqual(ORDER);
    expect(rig.now).toBe(0);
    expect(rig.lines).toEqual([]);
    rig.expectNothingLeft();
    const entered = rig.recorder.lines.flatMap((line) => (line.kind === 'transition' ? line.to : []));
    expect(entered).toEqual([
      'closing',
      'closing.lookups',
      'closing.draining',
      'closing.actors',
      // These have been closing since before.
      'closing.actors.lookups.stopped',
      'closing.actors.mapping.stopped',
      'closing.actors.socket.stopped',
      'closing.actors.remotes.stopped',
      'closing.actors.relays.stopped',
      'closing.runtime',
      'closing.runtime.sockets',
      'closing.runtime.done',
      'closing.done',
      'closed',
    ]);
  });

  test('peers are told before close returns, and the state is closing before anybody hears of it', () => {
    const states: string[] = [];
    const rig: Rig = new Rig({
      announce: () => void states.push(rig.life.state),
      draining: () => (states.push(rig.life.state), hang()),
    });
    void rig.life.close();
    expect(rig.began).toEqual(['announce', 'lookups', 'draining']);
    expect(states).toEqual(['closing', 'closing']);
  });

  test('the state is closed when what can be observed completes', async () => {
    const states: string[] = [];
    const rig: Rig = new Rig({ endWatches: () => void states.push(rig.life.state) });
    await rig.close();
    expect(states).toEqual(['closed']);
  });

  test('inv-E2: no actor is stopped before draining ends, nor a driver before actors, nor a socket before drivers', async () => {
    const rig: Rig = new Rig({
      draining: () => rig.world.sleep(500),
      relays: () => rig.world.sleep(50),
      drivers: () => rig.world.sleep(7),
    });
    await rig.close();
    expect(Object.fromEntries(rig.beganAt)).toEqual({
      announce: 0,
      lookups: 0,
      draining: 0,
      mapping: 500,
      socket: 500,
      remotes: 500,
      relays: 500,
      drivers: 550,
      sockets: 557,
      endWatches: 557,
    });
    expect(rig.abortedAt.size).toBe(0);
    rig.expectNothingLeft();
  });
});

describe('a step that hangs', () => {
  test.each(STEPS)('%s: the others run, its signal aborts, and the end comes at its limit', async (name) => {
    const rig = new Rig({ [name]: hang });
    await rig.close();
    expect(rig.began).toEqual(ORDER);
    expect(rig.now).toBe(LIMITS[name]);
    // Lookup services are told nothing: their registry has a limit of its own.
    if (name !== 'lookups') expect([...rig.abortedAt]).toEqual([[name, LIMITS[name]]]);
    expect(rig.lines).toEqual([`iroh:endpoint test closing: ${name} takes too long, going on`]);
    rig.expectNothingLeft();
  });

  test('all of them: the end comes after the sum of what does not run at the same time', async () => {
    const rig = new Rig(Object.fromEntries(STEPS.map((name) => [name, hang])));
    await rig.close();
    expect(rig.began).toEqual(ORDER);
    expect(rig.now).toBe(DEFAULT_DRAIN_LIMIT_MS + LOOKUP_GRACE_MS + 2 * RUNTIME_GRACE_MS);
    expect(rig.lines.length).toBe(STEPS.length);
    rig.expectNothingLeft();
  });

  test.each([
    ['settles', (): void => undefined],
    [
      'fails',
      (): never => {
        throw new Error('late');
      },
    ],
  ])('and %s after its limit changes nothing', async (_what, late) => {
    const rig: Rig = new Rig({ socket: () => rig.world.sleep(5_000).then(late) });
    await rig.close();
    expect(rig.now).toBe(ACTOR_GRACE_MS);
    await rig.world.run(rig.world.sleep(10_000), 20_000);
    expect(rig.began).toEqual(ORDER);
    rig.expectNothingLeft();
  });
});

describe('a step that fails', () => {
  const fail = (): never => {
    throw new Error('broken');
  };

  test.each([...ORDER])('%s, at once: reported, and the others run', async (name) => {
    const rig = new Rig({ [name]: fail });
    await rig.close();
    expect(rig.began).toEqual(ORDER);
    expect(rig.lines).toEqual([`iroh:endpoint test closing: ${name} failed: broken`]);
    expect(rig.now).toBe(0);
    rig.expectNothingLeft();
  });

  test.each(STEPS)('%s, later: reported, and the others run', async (name) => {
    const rig: Rig = new Rig({ [name]: () => rig.world.sleep(20).then(fail) });
    await rig.close();
    expect(rig.began).toEqual(ORDER);
    expect(rig.lines).toEqual([`iroh:endpoint test closing: ${name} failed: broken`]);
    expect(rig.now).toBe(20);
    rig.expectNothingLeft();
  });

  test('with something that is no error', async () => {
    const rig = new Rig({ socket: () => Promise.reject(Object.create(null) as Error) });
    await rig.close();
    expect(rig.lines).toEqual(['iroh:endpoint test closing: socket failed: object']);
    rig.expectNothingLeft();
  });
});

describe('several closes', () => {
  test('inv-E4: all resolve at the end, which runs once; one after the end resolves too', async () => {
    const order: string[] = [];
    const rig: Rig = new Rig({
      draining: () => rig.world.sleep(30),
      endWatches: () => void order.push('closed'),
    });
    const closes = [1, 2].map((n) => rig.life.close().then(() => order.push(`close ${n}`)));
    rig.world.clock.setTimeout(() => closes.push(rig.life.close().then(() => order.push('close 3'))), 10);
    await rig.world.run(
      rig.world.sleep(20).then(() => Promise.all(closes)),
      1_000,
    );
    expect(order).toEqual(['closed', 'close 1', 'close 2', 'close 3']);
    await rig.close();
    expect(rig.began).toEqual(ORDER);
    rig.expectNothingLeft();
  });

  test.each([
    ['its own limit', 200, undefined, 200],
    ['no limit of its own: the default', undefined, undefined, DEFAULT_DRAIN_LIMIT_MS],
    ['an earlier limit of a later close', 2_000, 100, 150],
    ['a later limit of a later close: the first', 200, 5_000, 200],
    ['none at all', 0, undefined, 0],
    ['less than none', -5, undefined, 0],
    ['a limit longer than timers, and then a shorter one', Infinity, 100, 150],
  ])('peers get %s', async (_what, first, second, expected) => {
    const rig = new Rig({ draining: hang });
    if (second !== undefined) rig.world.clock.setTimeout(() => void rig.life.close(second), 50);
    await rig.close(first);
    expect(rig.now).toBe(expected);
    expect(rig.began).toEqual(ORDER);
    rig.expectNothingLeft();
  });

  test('a close out of a step joins', async () => {
    const rig: Rig = new Rig({ announce: () => void rig.life.close() });
    await rig.close();
    expect(rig.began).toEqual(ORDER);
    rig.expectNothingLeft();
  });
});

describe('an end without time', () => {
  test('drops everything at once', async () => {
    const rig = new Rig();
    rig.life.abort();
    expect(rig.began).toEqual(['abort']);
    rig.expectNothingLeft();
    await rig.close();
    rig.life.abort();
    expect(rig.began).toEqual(['abort']);
  });

  test('a failure in it is reported', () => {
    const rig = new Rig({
      abort: () => {
        throw new Error('broken');
      },
    });
    rig.life.abort();
    expect(rig.lines).toEqual(['iroh:endpoint test closing: abort failed: broken']);
    rig.expectNothingLeft();
  });

  test('does nothing while an orderly end is under way', async () => {
    const rig = new Rig();
    const closed = rig.life.close();
    rig.life.abort();
    await rig.world.run(closed, 1_000);
    expect(rig.began).toEqual(ORDER);
  });
});
