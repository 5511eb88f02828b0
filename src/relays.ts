/**
 * The relays of an endpoint: which there are, and how they are named in options.
 *
 * @module
 */
import type { EndpointActor } from './actors/endpoint-actor.ts';
import { RelayUrl } from './base/relay-url.ts';
import { DEFAULT_RELAY_QUIC_PORT, RelayMap, type RelayConfig as KnownRelay } from './relay/relay-map.ts';

/** A relay server. */
export interface RelayConfig {
  /** `https://…`; `http://…` for tests. */
  readonly url: RelayUrl | string;
  /** UDP port of its address discovery, default 7842; `false` when it has none. */
  readonly quicPort?: number | false | undefined;
  /** Shown to the relay when it asks who may use it. */
  readonly authToken?: string | undefined;
}

/**
 * Which relays to use: those that n0 runs for everybody (`default`, or `staging` for those to try things on), none, or a list
 * of one's own. An empty list is not `disabled`: relays of peers are used, and others can be added.
 */
export type RelayOption = 'default' | 'staging' | 'disabled' | readonly (RelayConfig | RelayUrl | string)[];

/** Hosts of n0's relays; upstream `iroh/src/defaults.rs`. The dots at their ends keep search domains out. */
const N0_RELAYS = {
  default: [
    'use1-1.relay.n0.iroh.link.',
    'usw1-1.relay.n0.iroh.link.',
    'euc1-1.relay.n0.iroh.link.',
    'aps1-1.relay.n0.iroh.link.',
  ],
  staging: ['use1-1.staging-relay.n0.iroh.link.', 'euc1-1.staging-relay.n0.iroh.link.'],
} as const;

/** Undefined when relays are disabled. @throws {ParseError} RelayUrl; TypeError when it is no option. */
export function toRelayMap(option: RelayOption): RelayMap | undefined {
  if (option === 'disabled') return undefined;
  if (option === 'default' || option === 'staging')
    return new RelayMap(N0_RELAYS[option].map((host) => known(`https://${host}`)));
  if (!Array.isArray(option))
    throw new TypeError('relay: expected "default", "staging", "disabled" or an array of URLs');
  return new RelayMap(option.map(known));
}

function known(relay: RelayConfig | RelayUrl | string): KnownRelay {
  const config = typeof relay === 'string' || relay instanceof RelayUrl ? { url: relay } : relay;
  const { url, quicPort = DEFAULT_RELAY_QUIC_PORT, authToken } = config;
  return {
    url: url instanceof RelayUrl ? url : RelayUrl.parse(url),
    quicPort: quicPort === false ? undefined : quicPort,
    authToken,
  };
}

function shown({ url, quicPort, authToken }: KnownRelay): RelayConfig {
  return { url, quicPort: quicPort ?? false, ...(authToken !== undefined && { authToken }) };
}

/** The relays that an endpoint chooses its home from. Relays of peers are used whether they are among them or not. */
export class Relays implements Iterable<RelayConfig> {
  readonly #actor: EndpointActor;

  /** Comes from `endpoint.relays`. @internal */
  constructor(actor: EndpointActor) {
    this.#actor = actor;
  }

  /** How many there are. */
  get size(): number {
    return this.#actor.relays.size;
  }

  /** Adds a relay, or replaces what was known of it. @returns what was known before. @throws {ParseError} RelayUrl. */
  set(relay: RelayConfig | RelayUrl | string): RelayConfig | undefined {
    const config = known(relay);
    if (this.#actor.state !== 'open') return undefined;
    const before = this.#actor.relays.set(config);
    return before && shown(before);
  }

  /** Takes a relay away. When it was the home, another one is chosen. @returns what was known of it. */
  delete(url: RelayUrl | string): RelayConfig | undefined {
    if (this.#actor.state !== 'open') return undefined;
    const before = this.#actor.relays.delete(url instanceof RelayUrl ? url : RelayUrl.parse(url));
    return before && shown(before);
  }

  /** In the order of their URLs. */
  *[Symbol.iterator](): Iterator<RelayConfig> {
    for (const config of this.#actor.relays) yield shown(config);
  }
}
