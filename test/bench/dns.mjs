// Lookup servers in processes of their own, ours and (if `npm run rust:build` was run) upstream's: puts and gets per second over
// HTTP, questions per second over UDP, each with latency and processor time, and memory, with so many records in their databases.
//
//   npm run -s build && node test/bench/dns.mjs [--records 10000] [--puts 10000] [--gets 20000] [--connections 64]
//     [--rate 500] [--only ours|rust] [--folder DIR]
//   node test/bench/dns.mjs --url http://127.0.0.1:8080/pkarr --dns 127.0.0.1:5300 --origin irohdns.example
//
// --folder: where the databases are and stay, for the next run with as many records. With --url another server is measured, one
// without a rate limit: it gets what is put here, and is asked for that. How many there are per second is measured with as much under
// way as connections allow; latency then, and once more with `--rate` requests per second, however long they take.
import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import dnsPacket from 'dns-packet';
import { SignedPacket } from '../../dist/address-lookup/signed-packet.js';
import { encodeZ32 } from '../../dist/base/encoding.js';
import { SecretKey } from '../../dist/index.js';
import { SqliteRecordStore } from '../../dist/transport/sqlite-record-store.js';
import { systemPlatform } from '../../dist/transport/system-platform.js';

const { values } = parseArgs({
  options: {
    records: { type: 'string', default: '10000' },
    puts: { type: 'string', default: '10000' },
    gets: { type: 'string', default: '20000' },
    connections: { type: 'string', default: '64' },
    rate: { type: 'string', default: '500' },
    only: { type: 'string' },
    folder: { type: 'string' },
    url: { type: 'string' },
    dns: { type: 'string' },
    origin: { type: 'string', default: 'irohdns.example' },
  },
});
const [RECORDS, PUTS, GETS, CONNECTIONS, RATE] = ['records', 'puts', 'gets', 'connections', 'rate'].map(
  (name) => Number(values[name]),
);
/** How long requests come at that rate. */
const RATE_SECONDS = 6;
const root = join(import.meta.dirname, '..', '..');
const rustPeer = join(root, '.rust/target/release/rust-peer');
const folder = values.folder ?? mkdtempSync(join(tmpdir(), 'iroh-ts-bench-dns-'));

const micros = () => BigInt(Date.now()) * 1_000n;
const strings = ['relay=https://euc1-1.relay.n0.iroh.link./'];
const newPacket = () => SignedPacket.sign(SecretKey.generate(), { strings, timestampMicros: micros() });
const random = (below) => Math.floor(Math.random() * below);

/** In a packet: signature and timestamp, the header of the message, `_iroh`, and a length. */
const KEY_LABEL_AT = 72 + 12 + 6 + 1;
function ourKey(i) {
  const key = Buffer.alloc(32, 0x5a);
  // Spread over all keys, as real ones are; in order, because that is quicker to write.
  key.writeUInt32BE(Math.floor((i / RECORDS) * 2 ** 32));
  key.writeUInt32BE(i, 4);
  return key;
}

/** Puts at a time; the store is busy with more than 8,192. */
const FILL_PUTS = 8_000;

/** Through the store, past the checks: only the first packet is signed, and stored ones are not looked at again. */
async function fillOurs(file) {
  const { clock } = systemPlatform;
  const store = await SqliteRecordStore.open({ file, clock, maxRecords: Infinity });
  const payload = newPacket().toRelayPayload();
  for (let i = store.size; i < RECORDS; i += FILL_PUTS) {
    const count = Math.min(FILL_PUTS, RECORDS - i);
    const outcomes = await Promise.all(
      Array.from({ length: count }, (_, j) => {
        const key = ourKey(i + j);
        const own = payload.slice();
        own.set(Buffer.from(encodeZ32(key)), KEY_LABEL_AT);
        return store.put(key, own);
      }),
    );
    if (outcomes.some((outcome) => outcome !== 'inserted')) throw new Error('not all records were stored');
  }
  await store.close();
}

