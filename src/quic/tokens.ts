/**
 * Address validation tokens: sealed by this server, opaque to everybody else (RFC 9000 §8.1;
 * noq `noq-proto/src/token.rs`).
 *
 * Retry tokens prove that the client received at this ip and port a moment ago; NEW_TOKEN tokens that it did at this ip
 * some time ago.
 *
 * @module
 */
import { createAead, type Aead, type PacketJob } from '#crypto/aead';
import { hkdfExpandLabel } from '#crypto/kdf';
import { DecodeError, Reader, Writer } from '../base/bytes.ts';
import type { Millis } from '../base/clock.ts';
import type { Rng } from '../base/rng.ts';
import { toAddr, type Addr } from '../base/socket-addr.ts';

/** A Retry answers within seconds or not at all; noq `retry_token_lifetime`. */
export const RETRY_TOKEN_LIFETIME_MS = 15_000;
/** noq `ValidationTokenConfig::lifetime`: two weeks. */
export const VALIDATION_TOKEN_LIFETIME_MS = 14 * 24 * 3_600 * 1_000;
/** Tolerated clock steps backwards, ms. */
const MAX_FUTURE_MS = 5_000;

const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const TYPE_RETRY = 0;
const TYPE_VALIDATION = 1;

/** What a token says. Times are wall-clock ms. */
export type Token =
  | {
      readonly type: 'retry';
      readonly remote: Addr;
      readonly originalDcid: Uint8Array;
      /** The id that the Retry told the client to use. */
      readonly retryScid: Uint8Array;
      readonly issuedAt: Millis;
    }
  | { readonly type: 'validation'; readonly ip: string; readonly issuedAt: Millis };

/** Makes and opens tokens under one key. */
export class TokenSealer {
  readonly #aead: Aead;
  readonly #rng: Rng;

  /** @param key - 32 secret bytes; whoever shares it accepts each other's tokens. */
  constructor(key: Uint8Array, rng: Rng) {
    this.#aead = createAead(
      'aes-128-gcm',
      hkdfExpandLabel('sha256', key, 'token key', new Uint8Array(0), 16),
    );
    this.#rng = rng;
  }

  /** A Retry token for a client at `remote` whose first Initial went to `originalDcid`, and whose next goes to `retryScid`. */
  sealRetry(remote: Addr, originalDcid: Uint8Array, retryScid: Uint8Array, wallNow: Millis): Uint8Array {
    return this.#seal((w) => {
      w.u8(TYPE_RETRY);
      writeShort(w, remote.bytes);
      w.u16(remote.port);
      writeShort(w, originalDcid);
      writeShort(w, retryScid);
      w.varint(Math.floor(wallNow));
    });
  }

  /** A token for later connections from the ip of `remote`. */
  sealValidation(remote: Addr, wallNow: Millis): Uint8Array {
    return this.#seal((w) => {
      w.u8(TYPE_VALIDATION);
      writeShort(w, remote.bytes);
      w.varint(Math.floor(wallNow));
    });
  }

  #seal(write: (w: Writer) => void): Uint8Array {
    const w = new Writer();
    const nonce = this.#rng.fill(new Uint8Array(NONCE_BYTES));
    w.put(nonce);
    write(w);
    const payloadEnd = w.pos;
    w.zeros(TAG_BYTES);
    const job: PacketJob = {
      bytes: w.bytes,
      headerStart: 0,
      payloadStart: NONCE_BYTES,
      payloadEnd,
      nonce,
    };
    this.#aead.seal(job);
    return w.copy();
  }

  /** The content of a token of ours; undefined when it is not, or was tampered with. */
  open(token: Uint8Array): Token | undefined {
    if (token.length < NONCE_BYTES + TAG_BYTES) return undefined;
    const bytes = token.slice();
    const plain = this.#aead.open({
      bytes,
      headerStart: 0,
      payloadStart: NONCE_BYTES,
      payloadEnd: bytes.length,
      nonce: bytes.slice(0, NONCE_BYTES),
    });
    if (plain === undefined) return undefined;
    try {
      const r = new Reader(plain);
      const type = r.u8();
      const ip = r.take(r.u8());
      if (type === TYPE_VALIDATION) {
        return { type: 'validation', ip: toAddr(ip, 0).ip, issuedAt: r.varint() };
      }
      if (type !== TYPE_RETRY) return undefined;
      const remote = toAddr(ip, r.u16());
      const originalDcid = r.take(r.u8()).slice();
      const retryScid = r.take(r.u8()).slice();
      return { type: 'retry', remote, originalDcid, retryScid, issuedAt: r.varint() };
    } catch (error) {
      if (error instanceof DecodeError) return undefined;
      throw error;
    }
  }
}

/** True while a token is neither too old nor from the future. */
export function isFresh(issuedAt: Millis, lifetimeMs: Millis, wallNow: Millis): boolean {
  const age = wallNow - issuedAt;
  return age <= lifetimeMs && age >= -MAX_FUTURE_MS;
}

/** An ip or a connection id, after its length. */
function writeShort(w: Writer, bytes: Uint8Array): void {
  w.u8(bytes.length);
  w.put(bytes);
}
