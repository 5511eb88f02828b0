/** 256 MiB each way, byte-identical, with real iroh as source and as sink, both roles. */
import { describe, expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import { DIALLERS, useRustPeer } from './fixture.ts';
import { sourceChunks, sourceHash } from '../source-bytes.ts';

const rust = useRustPeer();
const MIB = 1_024 * 1_024;
const LENGTH = 256 * MIB;
const CHUNK = 256 * 1_024;

describe('256 MiB each way', () => {
  test.each(DIALLERS)(
    '%s',
    async (dialler) => {
      const { ours, theirs } = await rust.pair(dialler);
      const sinking = theirs.call('sink');
      const send = await ours.openUni();
      for (const chunk of sourceChunks(1, LENGTH, CHUNK)) await send.write(chunk);
      send.finish();
      expect(await sinking).toMatchObject({ bytes: LENGTH, sha256: sourceHash(1, LENGTH) });

      const sourcing = theirs.call('source', { bytes: LENGTH, seed: 2 });
      const hash = createHash('sha256');
      let bytes = 0;
      for await (const chunk of await ours.acceptUni()) {
        bytes += chunk.length;
        hash.update(chunk);
      }
      expect(bytes).toBe(LENGTH);
      expect(hash.digest('hex')).toBe(sourceHash(2, LENGTH));
      expect(await sourcing).toMatchObject({ bytes: LENGTH, sha256: sourceHash(2, LENGTH) });
    },
    180_000,
  );

  test('both ways at once', async () => {
    const half = LENGTH / 4;
    const { ours, theirs } = await rust.pair('we dial');
    const sinking = theirs.call('sink');
    const sourcing = theirs.call('source', { bytes: half, seed: 2 });
    const sendAll = async (): Promise<void> => {
      const send = await ours.openUni();
      for (const chunk of sourceChunks(1, half, CHUNK)) await send.write(chunk);
      send.finish();
    };
    const hash = createHash('sha256');
    const receiveAll = async (): Promise<void> => {
      for await (const chunk of await ours.acceptUni()) hash.update(chunk);
    };
    await Promise.all([sendAll(), receiveAll()]);
    expect(await sinking).toMatchObject({ bytes: half, sha256: sourceHash(1, half) });
    expect(hash.digest('hex')).toBe(sourceHash(2, half));
    await sourcing;
  }, 120_000);
});
