/**
 * The TLS 1.3 key schedule (RFC 8446 §7.1), without what QUIC does not use (traffic keys and their update belong to
 * QUIC packet protection, RFC 9001 §5).
 *
 * Secrets are derived on demand: each is one HMAC, and most handshakes never need the exporter.
 *
 * @module
 */
import { hash, hashLength, hkdfExpandLabel, hkdfExtract, hmac, type HashName } from '#crypto/kdf';
import { EMPTY, equalBytes } from '../base/bytes.ts';

/** What depends on the hash alone. */
interface Constants {
  /** Hash of nothing: the context of "derived" and "res binder". */
  readonly emptyHash: Uint8Array;
  readonly zeros: Uint8Array;
  /** Salt of the handshake secret when there is no PSK: the same in every full handshake. */
  readonly saltWithoutPsk: Uint8Array;
}

const constants = new Map<HashName, Constants>();

function constantsOf(name: HashName): Constants {
  let found = constants.get(name);
  if (found === undefined) {
    const emptyHash = hash(name, EMPTY);
    const zeros = new Uint8Array(hashLength(name));
    const early = hkdfExtract(name, zeros, zeros);
    const saltWithoutPsk = hkdfExpandLabel(name, early, 'derived', emptyHash, zeros.length);
    found = { emptyHash, zeros, saltWithoutPsk };
    constants.set(name, found);
  }
  return found;
}

/** Traffic secrets of both directions, hash length each. */
export interface TrafficSecrets {
  readonly client: Uint8Array;
  readonly server: Uint8Array;
}

/**
 * Early, then handshake, then master secret of one handshake. `transcript` arguments are transcript hashes up to and
 * including the message that the method names.
 */
export class KeySchedule {
  readonly hash: HashName;
  readonly #constants: Constants;
  readonly #early: Uint8Array | undefined;
  /** The handshake secret, later the master secret. */
  #current: Uint8Array = EMPTY;

  /** @param psk - Of the session that is resumed, hash length; undefined in a full handshake. */
  constructor(hashName: HashName, psk: Uint8Array | undefined) {
    this.hash = hashName;
    this.#constants = constantsOf(hashName);
    this.#early = psk === undefined ? undefined : hkdfExtract(hashName, this.#constants.zeros, psk);
  }

  /** The binder of the PSK over a ClientHello cut off before its binders list (RFC 8446 §4.2.11.2). */
  binder(truncatedHello: Uint8Array): Uint8Array {
    return finishedMac(
      this.hash,
      this.#derive(this.#requireEarly(), 'res binder', this.#constants.emptyHash),
      truncatedHello,
    );
  }

  /** Traffic secret of 0-RTT data. @param transcript - ClientHello. */
  clientEarlyTraffic(transcript: Uint8Array): Uint8Array {
    return this.#derive(this.#requireEarly(), 'c e traffic', transcript);
  }

  /** Mixes the ECDHE secret in, and returns the handshake traffic secrets. @param transcript - ServerHello. */
  enterHandshake(sharedSecret: Uint8Array, transcript: Uint8Array): TrafficSecrets {
    const { emptyHash, saltWithoutPsk } = this.#constants;
    const salt = this.#early === undefined ? saltWithoutPsk : this.#derive(this.#early, 'derived', emptyHash);
    this.#current = hkdfExtract(this.hash, salt, sharedSecret);
    return {
      client: this.#derive(this.#current, 'c hs traffic', transcript),
      server: this.#derive(this.#current, 's hs traffic', transcript),
    };
  }

  /** Moves on to the master secret, and returns the first 1-RTT traffic secrets. @param transcript - Server Finished. */
  enterApplication(transcript: Uint8Array): TrafficSecrets {
    const salt = this.#derive(this.#current, 'derived', this.#constants.emptyHash);
    this.#current = hkdfExtract(this.hash, salt, this.#constants.zeros);
    return {
      client: this.#derive(this.#current, 'c ap traffic', transcript),
      server: this.#derive(this.#current, 's ap traffic', transcript),
    };
  }

  /** After {@link enterApplication}. @param transcript - Server Finished. */
  exporter(transcript: Uint8Array): Uint8Array {
    return this.#derive(this.#current, 'exp master', transcript);
  }

  /** After {@link enterApplication}. @param transcript - Client Finished. */
  resumption(transcript: Uint8Array): Uint8Array {
    return this.#derive(this.#current, 'res master', transcript);
  }

  #requireEarly(): Uint8Array {
    if (this.#early === undefined) throw new Error('key schedule: there is no PSK');
    return this.#early;
  }

  #derive(secret: Uint8Array, label: string, transcript: Uint8Array): Uint8Array {
    return hkdfExpandLabel(this.hash, secret, label, transcript, hashLength(this.hash));
  }
}

/** The body of a Finished message, or a binder (RFC 8446 §4.4.4). @param baseKey - Traffic secret or binder key. */
export function finishedMac(hashName: HashName, baseKey: Uint8Array, transcript: Uint8Array): Uint8Array {
  const key = hkdfExpandLabel(hashName, baseKey, 'finished', EMPTY, hashLength(hashName));
  return hmac(hashName, key, transcript);
}

/** Checks a Finished body in constant time. */
export function isFinishedMac(
  hashName: HashName,
  baseKey: Uint8Array,
  transcript: Uint8Array,
  received: Uint8Array,
): boolean {
  return equalBytes(finishedMac(hashName, baseKey, transcript), received);
}

/** The PSK of a ticket (RFC 8446 §4.6.1). */
export function ticketPsk(hashName: HashName, resumptionSecret: Uint8Array, nonce: Uint8Array): Uint8Array {
  return hkdfExpandLabel(hashName, resumptionSecret, 'resumption', nonce, hashLength(hashName));
}

/**
 * RFC 8446 §7.5.
 * @param length - Bytes, at most 255 × hash length.
 * @throws {RangeError} when `label` (over 249 bytes) or `length` are too long.
 */
export function exportKeyingMaterial(
  hashName: HashName,
  exporterSecret: Uint8Array,
  label: string,
  context: Uint8Array,
  length: number,
): Uint8Array {
  const { emptyHash } = constantsOf(hashName);
  const secret = hkdfExpandLabel(hashName, exporterSecret, label, emptyHash, hashLength(hashName));
  return hkdfExpandLabel(hashName, secret, 'exporter', hash(hashName, context), length);
}
