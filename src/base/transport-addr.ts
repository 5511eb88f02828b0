/**
 * One way to reach an endpoint: by relay, by IP or by a custom transport. Order, text and JSON as in
 * `iroh-base/src/endpoint_addr.rs`; the binary form is in `ticket.ts`.
 *
 * @module
 */
import { fromHex, toHex } from './bytes.ts';
import { ParseError } from './parse-error.ts';
import { RelayUrl } from './relay-url.ts';
import { parseAddr, type Addr } from './socket-addr.ts';

/** One way to reach an endpoint. */
export type TransportAddr =
  /** Through a relay server. */
  | { readonly type: 'relay'; readonly url: RelayUrl }
  /** Directly, over UDP. */
  | { readonly type: 'ip'; readonly addr: Addr }
  /** By a transport of the application's own. */
  | {
      readonly type: 'custom';
      /** Which transport, 0 to 2^64 − 1. */ readonly id: bigint;
      /** Its own business. */ readonly data: Uint8Array;
    };

/** JSON as serde writes it for the Rust type. A custom id above 2^53 − 1 is decimal text here. */
export type TransportAddrJson =
  | { readonly Relay: string }
  | { readonly Ip: string }
  | { readonly Custom: { readonly id: number | string; readonly data: readonly number[] } };

/** Up to this length the Rust type keeps custom data inline, and such data sorts before any longer one. */
export const MAX_INLINE_CUSTOM_BYTES = 30;

const MAX_CUSTOM_ID = (1n << 64n) - 1n;
const RANK = { relay: 0, ip: 1, custom: 2 } as const;

/** Negative, zero or positive: relays by URL, then IPv4 before IPv6, then custom ones. This is also the order on the wire. */
export function compareTransportAddrs(a: TransportAddr, b: TransportAddr): number {
  if (a.type === 'relay' && b.type === 'relay') return compareText(a.url.href, b.url.href);
  if (a.type === 'ip' && b.type === 'ip')
    return (
      a.addr.family - b.addr.family || compareBytes(a.addr.bytes, b.addr.bytes) || a.addr.port - b.addr.port
    );
  if (a.type === 'custom' && b.type === 'custom')
    return a.id === b.id ? compareCustomData(a.data, b.data) : a.id < b.id ? -1 : 1;
  return RANK[a.type] - RANK[b.type];
}

/** Sorts into a fresh array without duplicates. */
export function sortedTransportAddrs(addrs: Iterable<TransportAddr>): TransportAddr[] {
  const sorted = [...addrs].sort(compareTransportAddrs);
  return sorted.filter((addr, i) => i === 0 || compareTransportAddrs(sorted[i - 1]!, addr) !== 0);
}

/** `relay:<url>`, `ip:<ip>:<port>` or `custom:<id hex>_<data hex>`. */
export function formatTransportAddr(addr: TransportAddr): string {
  switch (addr.type) {
    case 'relay':
      return `relay:${addr.url.href}`;
    case 'ip':
      return `ip:${addr.addr.text}`;
    case 'custom':
      return `custom:${addr.id.toString(16)}_${toHex(addr.data)}`;
  }
}

/** The reverse of {@link formatTransportAddr}. @throws {ParseError} `TransportAddr`, `RelayUrl` */
export function parseTransportAddr(text: string): TransportAddr {
  const colon = text.indexOf(':');
  const rest = text.slice(colon + 1);
  switch (text.slice(0, Math.max(colon, 0))) {
    case 'relay':
      return { type: 'relay', url: RelayUrl.parse(rest) };
    case 'ip':
      return { type: 'ip', addr: parseIp(rest) };
    case 'custom': {
      const match = /^([0-9a-f]{1,16})_((?:[0-9a-f]{2})*)$/.exec(rest);
      if (match) return { type: 'custom', id: BigInt(`0x${match[1]!}`), data: fromHex(match[2]!) };
    }
  }
  throw new ParseError('ParseError.TransportAddr', 'transport address: expected relay:, ip: or custom:');
}

export function transportAddrToJson(addr: TransportAddr): TransportAddrJson {
  switch (addr.type) {
    case 'relay':
      return { Relay: addr.url.href };
    case 'ip':
      return { Ip: addr.addr.text };
    case 'custom': {
      const id = addr.id <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(addr.id) : addr.id.toString();
      return { Custom: { id, data: [...addr.data] } };
    }
  }
}

/** @throws {ParseError} `TransportAddr`, `RelayUrl` */
export function transportAddrFromJson(json: unknown): TransportAddr {
  if (typeof json === 'object' && json !== null) {
    if ('Relay' in json && typeof json.Relay === 'string')
      return { type: 'relay', url: RelayUrl.parse(json.Relay) };
    if ('Ip' in json && typeof json.Ip === 'string') return { type: 'ip', addr: parseIp(json.Ip) };
    if ('Custom' in json) {
      const custom = customFromJson(json.Custom);
      if (custom) return custom;
    }
  }
  throw new ParseError('ParseError.TransportAddr', 'transport address: JSON of another shape');
}

function customFromJson(json: unknown): TransportAddr | undefined {
  if (typeof json !== 'object' || json === null || !('id' in json) || !('data' in json)) return undefined;
  const { id, data } = json;
  const wellFormedId =
    (typeof id === 'number' && Number.isSafeInteger(id) && id >= 0) ||
    (typeof id === 'string' && /^\d{1,20}$/.test(id) && BigInt(id) <= MAX_CUSTOM_ID);
  const wellFormedData =
    Array.isArray(data) && data.every((byte) => Number.isInteger(byte) && byte >= 0 && byte <= 255);
  if (!wellFormedId || !wellFormedData) return undefined;
  return { type: 'custom', id: BigInt(id), data: Uint8Array.from(data as number[]) };
}

function parseIp(text: string): Addr {
  try {
    return parseAddr(text);
  } catch (cause) {
    throw new ParseError('ParseError.TransportAddr', (cause as Error).message, cause);
  }
}

/** URLs in normalised form are ASCII, where code units are bytes. */
function compareText(a: string, b: string): number {
  return a === b ? 0 : a < b ? -1 : 1;
}

/** Lexicographic. */
function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) if (a[i] !== b[i]) return a[i]! - b[i]!;
  return a.length - b.length;
}

function compareCustomData(a: Uint8Array, b: Uint8Array): number {
  const aShort = a.length <= MAX_INLINE_CUSTOM_BYTES;
  const bShort = b.length <= MAX_INLINE_CUSTOM_BYTES;
  if (aShort !== bShort) return aShort ? -1 : 1;
  return (aShort ? a.length - b.length : 0) || compareBytes(a, b);
}
