/** Relays and peers as processes of their own that are killed and paused (SIGKILL, SIGSTOP) while bytes flow. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from '@jest/globals';
import { systemPlatform } from '#transport/system-platform';
import { Endpoint, EndpointAddr, type Connection, type EndpointOptions } from '../../src/index.ts';
import { ALPN, WAIT, failure } from '../support/endpoints.ts';
import { Flow } from '../support/flow.ts';
import { endPrograms, irohTs, runNode, ticketOf } from '../support/program.ts';

const INDEX = join(import.meta.dirname, '..', '..', 'dist', 'index.js');
/** Short, so that a dead peer is known soon. */
const transport = { maxIdleTimeoutMs: 4_000, keepAliveIntervalMs: 500 };
const clock = systemPlatform.clock;
const endpoints: Endpoint[] = [];

afterEach(async () => {
  await Promise.all(endpoints.splice(0).map((endpoint) => endpoint.close({ timeoutMs: 100 })));
  await endPrograms();
});

const sleep = (ms: number): Promise<void> => new Promise((resolve) => clock.setTimeout(resolve, ms));

async function bind(options: EndpointOptions): Promise<Endpoint> {
  const endpoint = await Endpoint.bind({ preset: 'minimal', bind: ['127.0.0.1:0'], transport, ...options });
  endpoints.push(endpoint);
  return endpoint;
}

/** A relay as a process, and two endpoints here that have nothing else. */
async function meetAtRelay(): Promise<{
  relay: ReturnType<typeof irohTs>;
  client: Endpoint;
  ours: Connection;
  theirs: Connection;
  flows: Flow[];
}> {
  const folder = mkdtempSync(join(tmpdir(), 'iroh-ts-kill-'));
  const config = join(folder, 'relay.toml');
  writeFileSync(config, 'http_bind_addr = "127.0.0.1:0"\nenable_metrics = false\n');
  const relay = irohTs(['relay', '--config-path', config]);
  const [, url] = await relay.says(/relay server at (http:\S+)/);
  rmSync(folder, { recursive: true });
  const options = { relay: [url!], pathPolicy: 'relay' } as const;
  const server = await bind({ ...options, alpns: [ALPN] });
  const client = await bind(options);
  await Promise.all([client.online(WAIT), server.online(WAIT)]);
  const accepted = server.accept(WAIT).then((incoming) => incoming!.accept().connected);
  const ours = await client.connect(server.addr, ALPN, WAIT);
  const theirs = await accepted;
  const flows = [new Flow(ours, theirs, clock), new Flow(theirs, ours, clock)];
  await sleep(500);
  return { relay, client, ours, theirs, flows };
}

test('the relay is paused for two seconds: the streams go on where they were', async () => {
  const { relay, ours, flows } = await meetAtRelay();
  relay.kill('SIGSTOP');
  await sleep(100);
  const before = flows.map(({ read }) => read);
  await sleep(2_000);
  expect(flows.map(({ read }) => read)).toEqual(before);
  relay.kill('SIGCONT');
  await sleep(2_000);
  expect(ours.closeReason).toBeUndefined();
  for (const flow of flows) {
    await flow.finish();
    expect(flow.written).toBeGreaterThan(10_000);
  }
  for (const { longestGapMs } of flows) expect(longestGapMs).toBeGreaterThan(1_900);
}, 30_000);

test('the relay is paused for good: connections time out, and close does not wait for it', async () => {
  const { relay, client, ours, theirs, flows } = await meetAtRelay();
  relay.kill('SIGSTOP');
  const start = clock.now();
  for (const { closed } of [ours, theirs])
    expect(await closed).toMatchObject({ code: 'ConnectionError.TimedOut' });
  expect(clock.now() - start).toBeLessThan(10_000);
  await Promise.all(flows.map(({ done }) => done));
  const closing = clock.now();
  await client.close({ timeoutMs: 200 });
  expect(clock.now() - closing).toBeLessThan(1_500);
}, 30_000);

test('the relay is killed: connections that had nothing else time out, and nobody hangs', async () => {
  const { relay, ours, flows } = await meetAtRelay();
  relay.kill('SIGKILL');
  await relay.ended();
  const start = clock.now();
  expect(await ours.closed).toMatchObject({ code: 'ConnectionError.TimedOut' });
  expect(clock.now() - start).toBeLessThan(10_000);
  await Promise.all(flows.map(({ done }) => done));
  for (const flow of flows) expect(flow.read).toBeLessThanOrEqual(flow.written);
}, 30_000);

const PEER = `
  import { Endpoint } from ${JSON.stringify(INDEX)};
  const endpoint = await Endpoint.bind({ preset: 'minimal', bind: ['127.0.0.1:0'], alpns: ['${ALPN}'], transport: ${JSON.stringify(transport)} });
  console.log(endpoint.addr.toTicket());
  for await (const incoming of endpoint.incoming()) {
    const connection = await incoming.accept().connected;
    for (let stream = connection.acceptBi(); ; stream = connection.acceptBi()) {
      const { send, recv } = await stream;
      for await (const data of recv) await send.write(data);
      send.finish();
    }
  }`;

async function meetPeer(): Promise<{ peer: ReturnType<typeof runNode>; ours: Connection }> {
  const peer = runNode(['--input-type=module', '-e', PEER]);
  const client = await bind({});
  const ours = await client.connect(EndpointAddr.fromTicket(await ticketOf(peer)), ALPN, WAIT);
  return { peer, ours };
}

test('the peer is paused for two seconds: what it echoes is complete', async () => {
  const { peer, ours } = await meetPeer();
  const { send, recv } = await ours.openBi(WAIT);
  const sent: number[] = [];
  const echoed = recv.readToEnd(1_000_000, { timeoutMs: 20_000 });
  for (let i = 0; i < 100; i++) {
    if (i === 20) peer.kill('SIGSTOP');
    if (i === 80) peer.kill('SIGCONT');
    const data = Uint8Array.from({ length: 500 }, (_, at) => (i * 31 + at) & 0xff);
    sent.push(...data);
    await send.write(data);
    await sleep(33);
  }
  send.finish();
  expect(Buffer.from(await echoed).equals(Buffer.from(sent))).toBe(true);
}, 30_000);

test('the peer is killed: known within the idle time-out', async () => {
  const { peer, ours } = await meetPeer();
  const { send, recv } = await ours.openBi(WAIT);
  await send.write(new Uint8Array(1_000));
  expect((await recv.readExact(1_000)).length).toBe(1_000);
  peer.kill('SIGKILL');
  const start = clock.now();
  expect(await failure(recv.read())).toMatchObject({ code: 'ReadError.ConnectionLost' });
  expect(await ours.closed).toMatchObject({ code: 'ConnectionError.TimedOut' });
  expect(clock.now() - start).toBeLessThan(10_000);
}, 30_000);
