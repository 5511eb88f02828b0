/**
 * A record store in an SQLite database.
 *
 * Puts that come close together are committed together, because a commit waits for the disk: at most 200 times a second, and at
 * once when the last time is 5 ms ago. Nothing is acknowledged before its commit.
 *
 * @module
 */
import type { Clock, Millis, TimerId } from '../base/clock.ts';
import {
  DEFAULT_MAX_RECORDS,
  isNewer,
  MAX_REMOVALS,
  timestampOf,
  type PutOutcome,
  type RecordStore,
} from './record-store.ts';
import { openSqlite, type SqlDatabase, type SqlStatement } from './sqlite.ts';

/** Puts wait at most so long for others to be committed with, ms. */
const COMMIT_INTERVAL_MS = 5;
/** Puts that wait for a commit; more are refused. */
const MAX_WAITING = 65_536;
/** What a 64-bit integer with a sign holds. */
const MAX_INT64 = 2n ** 63n - 1n;

interface Waiting {
  readonly key: Uint8Array;
  readonly payload: Uint8Array;
  readonly resolve: (outcome: PutOutcome) => void;
  readonly reject: (error: unknown) => void;
}

/** How a store is opened. */
export interface SqliteStoreOptions {
  /** Made if missing, as is its folder. */
  readonly file: string;
  readonly clock: Clock;
  readonly maxRecords?: number | undefined;
  /** Default: the one in Node, where there is one. */
  readonly engine?: SqlDatabase['engine'] | undefined;
}

export class SqliteRecordStore implements RecordStore {
  readonly #database: SqlDatabase;
  readonly #clock: Clock;
  readonly #maxRecords: number;
  readonly #select: SqlStatement;
  readonly #insert: SqlStatement;
  readonly #update: SqlStatement;
  readonly #delete: SqlStatement;
  #waiting: Waiting[] = [];
  #isScheduled = false;
  #timer: TimerId;
  #committedAt: Millis = -Infinity;
  #size: number;
  #isClosed = false;

  private constructor(
    database: SqlDatabase,
    { clock, maxRecords = DEFAULT_MAX_RECORDS }: SqliteStoreOptions,
  ) {
    this.#database = database;
    this.#clock = clock;
    this.#maxRecords = maxRecords;
    // Exclusive, so that no other process writes, and no shared memory is needed. Full: a commit survives a power cut.
    for (const pragma of ['locking_mode = exclusive', 'journal_mode = wal', 'synchronous = full'])
      database.prepare(`pragma ${pragma}`).all();
    database.exec(
      'create table if not exists packets (key blob primary key, timestamp integer not null, payload blob not null) without rowid',
    );
    database.exec('create index if not exists packets_by_timestamp on packets (timestamp)');
    this.#select = database.prepare('select payload from packets where key = ?');
    this.#insert = database.prepare('insert into packets (key, timestamp, payload) values (?, ?, ?)');
    this.#update = database.prepare('update packets set timestamp = ?, payload = ? where key = ?');
    this.#delete = database.prepare(
      `delete from packets where key in (select key from packets where timestamp < ? limit ${MAX_REMOVALS})`,
    );
    this.#size = Number(database.prepare('select count(*) as size from packets').all()[0]!['size']);
  }

  /** @throws when there is no SQLite, or another process has the file open, or it is no database. */
  static async open(options: SqliteStoreOptions): Promise<SqliteRecordStore> {
    const database = await openSqlite(options.file, options.engine);
    try {
      return new SqliteRecordStore(database, options);
    } catch (error) {
      database.close();
      throw error;
    }
  }

  /** Packets in it. */
  get size(): number {
    return this.#size;
  }

  get(key: Uint8Array): Promise<Uint8Array | undefined> {
    return this.#attempt(() => this.#select.all(key)[0]?.['payload'] as Uint8Array | undefined);
  }

  put(key: Uint8Array, payload: Uint8Array): Promise<PutOutcome> {
    if (this.#isClosed) return Promise.reject(new Error('the store is closed'));
    if (this.#waiting.length >= MAX_WAITING) return Promise.resolve('full');
    return new Promise((resolve, reject) => {
      this.#waiting.push({ key, payload, resolve, reject });
      this.#schedule();
    });
  }

  removeOlder(timestampMicros: bigint): Promise<number> {
    return this.#attempt(() => {
      const removed = this.#delete.run(toInt64(timestampMicros));
      this.#size -= removed;
      return removed;
    });
  }

  close(): Promise<void> {
    if (this.#isClosed) return Promise.resolve();
    return this.#attempt(() => {
      this.#commit();
      this.#isClosed = true;
      this.#clock.clearTimeout(this.#timer);
      this.#database.close();
    });
  }

  /** What throws rejects. */
  #attempt<T>(act: () => T): Promise<T> {
    try {
      if (this.#isClosed) throw new Error('the store is closed');
      return Promise.resolve(act());
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    const act = (): void => {
      if (!this.#isClosed) this.#commit();
    };
    const delay = this.#committedAt + COMMIT_INTERVAL_MS - this.#clock.now();
    if (delay <= 0) this.#clock.defer(act);
    else this.#timer = this.#clock.setTimeout(act, delay);
  }

  #commit(): void {
    this.#isScheduled = false;
    const batch = this.#waiting;
    if (batch.length === 0) return;
    this.#waiting = [];
    const sizeBefore = this.#size;
    let outcomes: PutOutcome[];
    try {
      this.#database.exec('begin');
      outcomes = batch.map((each) => this.#write(each));
      this.#database.exec('commit');
    } catch (error) {
      this.#size = sizeBefore;
      this.#rollBack();
      for (const { reject } of batch) reject(error);
      return;
    } finally {
      this.#committedAt = this.#clock.now();
    }
    batch.forEach(({ resolve }, i) => resolve(outcomes[i]!));
  }

  #write({ key, payload }: Waiting): PutOutcome {
    const known = this.#select.all(key)[0]?.['payload'] as Uint8Array | undefined;
    if (known !== undefined && !isNewer(payload, known)) return 'unchanged';
    const timestamp = toInt64(timestampOf(payload));
    if (known !== undefined) {
      this.#update.run(timestamp, payload, key);
      return 'updated';
    }
    if (this.#size >= this.#maxRecords) return 'full';
    this.#insert.run(key, timestamp, payload);
    this.#size++;
    return 'inserted';
  }

  #rollBack(): void {
    try {
      this.#database.exec('rollback');
    } catch {
      // It had not begun, or SQLite has done so by itself.
    }
  }
}

function toInt64(timestampMicros: bigint): bigint {
  return timestampMicros > MAX_INT64 ? MAX_INT64 : timestampMicros;
}
