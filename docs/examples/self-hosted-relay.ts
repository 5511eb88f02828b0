/**
 * A relay of your own, and two endpoints that meet there knowing nothing of each other but a key. `npx iroh-ts relay` runs the
 * same server from a configuration file.
 */
import { Endpoint, EndpointAddr } from 'iroh-ts';
import { RelayServer } from 'iroh-ts/relay-server';

const ALPN = 'example/echo/0';
// For this host alone. On the internet it wants `tls: { bind: '0.0.0.0:443', certFile, keyFile }` as well, a `hostname`, and
// `addressDiscovery: { bind: '0.0.0.0:7842' }`, from which endpoints learn their public addresses.
const relay = await RelayServer.listen({
  bind: '127.0.0.1:0',
  access: 'everyone',
});

// `quicPort` is where its address discovery is; this one has none.
const known = [{ url: relay.url, quicPort: false as const }];
const server = await Endpoint.bind({ preset: 'minimal', alpns: [ALPN], relay: known });
const client = await Endpoint.bind({ preset: 'minimal', relay: known });
// From now on whoever knows the server's id and its relay can reach it.
await server.online({ timeoutMs: 10_000 });

const serving = (async () => {
  const connection = await (await server.accept())!.accept();
  const { send, recv } = await connection.acceptBi();
  await recv.readable.pipeTo(send.writable);
  await connection.closed;
})();

const addr = new EndpointAddr(server.id, [{ type: 'relay', url: relay.url }]);
const connection = await client.connect(addr, ALPN, { timeoutMs: 10_000 });
// The connection begins at the relay, and looks for a direct path by itself.
for await (const event of connection.pathEvents()) {
  if (event.type !== 'selected') continue;
  console.log(event.remoteAddr.type === 'relay' ? 'relayed' : 'direct');
  if (event.remoteAddr.type === 'ip') break;
}
const { send, recv } = await connection.openBi();
await send.write(new TextEncoder().encode('hello'));
send.finish();
console.log(new TextDecoder().decode(await recv.readToEnd(1_000)));

await client.close();
await serving;
await server.close();
await relay.close();
