/**
 * What a host's network looks like at one moment, as far as an endpoint cares.
 *
 * @module
 */
import { sharesPrefix, toAddr, type Addr } from './socket-addr.ts';

/** An address of an interface. */
export interface InterfacePrefix {
  /** A literal, without a zone. */
  readonly ip: string;
  /** Bits of the network's part. */
  readonly length: number;
  /** IPv6: not to be used for anything new (RFC 4862 §5.5.4). False where the system does not tell. */
  readonly isDeprecated: boolean;
}

/** An interface that is up. */
export interface NetworkInterface {
  /** As the system calls it, e.g. `eth0`. */
  readonly name: string;
  /** Hardware address, or an empty text. */
  readonly mac: string;
  /** Reachable from this host only. */
  readonly isLoopback: boolean;
  /** Its addresses with their networks. */
  readonly prefixes: readonly InterfacePrefix[];
}

/** One look at a host's network. */
export interface InterfaceState {
  /** Those that are up, by name. */
  readonly interfaces: readonly NetworkInterface[];
  /** Name of the interface that strangers are reached through. */
  readonly defaultRoute: string | undefined;
  /** IPv4 of the router that it leads to; undefined where there is none, or where the system does not tell. */
  readonly gateway?: string | undefined;
  /** Whether traffic costs money; false where the system does not tell. */
  readonly isExpensive: boolean;
}

/** The host's addresses by use, sorted as text. */
export interface LocalIps {
  /** What others may be told. */
  readonly regular: readonly string[];
  readonly loopback: readonly string[];
}

/** What an IP address is good for. */
export type IpScope = 'loopback' | 'linkLocal' | 'uniqueLocal' | 'multicast' | 'unspecified' | 'other';

/** RFC 6890 §2.2. Unique local: IPv6 `fc00::/7`; private IPv4 addresses count as `other`. @throws {DecodeError} */
export function scopeOf(ip: string): IpScope {
  const { family, bytes } = toAddr(ip, 0);
  const [first = 0, second = 0] = bytes;
  if (bytes.every((byte) => byte === 0)) return 'unspecified';
  if (family === 4) {
    if (first === 127) return 'loopback';
    if (first === 169 && second === 254) return 'linkLocal';
    return first >= 224 && first < 240 ? 'multicast' : 'other';
  }
  if (bytes[15] === 1 && bytes.subarray(0, 15).every((byte) => byte === 0)) return 'loopback';
  if (first === 0xff) return 'multicast';
  if (first === 0xfe && (second & 0xc0) === 0x80) return 'linkLocal';
  return (first & 0xfe) === 0xfc ? 'uniqueLocal' : 'other';
}

/**
 * The addresses of the interfaces that are up. Unique local ones are regular only where there is nothing better: some
 * hosters translate them (net-tools `netwatch/src/ip.rs`).
 */
export function localIps({ interfaces }: InterfaceState): LocalIps {
  const loopback = new Set<string>();
  const regular = new Set<string>();
  const uniqueLocal = new Set<string>();
  for (const { isLoopback, prefixes } of interfaces) {
    for (const { ip } of prefixes) {
      const scope = scopeOf(ip);
      if (isLoopback || scope === 'loopback') loopback.add(ip);
      else if (scope === 'uniqueLocal') uniqueLocal.add(ip);
      else if (scope === 'other') regular.add(ip);
    }
  }
  return { regular: [...(regular.size > 0 ? regular : uniqueLocal)].sort(), loopback: [...loopback].sort() };
}

/** Whether an interface that is no loopback has an address of the family that could reach strangers. */
export function hasFamily({ interfaces }: InterfaceState, family: 4 | 6): boolean {
  return interfaces.some(
    ({ isLoopback, prefixes }) =>
      !isLoopback &&
      prefixes.some(({ ip }) => {
        if (ip.includes(':') !== (family === 6)) return false;
        const scope = scopeOf(ip);
        // Any IPv4 address counts, also 169.254: such hosts may sit behind a translator. IPv6 counts if it is routed.
        return family === 4 ? scope !== 'loopback' : scope === 'other' || scope === 'uniqueLocal';
      }),
  );
}

/** Whether datagrams from there come from a network that the host is in itself, as far as addresses tell (RFC 6762 §11). */
export function isOnLink({ interfaces }: InterfaceState, { family, ip, bytes }: Addr): boolean {
  const scope = scopeOf(ip);
  if (scope === 'loopback' || scope === 'linkLocal') return true;
  return interfaces.some(({ prefixes }) =>
    prefixes.some((prefix) => {
      const own = toAddr(prefix.ip, 0);
      return own.family === family && sharesPrefix(own.bytes, bytes, prefix.length);
    }),
  );
}
