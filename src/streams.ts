/**
 * Streams as an application uses them: with promises, or as WHATWG streams. Backpressure works in both styles.
 *
 * @module
 */
import type { ConnectionActor } from './actors/connection-actor.ts';
import { deadlineOf, Deferred, settleWithin, WaitQueue, type WaitOptions } from './actors/wait.ts';
import {
  clampCode,
  ReadError,
  ReadExactError,
  ReadToEndError,
  ResetError,
  StoppedError,
  toWireCode,
  WriteError,
} from './base/errors.ts';
import { concatBytes, EMPTY } from './base/bytes.ts';
import type { StreamId } from './quic/engine.ts';
import { StreamError } from './quic/streams/stream-error.ts';

/** Bytes that one `read` returns at most unless told otherwise. */
export const DEFAULT_READ_BYTES = 256 * 1_024;
/** Code of the STOP_SENDING or RESET_STREAM that disposal sends. */
const DISPOSE_CODE = 0;

/** A bidirectional stream. */
export interface BiStream {
  /** What this side writes. */
  readonly send: SendStream;
  /** What the peer writes. */
  readonly recv: RecvStream;
}

/** The sending half of a stream. */
export class SendStream {
  /** QUIC stream id. */
  readonly id: StreamId;
  readonly #actor: ConnectionActor;
  readonly #writable: WaitQueue;
  readonly #stopped = new Deferred<number | undefined>();
  readonly #is0Rtt: boolean;
  /** Refusals of early data that came before this stream. */
  readonly #earlyRejections: number;
  /** The write before, while it waits for room: writes keep their order. */
  #tail: Promise<void> | undefined;
  #stream: WritableStream<Uint8Array> | undefined;

  /** Streams come from a connection. @internal */
  constructor(actor: ConnectionActor, id: StreamId) {
    this.#actor = actor;
    this.id = id;
    this.#writable = new WaitQueue(actor.clock);
    this.#is0Rtt = actor.quic.streamIs0Rtt(id);
    this.#earlyRejections = actor.earlyRejections;
    actor.listenSend(id, this);
  }

  /**
   * Writes all bytes; resolves when they are buffered. The bytes are copied: the caller may change them afterwards.
   * Aborting leaves an unknown prefix written.
   * @throws {WriteError} Stopped, ConnectionLost, ClosedStream, ZeroRttRejected.
   */
  write(bytes: Uint8Array, options: WaitOptions = {}): Promise<void> {
    if (this.#tail === undefined) {
      try {
        const written = this.#write(bytes);
        if (written === bytes.length) return Promise.resolve();
        return this.#enqueue(this.#writeRest(written === 0 ? bytes : bytes.subarray(written), options));
      } catch (error) {
        return Promise.reject(error);
      }
    }
    // The one before is given up or not by its own options only; this one gives up waiting for it by its own.
    const { clock } = this.#actor;
    const left = deadlineOf(clock, options);
    const isLimited = options.signal !== undefined || options.timeoutMs !== undefined;
    if (!isLimited) return this.#enqueue(this.#tail.then(() => this.#writeRest(bytes, options)));
    const work = settleWithin(clock, this.#tail, options).then(() => this.#writeRest(bytes, left()));
    // Who gave up early does not let the next one overtake those before.
    void this.#enqueue(Promise.allSettled([this.#tail, work]).then(() => undefined));
    return work;
  }

  #enqueue(work: Promise<void>): Promise<void> {
    const tail = work.then(
      () => undefined,
      () => undefined,
    );
    this.#tail = tail;
    void tail.then(() => {
      if (this.#tail === tail) this.#tail = undefined;
    });
    return work;
  }

  async #writeRest(bytes: Uint8Array, options: WaitOptions): Promise<void> {
    const left = deadlineOf(this.#actor.clock, options);
    for (let rest = bytes; rest.length > 0;) {
      const written = this.#write(rest);
      if (written === rest.length) return;
      rest = rest.subarray(written);
      await this.#writable.wait(left());
    }
  }

  #write(bytes: Uint8Array): number {
    this.#checkNotRejected();
    try {
      const written = this.#actor.quic.writeStream(this.id, bytes);
      this.#actor.wake();
      return written;
    } catch (error) {
      throw this.#toWriteError(error);
    }
  }

