/**
 * What a strict Ed25519 verifier refuses before it does any arithmetic: iroh verifies with dalek's `verify_strict`, while
 * the OpenSSL of Node 20 takes small-order keys, with which anybody can sign anything (that of Node 24 does not).
 *
 * @module
 */
import { fromHex } from '../base/bytes.ts';

/** Group order L = 2^252 + 27742317777372353535851937790883648493, little-endian. */
const ORDER = fromHex('edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010');

/** p = 2^255 − 19, little-endian. */
const PRIME = fromHex('edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f');

/**
 * The y coordinates of the eight points whose order divides 8, little-endian: the identity (1), order 2 (−1), order 4 (0)
 * and the four points of order 8 (two values). Bit 255 is the sign of x and does not matter.
 */
const SMALL_ORDER_Y = [
  '0100000000000000000000000000000000000000000000000000000000000000',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  '0000000000000000000000000000000000000000000000000000000000000000',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
].map(fromHex);

/** True unless `point` (32 bytes) encodes y ≥ p (RFC 8032 §5.1.3) or a point of small order. Public input, any timing. */
export function isStrictPoint(point: Uint8Array): boolean {
  if (point.length !== 32) return false;
  // Not slice(): on a Buffer it would share memory, and the signature be changed.
  const y = new Uint8Array(point);
  y[31]! &= 0x7f;
  return isBelow(y, PRIME) && !SMALL_ORDER_Y.some((small) => small.every((byte, i) => byte === y[i]));
}

/**
 * Checks the forms of a public key (32 bytes) and a signature `R 32 B | s 32 B`: A and R canonical and not of small order
 * (dalek `verify_strict`), s below the group order (RFC 8032 §5.1.7; otherwise a signature has several spellings).
 */
export function isStrictSignature(publicKey: Uint8Array, signature: Uint8Array): boolean {
  return (
    signature.length === 64 &&
    isBelow(signature.subarray(32), ORDER) &&
    isStrictPoint(publicKey) &&
    isStrictPoint(signature.subarray(0, 32))
  );
}

function isBelow(value: Uint8Array, bound: Uint8Array): boolean {
  for (let i = 31; i >= 0; i--) if (value[i] !== bound[i]) return value[i]! < bound[i]!;
  return false;
}
