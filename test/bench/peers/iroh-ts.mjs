// iroh-ts as a benchmark peer, from dist/.
import { Endpoint, EndpointAddr } from '../../../dist/index.js';

const decoder = new TextDecoder();

/** Serves `bench/echo` (each bidi stream comes back) and `bench/sink` (bytes are counted and dropped). */
export async function serve(options = {}) {
  const endpoint = await Endpoint.bind({
    preset: 'minimal',
    alpns: ['bench/echo', 'bench/sink', 'bench/source'],
    bind: ['127.0.0.1:0'],
    ...(options.transport ? { transport: options.transport } : {}),
  });
  const counters = { bytes: 0, connections: 0 };
  const serveConnection = async (connection) => {
    counters.connections++;
    const alpn = decoder.decode(connection.alpn);
    try {
      for (;;) {
        const { send, recv } = await connection.acceptBi();
        void (
          alpn === 'bench/echo' ? echo(send, recv) : alpn === 'bench/sink' ? sink(recv) : source(send, recv)
        ).catch(() => {});
      }
    } catch {
      // The connection ended.
    } finally {
      counters.connections--;
    }
  };
  const echo = async (send, recv) => {
    const data = await recv.readToEnd(1 << 20);
    await send.write(data);
    send.finish();
  };
  const sink = async (recv) => {
    for (;;) {
      const chunk = await recv.read();
      if (chunk === null) return;
      counters.bytes += chunk.length;
    }
  };
  const source = async (send, recv) => {
    const chunk = new Uint8Array(65_536).fill(7);
    const size = Number(decoder.decode(await recv.readToEnd(100)));
    for (let left = size; left > 0; left -= chunk.length)
      await send.write(chunk.subarray(0, Math.min(left, chunk.length)));
    send.finish();
  };
  void (async () => {
    for await (const incoming of endpoint.incoming()) {
      void (async () => serveConnection(await incoming.accept().connected))().catch(() => {});
    }
  })();
  return { address: endpoint.addr.toTicket(), counters, close: () => endpoint.close() };
}

/** A dialling endpoint. */
export async function client(ticket, options = {}) {
  const address = EndpointAddr.from(ticket);
  const endpoint = await Endpoint.bind({
    preset: 'minimal',
    bind: ['127.0.0.1:0'],
    ...(options.transport ? { transport: options.transport } : {}),
  });
  return {
    async connect(alpn) {
      const connection = await endpoint.connect(address, alpn);
      return {
        async echo(bytes) {
          const { send, recv } = await connection.openBi();
          await send.write(bytes);
          send.finish();
          return recv.readToEnd(1 << 20);
        },
        async openSink() {
          const { send } = await connection.openBi();
          return { write: (bytes) => send.write(bytes), finish: () => send.finish() };
        },
        stats: () => connection.stats(),
        close: () => connection.close(0, ''),
      };
    },
    close: () => endpoint.close(),
  };
}
