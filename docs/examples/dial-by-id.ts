/**
 * Dialling by id alone, with a lookup server of your own: one side publishes its addresses there, the other asks for them.
 * `preset: 'n0'` does the same at servers that n0 runs for everybody, for relays only.
 */
import { Endpoint, PkarrPublisher, PkarrResolver } from 'iroh-ts';
import { DnsServer } from 'iroh-ts/dns-server';

const ALPN = 'example/echo/0';

// `npx iroh-ts dns` runs one that keeps its records in a database. The same names are served by DNS.
let onPublish!: () => void;
const published = new Promise<void>((resolve) => (onPublish = resolve));
const lookupServer = await DnsServer.listen({ onPublish });
const url = lookupServer.pkarrUrl;

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
await lookupServer.close();
