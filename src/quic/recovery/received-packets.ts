/**
 * Received packet numbers of one space: which are duplicates, which are to be acknowledged, and when
 * (RFC 9000 §13.2, draft-ietf-quic-ack-frequency §6).
 *
 * A whole burst may be fed before anybody asks {@link ReceivedPackets.ackDue}: that is how one ACK answers many packets.
 *
 * @module
 */
import type { Writer } from '../../base/bytes.ts';
import type { Millis } from '../../base/clock.ts';
import { varintSize } from '../../base/varint.ts';
import type { AckPolicy } from './ack-frequency.ts';
import { RangeSet } from './range-set.ts';

/**
 * Ranges remembered, and sent in one ACK. A peer that leaves a gap after every packet makes us forget the oldest, which
 * it will then send again (RFC 9000 §13.2.3). 64 as upstream; the range count still fits one byte.
 */
export const MAX_ACK_RANGES = 64;
/** With so many new ranges since the last ACK one is sent at once, lest ranges be forgotten before they were reported. */
export const MAX_UNREPORTED_RANGES = 32;
/** More packets than this that do not ask for an ACK get one when a packet is sent anyway; noq `LAZY_ACK_THRESHOLD`. */
export const LAZY_ACK_THRESHOLD = 10;

const ACK = 0x02;
const PATH_ACK = 0x3e;

/** Acknowledgment state of one space. */
export class ReceivedPackets {
  /** All received numbers from `#floor` on: tells duplicates. Acknowledging does not shrink it. */
  readonly #received = new RangeSet();
  /** Everything below counts as received: its ranges were forgotten. */
  #floor = 0;
  /** Nothing below is reported any more: the peer knows (RFC 9000 §13.2.4). */
  #reportFrom = 0;
  /** Smallest number received since the last ACK was written. */
  #smallestUnreported = Infinity;
  #largestAt: Millis = 0;
  #largestAckEliciting = -1;
  /** Largest Acknowledged of the newest ACK. */
  #largestReported = -1;

  #ackEliciting = 0;
  #nonAckEliciting = 0;
  #newRanges = 0;
  #immediate = false;
  /** When the first unacknowledged ack-eliciting packet arrived. */
  #waitingSince: Millis = Infinity;

  readonly #alwaysImmediate: boolean;
  #ackElicitingThreshold = 1;
  #reorderingThreshold = 1;
  #maxAckDelayMs: Millis;

  /**
   * @param options - `immediate`: Initial and Handshake, where nothing is delayed (RFC 9000 §13.2.1). `maxAckDelayMs`:
   *   the max_ack_delay that we announced.
   */
  constructor(options: { readonly immediate: boolean; readonly maxAckDelayMs: Millis }) {
    this.#alwaysImmediate = options.immediate;
    this.#maxAckDelayMs = options.maxAckDelayMs;
  }

  /** Largest number received, −1 for none. */
  get largestReceived(): number {
    return this.#received.max;
  }

