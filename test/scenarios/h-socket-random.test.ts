/** Invariants of the socket actor (S1 to S7) under random orders of everything that can happen to it. */
import { expect, test } from '@jest/globals';
import {
  MAX_NETWORK_WAIT_MS,
  needsFullReport,
  strongerReason,
  REPORT_REASONS,
} from '../../src/machines/socket.ts';
import { toAddr } from '../../src/base/socket-addr.ts';
import { SocketRig, relayUrl } from '../support/socket-rig.ts';
import { SimRng } from '../support/sim-rng.ts';

const RUNS = Number(process.env['SIM_RUNS'] ?? 60);
const STEPS = 60;
/** To replay one run. */
const ONLY = process.env['SOCKET_SEED'];

async function runOne(seed: number): Promise<void> {
  const rng = new SimRng(seed);
  const rig = new SocketRig({
    seed,
    relays: rng.below(3),
    rebind: async () => {
      await rig.world.sleep(rng.below(300));
      if (rng.chance(0.3)) throw new Error('no socket');
    },
  });
  const sender = rig.actor.sender('test');
  const offered = new Set([...rig.relays].map(({ url }) => url.href));
  const running = (): number => rig.runs.filter((run) => !run.signal.aborted && !done.has(run)).length;
  const done = new Set<(typeof rig.runs)[number]>();
  let majorAt: number | undefined;
  rig.actor.start();
  const actions: (() => void)[] = [
    () => void sender.send({ type: 'networkHint' }),
    () => void sender.send({ type: 'relayMapChanged' }),
    () => void sender.send({ type: 'directRefresh' }),
    () => void sender.send({ type: 'localAddrsChanged' }),
    () => void sender.send({ type: 'addressFound' }),
    () => {
      const isMajor = rng.chance(0.5);
      if (isMajor) majorAt = rig.world.clock.now();
      void sender.send({ type: 'forceNetworkChange', isMajor });
    },
    () => (rig.network.defaultRoute = rng.chance(0.5) ? 'eth0' : undefined),
    () => void rig.externalAddrs.add(toAddr('203.0.113.1', rng.between(1, 9))),
    () => {
      const url = relayUrl(rng.below(4));
      offered.add(url.href);
      rig.relays.set({ url, quicPort: undefined, authToken: undefined });
    },
    () => void rig.relays.delete(relayUrl(rng.below(4))),
    () => {
      const run = rig.runs.at(-1);
      if (run === undefined || run.signal.aborted || done.has(run)) return;
      done.add(run);
      const [first] = [...rig.relays];
      if (rng.chance(0.3)) run.fail(new Error('no report'));
      else run.finish({ preferredRelay: rng.chance(0.5) ? first?.url : undefined });
    },
  ];
  for (let i = 0; i < STEPS; i++) {
    actions[rng.below(actions.length)]!();
    const before = rig.homeRelay.value;
    await rig.run(rng.below(4) * 700);
    // S1
    expect(running()).toBeLessThanOrEqual(1);
    // S4
    const addrs = rig.actor.directAddrs.value.map(({ addr }) => addr);
    expect(new Set(addrs).size).toBe(addrs.length);
    // S7
    if (before !== undefined) expect(rig.homeRelay.value).toBeDefined();
    if (rig.homeRelay.value !== undefined) expect(offered.has(rig.homeRelay.value.url.href)).toBe(true);
  }
  // S3: told of every major change, at most 5 s, a look, and the time of two binds later.
  await rig.run(MAX_NETWORK_WAIT_MS + 1_000);
  if (majorAt !== undefined) {
    const from = majorAt;
    expect(rig.notices.some(({ isMajor, at }) => isMajor && at >= from)).toBe(true);
  }
  // S2: who wants a report while one runs gets it, in its strength, once that one ends.
  for (const run of rig.runs) done.add(run);
  rig.runs.at(-1)?.finish();
  await rig.run(1);
  if (rig.relays.size === 0) rig.relays.set({ url: relayUrl(0), quicPort: undefined, authToken: undefined });
  for (let i = 0; i < 2; i++) {
    if (running() > 0) {
      const run = rig.runs.at(-1)!;
      done.add(run);
      run.finish();
      await rig.run(1);
    }
  }
  sender.send({ type: 'addressFound' });
  await rig.run(1);
  const count = rig.runs.length;
  sender.send({ type: 'relayMapChanged' });
  sender.send({ type: 'addressFound' });
  await rig.run(1);
  expect(rig.runs.length).toBe(count);
  rig.runs.at(-1)!.finish();
  await rig.run(1);
  expect(rig.runs.length).toBe(count + 1);
  expect(rig.runs.at(-1)!.isFull).toBe(true);
  // S5
  if (rng.chance(0.5)) rig.actor.closeStarted();
  await rig.stop();
  const [story, published] = [rig.story.length, rig.published.length];
  let emissions = 0;
  rig.actor.directAddrs.changes$.subscribe(() => emissions++);
  sender.send({ type: 'directRefresh' });
  rig.network.addInterface('late', ['198.51.100.9']);
  await rig.run(60_000);
  expect([rig.story.length, rig.published.length, emissions]).toEqual([story, published, 1]);
  expect(rig.world.clock.pendingTimers).toBe(0);
  expect(rig.errors).toEqual([]);
}

test(`inv-S1 … inv-S5, inv-S7: ${RUNS} random runs`, async () => {
  const seeds = ONLY === undefined ? Array.from({ length: RUNS }, (_, i) => i + 1) : [Number(ONLY)];
  for (const seed of seeds) {
    try {
      await runOne(seed);
    } catch (cause) {
      throw new Error(`SOCKET_SEED=${seed}: ${String(cause)}`, { cause });
    }
  }
});

test('the stronger of two reasons stays, in any order', () => {
  for (const a of REPORT_REASONS) {
    expect(strongerReason(undefined, a)).toBe(a);
    for (const b of REPORT_REASONS) {
      expect(strongerReason(a, b)).toBe(strongerReason(b, a));
      expect(needsFullReport(strongerReason(a, b))).toBe(needsFullReport(a) || needsFullReport(b));
    }
  }
});
