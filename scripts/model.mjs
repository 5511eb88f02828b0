// `npm run test:model -- [--runs 1000] [--seed S] [--steps 60] [NAME …]`: drives every machine through random orders of events
// and prints what was reached. Fails below 100 %, and when a run breaks; the seed is printed and replays it.
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: 'string', default: '1000' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000_000) },
    steps: { type: 'string', default: '60' },
  },
});
const [runs, seed, steps] = [values.runs, values.seed, values.steps].map(Number);
if (![runs, seed, steps].every(Number.isInteger)) {
  console.error('--runs, --seed and --steps are whole numbers');
  process.exit(2);
}

// The driver is TypeScript, as are the machines. Inside the package, so that imports are found.
const folder = join('node_modules', '.cache');
mkdirSync(folder, { recursive: true });
const outfile = join(folder, `model-${process.pid}.mjs`);
let modules;
try {
  await build({
    stdin: {
      contents: `export { Model } from './test/model/driver.ts'; export { subjects } from './test/model/subjects.ts';`,
      resolveDir: '.',
    },
    bundle: true,
    platform: 'node',
    format: 'esm',
    packages: 'external',
    conditions: ['source'],
    outfile,
  });
  modules = await import(pathToFileURL(outfile).href);
} finally {
  rmSync(outfile, { force: true });
}
const { Model, subjects } = modules;

console.log(`${runs} runs of at most ${steps} steps per machine, seed ${seed}`);
const asked = subjects.filter(({ name }) => positionals.length === 0 || positionals.includes(name));
if (asked.length === 0) {
  console.error(`no such machine; there are ${subjects.map(({ name }) => name).join(', ')}`);
  process.exit(2);
}
for (const subject of asked) {
  const model = new Model(subject);
  const started = performance.now();
  try {
    for (let i = 0; i < runs; i++) model.run(seed + i, steps);
  } catch (error) {
    console.log(error.message);
    process.exitCode = 1;
  }
  const { states, transitions, wrongBelts } = model.coverage;
  const share = ({ reached, missing }) => {
    const total = reached + missing.length;
    return `${reached}/${total} (${Math.floor((100 * reached) / total)} %)`;
  };
  const seconds = ((performance.now() - started) / 1_000).toFixed(1);
  console.log(`${subject.name}: states ${share(states)}, transitions ${share(transitions)}, ${seconds} s`);
  for (const path of states.missing) console.log(`  not reached: ${path}`);
  for (const path of transitions.missing) console.log(`  not taken: ${path}`);
  for (const text of wrongBelts) console.log(`  taken, or gone: ${text}`);
  for (const [text, why] of Object.entries(subject.belts ?? {}))
    console.log(`  out of reach: ${text} (${why})`);
  if (wrongBelts.length + states.missing.length + transitions.missing.length > 0) process.exitCode = 1;
}
