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
import { WriteBack } from './write-back.ts';

/** Nothing to do for so long: time to write back the log. */
const IDLE_MS = 500;

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
  const writeBack = new WriteBack(performance.now());
  const tidy = (): void => {
    // What fails here is tried again after the next changes, and when the log is full who puts is told.
    attempt(() => records.tidy());
    writeBack.wrote(records.changes, performance.now());
  };
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
    if (writeBack.isTime(records.changes, performance.now())) tidy();
    else if (writeBack.isNeeded(records.changes)) idleTimer = setTimeout(tidy, IDLE_MS);
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
