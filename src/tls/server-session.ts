/**
 * The server's handshake (RFC 8446 §2, RFC 9001 §4): full, resumed, with early data, with a HelloRetryRequest.
 *
 * @module
 */
import { generateX25519 } from '#crypto/key-exchange';
import { Writer } from '../base/bytes.ts';
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
import { decodeClientHello, type ClientHello } from './client-hello.ts';
import { CERTIFICATE_TYPE, GROUP_X25519, PSK_DHE_KE, VERSION_TLS13 } from './extensions.ts';
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
  writeCertificate,
  writeCertificateRequest,
  writeCertificateVerify,
  writeEncryptedExtensions,
  writeFinished,
} from './messages.ts';
import { writeHelloRetryRequest, writeServerHello } from './server-hello.ts';
import { isFresh, issueTickets, resumeSession, type Resumption } from './server-tickets.ts';
import type { LocalIdentity, PeerIdentity, ServerTlsConfig, SessionContext, TlsSession } from './session.ts';
import { Transcript } from './transcript.ts';

/** Message types that each state waits for. */
const EXPECTED = {
  clientHello: [HANDSHAKE.clientHello],
  certificate: [HANDSHAKE.certificate],
  certificateVerify: [HANDSHAKE.certificateVerify],
  finished: [HANDSHAKE.finished],
  // RFC 8446 §4.6: a client has nothing to say after its Finished; KeyUpdate is not for QUIC (RFC 9001 §6).
  connected: [],
} as const satisfies Record<string, readonly number[]>;

/** Waits for a ClientHello. */
export function createServerSession(config: ServerTlsConfig, context: SessionContext): TlsSession {
  return new ServerSession(config, context);
}

/** What was agreed on without looking at keys or sessions. */
interface Agreement {
  readonly suite: CipherSuite;
  readonly alpn: Uint8Array;
  /** What we present in a full handshake. */
  readonly identity: LocalIdentity;
  /** What the client would present; undefined when there is nothing and nothing is required. */
  readonly clientType: PeerIdentity['type'] | undefined;
}

/** What a HelloRetryRequest leaves behind. */
interface Retry {
  readonly transcript: Transcript;
  readonly suite: CipherSuite;
  /** Of the first ClientHello. */
  readonly random: Uint8Array;
  /** Offered with the first ClientHello, and refused with the request. */
  readonly earlyData: boolean;
}

class ServerSession extends HandshakeSession {
  readonly side = 'server';
  readonly #config: ServerTlsConfig;
  readonly #context: SessionContext;
  #state: keyof typeof EXPECTED = 'clientHello';
  #retry: Retry | undefined;
  #transcript: Transcript | undefined;
  #schedule: KeySchedule | undefined;
  #agreement: Agreement | undefined;
  #clientHandshakeSecret: Uint8Array | undefined;
  #serverName: string | undefined;
  /** The client can use tickets. */
  #takesTickets = false;
  #resumed = false;
  #peer: PeerIdentity | undefined;

  constructor(config: ServerTlsConfig, context: SessionContext) {
    super();
    this.#config = config;
    this.#context = context;
  }

