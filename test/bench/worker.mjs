// One benchmark process: `worker.mjs serve|client PEER WORKLOAD JSON-OPTIONS`, forked by run.mjs, talks over IPC.
import { readFileSync } from 'node:fs';

const [role, peerName, workload, optionsJson] = process.argv.slice(2);
// JSON has no undefined; null stands for it.
const options = JSON.parse(optionsJson ?? '{}');
for (const [name, value] of Object.entries(options.transport ?? {})) {
  if (value === null) options.transport[name] = undefined;
}
const peer = await import(`./peers/${peerName}.mjs`);
const now = () => performance.now();
const rss = () => {
  // Without --expose-gc this measures what the process holds, not what it needs.
  globalThis.gc?.();
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]);
};
const cpuMs = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};
const percentile = (sorted, p) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))];

if (role === 'serve') {
  const server = await peer.serve(options);
  process.on('message', async (message) => {
    if (message === 'sample') {
      process.send({ ...server.counters, rssKiB: rss(), cpuMs: cpuMs(), at: now() });
    } else if (message === 'cpu') {
      // Without collecting garbage for it, which would be most of what an idle process does.
      process.send({ cpuMs: cpuMs(), at: now() });
    } else if (message === 'count') {
      process.send({ ...server.counters });
    } else if (message === 'close') {
      await server.close();
      process.disconnect();
    }
  });
  process.send({ address: server.address });
} else {
  process.once('message', async ({ address }) => {
    const client = await peer.client(address, options);
    const cpuBefore = cpuMs();
    const result = await workloads[workload](client);
    process.send({ ...result, ...client.counters, cpuMs: cpuMs() - cpuBefore });
    if (result.hold) {
      await new Promise((resolve) => process.once('message', resolve));
    }
    await client.close();
    process.disconnect();
  });
}

const held = [];

const workloads = {
  /** One stream, 64 KiB writes; the parent samples the server's counter. */
  async bulk(client) {
    const connection = await client.connect('bench/sink');
    const sink = await connection.openSink();
    const chunk = new Uint8Array(65_536).fill(1);
    const end = now() + options.seconds * 1000;
    let bytes = 0;
    while (now() < end) {
      await sink.write(chunk);
      bytes += chunk.length;
    }
    await sink.finish();
    return { bytes, stats: connection.stats?.() };
  },

  /** So many bytes on one stream, 64 KiB writes, until the peer has all. */
  async transfer(client) {
    const connection = await client.connect('bench/sink');
    const sink = await connection.openSink();
    const chunk = new Uint8Array(65_536).fill(1);
    const started = now();
    for (let left = options.bytes; left > 0; left -= chunk.length) await sink.write(chunk);
    await sink.finish();
    await sink.acknowledged();
    return { ms: now() - started };
  },

  /** Connect, one 100-byte echo, close; `parallel` at a time, for `seconds` after `warmUpSeconds`. */
  async handshakes(client) {
    const payload = new Uint8Array(100).fill(1);
    const times = [];
    const started = now() + options.warmUpSeconds * 1000;
    const end = started + options.seconds * 1000;
    const worker = async () => {
      for (let begun = now(); begun < end; begun = now()) {
        const connection = await client.connect('bench/echo');
        await connection.echo(payload);
        connection.close();
        if (begun >= started) times.push(now() - begun);
      }
    };
    await Promise.all(Array.from({ length: options.parallel }, worker));
    times.sort((a, b) => a - b);
    return {
      perSecond: (times.length / (now() - started)) * 1000,
      p50: percentile(times, 0.5),
      p99: percentile(times, 0.99),
    };
  },

  /** 100-byte echo, each on a new stream of a warm connection; `inFlight` at a time. */
  async requests(client) {
    const connection = await client.connect('bench/echo');
    const payload = new Uint8Array(100).fill(1);
    for (let i = 0; i < 200; i++) await connection.echo(payload);
    const times = [];
    let left = options.count;
    const worker = async () => {
      while (left-- > 0) {
        const started = now();
        await connection.echo(payload);
        times.push(now() - started);
      }
    };
    const started = now();
    await Promise.all(Array.from({ length: options.inFlight }, worker));
    const elapsed = now() - started;
    times.sort((a, b) => a - b);
    return {
      perSecond: (times.length / elapsed) * 1000,
      p50: percentile(times, 0.5) * 1000,
      p99: percentile(times, 0.99) * 1000,
    };
  },

  /** Opens idle connections and holds them. */
  async idle(client) {
    const connections = [];
    while (connections.length < options.count) {
      const batch = Array.from({ length: Math.min(20, options.count - connections.length) }, async () => {
        const connection = await client.connect('bench/echo');
        await connection.echo(new Uint8Array(1));
        return connection;
      });
      connections.push(...(await Promise.all(batch)));
    }
    // A handle of the binding that nobody holds closes its connection when it is collected.
    held.push(...connections);
    return { hold: true, connections: connections.length };
  },
};
