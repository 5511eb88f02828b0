import { describe, expect, test } from '@jest/globals';
import { Reader, Writer } from '../../../../src/base/bytes.ts';
import type { ConnectionEvent, Side, StreamId } from '../../../../src/quic/engine.ts';
import type { SentFrame } from '../../../../src/quic/sent-frame.ts';
import { SendCredit, type PeerDataLimits } from '../../../../src/quic/streams/send-credit.ts';
import { SendStream } from '../../../../src/quic/streams/send-stream.ts';
import { decodeFrame, type Frame } from '../../../../src/quic/wire/frames.ts';

const LIMITS: PeerDataLimits = {
  initialMaxData: 5_000,
  initialMaxStreamDataBidiLocal: 1_000,
  initialMaxStreamDataBidiRemote: 2_000,
  initialMaxStreamDataUni: 3_000,
};

/** Credit of a client, and the events that it tells. */
function client(limits: Partial<PeerDataLimits> = {}, sendWindow = 10_000) {
  const events: ConnectionEvent[] = [];
  const credit = new SendCredit('client', sendWindow, events);
  credit.setPeerLimits({ ...LIMITS, ...limits }, []);
  return { credit, events };
}

/** Writes as much as there is credit for, and returns how much that was. */
function write(credit: SendCredit, stream: SendStream, wanted: number): number {
  const count = credit.take(stream, wanted);
  stream.buffer.write(new Uint8Array(count));
  return count;
}

/** What goes into a packet. */
function frames(credit: SendCredit): Frame[] {
  const w = new Writer(new Uint8Array(100));
  const sent: SentFrame[] = [];
  credit.writeControl(w, sent);
  const r = new Reader(w.copy());
  const list: Frame[] = [];
  while (r.remaining > 0) list.push(decodeFrame(r, 'oneRtt'));
  expect(sent.map(({ type }) => type)).toEqual(list.map(({ type }) => type));
  return list;
}

describe('what a writer may write (RFC 9000 §4.1)', () => {
  /** Credit of a stream starts with what the peer says of streams that the other side opens (§18.2). */
  test.each<[Side, StreamId, number]>([
    ['client', 0, 2_000],
    ['client', 1, 1_000],
    ['client', 2, 3_000],
    ['server', 0, 1_000],
    ['server', 1, 2_000],
    ['server', 3, 3_000],
  ])('a %s starts stream %d with %d', (side, id, expected) => {
    const credit = new SendCredit(side, 10_000, []);
    credit.setPeerLimits(LIMITS, []);
    expect(credit.initialFor(id)).toBe(expected);
  });

  test.each([
    ['the stream', 700, 5_000, 5_000, 700],
    ['the connection', 5_000, 700, 5_000, 700],
    ['what we keep', 5_000, 5_000, 700, 700],
    ['nothing', 5_000, 5_000, 5_000, 1_000],
  ])('a thousand bytes are bounded by %s', (_, maxData, initialMaxData, sendWindow, expected) => {
    const { credit } = client({ initialMaxData }, sendWindow);
    const stream = new SendStream(2, maxData, false);
    expect(write(credit, stream, 1_000)).toBe(expected);
    expect(stream.isBlocked).toBe(expected < 1_000);
  });

  test('real limits raise those of streams that are open, and never lower them', () => {
    const { credit, events } = client();
    const bi = new SendStream(0, 2_000, true);
    const uni = new SendStream(2, 3_000, true);
    expect(write(credit, bi, 2_001)).toBe(2_000);
    credit.setPeerLimits({ ...LIMITS, initialMaxStreamDataBidiRemote: 2_500, initialMaxStreamDataUni: 1 }, [
      bi,
      uni,
    ]);
    expect([bi.maxData, uni.maxData]).toEqual([2_500, 3_000]);
    expect(events).toEqual([{ type: 'streamWritable', id: 0 }]);
  });
});

