/**
 * A packet's payload: `| space | frames |`.
 *
 * @module
 */
import fc from 'fast-check';
import { concatBytes, fromHex, Reader } from '../../../src/base/bytes.ts';
import { decodeFrame, isAckEliciting, isProbing, type FrameSpace } from '../../../src/quic/wire/frames.ts';
import { frameTypeName, FRAME } from '../../../src/quic/wire/frames.ts';
import { TransportError } from '../../../src/quic/transport-error.ts';
import { frameArbitraries } from '../../support/frames.ts';
import { must, refused, type Target } from '../target.ts';

const SPACES: readonly FrameSpace[] = ['initial', 'handshake', 'zeroRtt', 'oneRtt'];
const SEED = 1;

/** Frames that no writer of its own makes: ACKs, STREAM and DATAGRAM with and without their optional fields, PADDING. */
const BY_HAND = [
  '02090a0203010002', // ACK 9, delay 10, two more ranges
  '0305000103010203', // ACK_ECN
  '08040102', // STREAM to the end
  '0e0440010203aabbcc',
  '0f000003aabbcc',
  '30aabb',
  '3102aabb',
  '000000',
  '400a01',
];

export const frame: Target = {
  name: 'frame',
  decoders: [{ file: 'src/quic/wire/frames.ts' }],
  maxLength: 512,
  // A frame takes at least a byte, and an ACK range two.
  maxWork: 20_000,
  seeds: () => {
    const written = Object.values(frameArbitraries).flatMap((frames) =>
      fc.sample(frames, { numRuns: 3, seed: SEED }).map(({ bytes }) => bytes),
    );
    const payloads = [...written, ...BY_HAND.map(fromHex)].map((bytes) =>
      concatBytes(Uint8Array.of(3), bytes),
    );
    return [...payloads, Uint8Array.of(0, 1), Uint8Array.of(1, 1), Uint8Array.of(2, 1)];
  },
  dictionary: Object.values(FRAME).map((type) => {
    if (type < 0x40) return Uint8Array.of(type);
    if (type < 0x4000) return Uint8Array.of(0x40 | (type >> 8), type & 0xff);
    return Uint8Array.of(0x80 | (type >>> 24), (type >>> 16) & 0xff, (type >>> 8) & 0xff, type & 0xff);
  }),
  run: (input) => {
    const space = SPACES[(input[0] ?? 0) % SPACES.length]!;
    const reader = new Reader(input.subarray(1));
    while (reader.remaining > 0) {
      const before = reader.pos;
      const stop = refused(
        () => {
          const decoded = decodeFrame(reader, space);
          isAckEliciting(decoded);
          isProbing(decoded);
        },
        (error) =>
          error instanceof TransportError &&
          frameTypeName(error.frameType) !== '' &&
          (error.code === 'FRAME_ENCODING_ERROR' || error.code === 'PROTOCOL_VIOLATION'),
      );
      if (stop) return;
      must(reader.pos > before, 'a frame without any byte');
    }
  },
};
