/** Keys with real iroh: exporter on both ends, key updates commanded on either side while data flows. */
import { describe, expect, test } from '@jest/globals';
import { actorFor, DIALLERS, eventually, useRustPeer } from './fixture.ts';
import { sourceChunks, sourceHash } from '../source-bytes.ts';

const rust = useRustPeer();
const LENGTH = 16 << 20;

describe('B18: keying material is equal on both ends', () => {
  test.each(DIALLERS)('%s', async (dialler) => {
    const { ours, theirs } = await rust.pair(dialler);
    const seen = new Set<string>();
    for (const label of ['EXPORTER-one', 'EXPORTER-two']) {
      for (const context of ['', 'context']) {
        for (const length of [16, 32, 100]) {
          const our = Buffer.from(ours.exportKeyingMaterial(length, label, Buffer.from(context)));
          const { data } = await theirs.call<{ data: string }>('exportKeyingMaterial', {
            label,
            context: Buffer.from(context).toString('base64'),
            length,
          });
          expect(our.toString('base64')).toBe(data);
          seen.add(data.slice(0, 16));
        }
      }
    }
    expect(seen.size).toBe(2 * 2 * 3);
  });
});

describe('key updates during a transfer each way', () => {
  test.each(DIALLERS)('%s', async (dialler) => {
    const { ours, theirs } = await rust.pair(dialler, { their: { layer: 'noq' } });
    const { quic } = actorFor(ours);
    const sinking = theirs.call('sink');
    const sourcing = theirs.call('source', { bytes: LENGTH, seed: 2, chunk: 65_536 });
    const send = async (): Promise<void> => {
      const stream = await ours.openUni();
      for (const chunk of sourceChunks(1, LENGTH, 65_536)) await stream.write(chunk);
      stream.finish();
    };
    const receive = async (): Promise<number> => {
      let length = 0;
      for await (const chunk of await ours.acceptUni()) length += chunk.length;
      return length;
    };
    let isDone = false;
    const all = Promise.all([sinking, sourcing, send(), receive()]).finally(() => (isDone = true));
    // One update may follow another three PTOs later (RFC 9001 §6.5); each side has turns.
    let turn = 0;
    await eventually(async () => {
      if (turn++ % 2 === 0) quic.forceKeyUpdate();
      else await theirs.call('keyUpdate');
      return isDone;
    });
    const [sunk, sourced, , received] = await all;
    expect(sunk).toMatchObject({ bytes: LENGTH, sha256: sourceHash(1, LENGTH) });
    expect(sourced).toMatchObject({ bytes: LENGTH, sha256: sourceHash(2, LENGTH) });
    expect(received).toBe(LENGTH);
    expect(ours.stats().keyUpdates).toBeGreaterThanOrEqual(2);
    expect(ours.closeReason).toBeUndefined();
  });

  test.each(DIALLERS)('%s: while nothing else is sent, one by one', async (dialler) => {
    const { ours, theirs } = await rust.pair(dialler, {
      our: { transport: { keyUpdateAfterPackets: undefined } },
      their: { layer: 'noq' },
    });
    const { quic } = actorFor(ours);
    const ping = async (): Promise<void> => {
      ours.sendDatagram(Buffer.from('ping'));
      await theirs.call('readDatagram');
      await theirs.call('sendDatagram', { data: Buffer.from('pong').toString('base64') });
      await ours.readDatagram();
    };
    for (let round = 1; round <= 4; round++) {
      // Until it is allowed again, nothing happens.
      await eventually(async () => {
        if (round % 2 === 0) quic.forceKeyUpdate();
        else await theirs.call('keyUpdate');
        await ping();
        return ours.stats().keyUpdates >= round;
      });
    }
    expect(ours.stats().droppedPackets).toBe(0);
    expect(ours.closeReason).toBeUndefined();
  });
});
