/** A thousand connections, one after the other, leave nothing behind in our engine. */
import { expect, test } from '@jest/globals';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { actorOf } from '../../src/actors/internals.ts';
import type { QuicEndpoint } from '../../src/quic/endpoint.ts';
import { connect, DIALLERS, eventually, withEndpoints, type Pair } from './native.ts';

const CONNECTIONS = 1_000;
/** Caches (tickets, compiled code, pools) have reached their size by then. */
const WARM_UP = 200;
const MAX_GROWTH_BYTES = 5 * 1_024 * 1_024;

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** Bytes in use after a full collection. */
function heapBytes(): number {
  collectGarbage();
  collectGarbage();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

async function echoOnce({ ours, theirs }: Pick<Pair, 'ours' | 'theirs'>, i: number): Promise<void> {
  const message = Uint8Array.of(i >> 8, i);
  const { send, recv } = await ours.openBi();
  await send.write(message);
  send.finish();
  const remote = await theirs.acceptBi();
  await remote.send.writeAll(await remote.recv.readToEnd(16));
  await remote.send.finish();
  expect(await recv.readToEnd(16)).toEqual(message);
}

test(
  '1,000 sequential connections, half of them dialled by iroh',
  () =>
    withEndpoints(async (our, their) => {
      let engine: QuicEndpoint | undefined;
      let warm = 0;
      for (let i = 0; i < CONNECTIONS; i++) {
        if (i === WARM_UP) warm = heapBytes();
        const { ours, theirs } = await connect(DIALLERS[i % 2]!, our, their);
        engine ??= actorOf.get(ours)!.driver.engine as QuicEndpoint;
        await echoOnce({ ours, theirs }, i);
        // Both sides end some.
        if (i % 4 < 2) {
          ours.close(i);
          await theirs.closed();
        } else {
          theirs.close(BigInt(i), []);
          expect((await ours.closed).errorCode).toBe(i);
        }
      }
      await eventually(() => engine!.connectionCount === 0);
      expect(Object.entries(engine!.tableSizes).filter(([, size]) => size !== 0)).toEqual([]);
      expect(engine!.pollTimeout()).toBeUndefined();
      expect(heapBytes() - warm).toBeLessThan(MAX_GROWTH_BYTES);
    }),
  120_000,
);
