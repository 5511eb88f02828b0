/**
 * The system's secure random numbers, from Web Crypto. The Node twin is `random.ts`.
 *
 * @module
 */
import type { Rng } from '../base/rng.ts';

/** Most bytes that one `getRandomValues` call delivers (Web Cryptography API §10.1.1). */
const MAX_CALL_BYTES = 65_536;

/** Cryptographically secure; needs no seeding. */
export const systemRng: Rng = {
  fill(target) {
    for (let at = 0; at < target.length; at += MAX_CALL_BYTES)
      globalThis.crypto.getRandomValues(target.subarray(at, at + MAX_CALL_BYTES) as Uint8Array<ArrayBuffer>);
    return target;
  },
};
