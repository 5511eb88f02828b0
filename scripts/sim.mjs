// `npm run sim`: the scenarios of test/sim in virtual time, many seeds of each: engines alone, `whole-system`, endpoints with all
// that belongs to them, and, when it is named, `day`, 24 hours of one endpoint. The TypeScript sources are bundled on the spot,
// so that a thousand runs need no test framework.
import { appendFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';

const USAGE = `npm run sim -- [options]
  --scenario NAME   only this one; several: --scenario a --scenario b, or a,b (default: all but "day")
  --seed S          first seed (default 1)
  --seeds N         how many seeds from there on (default 20; 1 when --seed is given)
  --hours N         how long a day is (default 24)
  --story           print what happened in whole systems (with few seeds)
  --qlog FOLDER     write a qlog file per connection (with few seeds; engines alone)
  --list            names and claims`;

const { values: options } = parseArgs({
  options: {
    scenario: { type: 'string', multiple: true, default: [] },
    seed: { type: 'string' },
    seeds: { type: 'string' },
    hours: { type: 'string' },
    qlog: { type: 'string' },
    story: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
const integer = (name, fallback) => {
  const value = Number(options[name] ?? fallback);
  if (!Number.isInteger(value) || value < 0) usage(`--${name} wants a whole number`);
  return value;
};
function usage(problem) {
  (problem ? console.error : console.log)(problem ? `${problem}\n\n${USAGE}` : USAGE);
  process.exit(problem ? 2 : 0);
}
if (options.help) usage();
const firstSeed = integer('seed', 1);
const count = integer('seeds', options.seed === undefined ? 20 : 1);
const hours = integer('hours', 24);

const { engineScenarios, pairDefaults, runDay, runWholeSystem } = await load();
const scenarios = [
  ...engineScenarios,
  {
    name: 'whole-system',
    claim: 'model-7: endpoints, relays, NATs and links that fail; the properties of the whole hold',
    runSystem: runWholeSystem,
  },
  {
    name: 'day',
    claim:
      'model-9: 24 hours of an endpoint whose networks change; it is always found again, and nothing piles up',
    runSystem: (seed) => runDay(seed, hours),
    isLong: true,
  },
];
const names = options.scenario.flatMap((each) => each.split(','));
for (const name of names)
  if (!scenarios.some((each) => each.name === name)) usage(`no scenario "${name}"; --list shows all`);
const chosen = scenarios.filter(({ name, isLong }) =>
  names.length === 0 ? isLong !== true || options.list : names.includes(name),
);
if (options.list) {
  for (const { name, claim } of chosen) console.log(`${name.padEnd(24)} ${claim}`);
  process.exit(0);
}

/** The scenarios and the switchboard of their pairs, from the sources. */
async function load() {
  const root = fileURLToPath(new URL('..', import.meta.url));
  // Inside the package, so that dependencies are found.
  const folder = join(root, 'node_modules', '.cache');
  mkdirSync(folder, { recursive: true });
  const outfile = join(folder, `sim-${process.pid}.mjs`);
  await build({
    absWorkingDir: root,
    stdin: {
      resolveDir: root,
      contents: `export { scenarios as engineScenarios } from './test/sim/scenarios/index.ts';
        export { pairDefaults } from './test/support/pair.ts';
        export { runDay } from './test/sim/day.ts';
        export { runWholeSystem } from './test/sim/whole-system.ts';`,
    },
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    packages: 'external',
    conditions: ['source', 'node'],
    sourcemap: 'inline',
    logLevel: 'warning',
  });
  process.setSourceMapsEnabled(true);
  try {
    return await import(pathToFileURL(outfile).href);
  } finally {
    rmSync(outfile, { force: true });
  }
}

/** Runs one seed. Returns how much virtual time went by, a digest of all events, and the error if it failed. */
async function runOnce({ name, run, runSystem }, seed) {
  if (runSystem !== undefined) {
    try {
      const { virtualMs, story } = await runSystem(seed);
      if (options.story) console.log(story.join('\n'));
      return { error: undefined, virtualMs, digest: story.join() };
    } catch (error) {
      if (options.story) console.log(error.cause);
      return { error, virtualMs: 0, digest: '' };
    }
  }
  const pairs = [];
  pairDefaults.onPair = (pair) => pairs.push(pair);
  if (options.qlog !== undefined) {
    mkdirSync(options.qlog, { recursive: true });
    pairDefaults.qlog = (title) => {
      const file = join(options.qlog, `${name}-${seed}-${title}.sqlog`);
      writeFileSync(file, '');
      return { write: (record) => appendFileSync(file, record), close: () => undefined };
    };
  }
  let error;
  try {
    run(seed);
  } catch (caught) {
    error = caught;
  }
  const virtualMs = pairs.reduce((sum, pair) => sum + pair.now, 0);
  return { error, virtualMs, digest: pairs.map(({ digest }) => digest).join() };
}

const seconds = (ms) => `${(ms / 1_000).toFixed(1)} s`;
const again = options.hours === undefined ? '' : ` --hours ${hours}`;
const startedAt = performance.now();
let failed = 0;
let totalVirtualMs = 0;
console.log(`${chosen.length} scenarios × ${count} seeds from ${firstSeed} on`);
console.log(
  `${'scenario'.padEnd(24)} ${'seeds'.padStart(6)} ${'failed'.padStart(6)} ${'virtual'.padStart(12)} ${'real'.padStart(9)}`,
);
for (const scenario of chosen) {
  const begunAt = performance.now();
  const failures = [];
  let virtualMs = 0;
  for (let seed = firstSeed; seed < firstSeed + count; seed++) {
    const result = await runOnce(scenario, seed);
    virtualMs += result.virtualMs;
    if (result.error !== undefined) failures.push({ seed, error: result.error });
    // A seed is worth nothing if it does not lead to the same events again.
    else if (
      seed === firstSeed &&
      options.qlog === undefined &&
      !options.story &&
      (await runOnce(scenario, seed)).digest !== result.digest
    )
      failures.push({ seed, error: new Error('the second run with the same seed went another way') });
  }
  totalVirtualMs += virtualMs;
  failed += failures.length;
  console.log(
    `${scenario.name.padEnd(24)} ${String(count).padStart(6)} ${String(failures.length).padStart(6)} ` +
      `${seconds(virtualMs).padStart(12)} ${seconds(performance.now() - begunAt).padStart(9)}`,
  );
  for (const { error } of failures.slice(0, 2))
    console.log(String(error?.stack ?? error).replace(/^/gm, '    '));
  for (const { seed } of failures)
    console.log(`  replay: npm run sim -- --scenario ${scenario.name} --seed ${seed}${again}`);
}
console.log(
  `${chosen.length * count} runs, ${failed} failed; ${seconds(totalVirtualMs)} of virtual time in ${seconds(performance.now() - startedAt)}`,
);
// Endpoints of a run that failed may not have ended.
process.exit(failed === 0 ? 0 : 1);
