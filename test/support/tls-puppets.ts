/**
 * TLS peers whose every message is the test's choice, for handshakes that our own sessions never start.
 *
 * @module
 */
import { x25519FromSecret } from '#crypto/key-exchange';
import { hash } from '#crypto/kdf';
import { Writer, concatBytes, utf8 } from '../../src/base/bytes.ts';
import { certificateEntries, signedContent } from '../../src/tls/certificates.ts';
import { CIPHER_SUITES, type CipherSuite } from '../../src/tls/cipher-suites.ts';
import {
  BINDER_OFFSET,
  decodeClientHello,
  encodeClientHello,
  type ClientHelloInput,
} from '../../src/tls/client-hello.ts';
import { KeySchedule, finishedMac, type TrafficSecrets } from '../../src/tls/key-schedule.ts';
import {
  writeCertificate,
  writeCertificateRequest,
  writeCertificateVerify,
  writeEncryptedExtensions,
  writeFinished,
  type EncryptedExtensions,
} from '../../src/tls/messages.ts';
import { rawPublicKeyIdentity } from '../../src/tls/profile.ts';
import { decodeServerHello, writeHelloRetryRequest, writeServerHello } from '../../src/tls/server-hello.ts';
import type { StoredTicket, TlsOutput, TlsSession } from '../../src/tls/session.ts';
import { Transcript } from '../../src/tls/transcript.ts';
import {
  NOW,
  clientParameters,
  clientSeed,
  serverParameters,
  serverSeed,
  splitMessages,
} from './tls-pair.ts';

export const puppetKeyPair = x25519FromSecret(hash('sha256', utf8('puppet key')));
const puppetRandom = hash('sha256', utf8('puppet random'));

/** Takes all outputs of a session. */
export function drain(session: TlsSession): TlsOutput[] {
  const outputs: TlsOutput[] = [];
  for (let output = session.poll(); output !== undefined; output = session.poll()) outputs.push(output);
  return outputs;
}

/** The CRYPTO bytes of a level among outputs. */
export function cryptoOf(outputs: readonly TlsOutput[], level: string): Uint8Array {
  return concatBytes(
    ...outputs.flatMap((output) => (output.type === 'crypto' && output.level === level ? [output.data] : [])),
  );
}

/** Writes messages into fresh bytes. */
export function written(write: (w: Writer) => void): Uint8Array {
  const w = new Writer();
  write(w);
  return w.written();
}

/** Signs like an endpoint. */
function certificateVerify(side: 'client' | 'server', transcript: Transcript): Uint8Array {
  const { signer } = rawPublicKeyIdentity(side === 'client' ? clientSeed : serverSeed);
  const signature = signer.sign(0x0807, signedContent(side, transcript.digest()));
  return written((w) => {
    writeCertificateVerify(w, { scheme: 0x0807, signature });
  });
}

/** What a puppet client offers by default: like our raw key client. */
export const puppetHello: ClientHelloInput = {
  random: puppetRandom,
  suites: [0x1301],
  serverName: undefined,
  groups: [0x001d],
  signatureSchemes: [0x0807],
  alpns: [utf8('test/1')],
  clientCertificateTypes: [2],
  serverCertificateTypes: [2],
  x25519Share: puppetKeyPair.publicKey,
  transportParameters: clientParameters,
  cookie: undefined,
  earlyData: false,
  psk: undefined,
};

/** A client by hand, against a server session. */
export class PuppetClient {
  readonly server: TlsSession;
  transcript: Transcript | undefined;
  #schedule: KeySchedule | undefined;
  #secrets: TrafficSecrets | undefined;
  #hello: Uint8Array = new Uint8Array(0);
  /** What the server said last. */
  outputs: TlsOutput[] = [];

  constructor(server: TlsSession) {
    this.server = server;
  }

