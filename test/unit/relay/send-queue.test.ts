import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { SEND_QUEUE_BYTES, SEND_QUEUE_FRAMES, SendQueue } from '../../../src/relay/send-queue.ts';

const frame = (at: number, bytes = 10, datagrams = 1): Parameters<SendQueue['push']>[0] => ({
  message: new Uint8Array(bytes),
  datagrams,
  at,
});

describe('frames that wait for a relay', () => {
  test('first in, first out; the oldest goes when there are too many, with all its datagrams counted', () => {
    const queue = new SendQueue();
    expect(queue.shift()).toBeUndefined();
    expect(queue.oldestAt).toBeUndefined();
    for (let i = 0; i < SEND_QUEUE_FRAMES; i++) expect(queue.push(frame(i, 10, 3))).toBe(0);
    expect(queue.push(frame(SEND_QUEUE_FRAMES))).toBe(3);
    expect([queue.length, queue.oldestAt]).toEqual([SEND_QUEUE_FRAMES, 1]);
    expect(queue.shift()!.at).toBe(1);
  });

  test('as many go as the bytes of the new one need', () => {
    const queue = new SendQueue();
    for (let i = 0; i < 16; i++) expect(queue.push(frame(i, SEND_QUEUE_BYTES / 16))).toBe(0);
    expect(queue.push(frame(16, SEND_QUEUE_BYTES / 8))).toBe(2);
    expect(queue.length).toBe(15);
  });

  test('what is older than a time goes', () => {
    const queue = new SendQueue();
    for (const at of [1, 2, 2, 3]) queue.push(frame(at));
    expect(queue.dropUntil(2)).toBe(3);
    expect(queue.oldestAt).toBe(3);
    expect(queue.dropUntil(100)).toBe(1);
    expect(queue.dropUntil(100)).toBe(0);
  });

  test('is a list, whatever the order of calls', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.constant('shift'), fc.integer({ min: 1, max: 300_000 })), { maxLength: 1_500 }),
        (calls) => {
          const queue = new SendQueue();
          const list: { at: number; bytes: number }[] = [];
          calls.forEach((call, at) => {
            if (call === 'shift') {
              expect(queue.shift()?.at).toBe(list.shift()?.at);
              return;
            }
            const bytes = call;
            let dropped = 0;
            while (
              list.length > 0 &&
              (list.length >= SEND_QUEUE_FRAMES ||
                list.reduce((sum, each) => sum + each.bytes, bytes) > SEND_QUEUE_BYTES)
            ) {
              list.shift();
              dropped++;
            }
            list.push({ at, bytes });
            expect(queue.push(frame(at, bytes))).toBe(dropped);
            expect(queue.length).toBe(list.length);
          });
        },
      ),
      { numRuns: 30 },
    );
  });
});
