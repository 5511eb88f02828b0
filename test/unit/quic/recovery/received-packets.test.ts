import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Reader, Writer, toHex } from '../../../../src/base/bytes.ts';
import {
  LAZY_ACK_THRESHOLD,
  MAX_ACK_RANGES,
  MAX_UNREPORTED_RANGES,
  ReceivedPackets,
} from '../../../../src/quic/recovery/received-packets.ts';

function oneRtt(): ReceivedPackets {
  return new ReceivedPackets({ immediate: false, maxAckDelayMs: 25 });
}

/** Feeds ack-eliciting packets at time 0. */
function feed(received: ReceivedPackets, ...numbers: number[]): void {
  for (const number of numbers) received.onReceived(number, true, 0);
}

interface DecodedAck {
  path: number | undefined;
  delay: number;
  /** `[smallest, largest]`, newest first. */
  ranges: [number, number][];
}

function decode(bytes: Uint8Array): DecodedAck {
  const r = new Reader(bytes);
  const path = r.varint() === 0x3e ? r.varint() : undefined;
  let high = r.varint();
  const delay = r.varint();
  const count = r.varint();
  let low = high - r.varint();
  const ranges: [number, number][] = [[low, high]];
  for (let i = 0; i < count; i++) {
    high = low - r.varint() - 2;
    low = high - r.varint();
    ranges.push([low, high]);
  }
  expect(r.remaining).toBe(0);
  return { path, delay, ranges };
}

function write(received: ReceivedPackets, now = 0, room = 1_200, path?: number): DecodedAck | undefined {
  const w = new Writer(new Uint8Array(room));
  const largest = received.writeAck(w, path, now, 3);
  if (largest === undefined) {
    expect(w.pos).toBe(0);
    return undefined;
  }
  const ack = decode(w.written());
  expect(ack.ranges[0]![1]).toBe(largest);
  return ack;
}

describe('when an ACK is sent', () => {
  test('after two ack-eliciting packets, or 25 ms (RFC 9000 §13.2.1, §13.2.2)', () => {
    const received = oneRtt();
    expect([received.ackDue(1e9), received.ackDeadline, received.hasAckToSend]).toEqual([
      false,
      undefined,
      false,
    ]);
    received.onReceived(0, true, 100);
    expect([received.ackDue(124.9), received.ackDeadline, received.hasAckToSend]).toEqual([false, 125, true]);
    expect(received.ackDue(125)).toBe(true);
    received.onReceived(1, true, 110);
    expect([received.ackDue(110), received.ackDeadline]).toEqual([true, undefined]);
    expect(write(received)?.ranges).toEqual([[0, 1]]);
    expect([received.ackDue(1e9), received.ackDeadline, received.hasAckToSend]).toEqual([
      false,
      undefined,
      false,
    ]);
    received.onReceived(2, true, 200);
    expect(received.ackDeadline).toBe(225);
  });

  test('at once in Initial and Handshake (RFC 9000 §13.2.1)', () => {
    const received = new ReceivedPackets({ immediate: true, maxAckDelayMs: 25 });
    received.onReceived(0, false, 0);
    expect(received.ackDue(1e9)).toBe(false);
    received.onReceived(1, true, 0);
    expect(received.ackDue(0)).toBe(true);
  });

  test('packets that do not ask get none of their own (RFC 9000 §13.2.1), but ride along after more than ten', () => {
    const received = oneRtt();
    for (let i = 0; i < LAZY_ACK_THRESHOLD; i++) received.onReceived(i, false, 0);
    expect([received.ackDue(1e9), received.hasAckToSend]).toEqual([false, false]);
    received.onReceived(LAZY_ACK_THRESHOLD, false, 0);
    expect([received.ackDue(1e9), received.hasAckToSend]).toEqual([false, true]);
    expect(write(received)?.ranges).toEqual([[0, LAZY_ACK_THRESHOLD]]);
    expect(received.hasAckToSend).toBe(false);
  });

  test('at once on a gap and on a late packet (RFC 9000 §13.2.1)', () => {
    const received = oneRtt();
    feed(received, 0);
    write(received);
    feed(received, 2);
    expect(received.ackDue(0)).toBe(true);
    write(received);
    feed(received, 3);
    expect(received.ackDue(0)).toBe(false);
    write(received);
    feed(received, 1);
    expect(received.ackDue(0)).toBe(true);
  });

  test('the first packet is not out of order, whatever its number', () => {
    const received = oneRtt();
    feed(received, 7);
    expect(received.ackDue(0)).toBe(false);
  });

  test('a late packet that does not ask is no reason', () => {
    const received = oneRtt();
    feed(received, 5);
    received.onReceived(4, false, 0);
    received.onReceived(8, false, 0);
    expect(received.ackDue(0)).toBe(false);
  });

  test('IMMEDIATE_ACK', () => {
    const received = oneRtt();
    received.requestImmediateAck();
    expect([received.ackDue(0), received.hasAckToSend]).toEqual([false, false]);
    received.onReceived(0, true, 0);
    expect([received.ackDue(0), received.ackDeadline, received.hasAckToSend]).toEqual([
      true,
      undefined,
      true,
    ]);
    write(received);
    expect(received.ackDue(0)).toBe(false);
  });

  test('ACK_FREQUENCY: threshold and delay', () => {
    const received = oneRtt();
    received.setPolicy({ ackElicitingThreshold: 4, maxAckDelayMs: 100, reorderingThreshold: 1 });
    feed(received, 0, 1, 2, 3);
    expect([received.ackDue(99), received.ackDeadline]).toEqual([false, 100]);
    feed(received, 4);
    expect(received.ackDue(0)).toBe(true);
    write(received);
    received.setPolicy({ ackElicitingThreshold: 0, maxAckDelayMs: 100, reorderingThreshold: 1 });
    feed(received, 5);
    expect(received.ackDue(0)).toBe(true);
  });

  // Tables 1 and 2 of draft-ietf-quic-ack-frequency §6.2.1.
  test.each([
    [3, [0, 1, 3, 4, 5, 8, 9, 10], [5, 9, 10]],
    [5, [0, 1, 3, 5, 6, 7, 8, 9], [7, 9]],
  ])('ACK_FREQUENCY: reordering threshold %d', (threshold, order, expected) => {
    const received = oneRtt();
    received.setPolicy({
      ackElicitingThreshold: 1_000,
      maxAckDelayMs: 1_000,
      reorderingThreshold: threshold,
    });
    const acked: number[] = [];
    for (const number of order) {
      feed(received, number);
      if (!received.ackDue(0)) continue;
      acked.push(number);
      write(received);
    }
    expect(acked).toEqual(expected);
  });

  test('ACK_FREQUENCY: a packet that the peer took for lost is reported at once', () => {
    const received = oneRtt();
    received.setPolicy({ ackElicitingThreshold: 1_000, maxAckDelayMs: 1_000, reorderingThreshold: 3 });
    feed(received, 0, 2, 3, 4, 5);
    write(received);
    feed(received, 1);
    expect(received.ackDue(0)).toBe(true);
  });

  test('ACK_FREQUENCY: reordering threshold 0 ignores gaps, but not so many that ranges would be forgotten', () => {
    const received = oneRtt();
    received.setPolicy({ ackElicitingThreshold: 1_000, maxAckDelayMs: 1_000, reorderingThreshold: 0 });
    for (let i = 0; i < MAX_UNREPORTED_RANGES - 1; i++) feed(received, 2 * i);
    expect(received.ackDue(0)).toBe(false);
    feed(received, 2 * MAX_UNREPORTED_RANGES);
    expect(received.ackDue(0)).toBe(true);
  });
});

