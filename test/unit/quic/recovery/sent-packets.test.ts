import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { detectLost } from '../../../../src/quic/recovery/loss.ts';
import { RttEstimator } from '../../../../src/quic/recovery/rtt.ts';
import {
  MAX_TRACKED_ACK_ONLY,
  MAX_TRACKED_SPAN,
  SentPackets,
  type SentPacket,
} from '../../../../src/quic/recovery/sent-packets.ts';
import { NaiveSentPackets } from '../../../support/naive-sent-packets.ts';
import { ackOnlyPacket, sentPacket } from '../../../support/sent-packet.ts';

function numbers(packets: readonly SentPacket[]): number[] {
  return packets.map((packet) => packet.packetNumber);
}

function outstanding(sent: SentPackets): number[] {
  const all: number[] = [];
  sent.forEach((packet) => void all.push(packet.packetNumber));
  return all;
}

describe('SentPackets', () => {
  test('counts what is outstanding', () => {
    const sent = new SentPackets();
    expect([sent.count, sent.lastAckElicitingSentAt, sent.oldest]).toEqual([0, -Infinity, undefined]);
    sent.insert(sentPacket(0, 10));
    sent.insert(ackOnlyPacket(1, 11));
    sent.insert(sentPacket(2, 12, { size: 500, ackEliciting: false })); // padded
    expect([sent.count, sent.ackElicitingCount, sent.bytesInFlight]).toEqual([3, 1, 1700]);
    expect([sent.lastAckElicitingSentAt, sent.next, sent.oldest?.packetNumber]).toEqual([10, 3, 0]);
    expect(sent.take(0)?.packetNumber).toBe(0);
    expect(sent.take(0)).toBeUndefined();
    expect([sent.count, sent.ackElicitingCount, sent.bytesInFlight]).toEqual([2, 0, 500]);
    expect([sent.lastAckElicitingSentAt, sent.oldest?.packetNumber]).toEqual([10, 1]);
  });

  test('numbers only go up', () => {
    const sent = new SentPackets();
    sent.insert(sentPacket(4, 0));
    expect(() => sent.insert(sentPacket(4, 0))).toThrow(RangeError);
    expect(() => sent.insertUntracked(3)).toThrow(RangeError);
  });

  test('an acknowledgment of what was never sent is refused whole (RFC 9000 §13.1)', () => {
    const sent = new SentPackets();
    for (const number of [0, 1, 2, 4, 5, 9]) sent.insert(sentPacket(number, 0));
    sent.insertUntracked(10);
    const out: SentPacket[] = [];
    for (const [low, high] of [
      [3, 3],
      [2, 4],
      [6, 7],
      [0, 10],
      [9, 11],
      [11, 11],
    ] as const) {
      expect(sent.takeRange(low, high, out)).toBe(false);
    }
    expect(out).toEqual([]);
    expect(sent.takeRange(9, 10, out)).toBe(true);
    expect(sent.takeRange(0, 2, out)).toBe(true);
    expect(numbers(out)).toEqual([9, 0, 1, 2]);
    // Again: legal, and nothing comes of it.
    expect(sent.takeRange(0, 2, out)).toBe(true);
    expect(out).toHaveLength(4);
    expect([sent.isUnsent(3), sent.isUnsent(4), sent.isUnsent(11)]).toEqual([true, false, true]);
    expect([sent.wereSkipped(6, 8), sent.wereSkipped(5, 8), sent.wereSkipped(7, 6)]).toEqual([
      true,
      false,
      true,
    ]);
  });

  test('the ring grows with what is in flight and shrinks when idle', () => {
    const sent = new SentPackets();
    for (let i = 0; i < 5_000; i++) sent.insert(sentPacket(i, i));
    const out: SentPacket[] = [];
    expect(sent.takeRange(10, 4_999, out)).toBe(true);
    expect(sent.oldest?.packetNumber).toBe(0);
    expect(sent.takeRange(0, 9, out)).toBe(true);
    expect(out).toHaveLength(5_000);
    expect([sent.count, sent.bytesInFlight, sent.ackElicitingCount]).toEqual([0, 0, 0]);
    sent.insert(sentPacket(5_000, 0));
    expect(numbers([sent.oldest!])).toEqual([5_000]);
  });

  test('untracked numbers do not disturb the ring', () => {
    const sent = new SentPackets();
    sent.insert(sentPacket(0, 0));
    for (let i = 1; i < 100; i++) sent.insertUntracked(i);
    for (let i = 1; i < 100; i++) expect(sent.take(i)).toBeUndefined();
    sent.insert(sentPacket(100, 0));
    expect(outstanding(sent)).toEqual([0, 100]);
  });

  test('ack-only packets are forgotten, oldest first, beyond a limit', () => {
    const sent = new SentPackets();
    sent.insert(sentPacket(0, 0));
    for (let i = 1; i <= 3 * MAX_TRACKED_ACK_ONLY; i++) sent.insert(ackOnlyPacket(i, 0));
    expect(sent.count).toBe(MAX_TRACKED_ACK_ONLY + 1);
    expect(sent.get(0)).toBeDefined();
    expect(sent.get(2 * MAX_TRACKED_ACK_ONLY)).toBeUndefined();
    expect(sent.get(2 * MAX_TRACKED_ACK_ONLY + 1)).toBeDefined();
  });

  test('a peer that never acknowledges cannot make the ring grow for ever', () => {
    const sent = new SentPackets();
    sent.insert(sentPacket(0, 0));
    sent.insert(sentPacket(1, 0));
    for (let i = 2; i < MAX_TRACKED_SPAN; i++) sent.insert(ackOnlyPacket(i, 1));
    expect(sent.oldest?.packetNumber).toBe(0);
    sent.insert(sentPacket(MAX_TRACKED_SPAN, 2));
    sent.insert(sentPacket(MAX_TRACKED_SPAN + 1, 2));
    // Both old ones are out of the ring, but outstanding: still in flight, still to be acknowledged …
    expect(sent.oldest!.packetNumber).toBeGreaterThan(1);
    expect([sent.ackElicitingCount, sent.bytesInFlight]).toEqual([4, 4_800]);
    expect(sent.get(0)?.packetNumber).toBe(0);
    const out: SentPacket[] = [];
    expect(sent.takeRange(0, 0, out)).toBe(true);
    expect(numbers(out)).toEqual([0]);
    // … or lost at the next occasion.
    out.length = 0;
    detectLost(sent, -1, new RttEstimator(333), 3, out);
    expect(numbers(out)).toEqual([1]);
    expect([sent.ackElicitingCount, sent.bytesInFlight]).toEqual([2, 2_400]);
  });

  test('a leap of the numbers pushes everything out, and nothing is lost from the books', () => {
    const sent = new SentPackets();
    for (let i = 0; i < 4; i++) sent.insert(sentPacket(i, 0));
    sent.insert(sentPacket(2 ** 40, 1));
    expect([sent.count, sent.bytesInFlight, outstanding(sent)]).toEqual([5, 6_000, [0, 1, 2, 3, 2 ** 40]]);
    expect(sent.take(1)?.packetNumber).toBe(1);
    expect([sent.take(1), sent.take(9), sent.get(9)]).toEqual([undefined, undefined, undefined]);
    const out: SentPacket[] = [];
    expect(sent.takeRange(2, 3, out)).toBe(true);
    sent.takeAll(out);
    expect(numbers(out)).toEqual([2, 3, 0, 2 ** 40]);
    expect([sent.count, sent.bytesInFlight, sent.ackElicitingCount]).toEqual([0, 0, 0]);
  });

  test('takeAll empties it', () => {
    const sent = new SentPackets();
    for (const number of [3, 4, 7]) sent.insert(sentPacket(number, 0));
    const out: SentPacket[] = [];
    sent.takeAll(out);
    expect(numbers(out)).toEqual([3, 4, 7]);
    expect([sent.count, sent.bytesInFlight, sent.next]).toEqual([0, 0, 8]);
  });

  test('forEach stops when told', () => {
    const sent = new SentPackets();
    for (let i = 0; i < 5; i++) sent.insert(sentPacket(i, 0));
    const seen: number[] = [];
    sent.forEach((packet) => seen.push(packet.packetNumber) < 2);
    expect(seen).toEqual([0, 1]);
  });
});

