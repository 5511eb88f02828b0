import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Writer, concatBytes, equalBytes, fromHex, toHex, utf8 } from '../../../src/base/bytes.ts';
import { SecretKey } from '../../../src/crypto/keys.ts';
import {
  FRAME_TYPE,
  MAX_RELAY_BATCH_BYTES,
  MAX_RELAY_DATAGRAM_BYTES,
  RELAY_STATUS,
  chooseRelayProtocol,
  datagramsOffset,
  decodeClientFrame,
  decodeServerFrame,
  encodeDatagrams,
  encodeEndpointGone,
  encodeHealth,
  encodePing,
  encodePong,
  encodeRestarting,
  encodeStatus,
  forwardDatagrams,
  isRelayProtocol,
  isRelayable,
  packDatagrams,
  splitDatagrams,
} from '../../../src/relay/frames.ts';
import { RelayProtocolError, type RelayFault } from '../../../src/relay/protocol-error.ts';

/** The id of the published vectors: seed 32 × 2a (`iroh-relay/src/protos/relay.rs`, its tests). */
const peer = SecretKey.fromBytes(new Uint8Array(32).fill(0x2a)).publicKey.toBytes();
const ID = '197f6b23e16c8532c6abc838facd5ea789be0c76b2920334039bfa8b3d368d61';
const V2 = 'iroh-relay-v2';
const V1 = 'iroh-relay-v1';
const hello = utf8('Hello World!');

function faultOf(decode: () => unknown): RelayFault {
  try {
    decode();
  } catch (error) {
    if (error instanceof RelayProtocolError) return error.fault;
    throw error;
  }
  throw new Error('expected a fault');
}

describe('published bytes', () => {
  test.each([
    ['ping', encodePing(new Uint8Array(8).fill(42)), '092a2a2a2a2a2a2a2a'],
    ['pong', encodePong(new Uint8Array(8).fill(42)), '0a2a2a2a2a2a2a2a2a'],
    ['endpoint gone', encodeEndpointGone(peer), `08${ID}`],
    ['restarting', encodeRestarting(10, 20), '0c0000000a00000014'],
    ['status', encodeStatus(RELAY_STATUS.sameEndpointId), '0d01'],
    ['health', encodeHealth('Hello? Yes this is dog.'), `0b${toHex(utf8('Hello? Yes this is dog.'))}`],
    [
      'batch to a relay',
      encodeDatagrams('client', { peer, ecn: 3, segmentBytes: 6, contents: hello }),
      `05${ID}03000648656c6c6f20576f726c6421`,
    ],
    [
      'datagram to a relay',
      encodeDatagrams('client', { peer, ecn: 3, segmentBytes: 0, contents: hello }),
      `04${ID}0348656c6c6f20576f726c6421`,
    ],
    [
      'batch from a relay',
      encodeDatagrams('server', { peer, ecn: 3, segmentBytes: 6, contents: hello }),
      `07${ID}03000648656c6c6f20576f726c6421`,
    ],
    [
      'datagram from a relay',
      encodeDatagrams('server', { peer, ecn: 3, segmentBytes: 0, contents: hello }),
      `06${ID}0348656c6c6f20576f726c6421`,
    ],
  ])('%s', (_name, bytes, hex) => expect(toHex(bytes)).toBe(hex));

  test('are read back', () => {
    expect(decodeServerFrame(fromHex('0c0000000a00000014'), V2)).toEqual({
      type: 'restarting',
      reconnectInMs: 10,
      tryForMs: 20,
    });
    expect(decodeServerFrame(fromHex('0d01ffff'), V2)).toEqual({ type: 'status', status: 1 });
    expect(decodeServerFrame(fromHex(`08${ID}`), V1)).toEqual({ type: 'endpointGone', peer });
    expect(decodeServerFrame(fromHex('0b6869'), V1)).toEqual({ type: 'health', problem: 'hi' });
    expect(decodeClientFrame(fromHex('092a2a2a2a2a2a2a2a'))).toEqual({
      type: 'ping',
      payload: new Uint8Array(8).fill(42),
    });
  });
});

test('the highest version that both know, whatever the order', () => {
  expect(chooseRelayProtocol('iroh-relay-v1, iroh-relay-v2')).toBe(V2);
  expect(chooseRelayProtocol(' iroh-relay-v1 ,x')).toBe(V1);
  expect(chooseRelayProtocol('iroh-relay-v3')).toBeUndefined();
  expect(chooseRelayProtocol('')).toBeUndefined();
  expect([V1, V2, 'derp'].map(isRelayProtocol)).toEqual([true, true, false]);
});

const anyDatagrams = fc.record({
  peer: fc.uint8Array({ minLength: 32, maxLength: 32 }),
  ecn: fc.integer({ min: 0, max: 3 }),
  segmentBytes: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 65_535 })),
  contents: fc.uint8Array({ minLength: 1, maxLength: 3_000 }),
});

