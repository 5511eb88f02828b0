/**
 * DNS messages (RFC 1035 §4). What is in records stays bytes, as it came; TXT records are read here, SRV records in `srv.ts`.
 *
 * Runs where there is no `Buffer`. Work and memory are bounded by the size of the message: a record takes 11 bytes at least,
 * and a name has 255 at most, however it is compressed.
 *
 * @module
 */
import { concatBytes, DecodeError, Reader, Writer } from '../base/bytes.ts';
import { DnsError } from '../base/errors.ts';
import { NameWriter, readName } from './name.ts';

/** A length over TCP has 16 bits; RFC 1035 §4.2.2. */
export const MAX_DNS_MESSAGE_BYTES = 65_535;
/** A character-string; RFC 1035 §3.3. */
export const MAX_TXT_STRING_BYTES = 255;

/** Record types; RFC 1035 §3.2.2, RFC 3596, RFC 6891, RFC 2782, RFC 6672. */
export const TYPE_A = 1;
export const TYPE_NS = 2;
export const TYPE_CNAME = 5;
export const TYPE_SOA = 6;
export const TYPE_PTR = 12;
export const TYPE_MX = 15;
export const TYPE_TXT = 16;
export const TYPE_AAAA = 28;
export const TYPE_SRV = 33;
export const TYPE_DNAME = 39;
export const TYPE_OPT = 41;
/** Types of questions only; RFC 1035 §3.2.3. */
export const TYPE_IXFR = 251;
export const TYPE_AXFR = 252;
export const TYPE_ANY = 255;
/** The internet; RFC 1035 §3.2.4. */
export const CLASS_IN = 1;

/** Bits of the second word of the header; RFC 1035 §4.1.1. */
export const FLAG_RESPONSE = 0x8000;
/** Who answers is the one who knows. */
export const FLAG_AUTHORITATIVE = 0x0400;
/** What did not fit is missing. */
export const FLAG_TRUNCATED = 0x0200;
/** Please ask others, too. */
export const FLAG_RECURSION_DESIRED = 0x0100;
/** What kind of question it is; 0 is the usual kind. */
export const MASK_OPCODE = 0x7800;
/** How it went; 0 is well. */
export const MASK_RESPONSE_CODE = 0x000f;
/** Response codes; RFC 1035 §4.1.1, RFC 6891 §9. */
export const RESPONSE_FORMAT_ERROR = 1;
export const RESPONSE_SERVER_FAILURE = 2;
/** There is no such name. */
export const RESPONSE_NAME_ERROR = 3;
export const RESPONSE_NOT_IMPLEMENTED = 4;
export const RESPONSE_REFUSED = 5;
/** Above 15: its upper bits are in the OPT record. */
export const RESPONSE_BAD_VERSION = 16;

/** What is asked. */
export interface DnsQuestion {
  /** Text as `name.ts` has it. */
  readonly name: string;
  readonly type: number;
  readonly class: number;
}

/** Something that is so. */
export interface DnsRecord {
  /** Text as `name.ts` has it. */
  readonly name: string;
  readonly type: number;
  readonly class: number;
  /** Seconds. */
  readonly ttl: number;
  /** Up to 65,535 bytes; a view into the message after decoding. Names in it may be compressed. */
  readonly data: Uint8Array;
}

/** A question, or the answer to one. */
export interface DnsMessage {
  readonly id: number;
  /** The second word of the header. */
  readonly flags: number;
  readonly questions: readonly DnsQuestion[];
  readonly answers: readonly DnsRecord[];
  readonly authorities: readonly DnsRecord[];
  readonly additionals: readonly DnsRecord[];
}

/** A message without anything in it, to be filled. */
export const EMPTY_MESSAGE: DnsMessage = {
  id: 0,
  flags: 0,
  questions: [],
  answers: [],
  authorities: [],
  additionals: [],
};

/**
 * Names are compressed against all names before them, as Rust iroh's encoder does.
 *
 * @throws {DnsError} `Name` for a name that DNS cannot hold, `TooLong` above 65,535 bytes.
 */
