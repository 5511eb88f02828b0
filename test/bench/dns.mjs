// The lookup server in a process of its own: puts and gets per second over HTTP, questions per second over UDP, each with its
// latency, and memory, with so many records in its database.
//
//   npm run -s build && node test/bench/dns.mjs [--records 10000] [--puts 2000] [--gets 20000] [--connections 64]
//   node test/bench/dns.mjs --url http://127.0.0.1:8080/pkarr --dns 127.0.0.1:5300 --origin irohdns.example
//
// With --url another server is measured, one without a rate limit: it gets what is put here, and is asked for that.
import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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
    puts: { type: 'string', default: '2000' },
    gets: { type: 'string', default: '20000' },
    connections: { type: 'string', default: '64' },
    url: { type: 'string' },
    dns: { type: 'string' },
    origin: { type: 'string', default: 'irohdns.example' },
  },
});
const [RECORDS, PUTS, GETS, CONNECTIONS] = ['records', 'puts', 'gets', 'connections'].map((name) =>
  Number(values[name]),
);
const folder = mkdtempSync(join(tmpdir(), 'iroh-ts-bench-dns-'));
const database = join(folder, 'signed-packets.sqlite');
const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });

const micros = () => BigInt(Date.now()) * 1_000n;
const strings = ['relay=https://euc1-1.relay.n0.iroh.link./'];
const newPacket = () => SignedPacket.sign(SecretKey.generate(), { strings, timestampMicros: micros() });
/** In a packet: signature and timestamp, the header of the message, `_iroh`, and a length. */
const KEY_LABEL_AT = 72 + 12 + 6 + 1;
const keyOf = (i) => {
  const key = Buffer.alloc(32, 0x5a);
  key.writeUInt32BE(i);
  return key;
};

/** Straight into the database: what is stored was verified before, and is not looked at again. */
async function fill() {
  const store = await SqliteRecordStore.open({
    file: database,
    clock: systemPlatform.clock,
    maxRecords: Infinity,
  });
  const payload = newPacket().toRelayPayload();
  for (let i = 0; i < RECORDS; i += 10_000) {
    const count = Math.min(10_000, RECORDS - i);
    await Promise.all(
      Array.from({ length: count }, (_, j) => {
        const own = payload.slice();
        own.set(Buffer.from(encodeZ32(keyOf(i + j))), KEY_LABEL_AT);
        return store.put(keyOf(i + j), own);
      }),
    );
  }
  await store.close();
}

async function startServer() {
  writeFileSync(
    join(folder, 'dns.toml'),
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
  const main = join(import.meta.dirname, '..', '..', 'dist', 'cli', 'main.js');
  const child = spawn(process.execPath, [main, 'dns'], { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (data) => (said += data));
  while (!/records in/.test(said)) {
    await Promise.race([once(child.stderr, 'data'), once(child, 'exit')]);
    if (child.exitCode !== null) throw new Error(said);
  }
  return {
    child,
    url: /lookup server at (\S+)/.exec(said)[1],
    dns: /DNS at (\S+)/.exec(said)[1],
    residentMiB: () =>
      Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))[1]) / 1_024,
  };
}

function http(url, method, body) {
  return new Promise((resolve, reject) => {
    const asked = request(url, { method, agent }, (response) => {
      response.on('data', () => undefined);
      response.on('end', () => resolve(response.statusCode));
    });
    asked.on('error', reject);
    asked.end(body);
  });
}

/** Runs `count` times, `CONNECTIONS` at a time; prints rate and latency. */
async function measure(name, count, act) {
  const times = [];
  let next = 0;
  const startedAt = performance.now();
  const worker = async () => {
    while (next < count) {
      const i = next++;
      const at = performance.now();
      await act(i);
      times.push(performance.now() - at);
    }
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, worker));
  const rate = count / ((performance.now() - startedAt) / 1_000);
  times.sort((a, b) => a - b);
  const at = (part) => times[Math.floor(times.length * part)].toFixed(1);
  console.log(
    `${name.padEnd(16)} ${rate.toFixed(0).padStart(7)} /s   median ${at(0.5)} ms   p99 ${at(0.99)} ms   longest ${times.at(-1).toFixed(1)} ms`,
  );
}

function expectStatus(expected, status) {
  if (status !== expected) throw new Error(`status ${status} instead of ${expected}`);
}

let server;
try {
  if (values.url === undefined) {
    await fill();
    server = await startServer();
  }
  const { url, dns } = server ?? values;
  const packets = Array.from({ length: PUTS }, newPacket).map((packet) => ({
    z32: packet.id.toZ32(),
    body: Buffer.from(packet.toRelayPayload()),
  }));
  const before = server?.residentMiB();
  await measure('puts', PUTS, async (i) =>
    expectStatus(204, await http(`${url}/${packets[i].z32}`, 'PUT', packets[i].body)),
  );
  const random = (below) => Math.floor(Math.random() * below);
  const stored = () => (server ? encodeZ32(keyOf(random(RECORDS))) : packets[random(PUTS)].z32);
  await measure('gets', GETS, async () => expectStatus(200, await http(`${url}/${stored()}`, 'GET')));
  if (dns !== undefined) {
    const [, ip, port] = /^(.*):(\d+)$/.exec(dns);
    const socket = createSocket('udp4');
    const waiting = new Map();
    socket.on('message', (message) => {
      const id = message.readUInt16BE(0);
      if (message.readUInt16BE(6) === 0) throw new Error('no answer');
      waiting.get(id)?.();
      waiting.delete(id);
    });
    await measure('questions (UDP)', GETS, async (i) => {
      const name = `_iroh.${stored()}.${values.origin}`;
      const id = i & 0xffff;
      const query = dnsPacket.encode({ type: 'query', id, questions: [{ name, type: 'TXT' }] });
      await new Promise((resolve) => {
        waiting.set(id, resolve);
        socket.send(query, Number(port), ip);
      });
    });
    socket.close();
  }
  if (server !== undefined) {
    const size = (statSync(database).size / 1_048_576).toFixed(0);
    console.log(
      `${RECORDS} records: ${size} MiB of database, ${before.toFixed(0)} MiB resident at first, ${server.residentMiB().toFixed(0)} MiB at last`,
    );
  }
} finally {
  agent.destroy();
  server?.child.kill('SIGTERM');
  if (server !== undefined) await once(server.child, 'exit');
  rmSync(folder, { recursive: true, force: true });
}
