import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Assembler, MAX_RUNS } from '../../../../src/quic/streams/assembler.ts';

/** What an assembler does, byte by byte. */
class NaiveAssembler {
  readonly #bytes = new Map<number, number>();
  readOffset = 0;

  insert(offset: number, data: Uint8Array): void {
    data.forEach((byte, i) => {
      if (offset + i >= this.readOffset) this.#bytes.set(offset + i, byte);
    });
  }

  read(max: number): Uint8Array | undefined {
    const out: number[] = [];
    while (out.length < max && this.#bytes.has(this.readOffset)) {
      out.push(this.#bytes.get(this.readOffset)!);
      this.#bytes.delete(this.readOffset++);
    }
    return out.length === 0 ? undefined : Uint8Array.from(out);
  }
}

/** The byte at an offset: the same in every copy, as RFC 9000 §2.2 demands of a sender. */
const byteAt = (offset: number): number => (offset * 31 + (offset >> 8)) & 0xff;
const piece = (offset: number, length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => byteAt(offset + i));

type Step =
  | { readonly type: 'insert'; readonly offset: number; readonly length: number }
  | { readonly type: 'read'; readonly max: number };

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({ type: fc.constant('insert' as const), offset: fc.nat(400), length: fc.nat(60) }),
    },
    { weight: 1, arbitrary: fc.record({ type: fc.constant('read' as const), max: fc.nat(150) }) },
  ),
  { maxLength: 80 },
);

describe('against a naive twin', () => {
  test('any pieces in any order, with reads between', () => {
    fc.assert(
      fc.property(steps, fc.boolean(), (list, big) => {
        const real = new Assembler();
        const naive = new NaiveAssembler();
        for (const step of list) {
          if (step.type === 'insert') {
            const { offset, length } = step;
            // Views of large packets are kept, those that use little of theirs are copied: both are tried.
            const packet = new Uint8Array(big ? 2_000 : length + 8);
            packet.set(piece(offset, length), 8);
            real.insert(offset, packet.subarray(8, 8 + length));
            naive.insert(offset, piece(offset, length));
          } else {
            expect(real.read(step.max)?.join()).toBe(naive.read(step.max)?.join());
            expect(real.readOffset).toBe(naive.readOffset);
          }
        }
        const rest = real.readable;
        expect(real.contiguousEnd - real.readOffset).toBe(rest);
        expect(naive.read(10_000)?.length ?? 0).toBe(rest);
        const left = real.read(10_000);
        expect(left).toEqual(rest === 0 ? undefined : piece(real.readOffset - rest, rest));
      }),
      { numRuns: 300 },
    );
  });
});

describe('limits', () => {
  test('gaps: one more than the limit closes the connection, filling them goes on', () => {
    const assembler = new Assembler();
    for (let i = 1; i <= MAX_RUNS; i++) assembler.insert(2 * i, piece(2 * i, 1));
    expect(() => assembler.insert(2 * MAX_RUNS + 2, piece(2 * MAX_RUNS + 2, 1))).toThrow('too many gaps');
    for (let i = 0; i <= MAX_RUNS; i++) assembler.insert(2 * i, piece(2 * i, 2));
    expect(assembler.readable).toBe(2 * MAX_RUNS + 2);
    expect(Buffer.compare(assembler.read(1_000_000)!, piece(0, 2 * MAX_RUNS + 2))).toBe(0);
  });

  test('bytes that come one at a time do not cost an object each', () => {
    // A peer may send a window in frames of one byte: what is kept must stay within a small factor of what arrived.
    const count = 50_000;
    const offsets = Array.from({ length: count }, (_, i) => i);
    // Every other one of a thousand, then those between, which join what is on both sides of them.
    const weave = (i: number): number => i - (i % 1_000) + 2 * (i % 500) + (i % 1_000 < 500 ? 1 : 0);
    for (const order of [
      offsets,
      offsets.toReversed(),
      offsets.map(weave),
      offsets.map(weave).toReversed(),
    ]) {
      const assembler = new Assembler();
      const packet = new Uint8Array(1_200);
      for (const offset of order) {
        packet[7] = byteAt(offset);
        assembler.insert(offset, packet.subarray(7, 8));
      }
      expect(assembler.readable).toBe(count);
      expect(assembler.chunkCount).toBeLessThan(count / 50);
      expect(Buffer.compare(assembler.read(count)!, piece(0, count))).toBe(0);
    }
  });

  test('clear forgets what is there', () => {
    const assembler = new Assembler();
    assembler.insert(0, piece(0, 10));
    assembler.insert(20, piece(20, 10));
    assembler.clear();
    expect(assembler.chunkCount).toBe(0);
  });
});
