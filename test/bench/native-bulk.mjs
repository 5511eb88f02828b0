// `native-bulk.mjs source|sink`, forked by run.mjs: 32 MiB on one stream from or to a real iroh endpoint (`@number0/iroh`) in
// a process of its own, handed to it or taken from it in one call, because its bytes are arrays of numbers. Sends MB/s
// between the first and the last stream byte at our side.
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const BYTES = 32 * 1024 * 1024;
const [direction, role] = process.argv.slice(2);

if (role === 'native') await beNative();
else await measure();

/** The real endpoint: serves one connection. */
async function beNative() {
  const { createRequire } = await import('node:module');
  const { Endpoint } = createRequire(import.meta.url)('@number0/iroh');
  // Made before anything is timed. Filled, so that it is one block of small integers.
  const bytes = direction === 'source' ? new Array(BYTES).fill(7) : undefined;
  const builder = Endpoint.builder();
  builder.applyMinimal();
  builder.bindAddr('127.0.0.1:0');
  builder.alpns([Array.from(Buffer.from('bench/native'))]);
  const endpoint = await builder.bind();
  process.send({ id: endpoint.id().toString(), addrs: endpoint.boundSockets() });
  const connection = await (await (await endpoint.acceptNext()).accept()).connect();
  const { send, recv } = await connection.acceptBi();
  if (bytes !== undefined) {
    await send.writeAll(bytes);
    await send.finish();
  } else {
    const received = await recv.readToEnd(BYTES);
    await send.writeAll([received.length === BYTES ? 1 : 0]);
    await send.finish();
  }
  await connection.closed();
  await endpoint.close();
  process.disconnect();
}

/** Our side: dials and takes the time. */
async function measure() {
  const { Endpoint, EndpointAddr, EndpointId, parseAddr } = await import('../../dist/index.js');
  const child = fork(fileURLToPath(import.meta.url), [direction, 'native'], { stdio: 'inherit' });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const { id, addrs } = await new Promise((resolve) => child.once('message', resolve));
  const remote = new EndpointAddr(
    EndpointId.parse(id),
    addrs.map((text) => ({ type: 'ip', addr: parseAddr(text) })),
  );
  const endpoint = await Endpoint.bind({ preset: 'minimal', bind: ['127.0.0.1:0'] });
  const connection = await endpoint.connect(remote, 'bench/native', { timeoutMs: 20_000 });
  const { send, recv } = await connection.openBi();
  let started;
  let received = 0;
  if (direction === 'source') {
    // The peer learns of the stream by its first bytes.
    await send.write(Uint8Array.of(1));
    for (let chunk = await recv.read(); chunk !== null; chunk = await recv.read()) {
      started ??= performance.now();
      received += chunk.length;
    }
    if (received !== BYTES) throw new Error(`${received} bytes arrived`);
  } else {
    const chunk = new Uint8Array(65_536).fill(7);
    started = performance.now();
    for (let left = BYTES; left > 0; left -= chunk.length) await send.write(chunk);
    send.finish();
    // Resolves once the peer acknowledged everything.
    await send.stopped;
  }
  const elapsed = performance.now() - started;
  if (direction === 'sink' && (await recv.readToEnd(1))[0] !== 1) throw new Error('bytes are missing');
  connection.close(0, '');
  await endpoint.close();
  await ended;
  process.send({ value: BYTES / elapsed / 1000 });
  process.disconnect();
}
