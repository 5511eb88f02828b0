/**
 * All streams of a connection: ids and their limits, flow control of both directions, who sends next
 * (RFC 9000 §2 to §4; scheduling as noq `noq-proto/src/connection/streams`).
 *
 * @module
 */
import type { Writer } from '../../base/bytes.ts';
import type { Millis } from '../../base/clock.ts';
import { LazySet } from '../../base/lazy-collections.ts';
import { varintSize } from '../../base/varint.ts';
import type { ConnectionEvent, Direction, Side, StreamId } from '../engine.ts';
import { takeStreamFrame, type SentFrame, type StreamsSentFrame } from '../sent-frame.ts';
import { TransportError } from '../transport-error.ts';
import {
  MAX_BLOCKED_BYTES,
  MAX_MAX_DATA_BYTES,
  MAX_MAX_STREAM_DATA_BYTES,
  MAX_MAX_STREAMS_BYTES,
  MAX_RESET_STREAM_BYTES,
  MAX_STOP_SENDING_BYTES,
  writeDataBlocked,
  writeMaxData,
  writeMaxStreamData,
  writeMaxStreams,
  writeResetStream,
  writeStopSending,
  writeStreamsBlocked,
} from '../wire/frames.ts';
import { isStreamCreditDue, ReceiveWindow, tunedWindow } from './receive-window.ts';
import { RecvStream } from './recv-stream.ts';
import { SendQueue } from './send-queue.ts';
import { SendStream } from './send-stream.ts';
import { StreamError } from './stream-error.ts';

export interface StreamsConfig {
  readonly side: Side;
  readonly streamReceiveWindow: number;
  readonly receiveWindow: number;
  readonly maxReceiveWindow: number;
  readonly sendWindow: number;
  readonly maxConcurrentBidiStreams: number;
  readonly maxConcurrentUniStreams: number;
}

/** The peer's limits in its own words: "local" streams are those that it opens. */
export interface PeerStreamLimits {
  readonly initialMaxData: number;
  readonly initialMaxStreamDataBidiLocal: number;
  readonly initialMaxStreamDataBidiRemote: number;
  readonly initialMaxStreamDataUni: number;
  readonly initialMaxStreamsBidi: number;
  readonly initialMaxStreamsUni: number;
}

const NO_LIMITS: PeerStreamLimits = {
  initialMaxData: 0,
  initialMaxStreamDataBidiLocal: 0,
  initialMaxStreamDataBidiRemote: 0,
  initialMaxStreamDataUni: 0,
  initialMaxStreamsBidi: 0,
  initialMaxStreamsUni: 0,
};

/** RFC 9000 §2.1: bit 0 = opened by the server, bit 1 = unidirectional. */
const SERVER_BIT = 1;
const UNI_BIT = 2;
const STREAM = 0x08;
const OFF_FLAG = 0x04;
const LEN_FLAG = 0x02;
const FIN_FLAG = 0x01;
/** A smaller rest of a packet is not worth another STREAM frame. */
const MIN_STREAM_ROOM = 16;

/** Streams of one direction that one side opens. */
interface Counter {
  /** Streams opened so far; the next has this index. */
  opened: number;
  /** How many may be opened. */
  max: number;
}

/** All streams of one connection. */
export class Streams {
  readonly #config: StreamsConfig;
  readonly #send = new Map<StreamId, SendStream>();
  readonly #recv = new Map<StreamId, RecvStream>();
  readonly #queue = new SendQueue();
  readonly #events: ConnectionEvent[] = [];

  #peer: PeerStreamLimits = NO_LIMITS;
  readonly #local: Record<Direction, Counter> = { bi: { opened: 0, max: 0 }, uni: { opened: 0, max: 0 } };
  readonly #remote: Record<Direction, Counter>;
  /** Streams of the peer that are not finished, and how many may be so at a time. */
  readonly #remoteOpen: Record<Direction, number> = { bi: 0, uni: 0 };
  readonly #concurrent: Record<Direction, number>;
  /** Index of the next stream that the application takes. */
  readonly #accepted: Record<Direction, number> = { bi: 0, uni: 0 };

  readonly #window: ReceiveWindow;
  /** Bytes written over all streams, and what the peer allows of them. */
  #written = 0;
  #maxData = 0;
  /** Bytes written and not acknowledged over all streams. */
  #unacked = 0;

