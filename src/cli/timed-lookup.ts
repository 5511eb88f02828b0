/**
 * A lookup service that is watched: what it finds, and how long that takes.
 *
 * @module
 */
import {
  formatRemoteAddr,
  systemPlatform,
  type AddressLookup,
  type EndpointAddr,
  type EndpointId,
  type LookupAnswer,
} from '../index.ts';

/** One answer. */
export interface Finding {
  /** Who knew. */
  readonly service: string;
  /** From the question to the answer, ms. */
  readonly tookMs: number;
  /** Where the endpoint is, for people. */
  readonly addrs: string;
}

const { clock } = systemPlatform;

/** Asks another service, and tells of its answers. Publishes nothing. */
export class TimedLookup implements AddressLookup {
  readonly name: string;
  readonly #service: AddressLookup;
  readonly #onFound: (finding: Finding) => void;
  #tookMs: number | undefined;

  /** `name`: for people. */
  constructor(name: string, service: AddressLookup, onFound: (finding: Finding) => void) {
    this.name = name;
    this.#service = service;
    this.#onFound = onFound;
  }

  /** How long its first answer took, ms. */
  get tookMs(): number | undefined {
    return this.#tookMs;
  }

  async *resolve(
    id: EndpointId,
    options: { readonly signal: AbortSignal },
  ): AsyncGenerator<EndpointAddr | LookupAnswer, void, undefined> {
    const asked = clock.now();
    for await (const answer of this.#service.resolve?.(id, options) ?? []) {
      const tookMs = clock.now() - asked;
      this.#tookMs ??= tookMs;
      const { addrs } = 'addr' in answer ? answer.addr : answer;
      const texts = addrs.map((addr) =>
        formatRemoteAddr(addr.type === 'relay' ? { ...addr, endpointId: id } : addr),
      );
      this.#onFound({ service: this.name, tookMs, addrs: texts.join(', ') });
      yield answer;
    }
  }
}
