/**
 * Looks at the host's network through Node and, on Linux, `/proc/net`. Never waits.
 *
 * On Linux most looks only read a few small files and find the bytes of the look before: half the work of asking for the
 * interfaces and parsing, which is done when a byte differs, and every 15 s in any case.
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
/** Of which interfaces the state of the link is compared; with more of them every look is a whole one. */
const MAX_LINKS = 16;
/**
 * How long equal bytes stand for an equal network. What they do not show is that an interface changed its hardware address
 * within one interval and nothing else.
 */
export const WHOLE_LOOK_INTERVAL_MS = 15_000;
const ROUTES_V4 = '/proc/net/route';
const ROUTES_V6 = '/proc/net/ipv6_route';
/** IPv6 addresses with their flags. */
const ADDRS_V6 = '/proc/net/if_inet6';
/** IPv4 addresses, those too that have no route of their own in {@link ROUTES_V4}. */
const ADDRS_V4 = '/proc/net/fib_trie';
/** Route that rejects what it matches, include/uapi/linux/route.h. */
const RTF_REJECT = 0x0200;
/** Route that is in use, same file. */
const RTF_UP = 0x0001;
/** Address not to be used for anything new, include/uapi/linux/if_addr.h. */
const IFA_F_DEPRECATED = 0x20;

let scratch: Buffer | undefined;

/** The beginning of a file of the kernel's; empty where there is none. */
function readText(path: string): string {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch {
    return '';
  }
  scratch ??= Buffer.alloc(MAX_TABLE_BYTES);
  try {
    let length = 0;
    for (let count = 1; count > 0 && length < scratch.length; length += count)
      count = readSync(file, scratch, length, scratch.length - length, null);
    return scratch.toString('latin1', 0, length);
  } catch {
    return '';
  } finally {
    closeSync(file);
  }
}

function toRows(text: string): string[][] {
  const rows = text.split('\n').map((line) => line.trim().split(/\s+/));
  return rows.filter((fields) => fields.length > 1);
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

function safeInterfaces(deprecated: ReadonlySet<string>): NetworkInterface[] {
  try {
    return interfaces(deprecated);
  } catch {
    // Some sandboxes forbid it: no addresses are known there.
    return [];
  }
}

/** What was found, and the bytes that were there just before. */
interface Finding {
  readonly state: InterfaceState;
  readonly texts: ReadonlyMap<string, string>;
  readonly at: number;
}

let last: Finding | undefined;

/** Whether the kernel still says what it said. */
function isStill({ texts, at }: Finding): boolean {
  if (performance.now() - at >= WHOLE_LOOK_INTERVAL_MS) return false;
  for (const [path, text] of texts) if (readText(path) !== text) return false;
  return true;
}

/** Reads first and asks for the interfaces then: what changes in between is seen at the next look. */
function lookWholly(): Finding {
  const at = performance.now();
  const texts = new Map<string, string>();
  const read = (path: string): string => {
    const text = readText(path);
    texts.set(path, text);
    return text;
  };
  const routes = toRows(read(ROUTES_V4));
  const addrs = toRows(read(ADDRS_V6));
  read(ADDRS_V4);
  const routed = defaultRouteV4(routes) ?? defaultRouteV6(toRows(read(ROUTES_V6)));
  // An interface without a carrier keeps its addresses and routes, but counts for nothing.
  const links = new Set([...routes.slice(1).map(([name]) => name!), ...addrs.map((row) => row.at(-1)!)]);
  links.delete('lo');
  for (const name of [...links].slice(0, MAX_LINKS)) read(`/sys/class/net/${name}/operstate`);
  const list = safeInterfaces(deprecatedIps(addrs));
  const state = {
    interfaces: list,
    defaultRoute: routed?.name,
    gateway: routed?.gateway,
    isExpensive: false,
  };
  return { state, texts: links.size > MAX_LINKS ? new Map() : texts, at };
}

/** Whether equal bytes mean an equal network. */
function isTelling({ texts, state }: Finding): boolean {
  const hasV6 = state.interfaces.some(({ prefixes }) => prefixes.some(({ ip }) => ip.includes(':')));
  const mayBeEmpty = (path: string): boolean => !hasV6 && (path === ADDRS_V6 || path === ROUTES_V6);
  return (
    texts.size > 0 &&
    [...texts].every(([path, { length }]) => length < MAX_TABLE_BYTES && (length > 0 || mayBeEmpty(path)))
  );
}

/** One look; the same object as long as nothing differs, on Linux. Never throws. */
export function readHostNetwork(): InterfaceState {
  if (process.platform !== 'linux') {
    const list = safeInterfaces(new Set());
    return { interfaces: list, defaultRoute: firstOutward(list), gateway: undefined, isExpensive: false };
  }
  if (last !== undefined && isStill(last)) return last.state;
  const found = lookWholly();
  last = isTelling(found) ? found : undefined;
  return found.state;
}

function firstOutward(list: readonly NetworkInterface[]): string | undefined {
  const hasWayOut = ({ isLoopback, prefixes }: NetworkInterface): boolean =>
    !isLoopback && prefixes.some(({ ip }) => ['other', 'uniqueLocal'].includes(scopeOf(ip)));
  return list.find(hasWayOut)?.name;
}
