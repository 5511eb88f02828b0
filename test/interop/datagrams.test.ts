/** Datagrams with real iroh, of every size up to the largest, in both roles. */
import { describe, expect, test } from '@jest/globals';
import { SendDatagramError } from '../../src/index.ts';
import { DIALLERS, eventually, nativeBytes, withPair } from './native.ts';
import { sameBytes, sourceBytes } from './source-bytes.ts';

/** UDP payload bytes that path MTU discovery reaches on loopback: the upper bound of both sides. */
const MTU = 1452;
/** Short header with an 8-byte connection id and a packet number of up to 4 bytes, tag, frame type, frame length. */
const MAX_OVERHEAD = 1 + 8 + 4 + 16 + 1 + 8;

describe('datagrams up to the maximum size', () => {
  test.each(DIALLERS)('%s', (dialler) =>
    withPair(dialler, async ({ ours, theirs }) => {
      // Each side's limit grows with its path MTU.
      await eventually(() => ours.paths[0]!.stats.mtu === MTU && theirs.paths()[0]!.stats.currentMtu === MTU);
      const ourMax = ours.maxDatagramSize!;
      const theirMax = theirs.maxDatagramSize()!;
      expect(ourMax).toBeGreaterThanOrEqual(MTU - MAX_OVERHEAD);
      expect(theirMax).toBeGreaterThanOrEqual(MTU - MAX_OVERHEAD);
      for (const size of [0, 1, 100, 1_000, ourMax - 1, ourMax]) {
        const data = sourceBytes(1, size);
        ours.sendDatagram(data);
        expect(sameBytes(Uint8Array.from(await theirs.readDatagram()), data)).toBe(true);
      }
      for (const size of [0, 1, 100, 1_000, theirMax - 1, theirMax]) {
        const data = sourceBytes(1, size);
        theirs.sendDatagram(nativeBytes(data));
        expect(sameBytes(await ours.readDatagram(), data)).toBe(true);
      }
      const tooLarge = expect.objectContaining({ code: 'SendDatagramError.TooLarge' });
      expect(() => ours.sendDatagram(new Uint8Array(ourMax + 1))).toThrow(SendDatagramError);
      expect(() => ours.sendDatagram(new Uint8Array(ourMax + 1))).toThrow(tooLarge);
      expect(() => theirs.sendDatagram(nativeBytes(new Uint8Array(theirMax + 1)))).toThrow();
    }),
  );

  test('iroh drops what does not fit its peer: we take none', () =>
    withPair(
      'iroh dials',
      async ({ theirs }) => {
        expect(theirs.maxDatagramSize()).toBeNull();
        expect(() => theirs.sendDatagram([1])).toThrow('UnsupportedByPeer');
      },
      { our: { transport: { datagramReceiveBufferSize: undefined } } },
    ));

  test('a burst is kept in order', () =>
    withPair('we dial', async ({ ours, theirs }) => {
      const COUNT = 200;
      for (let i = 0; i < COUNT; i++) ours.sendDatagram(Uint8Array.of(i, 7));
      const received: number[] = [];
      // Unreliable by design, so that only order is promised; the last one is sent until it arrives.
      while (received.at(-1) !== COUNT) {
        const next = theirs.readDatagram();
        ours.sendDatagram(Uint8Array.of(COUNT, 7));
        received.push((await next)[0]!);
      }
      expect(received).toEqual([...received].sort((a, b) => a - b));
      expect(received.length).toBeGreaterThan(COUNT / 2);
    }));
});
