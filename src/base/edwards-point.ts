/**
 * Whether 32 bytes decompress to a point of the curve edwards25519 (RFC 8032 §5.1.3), as lenient as iroh's decoding of
 * keys: any y below 2^255, reduced modulo p, and any sign bit. Signature checks are far stricter; see `src/crypto`.
 *
 * @module
 */

const P = (1n << 255n) - 19n;
const D = 37095705934669439343138083508754565189542113879843219016388785533085940283555n;

/** True when some x fulfils −x² + y² = 1 + d·x²·y². About 0.1 ms: not for each packet. Public input, any timing. */
export function isEdwardsPoint(bytes: Uint8Array): boolean {
  if (bytes.length !== 32) return false;
  let y = BigInt(bytes[31]! & 0x7f); // bit 255 is the sign of x
  for (let i = 30; i >= 0; i--) y = (y << 8n) | BigInt(bytes[i]!);
  const yy = (y * y) % P;
  // x² = u / v with u = y² − 1, v = d·y² + 1; u / v is a square exactly when u·v is, as they differ by the square v².
  return isSquare((yy - 1n + P) * ((D * yy + 1n) % P));
}

/** Euler's criterion: z^((p − 1) / 2) is 1 for squares and 0 for zero. */
function isSquare(value: bigint): boolean {
  const z = value % P;
  // (p − 1) / 2 = 2^254 − 10 = 16 · (2^250 − 1) + 6
  const z2 = (z * z) % P;
  const z3 = (z2 * z) % P; // z^(2^2 − 1)
  const e4 = (squared(z3, 2) * z3) % P; // z^(2^4 − 1)
  const e5 = (squared(e4, 1) * z) % P;
  const e10 = (squared(e5, 5) * e5) % P;
  const e20 = (squared(e10, 10) * e10) % P;
  const e40 = (squared(e20, 20) * e20) % P;
  const e50 = (squared(e40, 10) * e10) % P;
  const e100 = (squared(e50, 50) * e50) % P;
  const e200 = (squared(e100, 100) * e100) % P;
  const e250 = (squared(e200, 50) * e50) % P;
  const power = (squared(e250, 4) * ((z3 * z3) % P)) % P;
  return power === 1n || power === 0n;
}

function squared(value: bigint, times: number): bigint {
  for (let i = 0; i < times; i++) value = (value * value) % P;
  return value;
}
