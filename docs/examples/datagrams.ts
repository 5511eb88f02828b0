/** Datagrams: small messages that may be lost and are never sent again, for what is stale before it could be repeated. */
import { Endpoint } from 'iroh-ts';

const ALPN = 'example/datagrams/0';
const server = await Endpoint.bind({ preset: 'minimal', alpns: [ALPN] });
const client = await Endpoint.bind({ preset: 'minimal' });

const serving = (async () => {
  const connection = await (await server.accept())!.accept();
  for await (const datagram of connection.datagrams()) connection.sendDatagram(datagram);
})();

const connection = await client.connect(server.addr, ALPN, { timeoutMs: 10_000 });
// Grows while the path's MTU is explored.
console.log(`up to ${connection.maxDatagramSize} bytes at a time`);
let answers = 0;
for (let i = 0; i < 10; i++) {
  connection.sendDatagram(Uint8Array.of(i));
  const answer = await connection.readDatagram({ timeoutMs: 1_000 }).catch(() => undefined);
  if (answer !== undefined) answers++;
}
console.log(`${answers} of 10 came back`);

await client.close();
await server.close();
await serving;
