/** Invariants of the relay client under random orders of everything that can happen to it (`RELAY_SEED` replays one). */
import { expect, test } from '@jest/globals';
import {
  MAX_RELAY_BACKOFF_MS,
  RELAY_CONNECT_TIMEOUT_MS,
  RELAY_INACTIVE_CLEANUP_MS,
  UNDELIVERABLE_DATAGRAM_TIMEOUT_MS,
} from '../../src/machines/relay-client.ts';
import { FRAME_TYPE, RELAY_STATUS, encodeStatus } from '../../src/relay/frames.ts';
import { RelayRig } from '../support/relay-rig.ts';
import { SimRng } from '../support/sim-rng.ts';

const RUNS = Number(process.env['SIM_RUNS'] ?? 15);
const STEPS = 60;
const ONLY = process.env['RELAY_SEED'];

async function runOne(seed: number): Promise<void> {
  const random = new SimRng(seed);
  const rig = new RelayRig(seed);
  const relays = ['https://one.example/', 'http://two.example/', 'https://three.example/'].map((url, i) =>
    rig.addRelay(url, { delayMs: 5 + 10 * i }),
  );
  const [a, b] = [rig.addPeer(), rig.addPeer()];
  const stable = rig.addRelay('https://stable.example/');
  b.manager.setHome(stable.url);
  let home: string | undefined;
  // C2: what is told is told of the home of that moment.
  a.manager.homeRelay.subscribe('test', (status) => {
    if (status !== undefined && status.url.href !== home) a.errors.push(`C2: told of ${status.url.href}`);
  });
  await rig.run(1_000);
  const now = (): number => rig.world.clock.now();
  const relay = (): (typeof relays)[number] => random.pick(relays);
  let prompts = 0;
  const actions: (() => void)[] = [
    () => {
      const next = random.chance(0.1) ? undefined : relay().url;
      home = next?.href;
      a.manager.setHome(next);
    },
    () => relay().restart(),
    () => relay().goDown(),
    () => relay().comeUp(),
    () => relay().comeUp(),
    () => relay().fallSilent(),
    () => a.manager.checkConnections(random.chance(0.5) ? ['10.0.0.1'] : ['192.0.2.1']),
    () => a.manager.cutBackoff(),
    () => a.send(relay(), b, `a${now()}`),
    () => a.send(relay(), b, ...Array.from({ length: 30 }, () => `a${now()}`)),
    () => b.send(relay(), a, `b${now()}`),
    () => {
      const open = a.sockets.findLast(({ url }) => url !== stable.url.href);
      if (open === undefined) return;
      const { peer } = a.socketOf(rig.relays.get(relays.find(({ url }) => url.href === open.url)!.url)!);
      if (random.chance(0.3)) peer.terminate();
      else if (random.chance(0.3)) peer.send(Uint8Array.of(FRAME_TYPE.pong, ...new Uint8Array(8)));
      else if (random.chance(0.5)) peer.send(encodeStatus(random.pick(Object.values(RELAY_STATUS))));
      else peer.send(Uint8Array.from({ length: random.below(50) }, () => random.below(256)));
    },
  ];
  for (let i = 0; i < STEPS; i++) {
    actions[random.below(actions.length)]!();
    // C7: whatever became of the others, this way is as short as ever.
    const at = now();
    const isUp = a.stateOf(stable) === 'connected';
    a.send(stable, b, 'prompt');
    await rig.run(50);
    const prompt = b.received.findLast(({ text }) => text === 'prompt');
    if (isUp) {
      prompts++;
      expect(prompt).toMatchObject({ at: at + 2 * stable.delayMs, url: stable.url.href });
    }
    await rig.run(random.chance(0.1) ? 70_000 : random.below(4) * 900);
    // C1: it may be dialled, but it is there.
    if (home !== undefined) expect(a.manager.activeRelays().map(({ url }) => url.href)).toContain(home);
  }
  expect(prompts).toBeGreaterThan(STEPS / 2);
  // C4: nothing is older than the limit, the way, and the time that TCP may take over a window.
  for (const { at, text } of [...a.received, ...b.received])
    // Among the random frames are datagrams, too.
    if (/^[ab]\d+/.test(text))
      expect(at - Number(text.slice(1))).toBeLessThanOrEqual(UNDELIVERABLE_DATAGRAM_TIMEOUT_MS + 200);
  // All is well again: home is connected within one attempt and one wait; who is not needed is left.
  for (const each of relays) each.comeUp();
  await rig.run(RELAY_CONNECT_TIMEOUT_MS + 2 * MAX_RELAY_BACKOFF_MS + 10_000);
  if (home !== undefined)
    expect(a.manager.homeRelay.value).toMatchObject({ url: { href: home }, state: 'connected' });
  await rig.run(RELAY_INACTIVE_CLEANUP_MS);
  expect(a.manager.activeRelays().map(({ url }) => url.href)).toEqual(home === undefined ? [] : [home]);
  // C5 is looked at with each socket; no timer and no actor is left.
  await rig.close();
}

test(`model-4 inv-C1, inv-C2, inv-C4, inv-C5, inv-C7: ${RUNS} random runs`, async () => {
  const seeds = ONLY === undefined ? Array.from({ length: RUNS }, (_, i) => i + 1) : [Number(ONLY)];
  for (const seed of seeds) {
    try {
      await runOne(seed);
    } catch (cause) {
      throw new Error(`RELAY_SEED=${seed}: ${String(cause)}`, { cause });
    }
  }
});
