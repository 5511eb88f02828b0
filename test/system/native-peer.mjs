// A real iroh endpoint (@number0/iroh) as a peer in a namespace.
import { createRequire } from 'node:module';
import { servePeer } from './peer-commands.mjs';

const { Endpoint, EndpointAddr, EndpointId, RelayMap, RelayMode, setLogLevel } = createRequire(
  import.meta.url,
)('@number0/iroh');
const READ_BYTES = 65_536;
/** How often paths are looked at. */
const POLL_MS = 5;

const logLevel = process.env['IROH_TS_LAB_REAL_LOG'];
if (logLevel !== undefined) setLogLevel(logLevel[0].toUpperCase() + logLevel.slice(1));

function wrapBi({ send, recv }) {
  return {
    write: (bytes) => send.writeAll(Array.from(bytes)),
    finish: () => send.finish(),
    read: async () => Uint8Array.from(await recv.read(READ_BYTES)),
  };
}

function wrapConnection(connection) {
  return {
    remoteId: connection.remoteId().toString(),
    closed: connection.closed().catch(String),
    selected() {
      const path = connection.paths().find(({ isSelected }) => isSelected);
      return path && { kind: path.isIp ? 'ip' : 'relay', remote: path.remoteAddr };
    },
    // The binding's watchPaths aborts the process (1.1.0: "there is no reactor running").
    onPaths(callback) {
      const timer = setInterval(callback, POLL_MS);
      void connection
        .closed()
        .catch(String)
        .then(() => clearInterval(timer));
    },
    openBi: async () => wrapBi(await connection.openBi()),
    acceptBi: async () => wrapBi(await connection.acceptBi()),
    close: () => connection.close(0n, []),
  };
}

servePeer({
  async bind({ relays, alpn }) {
    const builder = Endpoint.builder();
    builder.applyMinimal();
    builder.alpns([Array.from(Buffer.from(alpn))]);
    const map = RelayMap.empty();
    // No address discovery: the binding would ask and then not trust the certificate, and every report waits for that.
    for (const url of relays) map.insert({ url });
    builder.relayMode(RelayMode.custom(map));
    const endpoint = await builder.bind();
    return {
      id: endpoint.id().toString(),
      sockets: () => endpoint.boundSockets(),
      addr: () => ({
        relay: endpoint.addr().relayUrl() ?? undefined,
        direct: endpoint.addr().directAddresses(),
      }),
      online: () => endpoint.online(),
      addExternalAddr: (addr) => endpoint.addExternalAddr(addr),
      dial: async ({ remote, relay, addrs = [], alpn }) =>
        wrapConnection(
          await endpoint.connect(
            new EndpointAddr(EndpointId.fromString(remote), relay ?? null, addrs),
            Array.from(Buffer.from(alpn)),
          ),
        ),
      async accept() {
        for (;;) {
          const incoming = await endpoint.acceptNext();
          if (incoming === null) return undefined;
          try {
            return wrapConnection(await (await incoming.accept()).connect());
          } catch {
            // A dial that was given up: the next one.
          }
        }
      },
      close: () => endpoint.close(),
    };
  },
});
