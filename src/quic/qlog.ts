/**
 * Event log of a connection (qlog): what was sent, received and lost, and when
 * (draft-ietf-quic-qlog-main-schema-13, draft-ietf-quic-qlog-quic-events-12). JSON text sequences (RFC 7464), one record
 * per event. Frames are decoded from the plaintext packet, so both directions are complete; their names and fields are in
 * `qlog-frames.ts`. Payload bytes are never logged, only their lengths.
 *
 * Costs nothing when absent: the connection calls it through `?.`.
 *
 * @module
 */
import { fromUtf8, toHex } from '../base/bytes.ts';
import type { Millis } from '../base/clock.ts';
import type { Addr } from '../base/socket-addr.ts';
import type { CloseReason, FourTuple, PathAbandonReason, PathId, Side } from './engine.ts';
import type { Path } from './paths/path.ts';
import { frameRecords, qlogErrorName } from './qlog-frames.ts';
import type { FrameSpace } from './wire/frames.ts';

/** RFC 7464: each record starts with this byte. */
const RECORD_SEPARATOR = '\u001e';

/** Where the text of one log goes. */
export interface QlogSink {
  /** Appends one or more whole records. Must not throw. */
  write(text: string): void;
  /** No more records come. */
  close(): void;
  /** What stands in the log for an address that is no IP address; undefined for one that is. @internal */
  describe?(addr: Addr): object | undefined;
}

/** Makes a sink for a new connection; `name` is unique and fit for a file name: `<hex connection id>-<side>`. */
export type QlogFactory = (name: string, side: Side) => QlogSink;

const PACKET_TYPES: Record<FrameSpace, string> = {
  initial: 'initial',
  handshake: 'handshake',
  zeroRtt: '0RTT',
  oneRtt: '1RTT',
};

/** The log of one connection. */
export class Qlog {
  readonly #sink: QlogSink;
  readonly #startedAt: Millis;
  /** Remote addresses as last logged, by path. */
  readonly #tuples = new Map<PathId, Addr>();
  #metrics = '';
  /** The next packet is the one that tells the peer about the end. */
  #isLastPacketDue = false;
  #isEnded = false;

