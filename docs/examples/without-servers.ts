/**
 * Dialling by id alone, without any server for it: one side publishes its addresses to BitTorrent's Mainline DHT, the other
 * looks there. Arguments: `host:port` of first nodes, for a DHT of your own; none for the public one.
 */
import { Endpoint } from 'iroh-ts';
import { DhtLookup } from 'iroh-ts/lookup/dht';

const ALPN = 'example/echo/0';
const bootstrap = process.argv.length > 2 ? process.argv.slice(2) : undefined;

let onPublish!: () => void;
const published = new Promise<void>((resolve) => (onPublish = resolve));
const server = await Endpoint.bind({
  preset: 'minimal',
  alpns: [ALPN],
  // By default only relays are published: the DHT is public, and remembers for hours. There are none here.
  lookup: (endpoint) => new DhtLookup({ ...endpoint, bootstrap, filter: (addrs) => addrs, onPublish }),
});
await published;
const serving = (async () => {
  const connection = await (await server.accept())!.accept();
  const { send, recv } = await connection.acceptBi();
  await recv.readable.pipeTo(send.writable);
  await connection.closed;
})();

// Without a key it publishes nothing.
const client = await Endpoint.bind({ preset: 'minimal', lookup: new DhtLookup({ bootstrap }) });
const connection = await client.connect(server.id, ALPN, { timeoutMs: 30_000 });
const { send, recv } = await connection.openBi();
await send.write(new TextEncoder().encode('hello'));
send.finish();
console.log(new TextDecoder().decode(await recv.readToEnd(1_000)));

await client.close();
await serving;
await server.close();