  /** True when the packet was received before, or is too old to tell (RFC 9000 §12.3). */
  isDuplicate(packetNumber: number): boolean {
    if (packetNumber > this.#received.max) return false;
    return packetNumber < this.#floor || this.#received.contains(packetNumber);
  }

  /** Takes over what the peer asked for. Packets received before are judged anew only when the next one arrives. */
  setPolicy(policy: AckPolicy): void {
    this.#ackElicitingThreshold = policy.ackElicitingThreshold;
    this.#reorderingThreshold = policy.reorderingThreshold;
    this.#maxAckDelayMs = policy.maxAckDelayMs;
  }

  /** Records an authentic packet that is no duplicate. */
  onReceived(packetNumber: number, ackEliciting: boolean, now: Millis): void {
    const received = this.#received;
    const before = received.size;
    if (packetNumber > received.max) this.#largestAt = now;
    received.insert(packetNumber);
    // It arrived after its neighbours' acknowledgment was confirmed, but it was not in there itself.
    if (packetNumber < this.#reportFrom) this.#reportFrom = packetNumber;
    if (packetNumber < this.#smallestUnreported) this.#smallestUnreported = packetNumber;
    if (received.size > before) this.#onNewRange();
    if (!ackEliciting) {
      this.#nonAckEliciting++;
      return;
    }
    if (this.#ackEliciting++ === 0) this.#waitingSince = now;
    if (
      this.#alwaysImmediate ||
      this.#ackEliciting > this.#ackElicitingThreshold ||
      this.#newRanges >= MAX_UNREPORTED_RANGES ||
      this.#isOutOfOrder(packetNumber)
    ) {
      this.#immediate = true;
    }
    if (packetNumber > this.#largestAckEliciting) this.#largestAckEliciting = packetNumber;
  }

  #onNewRange(): void {
    this.#newRanges++;
    if (this.#received.size <= MAX_ACK_RANGES) return;
    const floor = this.#received.removeLowest() + 1;
    this.#floor = floor;
    if (this.#reportFrom < floor) this.#reportFrom = floor;
    if (this.#smallestUnreported < floor) this.#smallestUnreported = floor;
  }

  /** Asked before `#largestAckEliciting` takes the packet into account. */
  #isOutOfOrder(packetNumber: number): boolean {
    const largest = this.#largestAckEliciting;
    const threshold = this.#reorderingThreshold;
    if (largest < 0 || threshold === 0) return false;
    if (threshold === 1) {
      // RFC 9000 §13.2.1: smaller than another ack-eliciting packet, or something is missing between the two.
      return packetNumber < largest || this.#smallestMissing(largest + 1, packetNumber) < packetNumber;
    }
    // draft-ietf-quic-ack-frequency §6.2: an ACK now would let the peer detect a loss …
    const reportedMissing = this.#largestReported - threshold;
    const unacked = packetNumber > largest ? packetNumber : largest;
    const from = this.#largestReported < 0 ? 0 : Math.max(reportedMissing + 1, 0);
    if (unacked - this.#smallestMissing(from, unacked) >= threshold) return true;
    // … or show it that it detected one wrongly.
    return this.#largestReported >= 0 && packetNumber <= reportedMissing;
  }

  /** The smallest number in [from, to) that was not received, `to` when there is none. Numbers below the floor count. */
  #smallestMissing(from: number, to: number): number {
    let missing = from > this.#floor ? from : this.#floor;
    const received = this.#received;
    const at = received.indexAtOrBelow(missing);
    if (at >= 0 && received.high(at) >= missing) missing = received.high(at) + 1;
    return missing < to ? missing : to;
  }

  /** IMMEDIATE_ACK arrived, or another reason not to wait (draft-ietf-quic-ack-frequency §5). */
  requestImmediateAck(): void {
    this.#immediate = true;
  }

  /** True when an ACK must leave now, in a packet of its own if need be. */
  ackDue(now: Millis): boolean {
    if (this.#ackEliciting === 0) return this.#immediate && this.#hasRanges;
    return this.#immediate || now >= this.#waitingSince + this.#maxAckDelayMs;
  }

  /** When {@link ackDue} becomes true by itself; undefined when nothing waits, or it is true already. */
  get ackDeadline(): Millis | undefined {
    if (this.#ackEliciting === 0 || this.#immediate) return undefined;
    return this.#waitingSince + this.#maxAckDelayMs;
  }

  /** True when a packet that is sent anyway should carry an ACK. */
  get hasAckToSend(): boolean {
    return (
      (this.#ackEliciting > 0 || this.#immediate || this.#nonAckEliciting > LAZY_ACK_THRESHOLD) &&
      this.#hasRanges
    );
  }

  get #hasRanges(): boolean {
    return this.#received.max >= this.#reportFrom;
  }

  /**
   * Writes ACK, or PATH_ACK when `pathId` is given, with the newest ranges first and as many as fit.
   *
   * ```text
   * type | [path id] | largest | delay | count of (gap, range) | first range | (gap | range)*     all varints
   * ```
   * RFC 9000 §19.3; PATH_ACK: draft-ietf-quic-multipath §4.1. Without ECN counts: this transport cannot read the bits.
   * @param ackDelayExponent - The one that we announced, 3 by default.
   * @returns The frame's Largest Acknowledged, for {@link onAckAcked} when the packet is acknowledged. Undefined when there
   *   is nothing to acknowledge, or not even one range fits: nothing was written.
   */
  writeAck(w: Writer, pathId: number | undefined, now: Millis, ackDelayExponent: number): number | undefined {
    if (!this.#hasRanges) return undefined;
    const received = this.#received;
    const reportFrom = this.#reportFrom;
    let index = received.size - 1;
    const largest = received.high(index);
    let smallest = Math.max(received.low(index), reportFrom);
    // RFC 9000 §13.2.5: since the largest arrived, in units of 2^exponent microseconds.
    const delay = Math.floor((Math.max(now - this.#largestAt, 0) * 1_000) / 2 ** ackDelayExponent);
    const size =
      2 +
      (pathId === undefined ? 0 : varintSize(pathId)) +
      varintSize(largest) +
      varintSize(delay) +
      varintSize(largest - smallest);
    if (size > w.room) return undefined;
    w.u8(pathId === undefined ? ACK : PATH_ACK);
    if (pathId !== undefined) w.varint(pathId);
    w.varint(largest);
    w.varint(delay);
    const countAt = w.pos;
    w.u8(0);
    w.varint(largest - smallest);
    let count = 0;
    while (--index >= 0) {
      const high = received.high(index);
      if (high < reportFrom) break;
      // RFC 9000 §19.3.1: gap and length are each one less than what they count.
      const gap = smallest - high - 2;
      const low = Math.max(received.low(index), reportFrom);
      if (varintSize(gap) + varintSize(high - low) > w.room) break;
      w.varint(gap);
      w.varint(high - low);
      smallest = low;
      count++;
    }
    // MAX_ACK_RANGES − 1 is below 64: a one-byte varint.
    w.bytes[countAt] = count;
    // What did not fit stays unreported: the confirmation of this ACK must not drop it.
    if (index < 0 || received.high(index) < reportFrom) this.#smallestUnreported = Infinity;
    this.#onAckWritten(largest);
    return largest;
  }

  #onAckWritten(largest: number): void {
    this.#largestReported = largest;
    this.#ackEliciting = 0;
    this.#nonAckEliciting = 0;
    this.#newRanges = 0;
    this.#immediate = false;
    this.#waitingSince = Infinity;
  }

  /** The peer acknowledged a packet with an ACK up to `largest`: what it reported need not be repeated (RFC 9000 §13.2.4). */
  onAckAcked(largest: number): void {
    const from = Math.min(largest + 1, this.#smallestUnreported);
    if (from > this.#reportFrom) this.#reportFrom = from;
  }
}
