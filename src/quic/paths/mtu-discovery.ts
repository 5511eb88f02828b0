/**
 * Finds the largest datagram that a path carries (RFC 8899 as RFC 9000 §14.3 uses it), and notices when it shrinks.
 *
 * The search is upstream's (noq `noq-proto/src/connection/mtud.rs`): binary, one probe in flight, and at the end the upper
 * bound itself. From 1200 to 1452 it sends 1326, 1389, 1420, 1452. Probes ride in 1-RTT packets as PING + PADDING; the
 * caller sends none before it knows the peer's max_udp_payload_size.
 *
 * @module
 */
import type { Millis } from '../../base/clock.ts';

/** From the end of a search to the next one, ms; upstream's. */
export const REPROBE_INTERVAL_MS = 600_000;
/** The same after a black hole, ms; upstream's. */
export const BLACK_HOLE_COOLDOWN_MS = 60_000;
/** Losses of one size until it counts as too large (RFC 8899 §5.1.2, MAX_PROBES). */
export const MAX_PROBES = 3;
/** The search ends when the next step would be smaller, bytes; upstream's. */
export const MINIMUM_STEP = 20;
/** Suspicious loss bursts that make a black hole. */
export const BLACK_HOLE_BURSTS = 3;

/** The part of the transport configuration that matters here. */
export interface MtuConfig {
  readonly initialMtu: number;
  readonly minMtu: number;
  readonly mtuUpperBound: number;
  readonly mtuDiscovery: boolean;
}

/** What of a sent probe matters here. Its packet fills the datagram. */
export interface ProbePacket {
  readonly packetNumber: number;
  readonly size: number;
}

/** MTU discovery of one path. All sizes are UDP payload bytes. */
export class MtuDiscovery {
  /** Largest datagram to send. */
  current: number;
  blackHolesDetected = 0;
  readonly #config: MtuConfig;
  #peerLimit = Infinity;

  #isSearching = false;
  /** When the next search starts; `Infinity` during one, and before {@link start}. */
  #nextSearchAt: Millis = Infinity;
  /** Known to pass. */
  #lower = 0;
  /** Not known to fail. */
  #upper = 0;
  #probed = 0;
  #isInFlight = false;
  /** The size was chosen, but no packet of it left. */
  #isCancelled = false;
  /** Losses of the present size. */
  #lostProbes = 0;

  readonly #blackHole: BlackHoleDetector;

  constructor(config: MtuConfig) {
    this.#config = config;
    this.current = config.initialMtu;
    this.#blackHole = new BlackHoleDetector(config.minMtu);
  }

  /**
   * When to call {@link start} again, absolute; `Infinity` for not at all. A search that runs needs no timer: its next probe
   * follows from the fate of the one before.
   */
  get nextProbeAt(): Millis {
    return this.#nextSearchAt;
  }

  /** True when {@link pollProbe} has something to send. */
  wantsProbe(now: Millis): boolean {
    return this.#isSearching ? !this.#isInFlight : now >= this.#nextSearchAt;
  }

