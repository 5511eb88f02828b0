/**
 * Packet protection: keys of one direction and generation, nonces, header protection (RFC 9001 §5;
 * draft-ietf-quic-multipath-21 §2.4 for the nonce with a path id).
 *
 * @module
 */
import {
  createAead,
  createHeaderKey,
  type Aead,
  type AeadName,
  type HeaderKey,
  type PacketJob,
} from '#crypto/aead';
import { hashLength, hkdfExpandLabel, hkdfExtract, type HashName } from '#crypto/kdf';
import { EMPTY, fromHex } from '../../base/bytes.ts';
import type { CipherSuiteName } from '../../tls/session.ts';
import type { PathId, Side } from '../engine.ts';

interface Suite {
  readonly aead: AeadName;
  readonly hash: HashName;
  readonly keyLength: number;
  /** Packets that one key may seal, and forgeries that it may see (RFC 9001 §6.6). */
  readonly confidentialityLimit: number;
  readonly integrityLimit: number;
}

const SUITES: Record<CipherSuiteName, Suite> = {
  TLS_AES_128_GCM_SHA256: {
    aead: 'aes-128-gcm',
    hash: 'sha256',
    keyLength: 16,
    confidentialityLimit: 2 ** 23,
    integrityLimit: 2 ** 52,
  },
  TLS_AES_256_GCM_SHA384: {
    aead: 'aes-256-gcm',
    hash: 'sha384',
    keyLength: 32,
    confidentialityLimit: 2 ** 23,
    integrityLimit: 2 ** 52,
  },
  TLS_CHACHA20_POLY1305_SHA256: {
    aead: 'chacha20-poly1305',
    hash: 'sha256',
    keyLength: 32,
    confidentialityLimit: Infinity,
    integrityLimit: 2 ** 36,
  },
};

/** RFC 9001 §5.2. */
const INITIAL_SALT = fromHex('38762cf7f55934b34d179ae6a4c80cadccbb7f0a');
const IV_BYTES = 12;
/** Sample and mask block of header protection (RFC 9001 §5.4.2). */
const SAMPLE_BYTES = 16;
/** The sample starts as if the packet number had four bytes. */
const SAMPLE_OFFSET = 4;

/**
 * Keys of one direction and one generation (RFC 9001 §5.1). They are expanded when they are first used: early data is offered
 * with every ticket, and hardly ever sent.
 */
export class PacketKeys {
  readonly secret: Uint8Array;
  readonly suiteName: CipherSuiteName;
  readonly confidentialityLimit: number;
  readonly integrityLimit: number;
  readonly #suite: Suite;
  #aead: Aead | undefined;
  #iv: Uint8Array | undefined;
  #headerKey: HeaderKey | undefined;

  private constructor(suiteName: CipherSuiteName, secret: Uint8Array, headerKey: HeaderKey | undefined) {
    const suite = SUITES[suiteName];
    this.suiteName = suiteName;
    this.#suite = suite;
    this.secret = secret;
    this.#headerKey = headerKey;
    this.confidentialityLimit = suite.confidentialityLimit;
    this.integrityLimit = suite.integrityLimit;
  }

