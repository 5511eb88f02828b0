/**
 * The client's handshake (RFC 8446 §2, RFC 9001 §4): full, resumed, with early data, with a HelloRetryRequest.
 *
 * @module
 */
import { generateX25519, type KeyPair } from '#crypto/key-exchange';
import { EMPTY, Writer } from '../base/bytes.ts';
import type { Millis } from '../base/clock.ts';
import { randomBytes } from '../base/rng.ts';
import { TlsAlert } from './alert.ts';
import {
  certificateEntries,
  certificateTypeNumber,
  chooseScheme,
  signedContent,
  toPeerIdentity,
} from './certificates.ts';
import { CIPHER_SUITES, defaultSuites, suiteById, type CipherSuite } from './cipher-suites.ts';
import { BINDER_OFFSET, encodeClientHello, type ClientHelloInput } from './client-hello.ts';
import { TicketReceiver, mayUseEarlyData, obfuscatedAge, takeTicket } from './client-tickets.ts';
import { CERTIFICATE_TYPE, EXTENSION, GROUP_X25519 } from './extensions.ts';
import {
  HandshakeSession,
  checkCertificateVerify,
  checkFinished,
  logSecret,
  sameBytes,
} from './handshake-session.ts';
import { KeySchedule, finishedMac, type TrafficSecrets } from './key-schedule.ts';
import {
  HANDSHAKE,
  decodeCertificate,
  decodeCertificateRequest,
  decodeEncryptedExtensions,
  writeCertificate,
  writeCertificateVerify,
  writeFinished,
  type EncryptedExtensions,
} from './messages.ts';
import { MAX_COOKIE_BYTES, decodeServerHello, type ServerHello } from './server-hello.ts';
import type {
  CipherSuiteName,
  ClientTlsConfig,
  LocalIdentity,
  PeerIdentity,
  SessionContext,
  StoredTicket,
  TlsSession,
} from './session.ts';
import { Transcript } from './transcript.ts';

/** Message types that each state waits for; names say what was last sent or received. */
const EXPECTED = {
  serverHello: [HANDSHAKE.serverHello],
  encryptedExtensions: [HANDSHAKE.encryptedExtensions],
  certificateOrRequest: [HANDSHAKE.certificateRequest, HANDSHAKE.certificate],
  certificate: [HANDSHAKE.certificate],
  certificateVerify: [HANDSHAKE.certificateVerify],
  finished: [HANDSHAKE.finished],
  connected: [HANDSHAKE.newSessionTicket],
} as const satisfies Record<string, readonly number[]>;

/**
 * Starts a handshake; the ClientHello is ready to be polled.
 * @param serverName - Local name of the server: what the verifier checks against and tickets are kept under.
 * @throws {RangeError} when the configuration cannot be encoded, such as an empty protocol name.
 */
export function createClientSession(
  config: ClientTlsConfig,
  serverName: string,
  context: SessionContext,
): TlsSession {
  return new ClientSession(config, serverName, context);
}

class ClientSession extends HandshakeSession {
  readonly side = 'client';
  readonly #config: ClientTlsConfig;
  readonly #serverName: string;
  readonly #context: SessionContext;
  readonly #suites: readonly CipherSuiteName[];
  readonly #random: Uint8Array;
  #state: keyof typeof EXPECTED = 'serverHello';
  #keyPair: KeyPair | undefined;
  /** Sent, until the ServerHello names the hash to run over it. */
  #hello: Uint8Array = EMPTY;
  /** Extension types in it. */
  #offered: ReadonlySet<number> = new Set();
  /** The session that the latest ClientHello offers; after the ServerHello, the one that is resumed. */
  #ticket: StoredTicket | undefined;
  /** The first ClientHello offered early data. */
  #earlyDataOffered = false;
  /** Suite of a HelloRetryRequest. */
  #retrySuite: CipherSuite | undefined;
  #transcript: Transcript | undefined;
  /** With PSK from the ClientHello on, without from the ServerHello on. */
  #schedule: KeySchedule | undefined;
  #suite: CipherSuite | undefined;
  #handshakeSecrets: TrafficSecrets | undefined;
  #extensions: EncryptedExtensions | undefined;
  /** Schemes of the CertificateRequest, if there was one. */
  #requestedSchemes: readonly number[] | undefined;
  #peer: PeerIdentity | undefined;
  #tickets: TicketReceiver | undefined;

