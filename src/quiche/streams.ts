/**
 * The streams of a quiche connection: quiche has the bytes, this has the states of both halves, and tells what changed.
 *
 * quiche tells of a stream that all is acknowledged only by forgetting it, and that only once both directions are done. Where
 * that says nothing (the peer still sends), `streamFinished` comes when nothing at all is unacknowledged on the connection: it
 * may be late; when it is early is said in docs/security.md.
 *
 * quiche also takes a stream for acknowledged when its bytes are, whatever became of a FIN without bytes, and may forget it with
 * that FIN unsent or lost. Such a FIN goes out when all else is sent and quiche cannot keep it back, twice at once, and again after
 * losses, while quiche still knows the stream. While one waits, half of the congestion window is left free for it.
 *
 * @module
 */
import { EMPTY } from '../base/bytes.ts';
import type { ConnectionEvent, Direction, StreamId } from '../quic/engine.ts';
import { StreamError } from '../quic/streams/stream-error.ts';
import { failureOf, SHUTDOWN, type Connection } from './native.ts';

/** Bytes per read at most; read data is copied out of one buffer for all. */
const READ_BYTES = 64 * 1_024;
/** quiche's default urgency (RFC 9218 turned around: 0 goes first, 255 last), where our priority 0 is. */
const DEFAULT_URGENCY = 127;
const MAX_URGENCY = 255;
/** Packets that a FIN without bytes is in. */
const END_COPIES = 2;
/** A FIN goes out in a packet of its own, when the congestion window has room for one. */
const PACKET_BYTES = 1_200;
/** In proportional rate reduction (RFC 6937) a byte that is sent counts against the window and against the allowance. */
const MAX_CAPACITY_PER_BYTE = 2;
/** Share of the congestion window that data leaves free while a FIN waits. */
const END_SHARE = 1 / 2;
const FAILURES = { limit: 'StreamLimit', stopped: 'StreamStopped', reset: 'StreamReset' } as const;

interface SendHalf {
  readonly id: StreamId;
  readonly is0Rtt: boolean;
  state: 'send' | 'finished' | 'reset';
  isBlocked: boolean;
  /** The last bytes have not been sent yet: FIN goes with them. */
  hasUnsent: boolean;
  /** FIN comes without bytes. */
  isEndBare: boolean;
  /** It was sent when nothing else was unacknowledged: quiche repeats it by itself. */
  isEndSure: boolean;
  priority: number;
  stoppedCode: bigint | undefined;
  /** quiche knows the stream. Those that a peer skipped exist (RFC 9000 §3.2), but quiche has nothing of them. */
  isKnown: boolean;
  /** To be done when it does. */
  pendingReset: bigint | undefined;
}

interface RecvHalf {
  readonly id: StreamId;
  readonly is0Rtt: boolean;
  /** A read returned nothing. */
  wantsNotice: boolean;
  /** FIN was read with the last bytes. */
  isAtEnd: boolean;
  isKnown: boolean;
}

const scratch = new Uint8Array(READ_BYTES);
/** What a read gives at the end. */
const AT_END: [number, boolean] = [0, true];

/** Streams of both sides, by their ids. */
export class QuicheStreams {
  /** Client: before the handshake is complete, what is opened is early data. */
  isEarly = true;
  isClosed = false;
  readonly #native: Connection;
  /** Bit 0 of the ids of streams that we open. */
  readonly #ownBit: number;
  readonly #emit: (event: ConnectionEvent) => void;
  readonly #send = new Map<StreamId, SendHalf>();
  readonly #recv = new Map<StreamId, RecvHalf>();
  /** Those with bytes that were written since the last {@link beginSend}. */
  readonly #unsent = new Set<SendHalf>();
  /** Those whose FIN comes without bytes, until they are finished. */
  readonly #ends = new Set<SendHalf>();
  /** How many copies of it are still to be sent. */
  readonly #dueEnds = new Map<SendHalf, number>();
  /** quiche's counters when it was last looked at. */
  #lost = 0;
  #received = 0;
  /** When the last packet came, which is when quiche last computed its capacity. */
  #sentBytesBefore = 0;
  #lostBefore = 0;
  #isQuiet = false;
  /** Stopped before quiche knew of them, with the code. */
  readonly #pendingStops = new Map<StreamId, bigint>();
  readonly #opened: Record<Direction, number> = { bi: 0, uni: 0 };
  readonly #remote: Record<Direction, number> = { bi: 0, uni: 0 };
  readonly #accepted: Record<Direction, number> = { bi: 0, uni: 0 };
  readonly #wantsStream: Record<Direction, boolean> = { bi: false, uni: false };

