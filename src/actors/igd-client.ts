/**
 * Asks a gateway for a mapping by UPnP: finds its Internet Gateway Device, and gives it orders over HTTP.
 *
 * @module
 */
import type { Millis } from '../base/clock.ts';
import { randomBelow } from '../base/rng.ts';
import { toAddr } from '../base/socket-addr.ts';
import { PortMapError } from '../port-mapper/fault.ts';
import type { GatewayRoute } from '../port-mapper/gateway-route.ts';
import {
  checkDeleteMapping,
  decodeAddMapping,
  decodeExternalIp,
  encodeAddMapping,
  encodeDeleteMapping,
  encodeGetExternalIp,
  IGD_ERROR,
  MAX_CONTROL_ANSWER_BYTES,
  UPNP_LIFETIME_S,
  type IgdMapping,
  type IgdRequest,
} from '../port-mapper/igd-control.ts';
import {
  choosesPort,
  decodeDescription,
  MAX_DESCRIPTION_BYTES,
  type IgdService,
} from '../port-mapper/igd-description.ts';
import { toExternalAddr, toLifetimeMs, type Lease } from '../port-mapper/lease.ts';
import {
  decodeSearchAnswer,
  encodeSearch,
  SEARCH_TARGETS,
  SSDP_MULTICAST_IP,
  SSDP_PORT,
} from '../port-mapper/ssdp.ts';
import type { HttpRequest, HttpResponse } from '../transport/platform.ts';
import { askGateway } from './gateway-question.ts';
import type { MapOrder, MappingHost, MappingService } from './mapping-services.ts';

/** A search takes so long at most, ms; net-tools `portmapper/src/lib.rs`. */
export const UPNP_SEARCH_LIMIT_MS = 1_000;
/** One HTTP request takes so long at most, ms: routers are slow machines. */
export const UPNP_REQUEST_LIMIT_MS = 2_000;
/** Ports that are tried where the router does not choose one, after ours. */
const RANDOM_PORTS = 3;
const FIRST_RANDOM_PORT = 1_024;

/** Errors after which another port, or another action, may do. */
const WORTH_ANOTHER: readonly (number | undefined)[] = [
  IGD_ERROR.invalidAction,
  IGD_ERROR.invalidArgs,
  IGD_ERROR.actionFailed,
  IGD_ERROR.optionalActionNotImplemented,
  IGD_ERROR.conflictInMappingEntry,
  IGD_ERROR.samePortValuesRequired,
];

/** UPnP IGD, versions 1 and 2. */
export class IgdClient implements MappingService {
  readonly #host: MappingHost;
  /** What the last probe found. */
  #found: { readonly gateway: string; readonly services: readonly IgdService[] } | undefined;

  constructor(host: MappingHost) {
    this.#host = host;
  }

  async probe(route: GatewayRoute, signal: AbortSignal): Promise<void> {
    this.#found = undefined;
    const services = await this.#search(route, signal);
    this.#found = { gateway: route.gateway, services };
  }

