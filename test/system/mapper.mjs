// An endpoint without relays that has its router open a port, or that dials one. Uses dist/, as an application would.
import { Endpoint, EndpointAddr } from '../../dist/index.js';
import { serve } from './json-lines.mjs';

const ALPN = 'iroh-ts/lab/mapped';
const lines = [];
let endpoint;

serve({
  bind: async ({ portMapper }) => {
    endpoint = await Endpoint.bind({
      preset: 'minimal',
      alpns: [ALPN],
      portMapper,
      logger: { debug: (line) => void lines.push(line) },
    });
    void (async () => {
      for await (const incoming of endpoint.incoming())
        void incoming.accept().connected.catch(() => undefined);
    })();
    return { id: endpoint.id.toString() };
  },
  /** Waits for an address with this IP. */
  mapped: ({ ip, timeoutMs }) =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`not mapped: ${lines.join('\n')}`)), timeoutMs);
      endpoint.addr$.subscribe(({ ips }) => {
        const found = ips.find((addr) => addr.ip === ip);
        if (found === undefined) return;
        clearTimeout(timer);
        resolve({
          addr: String(found),
          how: lines.find((line) => line.includes(' leads to '))?.split(', by ')[1],
        });
      });
    }),
  dial: async ({ remote: id, addr, timeoutMs }) => {
    const mapped = EndpointAddr.fromJSON({ id, addrs: [{ Ip: addr }] });
    const connection = await endpoint.connect(mapped, ALPN, { timeoutMs });
    const [{ remoteAddr }] = connection.paths;
    connection.close(0);
    return { remote: remoteAddr.addr.text };
  },
  close: () => endpoint.close(),
});
