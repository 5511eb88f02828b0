/**
 * The system's secure random numbers, from `node:crypto`. The browser twin is `random.browser.ts`.
 *
 * Small requests are served from a block that is fetched at once: a call into the system costs a microsecond whatever its
 * size, and a handshake makes a hundred requests of a few bytes.
 *
 * @module
 */
import { randomFillSync } from 'node:crypto';
import type { Rng } from '../base/rng.ts';

const POOL_BYTES = 8_192;
/** Larger requests go to the system directly. */
const MAX_POOLED_BYTES = 256;

const pool = new Uint8Array(POOL_BYTES);
let used = POOL_BYTES;

/** Cryptographically secure; needs no seeding. */
export const systemRng: Rng = {
  fill: (target) => {
    const { length } = target;
    if (length > MAX_POOLED_BYTES) return randomFillSync(target);
    if (used + length > POOL_BYTES) {
      randomFillSync(pool);
      used = 0;
    }
    for (let i = 0; i < length; i++, used++) {
      target[i] = pool[used]!;
      // What was handed out is not kept: it may become a key.
      pool[used] = 0;
    }
    return target;
  },
};
