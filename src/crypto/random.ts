/**
 * The system's secure random numbers, from `node:crypto`. The browser twin is `random.browser.ts`.
 *
 * @module
 */
import { randomFillSync } from 'node:crypto';
import type { Rng } from '../base/rng.ts';

/** Cryptographically secure; needs no seeding. */
export const systemRng: Rng = {
  fill: (target) => randomFillSync(target),
};
