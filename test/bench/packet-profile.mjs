// `npm run bench -- packet-profile`: where the time of a sent and of a received packet goes. Runs the bulk workload of
// run.mjs between two processes under the sampling profiler, and divides each step's own time by the packets of the run.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Steps, first match wins; the text is `function file` of the nearest frame of ours. */
const STEPS = [
  ['AEAD', /^(seal|sealBatch|open|#prepare) crypto\/(wasm-)?aead\.js/],
  ['header protection', /^masks crypto\/(wasm-)?aead\.js|wire\/protection\.js/],
  ['socket', /transport\/(udp|datagram)\.js/],
  ['loss recovery, congestion, pacing', /recovery\/|loss-recovery|congestion\/|pacer|mtu-discovery/],
  ['stream handles', /dist\/(streams|connection)\.js/],
  ['streams and flow control', / streams\/|quic\/datagrams/],
  ['frames', /wire\/frames|write-frames|frame-writer|frame-dispatch/],
  ['packets', /quic\//],
  ['driver and sockets of the endpoint', /actors\//],
  ['bytes and addresses', / base\//],
];

/** Adds up own time by step. @returns Map of step to µs, busy time only. */
function stepsOf(profile) {
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
  const parents = new Map();
  for (const node of profile.nodes) for (const child of node.children ?? []) parents.set(child, node.id);
  const nameOf = ({ callFrame: { functionName, url } }) =>
    `${functionName} ${url.split('/').slice(-2).join('/')}`;
  const steps = new Map();
  profile.samples.forEach((id, index) => {
    const own = nodes.get(id);
    const { functionName } = own.callFrame;
    if (functionName === '(idle)') return;
    let step = functionName === '(garbage collector)' ? 'garbage collection' : undefined;
    for (let at = id; step === undefined && at !== undefined; at = parents.get(at)) {
      const node = nodes.get(at);
      if (!node.callFrame.url.includes('/dist/')) continue;
      step = STEPS.find(([, pattern]) => pattern.test(nameOf(node)))?.[0] ?? 'the rest of ours';
    }
    step ??= own.callFrame.url.includes('dgram') ? 'socket' : 'Node, V8 and the benchmark';
    steps.set(step, (steps.get(step) ?? 0) + profile.timeDeltas[index]);
  });
  return steps;
}

/** @param start - Forks a worker with extra arguments for Node; from run.mjs. */
export async function packetProfile(start) {
  const folder = mkdtempSync(join(tmpdir(), 'iroh-ts-profile-'));
  const profiled = (role) => ['--cpu-prof', `--cpu-prof-dir=${join(folder, role)}`];
  try {
    const server = start('serve', 'iroh-ts', 'bulk', {}, profiled('received'));
    const { address } = await server.next();
    const client = start('client', 'iroh-ts', 'bulk', { seconds: 8 }, profiled('sent'));
    const { stats } = await client.ask({ address });
    server.child.send('close');
    await Promise.all([server.end(), client.end()]);
    for (const role of ['sent', 'received']) {
      const [file] = readdirSync(join(folder, role));
      const steps = stepsOf(JSON.parse(readFileSync(join(folder, role, file), 'utf8')));
      const packets = stats.sentPackets - (role === 'received' ? stats.lostPackets : 0);
      let total = 0;
      for (const us of steps.values()) total += us;
      console.log(`\na ${role} packet, µs (${packets.toLocaleString('en')} packets, start-up included)`);
      for (const [step, us] of [...steps].sort((a, b) => b[1] - a[1])) {
        console.log(`${(us / packets).toFixed(2).padStart(7)}  ${step}`);
      }
      console.log(`${(total / packets).toFixed(2).padStart(7)}  all`);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
