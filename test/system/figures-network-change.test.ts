/**
 * From a change of the client's network to bytes that come back, and to a direct path, next to two real iroh endpoints in the same
 * minute. Prints its figures; `IROH_TS_LAB_RUNS=20` measures that often instead of twice.
 */
import { expect, test } from '@jest/globals';
import { tell } from './figures.ts';
import { Lab, type CableOptions, type Device, type Families } from './lab.ts';
import { ALL_PAIRINGS, dialRelayed, seenAs, waitDirect, type Pairing } from './pairs.ts';
import { LabRelay, Peer, type Link } from './peers.ts';

const RUNS = Number(process.env['IROH_TS_LAB_RUNS'] ?? 2);
const BEAT_MS = 5;
/** How long a link is down, ms. */
const OUTAGE_MS = 2000;
/** Everything has settled before the network changes again, ms. */
const SETTLE_MS = 1500;
const WAIT_MS = 30_000;
/** Bound of a test: a run of both takes 10 s, and more when something is wrong. */
const TEST_LIMIT_MS = 60_000 + RUNS * 60_000;
/** The other side's home connection. */
const HOME: CableOptions = { delayMs: 20 };
/** `IROH_TS_LAB_PAIRS=iroh-ts:iroh` chooses others. */
const PAIRINGS: readonly Pairing[] = process.env['IROH_TS_LAB_PAIRS']
  ? ALL_PAIRINGS
  : [
      { client: 'iroh', server: 'iroh' },
      { client: 'iroh-ts', server: 'iroh-ts' },
    ];

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const now = () => Number(process.hrtime.bigint()) / 1e6;

/** What is done to the client's network; resolves when the new one is there. */
type Change = (device: Device) => Promise<void>;

/** Two peers that stay connected while the client's network changes again and again. */
class Couple {
  readonly pairing: Pairing;
  readonly anyMs: number[] = [];
  readonly directMs: number[] = [];
  readonly #client: Peer;
  readonly #links: readonly [Link, Link];

  private constructor(pairing: Pairing, client: Peer, links: readonly [Link, Link]) {
    this.pairing = pairing;
    this.#client = client;
    this.#links = links;
  }

  static async start(lab: Lab, relay: LabRelay, pairing: Pairing, other: Families): Promise<Couple> {
    const device = await lab.addDevice(await lab.addRouter());
    await device.plugSpare(await lab.addRouter({ families: other }));
    const far = await lab.addDevice(await lab.addRouter({ families: 'dual' }), HOME);
    const client = await Peer.start(device, pairing.client, relay);
    const server = await Peer.start(far, pairing.server, relay);
    const links = await dialRelayed(client, server);
    await waitDirect(links, WAIT_MS);
    await links[0].beat(BEAT_MS);
    return new Couple(pairing, client, links);
  }

  async measure(change: Change): Promise<void> {
    const { device } = this.#client;
    await pause(SETTLE_MS);
    await this.#links[0].mark();
    await change(device);
    // The program `ip` has ended: on a busy machine some ten ms after its last step.
    const at = now();
    const told = this.#client.tellMapping();
    const direct = this.#links[1]
      .waitNextPath({ kind: 'ip', prefixes: seenAs(device), timeoutMs: WAIT_MS })
      .then(() => now() - at);
    const any = await this.#links[0].beatAfter(at, WAIT_MS);
    this.anyMs.push(any);
    // After an outage the old path may still be the selected one.
    this.directMs.push(Math.max(any, await direct));
    await told;
  }
}

const CHANGES: readonly { readonly name: string; readonly other: Families; readonly change: Change }[] = [
  { name: 'another network, IPv4 to IPv4', other: 'v4', change: (device) => device.switchOver() },
  { name: 'another network, IPv4 to IPv6 and back', other: 'v6', change: (device) => device.switchOver() },
  {
    name: 'the link is down for 2 s',
    other: 'v4',
    change: async (device) => {
      await device.linkDown();
      await pause(OUTAGE_MS);
      await device.linkUp();
    },
  },
];

test.each(CHANGES)(
  'from a change of the network to a working path, next to two real endpoints: $name',
  async ({ name, other, change }) => {
    await Lab.with(async (lab) => {
      const relay = await LabRelay.start(lab);
      const couples: Couple[] = [];
      for (const pairing of PAIRINGS) couples.push(await Couple.start(lab, relay, pairing, other));
      // In turns, so that a busy moment is everybody's.
      for (let count = 0; count < RUNS; count++) for (const couple of couples) await couple.measure(change);
      for (const { pairing, anyMs, directMs } of couples) {
        tell(`${name}, first byte`, pairing, anyMs);
        tell(`${name}, direct`, pairing, directMs);
      }
      // Each change was survived, and the path was direct again: how fast is a figure, not a condition.
      for (const { directMs } of couples) expect(directMs).toHaveLength(RUNS);
    });
  },
  TEST_LIMIT_MS,
);
