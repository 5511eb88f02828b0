// `growth.mjs connections|streams COUNT`, forked by run.mjs: CPU per packet of a transfer between two engines in one process,
// alone and beside COUNT idle connections or open streams. Sends the ratio of the two as `value`.
import { EnginePair } from './engine-pair.mjs';

const [kind, countText] = process.argv.slice(2);
const count = Number(countText);
/** Bytes per sample, and samples whose median counts: CPU time is measured, so that other processes matter less. */
const SAMPLE_BYTES = 8e6;
const SAMPLES = 9;
/** Simulated ms per burst of 32 datagrams: about 200 MB/s. */
const BURST_MS = 0.2;

const pair = new EnginePair({
  transport: {
    keepAliveIntervalMs: undefined,
    pathKeepAliveIntervalMs: undefined,
    maxIdleTimeoutMs: 3_600_000,
    // Without a bottleneck the window would grow to its end, and packets in flight would outlive the young generation: then
    // it is the garbage collector's full marks that are measured (docs/performance.md).
    sendWindow: 1_048_576,
    pathMaxIdleTimeoutMs: undefined,
    maxConcurrentBidiStreams: count + 100,
  },
});
const turn = () => {
  pair.now += BURST_MS;
  return pair.turn(pair.client, pair.server) + pair.turn(pair.server, pair.client);
};
const run = (turns) => {
  for (let i = 0; i < turns; i++) turn();
};
const cpuUs = () => {
  const { user, system } = process.cpuUsage();
  return user + system;
};

const sender = pair.dial();
run(300);
const receiver = pair.server.connections[0];
const stream = sender.openStream('bi');
const chunk = new Uint8Array(65_536);

function sample() {
  const packets = sender.stats().sentPackets;
  const started = cpuUs();
  for (let received = 0; received < SAMPLE_BYTES;) {
    while (sender.writeStream(stream, chunk) > 0);
    turn();
    for (;;) {
      const bytes = receiver.readStream(stream, 1 << 20);
      if (!bytes) break;
      received += bytes.length;
    }
  }
  return (cpuUs() - started) / (sender.stats().sentPackets - packets);
}

function median() {
  const list = Array.from({ length: SAMPLES }, sample).sort((a, b) => a - b);
  return list[SAMPLES >> 1];
}

median();
globalThis.gc?.();
const alone = median();
if (kind === 'connections') {
  for (let i = 0; i < count; i++) {
    pair.dial();
    while (turn() > 0);
  }
  // MTU discovery of all of them ends.
  run(3_000);
} else {
  const payload = new Uint8Array(1);
  for (let i = 0; i < count; i++) {
    const id = sender.openStream('bi');
    sender.writeStream(id, payload);
    if (i % 50 === 0) turn();
  }
  run(300);
}
globalThis.gc?.();
const beside = median();
process.send({ value: beside / alone, aloneUs: alone, besideUs: beside });
process.disconnect();
