/**
 * Streams with something to send: by priority, and in turn within a priority. Idle streams cost nothing here.
 *
 * @module
 */
import type { SendStream } from './send-stream.ts';

/** First-in first-out queue that does not move its elements on every take. */
interface Level {
  readonly priority: number;
  streams: SendStream[];
  head: number;
}

/** A queue per priority, highest first. */
export class SendQueue {
  /** Descending. There is rarely more than one. */
  readonly #levels: Level[] = [];
  size = 0;

  /** Adds a stream at the end of its priority's line, unless it is queued already. */
  push(stream: SendStream): void {
    if (stream.isQueued) return;
    stream.isQueued = true;
    this.#levelOf(stream.priority).streams.push(stream);
    this.size++;
  }

  /** Takes the next stream. */
  take(): SendStream | undefined {
    for (const level of this.#levels) {
      if (level.head === level.streams.length) continue;
      const stream = level.streams[level.head]!;
      level.head++;
      if (level.head === level.streams.length) {
        // One stream that comes and goes, packet by packet, makes no new array.
        if (level.head === 1) level.streams.pop();
        else level.streams = [];
        level.head = 0;
      } else if (level.head >= 1_024) {
        level.streams = level.streams.slice(level.head);
        level.head = 0;
      }
      stream.isQueued = false;
      this.size--;
      return stream;
    }
    return undefined;
  }

  /** A stream's priority changed: moves it to its new line. */
  reprioritise(stream: SendStream): void {
    if (!stream.isQueued) return;
    for (const level of this.#levels) {
      const index = level.streams.indexOf(stream, level.head);
      if (index < 0) continue;
      level.streams.splice(index, 1);
      stream.isQueued = false;
      this.size--;
      this.push(stream);
      return;
    }
  }

  clear(): void {
    for (const level of this.#levels) {
      for (let i = level.head; i < level.streams.length; i++) level.streams[i]!.isQueued = false;
    }
    this.#levels.length = 0;
    this.size = 0;
  }

  #levelOf(priority: number): Level {
    let index = 0;
    while (index < this.#levels.length && this.#levels[index]!.priority > priority) index++;
    let level = this.#levels[index];
    if (level === undefined || level.priority !== priority) {
      level = { priority, streams: [], head: 0 };
      this.#levels.splice(index, 0, level);
    }
    return level;
  }
}
