/**
 * What the client's and the server's handshake have in common: levels, message order, outputs, key log, exporter
 * (RFC 9001 §4.1).
 *
 * @module
 */
import { DecodeError, equalBytes, toHex } from '../base/bytes.ts';
import type { Millis } from '../base/clock.ts';
import { TlsAlert } from './alert.ts';
import { decodeCertificateVerify } from './messages.ts';
import { MessageReader } from './message-reader.ts';
import { signedContent } from './certificates.ts';
import {
  exportKeyingMaterial,
  isFinishedMac,
  type KeySchedule,
  type TrafficSecrets,
} from './key-schedule.ts';
import type { Transcript } from './transcript.ts';
import { HANDSHAKE_HEADER_BYTES } from './messages.ts';
import type { CryptoLevel, KeyLog, PeerIdentity, PeerVerifier, TlsOutput, TlsSession } from './session.ts';

const LEVEL_ORDER: Readonly<Record<CryptoLevel, number>> = { initial: 0, handshake: 1, application: 2 };

/** One side of one handshake. Subclasses say which messages may come when, and what follows from them. */
export abstract class HandshakeSession implements TlsSession {
  abstract readonly side: 'client' | 'server';
  isComplete = false;
  earlyTransportParameters: Uint8Array | undefined = undefined;
  /** Level of the next message to read. */
  protected readLevel: CryptoLevel = 'initial';
  readonly #reader = new MessageReader();
  readonly #outputs: TlsOutput[] = [];
  #failure: TlsAlert | undefined;
  /** Set with the application secrets: what the exporter secret is derived from, when somebody asks. */
  #exporterSource: { readonly schedule: KeySchedule; readonly transcript: Uint8Array } | undefined;
  #exporterSecret: Uint8Array | undefined;

  /** Message types that may come now. */
  protected abstract isExpected(type: number): boolean;
  /** Takes a whole message of an expected type, with its header. Views into it are valid during the call only. */
  protected abstract handleMessage(type: number, message: Uint8Array, wallNow: Millis): void;

  handleCrypto(level: CryptoLevel, data: Uint8Array, wallNow: Millis): void {
    if (this.#failure !== undefined) throw this.#failure;
    try {
      this.#handle(level, data, wallNow);
    } catch (error) {
      this.#failure = toAlert(error);
      throw this.#failure;
    }
  }

  #handle(level: CryptoLevel, data: Uint8Array, wallNow: Millis): void {
    if (data.length === 0) return;
    if (level !== this.readLevel) {
      // RFC 9001 §4.1.3: a level that was left behind gets no new bytes.
      const protocolViolation = LEVEL_ORDER[level] < LEVEL_ORDER[this.readLevel];
      throw new TlsAlert('unexpected_message', `CRYPTO data of level ${level}`, { protocolViolation });
    }
    const reader = this.#reader;
    reader.feed(data);
    for (let type = reader.nextType; type !== undefined; type = reader.nextType) {
      // Before the message is complete: nobody gets memory for something that would be refused.
      if (!this.isExpected(type)) this.refuseMessage(type);
      const message = reader.next();
      if (message === undefined) return;
      const before = this.readLevel;
      this.handleMessage(type, message, wallNow);
      // RFC 8446 §5.1, RFC 9001 §4.1.3: keys change between messages, never within the bytes of a level.
      if (this.readLevel !== before && reader.hasBytes)
        throw new TlsAlert('unexpected_message', `bytes after the last ${before} message`, {
          protocolViolation: true,
        });
    }
    reader.release();
  }

  /** @throws {TlsAlert} always. */
  protected refuseMessage(type: number): never {
    // KeyUpdate too: QUIC has its own (RFC 9001 §6).
    throw new TlsAlert('unexpected_message', `unexpected handshake message ${type}`);
  }

  // Handed out by index, not shifted: a handshake has about ten outputs, and most drains take them all.
  #next = 0;