  constructor(config: ClientTlsConfig, serverName: string, context: SessionContext) {
    super();
    this.#config = config;
    this.#serverName = serverName;
    this.#context = context;
    this.#suites = config.suites ?? defaultSuites();
    this.#random = randomBytes(context.rng, 32);
    this.#keyPair = context.keyPairs?.take() ?? generateX25519(context.rng);
    const ticket = takeTicket(config, serverName, this.#suites, context.wallNow);
    this.#ticket = ticket;
    this.#earlyDataOffered = ticket !== undefined && mayUseEarlyData(config, this.#suites, ticket);
    this.#sendHello(this.#earlyDataOffered, undefined, context.wallNow);
    if (this.#earlyDataOffered) this.#startEarlyData(ticket!);
  }

  /** @param wallNow - For the age of the ticket. */
  #sendHello(earlyData: boolean, cookie: Uint8Array | undefined, wallNow: Millis): void {
    const config = this.#config;
    const ticket = this.#ticket;
    const hash = ticket === undefined ? undefined : CIPHER_SUITES[ticket.suite].hash;
    const input: ClientHelloInput = {
      random: this.#random,
      suites: this.#suites.map((name) => CIPHER_SUITES[name].id),
      serverName: config.sni,
      groups: [GROUP_X25519],
      signatureSchemes: config.verifier.schemes,
      alpns: config.alpns,
      clientCertificateTypes: offeredTypes(this.#identities().map((identity) => identity.type)),
      serverCertificateTypes: offeredTypes(config.verifier.certificateTypes),
      x25519Share: this.#keyPair!.publicKey,
      transportParameters: this.#context.transportParameters,
      cookie,
      earlyData,
      psk:
        ticket === undefined
          ? undefined
          : {
              ticket: ticket.ticket,
              obfuscatedAge: obfuscatedAge(ticket, wallNow),
              binderLength: hash === 'sha384' ? 48 : 32,
            },
    };
    this.#offered = offeredExtensions(input);
    const { message, truncatedLength } = encodeClientHello(input);
    if (ticket !== undefined) {
      this.#schedule = new KeySchedule(hash!, ticket.psk);
      this.#transcript ??= new Transcript(hash!);
      this.#transcript.update(message.subarray(0, truncatedLength));
      message.set(this.#schedule.binder(this.#transcript.digest()), truncatedLength + BINDER_OFFSET);
      this.#transcript.update(message.subarray(truncatedLength));
    } else {
      this.#transcript?.update(message);
    }
    this.#hello = message;
    this.emit({ type: 'crypto', level: 'initial', data: message });
  }

  #startEarlyData(ticket: StoredTicket): void {
    const secret = this.#schedule!.clientEarlyTraffic(this.#transcript!.digest());
    logSecret(this.#config.keyLog, 'CLIENT_EARLY_TRAFFIC_SECRET', this.#random, secret);
    this.earlyTransportParameters = ticket.transportParameters;
    this.emit({ type: 'earlyKeys', secrets: { suite: ticket.suite, read: undefined, write: secret } });
  }

  #identities(): LocalIdentity[] {
    const { identity, alternativeIdentity } = this.#config;
    return [identity, alternativeIdentity].filter((one) => one !== undefined);
  }

  protected override isExpected(type: number): boolean {
    return (EXPECTED[this.#state] as readonly number[]).includes(type);
  }

  protected override refuseMessage(type: number): never {
    if (this.#state === 'connected' && type === HANDSHAKE.certificateRequest)
      // RFC 9001 §4.4.
      throw new TlsAlert('unexpected_message', 'certificate request after the handshake', {
        protocolViolation: true,
      });
    return super.refuseMessage(type);
  }

  protected override handleMessage(type: number, message: Uint8Array, wallNow: Millis): void {
    switch (type) {
      case HANDSHAKE.serverHello: {
        const hello = decodeServerHello(message);
        if (hello.isRetry) this.#handleRetry(hello, message, wallNow);
        else this.#handleServerHello(hello, message);
        break;
      }
      case HANDSHAKE.encryptedExtensions:
        this.#handleEncryptedExtensions(message);
        break;
      case HANDSHAKE.certificateRequest:
        this.#requestedSchemes = decodeCertificateRequest(message);
        this.#transcript!.update(message);
        this.#state = 'certificate';
        break;
      case HANDSHAKE.certificate:
        this.#handleCertificate(message, wallNow);
        break;
      case HANDSHAKE.certificateVerify:
        checkCertificateVerify(message, 'server', this.#peer!, this.#config.verifier, this.#transcript!);
        this.#transcript!.update(message);
        this.#state = 'finished';
        break;
      case HANDSHAKE.finished:
        this.#handleFinished(message);
        break;
      case HANDSHAKE.newSessionTicket:
        this.#tickets!.handle(message, wallNow);
        break;
    }
  }

  /** RFC 8446 §4.1.4. */
  #handleRetry(hello: ServerHello, message: Uint8Array, wallNow: Millis): void {
    if (this.#retrySuite !== undefined) throw new TlsAlert('unexpected_message', 'second HelloRetryRequest');
    const suite = this.#offeredSuite(hello.suite);
    // We have one group and have sent its share: the server asks for it again, or for one that we do not have.
    if (hello.keyShare !== undefined)
      throw new TlsAlert('illegal_parameter', `HelloRetryRequest for group ${hello.keyShare.group}`);
    if (hello.cookie === undefined)
      throw new TlsAlert('illegal_parameter', 'HelloRetryRequest that changes nothing');
    if (hello.cookie.length > MAX_COOKIE_BYTES)
      throw new TlsAlert('illegal_parameter', `cookie of ${hello.cookie.length} bytes`);
    this.#retrySuite = suite;
    this.#transcript = Transcript.afterRetry(suite.hash, this.#hello);
    this.#transcript.update(message);
    // RFC 8446 §4.1.4: a PSK of another hash goes.
    if (this.#ticket !== undefined && CIPHER_SUITES[this.#ticket.suite].hash !== suite.hash) {
      this.#ticket = undefined;
      this.#schedule = undefined;
    }
    // RFC 8446 §4.1.2: early data is not offered again; the verdict is reported with EncryptedExtensions.
    this.#sendHello(false, hello.cookie.slice(), wallNow);
  }

  #offeredSuite(id: number): CipherSuite {
    const suite = suiteById(this.#suites, id);
    if (suite === undefined) throw new TlsAlert('illegal_parameter', 'server chose a suite not offered');
    return suite;
  }

  /** RFC 8446 §4.1.3. */
  #handleServerHello(hello: ServerHello, message: Uint8Array): void {
    const suite = this.#offeredSuite(hello.suite);
    // RFC 8446 §4.1.4.
    if (this.#retrySuite !== undefined && suite !== this.#retrySuite)
      throw new TlsAlert('illegal_parameter', 'server changed the suite after a retry');
    const share = hello.keyShare;
    if (share === undefined) throw new TlsAlert('missing_extension', 'ServerHello without key share');
    if (share.group !== GROUP_X25519)
      throw new TlsAlert('illegal_parameter', `server chose group ${share.group}`);
    if (hello.pskIndex === undefined) {
      this.#ticket = undefined;
      this.#schedule = undefined;
    } else this.#checkPskChoice(hello.pskIndex, suite);
    const sharedSecret = this.#keyPair!.sharedSecret(share.key);
    // RFC 8446 §7.4.2.
    if (sharedSecret === undefined) throw new TlsAlert('illegal_parameter', 'unusable key share');
    this.#keyPair = undefined;

    let transcript = this.#transcript;
    if (transcript?.hash !== suite.hash) {
      transcript = new Transcript(suite.hash);
      transcript.update(this.#hello);
    }
    this.#hello = EMPTY;
    transcript.update(message);
    this.#transcript = transcript;
    this.#suite = suite;
    const schedule = (this.#schedule ??= new KeySchedule(suite.hash, undefined));
    const secrets = schedule.enterHandshake(sharedSecret, transcript.digest());
    this.#handshakeSecrets = secrets;
    const { keyLog } = this.#config;
    logSecret(keyLog, 'CLIENT_HANDSHAKE_TRAFFIC_SECRET', this.#random, secrets.client);
    logSecret(keyLog, 'SERVER_HANDSHAKE_TRAFFIC_SECRET', this.#random, secrets.server);
    this.emit({
      type: 'handshakeKeys',
      secrets: { suite: suite.name, read: secrets.server, write: secrets.client },
    });
    this.readLevel = 'handshake';
    this.#state = 'encryptedExtensions';
  }

  /** RFC 8446 §4.2.11. */
  #checkPskChoice(index: number, suite: CipherSuite): void {
    if (this.#ticket === undefined)
      throw new TlsAlert('unsupported_extension', 'server chose a PSK, but none was offered');
    if (index !== 0) throw new TlsAlert('illegal_parameter', `server chose PSK ${index}`);
    if (CIPHER_SUITES[this.#ticket.suite].hash !== suite.hash)
      throw new TlsAlert('illegal_parameter', 'server chose a suite of another hash than the PSK');
  }

  #handleEncryptedExtensions(message: Uint8Array): void {
    const extensions = decodeEncryptedExtensions(message, this.#offered);
    const { alpn, transportParameters } = extensions;
    // RFC 9001 §8.1.
    if (alpn === undefined) throw new TlsAlert('no_application_protocol', 'server chose no protocol');
    // RFC 7301 §3.1.
    if (!this.#config.alpns.some((offered) => sameBytes(offered, alpn)))
      throw new TlsAlert('illegal_parameter', 'server chose a protocol not offered');
    // RFC 9001 §8.2.
    if (transportParameters === undefined)
      throw new TlsAlert('missing_extension', 'server sent no transport parameters');
    this.#checkCertificateTypes(extensions);
    if (extensions.earlyData) this.#checkEarlyData(alpn);
    extensions.alpn = alpn.slice();
    extensions.transportParameters = transportParameters.slice();
    this.#extensions = extensions;
    this.#transcript!.update(message);
    this.#peer = this.#ticket?.peer;
    // RFC 8446 §4.3.2: a server that resumes sends neither certificate nor request.
    this.#state = this.#ticket === undefined ? 'certificateOrRequest' : 'finished';
  }

  /** RFC 7250 §4.2; the alert is the one of rustls (client/tls13.rs). Also checked when resuming, as rustls does. */
  #checkCertificateTypes({ clientCertificateType, serverCertificateType }: EncryptedExtensions): void {
    const identities = this.#identities();
    const mine = clientCertificateType ?? CERTIFICATE_TYPE.x509;
    if (identities.length > 0 && !identities.some(({ type }) => certificateTypeNumber(type) === mine))
      throw new TlsAlert('handshake_failure', 'server does not take our type of certificate');
    const theirs = serverCertificateType ?? CERTIFICATE_TYPE.x509;
    if (!this.#config.verifier.certificateTypes.some((type) => certificateTypeNumber(type) === theirs))
      throw new TlsAlert('handshake_failure', 'server has no type of certificate that we take');
  }

  /** RFC 8446 §4.2.10: the server accepted, which it may only do under the ticket's terms. */
  #checkEarlyData(alpn: Uint8Array): void {
    const ticket = this.#ticket;
    if (ticket === undefined || ticket.suite !== this.#suite!.name || !sameBytes(ticket.alpn, alpn))
      throw new TlsAlert('illegal_parameter', 'server accepted early data under other terms');
  }

  #handleCertificate(message: Uint8Array, wallNow: Millis): void {
    const entries = decodeCertificate(message);
    // RFC 8446 §4.4.2.4.
    if (entries.length === 0) throw new TlsAlert('decode_error', 'server sent no certificate');
    const isRaw = this.#extensions!.serverCertificateType === CERTIFICATE_TYPE.rawPublicKey;
    const peer = toPeerIdentity(isRaw ? 'rawPublicKey' : 'x509', entries);
    this.#config.verifier.verifyIdentity(peer, this.#serverName, wallNow);
    this.#peer = peer;
    this.#transcript!.update(message);
    this.#state = 'certificateVerify';
  }

  #handleFinished(message: Uint8Array): void {
    const transcript = this.#transcript!;
    const handshakeSecrets = this.#handshakeSecrets!;
    checkFinished(message, handshakeSecrets.server, transcript);
    transcript.update(message);

    const schedule = this.#schedule!;
    const transcriptHash = transcript.digest();
    const secrets = schedule.enterApplication(transcriptHash);
    this.enableExporter(schedule, transcriptHash);
    this.logApplicationSecrets(this.#config.keyLog, this.#random, secrets);

    const extensions = this.#extensions!;
    this.emit({ type: 'transportParameters', data: extensions.transportParameters! });
    this.emit({ type: 'alpn', alpn: extensions.alpn! });
    if (this.#earlyDataOffered) this.emit({ type: 'earlyData', accepted: extensions.earlyData });
    this.emit({ type: 'crypto', level: 'handshake', data: this.#lastFlight(handshakeSecrets.client) });
    this.emit({
      type: 'applicationKeys',
      secrets: { suite: this.#suite!.name, read: secrets.server, write: secrets.client },
    });
    this.isComplete = true;
    this.emit({ type: 'complete', peer: this.#peer, resumed: this.#ticket !== undefined });

    this.#tickets = new TicketReceiver({
      config: this.#config,
      serverName: this.#serverName,
      suite: this.#suite!,
      schedule,
      transcript: transcript.digest(),
      alpn: extensions.alpn!,
      transportParameters: extensions.transportParameters!,
      peer: this.#peer,
    });
    this.#state = 'connected';
    this.readLevel = 'application';
    // A connection may live for weeks; its handshake need not.
    this.#transcript = undefined;
    this.#handshakeSecrets = undefined;
    this.#ticket = undefined;
  }

  /** Certificate and CertificateVerify if asked for, and Finished (RFC 8446 §4.4). Runs them through the transcript. */
  #lastFlight(trafficSecret: Uint8Array): Uint8Array {
    const w = new Writer();
    const transcript = this.#transcript!;
    if (this.#requestedSchemes !== undefined) this.#writeAuthentication(w, this.#requestedSchemes);
    const at = w.pos;
    writeFinished(w, finishedMac(transcript.hash, trafficSecret, transcript.digest()));
    transcript.update(w.written(at));
    return w.written();
  }

  #writeAuthentication(w: Writer, accepted: readonly number[]): void {
    const transcript = this.#transcript!;
    const type = this.#extensions!.clientCertificateType ?? CERTIFICATE_TYPE.x509;
    const identity = this.#identities().find((one) => certificateTypeNumber(one.type) === type);
    const scheme = identity === undefined ? undefined : chooseScheme(identity, accepted);
    // RFC 8446 §4.4.2: with nothing suitable the message is empty, and the server decides.
    const suitable = scheme === undefined ? undefined : identity;
    writeCertificate(w, suitable === undefined ? [] : certificateEntries(suitable));
    transcript.update(w.written());
    if (suitable === undefined || scheme === undefined) return;
    const at = w.pos;
    const signature = suitable.signer.sign(scheme, signedContent('client', transcript.digest()));
    writeCertificateVerify(w, { scheme, signature });
    transcript.update(w.written(at));
  }
}

/** The list for the extension; undefined where it says nothing but the default, X.509 (RFC 7250 §4.1). */
function offeredTypes(types: readonly PeerIdentity['type'][]): readonly number[] | undefined {
  return types.includes('rawPublicKey') ? types.map(certificateTypeNumber) : undefined;
}

/** Extension types of a ClientHello. */
function offeredExtensions(input: ClientHelloInput): ReadonlySet<number> {
  const types = new Set<number>([
    EXTENSION.supportedVersions,
    EXTENSION.supportedGroups,
    EXTENSION.signatureAlgorithms,
    EXTENSION.keyShare,
    EXTENSION.alpn,
    EXTENSION.quicTransportParameters,
    EXTENSION.pskKeyExchangeModes,
  ]);
  if (input.serverName !== undefined) types.add(EXTENSION.serverName);
  if (input.clientCertificateTypes !== undefined) types.add(EXTENSION.clientCertificateType);
  if (input.serverCertificateTypes !== undefined) types.add(EXTENSION.serverCertificateType);
  if (input.cookie !== undefined) types.add(EXTENSION.cookie);
  if (input.earlyData) types.add(EXTENSION.earlyData);
  if (input.psk !== undefined) types.add(EXTENSION.preSharedKey);
  return types;
}
