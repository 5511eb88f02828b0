import { describe, expect, test } from '@jest/globals';
import { Reader, Writer } from '../../../src/base/bytes.ts';
import { Datagrams } from '../../../src/quic/datagrams.ts';
import type { SentFrame } from '../../../src/quic/sent-frame.ts';
import { decodeFrame } from '../../../src/quic/wire/frames.ts';

/** What one datagram counts for beside its bytes. */
const ENTRY = 32;
const make = (receiveBufferSize: number | undefined = 1_000, sendBufferSize = 1_000): Datagrams =>
  new Datagrams({ receiveBufferSize, sendBufferSize });
const bytes = (length: number, value = 7): Uint8Array => new Uint8Array(length).fill(value);

function write(datagrams: Datagrams, room: number, isEmpty = true): Uint8Array[] {
  const w = new Writer(new Uint8Array(room));
  const sent: SentFrame[] = [];
  datagrams.write(w, sent, isEmpty);
  const r = new Reader(w.copy());
  const list: Uint8Array[] = [];
  while (r.remaining > 0) {
    const frame = decodeFrame(r, 'oneRtt');
    if (frame.type === 'datagram') list.push(frame.data.slice());
  }
  expect(sent).toEqual(list.map((data) => ({ type: 'datagram', size: data.length })));
  return list;
}

describe('receiving', () => {
  test('in order, copied, one notice per empty read', () => {
    const datagrams = make();
    const packet = bytes(5);
    datagrams.handle(packet);
    packet.fill(0);
    datagrams.handle(bytes(1));
    expect([datagrams.pollEvent(), datagrams.pollEvent()]).toEqual([{ type: 'datagramReceived' }, undefined]);
    expect([datagrams.read(), datagrams.read(), datagrams.read()]).toEqual([bytes(5), bytes(1), undefined]);
    datagrams.handle(bytes(0));
    expect(datagrams.pollEvent()).toEqual({ type: 'datagramReceived' });
    expect(datagrams.read()).toEqual(bytes(0));
  });

  test('the buffer is bounded, empty ones count too, the oldest go', () => {
    const datagrams = make(10 * ENTRY);
    for (let i = 0; i < 25; i++) datagrams.handle(bytes(0));
    expect(datagrams.dropped).toBe(15);
    datagrams.handle(bytes(10 * ENTRY, 1));
    expect(datagrams.read()).toEqual(bytes(10 * ENTRY, 1));
    expect(datagrams.read()).toBeUndefined();
  });

  test('not offered, or larger than was offered: PROTOCOL_VIOLATION (RFC 9221 §3)', () => {
    const off = new Datagrams({ receiveBufferSize: undefined, sendBufferSize: 10 });
    expect(off.isEnabled).toBe(false);
    for (const datagrams of [off, make(4)]) {
      expect(() => datagrams.handle(bytes(5))).toThrow(
        expect.objectContaining({ code: 'PROTOCOL_VIOLATION' }),
      );
    }
  });
});

describe('sending', () => {
  test.each([
    [undefined, undefined],
    [0, undefined],
    [2, 0],
    [100, 97],
    [65_535, 1_200 - 21 - 8 - 3],
  ])('a peer that takes frames of %s bytes: %s fit', (limit, size) => {
    const datagrams = make();
    datagrams.setPeerLimit(limit);
    expect(datagrams.maxSize(1_200, 8)).toBe(size);
  });

  test('fills packets in order, and takes no more than fits', () => {
    const datagrams = make();
    for (let i = 1; i <= 3; i++) datagrams.send(bytes(40, i), false);
    expect(write(datagrams, 100)).toEqual([bytes(40, 1), bytes(40, 2)]);
    expect(write(datagrams, 20, false)).toEqual([]);
    expect(datagrams.wantsSend).toBe(true);
    // It does not fit into an empty packet either: the path's MTU must have shrunk.
    expect(write(datagrams, 20)).toEqual([]);
    expect([datagrams.wantsSend, datagrams.dropped]).toEqual([false, 1]);
  });

  test('a full queue refuses, and says when there is room; or drops its oldest', () => {
    const datagrams = make(1_000, 4 * (ENTRY + 68));
    for (let i = 0; i < 4; i++) expect(datagrams.send(bytes(68, i), false)).toBe(true);
    expect(datagrams.sendBufferSpace).toBe(0);
    expect(datagrams.send(bytes(1), false)).toBe(false);
    write(datagrams, 80);
    expect(datagrams.pollEvent()).toBeUndefined();
    write(datagrams, 80);
    expect(datagrams.pollEvent()).toEqual({ type: 'datagramsUnblocked' });
    for (let i = 4; i < 8; i++) expect(datagrams.send(bytes(68, i), true)).toBe(true);
    expect(write(datagrams, 1_000).map((data) => data[0])).toEqual([4, 5, 6, 7]);
    expect(datagrams.dropped).toBe(2);
  });

  test('refused early data takes them along', () => {
    const datagrams = make();
    datagrams.send(bytes(10), false);
    datagrams.onZeroRttRejected();
    expect([datagrams.wantsSend, datagrams.sendBufferSpace]).toEqual([false, 1_000]);
  });
});
