/**
 * `listen` and `connect`: stdin and stdout of two machines, joined. Protocol of the dumbpipe tool: the dialler opens a
 * bidirectional stream and says `hello` first.
 *
 * @module
 */
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { isIrohError, type BiStream, type Connection, type Endpoint } from '../index.ts';
import {
  dialTicket,
  relaysToDialOver,
  relaysToWaitAt,
  ticketOf,
  withEndpoint,
  type NetworkOptions,
} from './identity.ts';

/** ALPN of dumbpipe. */
export const DUMBPIPE_ALPN = 'DUMBPIPEV0';
const HELLO = new TextEncoder().encode('hello');
/** A dialler that says nothing for this long is none, ms. */
const HELLO_TIMEOUT_MS = 10_000;

/** Opens the stream of a pipe. */
export async function openPipe(connection: Connection): Promise<BiStream> {
  const stream = await connection.openBi();
  await stream.send.write(HELLO);
  return stream;
}

/** Accepts the stream of a pipe. @throws {Error} when the dialler does not say hello. */
export async function acceptPipe(connection: Connection): Promise<BiStream> {
  const stream = await connection.acceptBi({ timeoutMs: HELLO_TIMEOUT_MS });
  const hello = await stream.recv.readExact(HELLO.length, { timeoutMs: HELLO_TIMEOUT_MS });
  if (Buffer.compare(hello, HELLO) !== 0) throw new Error('the dialler speaks another protocol');
  return stream;
}

/** Copies in both directions until both ends are reached, or the connection ends. */
export async function join(
  connection: Connection,
  stream: BiStream,
  input: Readable,
  output: Writable,
): Promise<void> {
  const outgoing = async (): Promise<void> => {
    // A socket that has said all still listens: the end of input must not destroy it.
    const chunks = input.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>;
    for await (const chunk of chunks) await stream.send.write(chunk);
    stream.send.finish();
    await stream.send.stopped;
  };
  const incoming = async (): Promise<void> => {
    for await (const chunk of stream.recv) if (!output.write(chunk)) await once(output, 'drain');
    if (output === process.stdout) return;
    output.end();
    await once(output, 'finish');
  };
  const received = incoming().catch(ignoreEnd);
  // Once the connection is gone and everything that it brought is written, nobody wants input any more.
  void connection.closed.then(() => received).then(() => input.destroy(), ignoreEnd);
  await Promise.all([received, outgoing().catch(ignoreEnd)]);
}

/** The other side may leave first: that is an end, not a failure. */
function ignoreEnd(error: unknown): void {
  const isEnd =
    isIrohError(error, 'ReadError.ConnectionLost') ||
    isIrohError(error, 'WriteError') ||
    isIrohError(error, 'StoppedError') ||
    // Our input was destroyed, or whoever reads our output went away (`| head`).
    (error instanceof Error &&
      'code' in error &&
      (error.code === 'ERR_STREAM_PREMATURE_CLOSE' || error.code === 'EPIPE'));
  if (!isEnd) throw error;
}

/** The first connection whose handshake works out; undefined when the endpoint closes before. */
export async function acceptFirst(endpoint: Endpoint): Promise<Connection | undefined> {
  for await (const incoming of endpoint.incoming()) {
    try {
      return await incoming.accept().connected;
    } catch (error) {
      if (!isIrohError(error)) throw error;
      console.error(`an attempt failed: ${error.message}`);
    }
  }
  return undefined;
}

export function listen(options: NetworkOptions): Promise<void> {
  const more = { alpns: [DUMBPIPE_ALPN], ...relaysToWaitAt(options) };
  return withEndpoint(options, more, async (endpoint) => {
    const ticket = await ticketOf(endpoint);
    console.error(`listening; on the other machine run:\n\n  npx iroh-ts connect ${ticket}\n`);
    const connection = await acceptFirst(endpoint);
    if (connection === undefined) return;
    await join(connection, await acceptPipe(connection), process.stdin, process.stdout);
    process.stdin.destroy();
  });
}

export async function connect(ticket: string, options: NetworkOptions): Promise<void> {
  await withEndpoint(options, relaysToDialOver(options, ticket), async (endpoint) => {
    const connection = await dialTicket(endpoint, ticket, DUMBPIPE_ALPN);
    await join(connection, await openPipe(connection), process.stdin, process.stdout);
    process.stdin.destroy();
  });
}