  readonly #resets = new LazySet<StreamId>();
  readonly #stops = new LazySet<StreamId>();
  readonly #credits = new LazySet<StreamId>();
  #maxDataPending = false;
  readonly #maxStreamsPending: Record<Direction, boolean> = { bi: false, uni: false };
  readonly #streamsBlocked: Record<Direction, boolean> = { bi: false, uni: false };
  /** The application was refused a stream: it waits for `streamsAvailable`. */
  readonly #wantsStream: Record<Direction, boolean> = { bi: false, uni: false };
  #dataBlocked = false;
  /** Streams whose application waits for room. */
  readonly #blockedWriters = new LazySet<SendStream>();
  #isEarly = true;
  #isClosed = false;
  /** Ids of early streams that the server refused. */
  #rejected = new LazySet<StreamId>();

  constructor(config: StreamsConfig) {
    this.#config = config;
    this.#concurrent = { bi: config.maxConcurrentBidiStreams, uni: config.maxConcurrentUniStreams };
    this.#remote = {
      bi: { opened: 0, max: config.maxConcurrentBidiStreams },
      uni: { opened: 0, max: config.maxConcurrentUniStreams },
    };
    this.#window = new ReceiveWindow(config.receiveWindow, config.maxReceiveWindow);
  }

  /** Streams with state. */
  get streamCount(): number {
    let count = this.#send.size;
    for (const id of this.#recv.keys()) if (!this.#send.has(id)) count++;
    return count;
  }

  // --- the connection's life ----------------------------------------------------------------------------------------

  /** The peer's limits: remembered ones for early data, then the real ones, which only raise. */
  setPeerLimits(limits: PeerStreamLimits): void {
    this.#peer = limits;
    this.#maxData = Math.max(this.#maxData, limits.initialMaxData);
    this.#raiseMaxStreams('bi', limits.initialMaxStreamsBidi);
    this.#raiseMaxStreams('uni', limits.initialMaxStreamsUni);
    for (const stream of this.#send.values())
      stream.maxData = Math.max(stream.maxData, this.#initialCredit(stream.id));
    this.#unblockWriters();
  }

  onHandshakeComplete(): void {
    this.#isEarly = false;
  }

  /** The server refused early data: the streams that were opened for it never existed. */
  onZeroRttRejected(): void {
    for (const id of this.#send.keys()) this.#rejected.add(id);
    for (const id of this.#recv.keys()) this.#rejected.add(id);
    const waiting = [...this.#blockedWriters];
    const reading = [...this.#recv.values()].filter((stream) => stream.wantsNotice);
    this.#send.clear();
    this.#recv.clear();
    this.#queue.clear();
    this.#resets.clear();
    this.#stops.clear();
    this.#credits.clear();
    this.#blockedWriters.clear();
    this.#written = 0;
    this.#unacked = 0;
    this.#maxData = 0;
    this.#dataBlocked = false;
    for (const dir of ['bi', 'uni'] as const) {
      this.#local[dir] = { opened: 0, max: 0 };
      this.#streamsBlocked[dir] = false;
    }
    this.#isEarly = false;
    for (const { id } of waiting) this.#events.push({ type: 'streamWritable', id });
    for (const { id } of reading) this.#events.push({ type: 'streamReadable', id });
  }

  /** What is buffered in order stays readable; everything else fails from now on. */
  onConnectionClosed(): void {
    this.#isClosed = true;
    this.#queue.clear();
    for (const stream of this.#send.values()) stream.buffer.clear();
    this.#resets.clear();
    this.#stops.clear();
    this.#credits.clear();
    this.#blockedWriters.clear();
    this.#maxDataPending = false;
  }

  // --- for the application --------------------------------------------------------------------------------------------

  /** Opens a stream; undefined at the peer's limit. */
  open(dir: Direction): StreamId | undefined {
    if (this.#isClosed) throw new StreamError('connectionLost');
    const counter = this.#local[dir];
    if (counter.opened >= counter.max) {
      this.#wantsStream[dir] = true;
      // RFC 9000 §4.6: tell the peer that its limit is in the way.
      this.#streamsBlocked[dir] = true;
      return undefined;
    }
    const id = this.#idOf(dir, counter.opened++, true);
    // A stream of the same number that early data was refused on is another one.
    this.#rejected.delete(id);
    this.#send.set(id, new SendStream(id, this.#initialCredit(id), this.#isEarly));
    if (dir === 'bi') this.#recv.set(id, new RecvStream(id, this.#config.streamReceiveWindow, this.#isEarly));
    return id;
  }

  /** The next stream of the peer. */
  accept(dir: Direction): StreamId | undefined {
    if (this.#accepted[dir] >= this.#remote[dir].opened) return undefined;
    return this.#idOf(dir, this.#accepted[dir]++, false);
  }

  /** Buffers a copy of what credit and window allow; returns how many bytes. @throws {StreamError} */
  write(id: StreamId, bytes: Uint8Array): number {
    const stream = this.#sendStream(id);
    if (stream.stoppedCode !== undefined) throw new StreamError('stopped', stream.stoppedCode);
    if (stream.state !== 'send') throw new StreamError('closed');
    const credit = Math.min(stream.maxData - stream.buffer.end, this.#maxData - this.#written);
    const count = Math.max(0, Math.min(bytes.length, credit, this.#config.sendWindow - this.#unacked));
    if (count < bytes.length) {
      stream.isBlocked = true;
      this.#blockedWriters.add(stream);
      // RFC 9000 §4.1: a sender that is blocked SHOULD say so.
      if (this.#maxData - this.#written < bytes.length) this.#dataBlocked = true;
    }
    if (count === 0) return 0;
    stream.buffer.write(count === bytes.length ? bytes : bytes.subarray(0, count));
    this.#written += count;
    this.#unacked += count;
    this.#queue.push(stream);
    return count;
  }

  /** Ends the stream after what was written. @throws {StreamError} closed when it ended before. */
  finish(id: StreamId): void {
    const stream = this.#sendStream(id);
    if (stream.stoppedCode !== undefined) throw new StreamError('stopped', stream.stoppedCode);
    if (!stream.move('finish')) throw new StreamError('closed');
    stream.finPending = true;
    this.#blockedWriters.delete(stream);
    this.#queue.push(stream);
  }

  /** Abandons the stream. @throws {StreamError} closed when it is done. */
  reset(id: StreamId, code: bigint): void {
    const stream = this.#sendStream(id);
    if (!stream.move('reset')) throw new StreamError('closed');
    stream.resetCode = code;
    this.#unacked -= stream.buffer.unacked;
    stream.buffer.clear();
    stream.finPending = false;
    this.#blockedWriters.delete(stream);
    this.#resets.add(id);
    this.#unblockWriters();
  }

  /** @throws {StreamError} */
  read(id: StreamId, max: number): Uint8Array | null | undefined {
    const stream = this.#recvStream(id);
    if (stream.stopCode !== undefined) throw new StreamError('closed');
    if (stream.state === 'resetRecvd') {
      const code = stream.resetCode!;
      stream.move('readReset');
      this.#reapRecv(stream);
      throw new StreamError('reset', code);
    }
    const data = stream.assembler.read(max);
    if (data !== undefined) {
      stream.consumed += data.length;
      this.#onConsumed(data.length);
      this.#offerCredit(stream);
      return data;
    }
    if (stream.move('readAll')) {
      this.#reapRecv(stream);
      return null;
    }
    if (this.#isClosed) throw new StreamError('connectionLost');
    stream.wantsNotice = true;
    return undefined;
  }

  /** Asks the peer to stop, and throws away what arrives. @throws {StreamError} closed when all was read or stopped. */
  stop(id: StreamId, code: bigint): void {
    const stream = this.#recvStream(id);
    if (stream.stopCode !== undefined) throw new StreamError('closed');
    stream.stopCode = code;
    this.#returnCredit(stream);
    this.#credits.delete(id);
    // RFC 9000 §3.5: of no use once everything arrived or the peer reset the stream.
    if (stream.state === 'recv' || stream.state === 'sizeKnown') this.#stops.add(id);
    this.#reapRecv(stream);
  }

  setPriority(id: StreamId, priority: number): void {
    const stream = this.#sendStream(id);
    stream.priority = priority;
    this.#queue.reprioritise(stream);
  }

  priority(id: StreamId): number {
    return this.#sendStream(id).priority;
  }

  is0Rtt(id: StreamId): boolean {
    return (this.#send.get(id) ?? this.#recv.get(id))?.is0Rtt ?? this.#rejected.has(id);
  }

  /** Limits what the peer may open at a time from now on. Credit that was given stays given. */
  setMaxConcurrent(dir: Direction, count: number): void {
    this.#concurrent[dir] = count;
    this.#offerStreams(dir);
  }

  setReceiveWindow(bytes: number): void {
    this.#window.window = bytes;
    this.#window.max = Math.max(this.#window.max, bytes);
    if (this.#window.isDue) this.#maxDataPending = true;
  }

  #sendStream(id: StreamId): SendStream {
    if (this.#rejected.has(id)) throw new StreamError('zeroRttRejected');
    const stream = this.#send.get(id);
    if (stream === undefined) throw new StreamError('closed');
    if (this.#isClosed) throw new StreamError('connectionLost');
    return stream;
  }

  #recvStream(id: StreamId): RecvStream {
    if (this.#rejected.has(id)) throw new StreamError('zeroRttRejected');
    const stream = this.#recv.get(id);
    if (stream === undefined) throw new StreamError(this.#isClosed ? 'connectionLost' : 'closed');
    return stream;
  }

  // --- ids --------------------------------------------------------------------------------------------------------------

  #idOf(dir: Direction, index: number, isLocal: boolean): StreamId {
    const byServer = (this.#config.side === 'server') === isLocal;
    return index * 4 + (dir === 'uni' ? UNI_BIT : 0) + (byServer ? SERVER_BIT : 0);
  }

  #isLocal(id: StreamId): boolean {
    return (id % 2 === SERVER_BIT) === (this.#config.side === 'server');
  }

  #dirOf(id: StreamId): Direction {
    return id % 4 >= UNI_BIT ? 'uni' : 'bi';
  }

  /** Credit that a new stream starts with. The peer's "local" is our "remote" (RFC 9000 §18.2). */
  #initialCredit(id: StreamId): number {
    if (this.#dirOf(id) === 'uni') return this.#peer.initialMaxStreamDataUni;
    return this.#isLocal(id)
      ? this.#peer.initialMaxStreamDataBidiRemote
      : this.#peer.initialMaxStreamDataBidiLocal;
  }

  /** Checks that a frame may name this stream, and opens streams of the peer up to it (RFC 9000 §3.2, §4.6). */
  #touch(id: StreamId, half: 'send' | 'recv', frame: string): void {
    const dir = this.#dirOf(id);
    const index = Math.floor(id / 4);
    const isLocal = this.#isLocal(id);
    if (dir === 'uni' && isLocal !== (half === 'send')) {
      throw new TransportError('STREAM_STATE_ERROR', `${frame} for the wrong direction of stream ${id}`);
    }
    if (isLocal) {
      if (index >= this.#local[dir].opened) {
        throw new TransportError('STREAM_STATE_ERROR', `${frame} for stream ${id}, which was not opened`);
      }
      return;
    }
    const counter = this.#remote[dir];
    if (index >= counter.max)
      throw new TransportError('STREAM_LIMIT_ERROR', `stream ${id} is above the limit`);
    while (counter.opened <= index) {
      const opened = this.#idOf(dir, counter.opened++, false);
      this.#recv.set(opened, new RecvStream(opened, this.#config.streamReceiveWindow, this.#isEarly));
      if (dir === 'bi')
        this.#send.set(opened, new SendStream(opened, this.#initialCredit(opened), this.#isEarly));
      this.#remoteOpen[dir]++;
      this.#events.push({ type: 'streamOpened', dir });
    }
  }

  // --- frames in --------------------------------------------------------------------------------------------------------

  handleStream(id: StreamId, offset: number, data: Uint8Array, fin: boolean): void {
    let stream = this.#recv.get(id);
    if (stream === undefined) {
      this.#touch(id, 'recv', 'STREAM');
      stream = this.#recv.get(id);
      // Read or reset to the end: late duplicates.
      if (stream === undefined) return;
    }
    if (stream.state === 'resetRecvd' || stream.state === 'resetRead') return;
    const end = offset + data.length;
    // RFC 9000 §19.8.
    if (end > Number.MAX_SAFE_INTEGER)
      throw new TransportError('FRAME_ENCODING_ERROR', 'stream offset too large');
    this.#onReceived(stream.grow(end, fin));
    if (fin) stream.move('fin');
    if (stream.stopCode !== undefined) {
      this.#onDiscarded(stream);
      return;
    }
    if (data.length > 0) stream.assembler.insert(offset, data);
    if (stream.state === 'sizeKnown' && stream.assembler.contiguousEnd === stream.finalSize)
      stream.move('allData');
    if (stream.wantsNotice && (stream.assembler.readable > 0 || stream.state === 'dataRecvd')) {
      stream.wantsNotice = false;
      this.#events.push({ type: 'streamReadable', id });
    }
  }

  handleResetStream(id: StreamId, code: bigint, finalSize: number): void {
    this.#touch(id, 'recv', 'RESET_STREAM');
    const stream = this.#recv.get(id);
    if (stream === undefined) return;
    const isFirst = stream.state === 'recv' || stream.state === 'sizeKnown';
    this.#onReceived(stream.grow(finalSize, true));
    if (!isFirst || !stream.move('reset')) return;
    stream.resetCode = code;
    if (stream.stopCode !== undefined) {
      this.#onDiscarded(stream);
      return;
    }
    // RFC 9000 §3.2: the application hears of it at once, data that was not read is gone.
    this.#returnCredit(stream);
    this.#credits.delete(id);
    if (stream.wantsNotice) {
      stream.wantsNotice = false;
      this.#events.push({ type: 'streamReadable', id });
    }
  }

  handleStopSending(id: StreamId, code: bigint): void {
    this.#touch(id, 'send', 'STOP_SENDING');
    const stream = this.#send.get(id);
    if (stream === undefined || stream.stoppedCode !== undefined || stream.state === 'resetSent') return;
    // The application decides whether to reset, as upstream does; RFC 9000 §3.5 would have us answer at once.
    stream.stoppedCode = code;
    this.#blockedWriters.delete(stream);
    this.#events.push({ type: 'streamStopped', id, code });
    if (stream.isBlocked) {
      stream.isBlocked = false;
      this.#events.push({ type: 'streamWritable', id });
    }
  }

  handleMaxData(limit: number): void {
    if (limit <= this.#maxData) return;
    this.#maxData = limit;
    this.#dataBlocked = false;
    this.#unblockWriters();
  }

  handleMaxStreamData(id: StreamId, limit: number): void {
    this.#touch(id, 'send', 'MAX_STREAM_DATA');
    const stream = this.#send.get(id);
    if (stream === undefined || limit <= stream.maxData) return;
    stream.maxData = limit;
    if (this.#blockedWriters.has(stream)) this.#unblockWriters();
  }

  handleMaxStreams(dir: Direction, limit: number): void {
    this.#raiseMaxStreams(dir, limit);
  }

  #raiseMaxStreams(dir: Direction, limit: number): void {
    const counter = this.#local[dir];
    if (limit <= counter.max) return;
    counter.max = limit;
    this.#streamsBlocked[dir] = false;
    if (!this.#wantsStream[dir]) return;
    this.#wantsStream[dir] = false;
    this.#events.push({ type: 'streamsAvailable', dir });
  }

  /** The *_BLOCKED frames inform; credit follows from reading (RFC 9000 §4.1). */
  handleDataBlocked(): void {
    if (this.#window.isDue) this.#maxDataPending = true;
  }

  handleStreamDataBlocked(id: StreamId): void {
    this.#touch(id, 'recv', 'STREAM_DATA_BLOCKED');
  }

  handleStreamsBlocked(dir: Direction): void {
    this.#offerStreams(dir);
  }

  // --- credit -------------------------------------------------------------------------------------------------------------

  #onReceived(bytes: number): void {
    if (bytes === 0) return;
    this.#window.received += bytes;
    if (this.#window.received > this.#window.limit) {
      throw new TransportError('FLOW_CONTROL_ERROR', 'more data than the connection allows');
    }
  }

  #onConsumed(bytes: number): void {
    if (bytes === 0) return;
    this.#window.consumed += bytes;
    if (!this.#isClosed && this.#window.isDue) this.#maxDataPending = true;
  }

  /** A stopped stream: what arrived counts as read. */
  #onDiscarded(stream: RecvStream): void {
    this.#returnCredit(stream);
    if (stream.state === 'sizeKnown') stream.move('allData');
    this.#reapRecv(stream);
  }

  /** Counts everything that was received, and that nobody will read, as read. */
  #returnCredit(stream: RecvStream): void {
    this.#onConsumed(stream.highest - stream.consumed);
    stream.consumed = stream.highest;
    stream.assembler.clear();
  }

  #offerCredit(stream: RecvStream): void {
    if (this.#isClosed || !stream.mayReceive) return;
    if (isStreamCreditDue(stream.assembler.readOffset, stream.window, stream.maxData))
      this.#credits.add(stream.id);
  }

  #unblockWriters(): void {
    if (this.#blockedWriters.size === 0) return;
    const connection = Math.min(this.#maxData - this.#written, this.#config.sendWindow - this.#unacked);
    if (connection <= 0) return;
    for (const stream of this.#blockedWriters) {
      if (stream.maxData <= stream.buffer.end) continue;
      this.#blockedWriters.delete(stream);
      stream.isBlocked = false;
      this.#events.push({ type: 'streamWritable', id: stream.id });
    }
  }

  #offerStreams(dir: Direction): void {
    const counter = this.#remote[dir];
    const next = counter.opened - this.#remoteOpen[dir] + this.#concurrent[dir];
    // Worth a frame when more than an eighth of the limit is free again; noq uses the same.
    if (!this.#isClosed && next - counter.max > this.#concurrent[dir] / 8)
      this.#maxStreamsPending[dir] = true;
  }

  // --- ends ---------------------------------------------------------------------------------------------------------------

  #reapRecv(stream: RecvStream): void {
    if (!stream.isDone) return;
    this.#recv.delete(stream.id);
    this.#credits.delete(stream.id);
    this.#stops.delete(stream.id);
    this.#onHalfDone(stream.id);
  }

  #reapSend(stream: SendStream): void {
    this.#send.delete(stream.id);
    this.#blockedWriters.delete(stream);
    this.#events.push({ type: 'streamFinished', id: stream.id });
    this.#onHalfDone(stream.id);
  }

  #onHalfDone(id: StreamId): void {
    if (this.#isLocal(id) || this.#send.has(id) || this.#recv.has(id)) return;
    const dir = this.#dirOf(id);
    this.#remoteOpen[dir]--;
    this.#offerStreams(dir);
  }

  // --- frames out -----------------------------------------------------------------------------------------------------------

  get wantsControl(): boolean {
    return (
      this.#maxDataPending ||
      this.#credits.size > 0 ||
      this.#resets.size > 0 ||
      this.#stops.size > 0 ||
      this.#maxStreamsPending.bi ||
      this.#maxStreamsPending.uni ||
      this.#streamsBlocked.bi ||
      this.#streamsBlocked.uni ||
      this.#dataBlocked
    );
  }

  get wantsData(): boolean {
    return this.#queue.size > 0;
  }

  writeControl(w: Writer, sent: SentFrame[], now: Millis, rttMs: Millis): void {
    for (const id of this.#resets) {
      if (w.room < MAX_RESET_STREAM_BYTES) return;
      this.#resets.delete(id);
      const stream = this.#send.get(id);
      if (stream?.resetCode === undefined) continue;
      writeResetStream(w, id, stream.resetCode, stream.buffer.end);
      sent.push({ type: 'resetStream', id });
    }
    for (const id of this.#stops) {
      if (w.room < MAX_STOP_SENDING_BYTES) return;
      this.#stops.delete(id);
      const stream = this.#recv.get(id);
      if (stream?.stopCode === undefined) continue;
      writeStopSending(w, id, stream.stopCode);
      sent.push({ type: 'stopSending', id });
    }
    if (this.#maxDataPending && w.room >= MAX_MAX_DATA_BYTES) {
      this.#maxDataPending = false;
      writeMaxData(w, this.#window.grant(now, rttMs));
      sent.push({ type: 'maxData' });
    }
    for (const id of this.#credits) {
      if (w.room < MAX_MAX_STREAM_DATA_BYTES) return;
      this.#credits.delete(id);
      const stream = this.#recv.get(id);
      if (stream === undefined || !stream.mayReceive) continue;
      stream.window = tunedWindow(stream.window, this.#window.window, stream.grantedAt, now, rttMs);
      stream.grantedAt = now;
      stream.maxData = Math.max(stream.maxData, stream.assembler.readOffset + stream.window);
      writeMaxStreamData(w, id, stream.maxData);
      sent.push({ type: 'maxStreamData', id });
    }
    for (const dir of ['bi', 'uni'] as const) {
      if (this.#maxStreamsPending[dir] && w.room >= MAX_MAX_STREAMS_BYTES) {
        this.#maxStreamsPending[dir] = false;
        const counter = this.#remote[dir];
        counter.max = Math.max(counter.max, counter.opened - this.#remoteOpen[dir] + this.#concurrent[dir]);
        writeMaxStreams(w, dir, counter.max);
        sent.push({ type: 'maxStreams', dir });
      }
      if (this.#streamsBlocked[dir] && w.room >= MAX_BLOCKED_BYTES) {
        this.#streamsBlocked[dir] = false;
        writeStreamsBlocked(w, dir, this.#local[dir].max);
        sent.push({ type: 'streamsBlocked', dir });
      }
    }
    if (this.#dataBlocked && w.room >= MAX_BLOCKED_BYTES) {
      this.#dataBlocked = false;
      writeDataBlocked(w, this.#maxData);
      sent.push({ type: 'dataBlocked' });
    }
  }

  /** Fills the packet with STREAM frames, by priority, streams of equal priority in turn. */
  writeData(w: Writer, sent: SentFrame[]): void {
    while (w.room >= MIN_STREAM_ROOM) {
      const stream = this.#queue.take();
      if (stream === undefined) return;
      if (!stream.wantsSend) continue;
      this.#writeStream(w, sent, stream);
      if (stream.wantsSend) this.#queue.push(stream);
    }
  }

  #writeStream(w: Writer, sent: SentFrame[], stream: SendStream): void {
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
    w.u8(STREAM);
    w.varint(id);
    let flags = STREAM;
    if (offset > 0) {
      flags |= OFF_FLAG;
      w.varint(offset);
    }
    if (!fills) {
      flags |= LEN_FLAG;
      w.varint(length);
    }
    if (fin) {
      flags |= FIN_FLAG;
      stream.finPending = false;
    }
    w.bytes[start] = flags;
    if (length > 0) buffer.writePending(w, length);
    sent.push(takeStreamFrame(id, offset, length, fin));
  }

  onFrameAcked(frame: StreamsSentFrame): void {
    if (frame.type === 'stream') {
      const stream = this.#send.get(frame.id);
      if (stream === undefined || stream.state === 'resetSent') return;
      const before = stream.buffer.unacked;
      const isDone = stream.onAcked(frame.offset, frame.length, frame.fin);
      this.#unacked -= before - stream.buffer.unacked;
      if (this.#blockedWriters.size > 0) this.#unblockWriters();
      if (isDone) this.#reapSend(stream);
    } else if (frame.type === 'resetStream') {
      const stream = this.#send.get(frame.id);
      if (stream?.move('resetAcked') === true) this.#reapSend(stream);
    }
  }

  onFrameLost(frame: StreamsSentFrame): void {
    if (this.#isClosed) return;
    switch (frame.type) {
      case 'stream': {
        const stream = this.#send.get(frame.id);
        if (stream === undefined || stream.state === 'resetSent') return;
        stream.onLost(frame.offset, frame.length, frame.fin);
        if (stream.wantsSend) this.#queue.push(stream);
        return;
      }
      case 'resetStream':
        if (this.#send.get(frame.id)?.state === 'resetSent') this.#resets.add(frame.id);
        return;
      case 'stopSending': {
        const stream = this.#recv.get(frame.id);
        if (stream !== undefined && !stream.isDone) this.#stops.add(frame.id);
        return;
      }
      case 'maxData':
        this.#maxDataPending = true;
        return;
      case 'maxStreamData':
        if (this.#recv.get(frame.id)?.mayReceive === true) this.#credits.add(frame.id);
        return;
      case 'maxStreams':
        this.#maxStreamsPending[frame.dir] = true;
        return;
      case 'streamsBlocked':
        this.#streamsBlocked[frame.dir] = this.#local[frame.dir].opened >= this.#local[frame.dir].max;
        return;
      case 'dataBlocked':
        this.#dataBlocked = this.#written >= this.#maxData;
        return;
      case 'streamDataBlocked':
        return;
    }
  }

  pollEvent(): ConnectionEvent | undefined {
    return this.#events.shift();
  }
}
