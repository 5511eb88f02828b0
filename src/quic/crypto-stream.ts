/**
 * The CRYPTO bytes of one encryption level, both directions (RFC 9000 §7.5, §19.6).
 *
 * @module
 */
import { varintSize } from '../base/varint.ts';
import type { Writer } from '../base/bytes.ts';
import type { SentFrame } from './sent-frame.ts';
import { Assembler } from './streams/assembler.ts';
import { SendBuffer } from './streams/send-buffer.ts';
import { TransportError } from './transport-error.ts';

/** Bytes beyond the next expected one that are kept (RFC 9000 §7.5 asks for at least 4096); noq's `crypto_buffer_size`. */
export const CRYPTO_BUFFER_BYTES = 16_384;
const CRYPTO = 0x06;

type CryptoFrame = Extract<SentFrame, { type: 'crypto' }>;

/** CRYPTO data of one level. */
export class CryptoStream {
  readonly #out = new SendBuffer();
  readonly #in = new Assembler();

  /** Queues handshake bytes. */
  write(data: Uint8Array): void {
    this.#out.write(data);
  }

  get wantsSend(): boolean {
    return this.#out.hasPending;
  }

  /** Writes CRYPTO frames as they fit. */
  writeFrames(w: Writer, sent: SentFrame[]): void {
    const out = this.#out;
    while (out.hasPending) {
      const offset = out.pendingOffset;
      // Type, offset, a two-byte length, and at least one byte.
      const room = w.room - 1 - varintSize(offset) - 2;
      if (room < 1) return;
      const length = Math.min(out.pendingLength, room);
      w.u8(CRYPTO);
      w.varint(offset);
      w.varintSized(length, 2);
      out.writePending(w, length);
      sent.push({ type: 'crypto', offset, length });
    }
  }

  onFrameAcked(frame: CryptoFrame): void {
    this.#out.onAcked(frame.offset, frame.length);
  }

  onFrameLost(frame: CryptoFrame): void {
    this.#out.onLost(frame.offset, frame.length);
  }

  /** @throws {TransportError} CRYPTO_BUFFER_EXCEEDED when the peer is too far ahead of itself. */
  handleFrame(offset: number, data: Uint8Array): void {
    if (offset + data.length > this.#in.readOffset + CRYPTO_BUFFER_BYTES) {
      throw new TransportError('CRYPTO_BUFFER_EXCEEDED', 'too much out-of-order handshake data', {
        frameType: CRYPTO,
      });
    }
    this.#in.insert(offset, data);
  }

  /** The next handshake bytes in order. */
  read(): Uint8Array | undefined {
    return this.#in.read(CRYPTO_BUFFER_BYTES);
  }
}
