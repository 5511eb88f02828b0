/**
 * 0-RTT: after a first connection the next one carries data in its very first packet. Such data can be replayed by an
 * attacker, so it must be harmless to receive twice; and the server may refuse it, then it is sent again.
 */
import { Endpoint, type Connection } from 'iroh-ts';

const ALPN = 'example/zero-rtt/0';
const server = await Endpoint.bind({ preset: 'minimal', alpns: [ALPN] });
const client = await Endpoint.bind({ preset: 'minimal' });

const serving = (async () => {
  for await (const incoming of server.incoming()) {
    // `early()` answers before the handshake is complete; who asks is not known yet.
    const connection = incoming.accept().early();
    const { send, recv } = await connection.acceptBi();
    await recv.readable.pipeTo(send.writable);
    await connection.closed;
  }
})();

async function ask(connection: Connection, question: string): Promise<string> {
  const { send, recv } = await connection.openBi();
  await send.write(new TextEncoder().encode(question));
  send.finish();
  return new TextDecoder().decode(await recv.readToEnd(1_000));
}

// The first connection brings session tickets.
const first = await client.connect(server.addr, ALPN, { timeoutMs: 10_000 });
console.log(await ask(first, 'one round trip for the handshake, then one for this'));
first.close();

const connecting = client.dial(server.addr, ALPN);
const early = await connecting.early();
if (early === undefined) throw new Error('no session ticket arrived');
const answer = ask(early.connection, 'this is in the first packet');
const isAccepted = await early.accepted;
console.log(`early data ${isAccepted ? 'accepted' : 'refused'}`);
// Refused early data is gone; the connection itself goes on.
console.log(isAccepted ? await answer : await ask(await connecting, 'so here it is again'));

await client.close();
await server.close();
await serving;
