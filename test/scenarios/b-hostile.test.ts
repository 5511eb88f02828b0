/** Datagrams from anybody, on the sockets of a live endpoint; and a process that ends by itself. */
import { createSocket } from 'node:dgram';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from '@jest/globals';
import { utf8 } from '../../src/base/bytes.ts';
import { onLoopback, engineOf } from '../support/endpoints.ts';
import { SimRng } from '../support/sim-rng.ts';

const ROUNDS = 1_000;

test(
  'hostile datagrams on live sockets hurt nobody',
  onLoopback(async (place) => {
    const { client, server, ours, theirs } = await place.connect();
    const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
    const rng = new SimRng(seed);
    const targets = [client, server].map((endpoint) => place.addrOf(endpoint).ips[0]!);
    const socket = createSocket('udp4');
    await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
    const sendRaw = (data: Uint8Array, port: number): Promise<void> =>
      new Promise((resolve) => socket.send(data, port, '127.0.0.1', () => resolve()));
    /** What looks like a long header of version 1, cut anywhere, with cids of any length. */
    const longHeader = (): Uint8Array => {
      const data = rng.bytes(rng.pick([1, 6, 7, 21, 40, 1_199, 1_200, 1_472]));
      data.set([0xc0 | rng.below(64), 0, 0, 0, rng.pick([0, 1, 2]), rng.below(22)].slice(0, data.length));
      return data;
    };
    const kinds = [
      () => new Uint8Array(0),
      () => rng.bytes(rng.between(1, 1_500)),
      () => rng.bytes(rng.between(20_000, 65_000)),
      longHeader,
      longHeader,
    ];
    const echoed = (async () => {
      const { send, recv } = await theirs.acceptBi(place.wait);
      await recv.readable.pipeTo(send.writable);
    })();
    const { send, recv } = await ours.openBi();
    for (let round = 0; round < ROUNDS; round++) {
      await sendRaw(rng.pick(kinds)(), rng.pick(targets).port);
      // Sending completes without a turn of the event loop; the endpoints need some.
      if (round % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
      if (round % 100 === 0) await send.write(utf8('still here'));
    }
    send.finish();
    try {
      expect(await recv.readToEnd(10_000, place.wait)).toHaveLength((ROUNDS / 100) * 10);
      await echoed;
      // And nothing was made of it.
      expect(engineOf(theirs).tableSizes).toMatchObject({ connections: 1, pendingIncomings: 0 });
      expect(engineOf(ours).tableSizes).toMatchObject({ connections: 1, pendingIncomings: 0 });
      await place.dial(client, server);
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error });
    } finally {
      await new Promise<void>((resolve) => socket.close(() => resolve()));
    }
  }),
);

const script = `
  import { Endpoint } from '${pathToFileURL(join(fileURLToPath(import.meta.url), '../../../dist/index.js')).href}';
  const local = { preset: 'minimal', bind: ['127.0.0.1:0'] };
  const server = await Endpoint.bind({ ...local, alpns: ['test'] });
  const client = await Endpoint.bind(local);
  const accepted = server.accept().then((incoming) => incoming.accept());
  const ours = await client.connect(server.addr, 'test', { timeoutMs: 10_000 });
  const theirs = await accepted;
  // Waits and promises that nobody looks after.
  void ours.closed; void ours.acceptBi().catch(() => {}); void theirs.pathEvents().next();
  const { send, recv } = await ours.openBi();
  void send.stopped; void recv.resetReceived;
  await send.write(new Uint8Array(100_000));
  void server.accept(); void server.incoming().next();
  await client.close();
  await server.close();
  console.log('closed');
`;

test('a process with closed endpoints ends by itself, without an unhandled rejection', async () => {
  const { stdout, stderr } = await promisify(execFile)(
    process.execPath,
    ['--unhandled-rejections=strict', '--input-type=module', '--eval', script],
    { timeout: 15_000 },
  );
  expect(stdout).toBe('closed\n');
  expect(stderr).toBe('');
});
