// `npm run check`: everything that needs no running, each step timed; stops at the first failure.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const run = (name, command, args, env = {}) => {
  const started = performance.now();
  const { status, stdout, stderr } = spawnSync(command, args, {
    encoding: 'utf8',
    env: { ...process.env, ...env },
  });
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(`${status === 0 ? 'ok  ' : 'FAIL'} ${name} (${seconds} s)`);
  if (status !== 0) {
    console.log(`${stdout}\n${stderr}`);
    process.exit(1);
  }
  return stdout;
};
const bin = (name) => join('node_modules', '.bin', name);

run('types', bin('tsc'), ['--noEmit']);
run('lint', bin('eslint'), ['.']);
run('format', bin('prettier'), ['--check', '--log-level', 'warn', '.']);
run(
  'architecture',
  process.execPath,
  ['--experimental-vm-modules', 'node_modules/jest/bin/jest.js', 'test/architecture.test.ts'],
  { NODE_NO_WARNINGS: '1' },
);
run('errors doc', process.execPath, ['scripts/errors-doc.mjs', '--check']);
console.log(run('browser bundle', process.execPath, ['scripts/browser-bundle.mjs']).trimEnd());

const folder = mkdtempSync(join(tmpdir(), 'iroh-ts-pack-'));
try {
  run('npm pack', 'npm', ['pack', '--ignore-scripts', '--pack-destination', folder]);
  const tarball = join(folder, readdirSync(folder)[0]);
  run('publint', bin('publint'), [tarball, '--strict']);
  run('attw', bin('attw'), ['--profile', 'esm-only', tarball]);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
