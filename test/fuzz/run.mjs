/**
 * `npm run fuzz -- TARGET [--seconds 60] [--seed S] [--input HEX] [--save] [--uncovered]`
 *
 * Fuzzes one target in a worker; this thread watches that it moves on. Ends with 1 when an input fails, hangs, or memory grows.
 * `--input` replays one input, `--save` writes the distilled corpus back, `--uncovered` lists branches that were not reached.
 */
import { mkdtempSync, mkdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import { buildInstrumented } from './instrument.mjs';

/** No input takes longer than this, ms. */
const HANG_MS = 10_000;
const WATCH_INTERVAL_MS = 1_000;

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string', default: '60' },
    seed: { type: 'string' },
    input: { type: 'string' },
    save: { type: 'boolean', default: false },
    uncovered: { type: 'boolean', default: false },
  },
});
const seed = values.seed === undefined ? Date.now() % 1_000_000_000 : Number(values.seed);

// Inside the package, so that imports are found.
const cache = join(root, 'node_modules', '.cache');
mkdirSync(cache, { recursive: true });
const out = mkdtempSync(join(cache, 'fuzz-'));
const branches = buildInstrumented(root, out);

/** `[0]` counts executions; `[1]` is the length of the input that runs, which is in `input`; -1 between inputs. */
const progress = new Int32Array(new SharedArrayBuffer(8));
const input = new Uint8Array(new SharedArrayBuffer(1 << 20));

const worker = new Worker(join(root, 'test', 'fuzz', 'worker.mjs'), {
  workerData: {
    out,
    branches,
    progress,
    input,
    seed,
    name: positionals[0],
    seconds: Number(values.seconds),
    replay: values.input,
    corpusFolder: join(root, 'test', 'fuzz', 'corpus'),
    save: values.save,
    listUncovered: values.uncovered,
  },
});

let last = -1;
let since = performance.now();
const watch = setInterval(() => {
  const executions = Atomics.load(progress, 0);
  const now = performance.now();
  if (executions !== last || Atomics.load(progress, 1) < 0) {
    last = executions;
    since = now;
  } else if (now - since > HANG_MS && executions > 0) {
    const hex = Buffer.from(input.slice(0, Atomics.load(progress, 1))).toString('hex');
    console.error(
      `HANG: over ${HANG_MS} ms (seed ${seed})\nreplay: npm run fuzz -- ${positionals[0]} --input ${hex}`,
    );
    process.exitCode = 1;
    void worker.terminate();
  }
}, WATCH_INTERVAL_MS);

worker.on('error', (error) => {
  console.error(error);
  process.exitCode = 1;
});
worker.on('exit', (code) => {
  clearInterval(watch);
  if (code !== 0) process.exitCode = 1;
  rmSync(out, { recursive: true, force: true });
});
