/**
 * The thread of a database: does what `sqlite-record-store.ts` sends, one message after the other. Waiting for the disk is its
 * whole life.
 *
 * @module
 */
import { parentPort, workerData } from 'node:worker_threads';
import {
  buffersOf,
  OUTCOMES,
  pack,
  unpack,
  unpackPackets,
  type Attempt,
  type PackedBytes,
  type SqliteAnswer,
  type SqliteChanges,
  type SqliteStart,
  type SqliteTask,
} from './sqlite-messages.ts';
import { SqliteRecords, type SqliteRecordsOptions } from './sqlite-records.ts';

/** Nothing to do for so long: time to write back the log. */
const IDLE_MS = 500;
/** Puts after which it is written back while few come: then it takes 10 ms, and 0.4 s when the log is full. */
const MOST_UNWRITTEN = 100;
/** Few: as many per millisecond. With more it would take a part of what can be done. */
const FEW_PUTS_PER_MS = 1;

const port = parentPort!;

function attempt<T>(act: () => T): Attempt<T> {
  try {
    return { value: act() };
  } catch (error) {
    return { error };
  }
}

function read(records: SqliteRecords, { gets }: SqliteTask): Attempt<PackedBytes> {
  return attempt(() => pack(unpack(gets).map((key) => records.get(key!))));
}

function change(records: SqliteRecords, task: SqliteTask): SqliteChanges {
  const puts = attempt(() =>
    task.puts.lengths.length === 0
      ? new Uint8Array(0)
      : Uint8Array.from(records.put(unpackPackets(task.puts)), (outcome) => OUTCOMES.indexOf(outcome)),
  );
  const { removeOlder } = task;
  const removed = attempt(() => (removeOlder === undefined ? 0 : records.removeOlder(removeOlder)));
  return { puts, removed, size: records.size };
}

function answer(message: SqliteAnswer): void {
  const { gets } = message;
  port.postMessage(message, gets !== undefined && 'value' in gets ? buffersOf(gets.value) : []);
}

function serve(records: SqliteRecords): void {
  let idleTimer: NodeJS.Timeout | undefined;
  let tidiedAt = performance.now();
  // What fails here is tried again when the log is full, and then who puts is told.
  const tidy = (): void => {
    attempt(() => records.tidy());
    tidiedAt = performance.now();
  };
  const isTimeToTidy = (): boolean =>
    records.unwritten >= MOST_UNWRITTEN &&
    records.unwritten <= (performance.now() - tidiedAt) * FEW_PUTS_PER_MS;
  port.on('message', (task: SqliteTask) => {
    clearTimeout(idleTimer);
    const changesNothing = task.puts.lengths.length === 0 && task.removeOlder === undefined;
    const gets = read(records, task);
    // What is read does not wait for the disk.
    const goesAhead = task.gets.lengths.length > 0 && !changesNothing;
    if (goesAhead) answer({ gets });
    const changes = change(records, task);
    answer(goesAhead ? { changes } : { gets, changes });
    if (task.isLast) {
      records.close();
      port.close();
      return;
    }
    if (records.unwritten === 0) return;
    if (isTimeToTidy()) tidy();
    else idleTimer = setTimeout(tidy, IDLE_MS);
  });
}

let start: SqliteStart;
try {
  const records = await SqliteRecords.open(workerData as SqliteRecordsOptions);
  serve(records);
  start = { value: { size: records.size } };
} catch (error) {
  start = { error };
}
port.postMessage(start);
