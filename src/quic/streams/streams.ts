/**
 * All streams of a connection: which there are, who sends next, resets and stops (RFC 9000 §2 to §4; scheduling as noq
 * `noq-proto/src/connection/streams`). How many streams may be open, and how much may be sent and received over all of
 * them, is kept by `stream-limits.ts`, `send-credit.ts` and `recv-credit.ts`.
 *
 * @module
 */
import type { Writer } from '../../base/bytes.ts';
import type { Millis } from '../../base/clock.ts';
import { LazySet } from '../../base/lazy-collections.ts';
import type { ConnectionEvent, Direction, Side, StreamId } from '../engine.ts';
import type { SentFrame, StreamsSentFrame } from '../sent-frame.ts';
import { TransportError } from '../transport-error.ts';
import {
  MAX_RESET_STREAM_BYTES,
  MAX_STOP_SENDING_BYTES,
  writeResetStream,
  writeStopSending,
} from '../wire/frames.ts';
import { RecvCredit } from './recv-credit.ts';
import { RecvStream } from './recv-stream.ts';
import { SendCredit, type PeerDataLimits } from './send-credit.ts';
import { SendQueue } from './send-queue.ts';
import { SendStream } from './send-stream.ts';
import { StreamError } from './stream-error.ts';
import { MIN_STREAM_ROOM, writeStreamFrame } from './stream-frame-writer.ts';
import { directionOf, isOpenedBy } from './stream-ids.ts';
import { StreamLimits } from './stream-limits.ts';

export interface StreamsConfig {
  readonly side: Side;
  readonly streamReceiveWindow: number;
  readonly receiveWindow: number;
  readonly maxReceiveWindow: number;
  readonly sendWindow: number;
  readonly maxConcurrentBidiStreams: number;
  readonly maxConcurrentUniStreams: number;
}

/** The peer's limits, remembered or real. */
export interface PeerStreamLimits extends PeerDataLimits {
  readonly initialMaxStreamsBidi: number;
  readonly initialMaxStreamsUni: number;
}

/** All streams of one connection. */
export class Streams {
  readonly #config: StreamsConfig;
  readonly #send = new Map<StreamId, SendStream>();
  readonly #recv = new Map<StreamId, RecvStream>();
  readonly #queue = new SendQueue();
  readonly #events: ConnectionEvent[] = [];

  readonly #limits: Readonly<Record<Direction, StreamLimits>>;
  readonly #sendCredit: SendCredit;
  readonly #recvCredit: RecvCredit;

  readonly #resets = new LazySet<StreamId>();
  readonly #stops = new LazySet<StreamId>();
  #isEarly = true;
  #isClosed = false;
  /** Ids of early streams that the server refused. */
  #rejected = new LazySet<StreamId>();