  /** Sends a ClientHello; with `psk`, the binder is computed unless `binder` is given. */
  hello(changes: Partial<ClientHelloInput> = {}, psk?: Uint8Array, binder?: Uint8Array): this {
    const input = { ...puppetHello, ...changes };
    const { message, truncatedLength } = encodeClientHello(input);
    if (psk !== undefined) {
      const name = psk.length === 48 ? 'sha384' : 'sha256';
      this.#schedule = new KeySchedule(name, psk);
      const truncated = this.transcript ?? new Transcript(name);
      truncated.update(message.subarray(0, truncatedLength));
      message.set(binder ?? this.#schedule.binder(truncated.digest()), truncatedLength + BINDER_OFFSET);
      truncated.update(message.subarray(truncatedLength));
      this.transcript = truncated;
    } else {
      this.transcript?.update(message);
    }
    return this.send('initial', message);
  }

  /** Offers early data and two sessions, of which only the second is known to the puppet. */
  twoIdentities(unknown: Uint8Array, known: StoredTicket): this {
    const psk = { ticket: unknown, obfuscatedAge: 0, binderLength: 32 as const };
    const { message } = encodeClientHello({ ...puppetHello, earlyData: true, psk });
    const { truncatedLength } = decodeClientHello(message).psk!;
    // identities u16 | (identity, age)* then binders u16 | (length u8, binder)*
    const listStart = truncatedLength - (2 + unknown.length + 4);
    const extra = written((w) => {
      w.u16(known.ticket.length);
      w.put(known.ticket);
      w.u32(known.ageAdd);
    });
    const bytes = concatBytes(
      message.subarray(0, truncatedLength),
      extra,
      written((w) => {
        w.u16(66);
        w.u8(32);
        w.zeros(32);
        w.u8(32);
        w.zeros(32);
      }),
    );
    const grow = (at: number, by: number): void => {
      const value = (bytes[at]! << 8) + bytes[at + 1]! + by;
      bytes[at] = value >>> 8;
      bytes[at + 1] = value;
    };
    grow(listStart - 2, extra.length);
    grow(listStart - 4, extra.length + 33);
    // u8 type, u24 length, version, random, empty session id, one suite, compression
    grow(2, extra.length + 33);
    grow(4 + 2 + 32 + 1 + 4 + 2, extra.length + 33);
    this.#schedule = new KeySchedule('sha256', known.psk);
    this.transcript = new Transcript('sha256');
    this.transcript.update(bytes.subarray(0, truncatedLength + extra.length));
    bytes.set(this.#schedule.binder(this.transcript.digest()), bytes.length - 32);
    this.transcript.update(bytes.subarray(truncatedLength + extra.length));
    return this.send('initial', bytes);
  }

  /** Takes the HelloRetryRequest into the transcript. */
  takeRetry(): this {
    const retry = cryptoOf(this.outputs, 'initial');
    const { isRetry, suite } = decodeServerHello(retry);
    if (!isRetry) throw new Error('no HelloRetryRequest');
    this.transcript = Transcript.afterRetry(suiteOf(suite).hash, this.#hello);
    this.transcript.update(retry);
    return this;
  }

  /** Takes the server's flight into the transcript and derives the keys. */
  takeFlight(): this {
    const serverHello = cryptoOf(this.outputs, 'initial');
    const { suite, keyShare, pskIndex } = decodeServerHello(serverHello);
    const { hash: name } = suiteOf(suite);
    if (this.transcript === undefined || (pskIndex === undefined && this.#schedule !== undefined)) {
      this.transcript = new Transcript(name);
      this.transcript.update(this.#hello);
    }
    if (pskIndex === undefined || this.#schedule === undefined)
      this.#schedule = new KeySchedule(name, undefined);
    this.transcript.update(serverHello);
    const shared = puppetKeyPair.sharedSecret(keyShare!.key)!;
    this.#secrets = this.#schedule.enterHandshake(shared, this.transcript.digest());
    this.transcript.update(cryptoOf(this.outputs, 'handshake'));
    return this;
  }

  /** Sends bytes at a level and collects the outputs. */
  send(level: 'initial' | 'handshake' | 'application', data: Uint8Array): this {
    if (level === 'initial') this.#hello = data;
    this.server.handleCrypto(level, data, NOW);
    this.outputs = drain(this.server);
    return this;
  }

  /** Certificate and CertificateVerify of the client's key. */
  authenticate(entries = certificateEntries(rawPublicKeyIdentity(clientSeed))): Uint8Array {
    const certificate = written((w) => {
      writeCertificate(w, entries);
    });
    this.transcript!.update(certificate);
    const verify = certificateVerify('client', this.transcript!);
    this.transcript!.update(verify);
    return concatBytes(certificate, verify);
  }

  finished(): Uint8Array {
    const message = written((w) => {
      writeFinished(w, finishedMac(this.transcript!.hash, this.#secrets!.client, this.transcript!.digest()));
    });
    this.transcript!.update(message);
    return message;
  }
}

/** A server by hand, against a client session. */
export class PuppetServer {
  readonly client: TlsSession;
  transcript: Transcript | undefined;
  #hello: Uint8Array;
  readonly suite: CipherSuite;

  constructor(client: TlsSession, suite: CipherSuite = CIPHER_SUITES.TLS_AES_128_GCM_SHA256) {
    this.client = client;
    this.suite = suite;
    this.#hello = cryptoOf(drain(client), 'initial');
  }

  /** The client's latest ClientHello. */
  get hello(): Uint8Array {
    return this.#hello;
  }

  /** Asks for another ClientHello and takes it. */
  retry(options: { readonly group?: number; readonly cookie?: Uint8Array; readonly suite?: number }): this {
    const message = written((w) => {
      writeHelloRetryRequest(w, options.suite ?? this.suite.id, options.group, options.cookie);
    });
    this.transcript = Transcript.afterRetry(this.suite.hash, this.#hello);
    this.transcript.update(message);
    this.send('initial', message);
    this.#hello = cryptoOf(drain(this.client), 'initial');
    return this;
  }

  /** Runs a full handshake up to the server's Finished; the parts can be changed. */
  answer(
    changes: {
      readonly extensions?: Partial<EncryptedExtensions>;
      /** The messages between ServerHello and Finished, as this server would send them. */
      readonly flight?: (messages: Uint8Array[]) => Uint8Array[];
      readonly psk?: Uint8Array;
    } = {},
  ): TlsOutput[] {
    const transcript = (this.transcript ??= new Transcript(this.suite.hash));
    transcript.update(this.#hello);
    const serverHello = written((w) => {
      const share = { group: 0x001d, key: puppetKeyPair.publicKey };
      writeServerHello(w, puppetRandom, this.suite.id, share, changes.psk === undefined ? undefined : 0);
    });
    transcript.update(serverHello);
    const schedule = new KeySchedule(this.suite.hash, changes.psk);
    const share = decodeClientHello(this.#hello).x25519Share!;
    const secrets = schedule.enterHandshake(puppetKeyPair.sharedSecret(share)!, transcript.digest());
    this.send('initial', serverHello);

    const opening = written((w) => {
      writeEncryptedExtensions(w, {
        alpn: utf8('test/1'),
        clientCertificateType: 2,
        serverCertificateType: 2,
        transportParameters: serverParameters,
        serverName: false,
        earlyData: false,
        ...changes.extensions,
      });
      if (changes.psk !== undefined) return;
      writeCertificateRequest(w, [0x0807]);
      writeCertificate(w, certificateEntries(rawPublicKeyIdentity(serverSeed)));
    });
    const messages = splitMessages(opening);
    if (changes.psk === undefined) {
      // Signed over the messages as changed: what is under test is the change, not the signature.
      const changed = changes.flight?.([...messages]) ?? messages;
      transcript.update(concatBytes(...changed));
      const verify = certificateVerify('server', transcript);
      transcript.update(verify);
      messages.splice(0, messages.length, ...changed, verify);
    } else transcript.update(concatBytes(...messages));
    const finished = written((w) => {
      writeFinished(w, finishedMac(this.suite.hash, secrets.server, transcript.digest()));
    });
    this.send('handshake', concatBytes(...messages, finished));
    return drain(this.client);
  }

  send(level: 'initial' | 'handshake' | 'application', data: Uint8Array): void {
    this.client.handleCrypto(level, data, NOW);
  }
}

function suiteOf(id: number): CipherSuite {
  const suite = Object.values(CIPHER_SUITES).find((one) => one.id === id);
  if (suite === undefined) throw new Error(`suite ${id}`);
  return suite;
}
