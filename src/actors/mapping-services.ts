/**
 * Asks a gateway for a mapping by PCP or NAT-PMP. UPnP is in `igd-client.ts`.
 *
 * @module
 */
import type { Millis } from '../base/clock.ts';
import { randomBytes } from '../base/rng.ts';
import { toAddr } from '../base/socket-addr.ts';
import { PortMapError } from '../port-mapper/fault.ts';
import type { GatewayRoute } from '../port-mapper/gateway-route.ts';
import { toExternalAddr, toLifetimeMs, type Lease } from '../port-mapper/lease.ts';
import {
  decodeNatPmpAddress,
  decodeNatPmpMap,
  encodeNatPmpAddress,
  encodeNatPmpMap,
  NAT_PMP_LIFETIME_S,
} from '../port-mapper/nat-pmp.ts';
import {
  checkPcpAnnounce,
  decodePcpMap,
  encodePcpAnnounce,
  encodePcpMap,
  GATEWAY_PORT,
  PCP_LIFETIME_S,
  PCP_NONCE_BYTES,
} from '../port-mapper/pcp.ts';
import type { Platform } from '../transport/platform.ts';
import { askGateway } from './gateway-question.ts';

/** How long a gateway's PCP or NAT-PMP server may take, ms; net-tools `portmapper/src/lib.rs`. */
export const GATEWAY_ANSWER_LIMIT_MS = 500;

/** What is wanted. */
export interface MapOrder {
  readonly route: GatewayRoute;
  readonly localPort: number;
  /** Held now, or some time before: the same again would be best. */
  readonly previous: Lease | undefined;
  /** Whether {@link previous} is held: then giving up must leave it alone. */
  readonly isRenewal: boolean;
}

/** What services have in common. */
export interface MappingHost {
  readonly platform: Platform;
  /** Something came that was no answer. */
  readonly onRefused: (error: PortMapError) => void;
  /** Goes on with something that nobody waits for, until it is done or its time is over. */
  readonly later: (task: (signal: AbortSignal) => Promise<void>) => void;
}

/** One way to ask a gateway. All of it throws {@link PortMapError}, or the signal's reason. */
export interface MappingService {
  /** Finds out whether the gateway can be asked this way. */
  probe(route: GatewayRoute, signal: AbortSignal): Promise<void>;
  /** Asks for a mapping. One that is granted after the signal aborted is given back. */
  map(order: MapOrder, signal: AbortSignal): Promise<Lease>;
  /** Gives one back. */
  release(lease: Lease, signal: AbortSignal): Promise<void>;
}

/** Asks the gateway's server on the port that PCP and NAT-PMP share. */
function ask<T>(
  { platform, onRefused }: MappingHost,
  route: GatewayRoute,
  data: Uint8Array,
  read: (answer: Uint8Array) => T,
  signal: AbortSignal,
): Promise<T> {
  const limitMs: Millis = GATEWAY_ANSWER_LIMIT_MS;
  const messages = [{ to: toAddr(route.gateway, GATEWAY_PORT), data }];
  return askGateway(
    { platform, route, messages, answeringPort: GATEWAY_PORT, limitMs, read, onRefused },
    signal,
  );
}

/** Whether there may be a mapping nevertheless: granted with nobody to take it, or in a way that is of no use. */
function mayBeGranted(error: unknown): boolean {
  return !(error instanceof PortMapError) || error.fault === 'silent' || error.fault === 'unusable';
}

/** RFC 6887. */
export class PcpService implements MappingService {
  readonly #host: MappingHost;

  constructor(host: MappingHost) {
    this.#host = host;
  }

