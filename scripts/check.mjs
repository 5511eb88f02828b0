// `npm run check`: everything that needs no running, two steps at a time, each timed. Prints all failures; exits with 1
// if there are any. `npm run check -- lint knip` runs only those steps.
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const bin = (name) => join('node_modules', '.bin', name);
const node = process.execPath;
const folder = mkdtempSync(join(tmpdir(), 'iroh-ts-pack-'));
const tarball = () => join(folder, readdirSync(folder)[0]);

/** Name, command line, and whether its output is worth reading when all is well. Longest first. */
const steps = [
  { name: 'types', run: () => [bin('tsc'), '--noEmit'] },
  {
    name: 'lint',
    run: () => [bin('eslint'), '--cache', '--cache-location', 'node_modules/.cache/eslint/', '.'],
  },
  { name: 'docs of exported names', run: () => [bin('typedoc')] },
  {
    name: 'architecture',
    run: () => [
      node,
      '--experimental-vm-modules',
      'node_modules/jest/bin/jest.js',
      'test/architecture.test.ts',
    ],
  },
  { name: 'format', run: () => [bin('prettier'), '--check', '--log-level', 'warn', '.'] },
  { name: 'unused code (knip)', run: () => [bin('knip'), '--no-progress'] },
  { name: 'errors doc', run: () => [node, 'scripts/errors-doc.mjs', '--check'] },
  { name: 'machines doc', run: () => [node, 'scripts/machines-doc.mjs', '--check'] },
  { name: 'browser bundle', run: () => [node, 'scripts/browser-bundle.mjs'], isShown: true },
  {
    name: 'package (publint, attw)',
    run: () => ['npm', 'pack', '--ignore-scripts', '--pack-destination', folder],
    then: [
      () => [bin('publint'), tarball(), '--strict'],
      // TypeScript's old node10 resolution knows no package imports, and attw reports that even where it is told to ignore
      // node10; test/package.test.ts compiles against the package in the resolutions that count.
      () => [
        bin('attw'),
        '--profile',
        'esm-only',
        '--ignore-rules',
        'internal-resolution-error',
        '--',
        tarball(),
      ],
    ],
  },
];

function command([program, ...args]) {
  return new Promise((resolve) => {
    const child = spawn(program, args, { env: { ...process.env, NODE_NO_WARNINGS: '1' } });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (output += data));
    child.on('error', (error) => resolve({ ok: false, output: error.message }));
    child.on('close', (status) => resolve({ ok: status === 0, output }));
  });
}

async function perform(step) {
  const started = performance.now();
  let result = { ok: true, output: '' };
  for (const each of [step.run, ...(step.then ?? [])]) if (result.ok) result = await command(each());
  const seconds = ((performance.now() - started) / 1_000).toFixed(1);
  console.log(`${result.ok ? 'ok  ' : 'FAIL'} ${step.name} (${seconds} s)`);
  if (!result.ok || step.isShown) console.log(result.output.trimEnd().replace(/^/gm, '     '));
  return result.ok;
}

const asked = process.argv.slice(2);
const queue = steps.filter(({ name }) => asked.length === 0 || asked.some((word) => name.includes(word)));
const total = queue.length;
const started = performance.now();
let failures = 0;
const worker = async () => {
  for (let step = queue.shift(); step !== undefined; step = queue.shift())
    if (!(await perform(step))) failures++;
};
try {
  await Promise.all([worker(), worker()]);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
const seconds = ((performance.now() - started) / 1_000).toFixed(0);
console.log(`${total - failures} of ${total} checks passed in ${seconds} s`);
process.exitCode = failures === 0 ? 0 : 1;
