// A real iroh endpoint (@number0/iroh) in a process of its own: its bytes are Array<number>, and turning megabytes into
// those would slow down whoever shares the event loop. Driven over the IPC channel of fork():
//   in:  { connect: { id, addr } }, { source: bytes }, { sink: true }, { close: true }
//   out: { id, addr } at the start, { connected }, { bytes, sha256 } for each source and sink.
import { createHash, randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';

const { Endpoint, EndpointAddr, EndpointId } = createRequire(import.meta.url)('@number0/iroh');
const alpn = Array.from(Buffer.from('iroh-ts/interop/0'));
/** One write or read; odd, so that chunks and packets do not line up. */
const CHUNK = 262_147;

const builder = Endpoint.builder();
builder.applyMinimal();
builder.bindAddr('127.0.0.1:0');
builder.alpns([alpn]);
const endpoint = await builder.bind();
let connection;

const accepting = (async () => {
  const incoming = await endpoint.acceptNext();
  if (incoming === null || connection !== undefined) return;
  connection = await (await incoming.accept()).connect();
  process.send({ connected: true });
})();

const commands = {
  async connect({ id, addr }) {
    connection = await endpoint.connect(new EndpointAddr(EndpointId.fromString(id), null, [addr]), alpn);
    process.send({ connected: true });
  },
  /** Sends so many bytes on a new unidirectional stream: one random chunk again and again. */
  async source(bytes) {
    const send = await connection.openUni();
    const chunk = randomBytes(CHUNK);
    const array = Array.from(chunk);
    const hash = createHash('sha256');
    for (let left = bytes; left > 0; left -= CHUNK) {
      const isLast = left < CHUNK;
      hash.update(isLast ? chunk.subarray(0, left) : chunk);
      await send.writeAll(isLast ? array.slice(0, left) : array);
    }
    await send.finish();
    await send.stopped();
    process.send({ bytes, sha256: hash.digest('hex') });
  },
  /** Reads the next unidirectional stream. */
  async sink() {
    const recv = await connection.acceptUni();
    const hash = createHash('sha256');
    let bytes = 0;
    for (;;) {
      const chunk = Uint8Array.from(await recv.read(CHUNK));
      if (chunk.length === 0) break;
      bytes += chunk.length;
      hash.update(chunk);
    }
    process.send({ bytes, sha256: hash.digest('hex') });
  },
  async close() {
    await endpoint.close();
    await accepting;
    process.disconnect();
  },
};

process.on('message', (message) => {
  const [[name, argument]] = Object.entries(message);
  void commands[name](argument);
});
process.send({ id: endpoint.id().toString(), addr: endpoint.addr().directAddresses()[0] });
