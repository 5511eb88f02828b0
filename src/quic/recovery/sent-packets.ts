/**
 * Packets of one space that were sent and neither acknowledged nor declared lost (RFC 9002 §A.1).
 *
 * A ring indexed by packet number: insert, look-up and removal are O(1), an acknowledged range is one tight loop, and the
 * oldest packet is at hand for loss detection. Packets leave through exactly one of `take`, `takeRange`, `takeAll`.
 *
 * @module
 */
import type { Millis } from '../../base/clock.ts';
import type { SentFrame } from '../sent-frame.ts';

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
  #slots: (SentPacket | undefined)[] = new Array<SentPacket | undefined>(INITIAL_CAPACITY).fill(undefined);
  #mask = INITIAL_CAPACITY - 1;
  /** Number of the oldest tracked packet; equals `#next` when there is none. */
  #base = 0;
  /** One above the largest number ever sent. */
  #next = 0;
  #count = 0;
  #ackEliciting = 0;
  #bytesInFlight = 0;
  #lastAckElicitingSentAt: Millis = -Infinity;
  /** Packets that nobody has to acknowledge and that are not in flight. */
  #ackOnly = 0;
  /** No ack-only packet is tracked below this number. */
  #ackOnlyFrom = 0;
  /** Pushed out of the ring: lost, and reported as such by the next loss detection. */
  #evicted: SentPacket[] = [];
  /** First and last of each range of numbers that were left out, oldest first. */
  readonly #skips: number[] = [];

  /** Packets tracked. */
  get count(): number {
    return this.#count;
  }

  /** Tracked packets that the peer has to acknowledge. */
  get ackElicitingCount(): number {
    return this.#ackEliciting;
  }

  /** Bytes of tracked packets that count for congestion control. */
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

  /** The tracked packet with the smallest number. */
  get oldest(): SentPacket | undefined {
    return this.#slots[this.#base & this.#mask];
  }

  /** @throws {RangeError} when the number is not above all that were sent. */
  insert(packet: SentPacket): void {
    const number = packet.packetNumber;
    this.#advanceTo(number);
    if (number - this.#base > this.#mask) this.#makeRoom(number);
    this.#slots[number & this.#mask] = packet;
    this.#count++;
    if (packet.inFlight) this.#bytesInFlight += packet.size;
    if (packet.ackEliciting) {
      this.#ackEliciting++;
      this.#lastAckElicitingSentAt = packet.timeSent;
    } else if (!packet.inFlight) {
      if (++this.#ackOnly > MAX_TRACKED_ACK_ONLY) this.#forgetAckOnly();
    }
  }

  /** A packet was sent of which nothing needs to be remembered: it may be acknowledged, but nothing follows from it. */
  insertUntracked(packetNumber: number): void {
    this.#advanceTo(packetNumber);
  }

  #advanceTo(number: number): void {
    const next = this.#next;
    if (number !== next) {
      if (number < next) throw new RangeError(`packet number ${number} was used before (next is ${next})`);
      this.#skips.push(next, number - 1);
      if (this.#skips.length > 2 * MAX_TRACKED_SKIPS) this.#skips.splice(0, 2);
    }
    this.#next = number + 1;
    if (this.#count === 0) this.#base = number;
  }

  #makeRoom(number: number): void {
    while (this.#count > 0 && number - this.#base >= MAX_TRACKED_SPAN) {
      const oldest = this.#remove(this.#base)!;
      if (!oldest.ackEliciting && !oldest.inFlight) continue;
      this.#evicted.push(oldest);
      // Still outstanding for everybody else until loss detection hands it out.
      this.#count++;
      this.#addCounters(oldest);
      // Removal of the last packet in the ring leaves the base at the end.
      this.#skipHoles();
    }
    if (this.#inRing === 0) this.#base = number;
    let capacity = this.#mask + 1;
    while (number - this.#base >= capacity) capacity *= 2;
    if (capacity > this.#mask + 1) this.#resize(capacity);
  }

  get #inRing(): number {
    return this.#count - this.#evicted.length;
  }

  #resize(capacity: number): void {
    const slots = new Array<SentPacket | undefined>(capacity).fill(undefined);
    const mask = capacity - 1;
    // Everything tracked lies below the number that is being inserted.
    for (let number = this.#base; number < this.#next; number++) {
      const packet = this.#slots[number & this.#mask];
      if (packet !== undefined && packet.packetNumber === number) slots[number & mask] = packet;
    }
    this.#slots = slots;
    this.#mask = mask;
  }
}
