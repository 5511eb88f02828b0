import { describe, expect, test } from '@jest/globals';
import { Reader, Writer } from '../../../../src/base/bytes.ts';
import type { ConnectionEvent, StreamId } from '../../../../src/quic/engine.ts';
import type { SentFrame, StreamsSentFrame } from '../../../../src/quic/sent-frame.ts';
import { StreamError } from '../../../../src/quic/streams/stream-error.ts';
import { Streams, type PeerStreamLimits } from '../../../../src/quic/streams/streams.ts';
import { TransportError } from '../../../../src/quic/transport-error.ts';
import { decodeFrame, type Frame } from '../../../../src/quic/wire/frames.ts';

const CONFIG = {
  streamReceiveWindow: 1_000,
  receiveWindow: 3_000,
  maxReceiveWindow: 3_000,
  sendWindow: 10_000,
  maxConcurrentBidiStreams: 3,
  maxConcurrentUniStreams: 3,
};

const LIMITS: PeerStreamLimits = {
  initialMaxData: 5_000,
  initialMaxStreamDataBidiLocal: 1_000,
  initialMaxStreamDataBidiRemote: 2_000,
  initialMaxStreamDataUni: 3_000,
  initialMaxStreamsBidi: 2,
  initialMaxStreamsUni: 2,
};

function client(config: Partial<typeof CONFIG> = {}, limits: Partial<PeerStreamLimits> = {}): Streams {
  const streams = new Streams({ side: 'client', ...CONFIG, ...config });
  streams.setPeerLimits({ ...LIMITS, ...limits });
  return streams;
}

function events(streams: Streams): ConnectionEvent[] {
  const list: ConnectionEvent[] = [];
  for (let event = streams.pollEvent(); event; event = streams.pollEvent()) list.push(event);
  return list;
}

/** One packet of `size` bytes: what the streams put into it, decoded. */
function packet(streams: Streams, size = 1_200, now = 0): { frames: Frame[]; sent: SentFrame[] } {
  const w = new Writer(new Uint8Array(size));
  const sent: SentFrame[] = [];
  streams.writeControl(w, sent, now, 50);
  streams.writeData(w, sent);
  const r = new Reader(w.copy());
  const frames: Frame[] = [];
  while (r.remaining > 0) frames.push(decodeFrame(r, 'oneRtt'));
  return { frames, sent };
}

const dataIds = (frames: readonly Frame[]): StreamId[] =>
  frames.flatMap((frame) => (frame.type === 'stream' ? [frame.id] : []));

function transportCode(action: () => unknown): string | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    if (!(error instanceof TransportError)) throw error;
    return error.code;
  }
}

function streamKind(action: () => unknown): string | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    if (!(error instanceof StreamError)) throw error;
    return error.kind;
  }
}

