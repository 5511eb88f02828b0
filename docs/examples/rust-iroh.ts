/**
 * Talking to Rust iroh, in both directions: by a ticket, and by an id and a relay alone. `@number0/iroh` is the Rust
 * implementation behind a native binding (`npm install @number0/iroh`); a Rust program is reached in the same way.
 */
import {
  Endpoint as RustEndpoint,
  EndpointAddr as RustAddr,
  EndpointId as RustId,
  EndpointTicket,
  RelayMap,
  RelayMode,
} from '@number0/iroh';
import { Endpoint } from 'iroh-ts';
import { RelayServer } from 'iroh-ts/relay-server';

const ALPN = 'example/echo/0';
const encode = (text: string): number[] => [...new TextEncoder().encode(text)];
const decode = (bytes: readonly number[]): string => new TextDecoder().decode(Uint8Array.from(bytes));

// A relay of ours that both use; without one, n0's would do: `preset: 'n0'` here, `applyN0()` there.
const relay = await RelayServer.listen();
const relays = RelayMap.empty();
relays.insert({ url: relay.url.href });
const builder = RustEndpoint.builder();
builder.applyMinimal();
builder.relayMode(RelayMode.custom(relays));
builder.alpns([encode(ALPN)]);
const rust = await builder.bind();
const ours = await Endpoint.bind({
  preset: 'minimal',
  alpns: [ALPN],
  relay: [{ url: relay.url, quicPort: false }],
});

// We dial by a ticket, Rust answers.
const answering = (async () => {
  const accepting = await (await rust.acceptNext())!.accept();
  const stream = await (await accepting.connect()).acceptBi();
  const heard = await stream.recv.readToEnd(1_000);
  await stream.send.writeAll(encode(`Rust heard: ${decode(heard)}`));
  await stream.send.finish();
  await stream.send.stopped();
})();
const ticket = EndpointTicket.fromAddr(rust.addr()).toString();
const connection = await ours.connect(ticket, ALPN, { timeoutMs: 10_000 });
const { send, recv } = await connection.openBi();
await send.write(new TextEncoder().encode('hello from TypeScript'));
send.finish();
console.log(new TextDecoder().decode(await recv.readToEnd(1_000)));
await answering;
connection.close();

// Rust dials, we answer. It knows our id and our relay; a direct path is found once the two have met.
await ours.online({ timeoutMs: 10_000 });
const serving = (async () => {
  const incoming = await (await ours.accept())!.accept();
  const stream = await incoming.acceptBi();
  const heard = await stream.recv.readToEnd(1_000);
  await stream.send.write(new TextEncoder().encode(`TypeScript heard: ${new TextDecoder().decode(heard)}`));
  stream.send.finish();
  await incoming.closed;
})();
const addr = new RustAddr(RustId.fromString(ours.id.toString()), relay.url.href, []);
const dialled = await rust.connect(addr, encode(ALPN));
const stream = await dialled.openBi();
await stream.send.writeAll(encode('hello from Rust'));
await stream.send.finish();
console.log(decode(await stream.recv.readToEnd(1_000)));
dialled.close(0n, encode('bye'));
await serving;

await ours.close();
await rust.close();
await relay.close();
