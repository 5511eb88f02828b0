/**
 * A TCP port on one machine, reached from another: every TCP connection becomes a stream. Both ends run here, with a TCP
 * server that greets and a TCP client that listens to it. `npx iroh-ts listen-tcp` and `connect-tcp` do it for real.
 */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { Endpoint, type BiStream } from 'iroh-ts';

const ALPN = 'example/tcp-tunnel/0';

/** Copies in both directions; each end is passed on, and each side waits while the other is slow. */
async function splice(socket: Socket, { send, recv }: BiStream): Promise<void> {
  const out = async (): Promise<void> => {
    // A socket that has said all still listens.
    const chunks = socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>;
    for await (const chunk of chunks) await send.write(chunk);
    send.finish();
  };
  const back = async (): Promise<void> => {
    for await (const chunk of recv) if (!socket.write(chunk)) await once(socket, 'drain');
    socket.end();
  };
  await Promise.all([out(), back()]);
}

async function listenOn(server: ReturnType<typeof createServer>): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

// What is to be reached.
const greeter = createServer({ allowHalfOpen: true }, (socket) => {
  socket.on('data', (name) => socket.end(`hello, ${name.toString()}`));
});
const greeterPort = await listenOn(greeter);

// The machine that has it: streams become TCP connections.
const far = await Endpoint.bind({ preset: 'minimal', alpns: [ALPN] });
const serving = (async () => {
  for await (const incoming of far.incoming()) {
    const connection = await incoming.accept().connected;
    for await (const stream of connection.incomingBi()) {
      const socket = connect({ port: greeterPort, host: '127.0.0.1', allowHalfOpen: true });
      splice(socket, stream).catch(console.error);
    }
  }
})();

// The machine that wants it: TCP connections become streams of one connection.
const near = await Endpoint.bind({ preset: 'minimal' });
const connection = await near.connect(far.addr.toTicket(), ALPN, { timeoutMs: 10_000 });
const tunnel = createServer({ allowHalfOpen: true }, (socket) => {
  connection
    .openBi()
    .then((stream) => splice(socket, stream))
    .catch(console.error);
});
const tunnelPort = await listenOn(tunnel);

// A client that knows nothing of all this.
const client = connect({ port: tunnelPort, host: '127.0.0.1', allowHalfOpen: true });
client.end('world');
for await (const answer of client) console.log(String(answer));

tunnel.close();
greeter.close();
await near.close();
await far.close();
await serving;
