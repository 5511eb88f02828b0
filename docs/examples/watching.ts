/**
 * Watching what an endpoint does: every decision about its life, its relays, its peers and their paths is a transition of a
 * statechart, and a recorder writes them down. The charts themselves are in docs/machines.
 */
import { Endpoint } from 'iroh-ts';
import { createRecorder, toMermaid } from 'iroh-ts/inspect';
import { remoteMachine } from 'iroh-ts/machines';

const ALPN = 'example/echo/0';
const recorder = createRecorder({ now: () => performance.now() });
const server = await Endpoint.bind({ preset: 'minimal', alpns: [ALPN] });
const client = await Endpoint.bind({ preset: 'minimal', inspect: recorder.inspect });

const serving = (async () => {
  const connection = await (await server.accept())!.accept();
  const { send, recv } = await connection.acceptBi();
  await recv.readable.pipeTo(send.writable);
  await connection.closed;
})();
const connection = await client.connect(server.addr, ALPN, { timeoutMs: 10_000 });
const { send, recv } = await connection.openBi();
await send.write(new TextEncoder().encode('hello'));
send.finish();
await recv.readToEnd(1_000);
await client.close();
await serving;
await server.close();

// `remote 8a88e3dd74` is what the client knows and does about the server. Lines of other kinds are the events that actors
// hear, their states, and what they send to each other.
for (const line of recorder.lines) {
  if (line.kind !== 'transition' || !line.actor.startsWith('remote ') || line.to.length === 0) continue;
  console.log(`${line.event}: ${line.from} → ${line.to.join(', ')}`);
}
// The same for a file: `recorder.toString()` is a line of JSON each. And the chart, for GitHub or mermaid.live:
console.log(toMermaid(remoteMachine));