  constructor(native: Connection, side: 'client' | 'server', emit: (event: ConnectionEvent) => void) {
    this.#native = native;
    this.#ownBit = side === 'client' ? 0 : 1;
    this.#emit = emit;
  }

  // --- for the application --------------------------------------------------------------------------------------------

  open(dir: Direction): StreamId | undefined {
    if (this.isClosed) throw new StreamError('connectionLost');
    const id = this.#opened[dir] * 4 + (dir === 'uni' ? 2 : 0) + this.#ownBit;
    try {
      // Sends nothing, but counts.
      this.#native.streamSend(id, EMPTY, false);
    } catch (error) {
      if (failureOf(error).name !== FAILURES.limit) throw new StreamError('connectionLost');
      this.#wantsStream[dir] = true;
      return undefined;
    }
    this.#opened[dir]++;
    this.#addSend(id, true);
    if (dir === 'bi') this.#addRecv(id, true);
    return id;
  }

  accept(dir: Direction): StreamId | undefined {
    if (this.#accepted[dir] >= this.#remote[dir]) return undefined;
    return this.#accepted[dir]++ * 4 + (dir === 'uni' ? 2 : 0) + (1 - this.#ownBit);
  }

  write(id: StreamId, bytes: Uint8Array): number {
    const half = this.#sendHalf(id);
    if (half.stoppedCode !== undefined) throw new StreamError('stopped', half.stoppedCode);
    if (half.state !== 'send') throw new StreamError('closed');
    const count = half.isKnown ? this.#nativeSend(half, this.#admitted(half, bytes), false) : 0;
    if (count < bytes.length) half.isBlocked = true;
    if (count > 0) {
      this.#isQuiet = false;
      half.hasUnsent = true;
      this.#unsent.add(half);
    }
    return count;
  }

  finish(id: StreamId): void {
    const half = this.#sendHalf(id);
    if (half.stoppedCode !== undefined) throw new StreamError('stopped', half.stoppedCode);
    if (half.state !== 'send') throw new StreamError('closed');
    half.isBlocked = false;
    if (half.isKnown) this.#end(half);
    half.state = 'finished';
  }

  reset(id: StreamId, code: bigint): void {
    const half = this.#sendHalf(id);
    if (half.state === 'reset') throw new StreamError('closed');
    half.state = 'reset';
    half.isBlocked = false;
    this.#forgetEnd(half);
    // quiche answers STOP_SENDING with a reset of its own.
    if (half.stoppedCode !== undefined) return;
    if (half.isKnown) this.#native.streamShutdown(id, SHUTDOWN.write, codeOf(code));
    else half.pendingReset = code;
  }

  read(id: StreamId, maxBytes: number): Uint8Array | null | undefined {
    const half = this.#recv.get(id);
    if (half === undefined) throw new StreamError(this.isClosed ? 'connectionLost' : 'closed');
    if (half.isAtEnd) {
      this.#recv.delete(id);
      return null;
    }
    const got = half.isKnown ? this.#nativeRecv(half, maxBytes) : null;
    if (got === null) {
      if (this.isClosed) throw new StreamError('connectionLost');
      half.wantsNotice = true;
      return undefined;
    }
    const [length, isFin] = got;
    half.isAtEnd = isFin;
    if (length === 0 && isFin) {
      this.#recv.delete(id);
      return null;
    }
    return scratch.slice(0, length);
  }

  stop(id: StreamId, code: bigint): void {
    const half = this.#recv.get(id);
    if (half === undefined) throw new StreamError(this.isClosed ? 'connectionLost' : 'closed');
    this.#recv.delete(id);
    if (half.isAtEnd) return;
    if (half.isKnown) this.#native.streamShutdown(id, SHUTDOWN.read, codeOf(code));
    else this.#pendingStops.set(id, code);
  }

  setPriority(id: StreamId, priority: number): void {
    const half = this.#sendHalf(id);
    half.priority = priority;
    if (half.isKnown) this.#applyPriority(half);
  }

  priority(id: StreamId): number {
    return this.#sendHalf(id).priority;
  }

  is0Rtt(id: StreamId): boolean {
    return (this.#send.get(id) ?? this.#recv.get(id))?.is0Rtt ?? false;
  }

  // --- before packets are made, and after -------------------------------------------------------------------------------

  /** quiche is about to be asked for packets. */
  beginSend(): void {
    for (const half of this.#unsent) half.hasUnsent = false;
    this.#unsent.clear();
  }

  /** quiche has no more packets: one follows that has FIN alone, when this is true. */
  sendEnd(): boolean {
    if (this.#dueEnds.size === 0) return false;
    const { least, most } = this.#capacityForEnd();
    for (const [half, copies] of this.#dueEnds) {
      const capacity = this.#capacity(half.id);
      if (capacity < least || capacity > most) continue;
      if (copies > 1) this.#dueEnds.set(half, copies - 1);
      else this.#dueEnds.delete(half);
      try {
        this.#native.streamSend(half.id, EMPTY, true);
        return true;
      } catch {
        // Stopped or forgotten: the next poll tells.
      }
    }
    return false;
  }

  #end(half: SendHalf): void {
    if (half.hasUnsent) {
      this.#nativeSend(half, EMPTY, true);
      return;
    }
    half.isEndBare = true;
    this.#ends.add(half);
    this.#dueEnds.set(half, END_COPIES);
  }

  #forgetEnd(half: SendHalf): void {
    this.#ends.delete(half);
    this.#dueEnds.delete(half);
  }

  /**
   * The capacity of a stream that shows that the congestion window is open: else quiche would keep FIN, and could forget it at the
   * next acknowledgment. There is no question for the window alone, but when nothing is under way it is open.
   */
  #capacityForEnd(): { readonly least: number; readonly most: number } {
    const { sentBytes, lost } = this.#native.stats();
    // quiche's capacity is of the last packet that came: what was sent again since is not taken off.
    const sent = sentBytes - this.#sentBytesBefore;
    if (this.#isQuiet && sent <= PACKET_BYTES) return { least: 0, most: Infinity };
    // A loss that a timer found has made the window smaller since.
    if (lost !== this.#lostBefore) return { least: Infinity, most: Infinity };
    // While a probe is due, capacity knows no window (RFC 9002 §7.5).
    return { least: PACKET_BYTES + MAX_CAPACITY_PER_BYTE * sent, most: this.#congestionWindow() };
  }

  /** quiche's capacity; 0 for a stream that is stopped or forgotten, which the next poll tells. */
  #capacity(id: StreamId): number {
    try {
      return this.#native.streamCapacity(id);
    } catch {
      return 0;
    }
  }

  #congestionWindow(): number {
    return this.#native.pathStats().find(({ active }) => active)?.cwnd ?? 0;
  }

  /** What may be written of `bytes` now: a FIN that waits for an open window would wait as long as others have data. */
  #admitted({ id }: SendHalf, bytes: Uint8Array): Uint8Array {
    if (this.#dueEnds.size === 0) return bytes;
    return bytes.subarray(0, Math.max(0, this.#capacity(id) - this.#endReserve()));
  }

  /** Capacity that is not for data. */
  #endReserve(): number {
    return this.#dueEnds.size === 0 ? 0 : Math.ceil(this.#congestionWindow() * END_SHARE);
  }

  // --- what happened in quiche ------------------------------------------------------------------------------------------

  /**
   * Looks at all streams and raises events.
   * @param isQuiet - Nothing is unacknowledged on the connection, and nothing waits to be sent.
   */
  poll(isQuiet: boolean): void {
    const native = this.#native;
    this.#isQuiet = isQuiet;
    this.#repeatEnds();
    const reserve = this.#endReserve();
    for (const id of native.readable()) {
      this.#appear(id);
      const half = this.#recv.get(id);
      if (half === undefined || !half.wantsNotice) continue;
      half.wantsNotice = false;
      this.#emit({ type: 'streamReadable', id });
    }
    // FIN in a frame whose bytes were all read before makes no stream readable in quiche 0.18.
    for (const half of this.#recv.values()) {
      if (!half.wantsNotice || !half.isKnown || !native.streamFinished(half.id)) continue;
      half.wantsNotice = false;
      this.#emit({ type: 'streamReadable', id: half.id });
    }
    // A stream that begins with STOP_SENDING has nothing to read.
    for (const id of native.writable()) this.#appear(id);
    for (const half of this.#send.values()) this.#pollSend(half, isQuiet, reserve);
    for (const dir of ['bi', 'uni'] as const) {
      if (!this.#wantsStream[dir]) continue;
      const left = dir === 'bi' ? native.peerStreamsLeftBidi() : native.peerStreamsLeftUni();
      if (left === 0) continue;
      this.#wantsStream[dir] = false;
      this.#emit({ type: 'streamsAvailable', dir });
    }
  }

  #pollSend(half: SendHalf, isQuiet: boolean, reserve: number): void {
    const { id } = half;
    if (!half.isKnown) return;
    let capacity: number;
    try {
      capacity = this.#native.streamCapacity(id);
    } catch (error) {
      const { name, code } = failureOf(error);
      if (name !== FAILURES.stopped) {
        // Stopped when all was acknowledged: quiche has forgotten the stream, and the code.
        if (half.state === 'send' && half.stoppedCode === undefined)
          this.#emit({ type: 'streamStopped', id, code: 0n });
        return this.#finished(id);
      }
      if (half.stoppedCode === undefined) {
        half.stoppedCode = code!;
        half.isBlocked = false;
        this.#forgetEnd(half);
        this.#emit({ type: 'streamStopped', id, code: code! });
        // Its RESET_STREAM is still to be sent.
        return;
      }
      if (isQuiet) this.#finished(id);
      return;
    }
    if (capacity > reserve && half.isBlocked) {
      half.isBlocked = false;
      this.#emit({ type: 'streamWritable', id });
    }
    if (!isQuiet || half.state === 'send') return;
    if (half.isEndBare && half.state === 'finished' && !half.isEndSure) {
      // While bytes were under way it may have been lost with them.
      half.isEndSure = true;
      this.#dueEnds.set(half, 1);
    } else if (!this.#dueEnds.has(half)) this.#finished(id);
  }

  /** After losses: a FIN that was lost together with bytes before it is not sent again by quiche. */
  #repeatEnds(): void {
    const { lost, recv, sentBytes } = this.#native.stats();
    if (recv > this.#received) {
      this.#received = recv;
      this.#sentBytesBefore = sentBytes;
      this.#lostBefore = lost;
    }
    if (lost <= this.#lost) return;
    this.#lost = lost;
    for (const half of this.#ends) if (!this.#dueEnds.has(half)) this.#dueEnds.set(half, 1);
  }

  #finished(id: StreamId): void {
    const half = this.#send.get(id);
    if (half !== undefined) {
      this.#forgetEnd(half);
      this.#unsent.delete(half);
    }
    this.#send.delete(id);
    this.#emit({ type: 'streamFinished', id });
  }

  /** quiche knows `id`: it may be new to us, and those of lower numbers with it. */
  #appear(id: StreamId): void {
    if ((id & 1) === this.#ownBit) return;
    const dir = (id & 2) === 0 ? 'bi' : 'uni';
    const index = (id - (id & 3)) / 4;
    while (this.#remote[dir] <= index) {
      const each = this.#remote[dir]++ * 4 + (id & 3);
      this.#addRecv(each, false);
      if (dir === 'bi') this.#addSend(each, false);
      this.#emit({ type: 'streamOpened', dir });
    }
    this.#know(id);
  }

  #know(id: StreamId): void {
    const recv = this.#recv.get(id);
    if (recv !== undefined) recv.isKnown = true;
    const stop = this.#pendingStops.get(id);
    if (stop !== undefined) {
      this.#pendingStops.delete(id);
      this.#native.streamShutdown(id, SHUTDOWN.read, codeOf(stop));
    }
    const send = this.#send.get(id);
    if (send === undefined || send.isKnown) return;
    send.isKnown = true;
    if (send.priority !== 0) this.#applyPriority(send);
    if (send.state === 'finished') this.#end(send);
    if (send.pendingReset !== undefined)
      this.#native.streamShutdown(id, SHUTDOWN.write, codeOf(send.pendingReset));
  }

  // --- inside -----------------------------------------------------------------------------------------------------------

  #addSend(id: StreamId, isKnown: boolean): void {
    this.#send.set(id, {
      id,
      is0Rtt: this.isEarly,
      state: 'send',
      isBlocked: false,
      hasUnsent: false,
      isEndBare: false,
      isEndSure: false,
      priority: 0,
      stoppedCode: undefined,
      isKnown,
      pendingReset: undefined,
    });
  }

  #addRecv(id: StreamId, isKnown: boolean): void {
    this.#recv.set(id, { id, is0Rtt: this.isEarly, wantsNotice: false, isAtEnd: false, isKnown });
  }

