/**
 * QUIC variable-length integers (RFC 9000 §16): sizes and limits. Reading and writing live in `bytes.ts`.
 *
 * @module
 */

/** Largest value a QUIC varint can carry, 2^62 − 1. */
export const MAX_VARINT = (1n << 62n) - 1n;

/** Bytes that `value` takes as a varint: 1, 2, 4 or 8. `value` is at most 2^53 − 1. */
export function varintSize(value: number): 1 | 2 | 4 | 8 {
  return value < 0x40 ? 1 : value < 0x4000 ? 2 : value < 0x4000_0000 ? 4 : 8;
}
