/**
 * The obvious bookkeeping of sent packets: a map, and loss detection that looks at everything. For comparison with
 * `src/quic/recovery/sent-packets.ts` and `loss.ts`.
 *
 * @module
 */
import type { Millis } from '../../src/base/clock.ts';
import { lossDelay, PACKET_THRESHOLD } from '../../src/quic/recovery/loss.ts';
import type { RttEstimator } from '../../src/quic/recovery/rtt.ts';
import type { SentPacket } from '../../src/quic/recovery/sent-packets.ts';

export class NaiveSentPackets {
  readonly outstanding = new Map<number, SentPacket>();
  readonly everSent = new Set<number>();

  insert(packet: SentPacket): void {
    this.outstanding.set(packet.packetNumber, packet);
    this.everSent.add(packet.packetNumber);
  }

  hasUnsent(low: number, high: number): boolean {
    for (let number = low; number <= high; number++) if (!this.everSent.has(number)) return true;
    return false;
  }

  takeRange(low: number, high: number): number[] {
    const taken = this.numbers().filter((number) => number >= low && number <= high);
    for (const number of taken) this.outstanding.delete(number);
    return taken;
  }

  /** RFC 9002 §A.10, as written. */
  detectLost(largestAcked: number, rtt: RttEstimator, now: Millis): { lost: number[]; lossTime?: Millis } {
    const lost: number[] = [];
    let lossTime: Millis | undefined;
    for (const number of this.numbers()) {
      if (number > largestAcked) continue;
      const lostAt = this.outstanding.get(number)!.timeSent + lossDelay(rtt);
      if (lostAt <= now || largestAcked >= number + PACKET_THRESHOLD) lost.push(number);
      else lossTime = lossTime === undefined ? lostAt : Math.min(lossTime, lostAt);
    }
    for (const number of lost) this.outstanding.delete(number);
    return lossTime === undefined ? { lost } : { lost, lossTime };
  }

  numbers(): number[] {
    return [...this.outstanding.keys()].sort((a, b) => a - b);
  }

  bytesInFlight(): number {
    return [...this.outstanding.values()].reduce(
      (sum, packet) => sum + (packet.inFlight ? packet.size : 0),
      0,
    );
  }

  ackElicitingCount(): number {
    return [...this.outstanding.values()].filter((packet) => packet.ackEliciting).length;
  }
}
