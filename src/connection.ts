/**
 * A connection to another endpoint: streams, datagrams, paths, and its end.
 *
 * @module
 */
import type { Observable } from 'rxjs';
import type { ConnectionActor } from './actors/connection-actor.ts';
import { deadlineOf, type WaitOptions } from './actors/wait.ts';
import { fromUtf8, utf8 } from './base/bytes.ts';
import { SendDatagramError, toWireCode, type ConnectionError } from './base/errors.ts';
import type { EndpointId } from './base/endpoint-id.ts';
import type { Path, PathEvent } from './actors/connection-paths.ts';
import type { Direction, Side, StreamId } from './quic/engine.ts';
import type { ConnectionStats } from './quic/stats.ts';
import { RecvStream, SendStream, type BiStream } from './streams.ts';
import { actorOf } from './actors/internals.ts';

/** Why a connection ended. */
export type CloseReason = ConnectionError;

/** Events that {@link Connection.pathEvents} keeps for a slow reader; upstream `BROADCAST_CAPACITY`. */
export const PATH_EVENT_CAPACITY = 8;

/** An established connection, or an early one while 0-RTT is under way. */
export class Connection {
  readonly #actor: ConnectionActor;
  readonly #remoteId: EndpointId | undefined;

  /**
   * Connections come from an endpoint.
   * @param remoteId - Whom we dialled; for accepted ones the handshake tells.
   * @internal
   */
  constructor(actor: ConnectionActor, remoteId?: EndpointId) {
    this.#actor = actor;
    this.#remoteId = remoteId;
    actorOf.set(this, actor);
  }

