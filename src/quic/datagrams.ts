/**
 * DATAGRAM frames, both directions (RFC 9221): two queues, bounded in bytes, that drop their oldest entries.
 *
 * @module
 */
import type { Writer } from '../base/bytes.ts';
import { varintSize } from '../base/varint.ts';
import type { ConnectionEvent } from './engine.ts';
import type { SentFrame } from './sent-frame.ts';
import { TransportError } from './transport-error.ts';

const DATAGRAM_LEN = 0x31;
/** Type and a length of up to two bytes. */
const FRAME_OVERHEAD = 3;
/** Short header with the longest packet number, and the AEAD tag. */
const PACKET_OVERHEAD = 1 + 4 + 16;
/** What a queued datagram costs beside its bytes, so that empty ones are not free. */
const ENTRY_BYTES = 32;

/** The datagrams of one connection. */
export class Datagrams {
  readonly #receiveBufferSize: number | undefined;
  readonly #sendBufferSize: number;
  readonly #incoming: Uint8Array[] = [];
  #incomingBytes = 0;
  readonly #outgoing: Uint8Array[] = [];
  #outgoingBytes = 0;
  /** Largest DATAGRAM frame that the peer takes; undefined: none. */
  #peerLimit: number | undefined;
  /** A sender was refused for lack of room. */
  #isBlocked = false;
  /** `datagramReceived` is due when the next one arrives. */
  #wantsNotice = true;
  readonly #events: ConnectionEvent[] = [];
  /** Datagrams that were dropped because the application did not read, or could not send, in time. */
  dropped = 0;

  constructor(options: { readonly receiveBufferSize: number | undefined; readonly sendBufferSize: number }) {
    this.#receiveBufferSize = options.receiveBufferSize;
    this.#sendBufferSize = options.sendBufferSize;
  }

  /** The peer's transport parameter max_datagram_frame_size. */
  setPeerLimit(limit: number | undefined): void {
    this.#peerLimit = limit === 0 ? undefined : limit;
  }

  /** Early datagrams are lost with the rejection; they are unreliable anyway. */
  onZeroRttRejected(): void {
    this.#outgoing.length = 0;
    this.#outgoingBytes = 0;
  }

  /** False when datagrams are switched off on this side. */
  get isEnabled(): boolean {
    return this.#receiveBufferSize !== undefined;
  }

  /** Bytes that fit into one datagram on a path with this MTU; undefined when the peer takes none. */
  maxSize(mtu: number, remoteCidLength: number): number | undefined {
    if (this.#peerLimit === undefined) return undefined;
    const room = mtu - PACKET_OVERHEAD - remoteCidLength - FRAME_OVERHEAD;
    return Math.max(0, Math.min(room, this.#peerLimit - FRAME_OVERHEAD));
  }

  get sendBufferSpace(): number {
    return Math.max(0, this.#sendBufferSize - this.#outgoingBytes);
  }

  /** Queues a copy. With `drop` the oldest make room; without it returns false when there is none. */
  send(bytes: Uint8Array, drop: boolean): boolean {
    const cost = bytes.length + ENTRY_BYTES;
    while (this.#outgoingBytes + cost > this.#sendBufferSize && this.#outgoing.length > 0) {
      if (!drop) {
        this.#isBlocked = true;
        return false;
      }
      this.#outgoingBytes -= this.#outgoing.shift()!.length + ENTRY_BYTES;
      this.dropped++;
    }
    // Not `slice`, which makes a view of a Buffer.
    this.#outgoing.push(new Uint8Array(bytes));
    this.#outgoingBytes += cost;
    return true;
  }

  get wantsSend(): boolean {
    return this.#outgoing.length > 0;
  }

  /** Writes frames as they fit. What does not even fit into an empty packet any more is dropped. */
  write(w: Writer, sent: SentFrame[], isPacketEmpty: boolean): void {
    let empty = isPacketEmpty;
    while (this.#outgoing.length > 0) {
      const data = this.#outgoing[0]!;
      const size = 1 + varintSize(data.length) + data.length;
      if (size > w.room) {
        if (!empty) break;
        // The MTU shrank since it was queued (RFC 9221 §5: drop it).
        this.#outgoing.shift();
        this.#outgoingBytes -= data.length + ENTRY_BYTES;
        this.dropped++;
        continue;
      }
      w.u8(DATAGRAM_LEN);
      w.varint(data.length);
      w.put(data);
      this.#outgoing.shift();
      this.#outgoingBytes -= data.length + ENTRY_BYTES;
      sent.push({ type: 'datagram', size: data.length });
      empty = false;
    }
    if (this.#isBlocked && this.#outgoingBytes <= this.#sendBufferSize / 2) {
      this.#isBlocked = false;
      this.#events.push({ type: 'datagramsUnblocked' });
    }
  }

  /** @throws {TransportError} PROTOCOL_VIOLATION when datagrams were not offered, or one exceeds the buffer (RFC 9221 §3). */
  handle(data: Uint8Array): void {
    const limit = this.#receiveBufferSize;
    if (limit === undefined || data.length > limit) {
      throw new TransportError('PROTOCOL_VIOLATION', 'unexpected DATAGRAM frame', {
        frameType: DATAGRAM_LEN,
      });
    }
    while (this.#incomingBytes + data.length + ENTRY_BYTES > limit && this.#incoming.length > 0) {
      this.#incomingBytes -= this.#incoming.shift()!.length + ENTRY_BYTES;
      this.dropped++;
    }
    this.#incoming.push(data.slice());
    this.#incomingBytes += data.length + ENTRY_BYTES;
    if (!this.#wantsNotice) return;
    this.#wantsNotice = false;
    this.#events.push({ type: 'datagramReceived' });
  }

  read(): Uint8Array | undefined {
    const data = this.#incoming.shift();
    if (data === undefined) this.#wantsNotice = true;
    else this.#incomingBytes -= data.length + ENTRY_BYTES;
    return data;
  }

  pollEvent(): ConnectionEvent | undefined {
    return this.#events.shift();
  }
}
