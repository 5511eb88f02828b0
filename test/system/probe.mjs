// A UDP socket in a namespace, driven by JSON lines: what nat-kinds.test.ts measures NAT with.
//   in:  { id, cmd: 'bind', host, port? } → { address, port } · { id, cmd: 'send', host, port, text } · { id, cmd: 'quit' }
//   out: { event: 'datagram', host, port, text } for everything that arrives
import { createSocket } from 'node:dgram';
import { serve } from './json-lines.mjs';

let socket;

const emit = serve({
  bind: ({ host, port = 0 }) =>
    new Promise((resolve, reject) => {
      socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
      socket.once('error', reject);
      socket.on('message', (data, from) =>
        emit({ event: 'datagram', host: from.address, port: from.port, text: data.toString() }),
      );
      socket.bind(port, host, () =>
        resolve({ address: socket.address().address, port: socket.address().port }),
      );
    }),
  send: ({ host, port, text }) =>
    new Promise((resolve, reject) =>
      socket.send(text, port, host, (error) => (error ? reject(error) : resolve())),
    ),
});
