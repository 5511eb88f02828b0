/**
 * Packet numbers on the wire: truncated to one to four bytes (RFC 9000 §17.1, appendix A).
 *
 * @module
 */

/** Bytes needed so that a receiver that acknowledged up to `largestAcked` (−1: nothing) can recover `packetNumber`. */
export function packetNumberLength(packetNumber: number, largestAcked: number): 1 | 2 | 3 | 4 {
  // RFC 9000 §A.2: twice the distance must fit.
  const unacked = packetNumber - largestAcked;
  return unacked < 0x80 ? 1 : unacked < 0x8000 ? 2 : unacked < 0x80_0000 ? 3 : 4;
}

/**
 * Recovers a packet number (RFC 9000 §A.3).
 * @param length - Bytes of `truncated`, 1 to 4.
 * @param largest - Largest number received in the space, −1 for none.
 */
export function decodePacketNumber(truncated: number, length: number, largest: number): number {
  const expected = largest + 1;
  const window = 2 ** (8 * length);
  const half = window / 2;
  const candidate = expected - (expected % window) + truncated;
  if (candidate <= expected - half && candidate + window <= Number.MAX_SAFE_INTEGER)
    return candidate + window;
  if (candidate > expected + half && candidate >= window) return candidate - window;
  return candidate;
}
