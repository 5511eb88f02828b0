// @number0/iroh (Rust iroh through its npm binding) as a benchmark peer. Its bytes are Array<number>: converting is what
// a program with byte buffers must do, so it is part of the measurement.
import { createRequire } from 'node:module';

const { Endpoint, EndpointAddr, EndpointId } = createRequire(import.meta.url)('@number0/iroh');
const encoder = new TextEncoder();
const bytesOf = (text) => Array.from(encoder.encode(text));

async function bind(alpns) {
  const builder = Endpoint.builder();
  builder.applyMinimal();
  builder.bindAddr('127.0.0.1:0');
  builder.alpns(alpns.map(bytesOf));
  return builder.bind();
}

export async function serve() {
  const endpoint = await bind(['bench/echo', 'bench/sink']);
  const counters = { bytes: 0, connections: 0 };
  const serveConnection = async (connection) => {
    counters.connections++;
    const alpn = Buffer.from(connection.alpn()).toString();
    try {
      for (;;) {
        const { send, recv } = await connection.acceptBi();
        void (alpn === 'bench/echo' ? echo(send, recv) : sink(recv)).catch(() => {});
      }
    } catch {
      // The connection ended.
    } finally {
      counters.connections--;
    }
  };
  const echo = async (send, recv) => {
    const data = Uint8Array.from(await recv.readToEnd(1 << 20));
    await send.writeAll(Array.from(data));
    await send.finish();
  };
  const sink = async (recv) => {
    for (;;) {
      const chunk = Uint8Array.from(await recv.read(65_536));
      if (chunk.length === 0) return;
      counters.bytes += chunk.length;
    }
  };
  void (async () => {
    for (;;) {
      const incoming = await endpoint.acceptNext();
      if (incoming === null) return;
      void (async () => serveConnection(await (await incoming.accept()).connect()))().catch(() => {});
    }
  })();
  const address = JSON.stringify({ id: endpoint.id().toString(), addrs: endpoint.boundSockets() });
  return { address, counters, close: () => endpoint.close() };
}

export async function client(address) {
  const endpoint = await bind([]);
  const { id, addrs } = JSON.parse(address);
  const remote = new EndpointAddr(EndpointId.fromString(id), null, addrs);
  return {
    async connect(alpn) {
      const connection = await endpoint.connect(remote, bytesOf(alpn));
      return {
        async echo(bytes) {
          const { send, recv } = await connection.openBi();
          await send.writeAll(Array.from(bytes));
          await send.finish();
          return Uint8Array.from(await recv.readToEnd(1 << 20));
        },
        async openSink() {
          const { send } = await connection.openBi();
          return { write: (bytes) => send.writeAll(Array.from(bytes)), finish: () => send.finish() };
        },
        close: () => connection.close(0n, []),
      };
    },
    close: () => endpoint.close(),
  };
}