  /**
   * Starts a search: the path is validated and the peer's limit known, or {@link nextProbeAt} has come. Does nothing during
   * a search, or when one is due later.
   */
  start(now: Millis): void {
    if (!this.#config.mtuDiscovery || this.#isSearching) return;
    if (this.#nextSearchAt !== Infinity && now < this.#nextSearchAt) return;
    this.#isSearching = true;
    this.#nextSearchAt = Infinity;
    this.#isInFlight = false;
    this.#isCancelled = false;
    this.#lostProbes = 0;
    // `current` counts as a probe that passed.
    this.#probed = this.current;
    this.#lower = this.current;
    this.#upper = Math.max(Math.min(this.#config.mtuUpperBound, this.#peerLimit), this.current);
  }

  /** The peer's transport parameter max_udp_payload_size (RFC 9000 §18.2). */
  onPeerMaxUdpPayloadSize(size: number): void {
    this.#peerLimit = size;
    if (this.current > size) this.current = size;
    if (this.#upper > size) this.#upper = Math.max(size, this.#lower);
  }

  /**
   * The size of the probe to send now. It counts as in flight from this call on: send it, with `isMtuProbe` set, and report
   * {@link onProbeAcked} or {@link onProbeLost}.
   */
  pollProbe(now: Millis): number | undefined {
    if (!this.#isSearching && now >= this.#nextSearchAt) this.start(now);
    if (!this.#isSearching || this.#isInFlight) return undefined;
    if (!this.#isCancelled && (this.#lostProbes === 0 || this.#lostProbes >= MAX_PROBES)) {
      const next = this.#nextSize(this.#lostProbes === 0);
      if (next === undefined) {
        this.#isSearching = false;
        this.#nextSearchAt = now + REPROBE_INTERVAL_MS;
        return undefined;
      }
      this.#lostProbes = 0;
      this.#probed = next;
    }
    this.#isInFlight = true;
    this.#isCancelled = false;
    return this.#probed;
  }

  #nextSize(passed: boolean): number | undefined {
    if (passed) this.#lower = this.#probed;
    else this.#upper = this.#probed - 1;
    const middle = (this.#lower + this.#upper) >> 1;
    if (Math.abs(middle - this.#probed) >= MINIMUM_STEP) return middle;
    // The binary search would stop just short of the upper bound, which is the likeliest answer of all.
    return this.#upper - this.#probed >= MINIMUM_STEP ? this.#upper : undefined;
  }

  /** A probe was acknowledged: its size passes. Returns true when {@link current} grew. */
  onProbeAcked(packet: ProbePacket): boolean {
    const { packetNumber, size } = packet;
    if (!this.#isPending(size)) {
      // Its search was ended by a black hole: it proves no more than any other packet.
      this.#blackHole.onAcked(packetNumber, size);
      return false;
    }
    this.#isInFlight = false;
    this.#lostProbes = 0;
    this.#blackHole.onProbeAcked(packetNumber, size);
    if (size <= this.current) return false;
    this.current = Math.min(size, this.#peerLimit);
    return true;
  }

  /** The probe was lost, which is no sign of congestion (RFC 9000 §14.4). */
  onProbeLost(packet: ProbePacket): void {
    if (!this.#isPending(packet.size)) return;
    this.#isInFlight = false;
    this.#lostProbes++;
  }

  /** The probe of the latest {@link pollProbe} was not sent after all. */
  cancelProbe(): void {
    this.#isInFlight = false;
    this.#isCancelled = true;
  }

  #isPending(size: number): boolean {
    return this.#isSearching && this.#isInFlight && size === this.#probed;
  }

  /** A 1-RTT packet that is no probe was acknowledged. */
  onNonProbeAcked(packetNumber: number, size: number): void {
    this.#blackHole.onAcked(packetNumber, size);
  }

  /** A 1-RTT packet that is no probe was lost. Ascending numbers; {@link detectBlackHole} follows after the last one. */
  onNonProbeLost(packetNumber: number, size: number): void {
    this.#blackHole.onLost(packetNumber, size);
  }

  /**
   * After a round of losses: true when the path seems to swallow large datagrams. {@link current} is the minimum then, and
   * a new search starts after {@link BLACK_HOLE_COOLDOWN_MS} (RFC 8899 §4.3).
   */
  detectBlackHole(now: Millis): boolean {
    if (!this.#blackHole.isDetected()) return false;
    this.blackHolesDetected++;
    this.current = Math.min(this.#config.minMtu, this.current);
    this.#isSearching = false;
    this.#isInFlight = false;
    if (this.#config.mtuDiscovery) this.#nextSearchAt = now + BLACK_HOLE_COOLDOWN_MS;
    return true;
  }
}

/**
 * Judges whether losses can be explained by an MTU that shrank (noq `BlackHoleDetector`).
 *
 * Neighbouring lost packets form a burst. It is suspicious when all its packets are larger than the minimum MTU and larger
 * than anything acknowledged that was sent after them: a smaller loss, or a later success of that size, has another cause.
 */
class BlackHoleDetector {
  readonly #minMtu: number;
  /** Smallest packet of each suspicious burst. */
  #bursts: number[] = [];
  /** Last number and smallest packet of the burst that is being collected; −1 for none. */
  #burstLast = -1;
  #burstSmallest = 0;
  /** Largest packet acknowledged since the latest suspicious burst, at least the minimum MTU; and its number. */
  #ackedSize: number;
  #ackedNumber = -1;

  constructor(minMtu: number) {
    this.#minMtu = minMtu;
    this.#ackedSize = minMtu;
  }

  onProbeAcked(packetNumber: number, size: number): void {
    // Larger than everything that was sent before, so nothing is suspicious any more.
    this.#bursts.length = 0;
    this.#ackedSize = size;
    this.#ackedNumber = packetNumber;
  }

  onAcked(packetNumber: number, size: number): void {
    if (size <= this.#ackedSize) return;
    this.#ackedSize = size;
    this.#ackedNumber = packetNumber;
    if (this.#bursts.length > 0) this.#bursts = this.#bursts.filter((smallest) => smallest > size);
  }

  onLost(packetNumber: number, size: number): void {
    if (this.#burstLast >= 0 && packetNumber === this.#burstLast + 1) {
      this.#burstSmallest = Math.min(this.#burstSmallest, size);
    } else {
      this.#endBurst();
      this.#burstSmallest = size;
    }
    this.#burstLast = packetNumber;
  }

  isDetected(): boolean {
    this.#endBurst();
    if (this.#bursts.length < BLACK_HOLE_BURSTS) return false;
    this.#bursts.length = 0;
    return true;
  }

  #endBurst(): void {
    const last = this.#burstLast;
    if (last < 0) return;
    this.#burstLast = -1;
    const smallest = this.#burstSmallest;
    if (smallest <= this.#minMtu) return;
    if (last < this.#ackedNumber && smallest <= this.#ackedSize) return;
    // What was acknowledged before this burst was sent proves nothing about the path since.
    if (last > this.#ackedNumber) this.#ackedSize = this.#minMtu;
    if (this.#bursts.length < BLACK_HOLE_BURSTS) this.#bursts.push(smallest);
  }
}
