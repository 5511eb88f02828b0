import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { concatBytes, fromHex, Reader, toHex, Writer } from '../../../../src/base/bytes.ts';
import { toAddr } from '../../../../src/base/socket-addr.ts';
import { TransportError } from '../../../../src/quic/transport-error.ts';
import * as frames from '../../../../src/quic/wire/frames.ts';
import {
  decodeFrame,
  FRAME,
  frameTypeName,
  isAckEliciting,
  isProbing,
  type Frame,
  type FrameSpace,
} from '../../../../src/quic/wire/frames.ts';
import { anyWrittenFrame, frameArbitraries } from '../../../support/frames.ts';

const SPACES: readonly FrameSpace[] = ['initial', 'handshake', 'zeroRtt', 'oneRtt'];
const decode = (hex: string, space: FrameSpace = 'oneRtt'): Frame =>
  decodeFrame(new Reader(fromHex(hex.replaceAll(' ', ''))), space);

function errorOf(action: () => unknown): { code: string; frameType: number } | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    if (!(error instanceof TransportError)) throw error;
    return { code: error.code, frameType: error.frameType };
  }
}

/** Writes a frame type in its shortest form, which is the only one that peers use. */
function typeBytes(type: number): Uint8Array {
  const w = new Writer();
  w.varint(type);
  return w.copy();
}

describe('round trips', () => {
  test('every writer has one', () => {
    const writers = Object.keys(frames).filter((name) => name.startsWith('write'));
    const covered = new Set(Object.keys(frameArbitraries).map((name) => name.split(' ')[0]));
    expect(writers.filter((name) => !covered.has(name))).toEqual([]);
  });

  test.each(Object.entries(frameArbitraries))('%s', (_, arbitrary) => {
    fc.assert(
      fc.property(arbitrary, fc.uint8Array({ maxLength: 4 }), ({ frame, bytes }, behind) => {
        const r = new Reader(concatBytes(Uint8Array.of(9, 9), bytes, behind), 2);
        expect(decodeFrame(r, 'oneRtt')).toEqual(frame);
        expect(r.pos).toBe(2 + bytes.length);
        // The type is the shortest varint (RFC 9000 §12.4).
        const type = new Reader(bytes).varint();
        expect(toHex(bytes.subarray(0, typeBytes(type).length))).toBe(toHex(typeBytes(type)));
      }),
      { numRuns: 60 },
    );
  });

  test('a packet full of frames', () => {
    fc.assert(
      fc.property(fc.array(anyWrittenFrame, { minLength: 1, maxLength: 20 }), (list) => {
        const r = new Reader(concatBytes(...list.map(({ bytes }) => bytes)));
        const decoded: Frame[] = [];
        while (r.remaining > 0) decoded.push(decodeFrame(r, 'oneRtt'));
        expect(decoded).toEqual(list.map(({ frame }) => frame));
      }),
      { numRuns: 50 },
    );
  });

  test('every cut of a frame is a FRAME_ENCODING_ERROR that names it', () => {
    fc.assert(
      fc.property(anyWrittenFrame, ({ bytes }) => {
        const type = new Reader(bytes).varint();
        for (let cut = typeBytes(type).length; cut < bytes.length; cut++) {
          expect(errorOf(() => decodeFrame(new Reader(bytes, 0, cut), 'oneRtt'))).toEqual({
            code: 'FRAME_ENCODING_ERROR',
            frameType: type,
          });
        }
      }),
      { numRuns: 50 },
    );
  });
});

describe('bytes that are written down elsewhere', () => {
  test.each([
    ['7e75 02 3e', { type: 'pathAbandon', pathId: 2, code: 0x3e }],
    ['803d7f90 00 7f000001 c969', { type: 'addAddress', sequence: 0, addr: toAddr('127.0.0.1', 51_561) }],
    [
      '40af 00 0a 8000c350 01',
      {
        type: 'ackFrequency',
        sequence: 0,
        ackElicitingThreshold: 10,
        maxAckDelay: 50_000,
        reorderingThreshold: 1,
      },
    ],
    // draft-seemann-quic-address-discovery through a dual-stack socket: the same address as in IPv4 form.
    [
      '809f81a7 05 00000000000000000000ffff 01020304 0050',
      { type: 'observedAddress', sequence: 5, addr: toAddr('1.2.3.4', 80) },
    ],
  ])('%s', (hex, frame) => {
    expect(decode(hex)).toEqual(frame);
  });
});

describe('STREAM', () => {
  test.each([
    ['08 04 616263', 0, false],
    ['09 04 616263', 0, true],
    ['0a 04 03 616263', 0, false],
    ['0b 04 03 616263', 0, true],
    ['0c 04 4100 616263', 256, false],
    ['0d 04 4100 616263', 256, true],
    ['0e 04 4100 03 616263', 256, false],
    ['0f 04 4100 03 616263', 256, true],
  ])('%s', (hex, offset, fin) => {
    expect(decode(hex)).toEqual({ type: 'stream', id: 4, offset, data: fromHex('616263'), fin });
  });

  test('data is a view', () => {
    const bytes = fromHex('0a0403616263');
    const frame = decodeFrame(new Reader(bytes), 'oneRtt');
    expect(frame.type === 'stream' && frame.data.buffer).toBe(bytes.buffer);
  });
});

