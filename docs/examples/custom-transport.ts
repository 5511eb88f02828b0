/**
 * A transport of your own: two endpoints of one process that talk through memory, without a socket. Anything that carries
 * datagrams of up to 1,472 bytes will do: a serial line, a radio, a data channel.
 */
import { Endpoint, EndpointAddr, systemPlatform, type CustomSocket, type CustomTransport } from 'iroh-ts';

const ALPN = 'example/echo/0';
/** Both ends use the same number. 0 to 0x1f are reserved. */
const TRANSPORT_ID = 0x2an;

/** Who is where. Addresses are bytes of the transport's own making; here they are names. */
const wires = new Map<string, CustomSocket>();

function memoryTransport(name: string): CustomTransport {
  const own = new TextEncoder().encode(name);
  return {
    id: TRANSPORT_ID,
    bind() {
      const socket: CustomSocket = {
        localAddrs: [own],
        // These two are set by the endpoint, for us to call.
        onLocalAddrs: undefined,
        onDatagrams: undefined,
        send(to, data) {
          // The bytes may change once we return, and nothing arrives while it is being sent.
          const datagram = { from: own, data: data.slice() };
          const peer = wires.get(new TextDecoder().decode(to));
          setImmediate(() => peer?.onDatagrams?.([datagram]));
        },
        close: () => void wires.delete(name),
      };
      wires.set(name, socket);
      return socket;
    },
  };
}

// Without UDP, to show that it needs none; with it, both would be used and the better one chosen.
const platform = { ...systemPlatform, bindUdp: undefined };
const server = await Endpoint.bind({
  preset: 'minimal',
  platform,
  alpns: [ALPN],
  transports: [memoryTransport('server')],
});
const client = await Endpoint.bind({ preset: 'minimal', platform, transports: [memoryTransport('client')] });

const serving = (async () => {
  const connection = await (await server.accept())!.accept();
  const { send, recv } = await connection.acceptBi();
  await recv.readable.pipeTo(send.writable);
  await connection.closed;
})();

// `server.addr` has it, too; and so has its ticket.
const data = new TextEncoder().encode('server');
const addr = new EndpointAddr(server.id, [{ type: 'custom', id: TRANSPORT_ID, data }]);
const connection = await client.connect(addr, ALPN, { timeoutMs: 10_000 });
const [path] = connection.paths;
console.log(`over a ${path!.remoteAddr.type} transport`);
const { send, recv } = await connection.openBi();
await send.write(new TextEncoder().encode('hello'));
send.finish();
console.log(new TextDecoder().decode(await recv.readToEnd(1_000)));

await client.close();
await serving;
await server.close();