  #sendHalf(id: StreamId): SendHalf {
    const half = this.#send.get(id);
    if (half === undefined) throw new StreamError('closed');
    if (this.isClosed) throw new StreamError('connectionLost');
    return half;
  }

  #nativeSend(half: SendHalf, bytes: Uint8Array, fin: boolean): number {
    try {
      return this.#native.streamSend(half.id, bytes, fin) ?? 0;
    } catch (error) {
      const { name, code } = failureOf(error);
      // The event comes with the next poll.
      if (name === FAILURES.stopped) throw new StreamError('stopped', code);
      throw new StreamError('closed');
    }
  }

  #nativeRecv(half: RecvHalf, maxBytes: number): [number, boolean] | null {
    const into = maxBytes >= READ_BYTES ? scratch : scratch.subarray(0, maxBytes);
    try {
      const got = this.#native.streamRecv(half.id, into);
      return got === null && this.#native.streamFinished(half.id) ? AT_END : got;
    } catch (error) {
      const { name, code } = failureOf(error);
      // Forgotten by quiche, with nothing left to read.
      if (name !== FAILURES.reset) return AT_END;
      this.#recv.delete(half.id);
      throw new StreamError('reset', code);
    }
  }

  #applyPriority({ id, priority }: SendHalf): void {
    const urgency = Math.max(0, Math.min(MAX_URGENCY, DEFAULT_URGENCY - priority));
    this.#native.streamPriority(id, urgency, true);
  }
}

/** Application codes cross the binding as numbers. */
function codeOf(code: bigint): number {
  if (code < 0n || code > BigInt(Number.MAX_SAFE_INTEGER)) throw new RangeError(`code out of range: ${code}`);
  return Number(code);
}