  poll(): TlsOutput | undefined {
    const output = this.#outputs[this.#next];
    if (output === undefined) {
      if (this.#next > 0) {
        this.#outputs.length = 0;
        this.#next = 0;
      }
      return undefined;
    }
    this.#next++;
    return output;
  }

  protected emit(output: TlsOutput): void {
    this.#outputs.push(output);
  }

  exportKeyingMaterial(length: number, label: string, context: Uint8Array): Uint8Array {
    const source = this.#exporterSource;
    if (source === undefined)
      throw new Error('keying material can be exported once the handshake is complete');
    this.#exporterSecret ??= source.schedule.exporter(source.transcript);
    return exportKeyingMaterial(source.schedule.hash, this.#exporterSecret, label, context, length);
  }

  /** Remembers what the exporter needs. @param transcript - Hash up to and including the server's Finished. */
  protected enableExporter(schedule: KeySchedule, transcript: Uint8Array): void {
    this.#exporterSource = { schedule, transcript };
  }

  /** Writes NSS key log lines (draft-ietf-tls-keylogfile) for application secrets. */
  protected logApplicationSecrets(
    log: KeyLog | undefined,
    clientRandom: Uint8Array,
    secrets: TrafficSecrets,
  ): void {
    if (log === undefined) return;
    logSecret(log, 'CLIENT_TRAFFIC_SECRET_0', clientRandom, secrets.client);
    logSecret(log, 'SERVER_TRAFFIC_SECRET_0', clientRandom, secrets.server);
    const source = this.#exporterSource!;
    this.#exporterSecret ??= source.schedule.exporter(source.transcript);
    logSecret(log, 'EXPORTER_SECRET', clientRandom, this.#exporterSecret);
  }
}

/** One line in NSS key log format. What the log throws (a full disk) is no matter of the handshake. */
export function logSecret(
  log: KeyLog | undefined,
  label: string,
  clientRandom: Uint8Array,
  secret: Uint8Array,
): void {
  if (log === undefined) return;
  try {
    log(`${label} ${toHex(clientRandom)} ${toHex(secret)}`);
  } catch {
    // Who debugs misses a line, and nobody a connection.
  }
}

/**
 * Checks the peer's CertificateVerify.
 * @param signer - The side that signed.
 * @throws {TlsAlert} illegal_parameter on a scheme that we did not offer, decrypt_error on a bad signature
 * (RFC 8446 §4.4.3).
 */
export function checkCertificateVerify(
  message: Uint8Array,
  signer: 'client' | 'server',
  peer: PeerIdentity,
  verifier: PeerVerifier,
  transcript: Transcript,
): void {
  const { scheme, signature } = decodeCertificateVerify(message);
  if (!verifier.schemes.includes(scheme))
    throw new TlsAlert('illegal_parameter', `signature scheme ${scheme} was not offered`);
  if (!verifier.verifySignature(peer, scheme, signedContent(signer, transcript.digest()), signature))
    throw new TlsAlert('decrypt_error', 'signature of CertificateVerify does not verify');
}

/** Checks the peer's Finished. @throws {TlsAlert} decrypt_error (RFC 8446 §4.4.4). */
export function checkFinished(message: Uint8Array, trafficSecret: Uint8Array, transcript: Transcript): void {
  const received = message.subarray(HANDSHAKE_HEADER_BYTES);
  if (!isFinishedMac(transcript.hash, trafficSecret, transcript.digest(), received))
    throw new TlsAlert('decrypt_error', 'Finished does not verify');
}

/** Compares optional byte strings. Not secret. */
export function sameBytes(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a === undefined || b === undefined ? a === b : equalBytes(a, b);
}

/** Whatever went wrong, as an alert: decoders throw DecodeError, and a callback may throw anything. */
function toAlert(error: unknown): TlsAlert {
  if (error instanceof TlsAlert) return error;
  if (error instanceof DecodeError)
    return new TlsAlert('decode_error', `malformed handshake message: ${error.message}`, { cause: error });
  // The message goes to the peer, so it says nothing about our insides.
  return new TlsAlert('internal_error', 'internal error', { cause: error });
}