  constructor(config: StreamsConfig) {
    this.#config = config;
    const { side } = config;
    this.#limits = {
      bi: new StreamLimits(side, 'bi', config.maxConcurrentBidiStreams, this.#events),
      uni: new StreamLimits(side, 'uni', config.maxConcurrentUniStreams, this.#events),
    };
    this.#sendCredit = new SendCredit(side, config.sendWindow, this.#events);
    this.#recvCredit = new RecvCredit(config.receiveWindow, config.maxReceiveWindow);
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
    this.#limits.bi.raise(limits.initialMaxStreamsBidi);
    this.#limits.uni.raise(limits.initialMaxStreamsUni);
    this.#sendCredit.setPeerLimits(limits, this.#send.values());
  }

  onHandshakeComplete(): void {
    this.#isEarly = false;
  }

  /** The server refused early data: the streams that were opened for it never existed. */
  onZeroRttRejected(): void {
    for (const id of this.#send.keys()) this.#rejected.add(id);
    for (const id of this.#recv.keys()) this.#rejected.add(id);
    const reading = [...this.#recv.values()].filter((stream) => stream.wantsNotice);
    this.#send.clear();
    this.#recv.clear();
    this.#queue.clear();
    this.#resets.clear();
    this.#stops.clear();
    this.#limits.bi.onZeroRttRejected();
    this.#limits.uni.onZeroRttRejected();
    this.#recvCredit.onZeroRttRejected();
    this.#sendCredit.onZeroRttRejected();
    this.#isEarly = false;
    for (const { id } of reading) this.#events.push({ type: 'streamReadable', id });
  }

  /** What is buffered in order stays readable; everything else fails from now on. */
  onConnectionClosed(): void {
    this.#isClosed = true;
    this.#queue.clear();
    for (const stream of this.#send.values()) stream.buffer.clear();
    this.#resets.clear();
    this.#stops.clear();
    this.#limits.bi.onConnectionClosed();
    this.#limits.uni.onConnectionClosed();
    this.#sendCredit.onConnectionClosed();
    this.#recvCredit.onConnectionClosed();
  }

  // --- for the application --------------------------------------------------------------------------------------------

  /** Opens a stream; undefined at the peer's limit. */
  open(dir: Direction): StreamId | undefined {
    if (this.#isClosed) throw new StreamError('connectionLost');
    const id = this.#limits[dir].open();
    if (id === undefined) return undefined;
    // A stream of the same number that early data was refused on is another one.
    this.#rejected.delete(id);
    this.#send.set(id, new SendStream(id, this.#sendCredit.initialFor(id), this.#isEarly));
    if (dir === 'bi') this.#recv.set(id, new RecvStream(id, this.#config.streamReceiveWindow, this.#isEarly));
    return id;
  }

  /** The next stream of the peer. */
  accept(dir: Direction): StreamId | undefined {
    return this.#limits[dir].accept();
  }

  /** Buffers a copy of what credit and window allow; returns how many bytes. @throws {StreamError} */
  write(id: StreamId, bytes: Uint8Array): number {
    const stream = this.#sendStream(id);
    if (stream.stoppedCode !== undefined) throw new StreamError('stopped', stream.stoppedCode);
    if (stream.state !== 'send') throw new StreamError('closed');
    const count = this.#sendCredit.take(stream, bytes.length);
    if (count === 0) return 0;
    stream.buffer.write(count === bytes.length ? bytes : bytes.subarray(0, count));
    this.#queue.push(stream);
    return count;
  }

  /** Ends the stream after what was written. @throws {StreamError} closed when it ended before. */
  finish(id: StreamId): void {
    const stream = this.#sendStream(id);
    if (stream.stoppedCode !== undefined) throw new StreamError('stopped', stream.stoppedCode);
    if (!stream.move('finish')) throw new StreamError('closed');
    stream.finPending = true;
    this.#sendCredit.forget(stream);
    this.#queue.push(stream);
  }

  /** Abandons the stream. @throws {StreamError} closed when it is done. */
  reset(id: StreamId, code: bigint): void {
    const stream = this.#sendStream(id);
    if (!stream.move('reset')) throw new StreamError('closed');
    stream.resetCode = code;
    stream.finPending = false;
    this.#resets.add(id);
    this.#sendCredit.forget(stream);
    this.#sendCredit.release(stream.buffer.unacked);
    stream.buffer.clear();
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
      this.#recvCredit.onRead(stream, data.length);
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
    this.#recvCredit.onAbandoned(stream);
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
    this.#limits[dir].setConcurrent(count);
  }

  setReceiveWindow(bytes: number): void {
    this.#recvCredit.setWindow(bytes);
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

  // --- new streams ---------------------------------------------------------------------------------------------------

  /** Checks that a frame may name this stream, and opens streams of the peer up to it (RFC 9000 §3.2, §4.6). */
  #touch(id: StreamId, half: 'send' | 'recv', frame: string): void {
    const dir = directionOf(id);
    const limits = this.#limits[dir];
    limits.check(id, half, frame);
    for (let opened = limits.openRemote(id); opened !== undefined; opened = limits.openRemote(id)) {
      this.#recv.set(opened, new RecvStream(opened, this.#config.streamReceiveWindow, this.#isEarly));
      if (dir === 'bi')
        this.#send.set(opened, new SendStream(opened, this.#sendCredit.initialFor(opened), this.#isEarly));
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
    this.#recvCredit.onReceived(stream.grow(end, fin));
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
    this.#recvCredit.onReceived(stream.grow(finalSize, true));
    if (!isFirst || !stream.move('reset')) return;
    stream.resetCode = code;
    if (stream.stopCode !== undefined) {
      this.#onDiscarded(stream);
      return;
    }
    // RFC 9000 §3.2: the application hears of it at once, data that was not read is gone.
    this.#recvCredit.onAbandoned(stream);
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
    this.#sendCredit.forget(stream);
    this.#events.push({ type: 'streamStopped', id, code });
    if (stream.isBlocked) {
      stream.isBlocked = false;
      this.#events.push({ type: 'streamWritable', id });
    }
  }

  handleMaxData(limit: number): void {
    this.#sendCredit.handleMaxData(limit);
  }

  handleMaxStreamData(id: StreamId, limit: number): void {
    this.#touch(id, 'send', 'MAX_STREAM_DATA');
    const stream = this.#send.get(id);
    if (stream === undefined || limit <= stream.maxData) return;
    stream.maxData = limit;
    this.#sendCredit.onMaxStreamData(stream);
  }

  handleMaxStreams(dir: Direction, limit: number): void {
    this.#limits[dir].raise(limit);
  }

  /** The *_BLOCKED frames inform; credit follows from reading (RFC 9000 §4.1). */
  handleDataBlocked(): void {
    this.#recvCredit.offer();
  }

  handleStreamDataBlocked(id: StreamId): void {
    this.#touch(id, 'recv', 'STREAM_DATA_BLOCKED');
  }

  handleStreamsBlocked(dir: Direction): void {
    this.#limits[dir].offer();
  }

  // --- ends ---------------------------------------------------------------------------------------------------------------

  /** A stopped stream: what arrived counts as read. */
  #onDiscarded(stream: RecvStream): void {
    this.#recvCredit.onAbandoned(stream);
    if (stream.state === 'sizeKnown') stream.move('allData');
    this.#reapRecv(stream);
  }

  #reapRecv(stream: RecvStream): void {
    if (!stream.isDone) return;
    this.#recv.delete(stream.id);
    this.#recvCredit.forget(stream);
    this.#stops.delete(stream.id);
    this.#onHalfDone(stream.id);
  }

  #reapSend(stream: SendStream): void {
    this.#send.delete(stream.id);
    this.#sendCredit.forget(stream);
    this.#events.push({ type: 'streamFinished', id: stream.id });
    this.#onHalfDone(stream.id);
  }

  #onHalfDone(id: StreamId): void {
    if (isOpenedBy(this.#config.side, id) || this.#send.has(id) || this.#recv.has(id)) return;
    this.#limits[directionOf(id)].onRemoteDone();
  }

  // --- frames out -----------------------------------------------------------------------------------------------------------

  get wantsControl(): boolean {
    return (
      this.#recvCredit.wantsControl ||
      this.#resets.size > 0 ||
      this.#stops.size > 0 ||
      this.#limits.bi.wantsControl ||
      this.#limits.uni.wantsControl ||
      this.#sendCredit.wantsControl
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
    if (!this.#recvCredit.writeControl(w, sent, now, rttMs)) return;
    this.#limits.bi.writeControl(w, sent);
    this.#limits.uni.writeControl(w, sent);
    this.#sendCredit.writeControl(w, sent);
  }

  /** Fills the packet with STREAM frames, by priority, streams of equal priority in turn. */
  writeData(w: Writer, sent: SentFrame[]): void {
    while (w.room >= MIN_STREAM_ROOM) {
      const stream = this.#queue.take();
      if (stream === undefined) return;
      if (!stream.wantsSend) continue;
      sent.push(writeStreamFrame(w, stream));
      if (stream.wantsSend) this.#queue.push(stream);
    }
  }

  onFrameAcked(frame: StreamsSentFrame): void {
    if (frame.type === 'stream') {
      const stream = this.#send.get(frame.id);
      if (stream === undefined || stream.state === 'resetSent') return;
      const before = stream.buffer.unacked;
      const isDone = stream.onAcked(frame.offset, frame.length, frame.fin);
      this.#sendCredit.release(before - stream.buffer.unacked);
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
        this.#recvCredit.onMaxDataLost();
        return;
      case 'maxStreamData': {
        const stream = this.#recv.get(frame.id);
        if (stream !== undefined) this.#recvCredit.onMaxStreamDataLost(stream);
        return;
      }
      case 'maxStreams':
        this.#limits[frame.dir].onMaxStreamsLost();
        return;
      case 'streamsBlocked':
        this.#limits[frame.dir].onStreamsBlockedLost();
        return;
      case 'dataBlocked':
        this.#sendCredit.onDataBlockedLost();
        return;
      case 'streamDataBlocked':
        return;
    }
  }

  pollEvent(): ConnectionEvent | undefined {
    return this.#events.shift();
  }
}