  async #search(route: GatewayRoute, signal: AbortSignal): Promise<IgdService[]> {
    const { platform, onRefused } = this.#host;
    const messages = SEARCH_TARGETS.flatMap((target) => {
      const data = encodeSearch(target);
      // Where groups reach nobody, as in many containers and wireless networks, the gateway itself may be reached.
      return [SSDP_MULTICAST_IP, route.gateway].map((ip) => ({ to: toAddr(ip, SSDP_PORT), data }));
    });
    const location = await askGateway(
      {
        platform,
        route,
        messages,
        answeringPort: undefined,
        limitMs: UPNP_SEARCH_LIMIT_MS,
        read: (answer) => decodeSearchAnswer(answer, route.gateway),
        onRefused,
      },
      signal,
    );
    const { status, body } = await this.#fetch({ url: location.href }, MAX_DESCRIPTION_BYTES, signal);
    if (status !== 200)
      throw this.#refuse(new PortMapError('refused', `description: HTTP ${status}`, status));
    return this.#read(() => decodeDescription(body, location, route.gateway));
  }

  async map(order: MapOrder, signal: AbortSignal): Promise<Lease> {
    const { gateway } = order.route;
    const held = order.previous?.handle;
    const services =
      order.isRenewal && held?.protocol === 'upnp'
        ? [held.service]
        : this.#found?.gateway === gateway
          ? this.#found.services
          : [];
    let failure: unknown = new PortMapError('noService', 'no device is known');
    for (const service of services) {
      try {
        return await this.#mapAt(service, order, signal);
      } catch (error) {
        signal.throwIfAborted();
        failure = error;
      }
    }
    throw failure;
  }

  async #mapAt(service: IgdService, order: MapOrder, signal: AbortSignal): Promise<Lease> {
    const { route, localPort } = order;
    const ip = await this.#ask(encodeGetExternalIp(service), decodeExternalIp, signal);
    this.#read(() => toExternalAddr(ip, localPort));
    let lifetimeS = UPNP_LIFETIME_S;
    let failure: unknown;
    for (const { externalPort, any } of this.#attempts(service, order)) {
      const mapping = (): IgdMapping => ({ externalPort, localIp: route.localIp, localPort, lifetimeS });
      const grantedAt = this.#host.platform.clock.wallNow();
      const add = async (): Promise<Lease> => {
        const port = await this.#add(service, mapping(), any, order.isRenewal, signal);
        const external = this.#read(() => toExternalAddr(ip, port));
        // One for ever is looked after as often as any other.
        const lifetimeMs = toLifetimeMs(UPNP_LIFETIME_S);
        return {
          handle: { protocol: 'upnp', service },
          ...route,
          localPort,
          external,
          lifetimeMs,
          grantedAt,
        };
      };
      try {
        try {
          return await add();
        } catch (error) {
          if (!hasCode(error, IGD_ERROR.onlyPermanentLeasesSupported) || lifetimeS === 0) throw error;
          lifetimeS = 0;
          return await add();
        }
      } catch (error) {
        signal.throwIfAborted();
        failure = error;
        if (!WORTH_ANOTHER.some((code) => hasCode(error, code))) break;
      }
    }
    throw failure;
  }

  /** The port that we had; whichever the router likes; ours; any. */
  *#attempts(
    service: IgdService,
    { previous, localPort }: MapOrder,
  ): Generator<{ readonly externalPort: number; readonly any: boolean }> {
    if (previous !== undefined) yield { externalPort: previous.external.port, any: false };
    if (choosesPort(service)) yield { externalPort: localPort, any: true };
    yield { externalPort: localPort, any: false };
    for (let i = 0; i < RANDOM_PORTS; i++) {
      const { rng } = this.#host.platform;
      yield { externalPort: FIRST_RANDOM_PORT + randomBelow(rng, 65_536 - FIRST_RANDOM_PORT), any: false };
    }
  }

  /** An order that is under way when the signal aborts is seen through, and taken back if it was carried out. */
  async #add(
    service: IgdService,
    mapping: IgdMapping,
    any: boolean,
    isRenewal: boolean,
    signal: AbortSignal,
  ): Promise<number> {
    signal.throwIfAborted();
    const request = encodeAddMapping(service, mapping, any);
    const own = new AbortController();
    const added = this.#ask(
      request,
      (status, body) => decodeAddMapping(request.action, mapping, status, body),
      own.signal,
    );
    let abort = (): void => undefined;
    const aborted = new Promise<never>((_resolve, reject) => {
      abort = () => {
        reject(signal.reason as Error);
        this.#host.later(async (limit) => {
          const stop = (): void => own.abort(limit.reason);
          limit.addEventListener('abort', stop, { once: true });
          if (limit.aborted) stop();
          const port = await added;
          if (!isRenewal) await this.#delete(service, port, limit);
        });
      };
      signal.addEventListener('abort', abort, { once: true });
    });
    try {
      return await Promise.race([added, aborted]);
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  async release({ handle, external }: Lease, signal: AbortSignal): Promise<void> {
    if (handle.protocol === 'upnp') await this.#delete(handle.service, external.port, signal);
  }

  async #delete(service: IgdService, port: number, signal: AbortSignal): Promise<void> {
    await this.#ask(encodeDeleteMapping(service, port), checkDeleteMapping, signal);
  }

  // --- HTTP -----------------------------------------------------------------------------------------------------------------

  async #ask<T>(
    { url, headers, body }: IgdRequest,
    read: (status: number, body: Uint8Array) => T,
    signal: AbortSignal,
  ): Promise<T> {
    const answer = await this.#fetch(
      { url, method: 'POST', headers, body },
      MAX_CONTROL_ANSWER_BYTES,
      signal,
    );
    return this.#read(() => read(answer.status, answer.body));
  }

  async #fetch(
    request: Omit<HttpRequest, 'signal' | 'maxBodyBytes'>,
    maxBodyBytes: number,
    signal: AbortSignal,
  ): Promise<HttpResponse> {
    const { clock } = this.#host.platform;
    const limit = new AbortController();
    const abort = (): void => limit.abort(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    const limitMs: Millis = UPNP_REQUEST_LIMIT_MS;
    const timer = clock.setTimeout(() => limit.abort(new Error(`no answer in ${limitMs} ms`)), limitMs);
    try {
      return await this.#host.platform.fetch({ ...request, maxBodyBytes, signal: limit.signal });
    } catch (error) {
      signal.throwIfAborted();
      // Nobody there, no HTTP, too long, too slow: all the same to us.
      throw this.#refuse(new PortMapError('silent', `${request.url}: ${String(error)}`));
    } finally {
      clock.clearTimeout(timer);
      signal.removeEventListener('abort', abort);
    }
  }

  #read<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      if (error instanceof PortMapError) this.#refuse(error);
      throw error;
    }
  }

  #refuse(error: PortMapError): PortMapError {
    this.#host.onRefused(error);
    return error;
  }
}

function hasCode(error: unknown, code: number | undefined): boolean {
  return error instanceof PortMapError && error.fault === 'refused' && error.routerCode === code;
}