describe('ids and limits (RFC 9000 §2.1, §4.6)', () => {
  test('a client opens 0, 4 … and 2, 6 …, up to the limit of the peer', () => {
    const streams = client();
    expect([streams.open('bi'), streams.open('bi'), streams.open('bi')]).toEqual([0, 4, undefined]);
    expect([streams.open('uni'), streams.open('uni'), streams.open('uni')]).toEqual([2, 6, undefined]);
    expect(packet(streams).frames).toEqual([
      { type: 'streamsBlocked', dir: 'bi', limit: 2 },
      { type: 'streamsBlocked', dir: 'uni', limit: 2 },
    ]);
    streams.handleMaxStreams('bi', 2);
    expect(events(streams)).toEqual([]);
    streams.handleMaxStreams('bi', 3);
    expect(events(streams)).toEqual([{ type: 'streamsAvailable', dir: 'bi' }]);
    expect(streams.open('bi')).toBe(8);
  });

  test('a server opens 1, 5 … and 3, 7 …', () => {
    const streams = new Streams({ side: 'server', ...CONFIG });
    streams.setPeerLimits(LIMITS);
    expect([streams.open('bi'), streams.open('bi'), streams.open('uni')]).toEqual([1, 5, 3]);
  });

  test('streams of the peer open up to the one that it names', () => {
    const streams = client();
    streams.handleStream(9, 0, new Uint8Array(0), false);
    expect(events(streams)).toEqual(Array(3).fill({ type: 'streamOpened', dir: 'bi' }));
    expect(Array.from({ length: 4 }, () => streams.accept('bi'))).toEqual([1, 5, 9, undefined]);
  });

  /** By whom and how a stream is named → the error. Client 0/2 exist, the peer may open three of each kind. */
  test.each<[string, (streams: Streams) => void, string | undefined]>([
    [
      'STREAM on our own unopened',
      (s) => s.handleStream(8, 0, new Uint8Array(1), false),
      'STREAM_STATE_ERROR',
    ],
    ['STREAM on our send-only', (s) => s.handleStream(2, 0, new Uint8Array(1), false), 'STREAM_STATE_ERROR'],
    ['STREAM at the limit', (s) => s.handleStream(13, 0, new Uint8Array(1), false), 'STREAM_LIMIT_ERROR'],
    ['STREAM below it', (s) => s.handleStream(9, 0, new Uint8Array(1), false), undefined],
    ['RESET_STREAM on our send-only', (s) => s.handleResetStream(2, 0n, 0), 'STREAM_STATE_ERROR'],
    ['RESET_STREAM at the limit', (s) => s.handleResetStream(15, 0n, 0), 'STREAM_LIMIT_ERROR'],
    ['STOP_SENDING on a receive-only', (s) => s.handleStopSending(3, 0n), 'STREAM_STATE_ERROR'],
    ['STOP_SENDING on our own unopened', (s) => s.handleStopSending(6, 0n), 'STREAM_STATE_ERROR'],
    ['STOP_SENDING on a new one of the peer', (s) => s.handleStopSending(1, 0n), undefined],
    ['MAX_STREAM_DATA on a receive-only', (s) => s.handleMaxStreamData(3, 1), 'STREAM_STATE_ERROR'],
    ['MAX_STREAM_DATA on our own unopened', (s) => s.handleMaxStreamData(4, 1), 'STREAM_STATE_ERROR'],
    ['STREAM_DATA_BLOCKED on our send-only', (s) => s.handleStreamDataBlocked(2), 'STREAM_STATE_ERROR'],
    ['STREAM_DATA_BLOCKED at the limit', (s) => s.handleStreamDataBlocked(13), 'STREAM_LIMIT_ERROR'],
    [
      'data beyond the stream window',
      (s) => s.handleStream(1, 1_000, new Uint8Array(1), false),
      'FLOW_CONTROL_ERROR',
    ],
    [
      'offset beyond 2^53',
      (s) => s.handleStream(1, 2 ** 53 - 1, new Uint8Array(9), false),
      'FRAME_ENCODING_ERROR',
    ],
    [
      'final size changes',
      (s) => {
        s.handleStream(1, 0, new Uint8Array(5), true);
        s.handleResetStream(1, 0n, 6);
      },
      'FINAL_SIZE_ERROR',
    ],
    ['final size beyond the window', (s) => s.handleResetStream(1, 0n, 1_001), 'FLOW_CONTROL_ERROR'],
  ])('%s', (_, action, expected) => {
    const streams = client();
    streams.open('bi');
    streams.open('uni');
    expect(transportCode(() => action(streams))).toBe(expected);
  });

  test('an ended stream of the peer makes room for another', () => {
    const streams = client();
    for (const id of [3, 7, 11]) streams.handleStream(id, 0, Uint8Array.of(1), true);
    expect(transportCode(() => streams.handleStream(15, 0, Uint8Array.of(1), true))).toBe(
      'STREAM_LIMIT_ERROR',
    );
    for (const id of [3, 7, 11]) {
      streams.read(id, 10);
      expect(streams.read(id, 10)).toBeNull();
    }
    expect(packet(streams).frames).toEqual([{ type: 'maxStreams', dir: 'uni', limit: 6 }]);
    streams.handleStream(15, 0, Uint8Array.of(1), true);
    expect(streams.streamCount).toBe(1);
    // Late copies for streams that are gone harm nobody.
    streams.handleStream(3, 0, Uint8Array.of(1), true);
    streams.handleResetStream(3, 1n, 1);
    expect(streams.streamCount).toBe(1);
  });
});

