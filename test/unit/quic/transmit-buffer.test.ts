import { describe, expect, test } from '@jest/globals';
import { SLAB_BYTES, TransmitBuffer } from '../../../src/quic/transmit-buffer.ts';

/** A copy: the result of `allocate` is reused. */
function place(buffer: TransmitBuffer, size: number): { bytes: Uint8Array; start: number } {
  const { bytes, start } = buffer.allocate(size);
  return { bytes, start };
}

describe('memory for outgoing datagrams', () => {
  test('is handed out back to back, without what was given back', () => {
    const buffer = new TransmitBuffer();
    const first = place(buffer, 1_200);
    buffer.shrink(100);
    const second = place(buffer, 1_200);
    expect([first.start, second.start]).toEqual([0, 100]);
    expect(second.bytes).toBe(first.bytes);
  });

  test('of datagrams that are under way never overlaps', () => {
    const buffer = new TransmitBuffer();
    const used = new Map<ArrayBufferLike, number>();
    for (let i = 0; i < 300; i++) {
      const { bytes, start } = place(buffer, 1_452);
      expect(start).toBeGreaterThanOrEqual(used.get(bytes.buffer) ?? 0);
      expect(start + 1_452).toBeLessThanOrEqual(bytes.length);
      used.set(bytes.buffer, start + 1_452);
    }
    expect(used.size).toBeGreaterThan(1);
  });

  test('is the same again after everything has left', () => {
    const buffer = new TransmitBuffer();
    const before = place(buffer, 1_200).bytes;
    buffer.release();
    const after = place(buffer, 1_200);
    expect(after.bytes).toBe(before);
    expect(after.start).toBe(0);
  });

  test('exists for a datagram larger than a slab, also after a reuse', () => {
    const buffer = new TransmitBuffer();
    for (let i = 0; i < 3; i++) {
      place(buffer, 10);
      const { bytes, start } = place(buffer, SLAB_BYTES + 1);
      expect(bytes.length - start).toBeGreaterThanOrEqual(SLAB_BYTES + 1);
      buffer.release();
    }
  });

  test('given back entirely is free for the next', () => {
    const buffer = new TransmitBuffer();
    place(buffer, 1_200);
    buffer.shrink(0);
    expect(place(buffer, 1_200).start).toBe(0);
  });
});
