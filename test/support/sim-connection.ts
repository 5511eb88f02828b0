/**
 * An application on one connection, without promises: it writes what it was given when there is room, reads what comes, and
 * remembers everything that happened.
 *
 * @module
 */
import { concatBytes } from '../../src/base/bytes.ts';
import type { Millis } from '../../src/base/clock.ts';
import type {
  CloseReason,
  ConnectionEvent,
  Direction,
  PathId,
  QuicConnection,
  StreamId,
} from '../../src/quic/engine.ts';
import { StreamError } from '../../src/quic/streams/stream-error.ts';

const READ_BYTES = 65_536;

interface Outgoing {
  data: Uint8Array;
  offset: number;
  fin: boolean;
}

/** What arrived on a stream. */
export interface Inbound {
  readonly chunks: Uint8Array[];
  length: number;
  isFinished: boolean;
  /** The error that ended it, if one did. */
  error: StreamError | undefined;
}

/** One side of a simulated connection. */
export class SimConnection {
  readonly quic: QuicConnection;
  /** In order, all of them. */
  readonly events: ConnectionEvent[] = [];
  readonly datagrams: Uint8Array[] = [];
  /** Streams that the peer opened, in the order of their acceptance. */
  readonly accepted: StreamId[] = [];
  /** Off: nothing is read or accepted, so that windows fill. Turn it on again with {@link readAll}. */
  isReading = true;
  readonly #now: () => Millis;
  readonly #inbound = new Map<StreamId, Inbound>();
  readonly #outgoing = new Map<StreamId, Outgoing>();
  readonly #waiting: { readonly dir: Direction; readonly onOpen: (id: StreamId) => void }[] = [];

  constructor(quic: QuicConnection, now: () => Millis) {
    this.quic = quic;
    this.#now = now;
  }

  // --- what happened ----------------------------------------------------------------------------------------------------

  has(type: ConnectionEvent['type']): boolean {
    return this.events.some((event) => event.type === type);
  }

  count(type: ConnectionEvent['type']): number {
    return this.events.reduce((sum, event) => sum + Number(event.type === type), 0);
  }

  all<T extends ConnectionEvent['type']>(type: T): Extract<ConnectionEvent, { type: T }>[] {
    return this.events.filter((event): event is Extract<ConnectionEvent, { type: T }> => event.type === type);
  }

  get closeReason(): CloseReason | undefined {
    return this.quic.closeReason;
  }

  isPathOpen(path: PathId): boolean {
    return this.quic.paths().some(({ id, validated }) => id === path && validated);
  }

  // --- streams --------------------------------------------------------------------------------------------------------------

  /** Opens a stream now. @throws {Error} when the peer's limit does not allow one. */
  open(dir: Direction = 'bi'): StreamId {
    const id = this.quic.openStream(dir);
    if (id === undefined) throw new Error(`no credit for another ${dir} stream`);
    this.#expect(id, dir);
    return id;
  }

  /** Opens a stream as soon as the peer's limit allows. */
  openSoon(dir: Direction, onOpen: (id: StreamId) => void): void {
    this.#waiting.push({ dir, onOpen });
    this.#openWaiting();
  }

  /** Sends `data`, as fast as flow control and congestion allow, and then FIN unless told otherwise. */
  send(id: StreamId, data: Uint8Array, options: { readonly fin?: boolean } = {}): void {
    const known = this.#outgoing.get(id);
    const fin = options.fin ?? true;
    if (known === undefined) this.#outgoing.set(id, { data, offset: 0, fin });
    else {
      known.data = concatBytes(known.data.subarray(known.offset), data);
      known.offset = 0;
      known.fin = fin;
    }
    this.#pump(id);
  }

  /** Opens a stream and sends on it. */
  sendNew(data: Uint8Array, dir: Direction = 'uni'): StreamId {
    const id = this.open(dir);
    this.send(id, data);
    return id;
  }

  /** True when everything given to `send` is in the engine. */
  isWritten(id: StreamId): boolean {
    return !this.#outgoing.has(id);
  }