  /** A stream that early data was refused on must not touch the one that has its number now. */
  #checkNotRejected(): void {
    if (this.#earlyRejections === this.#actor.earlyRejections) return;
    throw new WriteError('WriteError.ZeroRttRejected', 'early data was refused');
  }

  #toWriteError(error: unknown): unknown {
    if (!(error instanceof StreamError)) return error;
    const lost = this.#actor.error;
    switch (error.kind) {
      case 'stopped':
        return new WriteError(
          'WriteError.Stopped',
          `the peer stopped reading with code ${error.code}`,
          error.code,
        );
      case 'zeroRttRejected':
        return new WriteError('WriteError.ZeroRttRejected', 'early data was refused');
      case 'connectionLost':
        return new WriteError(
          'WriteError.ConnectionLost',
          `connection lost: ${lost?.message}`,
          undefined,
          lost,
        );
      default:
        return lost === undefined
          ? new WriteError('WriteError.ClosedStream', 'the stream was finished or reset before')
          : new WriteError('WriteError.ConnectionLost', `connection lost: ${lost.message}`, undefined, lost);
    }
  }

  /**
   * Ends the stream after what was written. Does not wait for the peer; {@link stopped} does.
   * @throws {WriteError} ClosedStream when it ended before.
   */
  finish(): void {
    this.#call(() => this.#actor.quic.finishStream(this.id));
  }

  /**
   * Abandons the stream: what was not acknowledged is lost.
   * @param code - Application error code, 0 to 2^53 − 1.
   * @throws {WriteError} ClosedStream when it is done.
   */
  reset(code: number): void {
    const wireCode = toWireCode(code);
    this.#call(() => this.#actor.quic.resetStream(this.id, wireCode));
  }

  #call<T>(command: () => T): T {
    this.#checkNotRejected();
    try {
      return command();
    } catch (error) {
      throw this.#toWriteError(error);
    } finally {
      this.#actor.wake();
    }
  }

  /**
   * Resolves with the peer's code when it stopped reading, with `undefined` when all was acknowledged.
   * Rejects with StoppedError when the connection ended before; never an unhandled rejection.
   */
  get stopped(): Promise<number | undefined> {
    return this.#stopped.promise;
  }

  /** Higher goes first; streams of equal priority take turns. Default 0. */
  get priority(): number {
    return this.#call(() => this.#actor.quic.streamPriority(this.id));
  }

  /** @throws {WriteError} ClosedStream when the stream is done. */
  set priority(value: number) {
    this.#call(() => this.#actor.quic.setStreamPriority(this.id, value));
  }

  /** True when the stream was opened before the handshake completed. */
  get is0Rtt(): boolean {
    return this.#is0Rtt;
  }

  /** The same stream for `pipeTo`: `close` finishes, `abort({ code })` resets. */
  get writable(): WritableStream<Uint8Array> {
    return (this.#stream ??= new WritableStream<Uint8Array>({
      write: async (chunk) => {
        try {
          await this.write(chunk);
        } catch (error) {
          // The stream of the application is over with this error: nobody else can end ours.
          this.#resetIfStopped(error);
          throw error;
        }
      },
      close: () => this.finish(),
      abort: (reason: unknown) => this.reset(codeOf(reason)),
    }));
  }

  /** Finishes the stream unless it ended before; one that the peer stopped is reset with the peer's code. */
  [Symbol.dispose](): void {
    try {
      this.finish();
    } catch (error) {
      if (!(error instanceof WriteError)) throw error;
      this.#resetIfStopped(error);
    }
  }

  /** RFC 9000 §3.5: what the peer stopped is to be reset, so that both sides can forget it. */
  #resetIfStopped(error: unknown): void {
    if (!(error instanceof WriteError) || error.code !== 'WriteError.Stopped') return;
    try {
      this.reset(error.errorCode!);
    } catch (again) {
      // It was reset before.
      if (!(again instanceof WriteError)) throw again;
    }
  }

  /** @internal */
  onReady(): void {
    this.#writable.wakeAll();
  }

  /** @internal */
  onStopped(code: bigint): void {
    this.#stopped.resolve(clampCode(code));
    this.#writable.wakeAll();
  }

  /** @internal */
  onFinished(): void {
    this.#stopped.resolve(undefined);
  }

  /** @internal */
  onZeroRttRejected(): void {
    this.#stopped.reject(new StoppedError('StoppedError.ZeroRttRejected', 'early data was refused'));
    this.#writable.wakeAll();
  }

  /** @internal */
  onConnectionLost(): void {
    this.#stopped.rejectWith(() => {
      const error = this.#actor.error!;
      return new StoppedError('StoppedError.ConnectionLost', `connection lost: ${error.message}`, error);
    });
    this.#writable.wakeAll();
  }
}

