/**
 * `send` and `recv`: one file from one machine to another, with a progress bar and a checksum.
 *
 * Protocol (ALPN `iroh-ts/file/0`): the receiver opens a bidirectional stream and finishes it at once; the sender answers
 * with a line of JSON `{ name, size }`, then the bytes, then 32 bytes of SHA-256.
 *
 * @module
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream, createWriteStream, existsSync } from 'node:fs';
import { rename, rm, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { finished } from 'node:stream/promises';
import type { Connection, RecvStream, SendStream } from '../index.ts';
import {
  dialTicket,
  relaysToDialOver,
  relaysToWaitAt,
  ticketOf,
  withEndpoint,
  type NetworkOptions,
} from './identity.ts';
import { acceptFirst } from './pipe.ts';
import { formatSize, progressBar, type ProgressOptions } from './progress.ts';
import { UserError } from './user-error.ts';

export const FILE_ALPN = 'iroh-ts/file/0';
const CHUNK_BYTES = 256 * 1_024;
/** The line in front of a file; a longer one is no file of ours. */
const MAX_HEADER_BYTES = 4_096;
const NEWLINE = 0x0a;
const HASH_BYTES = 32;

/** What is said about a file before its bytes. */
export interface FileHeader {
  readonly name: string;
  readonly size: number;
}

/** Sends a file; returns its SHA-256. @param progress - What the progress bar is about; none without. */
export async function sendFile(send: SendStream, path: string, progress?: ProgressOptions): Promise<string> {
  const { size } = await stat(path);
  const header: FileHeader = { name: basename(path), size };
  await send.write(Buffer.from(`${JSON.stringify(header)}\n`));
  const hash = createHash('sha256');
  const bar = progressBar(size, progress);
  try {
    for await (const chunk of createReadStream(path, {
      highWaterMark: CHUNK_BYTES,
      // A file that grows meanwhile is sent as large as it was announced.
      end: Math.max(size - 1, 0),
    }) as AsyncIterable<Buffer>) {
      hash.update(chunk);
      await send.write(chunk);
      bar.add(chunk.length);
    }
  } finally {
    bar.stop();
  }
  const digest = hash.digest();
  await send.write(digest);
  send.finish();
  return digest.toString('hex');
}

/** Receives a file; returns its SHA-256. @throws {Error} when the checksum or the shape is wrong. */
export async function receiveFile(
  recv: RecvStream,
  path: (header: FileHeader) => string,
  progress?: ProgressOptions,
): Promise<{ readonly sha256: string; readonly header: FileHeader }> {
  const { header, rest } = await readHeader(recv);
  const hash = createHash('sha256');
  const file = createWriteStream(path(header));
  await once(file, 'open');
  const written = finished(file);
  // A full disk is met where somebody waits for it: below, and at the end.
  written.catch(() => undefined);
  const bar = progressBar(header.size, progress);
  let left = header.size;
  let tail = Buffer.alloc(0);
  const take = async (chunk: Uint8Array): Promise<void> => {
    const data = chunk.subarray(0, Math.min(left, chunk.length));
    left -= data.length;
    if (data.length < chunk.length) tail = Buffer.concat([tail, chunk.subarray(data.length)]);
    if (tail.length > HASH_BYTES) throw new UserError('the file is longer than announced');
    if (data.length === 0) return;
    hash.update(data);
    bar.add(data.length);
    if (!file.write(data)) await Promise.race([once(file, 'drain'), written]);
  };
  try {
    await take(rest);
    for await (const chunk of recv) await take(chunk);
  } finally {
    bar.stop();
    file.end();
    await written;
  }
  const sha256 = hash.digest('hex');
  if (left > 0 || tail.length !== HASH_BYTES) throw new UserError('the file is cut short');
  if (tail.toString('hex') !== sha256) throw new UserError('the checksum does not match');
  return { sha256, header };
}

async function readHeader(
  recv: RecvStream,
): Promise<{ readonly header: FileHeader; readonly rest: Uint8Array }> {
  let text = Buffer.alloc(0);
  for (;;) {
    const end = text.indexOf(NEWLINE);
    if (end >= 0) {
      const header: unknown = JSON.parse(text.subarray(0, end).toString());
      if (!isFileHeader(header)) throw new UserError('the sender speaks another protocol');
      return { header, rest: text.subarray(end + 1) };
    }
    const chunk = text.length > MAX_HEADER_BYTES ? null : await recv.read(MAX_HEADER_BYTES);
    if (chunk === null) throw new UserError('the sender speaks another protocol');
    text = Buffer.concat([text, chunk]);
  }
}

function isFileHeader(value: unknown): value is FileHeader {
  return (
    typeof value === 'object' &&
    value !== null &&
    'name' in value &&
    typeof value.name === 'string' &&
    'size' in value &&
    Number.isSafeInteger(value.size) &&
    (value.size as number) >= 0
  );
}

/** Only the last part of a name, and only if it is one: a sender must not choose folders on our disk. */
export function safeName(name: string): string {
  const last = basename(name.replaceAll('\\', '/'));
  return last === '' || last === '.' || last === '..' || last.includes('\0') ? 'received' : last;
}

export async function send(path: string, options: NetworkOptions): Promise<void> {
  const facts = await stat(path).catch((error: unknown) => {
    throw new UserError(`cannot read ${path}`, error);
  });
  if (!facts.isFile()) throw new UserError(`${path} is not a file`);
  await withEndpoint(options, { alpns: [FILE_ALPN], ...relaysToWaitAt(options) }, async (endpoint) => {
    const ticket = await ticketOf(endpoint);
    console.error(
      `offering ${basename(path)} (${formatSize(facts.size)}) to one receiver; on the other machine run:\n\n  npx iroh-ts recv ${ticket}\n`,
    );
    const connection = await acceptFirst(endpoint);
    if (connection === undefined) return;
    const { send: stream } = await connection.acceptBi();
    const sha256 = await sendFile(stream, path, { label: 'sending', connection });
    // The receiver closes once it has everything.
    const { errorCode } = await connection.closed;
    if (errorCode !== 0) throw new UserError('the receiver left before it had everything');
    console.log(`sha256 ${sha256}`);
  });
}

/** Asks for a file: opens the stream that the sender answers on. */
export async function requestFile(connection: Connection): Promise<RecvStream> {
  const { send: stream, recv: answer } = await connection.openBi();
  stream.finish();
  return answer;
}

export async function recv(
  ticket: string,
  options: NetworkOptions & { readonly output?: string; readonly force?: boolean },
): Promise<void> {
  await withEndpoint(options, relaysToDialOver(options, ticket), async (endpoint) => {
    const connection = await dialTicket(endpoint, ticket, FILE_ALPN);
    let target: string | undefined;
    const part = (): string => `${target}.part`;
    try {
      const { sha256, header } = await receiveFile(
        await requestFile(connection),
        ({ name }) => {
          target = options.output ?? safeName(name);
          if (existsSync(target) && options.force !== true)
            throw new UserError(`${target} exists; choose another --output, or --force`);
          return part();
        },
        { label: 'receiving', connection },
      );
      await rename(part(), target!);
      console.log(`${target} (${formatSize(header.size)})\nsha256 ${sha256}`);
      connection.close(0, 'done');
    } catch (error) {
      connection.close(1, 'failed');
      if (target !== undefined) await rm(part(), { force: true });
      throw error;
    }
  });
}
