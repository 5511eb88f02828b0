/**
 * Random frames together with the bytes that our writers make of them.
 *
 * @module
 */
import fc from 'fast-check';
import { Writer } from '../../src/base/bytes.ts';
import { toAddr } from '../../src/base/socket-addr.ts';
import {
  writeAddAddress,
  writeApplicationClose,
  writeConnectionClose,
  writeCrypto,
  writeDataBlocked,
  writeHandshakeDone,
  writeImmediateAck,
  writeMaxData,
  writeMaxPathId,
  writeMaxStreamData,
  writeMaxStreams,
  writeNewConnectionId,
  writeNewToken,
  writeObservedAddress,
  writePathAbandon,
  writePathChallenge,
  writePathCidsBlocked,
  writePathResponse,
  writePathsBlocked,
  writePathStatus,
  writePing,
  writeReachOut,
  writeRemoveAddress,
  writeResetStream,
  writeRetireConnectionId,
  writeStopSending,
  writeStreamDataBlocked,
  writeStreamsBlocked,
  type Frame,
} from '../../src/quic/wire/frames.ts';

/** A frame as it should be decoded, and how it is written. */
export interface WrittenFrame {
  readonly frame: Frame;
  readonly bytes: Uint8Array;
}

const written = (frame: Frame, write: (w: Writer) => void): WrittenFrame => {
  const w = new Writer();
  write(w);
  return { frame, bytes: w.copy() };
};

/** Values around the borders of the varint sizes too. */
const varint = fc.oneof(
  fc.constantFrom(0, 63, 64, 16_383, 16_384, 2 ** 30 - 1, 2 ** 30, Number.MAX_SAFE_INTEGER),
  fc.nat(Number.MAX_SAFE_INTEGER),
);
const code = fc.oneof(
  fc.constantFrom(0n, 2n ** 53n, 2n ** 62n - 1n),
  fc.bigInt({ min: 0n, max: 2n ** 62n - 1n }),
);
const path = fc.oneof(fc.constantFrom(0, 7, 2 ** 32 - 1), fc.nat(2 ** 32 - 1));
const data = fc.uint8Array({ maxLength: 200 });
const eight = fc.uint8Array({ minLength: 8, maxLength: 8 });
const dir = fc.constantFrom('bi' as const, 'uni' as const);
const addr = fc
  .tuple(
    fc.oneof(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.uint8Array({ minLength: 16, maxLength: 16 })),
    fc.nat(65_535),
  )
  .map(([ip, port]) => toAddr(ip, port));
const streamCount = fc.oneof(fc.constantFrom(0, 100, Number.MAX_SAFE_INTEGER), fc.nat(2 ** 40));
const cidFields = fc
  .tuple(
    varint,
    varint,
    fc.uint8Array({ minLength: 1, maxLength: 20 }),
    fc.uint8Array({ minLength: 16, maxLength: 16 }),
  )
  .map(([a, b, cid, resetToken]) => ({
    sequence: Math.max(a, b),
    retirePriorTo: Math.min(a, b),
    cid,
    resetToken,
  }));