test('datagrams come back, and through a relay with the other id', () => {
  fc.assert(
    fc.property(anyDatagrams, fc.uint8Array({ minLength: 32, maxLength: 32 }), (frame, source) => {
      const message = encodeDatagrams('client', frame);
      expect(decodeClientFrame(message)).toEqual({ type: 'datagrams', ...frame });
      const at = datagramsOffset(message);
      expect(message.subarray(at, at + 32)).toEqual(frame.peer);
      const forwarded = forwardDatagrams(message, at, source);
      expect(forwarded).toBe(message);
      expect(forwarded).toEqual(encodeDatagrams('server', { ...frame, peer: source }));
      expect(decodeServerFrame(forwarded, V2)).toEqual({ type: 'datagrams', ...frame, peer: source });
    }),
  );
});

test.each([2, 4, 8] as const)('a type in %d bytes is the same type', (size) => {
  const writer = new Writer();
  writer.varintSized(FRAME_TYPE.clientDatagramBatch, size);
  const frame = { peer, ecn: 1, segmentBytes: 6, contents: hello };
  const message = concatBytes(writer.copy(), encodeDatagrams('client', frame).subarray(1));
  expect(decodeClientFrame(message)).toEqual({ type: 'datagrams', ...frame });
  expect(datagramsOffset(message)).toBe(size);
  const source = new Uint8Array(32).fill(7);
  expect(forwardDatagrams(message, size, source)).toEqual(
    encodeDatagrams('server', { ...frame, peer: source }),
  );
  const ping = new Writer();
  ping.varintSized(FRAME_TYPE.ping, size);
  expect(datagramsOffset(concatBytes(ping.copy(), new Uint8Array(8)))).toBe(-1);
});

test('datagrams are packed into as few frames as may be, and nothing is lost or joined', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.oneof(
          fc.integer({ min: 1, max: 1_500 }),
          fc.constant(1_200),
          fc.constant(MAX_RELAY_DATAGRAM_BYTES),
        ),
        { minLength: 1, maxLength: 40 },
      ),
      fc.oneof(fc.constant(undefined), fc.integer({ min: 1, max: 10 })),
      (sizes, maxCount) => {
        const datagrams = sizes.map((size, i) => new Uint8Array(size).fill(i + 1));
        const received: Uint8Array[] = [];
        for (let from = 0; from < datagrams.length;) {
          const { message, count } = packDatagrams(
            'client',
            peer,
            2,
            datagrams,
            from,
            datagrams.length,
            maxCount,
          );
          expect(count).toBeLessThanOrEqual(maxCount ?? Infinity);
          const frame = decodeClientFrame(message);
          if (frame.type !== 'datagrams') throw new Error('no datagrams');
          expect(frame.segmentBytes === 0).toBe(count === 1);
          const before = received.length;
          expect(splitDatagrams(frame, 65_536, received)).toBe(0);
          expect(received.length - before).toBe(count);
          from += count;
        }
        // Not toEqual on all: it takes seconds for megabytes.
        expect(received.length).toBe(datagrams.length);
        expect(received.every((data, i) => equalBytes(data, datagrams[i]!))).toBe(true);
      },
    ),
  );
});

test('packing: equal sizes go together, a shorter one is last, the frame limit ends it', () => {
  const pack = (sizes: number[]): number =>
    packDatagrams(
      'client',
      peer,
      0,
      sizes.map((size) => new Uint8Array(size)),
      0,
      sizes.length,
    ).count;
  expect(pack([1_200, 1_200, 1_200])).toBe(3);
  expect(pack([1_200, 1_200, 700, 1_200])).toBe(3);
  expect(pack([700, 1_200])).toBe(1);
  expect(pack(Array<number>(100).fill(1_300))).toBe(Math.floor(MAX_RELAY_BATCH_BYTES / 1_300));
});

test('F14: a batch is cut at its segment borders; what is too long is left out and counted', () => {
  const contents = Uint8Array.from({ length: 25 }, (_, i) => i);
  const out: Uint8Array[] = [];
  expect(splitDatagrams({ contents, segmentBytes: 10 }, 10, out)).toBe(0);
  expect(out.map((segment) => segment.length)).toEqual([10, 10, 5]);
  expect(concatBytes(...out)).toEqual(contents);
  // Only the last segment is short enough.
  const few: Uint8Array[] = [];
  expect(splitDatagrams({ contents, segmentBytes: 10 }, 9, few)).toBe(2);
  expect(few).toEqual([contents.subarray(20)]);
  // Segment size 0 in a batch: one datagram.
  const single: Uint8Array[] = [];
  expect(splitDatagrams({ contents, segmentBytes: 0 }, 25, single)).toBe(0);
  expect(single).toEqual([contents]);
  expect(splitDatagrams({ contents, segmentBytes: 0 }, 24, single)).toBe(1);
  // A segment size above the contents: one datagram as well.
  expect(splitDatagrams({ contents, segmentBytes: 65_535 }, 25, single)).toBe(0);
});