export function encodeDnsMessage(message: DnsMessage): Uint8Array {
  const writer = new Writer();
  const names = new NameWriter(writer);
  const sections = [message.answers, message.authorities, message.additionals];
  writer.u16(message.id);
  writer.u16(message.flags);
  for (const { length } of [message.questions, ...sections]) {
    if (length > 0xffff) throw new DnsError('DnsError.TooLong', 'more than 65,535 records');
    writer.u16(length);
  }
  for (const question of message.questions) {
    names.write(question.name);
    writer.u16(question.type);
    writer.u16(question.class);
  }
  for (const record of sections.flat()) {
    if (record.data.length > 0xffff) throw new DnsError('DnsError.TooLong', 'a record above 65,535 bytes');
    names.write(record.name);
    writer.u16(record.type);
    writer.u16(record.class);
    writer.u32(record.ttl);
    writer.u16(record.data.length);
    writer.put(record.data);
  }
  if (writer.pos > MAX_DNS_MESSAGE_BYTES)
    throw new DnsError('DnsError.TooLong', `a message of ${writer.pos} bytes`);
  return writer.copy();
}

/** @param bytes - Borrowed; records are views into it. What follows the last record is ignored. @throws {DnsError} `Malformed` */
export function decodeDnsMessage(bytes: Uint8Array): DnsMessage {
  if (bytes.length > MAX_DNS_MESSAGE_BYTES)
    throw new DnsError('DnsError.Malformed', `a message of ${bytes.length} bytes`);
  const reader = new Reader(bytes);
  try {
    const id = reader.u16();
    const flags = reader.u16();
    const counts = [reader.u16(), reader.u16(), reader.u16(), reader.u16()] as const;
    return {
      id,
      flags,
      questions: list(counts[0], () => readQuestion(reader)),
      answers: list(counts[1], () => readRecord(reader)),
      authorities: list(counts[2], () => readRecord(reader)),
      additionals: list(counts[3], () => readRecord(reader)),
    };
  } catch (cause) {
    if (!(cause instanceof DecodeError)) throw cause;
    throw new DnsError('DnsError.Malformed', `a message that ends early: ${cause.message}`, { cause });
  }
}

/** Not `Array.from({ length })`: the count is the sender's word, and nothing is reserved for it. */
function list<T>(count: number, read: () => T): T[] {
  const items: T[] = [];
  for (let i = 0; i < count; i++) items.push(read());
  return items;
}

function readQuestion(reader: Reader): DnsQuestion {
  return { name: readName(reader), type: reader.u16(), class: reader.u16() };
}

function readRecord(reader: Reader): DnsRecord {
  const name = readName(reader);
  const [type, cls, ttl] = [reader.u16(), reader.u16(), reader.u32()];
  return { name, type, class: cls, ttl, data: reader.take(reader.u16()) };
}

/** The data of a TXT record; RFC 1035 §3.3.14. @throws {DnsError} `TooLong` for a string above 255 bytes. */
export function encodeTxt(strings: readonly Uint8Array[]): Uint8Array {
  const writer = new Writer();
  // A record without strings is not allowed; one that is empty says the same.
  for (const string of strings.length === 0 ? [new Uint8Array(0)] : strings) {
    if (string.length > MAX_TXT_STRING_BYTES)
      throw new DnsError('DnsError.TooLong', `a string of ${string.length} bytes in a TXT record`);
    writer.u8(string.length);
    writer.put(string);
  }
  return writer.copy();
}

/** The strings of a TXT record, joined: how long each was means nothing. @throws {DnsError} `Malformed` */
export function decodeTxt(data: Uint8Array): Uint8Array {
  return concatBytes(...decodeTxtStrings(data));
}

/** The strings of a TXT record, where each means something of its own (RFC 6763 §6.1); views. @throws {DnsError} `Malformed` */
export function decodeTxtStrings(data: Uint8Array): Uint8Array[] {
  const strings: Uint8Array[] = [];
  const reader = new Reader(data);
  try {
    while (reader.remaining > 0) strings.push(reader.take(reader.u8()));
  } catch (cause) {
    throw new DnsError('DnsError.Malformed', 'a TXT record that ends early', { cause });
  }
  return strings;
}
