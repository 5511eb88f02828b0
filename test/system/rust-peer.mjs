// Real iroh from test/interop/rust-peer (npm run rust:build) as a peer in a namespace: unlike the binding of native-peer.mjs
// it can be told which certification authority to trust, so that it asks our relay for its public address.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { servePeer } from './peer-commands.mjs';

const rust = spawn(fileURLToPath(new URL('../../.rust/target/release/rust-peer', import.meta.url)), [], {
  stdio: ['pipe', 'pipe', 'inherit'],
});
const pending = new Map();
let nextId = 1;
const pathWatchers = new Map();
createInterface({ input: rust.stdout }).on('line', (text) => {
  const line = JSON.parse(text);
  if (line.event === 'path') pathWatchers.get(line.connection)?.(line.path);
  const waiting = pending.get(line.id);
  pending.delete(line.id);
  if (line.error) waiting?.reject(new Error(line.error.message));
  else waiting?.resolve(line.ok ?? {});
});

function call(cmd, fields = {}) {
  const id = nextId++;
  rust.stdin.write(`${JSON.stringify({ id, cmd, ...fields })}\n`);
  return new Promise((resolve, reject) => pending.set(id, { resolve, reject }));
}

function wrapBi({ stream }) {
  return {
    write: (bytes) => call('write', { stream, data: Buffer.from(bytes).toString('base64') }),
    finish: () => call('finish', { stream }),
    read: async () => Buffer.from((await call('read', { stream })).data ?? '', 'base64'),
  };
}

const kindOf = (remote) => ({ kind: remote.startsWith('http') ? 'relay' : 'ip', remote });

async function wrapConnection({ connection, remote }) {
  let selected;
  let callback = () => undefined;
  pathWatchers.set(connection, (event) => {
    if (event.type !== 'selected') return;
    selected = kindOf(event.remote);
    callback();
  });
  await call('watchPaths', { connection });
  const present = (await call('paths', { connection })).paths.find((path) => path.selected);
  if (selected === undefined && present !== undefined) selected = kindOf(present.remote);
  return {
    remoteId: remote,
    closed: call('closed', { connection }).then(JSON.stringify, String),
    selected: () => selected,
    onPaths: (listener) => (callback = listener),
    openBi: async () => wrapBi(await call('openBi', { connection })),
    acceptBi: async () => wrapBi(await call('acceptBi', { connection })),
    close: () => call('close', { connection, code: 0, reason: '' }),
  };
}

servePeer({
  async bind({ relays, quicPort, roots, alpn }) {
    const bound = await call('bind', { relays, alpns: [alpn], relayQuicPort: quicPort, roots });
    const { endpoint } = bound;
    return {
      id: bound.endpointId,
      sockets: () => bound.sockets,
      async addr() {
        const { addrs } = await call('addr', { endpoint });
        return {
          relay: addrs.find((addr) => addr.startsWith('http')),
          direct: addrs.filter((addr) => !addr.startsWith('http')),
        };
      },
      online: () => call('online', { endpoint }),
      addExternalAddr: (addr) => call('addExternalAddr', { endpoint, addr }),
      dial: async ({ remote, relay, alpn }) =>
        wrapConnection(await call('dial', { endpoint, remote, addrs: [relay], alpn })),
      async accept() {
        for (;;) {
          try {
            const accepted = await call('accept', { endpoint });
            return accepted.connection === undefined ? undefined : await wrapConnection(accepted);
          } catch {
            // A dial that was given up: the next one.
          }
        }
      },
      close: () => call('closeEndpoint', { endpoint }),
    };
  },
});