describe('who waited for room is told', () => {
  test('when bytes were acknowledged', () => {
    const { credit, events } = client({}, 500);
    const stream = new SendStream(2, 3_000, false);
    expect(write(credit, stream, 800)).toBe(500);
    expect(events).toEqual([]);
    credit.release(200);
    expect(events).toEqual([{ type: 'streamWritable', id: 2 }]);
    expect(stream.isBlocked).toBe(false);
    expect(write(credit, stream, 800)).toBe(200);
  });

  test('when the peer allows more, but not while its own stream is in the way', () => {
    const { credit, events } = client({ initialMaxData: 1_000 });
    const full = new SendStream(2, 600, false);
    const other = new SendStream(6, 600, false);
    expect([write(credit, full, 601), write(credit, other, 601)]).toEqual([600, 400]);
    credit.handleMaxData(2_000);
    expect(events.splice(0)).toEqual([{ type: 'streamWritable', id: 6 }]);
    expect([full.isBlocked, other.isBlocked]).toEqual([true, false]);
    full.maxData = 700;
    credit.onMaxStreamData(full);
    expect(events).toEqual([{ type: 'streamWritable', id: 2 }]);
  });

  test('not when it stopped to wait', () => {
    const { credit, events } = client({}, 500);
    const stream = new SendStream(2, 3_000, false);
    write(credit, stream, 800);
    credit.forget(stream);
    credit.release(500);
    expect(events).toEqual([]);
  });
});

describe('DATA_BLOCKED (RFC 9000 §4.1)', () => {
  test('says at which limit the connection is in the way, once', () => {
    const { credit } = client({ initialMaxData: 1_000 });
    const stream = new SendStream(2, 3_000, false);
    write(credit, stream, 1_000);
    expect(credit.wantsControl).toBe(false);
    write(credit, stream, 1);
    expect(frames(credit)).toEqual([{ type: 'dataBlocked', limit: 1_000 }]);
    expect(frames(credit)).toEqual([]);
  });

  test.each([
    ['the stream', 500, 10_000],
    ['what we keep', 3_000, 500],
  ])('says nothing of %s', (_, maxData, sendWindow) => {
    const { credit } = client({ initialMaxData: 1_000 }, sendWindow);
    expect(write(credit, new SendStream(2, maxData, false), 1_000)).toBe(500);
    expect(frames(credit)).toEqual([]);
  });

  test('is not sent when the limit was raised in time', () => {
    const { credit } = client({ initialMaxData: 1_000 });
    write(credit, new SendStream(2, 3_000, false), 1_001);
    credit.handleMaxData(1_001);
    expect(frames(credit)).toEqual([]);
  });

  /** RFC 9000 §13.3: it is repeated only while the endpoint is blocked. */
  test.each([
    ['is sent again when nothing has changed', 1_000, [{ type: 'dataBlocked', limit: 1_000 }]],
    ['is not sent again when the limit was raised meanwhile', 1_001, []],
  ])('that was lost %s', (_, limit, expected) => {
    const { credit } = client({ initialMaxData: 1_000 });
    write(credit, new SendStream(2, 3_000, false), 1_001);
    expect(frames(credit)).toEqual([{ type: 'dataBlocked', limit: 1_000 }]);
    credit.handleMaxData(limit);
    credit.onDataBlockedLost();
    expect(frames(credit)).toEqual(expected);
  });
});

describe('refused early data', () => {
  /** Four thousand bytes were written of the five thousand that were remembered. */
  test.each([
    ['the connection starts anew', 5_000, 10_000, 5_000],
    ['its remembered limit is void', 1_000, 10_000, 1_000],
    ['nothing is kept any longer', 5_000, 5_000, 5_000],
  ])('%s', (_, initialMaxData, sendWindow, expected) => {
    const { credit } = client({}, sendWindow);
    write(credit, new SendStream(0, 4_000, true), 4_000);
    credit.onZeroRttRejected();
    credit.setPeerLimits({ ...LIMITS, initialMaxData }, []);
    expect(write(credit, new SendStream(0, 9_000, false), 9_000)).toBe(expected);
  });

  test('who waited may ask again, and nothing is said of a limit that is void', () => {
    const { credit, events } = client();
    expect(write(credit, new SendStream(0, 9_000, true), 9_000)).toBe(5_000);
    credit.onZeroRttRejected();
    expect(events.splice(0)).toEqual([{ type: 'streamWritable', id: 0 }]);
    expect(frames(credit)).toEqual([]);
    credit.setPeerLimits(LIMITS, []);
    expect(events).toEqual([]);
  });
});
