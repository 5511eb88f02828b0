// `npm run test:mutants`: does a test notice when a line is wrong? Applies each patch of test/mutants to a copy of the tree,
// runs the tests that the patch names, and prints the one that fails. A mutant that survives makes this command fail.
// `npm run test:mutants -- NAME …` runs only those.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const patches = join(root, 'test', 'mutants');
const asked = process.argv.slice(2);
const known = readdirSync(patches)
  .filter((name) => name.endsWith('.patch'))
  .map((name) => basename(name, '.patch'));
for (const name of asked) {
  if (known.includes(name)) continue;
  console.error(`no mutant "${name}"; there are: ${known.join(', ')}`);
  process.exit(2);
}
const chosen = known.filter((name) => asked.length === 0 || asked.includes(name)).map(read);

/** A patch begins with what it breaks, and with the arguments of the test run that has to notice. */
function read(name) {
  const text = readFileSync(join(patches, `${name}.patch`), 'utf8');
  const tests = /^Tests: (.+)$/m.exec(text)?.[1];
  if (tests === undefined) throw new Error(`test/mutants/${name}.patch has no line "Tests: …"`);
  return {
    name,
    claim: text.slice(0, text.indexOf('\n')),
    tests: tests.split(' '),
    path: join(patches, `${name}.patch`),
  };
}

/** The files that tests need; modules are shared with the original. */
function copyTree() {
  const folder = mkdtempSync(join(tmpdir(), 'iroh-ts-mutants-'));
  const parts = ['src', 'test', 'docs', 'package.json', 'tsconfig.json', 'jest.config.mjs'];
  for (const part of parts) {
    cpSync(join(root, part), join(folder, part), {
      recursive: true,
      filter: (path) => !path.includes('rust-peer'),
    });
  }
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  return folder;
}

/** Runs tests in the copy. Returns the names of those that failed, or that a whole file did. */
function failures(folder, tests) {
  const output = join(folder, 'result.json');
  rmSync(output, { force: true });
  const jest = [
    '--experimental-vm-modules',
    'node_modules/jest/bin/jest.js',
    '--json',
    `--outputFile=${output}`,
  ];
  const { stderr } = spawnSync(process.execPath, [...jest, ...tests], {
    cwd: folder,
    encoding: 'utf8',
    timeout: 300_000,
    env: { ...process.env, NODE_NO_WARNINGS: '1' },
  });
  let result;
  try {
    result = JSON.parse(readFileSync(output, 'utf8'));
  } catch {
    throw new Error(`jest ${tests.join(' ')} gave no result:\n${stderr}`);
  }
  if (result.numPassedTests + result.numFailedTests === 0 && result.numFailedTestSuites === 0)
    throw new Error(`jest ${tests.join(' ')} ran no test`);
  return result.testResults.flatMap(({ name, status, message, assertionResults }) => {
    const failed = assertionResults.filter((each) => each.status === 'failed').map((each) => each.fullName);
    return failed.length === 0 && status === 'failed'
      ? [`${basename(name)}: ${message.trim().split('\n')[0]}`]
      : failed;
  });
}

function apply(folder, { name, path }, ...flags) {
  // Little context, so that changes nearby do not matter.
  const { status, stderr } = spawnSync('git', ['apply', '-C1', ...flags, path], {
    cwd: folder,
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`test/mutants/${name}.patch no longer applies; make it anew:\n${stderr}`);
}

const folder = copyTree();
let problems = 0;
try {
  for (const mutant of chosen) {
    const before = failures(folder, mutant.tests);
    if (before.length > 0)
      throw new Error(`without any mutant, ${mutant.tests.join(' ')} fails: ${before[0]}`);
    apply(folder, mutant);
    const found = failures(folder, mutant.tests);
    apply(folder, mutant, '--reverse');
    if (found.length === 0) problems++;
    console.log(`${found.length === 0 ? 'SURVIVED' : 'caught  '} ${mutant.name}: ${mutant.claim}`);
    if (found.length > 0)
      console.log(`         by "${found[0]}"${found.length > 1 ? ` and ${found.length - 1} more` : ''}`);
  }
} catch (error) {
  problems++;
  console.error(error.message);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
console.log(`${chosen.length} mutants, ${problems} problems`);
process.exitCode = problems === 0 ? 0 : 1;
