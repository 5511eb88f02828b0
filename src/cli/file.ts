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
import { createReadStream, createWriteStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import type { Connection, RecvStream, SendStream } from '../index.ts';
import { bindEndpoint, type KeyOptions } from './identity.ts';
import { progressBar } from './progress.ts';

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

/** Sends a file; returns its SHA-256. */
export async function sendFile(send: SendStream, path: string, label: string): Promise<string> {
  const { size } = await stat(path);
  const header: FileHeader = { name: basename(path), size };
  await send.write(Buffer.from(`${JSON.stringify(header)}\n`));
  const hash = createHash('sha256');
  const bar = progressBar(label, size);
  for await (const chunk of createReadStream(path, { highWaterMark: CHUNK_BYTES }) as AsyncIterable<Buffer>) {
    hash.update(chunk);
    await send.write(chunk);
    bar.add(chunk.length);
  }
  const digest = hash.digest();
  await send.write(digest);
  send.finish();
  bar.stop();
  return digest.toString('hex');
}

/** Receives a file; returns its SHA-256. @throws {Error} when the checksum or the shape is wrong. */
export async function receiveFile(
  recv: RecvStream,
  path: (header: FileHeader) => string,
  label: string,
): Promise<{ readonly sha256: string; readonly header: FileHeader }> {
  const { header, rest } = await readHeader(recv);
  const hash = createHash('sha256');
  const bar = progressBar(label, header.size);
  const file = createWriteStream(path(header));
  let left = header.size;
  const tail: Uint8Array[] = [];
  const take = async (chunk: Uint8Array): Promise<void> => {
    const data = chunk.subarray(0, Math.min(left, chunk.length));
    left -= data.length;
    if (data.length < chunk.length) tail.push(chunk.subarray(data.length));
    if (data.length === 0) return;
    hash.update(data);
    bar.add(data.length);
    if (!file.write(data)) await once(file, 'drain');
  };
  await take(rest);
  for await (const chunk of recv) await take(chunk);
  bar.stop();
  file.end();
  await once(file, 'close');
  const sha256 = hash.digest('hex');
  const expected = Buffer.concat(tail);
  if (left > 0 || expected.length !== HASH_BYTES) throw new Error('the file is cut short');
  if (expected.toString('hex') !== sha256) throw new Error('the checksum does not match');
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
      if (!isFileHeader(header)) throw new Error('the sender speaks another protocol');
      return { header, rest: text.subarray(end + 1) };
    }
    const chunk = text.length > MAX_HEADER_BYTES ? null : await recv.read(MAX_HEADER_BYTES);
    if (chunk === null) throw new Error('the sender speaks another protocol');
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

export async function send(path: string, options: KeyOptions): Promise<void> {
  const endpoint = await bindEndpoint(options, { alpns: [FILE_ALPN] });
  console.log(`on the other machine run:\n  npx iroh-ts recv ${endpoint.addr.toTicket()}`);
  try {
    for await (const incoming of endpoint.incoming()) {
      const connection = await incoming.accept().connected;
      const { send: stream } = await connection.acceptBi();
      console.log(`sha256 ${await sendFile(stream, path, 'sent')}`);
      // The receiver closes once it has everything.
      await connection.closed;
      break;
    }
  } finally {
    await endpoint.close();
  }
}

/** Asks for a file: opens the stream that the sender answers on. */
export async function requestFile(connection: Connection): Promise<RecvStream> {
  const { send: stream, recv: answer } = await connection.openBi();
  stream.finish();
  return answer;
}

export async function recv(
  ticket: string,
  options: KeyOptions & { readonly output?: string },
): Promise<void> {
  const endpoint = await bindEndpoint(options);
  try {
    const connection = await endpoint.connect(ticket, FILE_ALPN);
    const stream = await requestFile(connection);
    // Only the last part of the name: a sender must not choose folders on our disk.
    const { sha256, header } = await receiveFile(
      stream,
      ({ name }) => options.output ?? basename(name),
      'received',
    );
    console.log(`${options.output ?? basename(header.name)}: sha256 ${sha256}`);
    connection.close(0, 'done');
  } finally {
    await endpoint.close();
  }
}
