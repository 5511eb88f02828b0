/**
 * Dialling by id alone, with a lookup server of your own: one side publishes its addresses there, the other asks for them.
 * `preset: 'n0'` does the same at servers that n0 runs for everybody, for relays only.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Endpoint, PkarrPublisher, PkarrResolver } from 'iroh-ts';

const ALPN = 'example/echo/0';

// The least that such a server does: it keeps one signed packet for each id. Who asks checks the signature.
const packets = new Map<string, Buffer>();
const lookupServer = createServer((request, response) => {
  const path = request.url!;
  if (request.method === 'PUT') {
    request.once('data', (packet: Buffer) => {
      packets.set(path, packet);
      response.writeHead(204).end();
      lookupServer.emit('published');
    });
  } else response.writeHead(packets.has(path) ? 200 : 404).end(packets.get(path));
});
await once(lookupServer.listen(0, '127.0.0.1'), 'listening');
const url = `http://127.0.0.1:${(lookupServer.address() as AddressInfo).port}/pkarr`;

const published = once(lookupServer, 'published');
const server = await Endpoint.bind({
  preset: 'minimal',
  alpns: [ALPN],
  // It signs with the endpoint's key. By default it would publish relays only, and there are none here.
  lookup: (endpoint) => new PkarrPublisher({ ...endpoint, url, filter: (addrs) => addrs }),
});
await published;
const serving = (async () => {
  const connection = await (await server.accept())!.accept();
  const { send, recv } = await connection.acceptBi();
  await recv.readable.pipeTo(send.writable);
  await connection.closed;
})();

const client = await Endpoint.bind({ preset: 'minimal', lookup: new PkarrResolver({ url }) });
const connection = await client.connect(server.id, ALPN, { timeoutMs: 10_000 });
const { send, recv } = await connection.openBi();
await send.write(new TextEncoder().encode('hello'));
send.finish();
console.log(new TextDecoder().decode(await recv.readToEnd(1_000)));

await client.close();
await serving;
await server.close();
lookupServer.close();