/** One arbitrary per writer. */
export const frameArbitraries: Readonly<Record<string, fc.Arbitrary<WrittenFrame>>> = {
  writePing: fc.constant(written({ type: 'ping' }, writePing)),
  writeResetStream: fc
    .tuple(varint, code, varint)
    .map(([id, c, finalSize]) =>
      written({ type: 'resetStream', id, code: c, finalSize }, (w) => writeResetStream(w, id, c, finalSize)),
    ),
  writeStopSending: fc
    .tuple(varint, code)
    .map(([id, c]) => written({ type: 'stopSending', id, code: c }, (w) => writeStopSending(w, id, c))),
  writeCrypto: fc
    .tuple(varint, data)
    .map(([offset, d]) => written({ type: 'crypto', offset, data: d }, (w) => writeCrypto(w, offset, d))),
  writeNewToken: fc
    .uint8Array({ minLength: 1, maxLength: 100 })
    .map((token) => written({ type: 'newToken', token }, (w) => writeNewToken(w, token))),
  writeMaxData: varint.map((limit) => written({ type: 'maxData', limit }, (w) => writeMaxData(w, limit))),
  writeMaxStreamData: fc
    .tuple(varint, varint)
    .map(([id, limit]) =>
      written({ type: 'maxStreamData', id, limit }, (w) => writeMaxStreamData(w, id, limit)),
    ),
  writeMaxStreams: fc
    .tuple(dir, streamCount)
    .map(([d, limit]) => written({ type: 'maxStreams', dir: d, limit }, (w) => writeMaxStreams(w, d, limit))),
  writeDataBlocked: varint.map((limit) =>
    written({ type: 'dataBlocked', limit }, (w) => writeDataBlocked(w, limit)),
  ),
  writeStreamDataBlocked: fc
    .tuple(varint, varint)
    .map(([id, limit]) =>
      written({ type: 'streamDataBlocked', id, limit }, (w) => writeStreamDataBlocked(w, id, limit)),
    ),
  writeStreamsBlocked: fc
    .tuple(dir, streamCount)
    .map(([d, limit]) =>
      written({ type: 'streamsBlocked', dir: d, limit }, (w) => writeStreamsBlocked(w, d, limit)),
    ),
  writeNewConnectionId: cidFields.map((f) =>
    written({ type: 'newConnectionId', ...f }, (w) =>
      writeNewConnectionId(w, undefined, f.sequence, f.retirePriorTo, f.cid, f.resetToken),
    ),
  ),
  'writeNewConnectionId of a path': fc
    .tuple(path, cidFields)
    .map(([pathId, f]) =>
      written({ type: 'pathNewConnectionId', pathId, ...f }, (w) =>
        writeNewConnectionId(w, pathId, f.sequence, f.retirePriorTo, f.cid, f.resetToken),
      ),
    ),
  writeRetireConnectionId: varint.map((sequence) =>
    written({ type: 'retireConnectionId', sequence }, (w) => writeRetireConnectionId(w, undefined, sequence)),
  ),
  'writeRetireConnectionId of a path': fc
    .tuple(path, varint)
    .map(([pathId, sequence]) =>
      written({ type: 'pathRetireConnectionId', pathId, sequence }, (w) =>
        writeRetireConnectionId(w, pathId, sequence),
      ),
    ),
  writePathChallenge: eight.map((d) =>
    written({ type: 'pathChallenge', data: d }, (w) => writePathChallenge(w, d)),
  ),
  writePathResponse: eight.map((d) =>
    written({ type: 'pathResponse', data: d }, (w) => writePathResponse(w, d)),
  ),
  writeConnectionClose: fc
    .tuple(varint, varint, data)
    .map(([c, frameType, reason]) =>
      written({ type: 'connectionClose', code: BigInt(c), frameType, reason }, (w) =>
        writeConnectionClose(w, c, frameType, reason),
      ),
    ),
  writeApplicationClose: fc
    .tuple(code, data)
    .map(([c, reason]) =>
      written({ type: 'applicationClose', code: c, reason }, (w) => writeApplicationClose(w, c, reason)),
    ),
  writeHandshakeDone: fc.constant(written({ type: 'handshakeDone' }, writeHandshakeDone)),
  writeImmediateAck: fc.constant(written({ type: 'immediateAck' }, writeImmediateAck)),
  writePathAbandon: fc
    .tuple(path, varint)
    .map(([pathId, c]) =>
      written({ type: 'pathAbandon', pathId, code: c }, (w) => writePathAbandon(w, pathId, c)),
    ),
  writePathStatus: fc
    .tuple(path, varint, fc.constantFrom('available' as const, 'backup' as const))
    .map(([pathId, sequence, status]) =>
      written({ type: 'pathStatus', pathId, sequence, status }, (w) =>
        writePathStatus(w, pathId, sequence, status),
      ),
    ),
  writeMaxPathId: path.map((max) => written({ type: 'maxPathId', max }, (w) => writeMaxPathId(w, max))),
  writePathsBlocked: path.map((max) =>
    written({ type: 'pathsBlocked', max }, (w) => writePathsBlocked(w, max)),
  ),
  writePathCidsBlocked: fc
    .tuple(path, varint)
    .map(([pathId, nextSequence]) =>
      written({ type: 'pathCidsBlocked', pathId, nextSequence }, (w) =>
        writePathCidsBlocked(w, pathId, nextSequence),
      ),
    ),
  writeObservedAddress: fc
    .tuple(varint, addr)
    .map(([sequence, a]) =>
      written({ type: 'observedAddress', sequence, addr: a }, (w) => writeObservedAddress(w, sequence, a)),
    ),
  writeAddAddress: fc
    .tuple(varint, addr)
    .map(([sequence, a]) =>
      written({ type: 'addAddress', sequence, addr: a }, (w) => writeAddAddress(w, sequence, a)),
    ),
  writeReachOut: fc
    .tuple(varint, addr)
    .map(([round, a]) => written({ type: 'reachOut', round, addr: a }, (w) => writeReachOut(w, round, a))),
  writeRemoveAddress: varint.map((sequence) =>
    written({ type: 'removeAddress', sequence }, (w) => writeRemoveAddress(w, sequence)),
  ),
};

export const anyWrittenFrame: fc.Arbitrary<WrittenFrame> = fc.oneof(...Object.values(frameArbitraries));
