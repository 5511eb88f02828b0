// The relay server: throughput client → relay → client in three processes, next to a `ws` server that only forwards, in
// the same run; connections per second and memory per client.
//
//   npm run -s build && node test/bench/relay.mjs [--rounds 5] [--messages 16384] [--clients 1000]
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    messages: { type: 'string', default: '16384' },
    clients: { type: 'string', default: '1000' },
  },
});
const ROUNDS = Number(values.rounds);
const MESSAGES = Number(values.messages);
const CLIENTS = Number(values.clients);
const MESSAGE_BYTES = 16_384;
const worker = join(import.meta.dirname, 'relay-worker.mjs');

const children = new Set();

function start(role) {
  const child = fork(worker, [role], { execArgv: ['--expose-gc'] });
  children.add(child);
  child.once('exit', (code) => {
    children.delete(child);
    if (code) throw new Error(`${role} ended with ${code}`);
  });
  return child;
}

async function ask(child, message) {
  const answer = once(child, 'message');
  if (message !== undefined) child.send(message);
  return (await answer)[0];
}

function end(child, isServer = false) {
  if (isServer) child.kill('SIGKILL');
  else child.send({ type: 'end' });
  return once(child, 'exit');
}

const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];

/** MiB per second through one server. */
async function throughput(role) {
  const isRelay = role === 'server';
  const middle = start(role);
  const { url } = await ask(middle);
  const [a, b] = [start('client'), start('client')];
  await ask(a, { type: 'open', url, isRelay, number: 1 });
  await ask(b, { type: 'open', url, isRelay, number: 2 });
  const run = async (count) => {
    const common = { isRelay, count, bytes: MESSAGE_BYTES };
    await ask(b, { type: 'receive', peer: 1, ...common });
    const received = once(b, 'message');
    const { seconds } = await ask(a, { type: 'send', peer: 2, ...common });
    await received;
    return (count * MESSAGE_BYTES) / 1_048_576 / seconds;
  };
  await run(2_048);
  const rate = await run(MESSAGES);
  await Promise.all([end(a), end(b)]);
  await end(middle, true);
  return rate;
}

const rates = { server: [], forwarder: [] };
for (let round = 0; round < ROUNDS; round++) {
  // In turns, so that both see the same machine.
  const order = round % 2 === 0 ? ['server', 'forwarder'] : ['forwarder', 'server'];
  for (const role of order) rates[role].push(await throughput(role));
}
const ratios = rates.server.map((rate, i) => rate / rates.forwarder[i]);
const show = (list) => list.map((value) => value.toFixed(0)).join(' ');
console.log(`${MESSAGES} messages of ${MESSAGE_BYTES} bytes, ${ROUNDS} rounds, MiB/s`);
console.log(`  relay      median ${median(rates.server).toFixed(0)}   (${show(rates.server)})`);
console.log(`  forwarder  median ${median(rates.forwarder).toFixed(0)}   (${show(rates.forwarder)})`);
console.log(
  `  paired ratio  median ${median(ratios).toFixed(2)}   (${ratios.map((r) => r.toFixed(2)).join(' ')})`,
);

const middle = start('server');
const { url } = await ask(middle);
const crowd = start('client');
await ask(crowd, { type: 'crowd', url, from: 10_000, count: 50, parallel: 10 });
const before = await ask(middle, { type: 'memory' });
const { seconds } = await ask(crowd, { type: 'crowd', url, from: 20_000, count: CLIENTS, parallel: 50 });
const after = await ask(middle, { type: 'memory' });
const per = (name) => ((after[name] - before[name]) / (after.clients - before.clients) / 1_024).toFixed(1);
console.log(`${after.clients} clients on one server`);
console.log(`  ${(CLIENTS / seconds).toFixed(0)} connections per second (both ends on this machine)`);
console.log(`  KiB per client: heap ${per('heapUsed')}, outside ${per('external')}, resident ${per('rss')}`);
const idle = await ask(middle, { type: 'memory' });
await new Promise((resolve) => setTimeout(resolve, 5_000));
const later = await ask(middle, { type: 'memory' });
// The two collections of the question itself are in it.
const cpuMs = (later.cpu.user + later.cpu.system - idle.cpu.user - idle.cpu.system) / 1_000;
console.log(`  CPU of the idle server: ${(cpuMs / 5).toFixed(1)} ms per second`);
await end(crowd);
await end(middle, true);
