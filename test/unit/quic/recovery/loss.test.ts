import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { detectLost, isPersistentCongestion } from '../../../../src/quic/recovery/loss.ts';
import { MAX_TRACKED_LOSSES } from '../../../../src/quic/recovery/lost-packets.ts';
import { RttEstimator } from '../../../../src/quic/recovery/rtt.ts';
import { SentPackets, type SentPacket } from '../../../../src/quic/recovery/sent-packets.ts';
import { ackOnlyPacket, sentPacket } from '../../../support/sent-packet.ts';

function rttOf(ms: number, at = 0): RttEstimator {
  const rtt = new RttEstimator(333);
  for (let i = 0; i < 60; i++) rtt.update(ms, 0, at);
  return rtt;
}

function send(times: readonly number[]): SentPackets {
  const sent = new SentPackets();
  times.forEach((at, number) => sent.insert(sentPacket(number, at)));
  return sent;
}

function detect(
  sent: SentPackets,
  largestAcked: number,
  rtt: RttEstimator,
  now: number,
): [number[], number | undefined] {
  const lost: SentPacket[] = [];
  const lossTime = detectLost(sent, largestAcked, rtt, now, lost);
  return [lost.map((packet) => packet.packetNumber), lossTime];
}

describe('detectLost', () => {
  test('three packets behind is lost (RFC 9002 §6.1.1)', () => {
    const sent = send([0, 0, 0, 0, 0, 0]);
    sent.take(4);
    expect(detect(sent, 4, rttOf(100), 1)).toEqual([[0, 1], 112.5]);
  });

  test('9/8 of the larger RTT after it was sent is lost (RFC 9002 §6.1.2)', () => {
    const rtt = rttOf(80);
    rtt.update(160, 0, 0);
    const sent = send([0, 10, 20]);
    sent.take(2);
    expect(detect(sent, 2, rtt, 179.9)).toEqual([[], 180]);
    expect(detect(sent, 2, rtt, 180)).toEqual([[0], 190]);
    expect(detect(sent, 2, rtt, 190)).toEqual([[1], undefined]);
  });

  test('a timer tick at least (kGranularity)', () => {
    const sent = send([0, 0]);
    sent.take(1);
    expect(detect(sent, 1, rttOf(0.1), 0.5)).toEqual([[], 1]);
  });

  test('nothing is lost before an acknowledgment, nor after the largest acknowledged', () => {
    const sent = send([0, 0, 0, 0]);
    expect(detect(sent, -1, rttOf(10), 1e6)).toEqual([[], undefined]);
    sent.take(0);
    expect(detect(sent, 0, rttOf(10), 1e6)).toEqual([[], undefined]);
  });

  test('the time that it returns is late enough, whatever the rounding', () => {
    const ms = fc.double({ min: 0, max: 1e9, noNaN: true });
    fc.assert(
      fc.property(ms, fc.double({ min: 0.01, max: 3_000, noNaN: true }), (at, rttMs) => {
        const sent = send([at, at]);
        sent.take(1);
        const rtt = rttOf(rttMs);
        const lossTime = detect(sent, 1, rtt, at)[1];
        expect(detect(sent, 1, rtt, lossTime!)).toEqual([[0], undefined]);
      }),
    );
  });
});

describe('isPersistentCongestion', () => {
  // PTO including max_ack_delay of 2 s, as in RFC 9002 §7.6.3: 3 × 2 = 6.
  const maxAckDelay = 999;
  function example(): { sent: SentPackets; rtt: RttEstimator } {
    const rtt = rttOf(1_000, 1_200);
    return { sent: new SentPackets(), rtt };
  }
  const times = [1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 8_000, 12_000];

  test('the example of RFC 9002 §7.6.3', () => {
    const { sent, rtt } = example();
    rtt.firstSampleAt = 999;
    sent.insert(sentPacket(1, 0));
    times.forEach((at, i) => sent.insert(sentPacket(i + 2, at)));
    sent.take(1);
    sent.take(9);
    const lost: SentPacket[] = [];
    detectLost(sent, 9, rtt, 12_200, lost);
    expect(lost.map((p) => p.packetNumber)).toEqual([2, 3, 4, 5, 6, 7, 8]);
    expect(rtt.ptoBase() + maxAckDelay).toBeCloseTo(2_000);
    expect(isPersistentCongestion(lost, sent, rtt, maxAckDelay)).toBe(true);
  });

  function lostOf(packets: readonly SentPacket[], acked: readonly number[]): [SentPacket[], SentPackets] {
    const sent = new SentPackets();
    for (const packet of packets) sent.insert(packet);
    for (const number of acked) sent.take(number);
    const lost: SentPacket[] = [];
    detectLost(sent, packets.at(-1)!.packetNumber, rttOf(1), 1e9, lost);
    return [lost, sent];
  }
  function verdict(packets: readonly SentPacket[], acked: readonly number[], firstSampleAt = -1): boolean {
    const [lost, sent] = lostOf(packets, acked);
    const rtt = rttOf(1_000);
    rtt.firstSampleAt = firstSampleAt;
    return isPersistentCongestion(lost, sent, rtt, maxAckDelay);
  }
  const spread = [0, 1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 7_000, 8_000];
  const packets = spread.map((at, number) => sentPacket(number, at));

  test('needs more than three PTOs', () => {
    expect(verdict(packets.slice(0, 8), [7])).toBe(false); // 6 s is not more
    expect(verdict(packets, [8])).toBe(true);
  });

  test('an acknowledged packet between ends the period (RFC 9002 §7.6.2)', () => {
    expect(verdict(packets, [4, 8])).toBe(false);
    expect(verdict(packets, [0, 8])).toBe(false);
  });

  test('a number that was left out does not', () => {
    expect(
      verdict(
        spread.map((at, i) => sentPacket(i < 4 ? i : i + 1, at)),
        [9],
      ),
    ).toBe(true);
  });

  test('packets sent before the first RTT sample do not count (RFC 9002 §7.6.2)', () => {
    expect(verdict(packets, [8], 0)).toBe(false);
    expect(verdict(packets, [8], Infinity)).toBe(false);
  });

  test('the two packets must be ack-eliciting (RFC 9002 §7.6.2)', () => {
    expect(verdict([ackOnlyPacket(0, 0), ...packets.slice(1)], [8])).toBe(false);
  });

  test('nothing lost, nothing persistent', () => {
    expect(isPersistentCongestion([], new SentPackets(), rttOf(10), 25)).toBe(false);
  });
});

