/**
 * Servers of signed packets over HTTP (https://pkarr.org `design/relays.md`, as iroh-dns-server does it): a packet is put to,
 * and got from, the server's URL with the endpoint's id in z-base-32 behind it.
 *
 * @module
 */
import { MAX_RELAY_PAYLOAD_BYTES } from '../address-lookup/signed-packet.ts';
import type { EndpointId } from '../base/endpoint-id.ts';
import { PkarrError } from '../base/errors.ts';
import type { HttpRequest, Platform } from '../transport/platform.ts';
import type { LookupHost } from './lookup-host.ts';

/** Explanations of errors are read up to here, bytes; packets are shorter. */
const MAX_BODY_BYTES = 8_192;

/** A server of signed packets. */
export class PkarrServer {
  readonly #url: URL;
  readonly #platform: Platform;
  readonly #options: Pick<HttpRequest, 'tls' | 'proxy'>;

  /** @throws TypeError when `url` is no absolute URL; RangeError when it is no web address. */
  constructor(url: string | URL, platform: Platform, { tls, proxy }: LookupHost) {
    this.#url = new URL(url);
    if (!/^https?:$/.test(this.#url.protocol)) throw new RangeError(`not a web address: ${this.host}`);
    this.#platform = platform;
    this.#options = { tls, proxy };
  }

  /** For charts and logs: the whole URL may hold secrets. */
  get host(): string {
    return this.#url.host;
  }

  /** @throws {PkarrError} `Status`; the signal's reason; the system's error. */
  async put(id: EndpointId, payload: Uint8Array, signal: AbortSignal): Promise<void> {
    const { status } = await this.#ask(id, signal, { method: 'PUT', body: payload });
    if (!isSuccess(status)) throw refused(status, this.host);
  }

  /**
   * What the server has; undefined if it has nothing.
   * @throws {PkarrError} `Status`, `TooLong`; the signal's reason; the system's error.
   */
  async get(id: EndpointId, signal: AbortSignal): Promise<Uint8Array | undefined> {
    const { status, body } = await this.#ask(id, signal, {});
    if (status === 404) return undefined;
    if (!isSuccess(status)) throw refused(status, this.host);
    if (body.length > MAX_RELAY_PAYLOAD_BYTES)
      throw new PkarrError('PkarrError.TooLong', `${this.host} answered with ${body.length} bytes`);
    return body;
  }

  #ask(
    id: EndpointId,
    signal: AbortSignal,
    request: Pick<HttpRequest, 'method' | 'body'>,
  ): ReturnType<Platform['fetch']> {
    const url = new URL(this.#url);
    url.pathname = `${url.pathname.replace(/\/+$/, '')}/${id.toZ32()}`;
    return this.#platform.fetch({
      ...this.#options,
      ...request,
      url: url.href,
      signal,
      maxBodyBytes: MAX_BODY_BYTES,
    });
  }
}

function isSuccess(status: number): boolean {
  return status >= 200 && status <= 299;
}

function refused(status: number, host: string): PkarrError {
  return new PkarrError('PkarrError.Status', `${host} answered with status ${status}`, { status });
}
