/**
 * Dialling by id alone in a local network, without any server: who is there is heard of. Run it on two machines of one network,
 * or as here on one.
 */
import { Endpoint } from 'iroh-ts';
import { MdnsLookup } from 'iroh-ts/lookup/mdns';

const ALPN = 'example/echo/0';

// Everybody who uses iroh on the network is found without the name; with it, only who has the same.
const serviceName = 'local-network-example';

const server = await Endpoint.bind({
  preset: 'minimal',
  alpns: [ALPN],
  lookup: new MdnsLookup({ serviceName }),
});
const serving = (async () => {
  const connection = await (await server.accept())!.accept();
  const { send, recv } = await connection.acceptBi();
  await recv.readable.pipeTo(send.writable);
  await connection.closed;
})();

// One that only listens: nobody hears of it.
const lookup = new MdnsLookup({ serviceName, advertise: false });
const client = await Endpoint.bind({ preset: 'minimal', lookup });
lookup.discoveryEvents$.subscribe((event) => {
  if (event.type === 'discovered' && event.addr.id.equals(server.id)) console.log('the server is here');
});

const connection = await client.connect(server.id, ALPN, { timeoutMs: 10_000 });
const { send, recv } = await connection.openBi();
await send.write(new TextEncoder().encode('hello'));
send.finish();
console.log(new TextDecoder().decode(await recv.readToEnd(1_000)));

await client.close();
await serving;
await server.close();
