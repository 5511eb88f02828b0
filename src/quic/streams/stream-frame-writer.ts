/**
 * STREAM frames on their way out (RFC 9000 §19.8): as much of a stream as fits into the rest of a packet.
 *
 * @module
 */
import type { Writer } from '../../base/bytes.ts';
import { varintSize } from '../../base/varint.ts';
import { takeStreamFrame, type StreamSentFrame } from '../sent-frame.ts';
import { FRAME, STREAM_FLAG } from '../wire/frames.ts';
import type { SendStream } from './send-stream.ts';

/** A smaller rest of a packet is not worth another STREAM frame. */
export const MIN_STREAM_ROOM = 16;

/** Writes the next frame of a stream that wants to send. There must be {@link MIN_STREAM_ROOM} for it. */
export function writeStreamFrame(w: Writer, stream: SendStream): StreamSentFrame {
  const { buffer, id } = stream;
  const offset = buffer.hasPending ? buffer.pendingOffset : buffer.end;
  const header = 1 + varintSize(id) + (offset > 0 ? varintSize(offset) : 0);
  const room = w.room - header;
  const pending = buffer.hasPending ? buffer.pendingLength : 0;
  // Without LEN the frame reaches to the end of the packet: right when it fills it anyway (RFC 9000 §19.8).
  const fills = pending >= room;
  const length = fills ? room : Math.min(pending, room - 2);
  const fin = stream.finPending && offset + length === buffer.end;
  const start = w.pos;
  w.u8(FRAME.STREAM);
  w.varint(id);
  let type: number = FRAME.STREAM;
  if (offset > 0) {
    type |= STREAM_FLAG.OFF;
    w.varint(offset);
  }
  if (!fills) {
    type |= STREAM_FLAG.LEN;
    w.varint(length);
  }
  if (fin) {
    type |= STREAM_FLAG.FIN;
    stream.finPending = false;
  }
  w.bytes[start] = type;
  if (length > 0) buffer.writePending(w, length);
  return takeStreamFrame(id, offset, length, fin);
}
