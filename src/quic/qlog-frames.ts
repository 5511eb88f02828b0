/**
 * Frames as qlog names them (draft-ietf-quic-qlog-quic-events-12 §"QUIC Frames"). Frames of extensions that the draft does
 * not know keep their own name in snake case; the schema allows any map there.
 *
 * @module
 */
import { DecodeError, fromUtf8, Reader, toHex } from '../base/bytes.ts';
import { TransportError, transportCodeName } from './transport-error.ts';
import { decodeFrame, type Frame, type FrameSpace } from './wire/frames.ts';

/** All frames of a plaintext payload. A payload that breaks the rules is logged up to the frame that does. */
export function frameRecords(payload: Uint8Array, space: FrameSpace): object[] {
  const reader = new Reader(payload);
  const records: object[] = [];
  while (reader.pos < reader.end) {
    const start = reader.pos;
    try {
      const frame = decodeFrame(reader, space);
      records.push(frameRecord(frame, reader.pos - start));
    } catch (error) {
      if (!(error instanceof TransportError || error instanceof DecodeError)) throw error;
      records.push({
        frame_type: 'unknown',
        frame_type_bytes: payload[start],
        raw: { length: reader.end - start },
      });
      break;
    }
  }
  return records;
}

/** @param length - Bytes of the frame on the wire. */
function frameRecord(frame: Frame, length: number): object {
  switch (frame.type) {
    case 'padding':
      return { frame_type: 'padding', raw: { payload_length: length } };
    case 'ack':
    case 'pathAck':
      return {
        frame_type: frame.type === 'ack' ? 'ack' : 'path_ack',
        ...('pathId' in frame && { path_id: frame.pathId }),
        // As on the wire, i.e. before the exponent is applied, in units of 8 µs by default.
        ack_delay: (frame.delay * 8) / 1_000,
        acked_ranges: ackedRanges(frame.ranges),
      };
    case 'crypto':
      return { frame_type: 'crypto', offset: frame.offset, raw: { length: frame.data.length } };
    case 'stream':
      return {
        frame_type: 'stream',
        stream_id: Number(frame.id),
        offset: frame.offset,
        ...(frame.fin && { fin: true }),
        raw: { length: frame.data.length },
      };
    case 'datagram':
      return { frame_type: 'datagram', raw: { length: frame.data.length } };
    case 'newToken':
      return { frame_type: 'new_token', token: { raw: { length: frame.token.length } } };
    case 'resetStream':
      return {
        frame_type: 'reset_stream',
        stream_id: Number(frame.id),
        error: 'unknown',
        error_code: Number(frame.code),
        final_size: frame.finalSize,
      };
    case 'stopSending':
      return {
        frame_type: 'stop_sending',
        stream_id: Number(frame.id),
        error: 'unknown',
        error_code: Number(frame.code),
      };
    case 'maxData':
      return { frame_type: 'max_data', maximum: frame.limit };
    case 'maxStreamData':
      return { frame_type: 'max_stream_data', stream_id: Number(frame.id), maximum: frame.limit };
    case 'maxStreams':
      return { frame_type: 'max_streams', stream_type: streamType(frame.dir), maximum: frame.limit };
    case 'dataBlocked':
      return { frame_type: 'data_blocked', limit: frame.limit };
    case 'streamDataBlocked':
      return { frame_type: 'stream_data_blocked', stream_id: Number(frame.id), limit: frame.limit };
    case 'streamsBlocked':
      return { frame_type: 'streams_blocked', stream_type: streamType(frame.dir), limit: frame.limit };
    case 'newConnectionId':
    case 'pathNewConnectionId':
      return {
        frame_type: frame.type === 'newConnectionId' ? 'new_connection_id' : 'path_new_connection_id',
        ...('pathId' in frame && { path_id: frame.pathId }),
        sequence_number: frame.sequence,
        retire_prior_to: frame.retirePriorTo,
        connection_id: toHex(frame.cid),
      };
    case 'retireConnectionId':
    case 'pathRetireConnectionId':
      return {
        frame_type:
          frame.type === 'retireConnectionId' ? 'retire_connection_id' : 'path_retire_connection_id',
        ...('pathId' in frame && { path_id: frame.pathId }),
        sequence_number: frame.sequence,
      };
    case 'connectionClose':
      return {
        frame_type: 'connection_close',
        error_space: 'transport',
        error: qlogErrorName(Number(frame.code)),
        error_code: Number(frame.code),
        reason: fromUtf8(frame.reason),
        trigger_frame_type: frame.frameType,
      };
    case 'applicationClose':
      return {
        frame_type: 'connection_close',
        error_space: 'application',
        error: 'unknown',
        error_code: Number(frame.code),
        reason: fromUtf8(frame.reason),
      };
    default:
      return otherRecord(frame);
  }
}

/** Small frames, and those of extensions: their fields under names in snake case. */
function otherRecord(frame: Frame): object {
  const { type, ...fields } = frame;
  const record: Record<string, unknown> = { frame_type: snakeCase(type) };
  for (const [key, value] of Object.entries(fields) as [string, unknown][]) {
    record[snakeCase(key)] =
      value instanceof Uint8Array
        ? toHex(value)
        : typeof value === 'object' && value !== null && 'text' in value
          ? value.text
          : value;
  }
  return record;
}

/** `[largest, smallest, …]`, newest first, as pairs `[from, to]`; one number where they are equal. */
function ackedRanges(ranges: readonly number[]): number[][] {
  const pairs: number[][] = [];
  for (let i = 0; i < ranges.length; i += 2) {
    const to = ranges[i]!;
    const from = ranges[i + 1]!;
    pairs.push(from === to ? [to] : [from, to]);
  }
  return pairs;
}

function streamType(dir: 'bi' | 'uni'): string {
  return dir === 'bi' ? 'bidirectional' : 'unidirectional';
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** `$TransportError` or CryptoError. */
export function qlogErrorName(wireCode: number): string {
  if (wireCode >= 0x100 && wireCode <= 0x1ff) return `crypto_error_0x${wireCode.toString(16)}`;
  const name = transportCodeName(wireCode);
  return name.startsWith('0x') ? 'unknown' : name.toLowerCase();
}