describe('late acknowledgments of lost packets', () => {
  function lossOf(count: number): SentPackets {
    const sent = send(new Array<number>(count + 3).fill(0));
    sent.takeRange(count + 2, count + 2, []);
    detect(sent, count + 2, rttOf(100), 1);
    expect(sent.lost.count).toBe(count);
    return sent;
  }

  test('all of them: the loss was a mistake', () => {
    const sent = lossOf(3);
    const out: SentPacket[] = [];
    sent.takeRange(0, 1, out);
    expect(sent.lost.takeVerdict()).toBe(false);
    sent.takeRange(0, 4, out);
    expect(sent.lost.takeVerdict()).toBe(true);
    expect(sent.lost.takeVerdict()).toBe(false);
    // They were released when they were lost; only 3 and 4 are new.
    expect(out.map((packet) => packet.packetNumber)).toEqual([3, 4]);
    expect(sent.lost.spuriousCount).toBe(3);
    expect(sent.bytesInFlight).toBe(0);
  });

  test('some of them: it was none, also once the others are forgotten', () => {
    const sent = lossOf(3);
    sent.takeRange(1, 2, []);
    expect(sent.lost.takeVerdict()).toBe(false);
    sent.insert(sentPacket(6, 150));
    for (let i = 7; i < 10; i++) sent.insert(sentPacket(i, 210));
    sent.takeRange(9, 9, []);
    detect(sent, 9, rttOf(100), 230);
    // 0 was sent more than two PTOs ago; 3, 4 and 6 are new losses.
    expect(sent.lost.count).toBe(3);
    sent.takeRange(3, 6, []);
    expect(sent.lost.takeVerdict()).toBe(true);
  });

  test('a forgotten loss beside an open one speaks against a mistake', () => {
    const sent = lossOf(2);
    sent.insert(sentPacket(5, 150));
    for (let i = 6; i < 9; i++) sent.insert(sentPacket(i, 151));
    sent.takeRange(2, 3, []);
    sent.takeRange(8, 8, []);
    detect(sent, 8, rttOf(100), 190);
    expect(sent.lost.count).toBe(3);
    sent.lost.forgetOlderThan(100, 240);
    expect(sent.lost.count).toBe(1);
    sent.takeRange(5, 5, []);
    expect(sent.lost.takeVerdict()).toBe(false);
  });

  test('probes and ack-only packets are not recorded: their loss had no consequence', () => {
    const sent = new SentPackets();
    sent.insert(sentPacket(0, 0, { isMtuProbe: true }));
    sent.insert(sentPacket(1, 0, { isPathProbe: true }));
    sent.insert(ackOnlyPacket(2, 0));
    for (let i = 3; i < 7; i++) sent.insert(sentPacket(i, 0));
    sent.takeRange(6, 6, []);
    expect(detect(sent, 6, rttOf(100), 1)[0]).toEqual([0, 1, 2, 3]);
    expect(sent.lost.count).toBe(1);
  });

  test('the record is bounded, and then no verdict is given', () => {
    const count = MAX_TRACKED_LOSSES + 1;
    const sent = send(new Array<number>(count + 3).fill(0));
    sent.takeRange(count + 2, count + 2, []);
    detect(sent, count + 2, rttOf(100), 1);
    expect(sent.lost.count).toBe(MAX_TRACKED_LOSSES);
    sent.takeRange(0, count + 1, []);
    expect(sent.lost.count).toBe(0);
    expect(sent.lost.takeVerdict()).toBe(false);
  });
});
