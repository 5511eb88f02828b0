/**
 * Packets of one space that were sent and neither acknowledged nor declared lost (RFC 9002 §A.1).
 *
 * A ring indexed by packet number: insert, look-up and removal are O(1), an acknowledged range is one tight loop, and the
 * oldest packet is at hand for loss detection. A packet leaves exactly once.
 *
 * @module
 */
import type { Millis } from '../../base/clock.ts';
import type { SentFrame } from '../sent-frame.ts';
import { LostPackets } from './lost-packets.ts';

/**
 * Distance between the oldest and the newest tracked number. Only a peer that stops acknowledging while it makes us send
 * gets there (64 Ki packets are six times our send window); 512 KiB of ring is what it can cost us.
 */
export const MAX_TRACKED_SPAN = 65_536;
/**
 * Packets kept that nobody has to acknowledge (they carry only ACK and PADDING). A receiver of bulk data sends thousands,
 * and they are of no use beyond pruning acknowledgments; noq keeps 1,000.
 */
export const MAX_TRACKED_ACK_ONLY = 1_024;
/** Ranges of left-out numbers remembered. Gaps grow exponentially rare, so 64 outlast any connection. */
export const MAX_TRACKED_SKIPS = 64;

const INITIAL_CAPACITY = 16;
/** A ring above this is given back when it runs empty: an idle connection must not hold the memory of its busiest moment. */
const SHRINK_ABOVE = 1_024;

/** What is known about a packet in flight. Create all with the same field order. */
export interface SentPacket {
  packetNumber: number;
  timeSent: Millis;
  /** Bytes on the wire, without UDP and IP headers. */
  size: number;
  ackEliciting: boolean;
  /** Counts towards bytes in flight: ack-eliciting or padded (RFC 9002 §2). */
  inFlight: boolean;
  /** Its loss says nothing about congestion (RFC 9000 §14.4). */
  isMtuProbe: boolean;
  /** Sent off the path whose numbers it uses: its loss and timing say nothing about that path. */
  isPathProbe: boolean;
  /** What to do on acknowledgment or loss, in the order of the packet. */
  frames: SentFrame[];
}

/** The unacknowledged packets of one space. */
export class SentPackets {
  /** Packets declared lost a short while ago. */
  readonly lost = new LostPackets();
  #slots: (SentPacket | undefined)[] = emptySlots(INITIAL_CAPACITY);
  #mask = INITIAL_CAPACITY - 1;
  /** Number of the oldest packet in the ring; equals `#next` when there is none. */
  #base = 0;
  /** One above the largest number ever sent. */
  #next = 0;
  /** Packets in the ring. */
  #count = 0;
  #ackElicitingCount = 0;
  #bytesInFlight = 0;
  #lastAckElicitingSentAt: Millis = -Infinity;
  /** Packets in the ring that are neither ack-eliciting nor in flight. */
  #ackOnly = 0;
  /** No such packet is below this number. */
  #ackOnlyFrom = 0;
  /** Pushed out of the ring, oldest first: still outstanding until loss detection hands them out. */
  #evicted: SentPacket[] = [];
  /** First and last number of each range that was left out, oldest first. */
  readonly #skips: number[] = [];

  /** Packets that are outstanding. */
  get count(): number {
    return this.#count + this.#evicted.length;
  }

  /** Outstanding packets that the peer has to acknowledge. */
  get ackElicitingCount(): number {
    return this.#ackElicitingCount;
  }

  /** Bytes of outstanding packets that count for congestion control. */
  get bytesInFlight(): number {
    return this.#bytesInFlight;
  }

  /** When the newest ack-eliciting packet was sent: base of the PTO (RFC 9002 §6.2.1). `-Infinity` before the first. */
  get lastAckElicitingSentAt(): Millis {
    return this.#lastAckElicitingSentAt;
  }

  /** One above the largest number that was sent. */
  get next(): number {
    return this.#next;
  }

  /** The packet with the smallest number among those that {@link takeEvicted} would not return. */
  get oldest(): SentPacket | undefined {
    return this.#count === 0 ? undefined : this.#slots[this.#base & this.#mask];
  }

