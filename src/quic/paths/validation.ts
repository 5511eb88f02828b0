/**
 * Path validation by challenge and response (RFC 9000 §8.2), for one address.
 *
 * @module
 */
import { equalBytes } from '../../base/bytes.ts';
import type { Millis } from '../../base/clock.ts';
import { randomBytes, type Rng } from '../../base/rng.ts';

/** Challenges of one validation that may still be answered; older ones are forgotten. Nine sends cover every back-off. */
export const MAX_OUTSTANDING_CHALLENGES = 9;
/** Longest gap between challenges, ms; noq caps its back-off at the same value. */
export const MAX_CHALLENGE_INTERVAL_MS = 2_000;

interface Challenge {
  readonly token: Uint8Array;
  readonly sentAt: Millis;
}

/** Challenges sent to one address until one of them is answered. */
export class PathValidation {
  /** A challenge should be sent now. */
  pending = true;
  /** When to send the next one; `Infinity` when none is due. */
  resendAt: Millis = Infinity;
  /** When to give up; set on the first send, so that an unsent challenge cannot fail. */
  deadline: Millis = Infinity;
  #attempts = 0;
  readonly #outstanding: Challenge[] = [];

  /** Makes the token of a challenge that is sent now: 8 bytes, fresh each time (RFC 9000 §8.2.1). */
  onSend(rng: Rng, now: Millis, baseInterval: Millis, giveUpAfter: Millis): Uint8Array {
    const token = randomBytes(rng, 8);
    this.#outstanding.push({ token, sentAt: now });
    if (this.#outstanding.length > MAX_OUTSTANDING_CHALLENGES) this.#outstanding.shift();
    if (this.#attempts === 0) this.deadline = now + giveUpAfter;
    this.resendAt = now + Math.min(baseInterval * 2 ** this.#attempts, MAX_CHALLENGE_INTERVAL_MS);
    this.#attempts++;
    this.pending = false;
    return token;
  }

  /** True when `data` answers an outstanding challenge; then returns how long the round trip took, in ms. */
  onResponse(data: Uint8Array, now: Millis): Millis | undefined {
    for (const challenge of this.#outstanding) {
      if (equalBytes(challenge.token, data)) return now - challenge.sentAt;
    }
    return undefined;
  }

  /** Raises `pending` when the resend time has come. */
  onTimeout(now: Millis): void {
    if (now < this.resendAt) return;
    this.resendAt = Infinity;
    this.pending = true;
  }
}