async function startOurs() {
  const own = join(folder, 'ours');
  const database = join(own, 'signed-packets.sqlite');
  mkdirSync(own, { recursive: true });
  await fillOurs(database);
  writeFileSync(
    join(own, 'dns.toml'),
    `data_dir = "."
[http]
bind_addr = "127.0.0.1"
port = 0
rate_limit = "disabled"
[dns]
bind_addr = "127.0.0.1"
port = 0
[metrics]
disabled = true
`,
  );
  const main = join(root, 'dist', 'cli', 'main.js');
  const child = spawn(process.execPath, ['--no-warnings', main, 'dns'], {
    cwd: own,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr.on('data', (data) => (said += data));
  while (!/records in/.test(said)) {
    await Promise.race([once(child.stderr, 'data'), once(child, 'exit')]);
    if (child.exitCode !== null) throw new Error(said);
  }
  return {
    name: `ours (Node ${process.versions.node})`,
    pid: child.pid,
    database,
    url: /lookup server at (\S+)/.exec(said)[1],
    dns: /DNS at (\S+)/.exec(said)[1],
    stored: () => encodeZ32(ourKey(random(RECORDS))),
    stop: async () => {
      child.kill('SIGTERM');
      await once(child, 'exit');
    },
  };
}

/** Upstream's, with packets that it would have taken. */
async function startRust() {
  const dataDir = join(folder, 'rust');
  const keysFile = join(dataDir, 'keys');
  mkdirSync(dataDir, { recursive: true });
  const child = spawn(rustPeer, { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const call = async (command) => {
    child.stdin.write(`${JSON.stringify({ id: 1, ...command })}\n`);
    for (;;) {
      const { value, done } = await lines.next();
      if (done) throw new Error('the Rust peer has ended');
      const { id, ok, error } = JSON.parse(value);
      if (error) throw new Error(error.message);
      if (id === 1) return ok;
    }
  };
  if (!existsSync(keysFile)) await call({ cmd: 'lookup.fill', dataDir, keysFile, records: RECORDS });
  const keys = readFileSync(keysFile);
  const { url, dnsAddr } = await call({
    cmd: 'lookup.listen',
    dataDir,
    origins: [`${values.origin}.`, '.'],
  });
  return {
    name: 'upstream (Rust)',
    pid: child.pid,
    database: join(dataDir, 'signed-packets-1.db'),
    url: `${url}pkarr`,
    dns: dnsAddr,
    stored: () => encodeZ32(keys.subarray((random(RECORDS) % (keys.length / 32)) * 32).subarray(0, 32)),
    stop: async () => {
      child.stdin.end();
      await once(child, 'exit');
    },
  };
}

/** MiB. */
function residentOf(pid) {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1_024;
}

/** Processor time of a process so far, µs; the kernel counts in hundredths of a second. */
function processorTimeOf(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10_000;
}

/** One connection of HTTP/1.1 that asks one thing after the other: no client of Node's, which would take longer than a server. */
class HttpConnection {
  static async open(url) {
    const { hostname, port } = new URL(url);
    const socket = connect(Number(port), hostname);
    socket.setNoDelay(true);
    await once(socket, 'connect');
    return new HttpConnection(socket);
  }

  constructor(socket) {
    this.socket = socket;
    this.received = '';
    socket.on('data', (data) => {
      this.received += data.latin1Slice();
      const end = this.received.indexOf('\r\n\r\n');
      if (end < 0) return;
      const length = Number(/\r\ncontent-length: (\d+)/i.exec(this.received.slice(0, end))?.[1] ?? 0);
      if (this.received.length < end + 4 + length) return;
      const status = Number(this.received.slice(9, 12));
      this.received = '';
      this.resolve(status);
    });
    socket.on('close', () => this.reject?.(new Error('a connection was closed')));
  }

  /** Resolves to the status. */
  ask(bytes) {
    return new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
      this.socket.write(bytes);
    });
  }
}

function httpRequest(url, method, body = Buffer.alloc(0)) {
  const { host, pathname } = new URL(url);
  const length = method === 'PUT' ? `Content-Length: ${body.length}\r\n` : '';
  return Buffer.concat([
    Buffer.from(`${method} ${pathname} HTTP/1.1\r\nHost: ${host}\r\n${length}\r\n`, 'latin1'),
    body,
  ]);
}

/** Asks over UDP, and again after a second of silence. */
class UdpClient {
  constructor(addr) {
    [, this.ip, this.port] = /^(.*):(\d+)$/.exec(addr);
    this.socket = createSocket('udp4');
    this.waiting = new Map();
    this.lost = 0;
    this.socket.on('message', (message) => {
      const id = message.readUInt16BE(0);
      if (message.readUInt16BE(6) === 0) throw new Error('no answer');
      this.waiting.get(id)?.();
      this.waiting.delete(id);
    });
  }

  async ask(i, name) {
    const id = i & 0xffff;
    const query = dnsPacket.encode({ type: 'query', id, questions: [{ name, type: 'TXT' }] });
    const answered = new Promise((resolve) => this.waiting.set(id, resolve));
    const send = () => this.socket.send(query, Number(this.port), this.ip);
    send();
    const again = setInterval(() => {
      this.lost++;
      send();
    }, 1_000);
    await answered;
    clearInterval(again);
  }
}

const percentileOf = (sorted, part) => sorted[Math.floor(sorted.length * part)].toFixed(1);

function print(what, name, rate, times, used = '') {
  times.sort((a, b) => a - b);
  console.log(
    `${what.padEnd(26)} ${name.padEnd(20)} ${rate.toFixed(0).padStart(7)} /s   median ${percentileOf(times, 0.5)} ms   p99 ${percentileOf(times, 0.99)} ms   longest ${times.at(-1).toFixed(1)} ms   ${used}`,
  );
}

/** Runs `count` times, `CONNECTIONS` at a time; prints rate, latency and what it cost the server. */
async function measure(what, { name, pid }, count, act) {
  const times = [];
  let next = 0;
  const usedBefore = pid && processorTimeOf(pid);
  const startedAt = performance.now();
  const worker = async (_, slot) => {
    while (next < count) {
      const i = next++;
      const at = performance.now();
      await act(i, slot);
      times.push(performance.now() - at);
    }
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, worker));
  const rate = count / ((performance.now() - startedAt) / 1_000);
  const used = pid ? `${((processorTimeOf(pid) - usedBefore) / count).toFixed(0)} µs processor` : '';
  print(what, name, rate, times, used);
}

/** Before requests at a rate: what many at once have left behind, as logs that are to be written back, ms. */
const REST_MS = 2_000;

/** Runs `RATE` times a second, on a connection that is free or becomes so; prints latency since the moment it was due. */
async function measureAtRate(what, { name }, act) {
  await new Promise((resolve) => setTimeout(resolve, REST_MS));
  const times = [];
  const count = RATE * RATE_SECONDS;
  const free = Array.from({ length: CONNECTIONS }, (_, slot) => slot);
  const waiting = [];
  const startedAt = performance.now();
  let failure;
  const run = async (i, slot) => {
    await act(i, slot);
    times.push(performance.now() - startedAt - (i / RATE) * 1_000);
    if (waiting.length > 0) return run(waiting.shift(), slot);
    free.push(slot);
  };
  for (let i = 0; times.length < count && failure === undefined;) {
    for (; i < count && (i / RATE) * 1_000 <= performance.now() - startedAt; i++) {
      if (free.length === 0) waiting.push(i);
      else run(i, free.pop()).catch((error) => (failure = error));
    }
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  if (failure !== undefined) throw failure;
  print(`${what}, at a rate`, name, RATE, times);
}

function expectStatus(expected, status) {
  if (status !== expected) throw new Error(`status ${status} instead of ${expected}`);
}

const packets = Array.from({ length: PUTS + RATE * RATE_SECONDS }, newPacket).map((packet) => ({
  z32: packet.id.toZ32(),
  body: Buffer.from(packet.toRelayPayload()),
}));
const servers = [];
try {
  if (values.url !== undefined)
    servers.push({
      name: values.url,
      url: values.url,
      dns: values.dns,
      stored: () => packets[random(PUTS)].z32,
    });
  else {
    if (values.only !== 'rust') servers.push(await startOurs());
    if (values.only !== 'ours' && existsSync(rustPeer)) servers.push(await startRust());
  }
  const started = servers.map(({ pid }) => pid && residentOf(pid));
  const connections = await Promise.all(
    servers.map(({ url }) =>
      Promise.all(Array.from({ length: CONNECTIONS }, () => HttpConnection.open(url))),
    ),
  );
  const phases = [
    ['puts', PUTS, (server, i) => [204, 'PUT', packets[i].z32, packets[i].body]],
    ['gets', GETS, (server) => [200, 'GET', server.stored()]],
  ];
  for (const [what, count, toRequest] of phases)
    for (const [n, server] of servers.entries()) {
      const act = async (i, slot) => {
        const [status, method, z32, body] = toRequest(server, i);
        expectStatus(
          status,
          await connections[n][slot].ask(httpRequest(`${server.url}/${z32}`, method, body)),
        );
      };
      await measure(what, server, count, act);
      await measureAtRate(what, server, (i, slot) => act(count + i, slot));
    }
  for (const server of servers) {
    if (server.dns === undefined) continue;
    const client = new UdpClient(server.dns);
    const ask = (i) => client.ask(i, `_iroh.${server.stored()}.${values.origin}`);
    await measure('questions (UDP)', server, GETS, ask);
    await measureAtRate('questions (UDP)', server, ask);
    client.socket.close();
    if (client.lost > 0) console.log(`${client.lost} questions or answers were lost`);
  }
  for (const [n, { name, pid, database }] of servers.entries()) {
    if (pid === undefined) continue;
    const size = (statSync(database).size / 1_048_576).toFixed(0);
    console.log(
      `${name}: ${RECORDS} records, ${size} MiB of database, ${started[n].toFixed(0)} MiB resident at first, ${residentOf(pid).toFixed(0)} MiB at last`,
    );
  }
  for (const { socket } of connections.flat()) socket.destroy();
} finally {
  for (const { stop } of servers) await stop?.();
  if (values.folder === undefined) rmSync(folder, { recursive: true, force: true });
}
