import { describe, expect, test } from '@jest/globals';
import { Reader, Writer } from '../../../../src/base/bytes.ts';
import type { SentFrame } from '../../../../src/quic/sent-frame.ts';
import { RecvCredit } from '../../../../src/quic/streams/recv-credit.ts';
import { RecvStream } from '../../../../src/quic/streams/recv-stream.ts';
import { TransportError } from '../../../../src/quic/transport-error.ts';
import { decodeFrame, type Frame } from '../../../../src/quic/wire/frames.ts';

/** A stream with a window of a thousand bytes. */
const stream = (id = 1): RecvStream => new RecvStream(id, 1_000, false);

/** The peer sends these bytes on a stream, the application reads them. */
function transfer(credit: RecvCredit, to: RecvStream, bytes: number): void {
  credit.onReceived(to.grow(to.highest + bytes, false));
  to.assembler.insert(to.highest - bytes, new Uint8Array(bytes));
  credit.onRead(to, to.assembler.read(bytes)!.length);
}

/** What goes into a packet of this size, and whether it left anything out for want of room. */
function packet(credit: RecvCredit, size = 100): { frames: Frame[]; isWhole: boolean } {
  const w = new Writer(new Uint8Array(size));
  const sent: SentFrame[] = [];
  const isWhole = credit.writeControl(w, sent, 0, 50);
  const r = new Reader(w.copy());
  const frames: Frame[] = [];
  while (r.remaining > 0) frames.push(decodeFrame(r, 'oneRtt'));
  expect(sent.map(({ type }) => type)).toEqual(frames.map(({ type }) => type));
  return { frames, isWhole };
}

describe('credit of the connection (RFC 9000 §4.1)', () => {
  test('all streams together may send what was granted, and not a byte more', () => {
    const credit = new RecvCredit(1_500, 1_500);
    credit.onReceived(1_000);
    credit.onReceived(500);
    expect(() => credit.onReceived(1)).toThrow(
      expect.objectContaining({ constructor: TransportError, code: 'FLOW_CONTROL_ERROR' }),
    );
  });

  test('what nobody will read counts as read, once', () => {
    const credit = new RecvCredit(1_500, 1_500);
    const abandoned = stream();
    transfer(credit, abandoned, 400);
    credit.onReceived(abandoned.grow(900, false));
    credit.onAbandoned(abandoned);
    credit.onAbandoned(abandoned);
    expect(packet(credit).frames).toEqual([{ type: 'maxData', limit: 2_400 }]);
  });

  test('MAX_DATA that was lost is sent with the present value', () => {
    const credit = new RecvCredit(1_500, 1_500);
    transfer(credit, stream(1), 200);
    expect(packet(credit).frames).toContainEqual({ type: 'maxData', limit: 1_700 });
    transfer(credit, stream(5), 100);
    credit.onMaxDataLost();
    expect(packet(credit).frames).toContainEqual({ type: 'maxData', limit: 1_800 });
  });

  test('a larger window is told, a smaller one takes nothing back', () => {
    const credit = new RecvCredit(1_500, 1_500);
    credit.setWindow(500);
    expect(credit.wantsControl).toBe(false);
    credit.onReceived(1_500);
    credit.setWindow(2_000);
    expect(packet(credit).frames).toEqual([{ type: 'maxData', limit: 2_000 }]);
  });
});

/** The window of the connection is so large that it asks for nothing. */
describe('credit of a stream (RFC 9000 §4.2)', () => {
  test('is returned when it was read', () => {
    const credit = new RecvCredit(10_000, 10_000);
    const read = stream();
    transfer(credit, read, 100);
    expect(credit.wantsControl).toBe(false);
    transfer(credit, read, 100);
    expect(packet(credit).frames).toEqual([{ type: 'maxStreamData', id: 1, limit: 1_200 }]);
    expect(credit.wantsControl).toBe(false);
  });

  /** RFC 9000 §3.2: only in the state "Recv" is MAX_STREAM_DATA of any use. */
  test.each<[string, (ended: RecvStream) => void]>([
    ['its size is known', (ended) => ended.move('fin')],
    ['the peer reset it', (ended) => ended.move('reset')],
    ['it was stopped', (ended) => (ended.stopCode = 7n)],
  ])('is not sent once %s; others have theirs', (_, end) => {
    const credit = new RecvCredit(10_000, 10_000);
    const ended = stream(1);
    transfer(credit, ended, 200);
    transfer(credit, stream(5), 200);
    end(ended);
    expect(packet(credit).frames).toEqual([{ type: 'maxStreamData', id: 5, limit: 1_200 }]);
    // Nor again after a loss.
    credit.onMaxStreamDataLost(ended);
    expect(credit.wantsControl).toBe(false);
  });

  test.each<[string, (credit: RecvCredit, gone: RecvStream) => void]>([
    ['early data was refused', (credit) => credit.onZeroRttRejected()],
    ['the connection is closed', (credit) => credit.onConnectionClosed()],
    ['nobody will read it', (credit, gone) => credit.onAbandoned(gone)],
    ['the stream is done', (credit, gone) => credit.forget(gone)],
  ])('is not sent when %s', (_, end) => {
    const credit = new RecvCredit(10_000, 10_000);
    const gone = stream();
    transfer(credit, gone, 200);
    expect(credit.wantsControl).toBe(true);
    end(credit, gone);
    expect(credit.wantsControl).toBe(false);
    expect(packet(credit).frames).toEqual([]);
  });
});

describe('a packet without room', () => {
  test('for MAX_STREAM_DATA is full', () => {
    const credit = new RecvCredit(10_000, 10_000);
    for (const id of [1, 5]) transfer(credit, stream(id), 200);
    const first = { type: 'maxStreamData', id: 1, limit: 1_200 };
    const second = { type: 'maxStreamData', id: 5, limit: 1_200 };
    expect(packet(credit, 17)).toEqual({ frames: [first], isWhole: false });
    expect(packet(credit, 17)).toEqual({ frames: [second], isWhole: true });
  });

  test('for MAX_DATA leaves it for the next one', () => {
    const credit = new RecvCredit(1_500, 1_500);
    credit.onReceived(500);
    credit.setWindow(2_500);
    expect(packet(credit, 8)).toEqual({ frames: [], isWhole: true });
    expect(packet(credit, 9)).toEqual({ frames: [{ type: 'maxData', limit: 2_500 }], isWhole: true });
  });
});
