/**
 * IP socket addresses, interned: two `Addr` of the same ip and port are the same object, so `===` compares and a `Map`
 * keys by identity on the packet path.
 *
 * @module
 */
import { DecodeError } from './bytes.ts';

/** An IP literal and a port. Compare with `===`. Make one with {@link toAddr}. */
export interface Addr {
  /** IPv4 or IPv6. IPv4-mapped IPv6 addresses count as IPv4. */
  readonly family: 4 | 6;
  /** Canonical text: dotted IPv4, or lower-case compressed IPv6 (RFC 5952) without zone. */
  readonly ip: string;
  /** 1 to 65535 (0 only for "any" addresses of a bind). */
  readonly port: number;
  /** 4 or 16 bytes, network order. Do not change. */
  readonly bytes: Uint8Array;
  /** `1.2.3.4:5` or `[::1]:5`. */
  readonly text: string;
}

class InternedAddr implements Addr {
  readonly family: 4 | 6;
  readonly ip: string;
  readonly port: number;
  readonly bytes: Uint8Array;
  readonly text: string;

  constructor(ip: string, port: number, bytes: Uint8Array, text: string) {
    this.family = bytes.length === 4 ? 4 : 6;
    this.ip = ip;
    this.port = port;
    this.bytes = bytes;
    this.text = text;
  }

  toString(): string {
    return this.text;
  }

  toJSON(): string {
    return this.text;
  }
}

// Weak, so that a flood from many source addresses leaves nothing behind once no connection refers to them.
const interned = new Map<string, WeakRef<InternedAddr>>();
const forget = new FinalizationRegistry<string>((key) => {
  if (interned.get(key)?.deref() === undefined) interned.delete(key);
});

/**
 * Interns an address. IPv4-mapped IPv6 (`::ffff:a.b.c.d`) becomes IPv4; zones (`%eth0`) are dropped.
 * @throws {DecodeError} when `ip` is no IP literal or `port` is outside 0 to 65535.
 */
export function toAddr(ip: string | Uint8Array, port: number): Addr {
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    throw new DecodeError(`port out of range: ${port}`);
  if (typeof ip === 'string') {
    const fast = interned.get(ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`)?.deref();
    if (fast) return fast;
  }
  const bytes = canonicalIp(typeof ip === 'string' ? parseIp(ip) : ip.slice());
  const canonical = formatIp(bytes);
  const text = bytes.length === 4 ? `${canonical}:${port}` : `[${canonical}]:${port}`;
  const known = interned.get(text)?.deref();
  if (known) return known;
  const addr = new InternedAddr(canonical, port, bytes, text);
  interned.set(text, new WeakRef(addr));
  forget.register(addr, text);
  return addr;
}

/** Parses `1.2.3.4:5` or `[::1]:5`. @throws {DecodeError} */
export function parseAddr(text: string): Addr {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  if (!match) throw new DecodeError(`not a socket address: ${text}`);
  const addr = toAddr((match[1] ?? match[2])!, Number(match[3]));
  return addr;
}

/** True for `0.0.0.0` and `::`. */
export function isUnspecified(addr: Addr): boolean {
  return addr.bytes.every((byte) => byte === 0);
}

/** Whether two addresses of one family are in one network of so many bits. */
export function sharesPrefix(a: Uint8Array, b: Uint8Array, bits: number): boolean {
  for (let i = 0; i < bits; i += 8) {
    const mask = bits - i >= 8 ? 0xff : (0xff << (8 - (bits - i))) & 0xff;
    if ((a[i / 8]! & mask) !== (b[i / 8]! & mask)) return false;
  }
  return true;
}

function canonicalIp(bytes: Uint8Array): Uint8Array {
  if (bytes.length === 4) return bytes;
  if (bytes.length !== 16) throw new DecodeError(`ip address: expected 4 or 16 bytes, got ${bytes.length}`);
  const mapped =
    bytes[10] === 0xff && bytes[11] === 0xff && bytes.subarray(0, 10).every((byte) => byte === 0);
  return mapped ? bytes.slice(12) : bytes;
}

function parseIp(text: string): Uint8Array {
  // Only IPv6 has zones (RFC 4007 §11).
  const bytes = text.includes(':') ? parseIpv6(text.split('%', 1)[0]!) : parseIpv4(text);
  if (!bytes) throw new DecodeError(`not an ip address: ${text}`);
  return bytes;
}

function parseIpv4(text: string): Uint8Array | undefined {
  const parts = text.split('.');
  if (parts.length !== 4) return undefined;
  const bytes = new Uint8Array(4);
  for (let i = 0; i < 4; i++) {
    // Leading zeros are refused: some parsers read them as octal.
    if (!/^(0|[1-9]\d{0,2})$/.test(parts[i]!) || Number(parts[i]) > 255) return undefined;
    bytes[i] = Number(parts[i]);
  }
  return bytes;
}

function parseIpv6(text: string): Uint8Array | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const head = ipv6Groups(halves[0]!, halves.length === 1);
  const tail = halves.length === 2 ? ipv6Groups(halves[1]!, true) : [];
  if (!head || !tail) return undefined;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  const groups = [...head, ...new Array<number>(missing).fill(0), ...tail];
  const bytes = new Uint8Array(16);
  groups.forEach((group, i) => {
    bytes[2 * i] = group >> 8;
    bytes[2 * i + 1] = group;
  });
  return bytes;
}

function ipv6Groups(text: string, mayEndInIpv4: boolean): number[] | undefined {
  if (text === '') return [];
  const groups: number[] = [];
  const parts = text.split(':');
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i]!;
    if (part.includes('.')) {
      const v4 = mayEndInIpv4 && i === parts.length - 1 ? parseIpv4(part) : undefined;
      if (!v4) return undefined;
      groups.push((v4[0]! << 8) | v4[1]!, (v4[2]! << 8) | v4[3]!);
    } else if (/^[0-9a-fA-F]{1,4}$/.test(part)) {
      groups.push(Number.parseInt(part, 16));
    } else {
      return undefined;
    }
  }
  return groups;
}

/** RFC 5952: lower case, the longest run of two or more zero groups becomes `::`. */
function formatIp(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.');
  const groups: number[] = [];
  for (let i = 0; i < 16; i += 2) groups.push((bytes[i]! << 8) | bytes[i + 1]!);
  let bestStart = -1;
  let bestLength = 1;
  for (let i = 0; i < 8; i++) {
    let length = 0;
    while (i + length < 8 && groups[i + length] === 0) length++;
    if (length > bestLength) {
      bestStart = i;
      bestLength = length;
    }
  }
  const hex = (from: number, to: number): string =>
    groups
      .slice(from, to)
      .map((group) => group.toString(16))
      .join(':');
  return bestStart < 0 ? hex(0, 8) : `${hex(0, bestStart)}::${hex(bestStart + bestLength, 8)}`;
}