  /**
   * Adds the packet that was just sent. Numbers between the last one and this one count as left out.
   * @throws {RangeError} when the number is not above all that were sent.
   */
  insert(packet: SentPacket): void {
    const number = packet.packetNumber;
    if (number === this.#next) this.#next = number + 1;
    else this.#skipTo(number);
    if (this.#count === 0) this.#base = number;
    else if (number - this.#base > this.#mask) this.#makeRoom(number);
    this.#slots[number & this.#mask] = packet;
    this.#count++;
    if (packet.inFlight) this.#bytesInFlight += packet.size;
    if (packet.ackEliciting) {
      this.#ackElicitingCount++;
      this.#lastAckElicitingSentAt = packet.timeSent;
    } else if (!packet.inFlight && ++this.#ackOnly > MAX_TRACKED_ACK_ONLY) {
      this.#forgetOldestAckOnly();
    }
  }

  /** A packet was sent about which nothing needs to be remembered: its acknowledgment is legal and means nothing. */
  insertUntracked(packetNumber: number): void {
    if (packetNumber === this.#next) this.#next = packetNumber + 1;
    else this.#skipTo(packetNumber);
    if (this.#count === 0) this.#base = this.#next;
    else if (packetNumber - this.#base > this.#mask) this.#makeRoom(packetNumber);
  }

  /** The packet if it is outstanding. */
  get(packetNumber: number): SentPacket | undefined {
    if (packetNumber >= this.#next) return undefined;
    if (packetNumber >= this.#base) return this.#slots[packetNumber & this.#mask];
    return this.#evicted.find((packet) => packet.packetNumber === packetNumber);
  }

  /** Removes a packet and returns it; undefined when it is not outstanding (any more). */
  take(packetNumber: number): SentPacket | undefined {
    if (packetNumber >= this.#next) return undefined;
    if (packetNumber < this.#base) {
      const at = this.#evicted.findIndex((packet) => packet.packetNumber === packetNumber);
      if (at < 0) return undefined;
      const evicted = this.#evicted.splice(at, 1)[0]!;
      this.#uncount(evicted);
      return evicted;
    }
    const slot = packetNumber & this.#mask;
    const packet = this.#slots[slot];
    if (packet === undefined) return undefined;
    this.#slots[slot] = undefined;
    this.#count--;
    this.#uncount(packet);
    if (packetNumber === this.#base) this.#advanceBase();
    return packet;
  }

  /**
   * The peer acknowledged `low` to `high`, both included: removes what is outstanding of it and appends it to `out`,
   * ascending. Those that were declared lost go on record in {@link lost}. The work is bounded by the numbers in the ring.
   * @returns False, and nothing is taken, when the range holds a number that was never sent (RFC 9000 §13.1: the peer
   *   commits PROTOCOL_VIOLATION).
   */
  takeRange(low: number, high: number, out: SentPacket[]): boolean {
    if (this.hasUnsent(low, high)) return false;
    this.lost.onAcked(low, high);
    this.#takeRange(low, high, out);
    return true;
  }

  #takeRange(low: number, high: number, out: SentPacket[]): void {
    if (this.#evicted.length > 0 && low < this.#base) this.#takeEvictedRange(low, high, out);
    const slots = this.#slots;
    const mask = this.#mask;
    const base = this.#base;
    const before = this.#count;
    const end = high < this.#next ? high : this.#next - 1;
    for (let number = low > base ? low : base; number <= end; number++) {
      const packet = slots[number & mask];
      if (packet === undefined) continue;
      slots[number & mask] = undefined;
      this.#count--;
      this.#uncount(packet);
      out.push(packet);
    }
    if (low <= base && this.#count < before) this.#advanceBase();
  }

  /** Removes all packets that were pushed out of the ring and appends them to `out`, ascending: they count as lost. */
  takeEvicted(out: SentPacket[]): void {
    if (this.#evicted.length > 0) this.#takeEvictedRange(0, Infinity, out);
  }

  /** Removes everything and appends it to `out`, ascending: the keys or the path are gone (RFC 9002 §6.4). */
  takeAll(out: SentPacket[]): void {
    this.takeEvicted(out);
    this.#takeRange(this.#base, this.#next, out);
  }

  /** Calls `visit` for each outstanding packet, oldest first, until it returns false. Not for the packet path. */
  forEach(visit: (packet: SentPacket) => boolean | void): void {
    for (const packet of this.#evicted) if (visit(packet) === false) return;
    for (let number = this.#base; number < this.#next; number++) {
      const packet = this.#slots[number & this.#mask];
      if (packet !== undefined && visit(packet) === false) return;
    }
  }

  /** True for a number that was never sent. */
  isUnsent(packetNumber: number): boolean {
    return this.hasUnsent(packetNumber, packetNumber);
  }

  /** True when a number from `low` to `high`, both included, was never sent. */
  hasUnsent(low: number, high: number): boolean {
    if (high >= this.#next) return true;
    const skips = this.#skips;
    // Newest first: acknowledged ranges are near the end.
    for (let i = skips.length - 2; i >= 0; i -= 2) {
      if (skips[i + 1]! < low) return false;
      if (skips[i]! <= high) return true;
    }
    return false;
  }

  /** True when all numbers from `low` to `high`, both included, were left out; also for an empty range. */
  wereSkipped(low: number, high: number): boolean {
    if (low > high) return true;
    const skips = this.#skips;
    for (let i = skips.length - 2; i >= 0; i -= 2) {
      if (skips[i]! <= low) return skips[i + 1]! >= high;
    }
    return false;
  }

  #skipTo(number: number): void {
    const next = this.#next;
    if (number < next) throw new RangeError(`packet number ${number} was used before, next is ${next}`);
    const skips = this.#skips;
    skips.push(next, number - 1);
    if (skips.length > 2 * MAX_TRACKED_SKIPS) skips.splice(0, 2);
    this.#next = number + 1;
  }

  #uncount(packet: SentPacket): void {
    if (packet.inFlight) this.#bytesInFlight -= packet.size;
    if (packet.ackEliciting) this.#ackElicitingCount--;
    else if (!packet.inFlight) this.#ackOnly--;
  }

  /** Moves the base up to the oldest packet in the ring. Each number is passed once. */
  #advanceBase(): void {
    if (this.#count === 0) {
      this.#base = this.#next;
      if (this.#mask >= SHRINK_ABOVE) {
        this.#slots = emptySlots(INITIAL_CAPACITY);
        this.#mask = INITIAL_CAPACITY - 1;
      }
      return;
    }
    const slots = this.#slots;
    const mask = this.#mask;
    let base = this.#base;
    while (slots[base & mask] === undefined) base++;
    this.#base = base;
  }

  /** Grows the ring so that `number` has a slot, or pushes the oldest packets out when it may not grow. */
  #makeRoom(number: number): void {
    while (this.#count > 0 && number - this.#base >= MAX_TRACKED_SPAN) {
      const slot = this.#base & this.#mask;
      const oldest = this.#slots[slot]!;
      this.#slots[slot] = undefined;
      this.#count--;
      // Nothing depends on the fate of an ack-only packet; the others are lost, but only loss detection says so.
      if (oldest.ackEliciting || oldest.inFlight) this.#evicted.push(oldest);
      else this.#uncount(oldest);
      this.#advanceBase();
    }
    if (this.#count === 0) this.#base = number;
    let capacity = this.#mask + 1;
    while (number - this.#base >= capacity) capacity *= 2;
    if (capacity === this.#mask + 1) return;
    const slots = emptySlots(capacity);
    // Left-out numbers may lie beyond the old ring's end.
    const end = Math.min(number, this.#base + this.#mask + 1);
    for (let n = this.#base; n < end; n++) slots[n & (capacity - 1)] = this.#slots[n & this.#mask];
    this.#slots = slots;
    this.#mask = capacity - 1;
  }

  /** Drops the oldest ack-only packet. Each number is passed once over all calls. */
  #forgetOldestAckOnly(): void {
    let number = this.#ackOnlyFrom > this.#base ? this.#ackOnlyFrom : this.#base;
    for (; number < this.#next; number++) {
      const packet = this.#slots[number & this.#mask];
      if (packet === undefined || packet.ackEliciting || packet.inFlight) continue;
      this.#ackOnlyFrom = number + 1;
      this.take(number);
      return;
    }
  }

  #takeEvictedRange(low: number, high: number, out: SentPacket[]): void {
    const kept: SentPacket[] = [];
    for (const packet of this.#evicted) {
      if (packet.packetNumber < low || packet.packetNumber > high) {
        kept.push(packet);
        continue;
      }
      this.#uncount(packet);
      out.push(packet);
    }
    this.#evicted = kept;
  }
}

function emptySlots(capacity: number): (SentPacket | undefined)[] {
  return new Array<SentPacket | undefined>(capacity).fill(undefined);
}
