/**
 * Which router can open a port for this host, and under which address it knows the host.
 *
 * @module
 */
import { scopeOf, type InterfaceState } from '../base/interface-state.ts';
import { toAddr } from '../base/socket-addr.ts';

/** Two ends of the first hop. */
export interface GatewayRoute {
  /** The router's IPv4 on our side. */
  readonly gateway: string;
  /** Our own IPv4 on that network. */
  readonly localIp: string;
}

/** Undefined where there is no IPv4 gateway, or no address to talk to it with. */
export function gatewayRoute({
  gateway,
  defaultRoute,
  interfaces,
}: InterfaceState): GatewayRoute | undefined {
  if (gateway === undefined) return undefined;
  const own = interfaces.find(({ name }) => name === defaultRoute)?.prefixes ?? [];
  const usable = own.filter(({ ip }) => !ip.includes(':') && scopeOf(ip) === 'other');
  // An interface may be in several networks.
  const nearest = usable.find(({ ip, length }) => sharesNetwork(ip, gateway, length)) ?? usable[0];
  return nearest && { gateway, localIp: nearest.ip };
}

function sharesNetwork(a: string, b: string, length: number): boolean {
  const [x, y] = [toBits(a), toBits(b)];
  const shift = 32 - length;
  // A shift by 32 is one by 0.
  return shift >= 32 || x >>> shift === y >>> shift;
}

function toBits(ip: string): number {
  const [a = 0, b = 0, c = 0, d = 0] = toAddr(ip, 0).bytes;
  return ((a << 24) | (b << 16) | (c << 8) | d) >>> 0;
}
