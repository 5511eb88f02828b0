/**
 * Which packets are lost, and whether the losses mean persistent congestion (RFC 9002 §6.1, §7.6).
 *
 * @module
 */
import type { Millis } from '../../base/clock.ts';
import { TIMER_GRANULARITY_MS, type RttEstimator } from './rtt.ts';
import type { SentPacket, SentPackets } from './sent-packets.ts';

/** kPacketThreshold, packets (RFC 9002 §6.1.1). */
export const PACKET_THRESHOLD = 3;
/** kTimeThreshold, in RTTs (RFC 9002 §6.1.2). */
export const TIME_THRESHOLD = 9 / 8;
/** kPersistentCongestionThreshold, in PTOs (RFC 9002 §7.6.1). */
export const PERSISTENT_CONGESTION_THRESHOLD = 3;

/** For so many PTOs a lost packet may still be acknowledged; noq `drain_lost_packets`, after msquic. */
export const SPURIOUS_LOSS_PTOS = 2;

/** How long a packet may stay unacknowledged after a later one was acknowledged, ms (RFC 9002 §6.1.2). */
export function lossDelay(rtt: RttEstimator): Millis {
  return Math.max(TIME_THRESHOLD * rtt.conservative(), TIMER_GRANULARITY_MS);
}

/**
 * Removes the lost packets from `sent` and appends them to `out`, ascending. All of them: MTU probes, path probes and
 * ack-only packets too, whose loss is no congestion signal. The others go on record in `sent.lost`.
 *
 * Both criteria of RFC 9002 §6.1 are monotonous in the packet number, so the search ends at the first packet that is not
 * lost: an ACK costs what it finds, not what is outstanding.
 * @param largestAcked - Of this space, −1 when nothing was acknowledged.
 * @returns When the oldest remaining packet that was sent before an acknowledged one will count as lost, absolute.
 */
export function detectLost(
  sent: SentPackets,
  largestAcked: number,
  rtt: RttEstimator,
  now: Millis,
  out: SentPacket[],
): Millis | undefined {
  if (sent.lost.count > 0) sent.lost.forgetOlderThan(SPURIOUS_LOSS_PTOS * rtt.ptoBase(), now);
  const before = out.length;
  const lossTime = takeLost(sent, largestAcked, rtt, now, out);
  for (let i = before; i < out.length; i++) {
    const packet = out[i]!;
    // Only these count as congestion, so only these can turn out not to have been any.
    if (packet.inFlight && !packet.isMtuProbe && !packet.isPathProbe) {
      sent.lost.add(packet.packetNumber, packet.timeSent);
    }
  }
  return lossTime;
}

function takeLost(
  sent: SentPackets,
  largestAcked: number,
  rtt: RttEstimator,
  now: Millis,
  out: SentPacket[],
): Millis | undefined {
  sent.takeEvicted(out);
  const delay = lossDelay(rtt);
  const threshold = largestAcked - PACKET_THRESHOLD;
  for (;;) {
    const packet = sent.oldest;
    // RFC 9002 §6.1: only what was sent before an acknowledged packet.
    if (packet === undefined || packet.packetNumber > largestAcked) return undefined;
    // The sum that is returned is the sum that is compared: with `now − timeSent >= delay` instead, rounding could arm a
    // timer that fires and finds nothing, for ever.
    const lostAt = packet.timeSent + delay;
    if (packet.packetNumber > threshold && lostAt > now) return lostAt;
    sent.take(packet.packetNumber);
    out.push(packet);
  }
}

/**
 * True when losses found by one acknowledgment establish persistent congestion (RFC 9002 §7.6.2): two ack-eliciting
 * packets, sent further apart than three PTOs and after the first RTT sample, and nothing between them acknowledged.
 * Looks at one space, as RFC 9002 §7.6.2 permits.
 * @param lost - As {@link detectLost} returned it, ascending.
 * @param sent - Tells numbers that were left out from numbers that were acknowledged.
 */
export function isPersistentCongestion(
  lost: readonly SentPacket[],
  sent: SentPackets,
  rtt: RttEstimator,
  maxAckDelayMs: Millis,
): boolean {
  // RFC 9002 §7.6.1: includes max_ack_delay in every space.
  const duration = PERSISTENT_CONGESTION_THRESHOLD * (rtt.ptoBase() + maxAckDelayMs);
  const first = lost[0];
  const last = lost[lost.length - 1];
  // Most bursts of loss are short; do not look at them one by one.
  if (first === undefined || last === undefined || last.timeSent - first.timeSent <= duration) return false;
  let start: Millis = Infinity;
  let previous = -1;
  for (const packet of lost) {
    if (previous >= 0 && !sent.wereSkipped(previous + 1, packet.packetNumber - 1)) start = Infinity;
    previous = packet.packetNumber;
    if (!packet.ackEliciting || packet.isMtuProbe || packet.isPathProbe) continue;
    if (start === Infinity) {
      if (packet.timeSent > rtt.firstSampleAt) start = packet.timeSent;
    } else if (packet.timeSent - start > duration) {
      return true;
    }
  }
  return false;
}