describe('what an ACK says', () => {
  test('the bytes of ACK (RFC 9000 §19.3)', () => {
    const received = oneRtt();
    feed(received, 3, 4, 5, 9, 10);
    const w = new Writer();
    expect(received.writeAck(w, undefined, 1.6, 3)).toBe(10);
    //                              type largest delay=200 count first gap len
    expect(toHex(w.written())).toBe('02' + '0a' + '40c8' + '01' + '01' + '02' + '02');
  });

  test('the bytes of PATH_ACK (draft-ietf-quic-multipath §4.1)', () => {
    const received = oneRtt();
    feed(received, 0, 1);
    const w = new Writer();
    expect(received.writeAck(w, 70, 0, 3)).toBe(1);
    expect(toHex(w.written())).toBe('3e' + '4046' + '01' + '00' + '00' + '01');
  });

  test('the delay counts from the largest packet, rounded down, in units of 2^exponent µs (RFC 9000 §13.2.5)', () => {
    const received = oneRtt();
    received.onReceived(5, true, 10);
    received.onReceived(4, true, 18);
    expect(write(received, 30)?.delay).toBe(2_500);
    received.onReceived(6, false, 40);
    expect(write(received, 40.0079)?.delay).toBe(0);
    expect(write(received, 39)?.delay).toBe(0);
  });

  test('nothing to acknowledge, nothing written', () => {
    expect(write(oneRtt())).toBeUndefined();
  });

  test('ranges that do not fit are left out, the newest kept', () => {
    const received = oneRtt();
    feed(received, 0, 2, 4, 6, 8);
    expect(write(received, 0, 4)).toBeUndefined();
    expect(write(received, 0, 5)?.ranges).toEqual([[8, 8]]);
    expect(write(received, 0, 6)?.ranges).toEqual([[8, 8]]);
    expect(write(received, 0, 9)?.ranges).toEqual([
      [8, 8],
      [6, 6],
      [4, 4],
    ]);
  });

  test('at most 64 ranges, the newest', () => {
    const received = oneRtt();
    for (let i = 0; i < 500; i++) feed(received, 2 * i);
    const ranges = write(received)!.ranges;
    expect(ranges).toHaveLength(MAX_ACK_RANGES);
    expect([ranges[0], ranges.at(-1)]).toEqual([
      [998, 998],
      [872, 872],
    ]);
  });

  test('what the peer knows is not repeated (RFC 9000 §13.2.4)', () => {
    const received = oneRtt();
    feed(received, 0, 1, 3);
    expect(write(received)?.ranges).toHaveLength(2);
    received.onAckAcked(3);
    expect(write(received)).toBeUndefined();
    feed(received, 5);
    expect(write(received)?.ranges).toEqual([[5, 5]]);
    // A confirmation that comes late does not bring it back.
    received.onAckAcked(1);
    expect(write(received)?.ranges).toEqual([[5, 5]]);
  });

  test('a packet that arrives after its neighbours were confirmed is acknowledged', () => {
    const received = oneRtt();
    feed(received, 0, 1, 3, 4);
    write(received);
    received.onAckAcked(4);
    expect(received.isDuplicate(2)).toBe(false);
    feed(received, 2);
    expect(received.isDuplicate(2)).toBe(true);
    expect(write(received)?.ranges).toEqual([[2, 4]]);
  });

  test('nor is it dropped by the confirmation of an ACK that it was not in', () => {
    const received = oneRtt();
    feed(received, 0, 1, 3);
    write(received);
    feed(received, 2);
    received.onAckAcked(3);
    expect(write(received)?.ranges).toEqual([[2, 3]]);
  });

  test('nor is one that did not fit', () => {
    const received = oneRtt();
    feed(received, 0, 2, 4);
    expect(write(received, 0, 5)?.ranges).toEqual([[4, 4]]);
    received.onAckAcked(4);
    expect(write(received)?.ranges).toEqual([
      [4, 4],
      [2, 2],
      [0, 0],
    ]);
  });
});

