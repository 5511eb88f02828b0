/**
 * What npm would publish, as its users have it: packed, put into the node_modules of an empty folder, and used there. No
 * network: the dependencies are those that are installed here.
 */
import { execFile } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import ts from 'typescript';
import { DhtNet } from './support/dht-net.ts';
import { endPrograms, runNode, ticketOf } from './support/program.ts';
import { workingFamilies } from './support/real-multicast.ts';

const root = join(import.meta.dirname, '..');
/** Says so if there is none. */
const hasMulticast = (await workingFamilies()).length > 0;
const execute = promisify(execFile);
let folder: string;

interface Manifest {
  readonly dependencies: Record<string, string>;
  readonly scripts: Record<string, string>;
}

const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Manifest;

/** Makes an installed dependency of this repository one of the consumer's. */
function link(name: string): void {
  const target = join(folder, 'node_modules', name);
  mkdirSync(dirname(target), { recursive: true });
  symlinkSync(join(root, 'node_modules', name), target, 'junction');
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'iroh-ts-consumer-'));
  await execute('npm', ['pack', '--ignore-scripts', '--pack-destination', folder], { cwd: root });
  const [tarball] = readdirSync(folder);
  const installed = join(folder, 'node_modules', 'iroh-ts');
  mkdirSync(installed, { recursive: true });
  await execute('tar', ['-xzf', join(folder, tarball!), '-C', installed, '--strip-components=1']);
  for (const name of [...Object.keys(manifest.dependencies), '@types/node', '@number0/iroh']) link(name);
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'consumer', private: true }));
}, 60_000);

afterEach(endPrograms);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The blocks of one language in the README, in order. */
function readmeBlocks(language: string): string[] {
  const text = readFileSync(join(root, 'README.md'), 'utf8');
  return [...text.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)]
    .filter(([, name]) => name === language)
    .map(([, , block]) => block!);
}

/** The README's echo: who listens, and who dials. */
function readmeEcho(): readonly [listen: string, dial: string] {
  const blocks = readmeBlocks('js');
  expect(blocks).toHaveLength(2);
  return blocks as [string, string];
}

/** The same without n0's relays: tests contact no third party, and nothing is online then. */
function localEcho(): readonly [listen: string, dial: string] {
  const [listen, dial] = readmeEcho().map((block) => {
    expect(block).toContain("preset: 'n0'");
    return block.replace("preset: 'n0'", "preset: 'minimal'").replace('timeoutMs: 5_000', 'timeoutMs: 1');
  });
  return [listen!, dial!];
}

function write(name: string, text: string): string {
  writeFileSync(join(folder, name), text);
  return name;
}

/** Runs listener and dialler; returns what the dialler printed. */
async function echo(listen: string, dial: string): Promise<string> {
  const listener = runNode([listen], { cwd: folder });
  const dialler = runNode([dial, await ticketOf(listener)], { cwd: folder });
  const { code, stdout, stderr } = await dialler.ended();
  expect([code, stderr]).toEqual([0, '']);
  return stdout;
}

describe('the package', () => {
  test('holds what runs, what debuggers show, and the texts; no tests, no build state', () => {
    const installed = join(folder, 'node_modules', 'iroh-ts');
    expect(readdirSync(installed).sort()).toEqual([
      'CHANGELOG.md',
      'LICENSE',
      'LICENSE-APACHE',
      'LICENSE-MIT',
      'README.md',
      'dist',
      'package.json',
      'src',
    ]);
    const files = readdirSync(installed, { recursive: true, encoding: 'utf8' });
    expect(files.filter((path) => /\.test\.|tsbuildinfo/.test(path))).toEqual([]);
    // Debuggers find the sources.
    const map = JSON.parse(readFileSync(join(installed, 'dist', 'index.js.map'), 'utf8')) as {
      readonly sources: readonly string[];
    };
    for (const source of map.sources) expect(statSync(join(installed, 'dist', source)).isFile()).toBe(true);
  });
});

