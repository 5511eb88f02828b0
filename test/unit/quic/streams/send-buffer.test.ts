import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Writer } from '../../../../src/base/bytes.ts';
import { SendBuffer } from '../../../../src/quic/streams/send-buffer.ts';

const byteAt = (offset: number): number => (offset * 17 + (offset >> 7)) & 0xff;

/** The fate of every byte, one by one. */
class NaiveSendBuffer {
  readonly fate: ('pending' | 'sent' | 'lost' | 'acked')[] = [];

  write(length: number): void {
    for (let i = 0; i < length; i++) this.fate.push('pending');
  }

  each(offset: number, length: number, next: (fate: string) => 'sent' | 'lost' | 'acked' | 'pending'): void {
    for (let i = offset; i < offset + length; i++) this.fate[i] = next(this.fate[i]!);
  }

  get unackedFrom(): number {
    const first = this.fate.findIndex((fate) => fate !== 'acked');
    return first < 0 ? this.fate.length : first;
  }
}

type Step =
  | { readonly type: 'write'; readonly length: number }
  | { readonly type: 'send'; readonly length: number }
  | { readonly type: 'ack'; readonly which: number }
  | { readonly type: 'lose'; readonly which: number };

const steps = fc.array(
  fc.oneof(
    fc.record({ type: fc.constantFrom('write' as const, 'send' as const), length: fc.nat(3_000) }),
    fc.record({ type: fc.constantFrom('ack' as const, 'lose' as const), which: fc.nat(1_000) }),
  ),
  { maxLength: 120 },
) as fc.Arbitrary<Step[]>;

/** Takes a piece and checks that it has the right bytes. */
function take(buffer: SendBuffer, max: number): { offset: number; length: number } {
  const offset = buffer.pendingOffset;
  const w = new Writer();
  w.zeros(max);
  w.pos = 0;
  const length = buffer.writePending(w, max);
  expect(w.pos).toBe(length);
  for (let i = 0; i < length; i++) {
    if (w.bytes[i] !== byteAt(offset + i)) throw new Error(`byte ${offset + i} is wrong`);
  }
  return { offset, length };
}

describe('against a naive twin', () => {
  test('writes, sends, acknowledgments and losses in any order', () => {
    fc.assert(
      fc.property(steps, (list) => {
        const buffer = new SendBuffer();
        const naive = new NaiveSendBuffer();
        const flying: { offset: number; length: number }[] = [];
        for (const step of list) {
          if (step.type === 'write') {
            const start = buffer.end;
            buffer.write(Uint8Array.from({ length: step.length }, (_, i) => byteAt(start + i)));
            naive.write(step.length);
          } else if (step.type === 'send') {
            if (!buffer.hasPending || step.length === 0) continue;
            const sent = take(buffer, step.length);
            expect(sent.length).toBeGreaterThan(0);
            naive.each(sent.offset, sent.length, (fate) => (fate === 'acked' ? 'acked' : 'sent'));
            flying.push(sent);
          } else if (flying.length > 0) {
            const [packet] = flying.splice(step.which % flying.length, 1);
            const { offset, length } = packet!;
            if (step.type === 'ack') {
              buffer.onAcked(offset, length);
              naive.each(offset, length, () => 'acked');
            } else {
              buffer.onLost(offset, length);
              naive.each(offset, length, (fate) => (fate === 'acked' ? 'acked' : 'lost'));
            }
          }
          expect(buffer.unacked).toBe(buffer.end - naive.unackedFrom);
          expect(buffer.isFullyAcked).toBe(naive.unackedFrom === buffer.end);
          // What is lost and not acknowledged will be offered; so will what was never sent.
          if (naive.fate.some((fate) => fate === 'pending' || fate === 'lost'))
            expect(buffer.hasPending).toBe(true);
        }
        // Everything goes out and is acknowledged in the end.
        for (const { offset, length } of flying) buffer.onLost(offset, length);
        for (let i = 0; buffer.hasPending; i++) {
          const { offset, length } = take(buffer, 1_200);
          buffer.onAcked(offset, length);
          expect(i).toBeLessThan(1_000);
        }
        expect(buffer.isFullyAcked).toBe(true);
      }),
      { numRuns: 400 },
    );
  });
});

describe('single steps', () => {
  test('lost ranges go first, merged and in order', () => {
    const buffer = new SendBuffer();
    buffer.write(Uint8Array.from({ length: 100 }, (_, i) => byteAt(i)));
    take(buffer, 60);
    buffer.onLost(20, 10);
    buffer.onLost(0, 10);
    buffer.onLost(10, 10);
    expect([buffer.pendingOffset, buffer.pendingLength]).toEqual([0, 30]);
    expect(take(buffer, 100)).toEqual({ offset: 0, length: 30 });
    expect(take(buffer, 100)).toEqual({ offset: 60, length: 40 });
    expect(buffer.hasPending).toBe(false);
  });

  test('after a Retry all that was sent goes out again', () => {
    const buffer = new SendBuffer();
    buffer.write(Uint8Array.from({ length: 50 }, (_, i) => byteAt(i)));
    take(buffer, 30);
    buffer.retransmitAll();
    expect(take(buffer, 100)).toEqual({ offset: 0, length: 30 });
    expect(take(buffer, 100)).toEqual({ offset: 30, length: 20 });
  });

  test('clear forgets', () => {
    const buffer = new SendBuffer();
    buffer.write(new Uint8Array(50));
    buffer.clear();
    expect([buffer.hasPending, buffer.unacked, buffer.end]).toEqual([false, 0, 50]);
  });
});
