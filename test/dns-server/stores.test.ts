/** Record stores: the same promises in memory and in a database, and what only a database can promise. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { startSqliteThread } from '#transport/sqlite-thread';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { concatBytes, toHex } from '../../src/base/bytes.ts';
import { MemoryRecordStore, isNewer, type RecordStore } from '../../src/transport/record-store.ts';
import type { SqlDatabase } from '../../src/transport/sqlite.ts';
import { SqliteRecordStore } from '../../src/transport/sqlite-record-store.ts';
import type { SqliteRecordsOptions } from '../../src/transport/sqlite-records.ts';
import { systemPlatform } from '../../src/transport/system-platform.ts';

const { clock } = systemPlatform;
const engines: SqlDatabase['engine'][] = ['node-sqlite3-wasm'];
if (process.getBuiltinModule('node:sqlite' as 'fs') !== undefined) engines.push('node:sqlite');

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'iroh-ts-store-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const file = (): string => join(folder, 'deep', 'packets.sqlite');
const key = (n: number): Uint8Array => new Uint8Array(32).fill(n);
/** Signature, timestamp, records. */
function payload(timestamp: number | bigint, records = 'x'): Uint8Array {
  const stamp = new Uint8Array(8);
  new DataView(stamp.buffer).setBigUint64(0, BigInt(timestamp));
  return concatBytes(new Uint8Array(64).fill(7), stamp, new TextEncoder().encode(records));
}

type Open = (maxRecords?: number) => Promise<RecordStore>;
const kinds: [string, Open][] = [
  ['memory', (maxRecords) => Promise.resolve(new MemoryRecordStore(maxRecords))],
  ...engines.map((engine): [string, Open] => [
    engine,
    (maxRecords) => SqliteRecordStore.open({ file: file(), clock, engine, maxRecords }),
  ]),
];

describe.each(kinds)('%s', (_name, open) => {
  test('keeps the newer packet, by timestamp and then by its records', async () => {
    const store = await open();
    expect(await store.get(key(1))).toBeUndefined();
    expect(await store.put(key(1), payload(5, 'b'))).toBe('inserted');
    expect(await store.put(key(1), payload(5, 'b'))).toBe('unchanged');
    expect(await store.put(key(1), payload(5, 'a'))).toBe('unchanged');
    expect(await store.put(key(1), payload(4, 'z'))).toBe('unchanged');
    expect(await store.put(key(1), payload(5, 'bb'))).toBe('updated');
    expect(await store.put(key(1), payload(6, ''))).toBe('updated');
    expect(toHex((await store.get(key(1)))!)).toBe(toHex(payload(6, '')));
    await store.close();
  });

  test('puts of one key that come together: the newest stays, whatever the order', async () => {
    const store = await open();
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 2, maxLength: 20 }), fc.nat(250), async (stamps, n) => {
        await store.removeOlder(2n ** 63n);
        await Promise.all([...stamps].map((stamp) => store.put(key(n), payload(stamp))));
        expect(toHex((await store.get(key(n)))!)).toBe(toHex(payload(Math.max(...stamps))));
      }),
      { numRuns: 30 },
    );
    await store.close();
  });

  test('removes what is older, a thousand at a time', async () => {
    const store = await open();
    const puts = Array.from({ length: 1_200 }, (_, i) => {
      const id = key(0);
      new DataView(id.buffer).setUint32(0, i);
      return store.put(id, payload(i));
    });
    expect(new Set(await Promise.all(puts))).toEqual(new Set(['inserted']));
    expect(await store.removeOlder(1_100n)).toBe(1_000);
    expect(await store.removeOlder(1_100n)).toBe(100);
    expect(await store.removeOlder(1_100n)).toBe(0);
    await store.close();
  });

  test('what was removed is not got any more, though it was asked for before', async () => {
    const store = await open();
    await Promise.all([store.put(key(1), payload(1)), store.put(key(2), payload(2))]);
    expect(await store.get(key(1))).toBeDefined();
    expect(await store.removeOlder(2n)).toBe(1);
    expect(await store.get(key(1))).toBeUndefined();
    expect(await store.get(key(2))).toBeDefined();
    await store.close();
  });

  test('takes no more keys than it may', async () => {
    const store = await open(2);
    expect(await store.put(key(1), payload(1))).toBe('inserted');
    expect(await store.put(key(2), payload(2))).toBe('inserted');
    expect(await store.put(key(3), payload(3))).toBe('full');
    expect(await store.put(key(1), payload(4))).toBe('updated');
    expect(await store.removeOlder(3n)).toBe(1);
    expect(await store.put(key(3), payload(3))).toBe('inserted');
    await store.close();
  });

  test('timestamps above all of time', async () => {
    const store = await open();
    expect(await store.put(key(1), payload(2n ** 64n - 1n))).toBe('inserted');
    expect(await store.put(key(1), payload(2n ** 63n))).toBe('unchanged');
    expect(await store.removeOlder(2n ** 63n - 1n)).toBe(0);
    await store.close();
  });
});

