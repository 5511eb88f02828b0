/** The fuzzing loop over the instrumented sources; started by run.mjs. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { workerData } from 'node:worker_threads';

/** After this share of the time, memory must not grow any more. */
const WARM_UP_SHARE = 0.2;
/** Heap and buffers after a collection, beyond what the corpus takes. Leaves room for what V8 compiles late. */
const MAX_GROWTH_BYTES = 32 * 1024 * 1024;
const REPORT_INTERVAL_MS = 10_000;
/** Executions between two looks at the clock. */
const BATCH = 64;
/** A turn of the event loop, in which weak references and finalisers get their chance. */
const turn = () => new Promise((resolve) => setImmediate(resolve));

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc');

const { out, branches, progress, input, seed, name, seconds, replay, corpusFolder, save, listUncovered } =
  workerData;
const counters = new Uint32Array(branches.length);
globalThis.__branches = counters;

const { TARGETS } = await import(join(out, 'test/fuzz/targets/index.js'));
const { Fuzzer, FailingInput, distill } = await import(join(out, 'test/fuzz/fuzzer.js'));

// Tables that are set up when a module is loaded have nothing to do with input.
const atLoad = new Set([...branches.keys()].filter((i) => counters[i] > 0));

const target = TARGETS.find((each) => each.name === name);
if (target === undefined) {
  console.error(`fuzz: no target "${name ?? ''}"; there are ${TARGETS.map((each) => each.name).join(', ')}`);
  process.exit(1);
}
const watched = {
  ...target,
  run(bytes) {
    input.set(bytes);
    Atomics.store(progress, 1, bytes.length);
    Atomics.add(progress, 0, 1);
    target.run(bytes);
    Atomics.store(progress, 1, -1);
  },
};

const toHex = (bytes) => Buffer.from(bytes).toString('hex');
const fuzzer = new Fuzzer(watched, seed, counters);

function fail(error) {
  if (!(error instanceof FailingInput)) throw error;
  console.error(error.cause);
  console.error(`FAILED after ${fuzzer.executions} executions (seed ${seed}): ${error.message}`);
  console.error(`replay: npm run fuzz -- ${name} --input ${toHex(error.input)}`);
  process.exit(1);
}

/** Of the decoders of the target: how many branches there are and how many were reached. */
function coverage() {
  let total = 0;
  let reached = 0;
  const missing = [];
  branches.forEach((branch, i) => {
    const decoder = target.decoders.find(({ file }) => file === branch.file);
    if (decoder === undefined || atLoad.has(i) || decoder.except?.test(branch.function)) return;
    total++;
    if (fuzzer.isReached(i)) reached++;
    else
      missing.push(
        `${branch.file}:${branch.line} ${branch.kind}${branch.function ? ` in ${branch.function}` : ''}`,
      );
  });
  return { total, reached, missing, text: `${((100 * reached) / total).toFixed(1)} % (${reached}/${total})` };
}

function memory() {
  collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers - fuzzer.corpus.reduce((sum, entry) => sum + entry.length, 0);
}

function reach(bytes) {
  fuzzer.execute(bytes);
  const reached = new Set();
  counters.forEach((count, i) => {
    if (count > 0) reached.add(i);
  });
  return reached;
}

try {
  if (replay !== undefined) {
    fuzzer.execute(Uint8Array.from(Buffer.from(replay, 'hex')));
    console.log('passes');
    process.exit(0);
  }
  const corpusFile = join(corpusFolder, `${name}.txt`);
  const stored = existsSync(corpusFile)
    ? readFileSync(corpusFile, 'utf8')
        .split('\n')
        .filter(Boolean)
        .map((line) => Uint8Array.from(Buffer.from(line, 'hex')))
    : [];
  fuzzer.load([...target.seeds(), ...stored]);
  console.log(
    `${name}: seed ${seed}, ${seconds} s, ${stored.length} stored inputs, start at ${coverage().text}`,
  );

  const start = performance.now();
  const elapsed = () => performance.now() - start;
  let reportAt = REPORT_INTERVAL_MS;
  let baseline;
  while (elapsed() < seconds * 1_000) {
    for (let i = 0; i < BATCH; i++) fuzzer.step();
    if (elapsed() < reportAt) continue;
    reportAt = elapsed() + REPORT_INTERVAL_MS;
    await turn();
    let used = memory();
    if (baseline === undefined && elapsed() > seconds * 1_000 * WARM_UP_SHARE) baseline = used;
    if (baseline !== undefined && used - baseline > MAX_GROWTH_BYTES) {
      // Finalisers run in their own time.
      await turn();
      await turn();
      used = memory();
      if (used - baseline > MAX_GROWTH_BYTES) {
        console.error(
          `MEMORY: ${((used - baseline) / 1024 / 1024).toFixed(1)} MiB more than after the warm-up (seed ${seed})`,
        );
        process.exit(1);
      }
    }
    console.log(
      `${Math.round(elapsed() / 1_000)} s: ${fuzzer.executions} executions, corpus ${fuzzer.corpus.length}, ` +
        `branches ${coverage().text}, most work ${fuzzer.mostWork}, memory ${(used / 1024 / 1024).toFixed(1)} MiB`,
    );
  }
  const { text, missing } = coverage();
  if (listUncovered) console.log(missing.join('\n'));
  console.log(
    `${name}: ${fuzzer.executions} executions in ${seconds} s, corpus ${fuzzer.corpus.length}, branches of the decoder ${text}, ` +
      `most work ${fuzzer.mostWork}, seed ${seed}`,
  );
  if (save) {
    const kept = distill(fuzzer.corpus, reach);
    writeFileSync(corpusFile, kept.map((bytes) => `${toHex(bytes)}\n`).join(''));
    console.log(`kept ${kept.length} inputs in ${corpusFile}`);
  }
  process.exit(0);
} catch (error) {
  fail(error);
}