  protected override isExpected(type: number): boolean {
    return (EXPECTED[this.#state] as readonly number[]).includes(type);
  }

  protected override handleMessage(type: number, message: Uint8Array, wallNow: Millis): void {
    switch (type) {
      case HANDSHAKE.clientHello:
        this.#handleClientHello(message, wallNow);
        break;
      case HANDSHAKE.certificate:
        this.#handleCertificate(message, wallNow);
        break;
      case HANDSHAKE.certificateVerify:
        checkCertificateVerify(message, 'client', this.#peer!, this.#config.verifier, this.#transcript!);
        this.#transcript!.update(message);
        this.#state = 'finished';
        break;
      case HANDSHAKE.finished:
        this.#handleFinished(message, wallNow);
        break;
    }
  }

  #handleClientHello(message: Uint8Array, wallNow: Millis): void {
    const hello = decodeClientHello(message);
    checkForm(hello);
    const agreement = this.#agree(hello);
    // RFC 9001 §8.2.
    const { transportParameters } = hello;
    if (transportParameters === undefined)
      throw new TlsAlert('missing_extension', 'client sent no transport parameters');
    if (this.#retry !== undefined) checkSecondHello(hello, agreement.suite, this.#retry);
    const share = hello.x25519Share;
    if (share === undefined) this.#sendRetry(hello, message, agreement.suite);
    else this.#answer(hello, message, agreement, share, transportParameters, wallNow);
  }

  #agree(hello: ClientHello): Agreement {
    const config = this.#config;
    const suites = config.suites ?? defaultSuites();
    let suite: CipherSuite | undefined;
    // What is fastest here; else, and when the application chose the suites, the client's order, as rustls does.
    const fastest = CIPHER_SUITES[suites[0]!];
    if (config.suites === undefined && hello.suites.includes(fastest.id)) suite = fastest;
    for (const id of hello.suites) suite ??= suiteById(suites, id);
    if (suite === undefined) throw new TlsAlert('handshake_failure', 'no common cipher suite');
    // RFC 8446 §9.2 asks for missing_extension where these are absent; rustls answers handshake_failure, and so do we.
    if (hello.groups?.includes(GROUP_X25519) !== true)
      throw new TlsAlert('handshake_failure', 'no common group');
    if (!hello.hasKeyShares) throw new TlsAlert('handshake_failure', 'no key share extension');

    // RFC 7301 §3.2, our order; RFC 9001 §8.1: there has to be one.
    const alpn = config.alpns.find((ours) => hello.alpns?.some((theirs) => sameBytes(ours, theirs)));
    if (alpn === undefined) throw new TlsAlert('no_application_protocol', 'no common application protocol');

    const identity = this.#chooseIdentity(hello);
    const offered = hello.clientCertificateTypes ?? [CERTIFICATE_TYPE.x509];
    const clientType = config.verifier.certificateTypes.find((type) =>
      offered.includes(certificateTypeNumber(type)),
    );
    // RFC 7250 §4.2 says unsupported_certificate, rustls handshake_failure.
    if (clientType === undefined && config.clientAuth === 'required')
      throw new TlsAlert('handshake_failure', 'client has no type of certificate that we take');
    return { suite, alpn, identity, clientType };
  }

  #chooseIdentity(hello: ClientHello): LocalIdentity {
    const types = hello.serverCertificateTypes ?? [CERTIFICATE_TYPE.x509];
    // RFC 8446 §9.2: only a client that offers a PSK may leave them out.
    const schemes = hello.signatureSchemes;
    if (schemes === undefined && hello.psk === undefined)
      throw new TlsAlert('handshake_failure', 'no signature algorithms extension');
    for (const identity of [this.#config.identity, this.#config.alternativeIdentity]) {
      if (identity === undefined || !types.includes(certificateTypeNumber(identity.type))) continue;
      if (schemes === undefined || chooseScheme(identity, schemes) !== undefined) return identity;
    }
    throw new TlsAlert('handshake_failure', 'no certificate type and signature scheme in common');
  }

  /** RFC 8446 §4.1.4: the client can do x25519 but sent no share of it. */
  #sendRetry(hello: ClientHello, message: Uint8Array, suite: CipherSuite): void {
    // RFC 8446 §4.2.8: the second hello has the share that was asked for.
    if (this.#retry !== undefined)
      throw new TlsAlert('illegal_parameter', 'client did not follow HelloRetryRequest');
    const transcript = Transcript.afterRetry(suite.hash, message);
    const w = new Writer();
    writeHelloRetryRequest(w, suite.id, GROUP_X25519);
    transcript.update(w.written());
    this.#retry = { transcript, suite, random: hello.random.slice(), earlyData: hello.earlyData };
    this.emit({ type: 'crypto', level: 'initial', data: w.written() });
  }

  /** Everything from ServerHello to Finished. */
  #answer(
    hello: ClientHello,
    message: Uint8Array,
    agreement: Agreement,
    share: Uint8Array,
    transportParameters: Uint8Array,
    wallNow: Millis,
  ): void {
    const config = this.#config;
    const { suite, alpn } = agreement;
    const transcript = this.#retry?.transcript ?? new Transcript(suite.hash);
    const resumption = resumeSession(config, suite, hello, message, transcript, wallNow);
    // RFC 8446 §4.4.2.2: without algorithms no certificate can be sent, so the PSK was the client's only hope.
    if (resumption === undefined && hello.signatureSchemes === undefined)
      throw new TlsAlert('handshake_failure', 'no signature algorithms extension');
    const earlyData =
      resumption !== undefined && this.#acceptsEarlyData(hello, agreement, resumption, wallNow);
    const clientRandom = hello.random.slice();
    this.#transcript = transcript;
    this.#agreement = agreement;
    this.#serverName = hello.serverName;
    this.#takesTickets = hello.pskModes?.includes(PSK_DHE_KE) === true;
    this.#resumed = resumption !== undefined;
    this.#peer = resumption?.session.peer;
    this.emit({ type: 'transportParameters', data: transportParameters.slice() });
    this.emit({ type: 'alpn', alpn: alpn.slice() });
    if (hello.earlyData || this.#retry?.earlyData === true)
      this.emit({ type: 'earlyData', accepted: earlyData });
    this.#retry = undefined;
    const schedule = resumption?.schedule ?? new KeySchedule(suite.hash, undefined);
    this.#schedule = schedule;
    if (earlyData) {
      const secret = schedule.clientEarlyTraffic(transcript.digest());
      logSecret(config.keyLog, 'CLIENT_EARLY_TRAFFIC_SECRET', clientRandom, secret);
      this.emit({ type: 'earlyKeys', secrets: { suite: suite.name, read: secret, write: undefined } });
    }

    const secrets = this.#sendServerHello(clientRandom, suite, share, schedule, resumption?.index);
    this.#clientHandshakeSecret = secrets.client;
    this.#sendFlight(hello, agreement, earlyData, secrets.server);
    this.#sendApplicationKeys(clientRandom, suite, schedule);

    const asks = !this.#resumed && config.clientAuth === 'required';
    this.#state = asks ? 'certificate' : 'finished';
    this.readLevel = 'handshake';
  }

  /** RFC 8446 §4.2.10. */
  #acceptsEarlyData(
    hello: ClientHello,
    agreement: Agreement,
    resumption: Resumption,
    wallNow: Millis,
  ): boolean {
    const { session, index } = resumption;
    return (
      hello.earlyData &&
      this.#config.acceptEarlyData &&
      index === 0 &&
      session.suite === agreement.suite.name &&
      sameBytes(session.alpn, agreement.alpn) &&
      isFresh(session, hello.psk!.identities[0]!.obfuscatedAge, wallNow)
    );
  }

  #sendServerHello(
    clientRandom: Uint8Array,
    suite: CipherSuite,
    share: Uint8Array,
    schedule: KeySchedule,
    pskIndex: number | undefined,
  ): TrafficSecrets {
    const { keyLog } = this.#config;
    const transcript = this.#transcript!;
    const random = randomBytes(this.#context.rng, 32);
    const keyPair = this.#context.keyPairs?.take() ?? generateX25519(this.#context.rng);
    const sharedSecret = keyPair.sharedSecret(share);
    // RFC 8446 §7.4.2.
    if (sharedSecret === undefined) throw new TlsAlert('illegal_parameter', 'unusable key share');
    const w = new Writer();
    writeServerHello(w, random, suite.id, { group: GROUP_X25519, key: keyPair.publicKey }, pskIndex);
    transcript.update(w.written());
    this.emit({ type: 'crypto', level: 'initial', data: w.written() });

    const secrets = schedule.enterHandshake(sharedSecret, transcript.digest());
    logSecret(keyLog, 'CLIENT_HANDSHAKE_TRAFFIC_SECRET', clientRandom, secrets.client);
    logSecret(keyLog, 'SERVER_HANDSHAKE_TRAFFIC_SECRET', clientRandom, secrets.server);
    this.emit({
      type: 'handshakeKeys',
      secrets: { suite: suite.name, read: secrets.client, write: secrets.server },
    });
    return secrets;
  }

  /** EncryptedExtensions to Finished, as one output. */
  #sendFlight(
    hello: ClientHello,
    { alpn, identity, clientType }: Agreement,
    earlyData: boolean,
    trafficSecret: Uint8Array,
  ): void {
    const transcript = this.#transcript!;
    const w = new Writer(new Uint8Array(1024), 0, Infinity);
    writeEncryptedExtensions(w, {
      alpn,
      // RFC 7250 §4.2: an answer to each list. rustls wants both even when it resumes or is not asked for a certificate.
      clientCertificateType:
        hello.clientCertificateTypes === undefined || clientType === undefined
          ? undefined
          : certificateTypeNumber(clientType),
      serverCertificateType:
        hello.serverCertificateTypes === undefined ? undefined : certificateTypeNumber(identity.type),
      transportParameters: this.#context.transportParameters,
      serverName: hello.serverName !== undefined,
      earlyData,
    });
    if (!this.#resumed) {
      if (this.#config.clientAuth === 'required') writeCertificateRequest(w, this.#config.verifier.schemes);
      writeCertificate(w, certificateEntries(identity));
    }
    transcript.update(w.written());
    let at = w.pos;
    if (!this.#resumed) {
      // Chosen together with the identity.
      const scheme = chooseScheme(identity, hello.signatureSchemes!)!;
      const signature = identity.signer.sign(scheme, signedContent('server', transcript.digest()));
      writeCertificateVerify(w, { scheme, signature });
      transcript.update(w.written(at));
      at = w.pos;
    }
    writeFinished(w, finishedMac(transcript.hash, trafficSecret, transcript.digest()));
    transcript.update(w.written(at));
    this.emit({ type: 'crypto', level: 'handshake', data: w.written() });
  }

  #sendApplicationKeys(clientRandom: Uint8Array, suite: CipherSuite, schedule: KeySchedule): void {
    const transcriptHash = this.#transcript!.digest();
    const secrets = schedule.enterApplication(transcriptHash);
    this.enableExporter(schedule, transcriptHash);
    this.logApplicationSecrets(this.#config.keyLog, clientRandom, secrets);
    this.emit({
      type: 'applicationKeys',
      secrets: { suite: suite.name, read: secrets.client, write: secrets.server },
    });
  }

  #handleCertificate(message: Uint8Array, wallNow: Millis): void {
    const entries = decodeCertificate(message);
    // RFC 8446 §4.4.2.4.
    if (entries.length === 0) throw new TlsAlert('certificate_required', 'client sent no certificate');
    const peer = toPeerIdentity(this.#agreement!.clientType!, entries);
    this.#config.verifier.verifyIdentity(peer, undefined, wallNow);
    this.#peer = peer;
    this.#transcript!.update(message);
    this.#state = 'certificateVerify';
  }

  #handleFinished(message: Uint8Array, wallNow: Millis): void {
    const config = this.#config;
    const transcript = this.#transcript!;
    const { suite, alpn } = this.#agreement!;
    checkFinished(message, this.#clientHandshakeSecret!, transcript);
    transcript.update(message);
    this.isComplete = true;
    this.emit({ type: 'complete', peer: this.#peer, resumed: this.#resumed });

    if (config.sessions !== undefined && config.ticketCount > 0 && this.#takesTickets) {
      const data = issueTickets(config, this.#context.rng, config.sessions, {
        suite,
        resumptionSecret: this.#schedule!.resumption(transcript.digest()),
        alpn,
        sni: this.#serverName,
        peer: this.#peer,
        wallNow,
      });
      this.emit({ type: 'crypto', level: 'application', data });
    }
    this.#state = 'connected';
    this.readLevel = 'application';
    // A connection may live for weeks; its handshake need not.
    this.#transcript = undefined;
    this.#schedule = undefined;
    this.#agreement = undefined;
    this.#clientHandshakeSecret = undefined;
  }
}

/** What must hold for every ClientHello over QUIC. */
function checkForm(hello: ClientHello): void {
  // RFC 8446 §4.2.1, RFC 9001 §4.2.
  if (hello.versions?.includes(VERSION_TLS13) !== true)
    throw new TlsAlert('protocol_version', 'client does not speak TLS 1.3');
  // RFC 9001 §8.4: no middlebox compatibility mode in QUIC.
  if (hello.sessionId.length > 0)
    throw new TlsAlert('illegal_parameter', 'session id in QUIC', { protocolViolation: true });
  // RFC 8446 §4.1.2.
  if (hello.compressionMethods.length !== 1 || hello.compressionMethods[0] !== 0)
    throw new TlsAlert('illegal_parameter', 'compression offered');
  // RFC 8446 §4.2.9.
  if (hello.psk !== undefined && hello.pskModes === undefined)
    throw new TlsAlert('missing_extension', 'pre_shared_key without psk_key_exchange_modes');
  // RFC 8446 §4.2.10: early data is protected with the first PSK.
  if (hello.earlyData && hello.psk === undefined)
    throw new TlsAlert('illegal_parameter', 'early data without a PSK');
}

/** RFC 8446 §4.1.2: what a client may change after a HelloRetryRequest. */
function checkSecondHello(hello: ClientHello, suite: CipherSuite, retry: Retry): void {
  if (suite !== retry.suite || !sameBytes(hello.random, retry.random))
    throw new TlsAlert('illegal_parameter', 'client changed its mind after HelloRetryRequest');
  if (hello.earlyData) throw new TlsAlert('illegal_parameter', 'early data after HelloRetryRequest');
  if (hello.keyShareCount !== 1)
    throw new TlsAlert('illegal_parameter', 'client did not follow HelloRetryRequest');
}
