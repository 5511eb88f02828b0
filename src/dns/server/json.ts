/**
 * DNS over HTTPS as JSON, for people and scripts; the format is Google's
 * (https://developers.google.com/speed/public-dns/docs/doh/json), as far as upstream has it (`iroh-dns-server/src/http/doh`).
 *
 * @module
 */
import { DecodeError, fromUtf8, Reader, toHex } from '../../base/bytes.ts';
import { DnsError } from '../../base/errors.ts';
import { toAddr } from '../../base/socket-addr.ts';
import {
  CLASS_IN,
  decodeTxt,
  TYPE_A,
  TYPE_AAAA,
  TYPE_ANY,
  TYPE_CNAME,
  TYPE_DNAME,
  TYPE_MX,
  TYPE_NS,
  TYPE_PTR,
  TYPE_SOA,
  TYPE_SRV,
  TYPE_TXT,
  type DnsQuestion,
  type DnsRecord,
} from '../message.ts';
import { readName } from '../name.ts';
import type { Answer } from './query.ts';

const TYPE_BY_NAME: ReadonlyMap<string, number> = new Map(
  Object.entries({
    A: TYPE_A,
    NS: TYPE_NS,
    CNAME: TYPE_CNAME,
    SOA: TYPE_SOA,
    PTR: TYPE_PTR,
    MX: TYPE_MX,
    TXT: TYPE_TXT,
    AAAA: TYPE_AAAA,
    SRV: TYPE_SRV,
    DNAME: TYPE_DNAME,
    ANY: TYPE_ANY,
  }),
);

/** Reads `name=…&type=…`; the type by name or number, A by default. Undefined when it asks nothing. */
export function readJsonQuestion(query: URLSearchParams): DnsQuestion | undefined {
  const name = query.get('name') ?? '';
  const asked = query.get('type') ?? 'A';
  const type = /^\d{1,5}$/.test(asked) ? Number(asked) : TYPE_BY_NAME.get(asked.toUpperCase());
  // What is no plain name cannot be one of ours.
  if (!/^[\w.-]{1,254}$/.test(name) || type === undefined || type > 0xffff) return undefined;
  return { name, type, class: CLASS_IN };
}

/** The answer as an object for `JSON.stringify`. */
export function toJsonAnswer({ name, type }: DnsQuestion, answer: Answer): Record<string, unknown> {
  return {
    Status: answer.responseCode & 0x0f,
    TC: false,
    RD: false,
    RA: false,
    AD: false,
    CD: false,
    Question: [{ name, type }],
    Answer: answer.answers.map((record) => ({
      name: record.name,
      type: record.type,
      TTL: record.ttl,
      data: toText(record),
    })),
  };
}

function toText({ type, data }: DnsRecord): string {
  try {
    const reader = new Reader(data);
    switch (type) {
      case TYPE_TXT:
        return fromUtf8(decodeTxt(data));
      case TYPE_A:
      case TYPE_AAAA:
        return toAddr(data, 0).ip;
      case TYPE_NS:
      case TYPE_CNAME:
      case TYPE_PTR:
      case TYPE_DNAME:
        return readName(reader);
    }
  } catch (error) {
    if (!(error instanceof DecodeError || error instanceof DnsError || error instanceof TypeError))
      throw error;
  }
  // RFC 3597 §5: how data is written whose type is not known.
  return `\\# ${data.length} ${toHex(data)}`;
}
