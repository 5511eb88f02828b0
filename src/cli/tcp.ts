/**
 * `listen-tcp` and `connect-tcp`: TCP connections carried over streams, compatible with the dumbpipe tool: a connection
 * per TCP connection.
 *
 * @module
 */
import { once } from 'node:events';
import { createServer, connect as connectSocket, type AddressInfo, type Socket } from 'node:net';
import type { Connection } from '../index.ts';
import {
  dialTicket,
  relaysToDialOver,
  relaysToWaitAt,
  ticketOf,
  withEndpoint,
  type NetworkOptions,
} from './identity.ts';
import { acceptPipe, DUMBPIPE_ALPN, join, openPipe } from './pipe.ts';
import { UserError } from './user-error.ts';

/** Code of the close when the TCP server cannot be reached. */
const UNREACHABLE_CODE = 1;

interface HostPort {
  readonly host: string;
  readonly port: number;
}

function parseHost(text: string): HostPort {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (!match || port > 65_535) throw new UserError(`expected host:port, got ${text}`);
  return { host: (match[1] ?? match[2])!, port };
}

function report(error: unknown): void {
  console.error(error instanceof Error ? error.message : error);
}

export function listenTcp(options: NetworkOptions & { readonly host: string }): Promise<void> {
  const target = parseHost(options.host);
  const forward = async (connection: Connection): Promise<void> => {
    const stream = await acceptPipe(connection);
    const socket = connectSocket({ ...target, allowHalfOpen: true });
    try {
      await once(socket, 'connect');
    } catch (error) {
      connection.close(UNREACHABLE_CODE, 'the TCP server is not there');
      throw error;
    }
    socket.on('error', () => connection.close(UNREACHABLE_CODE, 'the TCP connection broke'));
    await join(connection, stream, socket, socket);
    await connection.closed;
  };
  const serve = async (connection: Connection): Promise<void> => {
    try {
      await forward(connection);
    } finally {
      // For a dialler that speaks another protocol, or nothing; after an end it does nothing.
      connection.close();
    }
  };
  const more = { alpns: [DUMBPIPE_ALPN], ...relaysToWaitAt(options) };
  return withEndpoint(options, more, async (endpoint) => {
    const ticket = await ticketOf(endpoint);
    console.error(
      `forwarding to ${options.host}; on the other machine run:\n\n  npx iroh-ts connect-tcp --addr 127.0.0.1:9000 ${ticket}\n`,
    );
    for await (const incoming of endpoint.incoming()) {
      incoming.accept().connected.then(serve).catch(report);
    }
  });
}

export async function connectTcp(
  ticket: string,
  options: NetworkOptions & { readonly addr: string },
): Promise<void> {
  const addr = parseHost(options.addr);
  // A wrong ticket is told here, not at the first connection.
  const relays = relaysToDialOver(options, ticket);
  await withEndpoint(options, relays, async (endpoint) => {
    const serve = async (socket: Socket): Promise<void> => {
      const dial = dialTicket(endpoint, ticket, DUMBPIPE_ALPN);
      const onBroken = (connection: Connection): void =>
        connection.close(UNREACHABLE_CODE, 'the TCP connection broke');
      // From the start: a client that breaks off during the dial must not end the whole command.
      socket.on('error', () => void dial.then(onBroken, () => undefined));
      const connection = await dial;
      await join(connection, await openPipe(connection), socket, socket);
      connection.close(0, 'done');
    };
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      serve(socket).catch((error: unknown) => {
        report(error);
        socket.destroy();
      });
    });
    server.listen(addr);
    try {
      await once(server, 'listening');
    } catch (error) {
      throw new UserError(`cannot listen on ${options.addr}: ${(error as Error).message}`, error);
    }
    const bound = server.address() as AddressInfo;
    console.error(`listening on ${options.addr.replace(/\d+$/, String(bound.port))}`);
    await endpoint.closed;
    server.close();
  });
}
