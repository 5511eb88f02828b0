/**
 * Which names a lookup server answers for: those under an endpoint's key under one of its origins, and the origins themselves
 * (upstream `iroh-dns-server/src/dns.rs`, `dns/node_authority.rs`).
 *
 * @module
 */
import { DecodeError, Writer } from '../../base/bytes.ts';
import { decodeZ32 } from '../../base/encoding.ts';
import { toAddr } from '../../base/socket-addr.ts';
import { CLASS_IN, TYPE_A, TYPE_AAAA, TYPE_NS, TYPE_SOA, type DnsRecord } from '../message.ts';
import { NameWriter, labelsOf } from '../name.ts';

/** Bytes of a public key. */
const KEY_BYTES = 32;
/** Seconds for which what is said about an origin holds; upstream `TTL_*`. */
const TTL_SOA_S = 14 * 86_400;
const TTL_NS_S = 12 * 3_600;
const TTL_ADDR_S = 3_600;
/**
 * Seconds for which others may keep that there is nothing (RFC 2308 §5), unless configured. An endpoint that has just published
 * should be found; upstream's example has an hour.
 */
const NEGATIVE_TTL_S = 30;

/** What a server is the authority for. */
export interface ZoneOptions {
  /** Domains; `.` answers for `<name>.<id>` without a domain. Default `irohdns.example.` and `.`. */
  readonly origins?: readonly string[] | undefined;
  /** `primary mailbox serial refresh retry expire minimum`, as in RFC 1035 §3.3.13. Default: made from the origin. */
  readonly soa?: string | undefined;
  /** Name servers of the origins. */
  readonly ns?: readonly string[] | undefined;
  /** IPv4 address of the origins. */
  readonly a?: string | undefined;
  /** IPv6 address of the origins. */
  readonly aaaa?: string | undefined;
}

/** Where a name belongs. */
export type Place =
  /** An origin itself. */
  | { readonly kind: 'apex'; readonly zone: Zone }
  /** Under a key. */
  | {
      readonly kind: 'key';
      readonly zone: Zone;
      /** 32 bytes; whether they are a key is not known. */
      readonly key: Uint8Array;
      /** The name inside of signed packets, where the key is the end: labels in lower case. */
      readonly owner: readonly string[];
    }
  /** Under an origin, but under no key. */
  | { readonly kind: 'nothing'; readonly zone: Zone };

/** One origin. */
export interface Zone {
  /** As records name it, with no dot at the end; `.` for the root. */
  readonly origin: string;
  /** Which is also said when there is nothing. */
  readonly soa: DnsRecord;
  /** What the origin itself has; nothing for the root, which is others'. */
  readonly records: readonly DnsRecord[];
}

/** All origins of a server. */
export class Zones {
  readonly #zones: readonly { readonly labels: readonly string[]; readonly zone: Zone }[];

  /** @throws {RangeError} for what cannot be read; {@link DnsError} `Name`; {@link DecodeError} for an address that is none. */
  constructor(options: ZoneOptions = {}) {
    const { origins = ['irohdns.example.', '.'] } = options;
    if (origins.length === 0) throw new RangeError('a server needs an origin');
    this.#zones = origins
      .map((origin) => ({ labels: labelsOf(origin), zone: toZone(origin, options) }))
      // What is more special counts first.
      .sort((a, b) => b.labels.length - a.labels.length);
  }

  /** The origins, as records name them. */
  get origins(): readonly string[] {
    return this.#zones.map(({ zone }) => zone.origin);
  }

  /** Finds out what a name is. Undefined for names that others are asked for. */
  locate(name: string): Place | undefined {
    const labels = labelsOf(name);
    for (const { labels: origin, zone } of this.#zones) {
      const within = labels.slice(0, Math.max(labels.length - origin.length, 0));
      if (origin.some((label, i) => label !== labels[within.length + i])) continue;
      const isRoot = origin.length === 0;
      if (within.length === 0) return isRoot ? undefined : { kind: 'apex', zone };
      const key = toKey(within.at(-1)!);
      if (key !== undefined) return { kind: 'key', zone, key, owner: within };
      // That there is no `com` is nothing that we could know.
      return isRoot ? undefined : { kind: 'nothing', zone };
    }
    return undefined;
  }
}

function toKey(label: string): Uint8Array | undefined {
  try {
    const key = decodeZ32(label);
    return key.length === KEY_BYTES ? key : undefined;
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
}

function toZone(text: string, { soa, ns = [], a, aaaa }: ZoneOptions): Zone {
  const origin = labelsOf(text).join('.') || '.';
  const record = (type: number, ttl: number, data: Uint8Array): DnsRecord => ({
    name: origin,
    type,
    class: CLASS_IN,
    ttl,
    data,
  });
  const authority = record(TYPE_SOA, TTL_SOA_S, encodeSoa(soa ?? defaultSoa(origin)));
  if (origin === '.') return { origin, soa: authority, records: [] };
  const records = [authority, ...ns.map((name) => record(TYPE_NS, TTL_NS_S, encodeName(name)))];
  if (a !== undefined) records.push(record(TYPE_A, TTL_ADDR_S, encodeIp(a, 4)));
  if (aaaa !== undefined) records.push(record(TYPE_AAAA, TTL_ADDR_S, encodeIp(aaaa, 6)));
  return { origin, soa: authority, records };
}

function defaultSoa(origin: string): string {
  const mailbox = origin === '.' ? 'hostmaster' : `hostmaster.${origin}`;
  return `${origin} ${mailbox} 0 10800 3600 604800 ${NEGATIVE_TTL_S}`;
}

/** @throws {RangeError} */
function encodeSoa(text: string): Uint8Array {
  const [primary, mailbox, ...numbers] = text.trim().split(/\s+/);
  if (
    numbers.length !== 5 ||
    numbers.some((number) => !/^\d{1,10}$/.test(number) || Number(number) > 0xffff_ffff)
  )
    throw new RangeError(
      `not "primary mailbox serial refresh retry expire minimum", with numbers after two names: ${text}`,
    );
  const writer = new Writer();
  writer.put(encodeName(primary!));
  writer.put(encodeName(mailbox!));
  for (const number of numbers) writer.u32(Number(number));
  return writer.copy();
}

/** Not compressed: that would say something in its own message only. @throws {DnsError} `Name` */
export function encodeName(name: string): Uint8Array {
  const writer = new Writer();
  new NameWriter(writer).write(name);
  return writer.copy();
}

function encodeIp(ip: string, family: 4 | 6): Uint8Array {
  const addr = toAddr(ip, 0);
  if (addr.family !== family) throw new RangeError(`not an IPv${family} address: ${ip}`);
  return addr.bytes;
}
