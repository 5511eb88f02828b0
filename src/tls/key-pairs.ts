/**
 * X25519 key pairs for the handshakes of one endpoint. Making one takes as long as the agreement itself, and who has just
 * sent its first flight has time for the next one.
 *
 * Each pair serves one handshake and is then forgotten. One that waits lies in memory until then, beside the keys of open
 * connections.
 *
 * @module
 */
import { generateX25519, type KeyPair } from '#crypto/key-exchange';
import type { Rng } from '../base/rng.ts';

/** Makes key pairs, one of them ahead of time. */
export class KeyPairs {
  readonly #rng: Rng;
  #spare: KeyPair | undefined;
  #isWanted = false;

  constructor(rng: Rng) {
    this.#rng = rng;
  }

  /** A pair that nobody else has or gets. */
  take(): KeyPair {
    const spare = this.#spare;
    this.#spare = undefined;
    // Who never shakes hands needs no pair.
    this.#isWanted = true;
    return spare ?? generateX25519(this.#rng);
  }

  /** True when {@link prepare} would save the next {@link take} its work. */
  get isUnprepared(): boolean {
    return this.#isWanted && this.#spare === undefined;
  }

  /** Makes the next pair, unless it is there. */
  prepare(): void {
    if (this.isUnprepared) this.#spare = generateX25519(this.#rng);
  }
}
