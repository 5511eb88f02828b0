/**
 * Finds out where endpoints are, from the DNS (upstream `iroh/src/address_lookup/dns.rs`).
 *
 * @module
 */
import { systemPlatform } from '#transport/system-platform';
import { fromTxtStrings, txtNameOf } from '../address-lookup/endpoint-info.ts';
import type { AddressLookup, LookupAnswer } from '../address-lookup/service.ts';
import { fromUtf8 } from '../base/bytes.ts';
import { encodeBase64Url } from '../base/encoding.ts';
import type { EndpointId } from '../base/endpoint-id.ts';
import { DnsError, type ErrorCode } from '../base/errors.ts';
import { MAX_DNS_MESSAGE_BYTES } from '../dns/message.ts';
import { encodeTxtQuery, readTxtAnswer } from '../dns/txt-query.ts';
import type { Platform } from '../transport/platform.ts';
import type { LookupHost } from './lookup-host.ts';
import { Refusals } from './refusals.ts';
import { askStaggered } from './staggered.ts';

/** How a {@link DnsLookup} is made. */
export interface DnsLookupOptions extends LookupHost {
  /** Domain under which a server answers for endpoints, e.g. `dns.iroh.link.`. */
  readonly origin: string;
  /** Name servers to ask, `ip` or `ip:port`; by default those that the system is set up for. */
  readonly servers?: readonly string[] | undefined;
  /**
   * URL of a server that answers DNS over HTTPS (RFC 8484), e.g. `https://dns.iroh.link/dns-query`. It is asked instead of name
   * servers: the only way in browsers.
   */
  readonly httpsUrl?: string | URL | undefined;
}

/**
 * Asks the DNS for the TXT records `_iroh.<id>.<origin>`. The question is sent up to seven times within 3 s until somebody
 * answers it.
 *
 * DNS answers are not signed. Whoever forges them can lead us to a wrong place, but nobody else than the endpoint asked for can
 * answer there.
 */
export class DnsLookup implements AddressLookup {
  readonly name = 'dns';
  readonly #options: DnsLookupOptions;
  readonly #platform: Platform;
  readonly #httpsUrl: URL | undefined;
  readonly #refusals = new Refusals();

  /** @throws TypeError when `httpsUrl` is no absolute URL. */
  constructor(options: DnsLookupOptions) {
    const { platform = systemPlatform, httpsUrl } = options;
    this.#options = options;
    this.#platform = platform;
    this.#httpsUrl = httpsUrl === undefined ? undefined : new URL(httpsUrl);
  }

  /** How often an answer was refused, by the code of the error. */
  get refused(): ReadonlyMap<ErrorCode, number> {
    return this.#refusals.counts;
  }

  /**
   * One answer, or none when there are no records.
   * @throws {DnsError}; the signal's reason; the system's error.
   */
  async *resolve(
    id: EndpointId,
    { signal }: { readonly signal: AbortSignal },
  ): AsyncGenerator<LookupAnswer, void, undefined> {
    const { clock, rng } = this.#platform;
    const name = txtNameOf(id, this.#options.origin);
    const records = await askStaggered({
      clock,
      rng,
      signal,
      ask: async (attempt) => {
        const found = await this.#ask(name, attempt);
        return found.length === 0 ? undefined : found;
      },
    });
    if (records !== undefined) yield fromTxtStrings(id, records.map(fromUtf8));
  }

  async #ask(name: string, signal: AbortSignal): Promise<readonly Uint8Array[]> {
    try {
      if (this.#httpsUrl !== undefined) return await this.#askOverHttps(this.#httpsUrl, name, signal);
      const { resolveTxt } = this.#platform;
      if (resolveTxt === undefined)
        throw new DnsError('DnsError.NoResolver', 'DNS can be asked over HTTPS only: `httpsUrl` is needed');
      return await resolveTxt(name, { signal, servers: this.#options.servers });
    } catch (error) {
      throw this.#refusals.note(error);
    }
  }

  /** GET, so that browsers ask nobody for permission first, and caches work (RFC 8484 §4.1). */
  async #askOverHttps(server: URL, name: string, signal: AbortSignal): Promise<readonly Uint8Array[]> {
    const { tls, proxy } = this.#options;
    const question = { name, id: 0 };
    const url = new URL(server);
    url.searchParams.set('dns', encodeBase64Url(encodeTxtQuery(question)));
    const { status, body } = await this.#platform.fetch({
      url: url.href,
      headers: { accept: 'application/dns-message' },
      signal,
      maxBodyBytes: MAX_DNS_MESSAGE_BYTES,
      tls,
      proxy,
    });
    if (status < 200 || status > 299)
      throw new DnsError('DnsError.Status', `${server.host} answered with status ${status}`, { status });
    return readTxtAnswer(body, question);
  }
}