  /** The endpoint on the other side. @throws {Error} on an accepted connection before its handshake is complete. */
  get remoteId(): EndpointId {
    if (this.#remoteId !== undefined) return this.#remoteId;
    const { remoteId } = this.#actor;
    if (remoteId === undefined) throw new Error('the remote endpoint is not authenticated yet');
    return remoteId;
  }

  /** The negotiated protocol. */
  get alpn(): Uint8Array {
    return this.#actor.quic.alpn ?? new Uint8Array(0);
  }

  /** {@link alpn} as text. */
  get alpnText(): string {
    return fromUtf8(this.alpn);
  }

  /** Who dialled: `client` did. */
  get side(): Side {
    return this.#actor.quic.side;
  }

  /** Unique in this process; never reused. */
  get stableId(): number {
    return this.#actor.quic.stableId;
  }

  /** Undefined while the connection is open. */
  get closeReason(): CloseReason | undefined {
    return this.#actor.error;
  }

  /** Resolves with the reason when the connection ends. Never rejects. */
  get closed(): Promise<CloseReason> {
    return this.#actor.closed.promise.then(() => this.#actor.error!);
  }

  // --- streams ------------------------------------------------------------------------------------------------------

  /**
   * Opens a bidirectional stream, waiting for credit if need be. The peer learns of it with the first bytes.
   * @throws {ConnectionError} when the connection ended; TimeoutError or the signal's reason when given up.
   */
  async openBi(options: WaitOptions = {}): Promise<BiStream> {
    return this.#bi(await this.#open('bi', options));
  }

  /** Opens a unidirectional stream, waiting for credit if need be. @throws {ConnectionError} when the connection ended. */
  async openUni(options: WaitOptions = {}): Promise<SendStream> {
    return new SendStream(this.#actor, await this.#open('uni', options));
  }

  /**
   * The next bidirectional stream of the peer. Streams that came before a close are still handed out.
   * @throws {ConnectionError} when the connection ended; TimeoutError or the signal's reason when given up.
   */
  async acceptBi(options: WaitOptions = {}): Promise<BiStream> {
    return this.#bi(await this.#accept('bi', options));
  }

  /** The next unidirectional stream of the peer. @throws as {@link acceptBi}. */
  async acceptUni(options: WaitOptions = {}): Promise<RecvStream> {
    return new RecvStream(this.#actor, await this.#accept('uni', options));
  }

  #bi(id: StreamId): BiStream {
    return { send: new SendStream(this.#actor, id), recv: new RecvStream(this.#actor, id) };
  }

  async #open(dir: Direction, options: WaitOptions): Promise<StreamId> {
    const actor = this.#actor;
    const left = deadlineOf(actor.clock, options);
    for (;;) {
      if (actor.error !== undefined) throw actor.error;
      const id = actor.quic.openStream(dir);
      if (id !== undefined) return id;
      actor.wake();
      await actor.streamsAvailable[dir].wait(left());
    }
  }

  async #accept(dir: Direction, options: WaitOptions): Promise<StreamId> {
    const actor = this.#actor;
    const left = deadlineOf(actor.clock, options);
    for (;;) {
      const id = actor.quic.acceptStream(dir);
      if (id !== undefined) return id;
      if (actor.error !== undefined) throw actor.error;
      await actor.streamOpened[dir].wait(left());
    }
  }

  /** Bidirectional streams of the peer as they come; ends when the connection does. */
  incomingBi(): AsyncGenerator<BiStream, void, undefined> {
    return this.#incoming((options) => this.acceptBi(options));
  }

  /** Unidirectional streams of the peer as they come; ends when the connection does. */
  incomingUni(): AsyncGenerator<RecvStream, void, undefined> {
    return this.#incoming((options) => this.acceptUni(options));
  }

  /** Datagrams as they come; ends when the connection does. */
  datagrams(): AsyncGenerator<Uint8Array, void, undefined> {
    return this.#incoming((options) => this.readDatagram(options));
  }

  async *#incoming<T>(next: (options: WaitOptions) => Promise<T>): AsyncGenerator<T, void, undefined> {
    for (;;) {
      let item: T;
      try {
        item = await next({});
      } catch (error) {
        if (error === this.#actor.error) return;
        throw error;
      }
      yield item;
    }
  }

  // --- datagrams ----------------------------------------------------------------------------------------------------

  /** Bytes that fit into one datagram now; undefined when the peer takes none. Changes with the path. */
  get maxDatagramSize(): number | undefined {
    return this.#actor.quic.maxDatagramSize;
  }

  /** Bytes free in the outgoing queue. */
  get datagramSendBufferSpace(): number {
    return this.#actor.quic.datagramSendBufferSpace;
  }

  /**
   * Queues a datagram; when the queue is full the oldest ones make room.
   * @throws {SendDatagramError} UnsupportedByPeer, Disabled, TooLarge, ConnectionLost.
   */
  sendDatagram(bytes: Uint8Array): void {
    this.#checkDatagram(bytes);
    this.#actor.quic.sendDatagram(bytes, true);
    this.#actor.wake();
  }

  /** Queues a datagram, waiting for room instead of dropping others. @throws {SendDatagramError} as {@link sendDatagram}. */
  async sendDatagramWait(bytes: Uint8Array, options: WaitOptions = {}): Promise<void> {
    const left = deadlineOf(this.#actor.clock, options);
    for (;;) {
      this.#checkDatagram(bytes);
      const queued = this.#actor.quic.sendDatagram(bytes, false);
      this.#actor.wake();
      if (queued) return;
      await this.#actor.datagramsUnblocked.wait(left());
    }
  }

  #checkDatagram(bytes: Uint8Array): void {
    const { error, quic } = this.#actor;
    if (error !== undefined) {
      throw new SendDatagramError(
        'SendDatagramError.ConnectionLost',
        `connection lost: ${error.message}`,
        error,
      );
    }
    if (!quic.takesDatagrams) {
      throw new SendDatagramError('SendDatagramError.Disabled', 'datagrams are switched off on this side');
    }
    const limit = quic.maxDatagramSize;
    if (limit === undefined) {
      throw new SendDatagramError('SendDatagramError.UnsupportedByPeer', 'the peer does not take datagrams');
    }
    if (bytes.length > limit) {
      throw new SendDatagramError(
        'SendDatagramError.TooLarge',
        `${bytes.length} bytes, at most ${limit} fit`,
      );
    }
  }

  /**
   * The next datagram, whole. Those that came before a close are still handed out; when more than
   * `datagramReceiveBufferSize` bytes wait, the oldest are dropped.
   * @throws {ConnectionError} when the connection ended.
   */
  async readDatagram(options: WaitOptions = {}): Promise<Uint8Array> {
    const left = deadlineOf(this.#actor.clock, options);
    for (;;) {
      const data = this.#actor.quic.readDatagram();
      if (data !== undefined) return data;
      if (this.#actor.error !== undefined) throw this.#actor.error;
      await this.#actor.datagramReceived.wait(left());
    }
  }

  // --- the end ------------------------------------------------------------------------------------------------------

  /**
   * Ends the connection at once: everything pending fails with LocallyClosed, unsent stream data is dropped. The peer is
   * told while the endpoint lives.
   * @param code - Application error code, 0 to 2^53 − 1.
   */
  close(code = 0, reason: string | Uint8Array = ''): void {
    this.#actor.close(toWireCode(code), typeof reason === 'string' ? utf8(reason) : reason);
  }

  /** Closes with code 0. */
  [Symbol.dispose](): void {
    this.close();
  }

  // --- facts --------------------------------------------------------------------------------------------------------

  /** Counters over all paths. */
  stats(): ConnectionStats {
    return this.#actor.quic.stats();
  }

  /**
   * Bytes that both sides derive equally and nobody else can (RFC 5705 as RFC 8446 §7.5 has it).
   * @param length - At most 255 hash lengths.
   */
  exportKeyingMaterial(length: number, label: string, context: Uint8Array): Uint8Array {
    return this.#actor.quic.exportKeyingMaterial(length, label, context);
  }

  /** Changes how many streams the peer may have open at a time. */
  setMaxConcurrentStreams(dir: Direction, count: number): void {
    this.#actor.quic.setMaxConcurrentStreams(dir, count);
    this.#actor.wake();
  }

  /** Open paths. Empty once the connection is over. */
  get paths(): readonly Path[] {
    return this.#actor.paths.snapshot;
  }

  /** {@link paths} now and after each change; completes at the end of the connection. */
  get paths$(): Observable<readonly Path[]> {
    return this.#actor.paths.snapshots$;
  }

  /**
   * The story of the paths: first those that are open and the selected one, as events, then what happens to them. Each path
   * is closed before the end; completes at the end of the connection.
   */
  get pathEvents$(): Observable<PathEvent> {
    return this.#actor.paths.events$;
  }

  /** {@link pathEvents$} for `for await`. Keeps 8 events for a slow reader, then says how many it missed. */
  async *pathEvents(): AsyncGenerator<PathEvent, void, undefined> {
    const buffer: PathEvent[] = [];
    let missed = 0;
    let isDone = false;
    let wake: (() => void) | undefined;
    const subscription = this.pathEvents$.subscribe({
      next: (event) => {
        if (buffer.length === PATH_EVENT_CAPACITY) {
          buffer.shift();
          missed++;
        }
        buffer.push(event);
        wake?.();
      },
      complete: () => {
        isDone = true;
        wake?.();
      },
    });
    try {
      for (;;) {
        if (missed > 0) {
          const lagged = { type: 'lagged', missed } as const;
          // Before the yield: more may be missed until the reader comes back.
          missed = 0;
          yield lagged;
        }
        const event = buffer.shift();
        if (event !== undefined) yield event;
        else if (isDone) return;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
    } finally {
      subscription.unsubscribe();
    }
  }
}