describe('hostile bytes', () => {
  const padded = (hex: string, length: number): Uint8Array =>
    concatBytes(fromHex(hex), new Uint8Array(length));

  test.each<[string, Uint8Array, RelayFault]>([
    ['nothing', new Uint8Array(0), 'truncated'],
    ['a varint that is cut off', fromHex('80'), 'truncated'],
    ['a type that nobody knows', fromHex('0e'), 'unknownFrame'],
    ['a type above 2^53', fromHex('ffffffffffffffff'), 'unknownFrame'],
    ['a challenge', padded('00', 16), 'unexpectedFrame'],
    ['an authentication after the handshake', padded('01', 97), 'unexpectedFrame'],
    ['a datagram in the other direction', padded('06', 40), 'unexpectedFrame'],
    ['an endpoint gone', padded('08', 32), 'unexpectedFrame'],
    ['a status', fromHex('0d00'), 'unexpectedFrame'],
    ['a short ping', padded('09', 7), 'wrongLength'],
    ['a long pong', padded('0a', 9), 'wrongLength'],
    ['a datagram without ecn', padded('04', 32), 'truncated'],
    ['an empty datagram', padded('04', 33), 'emptyDatagram'],
    ['a batch without a segment size', padded('05', 34), 'truncated'],
    ['an empty batch', padded('05', 35), 'emptyDatagram'],
    ['a datagram of 65,536 bytes', padded('04', 65_536), 'tooLarge'],
    ['a batch of 65,536 bytes', padded('05', 65_536), 'tooLarge'],
    ['a ping of a megabyte', padded('09', 1_048_575), 'tooLarge'],
  ])('%s', (_name, message, fault) => {
    expect(faultOf(() => decodeClientFrame(message))).toBe(fault);
    // The hot path says the same of datagrams, and leaves the rest to the decoder.
    if (message[0] === 4 || message[0] === 5) expect(faultOf(() => datagramsOffset(message))).toBe(fault);
  });

  test('the largest that may pass', () => {
    for (const [type, length] of [
      ['04', MAX_RELAY_DATAGRAM_BYTES],
      ['05', MAX_RELAY_BATCH_BYTES],
    ] as const) {
      const message = padded(type, (type === '04' ? 33 : 35) + length);
      expect(message.length).toBe(65_536);
      expect(decodeClientFrame(message)).toMatchObject({ type: 'datagrams' });
      expect(datagramsOffset(message)).toBe(1);
    }
    const encode = (segmentBytes: number, length: number) => () =>
      encodeDatagrams('server', { peer, ecn: 0, segmentBytes, contents: new Uint8Array(length) });
    expect(encode(0, MAX_RELAY_DATAGRAM_BYTES + 1)).toThrow(RangeError);
    expect(encode(5, MAX_RELAY_BATCH_BYTES + 1)).toThrow(RangeError);
    expect(encode(0, 0)).toThrow(RangeError);
  });

  test('frames of the other version', () => {
    expect(faultOf(() => decodeServerFrame(fromHex('0d01'), V1))).toBe('unexpectedFrame');
    expect(faultOf(() => decodeServerFrame(fromHex('0b6869'), V2))).toBe('unexpectedFrame');
    expect(faultOf(() => decodeServerFrame(fromHex('0d'), V2))).toBe('truncated');
    expect(faultOf(() => decodeServerFrame(padded('08', 31), V2))).toBe('wrongLength');
    expect(faultOf(() => decodeServerFrame(padded('0c', 7), V2))).toBe('wrongLength');
    expect(faultOf(() => decodeServerFrame(padded('04', 40), V2))).toBe('unexpectedFrame');
  });

  test('anything at all: a frame or a fault', () => {
    const anyMessage = fc.oneof(
      fc.uint8Array({ maxLength: 120 }),
      fc
        .tuple(fc.integer({ min: 0, max: 16 }), fc.uint8Array({ maxLength: 120 }))
        .map(([type, rest]) => Uint8Array.of(type, ...rest)),
    );
    fc.assert(
      fc.property(
        anyMessage,
        fc.constantFrom<'iroh-relay-v1' | 'iroh-relay-v2'>(V1, V2),
        (message, version) => {
          for (const decode of [
            () => decodeClientFrame(message),
            () => decodeServerFrame(message, version),
            () => datagramsOffset(message),
          ]) {
            try {
              decode();
            } catch (error) {
              expect(error).toBeInstanceOf(RelayProtocolError);
            }
          }
        },
      ),
      { numRuns: 2_000 },
    );
  });
});

test('what a frame takes: one byte to 65,502', () => {
  const sizes = [0, 1, 65_502, 65_503];
  expect(sizes.map((size) => isRelayable(new Uint8Array(size)))).toEqual([false, true, true, false]);
});