/** The receiving half of a stream. */
export class RecvStream {
  /** QUIC stream id. */
  readonly id: StreamId;
  readonly #actor: ConnectionActor;
  readonly #readable: WaitQueue;
  readonly #reset = new Deferred<number | undefined>();
  readonly #is0Rtt: boolean;
  /** Refusals of early data that came before this stream. */
  readonly #earlyRejections: number;
  #isEnded = false;
  #stream: ReadableStream<Uint8Array> | undefined;

  /** Streams come from a connection. @internal */
  constructor(actor: ConnectionActor, id: StreamId) {
    this.#actor = actor;
    this.id = id;
    this.#readable = new WaitQueue(actor.clock);
    this.#is0Rtt = actor.quic.streamIs0Rtt(id);
    this.#earlyRejections = actor.earlyRejections;
    actor.listenRecv(id, this);
  }

  /**
   * The next bytes, at most `maxBytes`, in order; `null` at the end of the stream. Aborting loses nothing.
   * @throws {ReadError} Reset, ConnectionLost, ClosedStream, ZeroRttRejected.
   */
  async read(maxBytes: number = DEFAULT_READ_BYTES, options: WaitOptions = {}): Promise<Uint8Array | null> {
    const left = deadlineOf(this.#actor.clock, options);
    for (;;) {
      const data = this.#take(maxBytes);
      if (data !== undefined) return data;
      await this.#readable.wait(left());
    }
  }

  #take(maxBytes: number): Uint8Array | null | undefined {
    if (this.#isEnded) return null;
    this.#checkNotRejected();
    let data: Uint8Array | null | undefined;
    try {
      data = this.#actor.quic.readStream(this.id, maxBytes);
    } catch (error) {
      throw this.#toReadError(error);
    }
    if (data === null) this.#end();
    // Reading gives the peer credit.
    else if (data !== undefined) this.#actor.wake();
    return data;
  }

  #end(): void {
    this.#isEnded = true;
    this.#reset.resolve(undefined);
    this.#actor.forgetRecv(this.id);
  }

  #checkNotRejected(): void {
    if (this.#earlyRejections === this.#actor.earlyRejections) return;
    throw new ReadError('ReadError.ZeroRttRejected', 'early data was refused');
  }

