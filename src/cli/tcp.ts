/**
 * `listen-tcp` and `connect-tcp`: TCP connections carried over streams, compatible with the dumbpipe tool.
 *
 * @module
 */
import { once } from 'node:events';
import { createServer, connect as connectSocket, type Socket } from 'node:net';
import type { Connection } from '../index.ts';
import { bindEndpoint, type KeyOptions } from './identity.ts';
import { acceptPipe, DUMBPIPE_ALPN, join, openPipe } from './pipe.ts';

function parseHost(text: string): { readonly host: string; readonly port: number } {
  const match = /^\[?([^\]]+)\]?:(\d+)$/.exec(text);
  if (!match) throw new Error(`expected host:port, got ${text}`);
  return { host: match[1]!, port: Number(match[2]) };
}

function report(error: unknown): void {
  console.error(error instanceof Error ? error.message : error);
}

export async function listenTcp(options: KeyOptions & { readonly host: string }): Promise<void> {
  const target = parseHost(options.host);
  const endpoint = await bindEndpoint(options, { alpns: [DUMBPIPE_ALPN] });
  console.error(
    `forwarding to ${options.host}; on the other machine run:\n  npx iroh-ts connect-tcp --addr 127.0.0.1:9000 ${endpoint.addr.toTicket()}`,
  );
  process.once('SIGINT', () => void endpoint.close());
  const serve = async (connection: Connection): Promise<void> => {
    const stream = await acceptPipe(connection);
    const socket = connectSocket(target);
    await once(socket, 'connect');
    await join(stream, socket, socket);
    connection.close(0, 'done');
  };
  for await (const incoming of endpoint.incoming()) {
    incoming.accept().connected.then(serve).catch(report);
  }
}

export async function connectTcp(
  ticket: string,
  options: KeyOptions & { readonly addr: string },
): Promise<void> {
  const endpoint = await bindEndpoint(options);
  const serve = async (socket: Socket): Promise<void> => {
    const connection = await endpoint.connect(ticket, DUMBPIPE_ALPN);
    await join(await openPipe(connection), socket, socket);
    connection.close(0, 'done');
  };
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    serve(socket).catch((error: unknown) => {
      report(error);
      socket.destroy();
    });
  });
  server.listen(parseHost(options.addr));
  await once(server, 'listening');
  console.error(`listening on ${options.addr}`);
  process.once('SIGINT', () => {
    server.close();
    void endpoint.close();
  });
  await once(server, 'close');
}
