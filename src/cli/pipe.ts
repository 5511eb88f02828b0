/**
 * `listen` and `connect`: stdin and stdout of two machines, joined. Protocol of the dumbpipe tool: the dialler opens a
 * bidirectional stream and says `hello` first.
 *
 * @module
 */
import type { Writable } from 'node:stream';
import { Readable } from 'node:stream';
import type { ReadableStream } from 'node:stream/web';
import { isIrohError, type BiStream, type Connection } from '../index.ts';
import { bindEndpoint, type KeyOptions } from './identity.ts';

/** ALPN of dumbpipe. */
export const DUMBPIPE_ALPN = 'DUMBPIPEV0';
const HELLO = new TextEncoder().encode('hello');

/** Opens the stream of a pipe. */
export async function openPipe(connection: Connection): Promise<BiStream> {
  const stream = await connection.openBi();
  await stream.send.write(HELLO);
  return stream;
}

/** Accepts the stream of a pipe. @throws {Error} when the dialler does not say hello. */
export async function acceptPipe(connection: Connection): Promise<BiStream> {
  const stream = await connection.acceptBi();
  const hello = await stream.recv.readExact(HELLO.length);
  if (Buffer.compare(hello, HELLO) !== 0) throw new Error('the dialler speaks another protocol');
  return stream;
}

/** Copies in both directions until both ends are reached. */
export async function join(stream: BiStream, input: Readable, output: Writable): Promise<void> {
  const outgoing = async (): Promise<void> => {
    for await (const chunk of input as AsyncIterable<Uint8Array>) await stream.send.write(chunk);
    stream.send.finish();
    await stream.send.stopped;
  };
  const incoming = async (): Promise<void> => {
    const source = Readable.fromWeb(stream.recv.readable as unknown as ReadableStream<Uint8Array>);
    for await (const chunk of source as AsyncIterable<Uint8Array>) {
      if (!output.write(chunk)) await new Promise((resolve) => output.once('drain', resolve));
    }
    if (output !== process.stdout) output.end();
  };
  await Promise.all([outgoing(), incoming()].map((half) => half.catch(ignoreEnd)));
}

/** The other side may leave first: that is an end, not a failure. */
function ignoreEnd(error: unknown): void {
  const isEnd =
    isIrohError(error, 'ReadError.ConnectionLost') ||
    isIrohError(error, 'WriteError') ||
    isIrohError(error, 'StoppedError');
  if (!isEnd) throw error;
}

export async function listen(options: KeyOptions): Promise<void> {
  const endpoint = await bindEndpoint(options, { alpns: [DUMBPIPE_ALPN] });
  console.error(`listening; on the other machine run:\n  npx iroh-ts connect ${endpoint.addr.toTicket()}`);
  try {
    for await (const incoming of endpoint.incoming()) {
      const connection = await incoming.accept().connected;
      await join(await acceptPipe(connection), process.stdin, process.stdout);
      break;
    }
  } finally {
    await endpoint.close();
  }
}

export async function connect(ticket: string, options: KeyOptions): Promise<void> {
  const endpoint = await bindEndpoint(options);
  try {
    const connection = await endpoint.connect(ticket, DUMBPIPE_ALPN);
    await join(await openPipe(connection), process.stdin, process.stdout);
  } finally {
    await endpoint.close();
    process.stdin.destroy();
  }
}
