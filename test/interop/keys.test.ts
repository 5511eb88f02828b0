/** Keys with real iroh: updates from both sides while data flows, and resumed sessions in both roles. */
import { describe, expect, test } from '@jest/globals';
import { actorOf } from '../../src/actors/internals.ts';
import type { Connection } from '../../src/index.ts';
import type { QlogFactory } from '../../src/quic/qlog.ts';
import {
  connect,
  DIALLERS,
  eventually,
  nativeBytes,
  readNative,
  withEndpoints,
  withPair,
  type Dialler,
  type Pair,
} from './native.ts';
import { sameBytes, sourceBytes } from './source-bytes.ts';

/** Enough packets each way for iroh, which starts its first update after 10 to 1,000 of its own (noq `key_phase_size`). */
const LENGTH = 1_500_000;

/** Both sides send {@link LENGTH} bytes at the same time. Gives the received bytes. */
async function exchange({ ours, theirs }: Pair): Promise<{ atUs: Uint8Array; atThem: Uint8Array }> {
  const send = async (): Promise<void> => {
    const stream = await ours.openUni();
    await stream.write(sourceBytes(1, LENGTH));
    stream.finish();
  };
  const sendNative = async (): Promise<void> => {
    const stream = await theirs.openUni();
    await stream.writeAll(nativeBytes(sourceBytes(2, LENGTH)));
    await stream.finish();
  };
  const receive = async (): Promise<Uint8Array> => (await ours.acceptUni()).readToEnd(LENGTH);
  const receiveNative = async (): Promise<Uint8Array> => readNative(await theirs.acceptUni(), LENGTH);
  const [atUs, atThem] = await Promise.all([receive(), receiveNative(), send(), sendNative()]);
  return { atUs, atThem };
}

describe('key update during a transfer', () => {
  test.each(DIALLERS)('%s: iroh updates and we follow, we update and iroh follows', (dialler) =>
    withPair(
      dialler,
      async (pair) => {
        const { quic } = actorOf.get(pair.ours)!;
        const updates = (): number => pair.ours.stats().keyUpdates;
        /** Moves bytes, calling `meanwhile` again and again, until there have been `count` updates. */
        const exchangeUntil = async (count: number, meanwhile: () => void): Promise<void> => {
          while (updates() < count) {
            let isDone = false;
            const finish = (): void => void (isDone = true);
            const exchanging = exchange(pair);
            exchanging.then(finish, finish);
            await eventually(() => (meanwhile(), isDone));
            const { atUs, atThem } = await exchanging;
            expect(sameBytes(atUs, sourceBytes(2, LENGTH))).toBe(true);
            expect(sameBytes(atThem, sourceBytes(1, LENGTH))).toBe(true);
          }
        };
        // This side is told to start none: the first one is the peer's.
        await exchangeUntil(1, () => undefined);
        const theirs = updates();
        // Does nothing until an update is allowed again: acknowledged, and the old keys gone (RFC 9001 §6.1, §6.5).
        await exchangeUntil(theirs + 2, () => quic.forceKeyUpdate());
      },
      { our: { transport: { keyUpdateAfterPackets: undefined } } },
    ),
  );
});

describe('resumption', () => {
  /** Measures what this side sent of the TLS handshake under Handshake keys: without certificates it is short. */
  function cryptoMeter(): { qlog: QlogFactory; sent: number[] } {
    const sent: number[] = [];
    const qlog: QlogFactory = () => {
      const index = sent.push(0) - 1;
      return {
        write: (text) => {
          const record = JSON.parse(text.slice(1)) as {
            name?: string;
            data?: {
              header: { packet_type: string };
              frames: { frame_type: string; offset?: number; length?: number; raw?: { length: number } }[];
            };
          };
          if (record.name !== 'quic:packet_sent' || record.data!.header.packet_type !== 'handshake') return;
          for (const { frame_type, offset, length, raw } of record.data!.frames) {
            if (frame_type === 'crypto')
              sent[index] = Math.max(sent[index]!, offset! + (raw?.length ?? length!));
          }
        },
        close: () => undefined,
      };
    };
    return { qlog, sent };
  }

  /** A stream there and back: tickets, which follow the handshake, have arrived by then. */
  async function echo(ours: Connection, theirs: Pair['theirs']): Promise<void> {
    const { send, recv } = await ours.openBi();
    await send.write(Uint8Array.of(1));
    send.finish();
    const remote = await theirs.acceptBi();
    await remote.send.writeAll(await remote.recv.readToEnd(1));
    await remote.send.finish();
    expect(await recv.readToEnd(1)).toEqual(Uint8Array.of(1));
  }

  /** Finished only, and as server EncryptedExtensions too; a certificate and its proof are 50 and 70 bytes more. */
  const RESUMED: Record<Dialler, number> = { 'we dial': 36, 'iroh dials': 260 };

  test.each(DIALLERS)('%s: the second connection resumes the session of the first', (dialler) => {
    const { qlog, sent } = cryptoMeter();
    return withEndpoints(
      async (our, their) => {
        for (let i = 0; i < 3; i++) {
          const { ours, theirs } = await connect(dialler, our, their);
          expect(ours.remoteId.toString()).toBe(their.id().toString());
          expect(theirs.remoteId().toString()).toBe(our.id.toString());
          await echo(ours, theirs);
          ours.close();
          await theirs.closed();
        }
        const [first, second, third] = sent;
        expect(second).toBeLessThanOrEqual(RESUMED[dialler]);
        expect(third).toBeLessThanOrEqual(RESUMED[dialler]);
        expect(first! - second!).toBeGreaterThan(120);
      },
      { our: { qlog } },
    );
  });
});