  get aead(): Aead {
    return (this.#aead ??= createAead(this.#suite.aead, this.#expand('quic key', this.#suite.keyLength)));
  }

  get iv(): Uint8Array {
    return (this.#iv ??= this.#expand('quic iv', IV_BYTES));
  }

  get headerKey(): HeaderKey {
    return (this.#headerKey ??= createHeaderKey(
      this.#suite.aead,
      this.#expand('quic hp', this.#suite.keyLength),
    ));
  }

  #expand(label: string, length: number): Uint8Array {
    return hkdfExpandLabel(this.#suite.hash, this.secret, label, EMPTY, length);
  }

  /** @param secret - A traffic secret, 32 or 48 bytes as the suite's hash has it. */
  static fromSecret(suiteName: CipherSuiteName, secret: Uint8Array): PacketKeys {
    return new PacketKeys(suiteName, secret, undefined);
  }

  /** Initial keys of both directions as `side` uses them (RFC 9001 §5.2). */
  static initial(dcid: Uint8Array, side: Side): { readonly read: PacketKeys; readonly write: PacketKeys } {
    const initial = hkdfExtract('sha256', INITIAL_SALT, dcid);
    const length = hashLength('sha256');
    const keys = (label: string): PacketKeys =>
      PacketKeys.fromSecret(
        'TLS_AES_128_GCM_SHA256',
        hkdfExpandLabel('sha256', initial, label, EMPTY, length),
      );
    const client = keys('client in');
    const server = keys('server in');
    return side === 'client' ? { read: server, write: client } : { read: client, write: server };
  }

  /** The traffic secret of the next generation (RFC 9001 §6.1). */
  nextSecret(): Uint8Array {
    return this.#expand('quic ku', hashLength(this.#suite.hash));
  }

  /** Keys of another generation; header protection does not change (RFC 9001 §6.1). */
  withSecret(secret: Uint8Array): PacketKeys {
    return new PacketKeys(this.suiteName, secret, this.headerKey);
  }

  /** IV xor (path id as 32 bits, packet number as 64 bits). Path 0 is ordinary QUIC (RFC 9001 §5.3). */
  writeNonce(nonce: Uint8Array, path: PathId, packetNumber: number): void {
    const { iv } = this;
    nonce[0] = iv[0]! ^ (path >>> 24);
    nonce[1] = iv[1]! ^ (path >>> 16);
    nonce[2] = iv[2]! ^ (path >>> 8);
    nonce[3] = iv[3]! ^ path;
    const high = Math.floor(packetNumber / 0x1_0000_0000);
    const low = packetNumber >>> 0;
    nonce[4] = iv[4]! ^ (high >>> 24);
    nonce[5] = iv[5]! ^ (high >>> 16);
    nonce[6] = iv[6]! ^ (high >>> 8);
    nonce[7] = iv[7]! ^ high;
    nonce[8] = iv[8]! ^ (low >>> 24);
    nonce[9] = iv[9]! ^ (low >>> 16);
    nonce[10] = iv[10]! ^ (low >>> 8);
    nonce[11] = iv[11]! ^ low;
  }
}

/** A packet to seal, with the position of its packet number. */
export interface SealJob extends PacketJob {
  pnOffset: number;
}

/** Samples of a batch; grows to the largest batch seen and stays. */
let samples = new Uint8Array(SAMPLE_BYTES * 32);

/** Seals `count` packets of one key, then applies all header protection with one call for the masks. */
export function sealPackets(keys: PacketKeys, jobs: readonly SealJob[], count: number): void {
  keys.aead.sealBatch(jobs, count);
  if (samples.length < count * SAMPLE_BYTES) samples = new Uint8Array(count * SAMPLE_BYTES);
  for (let i = 0; i < count; i++) {
    const { bytes, pnOffset } = jobs[i]!;
    const from = pnOffset + SAMPLE_OFFSET;
    const to = i * SAMPLE_BYTES;
    for (let j = 0; j < SAMPLE_BYTES; j++) samples[to + j] = bytes[from + j]!;
  }
  const masks = keys.headerKey.masks(samples, count);
  for (let i = 0; i < count; i++) {
    const { bytes, headerStart, pnOffset } = jobs[i]!;
    const at = i * SAMPLE_BYTES;
    const first = bytes[headerStart]!;
    const length = (first & 0x03) + 1;
    // RFC 9001 §5.4.1: four protected bits in a long header, five in a short one.
    bytes[headerStart] = first ^ (masks[at]! & ((first & 0x80) !== 0 ? 0x0f : 0x1f));
    for (let j = 0; j < length; j++) bytes[pnOffset + j]! ^= masks[at + 1 + j]!;
  }
}

/**
 * Removes header protection in place (RFC 9001 §5.4.1).
 * @param masks - Result of {@link HeaderKey.masks}; the packet's mask starts at `at`.
 * @returns Bytes of the packet number, 1 to 4.
 */
export function removeHeaderProtection(
  bytes: Uint8Array,
  headerStart: number,
  pnOffset: number,
  masks: Uint8Array,
  at: number,
): number {
  const protectedFirst = bytes[headerStart]!;
  const first = protectedFirst ^ (masks[at]! & ((protectedFirst & 0x80) !== 0 ? 0x0f : 0x1f));
  bytes[headerStart] = first;
  const length = (first & 0x03) + 1;
  for (let j = 0; j < length; j++) bytes[pnOffset + j]! ^= masks[at + 1 + j]!;
  return length;
}