  inbound(id: StreamId): Inbound {
    let inbound = this.#inbound.get(id);
    if (inbound === undefined) {
      inbound = { chunks: [], length: 0, isFinished: false, error: undefined };
      this.#inbound.set(id, inbound);
    }
    return inbound;
  }

  /** Bytes received on a stream. */
  received(id: StreamId): number {
    return this.#inbound.get(id)?.length ?? 0;
  }

  isFinished(id: StreamId): boolean {
    return this.#inbound.get(id)?.isFinished ?? false;
  }

  data(id: StreamId): Uint8Array {
    return concatBytes(...this.inbound(id).chunks);
  }

  /** Reads all there is, on every stream. */
  readAll(): void {
    this.isReading = true;
    this.#accept('bi');
    this.#accept('uni');
    for (const id of this.#inbound.keys()) this.#read(id);
    this.#readDatagrams();
  }

  close(code = 0n, reason: Uint8Array = new Uint8Array(0)): void {
    this.quic.close(code, reason, this.#now());
  }

  // --- events ---------------------------------------------------------------------------------------------------------------

  onEvent(event: ConnectionEvent): void {
    this.events.push(event);
    switch (event.type) {
      case 'streamOpened':
        if (this.isReading) this.#accept(event.dir);
        break;
      case 'streamReadable':
        if (this.isReading) this.#read(event.id);
        break;
      case 'streamWritable':
        this.#pump(event.id);
        break;
      case 'streamStopped':
        this.#outgoing.delete(event.id);
        break;
      case 'streamsAvailable':
      case 'connected':
        this.#openWaiting();
        break;
      case 'datagramReceived':
        if (this.isReading) this.#readDatagrams();
        break;
      case 'zeroRttRejected':
        // The streams are gone; the application decides what to send again.
        this.#outgoing.clear();
        this.#inbound.clear();
        break;
      case 'closed':
        this.#outgoing.clear();
        this.#waiting.length = 0;
        if (this.isReading) this.readAll();
        break;
      default:
    }
  }

  #accept(dir: Direction): void {
    for (let id = this.quic.acceptStream(dir); id !== undefined; id = this.quic.acceptStream(dir)) {
      this.accepted.push(id);
      this.inbound(id);
      this.#read(id);
    }
  }

  #read(id: StreamId): void {
    const inbound = this.inbound(id);
    if (inbound.isFinished || inbound.error !== undefined) return;
    try {
      for (;;) {
        const data = this.quic.readStream(id, READ_BYTES);
        if (data === undefined) return;
        if (data === null) {
          inbound.isFinished = true;
          return;
        }
        // The engine may hand out a view into a buffer of its own.
        inbound.chunks.push(data.slice());
        inbound.length += data.length;
      }
    } catch (error) {
      if (!(error instanceof StreamError)) throw error;
      inbound.error = error;
    }
  }

  #readDatagrams(): void {
    for (let data = this.quic.readDatagram(); data !== undefined; data = this.quic.readDatagram()) {
      this.datagrams.push(data.slice());
    }
  }

  #pump(id: StreamId): void {
    const outgoing = this.#outgoing.get(id);
    if (outgoing === undefined) return;
    while (outgoing.offset < outgoing.data.length) {
      const written = this.quic.writeStream(id, outgoing.data.subarray(outgoing.offset));
      if (written === 0) return;
      outgoing.offset += written;
    }
    if (outgoing.fin) this.quic.finishStream(id);
    this.#outgoing.delete(id);
  }

  #openWaiting(): void {
    while (this.#waiting.length > 0) {
      const id = this.quic.openStream(this.#waiting[0]!.dir);
      if (id === undefined) return;
      const { dir, onOpen } = this.#waiting.shift()!;
      this.#expect(id, dir);
      onOpen(id);
    }
  }

  /** `streamReadable` comes after a read that found nothing. */
  #expect(id: StreamId, dir: Direction): void {
    if (dir === 'uni') return;
    // Known from now on, so that a later `readAll` finds it.
    this.inbound(id);
    if (this.isReading) this.#read(id);
  }
}
