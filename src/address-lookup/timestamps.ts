/**
 * Timestamps of signed packets: ours always grow, and those of others are looked at before they are believed.
 *
 * @module
 */
import { PkarrError } from '../base/errors.ts';
import type { SignedPacket } from './signed-packet.ts';

/** Clocks may be wrong by so much, µs. Above it the record could never be replaced by a right one. */
export const MAX_AHEAD_MICROS = 86_400_000_000n;
/** Endpoints whose newest packet is remembered. */
export const MAX_REMEMBERED = 256;

/** Makes timestamps. A server keeps the newer one of two packets, so that each must be above all before, whatever the clock does. */
export class GrowingTimestamps {
  #last = 0n;

  /** @param wallMs - Milliseconds since 1970. @returns microseconds since 1970. */
  next(wallMs: number): bigint {
    const now = BigInt(Math.max(0, Math.floor(wallMs * 1_000)));
    this.#last = now > this.#last ? now : this.#last + 1n;
    return this.#last;
  }
}

/** Refuses what a server should not have: packets from the future, and packets older than what it had before. */
export class FreshnessCheck {
  /** The one asked for last is last. */
  readonly #newest = new Map<string, SignedPacket>();

  /** @param wallMs - Milliseconds since 1970. @throws {PkarrError} `Future`, `Stale` */
  check(packet: SignedPacket, wallMs: number): void {
    const now = BigInt(Math.floor(wallMs * 1_000));
    if (packet.timestampMicros > now + MAX_AHEAD_MICROS)
      throw new PkarrError('PkarrError.Future', `a packet of ${packet.id.short()} from the future`);
    const key = packet.id.toString();
    const before = this.#newest.get(key);
    if (before?.isNewerThan(packet) === true)
      throw new PkarrError('PkarrError.Stale', `a packet of ${packet.id.short()} that was replaced before`);
    this.#newest.delete(key);
    this.#newest.set(key, packet);
    if (this.#newest.size <= MAX_REMEMBERED) return;
    const [oldest] = this.#newest.keys();
    this.#newest.delete(oldest!);
  }
}