describe('duplicates', () => {
  test('known numbers, and those too old to know', () => {
    const received = oneRtt();
    feed(received, 0, 1, 5);
    expect([0, 1, 2, 4, 5, 6].map((n) => received.isDuplicate(n))).toEqual([
      true,
      true,
      false,
      false,
      true,
      false,
    ]);
    expect(received.largestReceived).toBe(5);
    for (let i = 0; i < MAX_ACK_RANGES; i++) feed(received, 10 + 2 * i);
    // The two oldest ranges, 0–1 and 5, are forgotten.
    expect([2, 4, 5, 6, 9].map((n) => received.isDuplicate(n))).toEqual([true, true, true, false, false]);
  });

  test('a peer that leaves gaps costs 64 ranges, and pruning goes on', () => {
    const received = oneRtt();
    for (let i = 0; i < 1_000; i++) feed(received, 3 * i);
    feed(received, 3 * 940 + 1); // in the window, old
    received.onReceived(3 * 936 - 2, true, 0); // joins nothing, becomes the lowest, falls out again
    const ack = write(received)!;
    expect(ack.ranges.length).toBeLessThanOrEqual(MAX_ACK_RANGES);
    received.onAckAcked(ack.ranges[0]![1]);
    expect(received.hasAckToSend).toBe(false);
    expect(write(received)).toBeUndefined();
  });
});

describe('random arrival', () => {
  const step = fc.oneof(
    {
      weight: 10,
      arbitrary: fc.record({
        do: fc.constant('packet' as const),
        ahead: fc.oneof({ weight: 5, arbitrary: fc.constant(1) }, fc.integer({ min: -30, max: 6 })),
        ackEliciting: fc.boolean(),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({ do: fc.constant('ack' as const), room: fc.integer({ min: 0, max: 60 }) }),
    },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('confirm' as const), which: fc.nat(5) }) },
  );

  test('never acknowledges what was not received; nothing is lost from sight before the peer knows', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 250 }), (steps) => {
        const received = oneRtt();
        const all = new Set<number>();
        const known = new Set<number>();
        const inFlight: DecodedAck[] = [];
        let largest = -1;
        for (const op of steps) {
          if (op.do === 'packet') {
            const number = Math.max(0, largest + op.ahead);
            expect(received.isDuplicate(number)).toBe(all.has(number));
            if (all.has(number)) continue;
            received.onReceived(number, op.ackEliciting, 0);
            all.add(number);
            largest = Math.max(largest, number);
          } else if (op.do === 'ack') {
            const ack = write(received, 0, op.room);
            if (ack === undefined) continue;
            inFlight.push(ack);
            for (const [low, high] of ack.ranges) {
              for (let n = low; n <= high; n++) expect(all.has(n)).toBe(true);
            }
            for (let i = 1; i < ack.ranges.length; i++) {
              expect(ack.ranges[i]![1]).toBeLessThan(ack.ranges[i - 1]![0] - 1);
            }
          } else if (inFlight.length > 0) {
            // In order, so that no confirmation overtakes another: then the claim holds without exception.
            const ack = inFlight.shift()!;
            for (const [low, high] of ack.ranges) for (let n = low; n <= high; n++) known.add(n);
            received.onAckAcked(ack.ranges[0]![1]);
          }
          expect(received.largestReceived).toBe(largest);
        }
        const rest = write(received);
        for (const [low, high] of rest?.ranges ?? []) for (let n = low; n <= high; n++) known.add(n);
        for (const ack of inFlight)
          for (const [low, high] of ack.ranges) for (let n = low; n <= high; n++) known.add(n);
        if (all.size < MAX_ACK_RANGES) expect([...all].filter((n) => !known.has(n))).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });
});
