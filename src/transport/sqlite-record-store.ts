/**
 * A record store in an SQLite database, which has a thread of its own: the disk makes nobody wait but who puts, and who gets what
 * is not in memory.
 *
 * ```text
 * get ─ cache ─┐                        ┌ gets ────────────► answers
 * put ─────────┴ waiting ─ one task ──► ┤ puts, one commit ─► answers
 * ```
 *
 * One task is under way at a time. What comes meanwhile is the next one; so puts wait for one commit and share the one after, and
 * gets wait for the one that is under way. Nothing is acknowledged before its commit.
 *
 * @module
 */
import { resolve as resolvePath } from 'node:path';
import type { Worker } from 'node:worker_threads';
import { startSqliteThread } from '#transport/sqlite-thread';
import type { Clock } from '../base/clock.ts';
import { DnsServerError } from '../base/errors.ts';
import { PacketCache } from './packet-cache.ts';
import { DEFAULT_MAX_RECORDS, timestampOf, type PutOutcome, type RecordStore } from './record-store.ts';
import {
  buffersOf,
  OUTCOMES,
  pack,
  packPackets,
  unpack,
  type Attempt,
  type PackedBytes,
  type SqliteAnswer,
  type SqliteChanges,
  type SqliteStart,
  type SqliteTask,
} from './sqlite-messages.ts';
import type { SqliteRecordsOptions } from './sqlite-records.ts';
import type { SqlDatabase } from './sqlite.ts';

/** Puts that wait: 16 commits, which a slow disk does in some seconds. Who puts then comes later. */
const MAX_WAITING_PUTS = 8_192;
/** Gets that wait for the database: more than a server's listeners have under way. */
const MAX_WAITING_GETS = 65_536;
/** Puts and gets in one task, each: what comes after them waits so long. */
const MAX_TASK_ITEMS = 512;
/** Packets that are kept in memory: 30 MiB of usual ones, 80 MiB (measured) when all are as long as can be. */
const CACHED_PACKETS = 65_536;

interface Waiting<T> {
  readonly resolve: (value: T) => void;
  readonly reject: (error: unknown) => void;
}
interface Get extends Waiting<Uint8Array | undefined> {
  readonly key: Uint8Array;
}
interface Put extends Waiting<PutOutcome> {
  readonly key: Uint8Array;
  readonly payload: Uint8Array;
}
interface Removal extends Waiting<number> {
  readonly timestampMicros: bigint;
}

/** What the thread has been given and has not answered. */
interface UnderWay {
  readonly gets: readonly Get[];
  readonly puts: readonly Put[];
  readonly removal: Removal | undefined;
  readonly isLast: boolean;
}

/** How a store is opened. */
export interface SqliteStoreOptions {
  /** Made if missing, as is its folder. */
  readonly file: string;
  readonly clock: Clock;
  readonly maxRecords?: number | undefined;
  /** Default: the one in Node, where there is one. */
  readonly engine?: SqlDatabase['engine'] | undefined;
  /** For tests. */
  readonly startThread?: ((options: SqliteRecordsOptions) => Worker) | undefined;
}

/** Files that are open in this thread. Locks of the system are those of a whole process. */
const openFiles = new Set<string>();

export class SqliteRecordStore implements RecordStore {
  readonly #thread: Worker;
  readonly #clock: Clock;
  readonly #cache = new PacketCache(CACHED_PACKETS);
  #gets: Get[] = [];
  #puts: Put[] = [];
  #removals: Removal[] = [];
  #underWay: UnderWay | undefined;
  #isScheduled = false;
  #size: number;
  /** What was cached before may be gone from the database. */
  #removedBefore = 0n;
  #closing: Promise<void> | undefined;
  /** The thread has ended by itself. */
  #failure: DnsServerError | undefined;