describe.each(engines)('a database of %s', (engine) => {
  const open = (): Promise<SqliteRecordStore> => SqliteRecordStore.open({ file: file(), clock, engine });

  test('has what was put when it is opened again', async () => {
    const store = await open();
    const outcome = store.put(key(1), payload(1));
    // Closing commits what waits.
    await store.close();
    expect(await outcome).toBe('inserted');
    const again = await open();
    expect(again.size).toBe(1);
    expect(toHex((await again.get(key(1)))!)).toBe(toHex(payload(1)));
    await again.close();
  });

  test('many puts are few commits', async () => {
    let answers = 0;
    const startThread = (options: SqliteRecordsOptions): Worker => {
      const thread = startSqliteThread(options);
      return thread.on('message', () => answers++);
    };
    const store = await SqliteRecordStore.open({ file: file(), clock, engine, startThread });
    answers = 0;
    await Promise.all(Array.from({ length: 200 }, (_, n) => store.put(key(n), payload(1))));
    expect(answers).toBe(1);
    // Those that come while a commit is under way share the next one.
    const first = store.put(key(201), payload(1));
    await new Promise((resolve) => setImmediate(resolve));
    await Promise.all([first, store.put(key(202), payload(1)), store.put(key(203), payload(1))]);
    expect(answers).toBe(3);
    await store.close();
  });

  test('what is got does not wait for what is put with it', async () => {
    const messages: string[][] = [];
    const startThread = (options: SqliteRecordsOptions): Worker =>
      startSqliteThread(options).on('message', (answer: object) => messages.push(Object.keys(answer)));
    const store = await SqliteRecordStore.open({ file: file(), clock, engine, startThread });
    await store.put(key(1), payload(1));
    messages.length = 0;
    const order: string[] = [];
    await Promise.all([
      store.put(key(2), payload(1)).then(() => order.push('put')),
      store.get(key(2)).then((found) => order.push(found === undefined ? 'nothing' : 'got')),
    ]);
    expect([messages, order]).toEqual([
      [['gets'], ['changes']],
      ['nothing', 'put'],
    ]);
    expect(toHex((await store.get(key(2)))!)).toBe(toHex(payload(1)));
    await store.get(key(3));
    expect(messages.at(-1)).toEqual(['gets', 'changes']);
    await store.close();
  });

  test('more puts than can wait are told to come later', async () => {
    const store = await open();
    const puts = Array.from({ length: 8_193 }, () => store.put(key(1), payload(1)));
    expect(await puts.at(-1)).toBe('busy');
    expect(new Set(await Promise.all(puts.slice(0, -1)))).toEqual(new Set(['inserted', 'unchanged']));
    expect(await store.put(key(1), payload(2))).toBe('updated');
    await store.close();
  });

  test('more gets than can wait are refused', async () => {
    const store = await open();
    const gets = Array.from({ length: 65_536 }, () => store.get(key(1)));
    await expect(store.get(key(1))).rejects.toMatchObject({ code: 'DnsServerError.Busy' });
    expect(new Set(await Promise.all(gets))).toEqual(new Set([undefined]));
    await store.close();
  });

  test('is for one process, and for one store in it', async () => {
    const store = await open();
    await expect(open()).rejects.toThrow();
    expect(await store.put(key(1), payload(1))).toBe('inserted');
    await store.close();
    await expect(store.put(key(1), payload(2))).rejects.toThrow('closed');
    await expect(store.get(key(1))).rejects.toThrow('closed');
    await (await open()).close();
  });

  test('its thread ends by itself: who waits is told, and nothing of what was acknowledged is lost', async () => {
    let thread: Worker | undefined;
    const startThread = (options: SqliteRecordsOptions): Worker => (thread = startSqliteThread(options));
    const store = await SqliteRecordStore.open({ file: file(), clock, engine, startThread });
    expect(await store.put(key(1), payload(1))).toBe('inserted');
    expect(store.failure).toBeUndefined();
    const ended = expect.objectContaining({ code: 'DnsServerError.Store' });
    const waiting = [store.put(key(2), payload(1)), store.get(key(3)), store.removeOlder(0n)];
    const told = Promise.all(waiting.map((each) => expect(each).rejects.toEqual(ended)));
    await Promise.all([thread!.terminate(), told]);
    await expect(store.get(key(1))).rejects.toEqual(ended);
    await expect(store.put(key(1), payload(2))).rejects.toEqual(ended);
    expect(store.failure).toEqual(ended);
    await store.close();
    const again = await open();
    expect(toHex((await again.get(key(1)))!)).toBe(toHex(payload(1)));
    await again.close();
  });

  test('a thread that cannot be started is an error', async () => {
    const startThread = (): Worker => new Worker(new URL('file:///nowhere/sqlite-worker.js'));
    await expect(SqliteRecordStore.open({ file: file(), clock, engine, startThread })).rejects.toThrow(
      'nowhere',
    );
    await (await open()).close();
  });

  test('closing does not lose those who wait, however many', async () => {
    const store = await open();
    const puts = Array.from({ length: 2_000 }, (_, i) => {
      const id = key(0);
      new DataView(id.buffer).setUint32(0, i);
      return store.put(id, payload(i));
    });
    await Promise.all([store.close(), store.close()]);
    expect(new Set(await Promise.all(puts))).toEqual(new Set(['inserted']));
    const again = await open();
    expect(again.size).toBe(2_000);
    await again.close();
  });

  test('a file that is no database is left alone', async () => {
    mkdirSync(join(folder, 'deep'));
    writeFileSync(file(), 'this is a text, and a rather long one, so that it is no database'.repeat(20));
    await expect(open()).rejects.toThrow();
    expect(readdirSync(join(folder, 'deep'))).toEqual(['packets.sqlite']);
  });
});

test('newer is the larger one after the signature', () => {
  const [a, b] = [payload(1), payload(2)];
  b.set(new Uint8Array(64));
  expect([isNewer(b, a), isNewer(a, b), isNewer(a, a)]).toEqual([true, false, false]);
});