test('a lookup server finds the thread of its database', async () => {
  link('node-sqlite3-wasm');
  const script = `import { DnsServer } from 'iroh-ts/dns-server';
const server = await DnsServer.listen({ store: { file: 'packets.sqlite' } });
const unknown = await fetch(\`\${server.pkarrUrl}/\${'y'.repeat(52)}\`);
console.log(unknown.status);
await server.close();
`;
  const { code, stdout } = await runNode([write('lookup.mjs', script)], { cwd: folder }).ended();
  expect([code, stdout]).toEqual([0, '404\n']);
});

describe('the echo of the README', () => {
  test('fits on a screen: at most 15 lines a side', () => {
    for (const block of readmeEcho()) expect(block.trimEnd().split('\n').length).toBeLessThanOrEqual(15);
  });

  test('runs as ES modules', async () => {
    const [listen, dial] = localEcho();
    expect(await echo(write('listen.mjs', listen), write('dial.mjs', dial))).toBe('hello\n');
  });

  test('goes on for others when somebody connects and leaves', async () => {
    const [listen, dial] = localEcho();
    const rude = dial.replace(/const \{ send, recv \}[^]*(?=connection\.close)/, '');
    const listener = runNode([write('listen.mjs', listen)], { cwd: folder });
    const ticket = await ticketOf(listener);
    const outcomes = [];
    for (const name of [write('rude.mjs', rude), write('dial.mjs', dial)]) {
      const { code, stdout } = await runNode([name, ticket], { cwd: folder }).ended();
      outcomes.push([code, stdout]);
    }
    expect(outcomes).toEqual([
      [0, ''],
      [0, 'hello\n'],
    ]);
  });

  test('runs through require()', async () => {
    const [listen, dial] = localEcho().map((block) => {
      const body = block.replace(/^import (\{.*\}) from 'iroh-ts';/, "const $1 = require('iroh-ts');");
      expect(body).not.toContain('import');
      return `(async () => {\n${body}\n})();\n`;
    }) as [string, string];
    expect(await echo(write('listen.cjs', listen), write('dial.cjs', dial))).toBe('hello\n');
  });

  test.each([
    // All of the declarations are checked, too: skipLibCheck is off.
    ['nodenext', { module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext }],
    ['bundler', { module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler }],
  ])(
    'compiles as a strict TypeScript consumer: %s',
    (resolution, modules) => {
      const names = readmeEcho().map((block, i) => join(folder, write(`${resolution}-${i}.mts`, block)));
      const program = ts.createProgram(names, {
        ...modules,
        target: ts.ScriptTarget.ES2022,
        lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'],
        types: ['node'],
        typeRoots: [join(folder, 'node_modules', '@types')],
        strict: true,
        exactOptionalPropertyTypes: true,
        noUncheckedIndexedAccess: true,
        noEmit: true,
        skipLibCheck: false,
      });
      const complaints = ts
        .getPreEmitDiagnostics(program)
        .map((each) => `${each.file?.fileName}: ${ts.flattenDiagnosticMessageText(each.messageText, '\n')}`);
      expect(complaints).toEqual([]);
      // The declarations were really found in the package.
      expect(program.getSourceFiles().map(({ fileName }) => fileName)).toContainEqual(
        expect.stringMatching(/iroh-ts\/dist\/endpoint\.d\.ts$/),
      );
    },
    60_000,
  );

  test('commands of the README exist', () => {
    const asked = readmeBlocks('sh').flatMap((block) => [...block.matchAll(/npm (?:run )?([a-z:]+)/g)]);
    const names = asked.map(([, name]) => name!).filter((name) => !['ci', 'install', 'run'].includes(name));
    expect(names.length).toBeGreaterThan(2);
    for (const name of names) expect(Object.keys(manifest.scripts)).toContain(name);
  });
});