  probe(route: GatewayRoute, signal: AbortSignal): Promise<void> {
    return ask(this.#host, route, encodePcpAnnounce(route.localIp), checkPcpAnnounce, signal);
  }

  async map({ route, localPort, previous, isRenewal }: MapOrder, signal: AbortSignal): Promise<Lease> {
    const { platform, later } = this.#host;
    const handle = {
      protocol: 'pcp',
      // The router grants what it has granted before to who has the same one (RFC 6887 §11.2.1). Upstream takes a new one.
      nonce:
        previous?.handle.protocol === 'pcp'
          ? previous.handle.nonce
          : randomBytes(platform.rng, PCP_NONCE_BYTES),
    } as const;
    const request = {
      clientIp: route.localIp,
      nonce: handle.nonce,
      localPort,
      suggested: previous?.external,
      lifetimeS: PCP_LIFETIME_S,
    };
    const grantedAt = platform.clock.wallNow();
    try {
      return await ask(
        this.#host,
        route,
        encodePcpMap(request),
        (answer) => {
          const { externalIp, externalPort, lifetimeS } = decodePcpMap(answer, request);
          const external = toExternalAddr(externalIp, externalPort);
          return { handle, ...route, localPort, external, lifetimeMs: toLifetimeMs(lifetimeS), grantedAt };
        },
        signal,
      );
    } catch (error) {
      if (!isRenewal && mayBeGranted(error))
        later((each) => this.#delete(route, localPort, handle.nonce, each));
      throw error;
    }
  }

  release({ handle, localPort, gateway, localIp }: Lease, signal: AbortSignal): Promise<void> {
    if (handle.protocol !== 'pcp') return Promise.resolve();
    return this.#delete({ gateway, localIp }, localPort, handle.nonce, signal);
  }

  async #delete(
    route: GatewayRoute,
    localPort: number,
    nonce: Uint8Array,
    signal: AbortSignal,
  ): Promise<void> {
    const request = { clientIp: route.localIp, nonce, localPort, suggested: undefined, lifetimeS: 0 };
    await ask(this.#host, route, encodePcpMap(request), (answer) => decodePcpMap(answer, request), signal);
  }
}

/** RFC 6886. */
export class NatPmpService implements MappingService {
  readonly #host: MappingHost;

  constructor(host: MappingHost) {
    this.#host = host;
  }

  async probe(route: GatewayRoute, signal: AbortSignal): Promise<void> {
    await this.#externalIp(route, signal);
  }

  /** One without an address, as before its uplink is there, is of no use. */
  #externalIp(route: GatewayRoute, signal: AbortSignal): Promise<Uint8Array> {
    const read = (answer: Uint8Array): Uint8Array => {
      const ip = decodeNatPmpAddress(answer);
      toExternalAddr(ip, GATEWAY_PORT);
      return ip;
    };
    return ask(this.#host, route, encodeNatPmpAddress(), read, signal);
  }

  async map({ route, localPort, previous, isRenewal }: MapOrder, signal: AbortSignal): Promise<Lease> {
    const ip = await this.#externalIp(route, signal);
    const suggestedPort = previous?.external.port ?? 0;
    const request = { localPort, suggestedPort, lifetimeS: NAT_PMP_LIFETIME_S };
    const grantedAt = this.#host.platform.clock.wallNow();
    try {
      return await ask(
        this.#host,
        route,
        encodeNatPmpMap(request),
        (answer) => {
          const { externalPort, lifetimeS } = decodeNatPmpMap(answer, request);
          const external = toExternalAddr(ip, externalPort);
          const lifetimeMs = toLifetimeMs(lifetimeS);
          return { handle: { protocol: 'natPmp' }, ...route, localPort, external, lifetimeMs, grantedAt };
        },
        signal,
      );
    } catch (error) {
      if (!isRenewal && mayBeGranted(error)) this.#host.later((each) => this.#delete(route, localPort, each));
      throw error;
    }
  }

  release({ gateway, localIp, localPort }: Lease, signal: AbortSignal): Promise<void> {
    return this.#delete({ gateway, localIp }, localPort, signal);
  }

  async #delete(route: GatewayRoute, localPort: number, signal: AbortSignal): Promise<void> {
    const request = { localPort, suggestedPort: 0, lifetimeS: 0 };
    await ask(
      this.#host,
      route,
      encodeNatPmpMap(request),
      (answer) => decodeNatPmpMap(answer, request),
      signal,
    );
  }
}
