/**
 * The relays that an endpoint may choose its home from. Candidates only: relays of other endpoints are dialled whether
 * they are in it or not.
 *
 * @module
 */
import type { RelayUrl } from '../base/relay-url.ts';

/** UDP port of a relay's address discovery (`DEFAULT_RELAY_QUIC_PORT`, `iroh-relay/src/defaults.rs`). */
export const DEFAULT_RELAY_QUIC_PORT = 7_842;

/** What is known about a relay. */
export interface RelayConfig {
  readonly url: RelayUrl;
  /** Where it answers QUIC address discovery; undefined when it does not. */
  readonly quicPort: number | undefined;
  /** Shown to the relay when it asks who may use it. */
  readonly authToken: string | undefined;
}

/** Relays by URL. */
export class RelayMap implements Iterable<RelayConfig> {
  readonly #configs = new Map<string, RelayConfig>();
  /** Called after every change that makes a difference. */
  onChange: (() => void) | undefined;

  constructor(configs: Iterable<RelayConfig> = []) {
    for (const config of configs) this.#configs.set(config.url.href, normalized(config));
  }

  get size(): number {
    return this.#configs.size;
  }

  get(url: RelayUrl): RelayConfig | undefined {
    return this.#configs.get(url.href);
  }

  has(url: RelayUrl): boolean {
    return this.#configs.has(url.href);
  }

  /** Adds or replaces. @returns what was there. */
  set(config: RelayConfig): RelayConfig | undefined {
    const before = this.get(config.url);
    const after = normalized(config);
    this.#configs.set(config.url.href, after);
    if (before?.quicPort !== after.quicPort || before?.authToken !== after.authToken || before === undefined)
      this.onChange?.();
    return before;
  }

  /** @returns what was there. */
  delete(url: RelayUrl): RelayConfig | undefined {
    const before = this.get(url);
    if (this.#configs.delete(url.href)) this.onChange?.();
    return before;
  }

  /** In the order of their URLs. */
  [Symbol.iterator](): Iterator<RelayConfig> {
    const sorted = [...this.#configs.values()].sort((a, b) => (a.url.href < b.url.href ? -1 : 1));
    return sorted[Symbol.iterator]();
  }
}

/** Port 0 means the usual one (`iroh/src/net_report/reportgen.rs`). */
function normalized(config: RelayConfig): RelayConfig {
  return config.quicPort === 0 ? { ...config, quicPort: DEFAULT_RELAY_QUIC_PORT } : config;
}
