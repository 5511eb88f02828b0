/**
 * Finds out where endpoints are, from a server of signed packets.
 *
 * @module
 */
import { systemPlatform } from '#transport/system-platform';
import { fromTxtStrings } from '../address-lookup/endpoint-info.ts';
import type { AddressLookup, LookupAnswer } from '../address-lookup/service.ts';
import { SignedPacket } from '../address-lookup/signed-packet.ts';
import { FreshnessCheck } from '../address-lookup/timestamps.ts';
import type { Clock } from '../base/clock.ts';
import type { EndpointId } from '../base/endpoint-id.ts';
import type { ErrorCode } from '../base/errors.ts';
import type { LookupHost } from './lookup-host.ts';
import { PkarrServer } from './pkarr-http.ts';
import { Refusals } from './refusals.ts';

/** How a {@link PkarrResolver} is made. */
export interface PkarrResolverOptions extends LookupHost {
  /** URL of the server, e.g. `https://dns.iroh.link/pkarr`. */
  readonly url: string | URL;
}

/**
 * Asks a server that has signed packets (https://pkarr.org) over HTTP. Its answers are believed as far as the endpoint asked
 * for has signed them. Several endpoints may share one resolver.
 */
export class PkarrResolver implements AddressLookup {
  readonly name = 'pkarr';
  readonly #server: PkarrServer;
  readonly #clock: Clock;
  readonly #freshness = new FreshnessCheck();
  readonly #refusals = new Refusals();

  /** @throws TypeError or RangeError when `url` is no web address. */
  constructor(options: PkarrResolverOptions) {
    const { url, platform = systemPlatform } = options;
    this.#clock = platform.clock;
    this.#server = new PkarrServer(url, platform, options);
  }

  /** How often an answer was refused, by the code of the error. */
  get refused(): ReadonlyMap<ErrorCode, number> {
    return this.#refusals.counts;
  }

  /**
   * One answer, or none when the server knows nothing.
   * @throws {PkarrError}; the signal's reason; the system's error.
   */
  async *resolve(
    id: EndpointId,
    { signal }: { readonly signal: AbortSignal },
  ): AsyncGenerator<LookupAnswer, void, undefined> {
    try {
      const payload = await this.#server.get(id, signal);
      if (payload === undefined) return;
      const packet = SignedPacket.verify(id, payload);
      this.#freshness.check(packet, this.#clock.wallNow());
      yield fromTxtStrings(id, packet.txtStrings());
    } catch (error) {
      throw this.#refusals.note(error);
    }
  }
}