describe('DATAGRAM', () => {
  test('with and without length', () => {
    expect(decode('30 616263')).toEqual({ type: 'datagram', data: fromHex('616263') });
    expect(decode('31 02 616263')).toEqual({ type: 'datagram', data: fromHex('6162') });
  });
});

describe('PADDING', () => {
  test('a run is one frame, and ends where the packet does', () => {
    const bytes = new Uint8Array(20);
    const r = new Reader(bytes, 3, 15);
    expect(decodeFrame(r, 'initial')).toEqual({ type: 'padding' });
    expect(r.pos).toBe(15);
  });
});

describe('ACK and PATH_ACK', () => {
  test('ranges, newest first (RFC 9000 §19.3.1)', () => {
    // Largest 20, first range 2: 18–20. Gap 1, range 3: 12–15. Gap 0, range 0: 10.
    const ranges = [20, 18, 15, 12, 10, 10];
    expect(decode('02 14 0a 02 02 01 03 00 00')).toEqual({ type: 'ack', delay: 10, ranges });
    expect(decode('03 14 0a 02 02 01 03 00 00 01 02 03')).toEqual({ type: 'ack', delay: 10, ranges });
    expect(decode('3e 07 14 0a 02 02 01 03 00 00')).toEqual({
      type: 'pathAck',
      pathId: 7,
      delay: 10,
      ranges,
    });
    expect(decode('3f 07 14 0a 02 02 01 03 00 00 01 02 03')).toMatchObject({ type: 'pathAck', ranges });
  });

  test.each([
    ['first range below zero', '02 02 00 00 03'],
    ['gap below zero', '02 02 00 01 00 01 00'],
    ['range below zero', '02 05 00 01 00 00 04'],
    ['more ranges than bytes', '02 bfffffff 00 bfffffff 00 00 00'],
    ['ECN counts missing', '03 02 00 00 00'],
  ])('%s', (_, hex) => {
    expect(errorOf(() => decode(hex))?.code).toBe('FRAME_ENCODING_ERROR');
  });

  test('any ranges', () => {
    const steps = fc.array(fc.tuple(fc.nat(100), fc.nat(100)), { minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(steps, fc.nat(2 ** 20), fc.nat(2 ** 40), (list, delay, lowest) => {
        const ranges: number[] = [];
        let low = lowest;
        for (const [gap, length] of list) {
          ranges.unshift(low + length, low);
          low += length + gap + 2;
        }
        const w = new Writer();
        w.u8(0x02);
        w.varint(ranges[0]!);
        w.varint(delay);
        w.varint(ranges.length / 2 - 1);
        w.varint(ranges[0]! - ranges[1]!);
        for (let i = 2; i < ranges.length; i += 2) {
          w.varint(ranges[i - 1]! - ranges[i]! - 2);
          w.varint(ranges[i]! - ranges[i + 1]!);
        }
        expect(decodeFrame(new Reader(w.copy()), 'oneRtt')).toEqual({ type: 'ack', delay, ranges });
      }),
    );
  });
});

describe('rules of single frames', () => {
  const token = '00'.repeat(16);
  test.each([
    ['NEW_TOKEN without a token (RFC 9000 §19.7)', '07 00', 0x07],
    ['NEW_CONNECTION_ID without an id (§19.15)', `18 00 00 00 ${token}`, 0x18],
    ['NEW_CONNECTION_ID with 21 bytes', `18 00 00 15 ${'00'.repeat(21)} ${token}`, 0x18],
    ['NEW_CONNECTION_ID that retires itself (§19.15)', `18 01 02 01 aa ${token}`, 0x18],
    ['MAX_STREAMS above 2^60 (§19.11)', '12 d000000000000001', 0x12],
    ['STREAMS_BLOCKED above 2^60 (§19.14)', '17 ffffffffffffffff', 0x17],
    ['path id of 33 bits', '7e7a c000000100000000', 0x3e7a],
    ['PATH_ACK of a path id of 33 bits', '3e c000000100000000 00 00 00 00', 0x3e],
    ['stream offset above 2^53', '0e 00 ffffffffffffffff 00', 0x0e],
    ['unknown type', '4040', 0x40],
    ['unknown type in one byte', '20', 0x20],
    ['unknown type of 62 bits', 'ffffffffffffffff', Number.MAX_SAFE_INTEGER],
  ])('%s', (_, hex, frameType) => {
    expect(errorOf(() => decode(hex))).toEqual({ code: 'FRAME_ENCODING_ERROR', frameType });
  });

  test('MAX_STREAMS of exactly 2^60 is legal; limits are clamped, codes are exact', () => {
    expect(decode('12 d000000000000000')).toEqual({
      type: 'maxStreams',
      dir: 'bi',
      limit: Number.MAX_SAFE_INTEGER,
    });
    expect(decode('10 ffffffffffffffff')).toEqual({ type: 'maxData', limit: Number.MAX_SAFE_INTEGER });
    expect(decode('05 00 ffffffffffffffff')).toEqual({ type: 'stopSending', id: 0, code: 2n ** 62n - 1n });
  });

  test('an empty reader is an error, whatever bytes lie behind its end', () => {
    expect(errorOf(() => decodeFrame(new Reader(Uint8Array.of(1, 1), 1, 1), 'oneRtt'))?.code).toBe(
      'FRAME_ENCODING_ERROR',
    );
  });
});

describe('where a frame may appear (RFC 9000 §12.4 table 3, §12.5)', () => {
  /** Everything that is not 1-RTT only. APPLICATION_CLOSE: see the comment in the table. */
  const elsewhere: Record<string, readonly FrameSpace[]> = {
    PADDING: SPACES,
    PING: SPACES,
    ACK: ['initial', 'handshake', 'oneRtt'],
    CRYPTO: ['initial', 'handshake', 'oneRtt'],
    RESET_STREAM: ['zeroRtt', 'oneRtt'],
    STOP_SENDING: ['zeroRtt', 'oneRtt'],
    STREAM: ['zeroRtt', 'oneRtt'],
    MAX_DATA: ['zeroRtt', 'oneRtt'],
    MAX_STREAM_DATA: ['zeroRtt', 'oneRtt'],
    MAX_STREAMS: ['zeroRtt', 'oneRtt'],
    DATA_BLOCKED: ['zeroRtt', 'oneRtt'],
    STREAM_DATA_BLOCKED: ['zeroRtt', 'oneRtt'],
    STREAMS_BLOCKED: ['zeroRtt', 'oneRtt'],
    NEW_CONNECTION_ID: ['zeroRtt', 'oneRtt'],
    PATH_CHALLENGE: ['zeroRtt', 'oneRtt'],
    CONNECTION_CLOSE: SPACES,
    APPLICATION_CLOSE: SPACES,
    DATAGRAM: ['zeroRtt', 'oneRtt'],
  };
  const types = [...Object.values(FRAME), 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f];

  test.each(types.map((type) => [type, frameTypeName(type)] as const))('0x%s %s', (type, name) => {
    const allowed = elsewhere[name] ?? ['oneRtt'];
    // Enough zeros for any frame; whether they are well-formed does not matter here.
    const bytes = concatBytes(typeBytes(type), new Uint8Array(40));
    for (const space of SPACES) {
      const error = errorOf(() => decodeFrame(new Reader(bytes), space));
      if (allowed.includes(space)) expect(error?.code).not.toBe('PROTOCOL_VIOLATION');
      else expect(error).toEqual({ code: 'PROTOCOL_VIOLATION', frameType: type });
    }
  });
});

describe('classes of frames', () => {
  const NOT_ELICITING = new Set(['ack', 'pathAck', 'padding', 'connectionClose', 'applicationClose']);
  const PROBING = new Set([
    'padding',
    'pathChallenge',
    'pathResponse',
    'newConnectionId',
    'pathNewConnectionId',
    'observedAddress',
  ]);

  test('ack-eliciting (RFC 9000 §13.2) and probing (§9.1)', () => {
    fc.assert(
      fc.property(anyWrittenFrame, ({ frame }) => {
        expect(isAckEliciting(frame)).toBe(!NOT_ELICITING.has(frame.type));
        expect(isProbing(frame)).toBe(PROBING.has(frame.type));
      }),
    );
    const ack: Frame = { type: 'ack', delay: 0, ranges: [0, 0] };
    expect([isAckEliciting(ack), isProbing(ack)]).toEqual([false, false]);
    expect([isAckEliciting({ type: 'padding' }), isProbing({ type: 'padding' })]).toEqual([false, true]);
  });
});

describe('hostile bytes', () => {
  const decodeAll = (bytes: Uint8Array, space: FrameSpace): void => {
    const r = new Reader(bytes);
    let before = -1;
    while (r.remaining > 0) {
      before = r.pos;
      decodeFrame(r, space);
      // Each frame takes at least one byte, so the work is bounded by the packet.
      expect(r.pos).toBeGreaterThan(before);
      expect(r.pos).toBeLessThanOrEqual(r.end);
    }
  };

  test('random ones give frames or a TransportError', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.constantFrom(...SPACES), (bytes, space) => {
        errorOf(() => decodeAll(bytes, space));
      }),
      { numRuns: 500 },
    );
  });

  test('valid packets with bytes changed give frames or a TransportError', () => {
    const change = fc.tuple(fc.nat(), fc.nat(255));
    fc.assert(
      fc.property(
        fc.array(anyWrittenFrame, { minLength: 1, maxLength: 8 }),
        fc.array(change, { minLength: 1, maxLength: 4 }),
        (list, changes) => {
          const bytes = concatBytes(...list.map((each) => each.bytes));
          for (const [at, value] of changes) bytes[at % bytes.length] = value;
          errorOf(() => decodeAll(bytes, 'oneRtt'));
        },
      ),
      { numRuns: 500 },
    );
  });
});
