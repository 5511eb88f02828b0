/**
 * SQLite: the one in Node where there is one (22.13 and later), else the package `node-sqlite3-wasm`.
 *
 * @module
 */
import { mkdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';

/** What a column holds. */
export type SqlValue = Uint8Array | number | bigint;

/** A prepared statement; parameters are `?` in order. */
export interface SqlStatement {
  /** @returns rows that were changed. */
  run(...values: readonly SqlValue[]): number;
  /** All rows. */
  all(...values: readonly SqlValue[]): readonly Readonly<Record<string, unknown>>[];
}

/** An open database, for this process alone. */
export interface SqlDatabase {
  readonly engine: 'node:sqlite' | 'node-sqlite3-wasm';
  /** Statements without parameters and without rows. */
  exec(sql: string): void;
  prepare(sql: string): SqlStatement;
  close(): void;
}

interface NodeDatabase {
  exec(sql: string): void;
  prepare(sql: string): {
    run(...values: readonly SqlValue[]): { readonly changes: number | bigint };
    all(...values: readonly SqlValue[]): Readonly<Record<string, unknown>>[];
  };
  close(): void;
}
type NodeSqlite = { readonly DatabaseSync: new (path: string) => NodeDatabase };

interface WasmDatabase {
  exec(sql: string): void;
  prepare(sql: string): {
    run(values: readonly SqlValue[]): { readonly changes: number };
    all(values: readonly SqlValue[]): Readonly<Record<string, unknown>>[];
    finalize(): void;
  };
  close(): void;
}
type WasmSqlite = { readonly default: { readonly Database: new (path: string) => WasmDatabase } };

/**
 * Opens a database, made if there is none; its folder, too. Only one process may have it open.
 *
 * @param prefer - For tests.
 * @throws when there is no SQLite, or what it says.
 */
export async function openSqlite(
  file: string,
  prefer: SqlDatabase['engine'] = 'node:sqlite',
): Promise<SqlDatabase> {
  const path = resolve(file);
  mkdirSync(dirname(path), { recursive: true });
  // An import would be a warning in bundlers, and an error where there is none.
  const builtIn = process.getBuiltinModule('node:sqlite') as NodeSqlite | undefined;
  return prefer === 'node:sqlite' && builtIn !== undefined
    ? openBuiltIn(builtIn, path)
    : openWasm(await loadWasm(), path);
}

async function loadWasm(): Promise<WasmSqlite> {
  try {
    return (await import('node-sqlite3-wasm')) as unknown as WasmSqlite;
  } catch (cause) {
    throw new Error('there is no SQLite: use Node 22.13 or later, or npm install node-sqlite3-wasm', {
      cause,
    });
  }
}

function openBuiltIn({ DatabaseSync }: NodeSqlite, path: string): SqlDatabase {
  const database = new DatabaseSync(path);
  return {
    engine: 'node:sqlite',
    exec: (sql) => database.exec(sql),
    prepare: (sql) => {
      const statement = database.prepare(sql);
      return {
        run: (...values) => Number(statement.run(...values).changes),
        all: (...values) => statement.all(...values),
      };
    },
    close: () => database.close(),
  };
}

function openWasm({ default: { Database } }: WasmSqlite, path: string): SqlDatabase {
  const unlock = takeLock(path);
  let database: WasmDatabase;
  try {
    database = new Database(path);
  } catch (error) {
    unlock();
    throw error;
  }
  const statements: { finalize(): void }[] = [];
  return {
    engine: 'node-sqlite3-wasm',
    exec: (sql) => database.exec(sql),
    prepare: (sql) => {
      const statement = database.prepare(sql);
      statements.push(statement);
      return { run: (...values) => statement.run(values).changes, all: (...values) => statement.all(values) };
    },
    close: () => {
      for (const statement of statements) statement.finalize();
      database.close();
      unlock();
    },
  };
}

/**
 * The package locks by making a folder, which stays when its process is killed. So who has the lock is written beside it, and
 * the folder of a process that is gone is removed. Two of one process have to tell themselves.
 *
 * @returns what gives the lock back.
 */
function takeLock(path: string): () => void {
  const ownerFile = `${path}.pid`;
  if (isRunning(readOwner(ownerFile))) throw new Error(`another server has the database open: ${path}`);
  rmSync(ownerFile, { force: true });
  // Who starts at the same time fails here.
  writeFileSync(ownerFile, String(process.pid), { flag: 'wx' });
  try {
    rmdirSync(`${path}.lock`);
  } catch (error) {
    if ((error as { code?: string }).code !== 'ENOENT') throw error;
  }
  return () => rmSync(ownerFile, { force: true });
}

/** NaN when nobody is known. */
function readOwner(file: string): number {
  try {
    return Number.parseInt(readFileSync(file, 'utf8'), 10);
  } catch {
    return Number.NaN;
  }
}

function isRunning(pid: number): boolean {
  // In a container the next process often has the number of the last one.
  if (Number.isNaN(pid) || pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as { code?: string }).code === 'EPERM';
  }
}