describe('SentPackets and loss detection, against the naive twin', () => {
  const step = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        do: fc.constant('send' as const),
        count: fc.integer({ min: 1, max: 12 }),
        skip: fc.oneof({ weight: 8, arbitrary: fc.constant(0) }, fc.integer({ min: 1, max: 3 })),
        kind: fc.constantFrom('data', 'data', 'data', 'ack', 'padded', 'probe'),
      }),
    },
    {
      weight: 5,
      arbitrary: fc.record({ do: fc.constant('ack' as const), back: fc.nat(40), length: fc.nat(15) }),
    },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.nat(60) }) },
  );

  test('every packet ends exactly once: acknowledged, lost or outstanding', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const sent = new SentPackets();
        const twin = new NaiveSentPackets();
        const rtt = new RttEstimator(40);
        const fate = new Map<number, 'acked' | 'lost'>();
        let now = 0;
        let next = 0;
        let largestAcked = -1;
        const settle = (packets: readonly SentPacket[], as: 'acked' | 'lost'): void => {
          for (const { packetNumber } of packets) {
            expect(fate.has(packetNumber)).toBe(false);
            fate.set(packetNumber, as);
          }
        };
        const detect = (): void => {
          const lost: SentPacket[] = [];
          const lossTime = detectLost(sent, largestAcked, rtt, now, lost);
          const expected = twin.detectLost(largestAcked, rtt, now);
          expect(numbers(lost)).toEqual(expected.lost);
          expect(lossTime).toBe(expected.lossTime);
          settle(lost, 'lost');
        };
        for (const op of steps) {
          if (op.do === 'send') {
            for (let i = 0; i < op.count; i++) {
              const packet =
                op.kind === 'ack'
                  ? ackOnlyPacket(next, now)
                  : sentPacket(next, now, {
                      ackEliciting: op.kind !== 'padded',
                      isMtuProbe: op.kind === 'probe',
                    });
              sent.insert(packet);
              twin.insert(packet);
              next++;
            }
            next += op.skip;
          } else if (op.do === 'ack') {
            const high = next - 1 - op.back;
            const low = Math.max(0, high - op.length);
            const out: SentPacket[] = [];
            if (high < 0 || twin.hasUnsent(low, high)) {
              if (high >= 0) expect(sent.takeRange(low, high, out)).toBe(false);
              continue;
            }
            expect(sent.takeRange(low, high, out)).toBe(true);
            expect(numbers(out)).toEqual(twin.takeRange(low, high));
            settle(out, 'acked');
            largestAcked = Math.max(largestAcked, high);
            if (out.at(-1)?.packetNumber === high) rtt.update(now - out.at(-1)!.timeSent, 0, now);
            detect();
          } else {
            now += op.ms;
            detect();
          }
          expect(outstanding(sent)).toEqual(twin.numbers());
          expect([sent.count, sent.bytesInFlight, sent.ackElicitingCount]).toEqual([
            twin.outstanding.size,
            twin.bytesInFlight(),
            twin.ackElicitingCount(),
          ]);
          expect(sent.oldest?.packetNumber).toBe(twin.numbers()[0]);
          expect(fate.size + sent.count).toBe(twin.everSent.size);
        }
      }),
      { numRuns: 300 },
    );
  });
});
