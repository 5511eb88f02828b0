/**
 * Looks at the host's network through Node and, on Linux, `/proc/net`. Never waits, costs about 0.1 ms.
 *
 * The default route is known on Linux. Elsewhere Node has no way to ask for it without another program or a datagram; there
 * the first interface with an address that could reach strangers stands for it. A default route that moves between two
 * interfaces, with no address coming or going, is then noticed by the paths that fail. The gateway is known on Linux only.
 *
 * @module
 */
import { closeSync, openSync, readSync } from 'node:fs';
import { endianness, networkInterfaces } from 'node:os';
import {
  scopeOf,
  type InterfacePrefix,
  type InterfaceState,
  type NetworkInterface,
} from '../base/interface-state.ts';
import { toAddr } from '../base/socket-addr.ts';

/** Of each table, no more is read: a router may have a million routes, but its default ones come early. */
const MAX_TABLE_BYTES = 65_536;
/** Route that rejects what it matches, include/uapi/linux/route.h. */
const RTF_REJECT = 0x0200;
/** Route that is in use, same file. */
const RTF_UP = 0x0001;
/** Address not to be used for anything new, include/uapi/linux/if_addr.h. */
const IFA_F_DEPRECATED = 0x20;

const decoder = new TextDecoder('latin1');

/** The beginning of a table of the kernel's; empty where there is none. */
function readTable(path: string): string[][] {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch {
    return [];
  }
  try {
    const buffer = new Uint8Array(MAX_TABLE_BYTES);
    let length = 0;
    for (let count = 1; count > 0 && length < buffer.length; length += count)
      count = readSync(file, buffer, length, buffer.length - length, null);
    const lines = decoder.decode(buffer.subarray(0, length)).split('\n');
    return lines.map((line) => line.trim().split(/\s+/)).filter((fields) => fields.length > 1);
  } catch {
    return [];
  } finally {
    closeSync(file);
  }
}

/** A way out to everywhere. */
interface DefaultRoute {
  /** The interface. */
  readonly name: string;
  readonly metric: number;
  /** The next router; undefined: there is none, or it is of no interest. */
  readonly gateway: string | undefined;
}

/** The default route with the lowest metric, of `/proc/net/route`. Columns: Iface Destination Gateway Flags RefCnt Use Metric Mask. */
export function defaultRouteV4(rows: readonly (readonly string[])[]): DefaultRoute | undefined {
  return best(
    rows
      .filter(([, destination, , flags, , , , mask]) => {
        const bits = Number.parseInt(flags ?? '', 16);
        return destination === '00000000' && mask === '00000000' && isUsable(bits);
      })
      .map((row) => ({
        name: row[0]!,
        metric: Number.parseInt(row[6]!, 10),
        gateway: toGateway(row[2]!),
      })),
  );
}

/** The kernel prints the four bytes as a number of this machine, and most are little-endian. */
function toGateway(hex: string): string | undefined {
  if (!/^[0-9A-F]{8}$/i.test(hex) || /^0+$/.test(hex)) return undefined;
  const bytes = hex.match(/../g)!.map((byte) => Number.parseInt(byte, 16));
  return (endianness() === 'LE' ? bytes.reverse() : bytes).join('.');
}

/** The same of `/proc/net/ipv6_route`. Columns: destination length source length next-hop metric refs use flags name. */
export function defaultRouteV6(rows: readonly (readonly string[])[]): DefaultRoute | undefined {
  return best(
    rows
      .filter(([destination, length, , , , , , , flags, name]) => {
        const bits = Number.parseInt(flags ?? '', 16);
        return length === '00' && /^0+$/.test(destination ?? '') && name !== 'lo' && isUsable(bits);
      })
      .map((row) => ({ name: row[9]!, metric: Number.parseInt(row[5]!, 16), gateway: undefined })),
  );
}

function isUsable(flags: number): boolean {
  return (flags & RTF_UP) !== 0 && (flags & RTF_REJECT) === 0;
}

function best(routes: readonly DefaultRoute[]): DefaultRoute | undefined {
  return routes.reduce<DefaultRoute | undefined>(
    (least, route) => (least === undefined || route.metric < least.metric ? route : least),
    undefined,
  );
}

/** Addresses that `/proc/net/if_inet6` marks as deprecated, as text. Columns: address index length scope flags name. */
export function deprecatedIps(rows: readonly (readonly string[])[]): Set<string> {
  const ips = new Set<string>();
  for (const [hex, , , , flags] of rows) {
    if (!/^[0-9a-f]{32}$/i.test(hex ?? '')) continue;
    if ((Number.parseInt(flags ?? '', 16) & IFA_F_DEPRECATED) === 0) continue;
    ips.add(toAddr(hex!.match(/.{4}/g)!.join(':'), 0).ip);
  }
  return ips;
}

function interfaces(deprecated: ReadonlySet<string>): NetworkInterface[] {
  const list: NetworkInterface[] = [];
  for (const [name, addresses = []] of Object.entries(networkInterfaces())) {
    const prefixes: InterfacePrefix[] = addresses.map(({ address, cidr, family }) => ({
      ip: address,
      length: Number(cidr?.split('/')[1] ?? (family === 'IPv6' ? 128 : 32)),
      isDeprecated: deprecated.has(address),
    }));
    const [first] = addresses;
    list.push({ name, mac: first?.mac ?? '', isLoopback: first?.internal ?? false, prefixes });
  }
  return list.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** One look. Never throws. */
export function readHostNetwork(): InterfaceState {
  const isLinux = process.platform === 'linux';
  let list: NetworkInterface[] = [];
  try {
    list = interfaces(isLinux ? deprecatedIps(readTable('/proc/net/if_inet6')) : new Set());
  } catch {
    // Some sandboxes forbid it: no addresses are known there.
  }
  const routed = isLinux
    ? (defaultRouteV4(readTable('/proc/net/route')) ?? defaultRouteV6(readTable('/proc/net/ipv6_route')))
    : undefined;
  return {
    interfaces: list,
    defaultRoute: isLinux ? routed?.name : firstOutward(list),
    gateway: routed?.gateway,
    isExpensive: false,
  };
}

function firstOutward(list: readonly NetworkInterface[]): string | undefined {
  const hasWayOut = ({ isLoopback, prefixes }: NetworkInterface): boolean =>
    !isLoopback && prefixes.some(({ ip }) => ['other', 'uniqueLocal'].includes(scopeOf(ip)));
  return list.find(hasWayOut)?.name;
}
