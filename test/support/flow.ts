/**
 * A stream with something on it all the time, of which every byte is looked at: what is lost, repeated or out of order shows.
 *
 * @module
 */
import type { Clock, Millis } from '../../src/base/clock.ts';
import type { Connection, RecvStream, SendStream } from '../../src/index.ts';

/** The byte at a position of every flow: a gap or a repetition of any length below 64 KiB shows. */
function byteAt(position: number): number {
  return (position ^ (position >>> 8) ^ (position >>> 16)) & 0xff;
}

/** What {@link Flow} writes next, and how long it waits after that. */
export interface FlowPace {
  /** Bytes. */
  size(): number;
  pauseMs(): Millis;
}

const STEADY: FlowPace = { size: () => 1_000, pauseMs: () => 20 };

/** One direction between two ends of a connection. */
export class Flow {
  /** Bytes given to the stream. */
  written = 0;
  /** Bytes that came, each as it should be. */
  read = 0;
  /** The longest time between two arrivals. */
  longestGapMs = 0;
  /** What the sending and the receiving end failed with. */
  writeError: unknown;
  readError: unknown;
  /** Both ends are through. Never rejects. */
  readonly done: Promise<void>;
  readonly #clock: Clock;
  readonly #pace: FlowPace;
  #isWriting = true;
  #readAt: Millis;

  constructor(from: Connection, to: Connection, clock: Clock, pace: FlowPace = STEADY) {
    this.#clock = clock;
    this.#pace = pace;
    this.#readAt = clock.now();
    const writing = from.openUni().then((send) => this.#write(send));
    const reading = to.acceptUni().then((recv) => this.#read(recv));
    this.done = Promise.all([
      writing.catch((error: unknown) => (this.writeError = error)),
      reading.catch((error: unknown) => (this.readError = error)),
    ]).then(() => undefined);
  }

  async #write(send: SendStream): Promise<void> {
    while (this.#isWriting) {
      const data = new Uint8Array(this.#pace.size());
      for (let i = 0; i < data.length; i++) data[i] = byteAt(this.written + i);
      this.written += data.length;
      await send.write(data);
      await new Promise<void>((resolve) => this.#clock.setTimeout(resolve, this.#pace.pauseMs()));
    }
    send.finish();
  }

  async #read(recv: RecvStream): Promise<void> {
    for (let data = await recv.read(); data !== null; data = await recv.read()) {
      const now = this.#clock.now();
      this.longestGapMs = Math.max(this.longestGapMs, now - this.#readAt);
      this.#readAt = now;
      for (const byte of data) {
        const at = this.read++;
        if (byte !== byteAt(at)) throw new Error(`another byte at ${at}`);
      }
    }
  }

  /** Writes no more: what is written so far is all. */
  stop(): void {
    this.#isWriting = false;
  }

  /** {@link stop}, then waits until all of it has come. @throws {Error} when something is missing. */
  async finish(): Promise<void> {
    this.stop();
    await this.done;
    for (const error of [this.writeError, this.readError]) if (error !== undefined) throw error as Error;
    if (this.read !== this.written) throw new Error(`${this.read} of ${this.written} bytes`);
  }
}