  private constructor(thread: Worker, clock: Clock, size: number, onEnd: () => void) {
    this.#thread = thread;
    this.#clock = clock;
    this.#size = size;
    thread.on('message', (answer: SqliteAnswer) => this.#onAnswer(answer));
    thread.on('error', (error) => this.#fail(error));
    thread.on('exit', () => {
      onEnd();
      this.#fail(undefined);
    });
  }

  /** @throws when there is no SQLite, or another process has the file open, or it is no database, or there is no thread. */
  static async open({
    file,
    clock,
    maxRecords = DEFAULT_MAX_RECORDS,
    engine,
    startThread = startSqliteThread,
  }: SqliteStoreOptions): Promise<SqliteRecordStore> {
    const path = resolvePath(file);
    if (openFiles.has(path)) throw new Error(`another server has the database open: ${path}`);
    openFiles.add(path);
    const forget = (): void => void openFiles.delete(path);
    try {
      const thread = startThread({ file: path, maxRecords, engine });
      const started = await firstMessage(thread);
      if ('error' in started) {
        await thread.terminate();
        throw started.error;
      }
      return new SqliteRecordStore(thread, clock, started.value.size, forget);
    } catch (error) {
      forget();
      throw error;
    }
  }

  /** As in {@link RecordStore}: the thread is not started again. */
  get failure(): DnsServerError | undefined {
    return this.#closing === undefined ? this.#failure : undefined;
  }

  /** Packets in it. */
  get size(): number {
    return this.#size;
  }

  /** @throws {DnsServerError} Busy, Store */
  get(key: Uint8Array): Promise<Uint8Array | undefined> {
    if (this.#isOver) return Promise.reject(this.#overError());
    const cached = this.#cache.get(key);
    if (cached !== undefined && timestampOf(cached) >= this.#removedBefore) return Promise.resolve(cached);
    if (this.#gets.length >= MAX_WAITING_GETS)
      return Promise.reject(new DnsServerError('DnsServerError.Busy', 'too many wait for the database'));
    return new Promise((resolve, reject) => {
      this.#gets.push({ key, resolve, reject });
      this.#schedule();
    });
  }

  put(key: Uint8Array, payload: Uint8Array): Promise<PutOutcome> {
    if (this.#isOver) return Promise.reject(this.#overError());
    if (this.#puts.length >= MAX_WAITING_PUTS) return Promise.resolve('busy');
    return new Promise((resolve, reject) => {
      this.#puts.push({ key, payload, resolve, reject });
      this.#schedule();
    });
  }

  removeOlder(timestampMicros: bigint): Promise<number> {
    if (this.#isOver) return Promise.reject(this.#overError());
    return new Promise((resolve, reject) => {
      this.#removals.push({ timestampMicros, resolve, reject });
      this.#schedule();
    });
  }

  /** What waits is committed before. All callers wait for the same end. @throws {DnsServerError} Store, when the database does not close. */
  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    if (this.#failure !== undefined) return;
    const ended = new Promise<void>((resolve, reject) => {
      this.#thread.once('error', (cause) =>
        reject(new DnsServerError('DnsServerError.Store', 'the database cannot be closed', cause)),
      );
      this.#thread.once('exit', () => resolve());
    });
    this.#schedule();
    await ended;
  }

  get #isOver(): boolean {
    return this.#closing !== undefined || this.#failure !== undefined;
  }

  #overError(): DnsServerError {
    return this.#closing === undefined
      ? this.#failure!
      : new DnsServerError('DnsServerError.Store', 'the store is closed');
  }

  /** At the end of this burst of I/O, so that its puts are one commit. */
  #schedule(): void {
    if (this.#isScheduled || this.#underWay !== undefined) return;
    this.#isScheduled = true;
    this.#clock.defer(() => {
      this.#isScheduled = false;
      if (this.#failure === undefined) this.#sendTask();
    });
  }

  #sendTask(): void {
    const gets = this.#gets.splice(0, MAX_TASK_ITEMS);
    const puts = this.#puts.splice(0, MAX_TASK_ITEMS);
    const removal = this.#removals.shift();
    const isLast = this.#closing !== undefined && !this.#hasWaiting;
    this.#underWay = { gets, puts, removal, isLast };
    const task: SqliteTask = {
      gets: pack(gets.map(({ key }) => key)),
      puts: packPackets(puts),
      removeOlder: removal?.timestampMicros,
      isLast,
    };
    this.#thread.postMessage(task, buffersOf(task.gets, task.puts));
  }

  get #hasWaiting(): boolean {
    return this.#gets.length > 0 || this.#puts.length > 0 || this.#removals.length > 0;
  }

  #onAnswer({ gets, changes }: SqliteAnswer): void {
    if (gets !== undefined) this.#onGets(gets);
    if (changes !== undefined) this.#onChanges(changes);
  }

  /** Before what the same task changed, so that the cache ends with that. */
  #onGets(gets: Attempt<PackedBytes>): void {
    settle(this.#underWay!.gets, mapAttempt(gets, unpack), (get, payload) => {
      // Of its own, so that it does not keep all that came with it.
      const own = payload?.slice();
      if (own !== undefined) this.#cache.set(get.key, own);
      get.resolve(own);
    });
  }

  #onChanges({ puts, removed, size }: SqliteChanges): void {
    const done = this.#underWay!;
    this.#underWay = undefined;
    this.#size = size;
    settle(
      done.puts,
      mapAttempt(puts, (places) => [...places]),
      (put, place) => {
        const outcome = OUTCOMES[place]!;
        if (outcome === 'inserted' || outcome === 'updated') this.#cache.set(put.key, put.payload);
        put.resolve(outcome);
      },
    );
    const { removal } = done;
    if (removal !== undefined) {
      if (removal.timestampMicros > this.#removedBefore) this.#removedBefore = removal.timestampMicros;
      settle(
        [removal],
        mapAttempt(removed, (count) => [count]),
        (each, count) => each.resolve(count),
      );
    }
    if (!done.isLast && (this.#hasWaiting || this.#closing !== undefined)) this.#schedule();
  }

  /** The thread has ended. Nothing more is answered; after {@link close} that is as it should be. */
  #fail(cause: unknown): void {
    if (this.#failure !== undefined) return;
    this.#failure = new DnsServerError('DnsServerError.Store', 'the thread of the database has ended', cause);
    const { gets = [], puts = [], removal } = this.#underWay ?? {};
    this.#underWay = undefined;
    const lost = [...gets, ...this.#gets, ...puts, ...this.#puts, ...this.#removals];
    for (const { reject } of removal === undefined ? lost : [...lost, removal]) reject(this.#failure);
    this.#gets = [];
    this.#puts = [];
    this.#removals = [];
  }
}

/** @throws when it ends before. */
function firstMessage(thread: Worker): Promise<SqliteStart> {
  return new Promise((resolve, reject) => {
    const onExit = (): void => reject(new Error('the thread of the database has ended'));
    thread.once('error', reject);
    thread.once('exit', onExit);
    thread.once('message', (start: SqliteStart) => {
      thread.off('error', reject);
      thread.off('exit', onExit);
      resolve(start);
    });
  });
}

function mapAttempt<T, U>(attempt: Attempt<T>, map: (value: T) => U): Attempt<U> {
  return 'value' in attempt ? { value: map(attempt.value) } : attempt;
}

/** Each of those who wait gets its result, or all get the error. */
function settle<T, W extends { readonly reject: (error: unknown) => void }>(
  waiting: readonly W[],
  attempt: Attempt<readonly T[]>,
  act: (each: W, result: T) => void,
): void {
  if ('error' in attempt) for (const { reject } of waiting) reject(attempt.error);
  else waiting.forEach((each, i) => act(each, attempt.value[i] as T));
}