  /**
   * @param originalDcid - Destination cid of the client's first Initial: the same on both sides, so it names the group.
   * @param startedAt - Times in the log count from here.
   * @param wallNow - The same moment in ms since 1970.
   */
  constructor(
    factory: QlogFactory,
    side: Side,
    originalDcid: Uint8Array,
    tuple: FourTuple,
    startedAt: Millis,
    wallNow: Millis,
  ) {
    const group = toHex(originalDcid);
    this.#startedAt = startedAt;
    this.#sink = factory(`${group}-${side}`, side);
    this.#write({
      file_schema: 'urn:ietf:params:qlog:file:sequential',
      serialization_format: 'application/qlog+json-seq',
      title: 'iroh-ts',
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
    this.#event(startedAt, 'connection_started', {
      local: this.#infoOf(tuple.local),
      remote: this.#infoOf(tuple.remote),
    });
  }

  /** PathEndpointInfo. */
  #infoOf(addr: Addr | undefined): object {
    if (addr === undefined) return {};
    return (
      this.#sink.describe?.(addr) ??
      (addr.family === 4 ? { ip_v4: addr.ip, port_v4: addr.port } : { ip_v6: addr.ip, port_v6: addr.port })
    );
  }

  #write(record: object): void {
    if (this.#isEnded) return;
    this.#sink.write(`${RECORD_SEPARATOR}${JSON.stringify(record)}\n`);
  }

  /** @param path - Given as the event's `tuple`, except for path 0 before anything else is known. */
  #event(now: Millis, name: string, data: object, path?: PathId): void {
    const time = Math.round((now - this.#startedAt) * 1_000) / 1_000;
    this.#write({ time, name: `quic:${name}`, ...(path !== undefined && { tuple: String(path) }), data });
  }

  /** Says where a path leads, first and whenever that changed. */
  #assignTuple(path: Path, now: Millis): void {
    if (this.#tuples.get(path.id) === path.remote) return;
    this.#tuples.set(path.id, path.remote);
    this.#event(now, 'tuple_assigned', {
      tuple_id: String(path.id),
      tuple_remote: this.#infoOf(path.remote),
      tuple_local: this.#infoOf(path.local),
    });
  }

  /** @param payload - Frames in plaintext, borrowed. @param size - Bytes of the protected packet. */
  packetSent(
    space: FrameSpace,
    path: Path,
    packetNumber: number,
    payload: Uint8Array,
    size: number,
    isMtuProbe: boolean,
    now: Millis,
  ): void {
    this.#assignTuple(path, now);
    const data = {
      header: { packet_type: PACKET_TYPES[space], packet_number: packetNumber },
      raw: { length: size, payload_length: payload.length },
      frames: frameRecords(payload, space),
      ...(isMtuProbe && { is_mtu_probe_packet: true }),
    };
    this.#event(now, 'packet_sent', data, path.id);
    if (this.#isLastPacketDue) this.end();
  }

  /** @param payload - Frames in plaintext, borrowed. */
  packetReceived(
    space: FrameSpace,
    path: Path,
    packetNumber: number,
    payload: Uint8Array,
    now: Millis,
  ): void {
    this.#assignTuple(path, now);
    const data = {
      header: { packet_type: PACKET_TYPES[space], packet_number: packetNumber },
      raw: { payload_length: payload.length },
      frames: frameRecords(payload, space),
    };
    this.#event(now, 'packet_received', data, path.id);
  }

  packetLost(space: FrameSpace, path: PathId, packetNumber: number, isMtuProbe: boolean, now: Millis): void {
    const data = {
      header: { packet_type: PACKET_TYPES[space], packet_number: packetNumber },
      ...(isMtuProbe && { is_mtu_probe_packet: true }),
    };
    this.#event(now, 'packet_lost', data, path);
  }

  /** RTT and congestion state of a path, if they differ from what was logged last. */
  metrics(path: Path, now: Millis): void {
    const { rtt, controller } = path;
    const data = {
      min_rtt: rtt.min,
      smoothed_rtt: rtt.smoothed,
      latest_rtt: rtt.latest,
      rtt_variance: rtt.variance,
      pto_count: path.ptoCount,
      congestion_window: Math.floor(controller.window),
      bytes_in_flight: path.inFlight,
      ...(Number.isFinite(controller.ssthresh) && { ssthresh: Math.floor(controller.ssthresh) }),
    };
    const text = `${path.id} ${JSON.stringify(data)}`;
    if (text === this.#metrics) return;
    this.#metrics = text;
    this.#event(now, 'recovery_metrics_updated', data, path.id);
  }

  /** A tuple without addresses is one that was given up. */
  pathAbandoned(path: PathId, reason: PathAbandonReason, now: Millis): void {
    this.#tuples.delete(path);
    this.#event(now, 'tuple_assigned', { tuple_id: String(path), reason: reason.type });
  }

  /** Logs why the connection ended. The log itself ends here, or with the packet that tells the peer. */
  closed(reason: CloseReason, now: Millis): void {
    this.#event(now, 'connection_closed', closeRecord(reason));
    this.#isLastPacketDue = reason.type === 'locallyClosed' || reason.type === 'transportError';
    if (!this.#isLastPacketDue) this.end();
  }

  /** Ends the log. Idempotent. */
  end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#sink.close();
  }
}

/** QUICConnectionClosed. */
function closeRecord(reason: CloseReason): object {
  switch (reason.type) {
    case 'locallyClosed':
      return { initiator: 'local', trigger: 'application' };
    case 'applicationClosed':
      return {
        initiator: 'remote',
        application_error: 'unknown',
        error_code: Number(reason.code),
        reason: fromUtf8(reason.reason),
        trigger: 'application',
      };
    case 'transportError':
      return {
        initiator: 'local',
        connection_error: qlogErrorName(reason.error.wireCode),
        error_code: reason.error.wireCode,
        reason: reason.error.message,
        trigger: 'error',
      };
    case 'connectionClosed':
      return {
        initiator: 'remote',
        connection_error: qlogErrorName(Number(reason.code)),
        error_code: Number(reason.code),
        reason: fromUtf8(reason.reason),
        trigger: 'error',
      };
    case 'timedOut':
      return { initiator: 'local', trigger: 'idle_timeout' };
    case 'versionMismatch':
      return { initiator: 'local', trigger: 'version_mismatch' };
    case 'reset':
      return { initiator: 'remote', trigger: 'stateless_reset' };
    case 'cidsExhausted':
      return { initiator: 'local', trigger: 'unspecified' };
  }
}
