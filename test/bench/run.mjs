// `npm run bench [-- NAME …] [--runs N]`: macro benchmarks over loopback, iroh-ts and its peers in turn within each run,
// fresh processes every time; prints medians and ratios. Absolute figures mean little on a shared machine, ratios do.
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { packetProfile } from './packet-profile.mjs';
import { median, pair, sleep, start } from './processes.mjs';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: 'string', default: '5' },
    peers: { type: 'string', default: 'iroh-ts,quiche,number0' },
  },
});
const runs = Number(values.runs);
const peers = values.peers.split(',');
const benches = {
  bulk: {
    unit: 'MB/s',
    higherIsBetter: true,
    run: (peer) =>
      pair(peer, 'bulk', { seconds: 6 }, async (server, client, address) => {
        const done = client.ask({ address });
        await sleep(1_500);
        const first = await server.ask('sample');
        await sleep(4_000);
        const last = await server.ask('sample');
        await done;
        return (last.bytes - first.bytes) / (last.at - first.at) / 1000;
      }),
  },
  'from-real-iroh': script('MB/s', true, 'native-bulk.mjs', ['source']),
  'to-real-iroh': script('MB/s', true, 'native-bulk.mjs', ['sink']),
  'handshakes-1': handshakes({ warmUpSeconds: 8, parallel: 1 }),
  // A process that has compiled what it needs, as one that has run for a while.
  'handshakes-1-warm': handshakes({ warmUpSeconds: 30, parallel: 1 }),
  'handshakes-50': handshakes({ warmUpSeconds: 8, parallel: 50 }),
  latency: {
    unit: 'µs p50',
    higherIsBetter: false,
    run: (peer) =>
      pair(
        peer,
        'requests',
        { count: 5000, inFlight: 1 },
        async (_server, client, address) => (await client.ask({ address })).p50,
      ),
  },
  'requests-100': {
    unit: '/s',
    higherIsBetter: true,
    run: (peer) =>
      pair(
        peer,
        'requests',
        { count: 50_000, inFlight: 100 },
        async (_server, client, address) => (await client.ask({ address })).perSecond,
      ),
  },
  memory: {
    unit: 'KiB/conn',
    higherIsBetter: false,
    run: (peer) =>
      pair(peer, 'idle', { count: 1000 }, async (server, client, address) => {
        const before = await server.ask('sample');
        await client.ask({ address });
        await sleep(2_000);
        const after = await server.ask('sample');
        client.child.send('end');
        return (after.rssKiB - before.rssKiB) / 1000;
      }),
  },
  'growth-connections': script('× beside 10,000', false, 'growth.mjs', ['connections', '10000']),
  'growth-streams': script('× beside 10,000', false, 'growth.mjs', ['streams', '10000']),
  'idle-cpu': {
    unit: 'ms/s',
    higherIsBetter: false,
    run: (peer) => idleCpu(peer, {}),
  },
  'idle-cpu-no-keep-alive': {
    unit: 'ms/s',
    higherIsBetter: false,
    only: ['iroh-ts'],
    run: (peer) =>
      idleCpu(peer, {
        transport: {
          keepAliveIntervalMs: null,
          pathKeepAliveIntervalMs: null,
          maxIdleTimeoutMs: 120_000,
          pathMaxIdleTimeoutMs: null,
        },
      }),
  },
};

/** Connections per second. */
function handshakes(options) {
  return {
    unit: '/s',
    higherIsBetter: true,
    run: (peer) =>
      pair(peer, 'handshakes', { seconds: 5, ...options }, async (_server, client, address) => {
        const { perSecond } = await client.ask({ address });
        return perSecond;
      }),
  };
}

/** A figure that a script of its own finds out and sends as `value`; only of iroh-ts. */
function script(unit, higherIsBetter, file, args) {
  return {
    unit,
    higherIsBetter,
    only: ['iroh-ts'],
    run: () =>
      new Promise((resolve, reject) => {
        const child = fork(fileURLToPath(new URL(`./${file}`, import.meta.url)), args, {
          execArgv: ['--expose-gc', '--max-old-space-size=4096', '--no-deprecation'],
        });
        child.once('message', ({ value }) => resolve(value));
        child.once('exit', (code) => reject(new Error(`${file} ended with code ${code}`)));
      }),
  };
}

const idleCpu = (peer, options) =>
  pair(peer, 'idle', { count: 1000, ...options }, async (server, client, address) => {
    await client.ask({ address });
    await sleep(3_000);
    const before = await server.ask('cpu');
    await sleep(12_000);
    const after = await server.ask('cpu');
    client.child.send('end');
    return ((after.cpuMs - before.cpuMs) / (after.at - before.at)) * 1000;
  });

const format = (value) => (value >= 1000 ? Math.round(value).toLocaleString('en') : value.toPrecision(3));

const names = positionals.length > 0 ? positionals : [...Object.keys(benches), 'packet-profile'];
console.log(`node ${process.version}, ${runs} runs each, peers in turn: median (min to max)`);
for (const name of names) {
  if (name === 'packet-profile') {
    await packetProfile(start);
    continue;
  }
  const bench = benches[name];
  if (!bench)
    throw new Error(`no bench ${name}; there are ${[...Object.keys(benches), 'packet-profile'].join(', ')}`);
  const figures = new Map();
  for (let run = 0; run < runs; run++) {
    for (const peer of peers) {
      if (bench.only && !bench.only.includes(peer)) continue;
      const list = figures.get(peer) ?? [];
      try {
        list.push(await bench.run(peer));
      } catch (error) {
        console.error(`${name}, ${peer}: run failed: ${error.message}`);
      }
      figures.set(peer, list);
    }
  }
  const ours = figures.get('iroh-ts') ?? [];
  for (const [peer, list] of figures) {
    if (list.length === 0) continue;
    const ratio =
      peer !== 'iroh-ts' && ours.length > 0
        ? `   iroh-ts / ${peer} = ${(median(ours) / median(list)).toPrecision(3)}`
        : '';
    console.log(
      `${name.padEnd(24)} ${peer.padEnd(10)} ${format(median(list)).padStart(8)} ${bench.unit} (${format(Math.min(...list))} to ${format(Math.max(...list))})${ratio}`,
    );
  }
}
