// iroh-ts as a benchmark peer, from dist/.
import { Endpoint, EndpointAddr, systemPlatform } from '../../../dist/index.js';

const decoder = new TextDecoder();
/** One socket, so that there is one path: which one is better is not what is measured. */
const V4_ONLY = {
  ...systemPlatform,
  bindUdp: (request) =>
    request.ip.includes(':') ? Promise.reject(new Error('IPv4 only')) : systemPlatform.bindUdp(request),
};

/** Serves connections: `bench/echo` (each bidi stream comes back), `bench/sink` (bytes are counted and dropped), `bench/source`. */
export function serviceOf(counters) {
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
  return async (connection) => {
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
}

/** What workloads do with a connection. */
export function callerOf(connection) {
  return {
    async echo(bytes) {
      const { send, recv } = await connection.openBi();
      await send.write(bytes);
      send.finish();
      return recv.readToEnd(1 << 20);
    },
    async openSink() {
      const { send } = await connection.openBi();
      return {
        write: (bytes) => send.write(bytes),
        finish: () => send.finish(),
        acknowledged: () => send.stopped,
      };
    },
    stats: () => connection.stats(),
    close: () => connection.close(0, ''),
  };
}

export async function serve(options = {}) {
  const counters = { bytes: 0, connections: 0 };
  const endpoint = await Endpoint.bind({
    preset: 'minimal',
    alpns: ['bench/echo', 'bench/sink', 'bench/source'],
    bind: ['127.0.0.1:0'],
    ...(options.isV4Only ? { platform: V4_ONLY } : {}),
    ...(options.engine ? { engine: options.engine } : {}),
    ...(options.inspect ? { inspect: options.inspect(counters) } : {}),
    ...(options.transport ? { transport: options.transport } : {}),
  });
  const serveConnection = serviceOf(counters);
  void (async () => {
    for await (const incoming of endpoint.incoming()) {
      void (async () => serveConnection(await incoming.accept().connected))().catch(() => {});
    }
  })();
  return { address: endpoint.addr.toTicket(), counters, close: () => endpoint.close() };
}

/** Dials; with `options.endpoints` each connection has an endpoint, and so a key, of its own. */
export async function client(ticket, options = {}) {
  const address = EndpointAddr.from(ticket);
  const counters = {};
  const endpoints = [];
  const bind = async () => {
    const endpoint = await Endpoint.bind({
      preset: 'minimal',
      bind: options.endpoints ? ['127.0.0.1:0', '[::1]:0'] : ['127.0.0.1:0'],
      ...(options.isV4Only ? { platform: V4_ONLY } : {}),
      ...(options.engine ? { engine: options.engine } : {}),
      ...(options.inspect ? { inspect: options.inspect(counters) } : {}),
      ...(options.transport ? { transport: options.transport } : {}),
    });
    endpoints.push(endpoint);
    return endpoint;
  };
  const only = options.endpoints ? undefined : await bind();
  return {
    counters,
    connect: async (alpn) => callerOf(await (only ?? (await bind())).connect(address, alpn)),
    close: () => Promise.all(endpoints.map((endpoint) => endpoint.close())),
  };
}