describe('flow control (RFC 9000 §4.1)', () => {
  test('a connection takes no more than its window over all streams', () => {
    const streams = client();
    for (const id of [1, 5, 9]) streams.handleStream(id, 0, new Uint8Array(1_000), false);
    expect(transportCode(() => streams.handleStream(3, 0, new Uint8Array(1), false))).toBe(
      'FLOW_CONTROL_ERROR',
    );
  });

  test('a writer is bound by the stream, by the connection, and by our own window', () => {
    const streams = client();
    const bi = streams.open('bi')!;
    const uni = streams.open('uni')!;
    expect(streams.write(bi, new Uint8Array(9_000))).toBe(2_000);
    expect(streams.write(uni, new Uint8Array(9_000))).toBe(3_000);
    streams.handleMaxStreamData(bi, 9_000);
    expect(streams.write(bi, new Uint8Array(10))).toBe(0);
    streams.handleMaxData(50_000);
    expect(events(streams)).toEqual([{ type: 'streamWritable', id: bi }]);
    expect(streams.write(bi, new Uint8Array(9_000))).toBe(5_000);
    // Ten thousand bytes are unacknowledged: that is all we keep.
    streams.handleMaxStreamData(bi, 90_000);
    expect(streams.write(bi, new Uint8Array(1))).toBe(0);
  });

  test('acknowledgments make room again', () => {
    const streams = client({ sendWindow: 500 });
    const id = streams.open('uni')!;
    expect(streams.write(id, new Uint8Array(800))).toBe(500);
    const { sent } = packet(streams);
    streams.onFrameAcked(sent.find((frame) => frame.type === 'stream') as StreamsSentFrame);
    expect(events(streams)).toEqual([{ type: 'streamWritable', id }]);
    expect(streams.write(id, new Uint8Array(800))).toBe(500);
  });

  test('reading returns credit for stream and connection; lost frames are made anew with present values', () => {
    const streams = client();
    streams.handleStream(1, 0, new Uint8Array(1_000), false);
    streams.read(1, 1_000);
    const first = packet(streams);
    expect(first.frames).toEqual([
      { type: 'maxData', limit: 4_000 },
      { type: 'maxStreamData', id: 1, limit: 2_000 },
    ]);
    streams.handleStream(1, 1_000, new Uint8Array(500), false);
    streams.read(1, 500);
    for (const frame of first.sent) streams.onFrameLost(frame as StreamsSentFrame);
    expect(packet(streams, 1_200, 1_000).frames).toEqual([
      { type: 'maxData', limit: 4_500 },
      { type: 'maxStreamData', id: 1, limit: 2_500 },
    ]);
  });

  test.each(['stopped', 'reset by the peer'])('what a %s stream received counts as read', (how) => {
    const streams = client();
    streams.handleStream(1, 0, new Uint8Array(900), false);
    if (how === 'stopped') streams.stop(1, 7n);
    else streams.handleResetStream(1, 7n, 1_000);
    const limit = how === 'stopped' ? 3_900 : 4_000;
    expect(packet(streams).frames).toContainEqual({ type: 'maxData', limit });
  });
});

