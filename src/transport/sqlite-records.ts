/**
 * Signed packets in an SQLite database. It blocks: calls return when the disk has done its part, so it has a thread of its own
 * (`sqlite-worker.ts`).
 *
 * @module
 */
import { isNewer, MAX_REMOVALS, timestampOf, type PutOutcome } from './record-store.ts';
import { openSqlite, type SqlDatabase, type SqlStatement } from './sqlite.ts';

/** Pages that are kept in memory: the inner ones of a tree of a million packets, and room for leaves. */
const CACHE_KIB = 16_384;
/** Pages of the log (4 KiB) after which it is written back even while there is much to do. */
const LOG_PAGES = 16_384;
/** What a 64-bit integer with a sign holds. */
const MAX_INT64 = 2n ** 63n - 1n;

/** A packet, and whose it is. */
export interface KeyedPacket {
  /** 32 bytes. */
  readonly key: Uint8Array;
  /** Signature, timestamp, records. */
  readonly payload: Uint8Array;
}

/** How it is opened. */
export interface SqliteRecordsOptions {
  /** Made if missing, as is its folder. */
  readonly file: string;
  readonly maxRecords: number;
  /** Default: the one in Node, where there is one. */
  readonly engine: SqlDatabase['engine'] | undefined;
}

export class SqliteRecords {
  readonly #database: SqlDatabase;
  readonly #maxRecords: number;
  readonly #select: SqlStatement;
  readonly #insert: SqlStatement;
  readonly #update: SqlStatement;
  readonly #delete: SqlStatement;
  readonly #writeBack: SqlStatement;
  #size: number;
  #changes = 0;

  private constructor(database: SqlDatabase, maxRecords: number) {
    this.#database = database;
    this.#maxRecords = maxRecords;
    // Exclusive, so that no other process writes, and no shared memory is needed. Full: a commit survives a power cut.
    const pragmas = [
      'locking_mode = exclusive',
      'journal_mode = wal',
      'synchronous = full',
      `cache_size = -${CACHE_KIB}`,
      `wal_autocheckpoint = ${LOG_PAGES}`,
    ];
    for (const pragma of pragmas) database.prepare(`pragma ${pragma}`).all();
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
    this.#writeBack = database.prepare('pragma wal_checkpoint(passive)');
    this.#size = Number(database.prepare('select count(*) as size from packets').all()[0]!['size']);
  }

  /** @throws when there is no SQLite, or another process has the file open, or it is no database. */
  static async open({ file, maxRecords, engine }: SqliteRecordsOptions): Promise<SqliteRecords> {
    const database = await openSqlite(file, engine);
    try {
      return new SqliteRecords(database, maxRecords);
    } catch (error) {
      database.close();
      throw error;
    }
  }

  /** Packets in it. */
  get size(): number {
    return this.#size;
  }

  /** Packets that were stored or removed so far. */
  get changes(): number {
    return this.#changes;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return this.#select.all(key)[0]?.['payload'] as Uint8Array | undefined;
  }

  /** All in one commit, or none. */
  put(packets: readonly KeyedPacket[]): PutOutcome[] {
    const sizeBefore = this.#size;
    try {
      this.#database.exec('begin');
      const outcomes = packets.map((packet) => this.#write(packet));
      this.#database.exec('commit');
      for (const outcome of outcomes) if (outcome === 'inserted' || outcome === 'updated') this.#changes++;
      return outcomes;
    } catch (error) {
      this.#size = sizeBefore;
      this.#rollBack();
      throw error;
    }
  }

  /** As in `RecordStore`. */
  removeOlder(timestampMicros: bigint): number {
    const removed = this.#delete.run(toInt64(timestampMicros));
    this.#size -= removed;
    this.#changes += removed;
    return removed;
  }

  /** Writes back what is in the log, so that this has not to be done in the middle of things. */
  tidy(): void {
    this.#writeBack.all();
  }

  close(): void {
    this.#database.close();
  }

  #write({ key, payload }: KeyedPacket): PutOutcome {
    const known = this.get(key);
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