describe('docs/examples', () => {
  const examples = readdirSync(join(root, 'docs', 'examples')).filter((name) => name.endsWith('.ts'));

  /** Strips the types; `tsc` checks them in `npm run check`. */
  function transpile(name: string): string {
    const { outputText } = ts.transpileModule(readFileSync(join(root, 'docs', 'examples', name), 'utf8'), {
      compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext },
    });
    return write(name.replace('.ts', '.mjs'), outputText);
  }

  /** What each prints when it ends by itself. */
  const stories: Record<string, RegExp> = {
    'tcp-tunnel.ts': /^hello, world\n$/,
    'zero-rtt.ts': /^one round trip .*\nearly data accepted\nthis is in the first packet\n$/,
    'datagrams.ts': /^up to 1\d\d\d bytes at a time\n([1-9]|10) of 10 came back\n$/,
    'rust-iroh.ts': /^Rust heard: hello from TypeScript\nTypeScript heard: hello from Rust\n$/,
    // It may have become direct before anybody looks.
    'self-hosted-relay.ts': /^(relayed\n)?direct\nhello\n$/,
    'custom-transport.ts': /^over a custom transport\nhello\n$/,
    'dial-by-id.ts': /^hello\n$/,
    // Each time that it says something new of itself.
    'local-network.ts': /^(the server is here\n)+hello\n(the server is here\n)*$/,
    'watching.ts': /^select: active\.selected → active\.selected\.direct\n[\s\S]*\nstateDiagram-v2\n/m,
  };

  const runnable = Object.entries(stories).filter(([name]) => hasMulticast || name !== 'local-network.ts');

  test.each(runnable)('%s runs and ends by itself', async (name, story) => {
    const { code, stdout, stderr } = await runNode([transpile(name)], { cwd: folder }).ended();
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(story);
  });

  test('echo-listen.ts and echo-dial.ts talk, and both end', async () => {
    const listener = runNode([transpile('echo-listen.ts')], { cwd: folder });
    const dialler = runNode([transpile('echo-dial.ts'), await ticketOf(listener)], { cwd: folder });
    expect(await dialler.ended()).toMatchObject({ code: 0, stdout: 'hello\n', stderr: '' });
    expect(await listener.ended()).toMatchObject({ code: 0, stderr: '' });
  });

  test('persisted-key.ts is the same endpoint after each start', async () => {
    const script = transpile('persisted-key.ts');
    const key = join(folder, 'secret.key');
    const ids: string[] = [];
    for (let i = 0; i < 2; i++) {
      const { code, stdout } = await runNode([script, key], { cwd: folder }).ended();
      expect(code).toBe(0);
      ids.push(stdout);
    }
    expect(ids[0]).toMatch(/^[0-9a-f]{64}\n$/);
    expect(ids[1]).toBe(ids[0]);
    if (process.platform !== 'win32') expect(statSync(key).mode & 0o777).toBe(0o600);
  });

  test('without-servers.ts runs on a DHT of its own and ends by itself', async () => {
    const net = await DhtNet.start();
    try {
      const example = runNode([transpile('without-servers.ts'), ...net.bootstrap], { cwd: folder });
      expect(await example.ended()).toMatchObject({ code: 0, stdout: 'hello\n', stderr: '' });
    } finally {
      await net.close();
    }
  });

  test('every example is run here', () => {
    expect(examples.sort()).toEqual(
      [
        ...Object.keys(stories),
        'echo-dial.ts',
        'echo-listen.ts',
        'persisted-key.ts',
        'without-servers.ts',
      ].sort(),
    );
  });
});

test('the demo tells its story and ends by itself', async () => {
  const file = write('small.bin', 'x'.repeat(100_000));
  const { code, stdout } = await runNode([join(root, 'dist', 'cli', 'demo.js'), file], {
    cwd: folder,
  }).ended();
  expect(code).toBe(0);
  for (const row of ['checksum', 'there', 'back', 'handshake', 'round trip', 'packets', 'lost', 'path'])
    expect(stdout).toMatch(new RegExp(`^│ ${row} +│ \\S`, 'm'));
  expect(stdout).toMatch(/checksum +│ equal/);
});
