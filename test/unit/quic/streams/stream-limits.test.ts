import { describe, expect, test } from '@jest/globals';
import { Reader, Writer } from '../../../../src/base/bytes.ts';
import type { ConnectionEvent, Direction, Side, StreamId } from '../../../../src/quic/engine.ts';
import type { SentFrame } from '../../../../src/quic/sent-frame.ts';
import { StreamLimits } from '../../../../src/quic/streams/stream-limits.ts';
import { TransportError } from '../../../../src/quic/transport-error.ts';
import { decodeFrame, type Frame } from '../../../../src/quic/wire/frames.ts';

/** Limits of a direction, and the events that they tell. */
function limitsOf(
  side: Side,
  dir: Direction,
  concurrent = 3,
): { limits: StreamLimits; events: ConnectionEvent[] } {
  const events: ConnectionEvent[] = [];
  return { limits: new StreamLimits(side, dir, concurrent, events), events };
}

/** What goes into a packet. */
function frames(limits: StreamLimits): Frame[] {
  const w = new Writer(new Uint8Array(100));
  const sent: SentFrame[] = [];
  limits.writeControl(w, sent);
  const r = new Reader(w.copy());
  const list: Frame[] = [];
  while (r.remaining > 0) list.push(decodeFrame(r, 'oneRtt'));
  expect(sent.map(({ type }) => type)).toEqual(list.map(({ type }) => type));
  return list;
}

/** The peer opens streams up to this one. */
function openRemote(limits: StreamLimits, id: StreamId): StreamId[] {
  const opened: StreamId[] = [];
  for (let next = limits.openRemote(id); next !== undefined; next = limits.openRemote(id)) opened.push(next);
  return opened;
}

describe('streams that we open (RFC 9000 §4.6)', () => {
  test('who was refused a stream is told once when there is one; a lower limit says nothing', () => {
    const { limits, events } = limitsOf('client', 'bi');
    limits.raise(1);
    expect([limits.open(), limits.open()]).toEqual([0, undefined]);
    limits.raise(0);
    expect(events).toEqual([]);
    limits.raise(2);
    limits.raise(3);
    expect(events).toEqual([{ type: 'streamsAvailable', dir: 'bi' }]);
  });

  test('STREAMS_BLOCKED is not sent when the limit was raised in time', () => {
    const { limits } = limitsOf('client', 'uni');
    limits.open();
    limits.raise(1);
    expect(frames(limits)).toEqual([]);
  });

  /** RFC 9000 §13.3: STREAMS_BLOCKED is repeated only while the endpoint is blocked. */
  test.each([
    ['is sent again when nothing has changed', 1, [{ type: 'streamsBlocked', dir: 'uni', limit: 1 }]],
    ['is not sent again when the limit was raised meanwhile', 2, []],
  ])('STREAMS_BLOCKED that was lost %s', (_, limit, expected) => {
    const { limits } = limitsOf('client', 'uni');
    limits.raise(1);
    limits.open();
    limits.open();
    expect(frames(limits)).toEqual([{ type: 'streamsBlocked', dir: 'uni', limit: 1 }]);
    limits.raise(limit);
    limits.onStreamsBlockedLost();
    expect(frames(limits)).toEqual(expected);
  });

  test('refused early data: numbers begin again', () => {
    const { limits } = limitsOf('client', 'bi');
    limits.raise(2);
    expect([limits.open(), limits.open()]).toEqual([0, 4]);
    limits.onZeroRttRejected();
    limits.raise(2);
    expect([limits.open(), limits.open(), limits.open()]).toEqual([0, 4, undefined]);
  });

  test('refused early data: a remembered limit is void, and what was said of it', () => {
    const { limits, events } = limitsOf('client', 'bi');
    limits.raise(2);
    expect([limits.open(), limits.open(), limits.open()]).toEqual([0, 4, undefined]);
    limits.onZeroRttRejected();
    expect(frames(limits)).toEqual([]);
    limits.raise(1);
    // Who was refused a stream waits still.
    expect(events).toEqual([{ type: 'streamsAvailable', dir: 'bi' }]);
    expect([limits.open(), limits.open()]).toEqual([0, undefined]);
  });
});

