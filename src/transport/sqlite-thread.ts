/**
 * Starts the thread of a database. It runs what was built, also when the rest runs from its sources: package.json says so
 * (`#transport/sqlite-thread`), and a thread of Node 20 cannot read TypeScript.
 *
 * @module
 */
import { Worker } from 'node:worker_threads';
import type { SqliteRecordsOptions } from './sqlite-records.ts';

export function startSqliteThread(options: SqliteRecordsOptions): Worker {
  // In one expression, which bundlers look for.
  return new Worker(new URL('./sqlite-worker.js', import.meta.url), { workerData: options });
}
