// One of ours as a peer in a namespace. Uses dist/, as an application would.
import { Endpoint, EndpointAddr, EndpointId, RelayUrl } from '../../dist/index.js';
import { servePeer } from './peer-commands.mjs';

function wrapBi({ send, recv }) {
  return {
    write: (bytes) => send.write(bytes),
    finish: () => send.finish(),
    read: async () => (await recv.read()) ?? new Uint8Array(0),
  };
}

function tell({ remoteAddr }) {
  return remoteAddr.type === 'relay'
    ? { kind: 'relay', remote: remoteAddr.url.href }
    : { kind: 'ip', remote: remoteAddr.addr.text };
}

function toPem(der) {
  return `-----BEGIN CERTIFICATE-----\n${der.match(/.{1,64}/g).join('\n')}\n-----END CERTIFICATE-----\n`;
}

function wrapConnection(connection) {
  return {
    remoteId: connection.remoteId.toString(),
    closed: connection.closed.then(String),
    selected() {
      const path = connection.paths.find(({ isSelected }) => isSelected);
      return path && tell(path);
    },
    onPaths: (callback) => void connection.paths$.subscribe(callback),
    openBi: async () => wrapBi(await connection.openBi()),
    acceptBi: async () => wrapBi(await connection.acceptBi()),
    close: () => connection.close(0),
  };
}

servePeer({
  async bind({ relays, quicPort, roots, alpn, portMapper }) {
    const endpoint = await Endpoint.bind({
      preset: 'minimal',
      alpns: [alpn],
      portMapper,
      relay: relays.map((url) => ({ url, quicPort: quicPort ?? false })),
      tls: roots && { roots: roots.map(toPem) },
    });
    return {
      id: endpoint.id.toString(),
      sockets: () => endpoint.boundSockets.map(String),
      addr: () => ({ relay: endpoint.addr.relays[0]?.href, direct: endpoint.addr.ips.map(String) }),
      online: () => endpoint.online(),
      addExternalAddr: (addr) => void endpoint.externalAddrs.add(addr),
      dial: async ({ remote, relay, alpn }) => {
        const addr = new EndpointAddr(EndpointId.parse(remote), [
          { type: 'relay', url: RelayUrl.parse(relay) },
        ]);
        return wrapConnection(await endpoint.connect(addr, alpn));
      },
      async accept() {
        for (;;) {
          const incoming = await endpoint.accept();
          if (incoming === undefined) return undefined;
          try {
            return wrapConnection(await incoming.accept().connected);
          } catch {
            // A dial that was given up: the next one.
          }
        }
      },
      close: () => endpoint.close(),
    };
  },
});
