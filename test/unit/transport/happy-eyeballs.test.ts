/** The race over a host's addresses, in virtual time. */
import { expect, test } from '@jest/globals';
import { raceAddresses } from '../../../src/transport/happy-eyeballs.ts';
import { SimWorld } from '../../support/sim-platform.ts';

/** What is found after so long, ms; a text is an error. */
type Lookup = readonly [afterMs: number, ips: readonly string[] | string];
/** What an address does: connects or refuses after so long; nothing at all by default. */
interface Behaviour {
  readonly connectsAfterMs?: number;
  readonly refusesAfterMs?: number;
}

interface Race {
  readonly v4: Lookup;
  readonly v6: Lookup;
  readonly hosts?: Record<string, Behaviour>;
  readonly preferIpv6?: boolean;
  readonly abortAfterMs?: number;
}

const reason = new Error('enough');

/** Runs a race. @returns what won or the error, when, and what was tried when. */
async function run({ v4, v6, hosts = {}, preferIpv6 = false, abortAfterMs }: Race) {
  const world = new SimWorld(1);
  const { clock } = world;
  const tries: [ip: string, atMs: number][] = [];
  const open = new Set<string>();
  const discarded: string[] = [];
  const abort = new AbortController();
  if (abortAfterMs !== undefined) clock.setTimeout(() => abort.abort(reason), abortAfterMs);
  const race = raceAddresses<string>({
    clock,
    preferIpv6,
    signal: abort.signal,
    resolve: async (family) => {
      const [afterMs, ips] = family === 4 ? v4 : v6;
      await world.sleep(afterMs);
      if (typeof ips === 'string') throw new Error(ips);
      return ips;
    },
    connect: (ip, signal) =>
      new Promise((resolve, reject) => {
        tries.push([ip, clock.now()]);
        open.add(ip);
        const { connectsAfterMs, refusesAfterMs } = hosts[ip] ?? {};
        signal.addEventListener('abort', () => {
          open.delete(ip);
          reject(signal.reason as Error);
        });
        if (connectsAfterMs !== undefined) clock.setTimeout(() => resolve(ip), connectsAfterMs);
        if (refusesAfterMs !== undefined)
          clock.setTimeout(() => {
            open.delete(ip);
            reject(new Error(`${ip} refuses`));
          }, refusesAfterMs);
      }),
    discard: (ip) => discarded.push(ip),
  });
  const settled = race.then(
    (won) => ({ won, atMs: clock.now() }),
    (error: unknown) => ({ error, atMs: clock.now() }),
  );
  const result = await world.run(settled, 30_000);
  return { ...result, tries, open: [...open], discarded };
}

test('a dead first address costs a quarter of a second', async () => {
  expect(
    await run({
      v4: [0, ['10.0.0.1', '10.0.0.2', '10.0.0.3']],
      v6: [0, []],
      hosts: { '10.0.0.2': { connectsAfterMs: 20 } },
    }),
  ).toEqual({
    won: '10.0.0.2',
    atMs: 270,
    tries: [
      ['10.0.0.1', 0],
      ['10.0.0.2', 250],
    ],
    // All others are given up.
    open: ['10.0.0.2'],
    discarded: [],
  });
});

test('an address that refuses costs nothing, unless another one is under way', async () => {
  const alone = await run({
    v4: [0, ['10.0.0.1', '10.0.0.2']],
    v6: [0, []],
    hosts: { '10.0.0.1': { refusesAfterMs: 5 }, '10.0.0.2': { connectsAfterMs: 5 } },
  });
  expect(alone).toMatchObject({ won: '10.0.0.2', atMs: 10 });
  const besides = await run({
    v4: [0, ['10.0.0.1', '10.0.0.2', '10.0.0.3']],
    v6: [0, []],
    hosts: { '10.0.0.2': { refusesAfterMs: 5 }, '10.0.0.3': { connectsAfterMs: 5 } },
  });
  expect(besides.tries).toEqual([
    ['10.0.0.1', 0],
    ['10.0.0.2', 250],
    ['10.0.0.3', 500],
  ]);
});

