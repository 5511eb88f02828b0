// One process of the relay bench: `server`, `forwarder`, or `client`.
import { createHash } from 'node:crypto';
import { WebSocket, WebSocketServer } from 'ws';
import { SecretKey } from '../../dist/crypto/keys.js';
import { encodeDatagrams } from '../../dist/relay/frames.js';
import { ClientHandshake, relayIdentity } from '../../dist/relay/handshake.js';
import { RelayServer } from '../../dist/relay-server.js';

/** Messages under way at a time: less than the relay's queue, so that none is dropped. */
const WINDOW = 256;
/** The receiver confirms so many at once. */
const ACK_EVERY = 32;
const HEADER_BYTES = 34;

const say = (message) => process.send(message);

/** What a `ws` server that only forwards does: everything goes to the other connection. */
async function forwarder() {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false });
  await new Promise((resolve) => server.once('listening', resolve));
  const sockets = [];
  server.on('connection', (socket) => {
    socket._socket.setNoDelay(true);
    const me = sockets.push(socket) - 1;
    socket.on('message', (data) => sockets[me ^ 1].send(data, { binary: true }));
  });
  say({ url: `ws://127.0.0.1:${server.address().port}` });
}

async function server() {
  const relay = await RelayServer.listen();
  say({ url: relay.url.href });
  process.on('message', (message) => {
    if (message.type === 'memory') {
      globalThis.gc();
      globalThis.gc();
      const { rss, heapUsed, external, arrayBuffers } = process.memoryUsage();
      say({ clients: relay.clientCount, rss, heapUsed, external, arrayBuffers, cpu: process.cpuUsage() });
    }
    if (message.type === 'metrics') say(relay.metrics());
  });
}

function keyOf(number) {
  return SecretKey.fromBytes(createHash('sha256').update(String(number)).digest());
}

/** Opens a connection, for a relay through its handshake. */
function open(url, isRelay, key) {
  return new Promise((resolve, reject) => {
    const target = isRelay ? `${url.replace('http', 'ws')}relay` : url;
    const ws = new WebSocket(target, isRelay ? ['iroh-relay-v2'] : [], { perMessageDeflate: false });
    ws.on('error', reject);
    if (!isRelay) return ws.on('open', () => resolve(ws));
    const handshake = new ClientHandshake(relayIdentity(key));
    ws.on('message', function onMessage(data) {
      const step = handshake.handleMessage(new Uint8Array(data));
      if (step.type === 'reply') return ws.send(step.message);
      ws.removeListener('message', onMessage);
      resolve(ws);
    });
  });
}

function client() {
  let ws;
  const held = [];
  const commands = {
    async open({ url, isRelay, number }) {
      ws = await open(url, isRelay, keyOf(number));
      ws._socket.setNoDelay(true);
      say({ opened: true });
    },
    /** Sends so many messages; done when the last one is confirmed. */
    send({ isRelay, peer, count, bytes }) {
      const contents = new Uint8Array(bytes).fill(7);
      const id = keyOf(peer).publicKey.toBytes();
      const message = () =>
        isRelay
          ? encodeDatagrams('client', { peer: id, ecn: 0, segmentBytes: 0, contents })
          : contents.slice();
      let sent = 0;
      let confirmed = 0;
      const started = process.hrtime.bigint();
      const pump = () => {
        while (sent < count && sent - confirmed < WINDOW) {
          ws.send(message());
          sent++;
        }
      };
      ws.on('message', function onAck() {
        confirmed += ACK_EVERY;
        if (confirmed < count) return pump();
        ws.removeListener('message', onAck);
        say({ seconds: Number(process.hrtime.bigint() - started) / 1e9 });
      });
      pump();
    },
    receive({ isRelay, peer, count, bytes }) {
      const id = keyOf(peer).publicKey.toBytes();
      const expected = bytes + (isRelay ? HEADER_BYTES : 0);
      const ack = () =>
        isRelay
          ? encodeDatagrams('client', { peer: id, ecn: 0, segmentBytes: 0, contents: new Uint8Array(1) })
          : new Uint8Array(1);
      let received = 0;
      ws.on('message', function onMessage(data) {
        if (data.length !== expected) throw new Error(`${data.length} bytes`);
        if (++received % ACK_EVERY === 0) ws.send(ack());
        if (received < count) return;
        ws.removeListener('message', onMessage);
        say({ received });
      });
      say({ ready: true });
    },
    /** Opens many connections, some at a time, and keeps them. */
    async crowd({ url, from, count, parallel }) {
      const started = process.hrtime.bigint();
      let next = from;
      const worker = async () => {
        while (next < from + count) held.push(await open(url, true, keyOf(next++)));
      };
      await Promise.all(Array.from({ length: parallel }, worker));
      say({ seconds: Number(process.hrtime.bigint() - started) / 1e9 });
    },
    end() {
      ws?.terminate();
      for (const each of held) each.terminate();
      process.disconnect();
    },
  };
  process.on('message', (message) => void commands[message.type](message));
}

await { server, forwarder, client }[process.argv[2]]();
