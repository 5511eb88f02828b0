/**
 * A packet number space (RFC 9000 §12.3): Initial, Handshake, or the 1-RTT space of one path.
 *
 * @module
 */
import type { Millis } from '../base/clock.ts';
import { randomBelow, type Rng } from '../base/rng.ts';
import { ReceivedPackets } from './recovery/received-packets.ts';
import { SentPackets } from './recovery/sent-packets.ts';

/** First gap in the 1-RTT numbers comes within this many packets; each following distance doubles. */
const FIRST_SKIP_WITHIN = 64;
/** Largest distance between gaps, so that the arithmetic stays exact. */
const MAX_SKIP_DISTANCE = 2 ** 30;

export type SpaceName = 'initial' | 'handshake' | 'oneRtt';

/** Numbers, acknowledgments and pending probes of one space. */
export class PacketSpace {
  readonly name: SpaceName;
  readonly received: ReceivedPackets;
  readonly sent = new SentPackets();
  /** Number of the next packet. */
  next = 0;
  /** Largest number that the peer acknowledged, −1 for none. */
  largestAcked = -1;
  /** When the oldest unacknowledged packet counts as lost (RFC 9002 §6.1.2); `Infinity` for none. */
  lossTime: Millis = Infinity;
  /** Ack-eliciting packets owed to a probe time-out; not bound by congestion control (RFC 9002 §6.2.4). */
  probesDue = 0;
  /** A PING is wanted (keep-alive or by the caller). */
  pingPending = false;
  /** Number of the first packet sent in the current key phase. */
  firstInKeyPhase = 0;
  #skipAt = Infinity;
  #skipDistance = FIRST_SKIP_WITHIN;

  constructor(name: SpaceName, maxAckDelayMs: Millis) {
    this.name = name;
    // RFC 9000 §13.2.1: Initial and Handshake packets are acknowledged at once.
    this.received = new ReceivedPackets({ immediate: name !== 'oneRtt', maxAckDelayMs });
  }

  /**
   * Takes the number of a packet that is about to be sent. In 1-RTT spaces some numbers are left out, so that a peer
   * which acknowledges what it never saw is found out (RFC 9000 §21.4).
   */
  takeNumber(rng: Rng): number {
    if (this.name === 'oneRtt') {
      if (this.#skipAt === Infinity) this.#skipAt = this.next + 1 + randomBelow(rng, this.#skipDistance);
      if (this.next === this.#skipAt) {
        this.next++;
        this.#skipDistance = Math.min(this.#skipDistance * 2, MAX_SKIP_DISTANCE);
        this.#skipAt = this.next + 1 + randomBelow(rng, this.#skipDistance);
      }
    }
    return this.next++;
  }
}