describe('priorities', () => {
  test('higher ones first, equal ones in turn', () => {
    const streams = client(
      {},
      { initialMaxStreamsUni: 4, initialMaxData: 20_000, initialMaxStreamDataUni: 9_000 },
    );
    const [a, b, c, d] = Array.from({ length: 4 }, () => streams.open('uni')!);
    streams.setPriority(c!, 5);
    for (const id of [a, b, c, d]) streams.write(id!, new Uint8Array(1_500));
    streams.setPriority(d!, -1);
    expect([streams.priority(c!), streams.priority(d!)]).toEqual([5, -1]);
    const order = Array.from({ length: 8 }, () => dataIds(packet(streams, 1_000).frames)).flat();
    const turns = order.filter((id, i) => id !== order[i - 1]);
    expect(turns.slice(0, 5)).toEqual([c, a, b, a, b]);
    expect(turns.at(-1)).toBe(d);
    expect(turns.indexOf(d!)).toBe(turns.length - 1);
    expect(streams.wantsData).toBe(false);
  });
});

describe('ends', () => {
  test('the FIN goes with the last bytes; an empty stream is a FIN alone', () => {
    const streams = client();
    const id = streams.open('uni')!;
    streams.write(id, new Uint8Array(10));
    streams.finish(id);
    expect(packet(streams).frames).toEqual([
      { type: 'stream', id, offset: 0, data: new Uint8Array(10), fin: true },
    ]);
    const empty = streams.open('uni')!;
    streams.finish(empty);
    expect(packet(streams).frames).toEqual([
      { type: 'stream', id: empty, offset: 0, data: new Uint8Array(0), fin: true },
    ]);
    expect(streamKind(() => streams.finish(id))).toBe('closed');
    expect(streamKind(() => streams.write(id, new Uint8Array(1)))).toBe('closed');
  });

  test('a reset says how much was written, and drops it', () => {
    const streams = client();
    const id = streams.open('uni')!;
    streams.write(id, new Uint8Array(700));
    streams.reset(id, 9n);
    const { frames, sent } = packet(streams);
    expect(frames).toEqual([{ type: 'resetStream', id, code: 9n, finalSize: 700 }]);
    streams.onFrameLost(sent[0] as StreamsSentFrame);
    const again = packet(streams);
    expect(again.frames).toEqual(frames);
    streams.onFrameAcked(again.sent[0] as StreamsSentFrame);
    expect(events(streams)).toEqual([{ type: 'streamFinished', id }]);
    expect(streams.streamCount).toBe(0);
    expect(streamKind(() => streams.reset(id, 9n))).toBe('closed');
  });

  test('a reset of the peer is told once, then the stream is gone', () => {
    const streams = client();
    streams.handleStream(3, 0, new Uint8Array(5), false);
    streams.handleResetStream(3, 4n, 5);
    expect(streamKind(() => streams.read(3, 10))).toBe('reset');
    expect(streamKind(() => streams.read(3, 10))).toBe('closed');
  });

  test('after the connection ended, what is there can be read', () => {
    const streams = client();
    streams.handleStream(3, 0, new Uint8Array(5), false);
    const own = streams.open('uni')!;
    streams.onConnectionClosed();
    expect(streams.read(3, 10)).toEqual(new Uint8Array(5));
    expect(streamKind(() => streams.read(3, 10))).toBe('connectionLost');
    expect(streamKind(() => streams.write(own, new Uint8Array(1)))).toBe('connectionLost');
    expect(streamKind(() => streams.open('uni'))).toBe('connectionLost');
    expect(streams.wantsControl || streams.wantsData).toBe(false);
  });

  test('refused early data: the streams fail, their numbers come again', () => {
    const streams = client();
    const early = streams.open('bi')!;
    streams.write(early, new Uint8Array(100));
    streams.read(early, 1);
    events(streams);
    streams.onZeroRttRejected();
    expect(events(streams)).toEqual([{ type: 'streamReadable', id: early }]);
    expect(streamKind(() => streams.read(early, 1))).toBe('zeroRttRejected');
    expect(streams.is0Rtt(early)).toBe(true);
    streams.setPeerLimits(LIMITS);
    expect(streams.open('bi')).toBe(early);
    expect(streams.is0Rtt(early)).toBe(false);
    expect(streams.write(early, new Uint8Array(9_000))).toBe(2_000);
  });
});
