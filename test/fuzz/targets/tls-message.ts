/**
 * Handshake messages of TLS, one by one and in pieces: `| decoder | bytes |`.
 *
 * @module
 */
import { concatBytes, DecodeError, utf8 } from '../../../src/base/bytes.ts';
import { TlsAlert } from '../../../src/tls/alert.ts';
import { decodeClientHello, peekClientHello } from '../../../src/tls/client-hello.ts';
import { MessageReader } from '../../../src/tls/message-reader.ts';
import {
  decodeCertificate,
  decodeCertificateRequest,
  decodeCertificateVerify,
  decodeEncryptedExtensions,
  decodeNewSessionTicket,
  HANDSHAKE,
} from '../../../src/tls/messages.ts';
import { decodeServerHello, writeHelloRetryRequest } from '../../../src/tls/server-hello.ts';
import { clientConfig, serverConfig, splitMessages, TlsPair } from '../../support/tls-pair.ts';
import { written } from '../../support/tls-puppets.ts';
import { must, refused, type Target } from '../target.ts';

/** As if everything had been offered, or the few extensions that are always there. */
const OFFERS = [new Set(Array.from({ length: 0x1_0000 }, (_, i) => i)), new Set([16])];

const DECODERS: readonly ((message: Uint8Array) => unknown)[] = [
  decodeClientHello,
  decodeServerHello,
  (message) => decodeEncryptedExtensions(message, OFFERS[0]!),
  (message) => decodeEncryptedExtensions(message, OFFERS[1]!),
  decodeCertificateRequest,
  decodeCertificate,
  decodeCertificateVerify,
  decodeNewSessionTicket,
  (message) => peekClientHello(message),
  inPieces,
];
const IN_PIECES = DECODERS.length - 1;
const PEEK = IN_PIECES - 1;

const DECODER_OF_TYPE: Readonly<Record<number, number>> = {
  [HANDSHAKE.clientHello]: 0,
  [HANDSHAKE.serverHello]: 1,
  [HANDSHAKE.encryptedExtensions]: 2,
  [HANDSHAKE.certificateRequest]: 4,
  [HANDSHAKE.certificate]: 5,
  [HANDSHAKE.certificateVerify]: 6,
  [HANDSHAKE.newSessionTicket]: 7,
};

/** A stream of messages cut up: `| length of a piece | piece | … |`. The cuts must not matter. */
function inPieces(bytes: Uint8Array): void {
  const reader = new MessageReader();
  const pieces: Uint8Array[] = [];
  const messages: Uint8Array[] = [];
  for (let at = 0; at < bytes.length;) {
    const piece = bytes.slice(at + 1, at + 1 + bytes[at]!);
    at += 1 + piece.length;
    pieces.push(piece.slice());
    reader.feed(piece);
    for (let next = reader.next(); next !== undefined; next = reader.next()) messages.push(next.slice());
    must(reader.hasBytes === (reader.nextType !== undefined), 'no type of bytes that are there');
    reader.release();
    // The reader has its own copy of what is left.
    piece.fill(0xee);
  }
  const whole = concatBytes(...pieces);
  const got = concatBytes(...messages);
  must(
    got.every((byte, i) => byte === whole[i]),
    'other bytes than were fed',
  );
}

export const tlsMessage: Target = {
  name: 'tls-message',
  decoders: [
    { file: 'src/tls/client-hello.ts', except: /^(encode|write|begin|end)/ },
    { file: 'src/tls/server-hello.ts', except: /^(write|begin)/ },
    { file: 'src/tls/messages.ts', except: /^(write|begin|end)/ },
    { file: 'src/tls/extensions.ts', except: /^(write|begin|end)/ },
    { file: 'src/tls/message-reader.ts' },
  ],
  maxLength: 1_024,
  maxWork: 20_000,
  seeds: () => {
    const configs = { client: clientConfig({ earlyData: true, sni: 'name' }), server: serverConfig() };
    const pairs = [new TlsPair(configs).run(), new TlsPair({ ...configs, seed: 'resumed' }).run()];
    const messages = pairs.flatMap((pair) =>
      (['client', 'server'] as const).flatMap((from) =>
        (['initial', 'handshake', 'application'] as const).flatMap((level) =>
          splitMessages(pair.sent(from, level)),
        ),
      ),
    );
    messages.push(written((w) => writeHelloRetryRequest(w, 0x1301, 29, utf8('cookie'))));
    const seeds = messages.flatMap((message) => {
      const decoder = DECODER_OF_TYPE[message[0]!];
      return decoder === undefined ? [] : [concatBytes(Uint8Array.of(decoder), message)];
    });
    const hello = pairs[0]!.sent('client', 'initial');
    const pieces = [0, 100, 200].flatMap((at) => {
      const piece = hello.subarray(at, at + 100);
      return [Uint8Array.of(piece.length), piece];
    });
    return [
      ...seeds,
      concatBytes(Uint8Array.of(PEEK), hello),
      concatBytes(Uint8Array.of(IN_PIECES), ...pieces),
      Uint8Array.of(IN_PIECES, 3, 20, 0, 0, 5, 0, 20, 0, 0, 0),
    ];
  },
  run: (bytes) => {
    const decode = DECODERS[(bytes[0] ?? 0) % DECODERS.length]!;
    const message = bytes.subarray(1);
    // The session hands over whole messages only.
    if (decode !== inPieces && decode !== DECODERS[PEEK] && message.length < 4) return;
    refused(
      () => void decode(message),
      (error) =>
        error instanceof DecodeError || (error instanceof TlsAlert && error.alertName !== 'internal_error'),
    );
  },
};