describe('streams that the peer opens (RFC 9000 §3.2, §4.6)', () => {
  test('a stream opens those before it; the application takes them in turn', () => {
    const { limits } = limitsOf('server', 'uni');
    expect(openRemote(limits, 10)).toEqual([2, 6, 10]);
    expect(openRemote(limits, 6)).toEqual([]);
    // Ours.
    expect(openRemote(limits, 3)).toEqual([]);
    expect(Array.from({ length: 4 }, () => limits.accept())).toEqual([2, 6, 10, undefined]);
  });

  /** More than an eighth must be free. */
  test.each<[number, number, number | 'nothing']>([
    [8, 1, 'nothing'],
    [8, 2, 10],
    [16, 2, 'nothing'],
    [16, 3, 19],
    [1, 1, 2],
  ])('of %d that may be open at a time %d are done: the peer hears of %s', (concurrent, done, limit) => {
    const { limits } = limitsOf('client', 'bi', concurrent);
    openRemote(limits, (concurrent - 1) * 4 + 1);
    for (let i = 0; i < done; i++) limits.onRemoteDone();
    expect(frames(limits)).toEqual(limit === 'nothing' ? [] : [{ type: 'maxStreams', dir: 'bi', limit }]);
  });

  test('MAX_STREAMS that was lost is sent with the present value', () => {
    const { limits } = limitsOf('client', 'bi');
    openRemote(limits, 9);
    limits.onRemoteDone();
    expect(frames(limits)).toEqual([{ type: 'maxStreams', dir: 'bi', limit: 4 }]);
    limits.onRemoteDone();
    limits.onMaxStreamsLost();
    expect(frames(limits)).toEqual([{ type: 'maxStreams', dir: 'bi', limit: 5 }]);
  });

  test('fewer at a time take nothing back; more are told at once', () => {
    const { limits } = limitsOf('client', 'bi');
    limits.setConcurrent(1);
    expect(frames(limits)).toEqual([]);
    limits.check(9, 'recv', 'STREAM');
    limits.setConcurrent(9);
    expect(frames(limits)).toEqual([{ type: 'maxStreams', dir: 'bi', limit: 9 }]);
  });

  test('a closed connection offers nothing', () => {
    const { limits } = limitsOf('client', 'bi', 1);
    openRemote(limits, 1);
    limits.onConnectionClosed();
    limits.onRemoteDone();
    expect(limits.wantsControl).toBe(false);
  });
});

/** We opened one stream, the peer none of three. */
describe('a frame may name a stream that its sender may know (RFC 9000 §3.2, §4.6)', () => {
  test.each<[Side, Direction, 'send' | 'recv', string, StreamId, string | undefined]>([
    ['client', 'bi', 'recv', 'our last', 0, undefined],
    ['client', 'bi', 'send', 'our last', 0, undefined],
    ['client', 'bi', 'recv', 'our next', 4, 'STREAM_STATE_ERROR'],
    ['client', 'bi', 'send', 'our next', 4, 'STREAM_STATE_ERROR'],
    ['client', 'bi', 'recv', "the peer's last", 9, undefined],
    ['client', 'bi', 'send', "the peer's last", 9, undefined],
    ['client', 'bi', 'recv', 'one more', 13, 'STREAM_LIMIT_ERROR'],
    ['client', 'bi', 'send', 'one more', 13, 'STREAM_LIMIT_ERROR'],
    ['server', 'uni', 'send', 'our last', 3, undefined],
    ['server', 'uni', 'send', 'our next', 7, 'STREAM_STATE_ERROR'],
    ['server', 'uni', 'recv', 'our last', 3, 'STREAM_STATE_ERROR'],
    ['server', 'uni', 'recv', "the peer's last", 10, undefined],
    ['server', 'uni', 'recv', 'one more', 14, 'STREAM_LIMIT_ERROR'],
    ['server', 'uni', 'send', "the peer's last", 10, 'STREAM_STATE_ERROR'],
  ])('%s, %s, half to %s: %s, %d: %s', (side, dir, half, _, id, expected) => {
    const { limits } = limitsOf(side, dir);
    limits.raise(1);
    limits.open();
    const check = (): void => limits.check(id, half, 'FRAME');
    if (expected === undefined) expect(check).not.toThrow();
    else expect(check).toThrow(expect.objectContaining({ constructor: TransportError, code: expected }));
  });
});
