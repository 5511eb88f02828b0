/** Whole routers under random attempts, verdicts, handlers and moments of the end (`ROUTER_SEED` replays one). */
import { expect, test } from '@jest/globals';
import { partsOf } from '../../src/actors/internals.ts';
import { Deferred } from '../../src/actors/wait.ts';
import { Router, type Connection, type IncomingVerdict } from '../../src/index.ts';
import { simulated, type Simulated } from '../support/endpoints.ts';
import { SimRng } from '../support/sim-rng.ts';

const RUNS = Number(process.env['SIM_RUNS'] ?? 15);
const ONLY = process.env['ROUTER_SEED'];
const STRANGERS = 2;
/** Goodbyes take twice or three times as long. */
const GOODBYE_MS = 50;
const hang = (): Promise<never> => new Promise(() => undefined);

/** Sends a byte and has it back, until the connection ends. @param onFirst - Called when the first one is back. @returns how often. */
async function beat(place: Simulated, connection: Connection, onFirst: () => void): Promise<number> {
  const { send, recv } = await connection.openBi();
  for (let beats = 0; ; beats++) {
    try {
      await send.write(Uint8Array.of(beats & 0xff));
      const [byte] = await recv.readExact(1);
      expect(byte).toBe(beats & 0xff);
      if (beats === 0) onFirst();
    } catch (error) {
      if (connection.closeReason === undefined) throw error;
      return beats;
    }
    await place.sleep(25);
  }
}

async function runOne(
  place: Simulated,
  rng: SimRng,
): Promise<{ verdicts: Set<string>; outcomes: Set<string> }> {
  const order: string[] = [];
  const verdicts = new Set<string>();
  const outcomes = new Set<string>();
  let isLateServed = false;
  const server = await place.bind();
  const friend = await place.bind();
  const strangers = await Promise.all(Array.from({ length: STRANGERS }, () => place.bind()));
  const friendIp = friend.boundSockets[0]!.ip;

  const serve = async (connection: Connection, signal: AbortSignal): Promise<void> => {
    const outcome = rng.pick(['return', 'throw', 'hang', 'close', 'wait'] as const);
    outcomes.add(outcome);
    await place.sleep(rng.below(3) * 20);
    if (outcome === 'throw') throw new Error('a handler that throws');
    if (outcome === 'hang') await hang();
    if (outcome === 'close') connection.close(9);
    if (outcome === 'wait')
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  };
  const goodbyes = new Map<string, number>();
  const goodbye = (name: string) => async (): Promise<void> => {
    goodbyes.set(name, (goodbyes.get(name) ?? 0) + 1);
    const how = rng.below(4);
    if (how === 0) throw new Error('no goodbye');
    if (how === 1) await hang();
    await place.sleep(how * GOODBYE_MS);
    order.push(`${name} has said goodbye`);
  };
  const router = Router.builder(server)
    .accept('steady', {
      accept: async (connection) => {
        const { send, recv } = await connection.acceptBi();
        for await (const data of recv) await send.write(data);
      },
      shutdown: goodbye('steady'),
    })
    .accept('odd', {
      onAccepting: (accepting) => {
        if (rng.chance(0.2)) throw new Error('turned away');
        return accepting.connected;
      },
      accept: (connection, { signal }) => serve(connection, signal),
      shutdown: goodbye('odd'),
    })
    .accept('late', () => (isLateServed = true))
    .incomingFilter(({ remoteAddr }) => {
      if (remoteAddr.type === 'ip' && remoteAddr.addr.ip === friendIp) return 'accept';
      const verdict = rng.pick([
        'accept',
        'accept',
        'accept',
        'retry',
        'reject',
        'ignore',
        'throw',
        'nonsense',
      ] as const);
      verdicts.add(verdict);
      if (verdict === 'throw') throw new Error('a filter that throws');
      return verdict as IncomingVerdict;
    })
    .spawn();
  void server.closed.then(() => order.push('endpoint closes'));

  const connection = await friend.connect(place.addrOf(server), 'steady', place.wait);
  const first = new Deferred<void>();
  const beats = beat(place, connection, () => first.resolve());
  place.mustSettle('beats', beats);
  // The end may come at once: before that it must have worked.
  await Promise.race([first.promise, beats]);
  const odd = async (alpn = rng.pick(['odd', 'odd', 'odd', 'steady', 'unknown'])): Promise<void> => {
    const stranger = rng.pick(strangers);
    try {
      const theirs = await stranger.connect(place.addrOf(server), alpn, { timeoutMs: 1_000 });
      if (rng.chance(0.3)) theirs.close(5);
    } catch {
      // Refused, ignored, or no such protocol.
    }
  };
  const steps = rng.between(3, 20);
  for (let i = 0; i < steps; i++) {
    place.mustSettle('odd', odd());
    await place.sleep(rng.below(4) * 15);
  }
  // A4: whatever became of the others.
  expect(connection.closeReason).toBeUndefined();

  const start = place.clock.now();
  const limitMs = rng.between(0, 400);
  const ended: string[] = [];
  const shutdown = async (timeoutMs?: number): Promise<void> => {
    await router.shutdown(timeoutMs === undefined ? {} : { timeoutMs });
    ended.push(`${server.state} ${[...partsOf.get(server)!.system.running].join()}`);
  };
  const callers = [shutdown()];
  for (let i = 0; i < 3; i++) place.mustSettle('late', odd('late'));
  callers.push(shutdown(limitMs));
  await place.sleep(rng.below(50));
  callers.push(shutdown(10_000));
  await Promise.all(callers);
  // The goodbyes' limit, and peers that answer; those in a handshake have three PTOs.
  expect(place.clock.now() - start).toBeLessThanOrEqual(limitMs + 3_200);
  // A1: nobody who comes then.
  expect(isLateServed).toBe(false);
  // A2, A3, A5.
  expect([...goodbyes]).toEqual([
    ['steady', 1],
    ['odd', 1],
  ]);
  const closes = order.indexOf('endpoint closes');
  expect(closes).toBeGreaterThanOrEqual(0);
  if (closes < order.length - 1) expect(place.clock.now() - start).toBeGreaterThanOrEqual(limitMs);
  expect(ended).toEqual(['closed ', 'closed ', 'closed ']);
  expect(await beats).toBeGreaterThan(0);
  expect(await connection.closed).toMatchObject({ code: 'ConnectionError.ApplicationClosed', errorCode: 0 });
  // Goodbyes that nobody waited for.
  await place.sleep(3 * GOODBYE_MS);
  return { verdicts, outcomes };
}

test(`model-5 inv-A1, inv-A2, inv-A3, inv-A4, inv-A5: ${RUNS} random runs`, async () => {
  const seeds = ONLY === undefined ? Array.from({ length: RUNS }, (_, i) => i + 1) : [Number(ONLY)];
  const verdicts = new Set<string>();
  const outcomes = new Set<string>();
  for (const seed of seeds) {
    try {
      await simulated(async (place) => {
        const seen = await runOne(place, new SimRng(seed));
        for (const verdict of seen.verdicts) verdicts.add(verdict);
        for (const outcome of seen.outcomes) outcomes.add(outcome);
      }, seed)();
    } catch (cause) {
      throw new Error(`ROUTER_SEED=${seed}: ${String(cause)}`, { cause });
    }
  }
  if (ONLY !== undefined) return;
  expect([...verdicts].sort()).toEqual(['accept', 'ignore', 'nonsense', 'reject', 'retry', 'throw']);
  expect([...outcomes].sort()).toEqual(['close', 'hang', 'return', 'throw', 'wait']);
});
