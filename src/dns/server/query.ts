/**
 * Questions that come to a name server, and the messages that answer them (RFC 1035 §4, RFC 6891 for larger ones).
 *
 * @module
 */
import { EMPTY } from '../../base/bytes.ts';
import { DnsError } from '../../base/errors.ts';
import {
  CLASS_IN,
  decodeDnsMessage,
  EMPTY_MESSAGE,
  encodeDnsMessage,
  FLAG_AUTHORITATIVE,
  FLAG_RECURSION_DESIRED,
  FLAG_RESPONSE,
  FLAG_TRUNCATED,
  MASK_OPCODE,
  RESPONSE_BAD_VERSION,
  RESPONSE_FORMAT_ERROR,
  RESPONSE_NAME_ERROR,
  RESPONSE_NOT_IMPLEMENTED,
  RESPONSE_REFUSED,
  TYPE_ANY,
  TYPE_AXFR,
  TYPE_CNAME,
  TYPE_IXFR,
  TYPE_OPT,
  type DnsMessage,
  type DnsQuestion,
  type DnsRecord,
} from '../message.ts';
import type { Found } from './packet-records.ts';
import type { Zone } from './zones.ts';

/** What fits into a datagram for who says nothing else; RFC 1035 §2.3.4. */
const MIN_UDP_BYTES = 512;
/** Most bytes of an answer over UDP: more would be fragmented somewhere (https://www.dnsflagday.net/2020/). */
const MAX_UDP_BYTES = 1_232;
const HEADER_BYTES = 12;

/** A question that is answered. */
export interface Query {
  readonly id: number;
  /** Of the question. */
  readonly flags: number;
  readonly question: DnsQuestion;
  /** Set when the client speaks EDNS: how long a datagram may be. */
  readonly ednsBytes: number | undefined;
}

/** How a question is answered. */
export interface Answer {
  readonly responseCode: number;
  /** False for what we are not the authority of. */
  readonly isAuthoritative: boolean;
  readonly answers: readonly DnsRecord[];
  readonly authorities: readonly DnsRecord[];
}

/** A refusal without records. */
export function refusal(responseCode: number): Answer {
  return { responseCode, isAuthoritative: false, answers: [], authorities: [] };
}

/** What came: a question; or a message for which an answer is ready; or something to keep silent about. */
export type Reading = { readonly query: Query } | { readonly reply: Uint8Array } | undefined;

/** Reads what came. Never throws. */
export function readQuery(bytes: Uint8Array): Reading {
  if (bytes.length < HEADER_BYTES) return undefined;
  const id = (bytes[0]! << 8) | bytes[1]!;
  const flags = (bytes[2]! << 8) | bytes[3]!;
  // Two servers that answer each other's answers would never stop.
  if ((flags & FLAG_RESPONSE) !== 0) return undefined;
  const complain = (responseCode: number): Reading => ({
    reply: encodeDnsMessage({ ...EMPTY_MESSAGE, id, flags: replyFlags(flags) | responseCode }),
  });
  if ((flags & MASK_OPCODE) !== 0) return complain(RESPONSE_NOT_IMPLEMENTED);
  let message: DnsMessage;
  try {
    message = decodeDnsMessage(bytes);
  } catch (error) {
    if (error instanceof DnsError) return complain(RESPONSE_FORMAT_ERROR);
    throw error;
  }
  const { questions, additionals } = message;
  const edns = additionals.filter(({ type }) => type === TYPE_OPT);
  if (questions.length !== 1 || edns.length > 1) return complain(RESPONSE_FORMAT_ERROR);
  const query: Query = { id, flags, question: questions[0]!, ednsBytes: edns[0]?.class };
  const version = ((edns[0]?.ttl ?? 0) >>> 16) & 0xff;
  if (version !== 0) return { reply: encodeAnswer(query, refusal(RESPONSE_BAD_VERSION), 'datagram') };
  const { type, class: cls } = query.question;
  if (cls !== CLASS_IN || type === TYPE_AXFR || type === TYPE_IXFR)
    return { reply: encodeAnswer(query, refusal(RESPONSE_REFUSED), 'datagram') };
  return { query };
}

/** Chooses from what there is under a name. */
export function answerFrom({ type }: DnsQuestion, zone: Zone, found: Found): Answer {
  const { exists, records } = found;
  let answers = records.filter((record) => type === TYPE_ANY || record.type === type);
  // An alias stands for whatever is asked for (RFC 1034 §3.6.2).
  if (answers.length === 0) answers = records.filter((record) => record.type === TYPE_CNAME);
  return {
    responseCode: exists ? 0 : RESPONSE_NAME_ERROR,
    isAuthoritative: true,
    answers,
    // So that others know for how long there is nothing (RFC 2308 §3).
    authorities: answers.length === 0 ? [zone.soa] : [],
  };
}

/** @param carrier - What does not fit into a datagram is asked for again over a stream. */
export function encodeAnswer(query: Query, answer: Answer, carrier: 'datagram' | 'stream'): Uint8Array {
  const { id, flags, question, ednsBytes } = query;
  const { responseCode, isAuthoritative, answers, authorities } = answer;
  const message: DnsMessage = {
    id,
    flags: replyFlags(flags) | (isAuthoritative ? FLAG_AUTHORITATIVE : 0) | (responseCode & 0x0f),
    questions: [question],
    answers,
    authorities,
    additionals: ednsBytes === undefined ? [] : [toOpt(responseCode)],
  };
  const bytes = encodeDnsMessage(message);
  const limit = Math.min(Math.max(ednsBytes ?? 0, MIN_UDP_BYTES), MAX_UDP_BYTES);
  if (carrier === 'stream' || bytes.length <= limit) return bytes;
  return encodeDnsMessage({
    ...message,
    flags: message.flags | FLAG_TRUNCATED,
    answers: [],
    authorities: [],
  });
}

function replyFlags(flags: number): number {
  return FLAG_RESPONSE | (flags & (FLAG_RECURSION_DESIRED | MASK_OPCODE));
}

/** RFC 6891 §6.1.2. */
function toOpt(responseCode: number): DnsRecord {
  return {
    name: '.',
    type: TYPE_OPT,
    class: MAX_UDP_BYTES,
    ttl: (responseCode >> 4) * 0x100_0000,
    data: EMPTY,
  };
}
