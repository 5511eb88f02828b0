/**
 * Asking for TXT records: the question, and whether an answer is one to it.
 *
 * @module
 */
import { DnsError } from '../base/errors.ts';
import {
  CLASS_IN,
  decodeDnsMessage,
  decodeTxt,
  EMPTY_MESSAGE,
  encodeDnsMessage,
  FLAG_RECURSION_DESIRED,
  FLAG_RESPONSE,
  FLAG_TRUNCATED,
  MASK_OPCODE,
  MASK_RESPONSE_CODE,
  RESPONSE_NAME_ERROR,
  TYPE_TXT,
} from './message.ts';
import { isSameName } from './name.ts';

/** What was asked, to be compared with the answer. */
export interface TxtQuestion {
  readonly name: string;
  /** 0 over HTTPS, so that caches see one question as one (RFC 8484 §4.1); else not to be guessed. */
  readonly id: number;
}

/** @throws {DnsError} `Name` for a name that DNS cannot hold. */
export function encodeTxtQuery({ name, id }: TxtQuestion): Uint8Array {
  return encodeDnsMessage({
    ...EMPTY_MESSAGE,
    id,
    flags: FLAG_RECURSION_DESIRED,
    questions: [{ name, type: TYPE_TXT, class: CLASS_IN }],
  });
}

/**
 * The TXT records of an answer, each with its strings joined. Owner names are not compared, aliases being what they are; no
 * such name is no records.
 *
 * @throws {DnsError} `Malformed`; `Mismatch` for an answer to something else; `Truncated`; `Refused` with the server's code.
 */
export function readTxtAnswer(bytes: Uint8Array, question: TxtQuestion): Uint8Array[] {
  const { id, flags, questions, answers } = decodeDnsMessage(bytes);
  const [asked] = questions;
  const isOurs =
    id === question.id &&
    (flags & (FLAG_RESPONSE | MASK_OPCODE)) === FLAG_RESPONSE &&
    questions.length === 1 &&
    asked!.type === TYPE_TXT &&
    asked!.class === CLASS_IN &&
    isSameName(asked!.name, question.name);
  if (!isOurs) throw new DnsError('DnsError.Mismatch', `this answers another question than ${question.name}`);
  if ((flags & FLAG_TRUNCATED) !== 0) throw new DnsError('DnsError.Truncated', 'the answer is cut off');
  const responseCode = flags & MASK_RESPONSE_CODE;
  if (responseCode === RESPONSE_NAME_ERROR) return [];
  if (responseCode !== 0)
    throw new DnsError('DnsError.Refused', `the server answered with code ${responseCode}`, { responseCode });
  return answers
    .filter((record) => record.type === TYPE_TXT && record.class === CLASS_IN)
    .map(({ data }) => decodeTxt(data));
}
