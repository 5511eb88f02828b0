/**
 * DNS messages, and answers to a question for TXT records.
 *
 * @module
 */
import { concatBytes, fromHex, toHex, utf8 } from '../../../src/base/bytes.ts';
import { DnsError } from '../../../src/base/errors.ts';
import {
  CLASS_IN,
  EMPTY_MESSAGE,
  FLAG_RESPONSE,
  TYPE_TXT,
  decodeDnsMessage,
  encodeDnsMessage,
  encodeTxt,
} from '../../../src/dns/message.ts';
import { encodeTxtQuery, readTxtAnswer } from '../../../src/dns/txt-query.ts';
import { must, refused, type Target } from '../target.ts';

const QUESTION = { name: '_iroh.abc.example', id: 7 };
const isDocumented = (error: unknown): boolean => error instanceof DnsError;

/** An answer to the question with these records of one string each. */
function answer(...strings: string[]): Uint8Array {
  const { name } = QUESTION;
  return encodeDnsMessage({
    ...EMPTY_MESSAGE,
    id: QUESTION.id,
    flags: FLAG_RESPONSE,
    questions: [{ name, type: TYPE_TXT, class: CLASS_IN }],
    answers: strings.map((string) => ({
      name,
      type: TYPE_TXT,
      class: CLASS_IN,
      ttl: 30,
      data: encodeTxt([utf8(string)]),
    })),
  });
}

export const dnsMessage: Target = {
  name: 'dns-message',
  decoders: [
    { file: 'src/dns/message.ts', except: /^encode/ },
    { file: 'src/dns/name.ts', except: /^(write|toLabels|end)/ },
    { file: 'src/dns/txt-query.ts', except: /^encode/ },
  ],
  maxLength: 1_200,
  maxWork: 200_000,
  seeds: () => {
    const error = answer();
    error[3] = 3;
    const failed = answer();
    failed[3] = 2;
    const cut = answer('relay=x');
    cut[2] = 0x82;
    return [
      answer('relay=https://r.example/', 'addr=192.0.2.1:1'),
      answer(),
      error,
      failed,
      cut,
      encodeTxtQuery(QUESTION),
      fromHex('000080000000000100000000c00c'),
      concatBytes(answer('x'), new Uint8Array(8)),
    ];
  },
  dictionary: [fromHex('c00c'), fromHex('c000'), fromHex('00100001'), fromHex('3f'), fromHex('ffff')],
  run: (bytes) => {
    refused(() => {
      const message = decodeDnsMessage(bytes);
      // Labels may be escaped, and names be written shorter than they were; what they mean stays.
      const again = encodeDnsMessage(message);
      must(
        toHex(encodeDnsMessage(decodeDnsMessage(again))) === toHex(again),
        'another message after a round trip',
      );
    }, isDocumented);
    refused(() => void readTxtAnswer(bytes, QUESTION), isDocumented);
  },
};
