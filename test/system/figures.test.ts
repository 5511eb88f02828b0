/**
 * What it takes to become direct, and to go on over the relay when the direct path swallows everything, next to two real
 * iroh endpoints on the same network and relay. Prints its figures.
 */
import { expect, test } from '@jest/globals';
import { Lab, type CableOptions } from './lab.ts';
import { PAIRINGS, dialRelayed, waitDirect, withMeeting, type Pairing } from './pairs.ts';
import { LabRelay, Peer } from './peers.ts';

const MEETINGS = 7;
const BLACK_HOLES = 7;
/** How long a black hole lasts, ms: shorter than the 15 s after which a silent path closes. */
const BLACK_HOLE_MS = 4000;
const BEAT_MS = 10;

/** A home connection: 20 ms to the next exchange, so that time is spent on the network as it would be outside of a lab. */
const HOME: CableOptions = { delayMs: 20 };
const REAL: Pairing = { client: 'iroh', server: 'iroh' };

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

function tell(what: string, { client, server }: Pairing, values: readonly number[]): void {
  const all = values.map((value) => Math.round(value)).toSorted((a, b) => a - b);
  console.log(
    `${what}, ${client} dials ${server}: median ${Math.round(median(values))} ms, worst ${all.at(-1)} ms (${all.join(' ')})`,
  );
}

/** From the handshake over the relay to the first direct path that carries data, on the side that dialled, ms. */
async function timesToDirect(
  lab: Lab,
  relay: LabRelay,
  pairing: Pairing,
  cable: CableOptions | undefined,
): Promise<number[]> {
  const [one, other] = [
    await lab.addDevice(await lab.addRouter(), cable),
    await lab.addDevice(await lab.addRouter(), cable),
  ];
  const [client, server] = [
    await Peer.start(one, pairing.client, relay),
    await Peer.start(other, pairing.server, relay),
  ];
  const times: number[] = [];
  for (let count = 0; count < MEETINGS; count++) {
    const [dialler, acceptor] = [await client.again(), await server.again()];
    const links = await dialRelayed(dialler, acceptor);
    times.push((await links[0].waitPath({ kind: 'ip', timeoutMs: 15_000 })).ms);
    await Promise.all([dialler.close(), acceptor.close()]);
  }
  return times;
}

test.each([
  { network: 'home connections, 20 ms each', cable: HOME, factor: 1.5 },
  // Nothing but the work of two busy processes: told, and bounded loosely.
  { network: 'cables without delay', cable: undefined, factor: 20 },
])(
  'time to direct after a relayed connect, next to two real endpoints: $network',
  async ({ network, cable, factor }) => {
    await Lab.with(async (lab) => {
      const relay = await LabRelay.start(lab);
      const real = await timesToDirect(lab, relay, REAL, cable);
      tell(`time to direct, ${network}`, REAL, real);
      for (const pairing of PAIRINGS) {
        const times = await timesToDirect(lab, relay, pairing, cable);
        tell(`time to direct, ${network}`, pairing, times);
        expect(median(times)).toBeLessThanOrEqual(factor * median(real));
      }
    });
  },
);

/** How long no byte comes back after the direct path has become a black hole, ms. */
async function silences(pairing: Pairing): Promise<number[]> {
  const times: number[] = [];
  await withMeeting(
    pairing,
    async (lab) => [await lab.addBehind(), await lab.addBehind()],
    async ({ links, relay, client }) => {
      await waitDirect(links, 15_000);
      await links[0].beat(BEAT_MS);
      for (let count = 0; count < BLACK_HOLES; count++) {
        await pause(500);
        await client.device.router.blackHole(relay.addrs);
        await links[0].mark();
        await pause(BLACK_HOLE_MS);
        const { ms } = await links[0].gap();
        times.push(ms);
        await client.device.router.endBlackHole();
        await waitDirect(links, 30_000);
      }
    },
  );
  return times;
}

/**
 * The limits are ours alone. Real iroh does not go on over the relay within a black hole of 4 s, and between two of them the
 * direct path does not always come back within 30 s: that is no statement about this library.
 */
const OURS = PAIRINGS.filter(({ client, server }) => client === 'iroh-ts' && server === 'iroh-ts');
if (OURS.length === 0)
  console.log('black hole: not measured, for no pair is iroh-ts on both sides (IROH_TS_LAB_PAIRS)');
for (const pairing of OURS) {
  test(`a direct path that swallows everything: bytes flow again over the relay (${pairing.client} on both sides)`, async () => {
    const times = await silences(pairing);
    tell('silence in a black hole', pairing, times);
    expect(median(times)).toBeLessThanOrEqual(1000);
    expect(Math.max(...times)).toBeLessThanOrEqual(2000);
  }, 180_000);
}
