// An endpoint without relays that its neighbours find, and that finds them. Uses dist/, as an application would.
import { Endpoint, EndpointId } from '../../dist/index.js';
import { MdnsLookup } from '../../dist/lookup/mdns.js';
import { serve } from './json-lines.mjs';

const ALPN = 'iroh-ts/lab/neighbour';
let endpoint;

const emit = serve({
  bind: async () => {
    const lookup = new MdnsLookup();
    endpoint = await Endpoint.bind({ preset: 'minimal', alpns: [ALPN], lookup });
    void (async () => {
      for await (const incoming of endpoint.incoming())
        void incoming.accept().connected.catch(() => undefined);
    })();
    lookup.discoveryEvents$.subscribe((event) => {
      const { id } = event.type === 'discovered' ? event.addr : event;
      emit({ event: event.type, neighbour: id.toString() });
    });
    return { id: endpoint.id.toString() };
  },
  dial: async ({ remote, timeoutMs }) => {
    const connection = await endpoint.connect(EndpointId.parse(remote), ALPN, { timeoutMs });
    const [{ remoteAddr }] = connection.paths;
    connection.close(0);
    return { remote: remoteAddr.addr.text };
  },
  close: () => endpoint.close(),
});