  #toReadError(error: unknown): unknown {
    if (!(error instanceof StreamError)) return error;
    const lost = this.#actor.error;
    switch (error.kind) {
      case 'reset':
        this.#reset.resolve(clampCode(error.code!));
        this.#actor.forgetRecv(this.id);
        return new ReadError(
          'ReadError.Reset',
          `the peer abandoned the stream with code ${error.code}`,
          error.code,
        );
      case 'zeroRttRejected':
        return new ReadError('ReadError.ZeroRttRejected', 'early data was refused');
      case 'connectionLost':
        return new ReadError(
          'ReadError.ConnectionLost',
          `connection lost: ${lost?.message}`,
          undefined,
          lost,
        );
      default:
        return new ReadError('ReadError.ClosedStream', 'the stream was stopped or read to its end before');
    }
  }

  /**
   * Exactly `length` bytes. Not safe to abort: bytes read so far are lost.
   * @throws {ReadExactError} FinishedEarly when the stream ends before.
   */
  async readExact(length: number, options: WaitOptions = {}): Promise<Uint8Array> {
    const left = deadlineOf(this.#actor.clock, options);
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length;) {
      const piece = await this.read(length - at, left());
      if (piece === null) throw new ReadExactError(at);
      bytes.set(piece, at);
      at += piece.length;
    }
    return bytes;
  }

  /**
   * Everything up to the end of the stream. Not safe to abort: bytes read so far are lost.
   * @throws {ReadToEndError} TooLong above `limit` bytes; the stream is stopped then.
   */
  async readToEnd(limit: number, options: WaitOptions = {}): Promise<Uint8Array> {
    const left = deadlineOf(this.#actor.clock, options);
    const pieces: Uint8Array[] = [];
    let length = 0;
    for (;;) {
      const piece = await this.read(DEFAULT_READ_BYTES, left());
      if (piece === null)
        return pieces.length === 0 ? EMPTY : pieces.length === 1 ? pieces[0]! : concatBytes(...pieces);
      length += piece.length;
      if (length > limit) {
        this.stop(0);
        throw new ReadToEndError('ReadToEndError.TooLong', `the stream is longer than ${limit} bytes`);
      }
      pieces.push(piece);
    }
  }

  /**
   * Tells the peer to stop sending; what arrives from now on is thrown away.
   * @param code - Application error code, 0 to 2^53 − 1.
   * @throws {ReadError} ClosedStream when the stream was stopped or read to its end before.
   */
  stop(code: number): void {
    const wireCode = toWireCode(code);
    if (this.#isEnded) throw new ReadError('ReadError.ClosedStream', 'the stream was read to its end before');
    this.#checkNotRejected();
    try {
      this.#actor.quic.stopStream(this.id, wireCode);
    } catch (error) {
      throw this.#toReadError(error);
    }
    this.#reset.resolve(undefined);
    this.#actor.forgetRecv(this.id);
    this.#readable.wakeAll();
    this.#actor.wake();
  }

  /**
   * Resolves with the peer's code when a read met its reset, with `undefined` when the stream was read to its end
   * or stopped by this side.
   * Rejects with ResetError when the connection ended before; never an unhandled rejection.
   */
  get resetReceived(): Promise<number | undefined> {
    return this.#reset.promise;
  }

  /** True when the stream was opened before the handshake completed. */
  get is0Rtt(): boolean {
    return this.#is0Rtt;
  }

  /** The same stream for `pipeTo` and `pipeThrough`: `cancel({ code })` stops it. */
  get readable(): ReadableStream<Uint8Array> {
    return (this.#stream ??= new ReadableStream<Uint8Array>(
      {
        pull: async (controller) => {
          const data = await this.read();
          if (data === null) controller.close();
          else controller.enqueue(data);
        },
        cancel: (reason: unknown) => this.#stopQuietly(codeOf(reason)),
      },
      // Pulled on demand: unread bytes stay in the engine, where flow control sees them.
      { highWaterMark: 0 },
    ));
  }

  /** Leaving the loop early stops the stream. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      for (let data = await this.read(); data !== null; data = await this.read()) yield data;
    } finally {
      this.#stopQuietly(DISPOSE_CODE);
    }
  }

  /** Stops the stream unless it was read to its end. */
  [Symbol.dispose](): void {
    this.#stopQuietly(DISPOSE_CODE);
  }

  #stopQuietly(code: number): void {
    if (this.#isEnded) return;
    try {
      this.stop(code);
    } catch (error) {
      if (!(error instanceof ReadError)) throw error;
    }
  }

  /** @internal */
  onReady(): void {
    this.#readable.wakeAll();
  }

  /** @internal */
  onZeroRttRejected(): void {
    this.#reset.reject(new ResetError('ResetError.ZeroRttRejected', 'early data was refused'));
    this.#readable.wakeAll();
  }

  /** @internal */
  onConnectionLost(): void {
    this.#reset.rejectWith(() => {
      const error = this.#actor.error!;
      return new ResetError('ResetError.ConnectionLost', `connection lost: ${error.message}`, error);
    });
    this.#readable.wakeAll();
  }
}

/** The application code in an abort reason: `{ code }`, else 0. */
function codeOf(reason: unknown): number {
  if (typeof reason === 'object' && reason !== null && 'code' in reason && typeof reason.code === 'number') {
    return Number.isSafeInteger(reason.code) && reason.code >= 0 ? reason.code : 0;
  }
  return 0;
}