test.each([
  [true, ['fd00::1', '10.0.0.1', 'fd00::2', '10.0.0.2', '10.0.0.3']],
  [false, ['10.0.0.1', 'fd00::1', '10.0.0.2', 'fd00::2', '10.0.0.3']],
])('families take turns, the preferred one first (IPv6: %s)', async (preferIpv6, order) => {
  const result = await run({
    v4: [0, ['10.0.0.1', '10.0.0.2', '10.0.0.3']],
    v6: [0, ['fd00::1', 'fd00::2']],
    preferIpv6,
  });
  expect(result.tries).toEqual(order.map((ip, i) => [ip, 250 * i]));
  expect(result).toMatchObject({ error: { failure: 'dial' }, atMs: 1_000 + 1_500, open: [] });
});

test('the preferred family has 50 ms to be found', async () => {
  const hosts = { '10.0.0.1': { connectsAfterMs: 500 }, 'fd00::1': { connectsAfterMs: 10 } };
  const race = { v4: [5, ['10.0.0.1']], hosts, preferIpv6: true } as const;
  expect((await run({ ...race, v6: [40, ['fd00::1']] })).tries).toEqual([['fd00::1', 40]]);
  // Too late for the first attempt, not for the second.
  expect((await run({ ...race, v6: [100, ['fd00::1']] })).tries).toEqual([
    ['10.0.0.1', 55],
    ['fd00::1', 305],
  ]);
  // It does not exist: nothing to wait for.
  expect((await run({ ...race, v6: [10, 'no such address'] })).tries).toEqual([['10.0.0.1', 10]]);
  expect((await run({ ...race, v6: [1, []] })).tries).toEqual([['10.0.0.1', 5]]);
});

test('addresses that are found while nobody is under way are tried at once', async () => {
  const result = await run({
    v4: [0, ['10.0.0.1']],
    v6: [400, ['fd00::1']],
    hosts: { '10.0.0.1': { refusesAfterMs: 10 }, 'fd00::1': { connectsAfterMs: 10 } },
  });
  expect(result).toMatchObject({ won: 'fd00::1', atMs: 410 });
});

test('no address: the failure of DNS, with its cause', async () => {
  expect(await run({ v4: [10, 'NXDOMAIN'], v6: [5, []] })).toMatchObject({
    error: { failure: 'dns', cause: { message: 'NXDOMAIN' } },
    atMs: 10,
  });
  // A resolver that is silent.
  expect(await run({ v4: [20_000, []], v6: [20_000, []] })).toMatchObject({
    error: { failure: 'dns', cause: { message: expect.stringContaining('3000 ms') } },
    atMs: 3_000,
  });
  const half = await run({
    v4: [20_000, []],
    v6: [0, ['fd00::1']],
    hosts: { 'fd00::1': { connectsAfterMs: 10 } },
  });
  expect(half).toMatchObject({ won: 'fd00::1', atMs: 60 });
});

test('nobody answers: the failure of dialling, with the last cause', async () => {
  expect(await run({ v4: [0, ['10.0.0.1']], v6: [0, []] })).toMatchObject({
    error: { failure: 'dial', cause: { message: expect.stringContaining('10.0.0.1') } },
    atMs: 1_500,
    open: [],
  });
  expect(
    await run({
      v4: [0, ['10.0.0.1']],
      v6: [0, ['fd00::1']],
      hosts: { '10.0.0.1': { refusesAfterMs: 1 }, 'fd00::1': { refusesAfterMs: 1 } },
    }),
  ).toMatchObject({ error: { failure: 'dial', cause: { message: 'fd00::1 refuses' } }, atMs: 2 });
});

test('given up: nothing stays open', async () => {
  const race: Race = { v4: [0, ['10.0.0.1', '10.0.0.2', '10.0.0.3']], v6: [9_000, []] };
  expect(await run({ ...race, abortAfterMs: 300 })).toEqual({
    error: reason,
    atMs: 300,
    tries: [
      ['10.0.0.1', 0],
      ['10.0.0.2', 250],
    ],
    open: [],
    discarded: [],
  });
});

test('two that connect at the same moment: one is kept', async () => {
  const result = await run({
    v4: [0, ['10.0.0.1', '10.0.0.2']],
    v6: [0, []],
    hosts: { '10.0.0.1': { connectsAfterMs: 260 }, '10.0.0.2': { connectsAfterMs: 10 } },
  });
  expect(result).toMatchObject({ won: '10.0.0.1', discarded: ['10.0.0.2'] });
});
