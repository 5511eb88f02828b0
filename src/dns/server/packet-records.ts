/**
 * What of a signed packet's DNS message is served under a name.
 *
 * A packet may hold records of almost any type, for names that end in its key. Its data goes into other messages, so names in it
 * that are compressed are written out.
 *
 * @module
 */
import { concatBytes, DecodeError, Reader } from '../../base/bytes.ts';
import { DnsError } from '../../base/errors.ts';
import {
  CLASS_IN,
  decodeDnsMessage,
  TYPE_CNAME,
  TYPE_DNAME,
  TYPE_MX,
  TYPE_NS,
  TYPE_OPT,
  TYPE_PTR,
  TYPE_SOA,
  TYPE_SRV,
  type DnsRecord,
} from '../message.ts';
import { labelsOf, readName } from '../name.ts';
import { encodeName } from './zones.ts';

/** Types whose data ends in a name, with the bytes before it; RFC 1035 §3.3, RFC 2782, RFC 6672. */
const NAME_AFTER_BYTES: ReadonlyMap<number, number> = new Map([
  [TYPE_CNAME, 0],
  [TYPE_PTR, 0],
  [TYPE_DNAME, 0],
  [TYPE_MX, 2],
  [TYPE_SRV, 6],
]);
/**
 * What is not the signer's to say: who is the authority, and what concerns one message only. And types that nobody uses any
 * more, whose data may hold compressed names (MD, MF, MB, MG, MR, MINFO).
 */
const NOT_SERVED: ReadonlySet<number> = new Set([0, TYPE_NS, TYPE_SOA, TYPE_OPT, 3, 4, 7, 8, 9, 14]);
/** Types that are questions or belong to a message: RFC 6895 §3.1. */
const META_TYPES = { from: 128, to: 255 } as const;

/** What there is under a name. */
export interface Found {
  /** The name exists, if only because there is something below it (RFC 8020 §2). */
  readonly exists: boolean;
  readonly records: readonly DnsRecord[];
}

/**
 * The records of one name. What cannot be read is left out.
 *
 * @param message - Of a signed packet.
 * @param owner - Labels in lower case; the last one is the key.
 * @param name - What the records are called in the answer.
 * @throws {DnsError} `Malformed`
 */
export function recordsAt(message: Uint8Array, owner: readonly string[], name: string): Found {
  const records: DnsRecord[] = [];
  let exists = false;
  for (const record of decodeDnsMessage(message).answers) {
    if (!isServed(record)) continue;
    const labels = labelsOf(record.name);
    const above = labels.length - owner.length;
    if (above < 0 || owner.some((label, i) => label !== labels[above + i])) continue;
    exists = true;
    const data = above === 0 ? expandData(message, record) : undefined;
    if (data !== undefined) records.push({ ...record, name, data });
  }
  return { exists, records };
}

function isServed({ type, class: cls }: DnsRecord): boolean {
  return cls === CLASS_IN && !NOT_SERVED.has(type) && !(type >= META_TYPES.from && type <= META_TYPES.to);
}

/** Undefined when it is not what its type says. */
function expandData(message: Uint8Array, { type, data }: DnsRecord): Uint8Array | undefined {
  const before = NAME_AFTER_BYTES.get(type);
  if (before === undefined) return data;
  const start = data.byteOffset - message.byteOffset;
  const reader = new Reader(message, start, start + data.length);
  try {
    const prefix = reader.take(before);
    const name = readName(reader);
    return reader.remaining === 0 ? concatBytes(prefix, encodeName(name)) : undefined;
  } catch (error) {
    if (error instanceof DecodeError || error instanceof DnsError) return undefined;
    throw error;
  }
}
