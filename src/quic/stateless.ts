/**
 * Packets that an endpoint sends without a connection: stateless resets, closes of attempts that it does not take, and
 * others, with the queue in which they wait (RFC 9000 §10.3, §5.2.2).
 *
 * @module
 */
import { ChaChaHeaderKey } from '../crypto/chacha-mask.ts';
import { HEADER_SAMPLE_BYTES } from '../crypto/packet-cipher.ts';
import { utf8, Writer } from '../base/bytes.ts';
import type { Millis } from '../base/clock.ts';
import { randomBelow, randomBytes, type Rng } from '../base/rng.ts';
import type { Addr } from '../base/socket-addr.ts';
import { LOCAL_CID_LENGTH } from './connection-host.ts';
import type { Datagram, Transmit } from './engine.ts';
import type { TransportError } from './transport-error.ts';
import { writeConnectionClose } from './wire/frames.ts';
import { finishLongHeader, FIXED_BIT, writeLongHeader } from './wire/packet.ts';
import { sealPackets, type PacketKeys } from './wire/protection.ts';

/** Answers that may wait; more are dropped: who asked will ask again. */
export const MAX_STATELESS_TRANSMITS = 256;
/** At most one stateless reset in this time, ms; noq `min_reset_interval`. */
export const STATELESS_RESET_INTERVAL_MS = 20;

const RESET_TOKEN_BYTES = 16;
const TAG_BYTES = 16;
/** A reset must look like the smallest valid packet at least (RFC 9000 §10.3: 5 bytes in front of the token). */
const MIN_RESET_PADDING = 5;
/** From here on a reset cannot be told from a packet with a connection id of any length. */
const IDEAL_RESET_PADDING = MIN_RESET_PADDING + 20;
/** More tells nothing, and costs bytes. */
const MAX_RESET_PADDING = 64;

/** Makes the stateless reset tokens of our connection ids: a keyed permutation, so that nothing must be remembered. */
export class ResetTokens {
  readonly #key: ChaChaHeaderKey;
  /** A connection id, zero-padded. */
  readonly #input = new Uint8Array(HEADER_SAMPLE_BYTES);

  /** @param key - 32 secret bytes; an endpoint that keeps it can reset connections from before a restart. */
  constructor(key: Uint8Array) {
    // The start of a ChaCha20 key stream whose counter and nonce are the id: a PRF, and far cheaper than an HMAC for the
    // many ids that a multipath handshake issues.
    this.#key = new ChaChaHeaderKey(key);
  }

  /** The token of a connection id of ours, which starts at `at`. Valid until the next call. */
  of(bytes: Uint8Array, at = 0): Uint8Array {
    for (let i = 0; i < LOCAL_CID_LENGTH; i++) this.#input[i] = bytes[at + i]!;
    // The block is 16 bytes, as the token is (RFC 9000 §10.3), and always the same array.
    return this.#key.masks(this.#input, 1);
  }
}

/**
 * A stateless reset (RFC 9000 §10.3) for a datagram of `triggerLength` bytes; undefined when that is too small: a reset
 * must be smaller than what it answers, or two endpoints could reset each other for ever (§10.3.3).
 */
export function encodeStatelessReset(
  token: Uint8Array,
  triggerLength: number,
  rng: Rng,
): Uint8Array | undefined {
  const most = Math.min(triggerLength - 1 - RESET_TOKEN_BYTES, MAX_RESET_PADDING);
  if (most < MIN_RESET_PADDING) return undefined;
  const padding =
    most <= IDEAL_RESET_PADDING
      ? most
      : IDEAL_RESET_PADDING + randomBelow(rng, most - IDEAL_RESET_PADDING + 1);
  const bytes = new Uint8Array(padding + RESET_TOKEN_BYTES);
  bytes.set(randomBytes(rng, padding));
  // Looks like a short header.
  bytes[0] = (bytes[0]! & 0x3f) | FIXED_BIT;
  bytes.set(token, padding);
  return bytes;
}

/**
 * An Initial packet with CONNECTION_CLOSE, for an attempt that we know nothing else about (RFC 9000 §10.2.3).
 * @param packetNumber - Up to 255.
 */
export function encodeInitialClose(
  keys: PacketKeys,
  dcid: Uint8Array,
  scid: Uint8Array,
  error: TransportError,
  packetNumber = 0,
): Uint8Array {
  const w = new Writer();
  const lengthAt = writeLongHeader(w, 'initial', dcid, scid, undefined, packetNumber, 1);
  const pnOffset = w.pos - 1;
  const payloadStart = w.pos;
  writeConnectionClose(w, error.wireCode, error.frameType, utf8(error.message));
  const payloadEnd = w.pos;
  w.zeros(TAG_BYTES);
  finishLongHeader(w.bytes, lengthAt, w.pos - pnOffset);
  const job = {
    bytes: w.bytes,
    headerStart: 0,
    payloadStart,
    payloadEnd,
    pnOffset,
    nonce: new Uint8Array(12),
  };
  keys.writeNonce(job.nonce, 0, packetNumber);
  sealPackets(keys, [job], 1);
  return w.copy();
}

/** Answers to datagrams that belong to no connection. Each is smaller than what it answers. */
export class StatelessAnswers {
  readonly #resetTokens: ResetTokens;
  readonly #rng: Rng;
  readonly #queue: Transmit[] = [];
  #lastResetAt: Millis = -Infinity;

  constructor(resetTokens: ResetTokens, rng: Rng) {
    this.#resetTokens = resetTokens;
    this.#rng = rng;
  }

  push(to: Addr, local: Addr | undefined, data: Uint8Array): void {
    if (this.#queue.length < MAX_STATELESS_TRANSMITS) this.#queue.push({ to, local, data });
  }

  /** @param keys - Initial keys for sending. @param clientCid - Source cid of the Initial that is answered. */
  pushClose(
    to: Addr,
    local: Addr | undefined,
    keys: PacketKeys,
    clientCid: Uint8Array,
    error: TransportError,
  ): void {
    // The client is not supposed to answer, so the id leads nowhere.
    const scid = randomBytes(this.#rng, LOCAL_CID_LENGTH);
    this.push(to, local, encodeInitialClose(keys, clientCid, scid, error));
  }

  /** Answers a short header packet to an unknown connection id, now and then: nobody shall be flooded through us. */
  pushReset(datagram: Datagram, now: Millis): void {
    if (now - this.#lastResetAt < STATELESS_RESET_INTERVAL_MS) return;
    const { data } = datagram;
    const reset = encodeStatelessReset(this.#resetTokens.of(data, 1), data.length, this.#rng);
    if (reset === undefined) return;
    this.#lastResetAt = now;
    this.push(datagram.from, datagram.local, reset);
  }

  /** Moves up to `max` to `out`; returns how many. */
  take(out: Transmit[], max: number): number {
    const count = Math.min(max, this.#queue.length);
    for (let i = 0; i < count; i++) out.push(this.#queue[i]!);
    this.#queue.splice(0, count);
    return count;
  }
}
