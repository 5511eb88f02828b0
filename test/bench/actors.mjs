// `npm run -s build && node test/bench/actors.mjs [throughput] [peers] [--rounds 9] [--count 1000]`: what the actor system costs.
//
// throughput: 256 MiB over loopback, two processes: the driver alone, endpoints with all actors, and the same with an inspector
// attached, in turn; the ratios are paired. Counts what machines and channels do meanwhile.
// peers: a server with COUNT peers, each with a key of its own: memory of a peer and of its RemoteState, CPU when idle.
import { parseArgs } from 'node:util';
import { median, pair, sleep } from './processes.mjs';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: 'string', default: '9' }, count: { type: 'string', default: '1000' } },
});
const rounds = Number(values.rounds);
const count = Number(values.count);
const wanted = positionals.length > 0 ? positionals : ['throughput', 'peers'];
const BYTES = 256 * 1_048_576;

async function transfer(peer) {
  return pair(peer, 'transfer', { bytes: BYTES, isV4Only: true }, async (server, client, address) => {
    const began = await server.ask('count');
    const done = await client.ask({ address });
    const last = await server.ask('count');
    return {
      perSecond: BYTES / done.ms / 1_000,
      machineEvents: (done.machineEvents ?? 0) + (last.machineEvents ?? 0) - (began.machineEvents ?? 0),
      channelSends: (done.channelSends ?? 0) + (last.channelSends ?? 0) - (began.channelSends ?? 0),
    };
  });
}

const text = (list, digits = 3) =>
  `${median(list).toPrecision(digits)} (${Math.min(...list).toPrecision(digits)} to ${Math.max(...list).toPrecision(digits)})`;

async function throughput() {
  const figures = { driver: [], 'iroh-ts': [], 'iroh-ts-inspected': [] };
  for (let round = 0; round < rounds; round++)
    for (const [peer, list] of Object.entries(figures)) list.push(await transfer(peer));
  for (const [peer, list] of Object.entries(figures))
    console.log(`${peer.padEnd(18)} ${text(list.map(({ perSecond }) => perSecond))} MB/s`);
  for (const peer of ['iroh-ts', 'iroh-ts-inspected']) {
    const ratios = figures[peer].map(({ perSecond }, i) => perSecond / figures.driver[i].perSecond);
    console.log(`${peer} / driver, paired: ${text(ratios)}`);
  }
  const inspected = figures['iroh-ts-inspected'];
  console.log(
    `during a transfer, both sides, dial included: ${text(inspected.map(({ machineEvents }) => machineEvents))} machine events,`,
    `${text(inspected.map(({ channelSends }) => channelSends))} channel sends`,
  );
}

async function idle(endpoints, transport) {
  const options = { count, endpoints, ...(transport && { transport }) };
  return pair('iroh-ts', 'idle', options, async (server, client, address) => {
    const before = await server.ask('sample');
    await client.ask({ address });
    await sleep(3_000);
    const held = await server.ask('sample');
    const began = await server.ask('cpu');
    await sleep(10_000);
    const after = await server.ask('cpu');
    client.child.send('end');
    return {
      kib: (held.rssKiB - before.rssKiB) / count,
      cpu: ((after.cpuMs - began.cpuMs) / (after.at - began.at)) * 100,
    };
  });
}

async function peers() {
  const quiet = {
    keepAliveIntervalMs: null,
    pathKeepAliveIntervalMs: null,
    maxIdleTimeoutMs: 120_000,
    pathMaxIdleTimeoutMs: null,
  };
  const one = await idle(false);
  const many = await idle(true);
  const silent = await idle(true, quiet);
  console.log(`${count} connections of one peer: ${one.kib.toFixed(1)} KiB each`);
  console.log(`${count} peers with one connection each: ${many.kib.toFixed(1)} KiB each`);
  console.log(`so a RemoteState takes ${(many.kib - one.kib).toFixed(1)} KiB`);
  console.log(`CPU of the server beside ${count} idle peers: ${many.cpu.toFixed(2)} % of a core`);
  console.log(`the same without keep-alive: ${silent.cpu.toFixed(2)} %`);
}

console.log(`node ${process.version}, medians (min to max)`);
if (wanted.includes('throughput')) await throughput();
if (wanted.includes('peers')) await peers();
