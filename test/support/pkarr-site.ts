/**
 * A server of signed packets in virtual time: keeps the newest packet of each endpoint, and misbehaves when told to.
 *
 * @module
 */
import { SignedPacket } from '../../src/address-lookup/signed-packet.ts';
import { utf8 } from '../../src/base/bytes.ts';
import { EndpointId } from '../../src/index.ts';
import type { HttpRequest, HttpResponse } from '../../src/transport/platform.ts';
import type { SimWorld } from './sim-platform.ts';

const DELAY_MS = 30;

/** One server, at `https://pkarr.example/pkarr`. */
export class PkarrSite {
  static readonly url = 'https://pkarr.example/pkarr';
  readonly packets = new Map<string, SignedPacket>();
  /** What was asked, with the time and what the server did about it. */
  readonly requests: { readonly at: number; readonly method: string; readonly status: number }[] = [];
  /** Requests that are not answered yet. */
  underWay = 0;
  /** Answers instead of the server; what it resolves with undefined the server answers. */
  instead: ((request: HttpRequest) => Promise<HttpResponse | undefined>) | undefined;
  readonly #world: SimWorld;

  constructor(world: SimWorld) {
    this.#world = world;
    world.serveWeb(new URL(PkarrSite.url).origin, (request) => this.#serve(request));
  }

  /** What is known of an endpoint, as text. */
  recordsOf(id: EndpointId): readonly string[] | undefined {
    return this.packets.get(id.toZ32())?.txtStrings();
  }

  /** Times of the PUTs so far, ms. */
  get puts(): number[] {
    return this.requests.filter(({ method }) => method === 'PUT').map(({ at }) => Math.round(at));
  }

  /** Nobody answers, until the request is given up. */
  readonly stall = ({ signal }: HttpRequest): Promise<never> =>
    new Promise((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
    });

  /** Answers with this status and body. */
  answering(status: number, body: Uint8Array = new Uint8Array(0)): () => Promise<HttpResponse> {
    return () => Promise.resolve({ status, headers: new Map(), body });
  }

  async #serve(request: HttpRequest): Promise<HttpResponse> {
    const { method = 'GET', signal, maxBodyBytes } = request;
    const entry = { at: this.#world.clock.now(), method, status: 0 };
    this.requests.push(entry);
    this.underWay++;
    try {
      await this.#world.sleep(DELAY_MS);
      signal.throwIfAborted();
      const response = (await this.instead?.(request)) ?? this.#answer(request);
      // As the platform does it.
      if (response.body.length > maxBodyBytes)
        throw new Error(`the answer is longer than ${maxBodyBytes} bytes`);
      entry.status = response.status;
      return response;
    } finally {
      this.underWay--;
    }
  }

  #answer({ url, method = 'GET', body }: HttpRequest): HttpResponse {
    const z32 = /^\/pkarr\/([a-z0-9]{52})$/.exec(new URL(url).pathname)?.[1];
    const headers = new Map<string, string>();
    if (z32 === undefined) return { status: 400, headers, body: utf8('{"status":"400"}') };
    const known = this.packets.get(z32);
    if (method === 'GET') {
      if (known === undefined) return { status: 404, headers, body: utf8('not found') };
      return { status: 200, headers, body: known.toRelayPayload() };
    }
    const packet = SignedPacket.verify(EndpointId.fromZ32(z32), body!);
    if (known === undefined || packet.isNewerThan(known)) this.packets.set(z32, packet);
    return { status: 204, headers, body: new Uint8Array(0) };
  }
}
