/**
 * Event log of a connection (qlog): what was sent, received and lost, and when
 * (draft-ietf-quic-qlog-main-schema, draft-ietf-quic-qlog-quic-events). JSON text sequences, one record per event.
 *
 * Costs nothing when absent: the connection calls it through `?.`.
 *
 * @module
 */
import { toHex } from '../base/bytes.ts';
import type { Millis } from '../base/clock.ts';
import type { CloseReason, PathAbandonReason, PathId, Side } from './engine.ts';
import type { SentFrame } from './sent-frame.ts';

/** RFC 7464: each record starts with this byte. */
const RECORD_SEPARATOR = '\u001e';

/** Where the text goes. */
export interface QlogSink {
  write(text: string): void;
  close(): void;
}

/** Makes a sink for a new connection; `name` is unique and fit for a file name. */
export type QlogFactory = (name: string, side: Side) => QlogSink;

/** The log of one connection. */
export class Qlog {
  readonly #sink: QlogSink;
  readonly #startedAt: Millis;

  /** @param originalDcid - Destination cid of the client's first Initial: the same on both sides. */
  constructor(
    factory: QlogFactory,
    side: Side,
    originalDcid: Uint8Array,
    startedAt: Millis,
    wallNow: Millis,
  ) {
    const group = toHex(originalDcid);
    this.#startedAt = startedAt;
    this.#sink = factory(`${group}-${side}`, side);
    this.#write({
      file_schema: 'urn:ietf:params:qlog:file:sequential',
      serialization_format: 'application/qlog+json-seq',
      trace: {
        vantage_point: { type: side },
        common_fields: {
          group_id: group,
          time_format: 'relative_to_epoch',
          reference_time: {
            clock_type: 'monotonic',
            epoch: 'unknown',
            wall_clock_time: new Date(wallNow).toISOString(),
          },
        },
        event_schemas: ['urn:ietf:params:qlog:events:quic'],
      },
    });
  }

  #write(record: object): void {
    this.#sink.write(`${RECORD_SEPARATOR}${JSON.stringify(record)}\n`);
  }

  #event(now: Millis, name: string, data: object): void {
    this.#write({ time: now - this.#startedAt, name, data });
  }

  packetSent(
    space: string,
    path: PathId,
    packetNumber: number,
    size: number,
    frames: readonly SentFrame[],
    now: Millis,
  ): void {
    this.#event(now, 'quic:packet_sent', {
      header: { packet_type: packetType(space), packet_number: packetNumber, path_id: path },
      raw: { length: size },
      frames: frames.map(frameRecord),
    });
  }

  packetReceived(space: string, path: PathId, packetNumber: number, payloadSize: number, now: Millis): void {
    this.#event(now, 'quic:packet_received', {
      header: { packet_type: packetType(space), packet_number: packetNumber, path_id: path },
      raw: { payload_length: payloadSize },
    });
  }

  packetLost(space: string, path: PathId, packetNumber: number, now: Millis): void {
    this.#event(now, 'quic:packet_lost', {
      header: { packet_type: packetType(space), packet_number: packetNumber, path_id: path },
    });
  }

  pathAbandoned(path: PathId, reason: PathAbandonReason, now: Millis): void {
    this.#event(now, 'quic:path_abandoned', { path_id: path, reason: reason.type });
  }

  /** Writes the last record and ends the log. */
  closed(reason: CloseReason, now: Millis): void {
    this.#event(now, 'quic:connection_closed', { trigger: reason.type });
    this.#sink.close();
  }
}

function packetType(space: string): string {
  return space === 'oneRtt' ? '1RTT' : space === 'zeroRtt' ? '0RTT' : space;
}

function frameRecord(frame: SentFrame): object {
  const { type, ...rest } = frame;
  const record: Record<string, unknown> = { frame_type: type };
  for (const [key, value] of Object.entries(rest)) {
    record[key] = value instanceof Uint8Array ? toHex(value) : value;
  }
  return record;
}
