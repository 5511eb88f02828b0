/** Reads all sources and checks who may see whom, and what. Where a newcomer learns the rules. */
import { readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from '@jest/globals';

const project = join(dirname(fileURLToPath(import.meta.url)), '..');
const root = join(project, 'src');

interface SourceFile {
  /** Path from src/, e.g. `quic/endpoint.ts`. */
  readonly path: string;
  readonly text: string;
  /** Without comments. */
  readonly code: string;
  /** Imported modules: `quic/engine.ts` for ours, else the specifier; `type:` in front when only types are taken. */
  readonly imports: readonly string[];
}

const IMPORTS = [
  /^(?:import|export)\s+(type\s)?[^;]*?from\s+'([^']+)';/gms,
  /^import\s+()'([^']+)';/gms,
  /\bimport\(\s*()'([^']+)'\s*\)/g,
];

const files: SourceFile[] = readdirSync(root, { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.ts'))
  .map((path) => {
    const text = readFileSync(join(root, path), 'utf8');
    const imports: string[] = [];
    for (const match of IMPORTS.flatMap((pattern) => [...text.matchAll(pattern)])) {
      const specifier = match[2]!;
      const target = specifier.startsWith('.')
        ? relative(root, join(root, dirname(path), specifier))
        : specifier.startsWith('#')
          ? `${specifier.slice(1)}.ts`
          : specifier;
      imports.push(`${match[1] ? 'type:' : ''}${target}`);
    }
    const code = text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(?<!:)\/\/.*$/gm, '');
    return { path, text, code, imports };
  });

const folderOf = (path: string): string => (path.includes('/') ? path.slice(0, path.indexOf('/')) : '(top)');
const within = (...folders: string[]): SourceFile[] =>
  files.filter((file) => folders.includes(folderOf(file.path)));
const rows = (some: readonly SourceFile[]): [string, SourceFile][] => some.map((file) => [file.path, file]);

/** Folders that each folder may import from, types included; `type:` in front: types only. */
const allowed: Record<string, readonly string[]> = {
  base: ['base'],
  crypto: ['base', 'crypto', 'type:tls'],
  tls: ['base', 'crypto', 'tls'],
  quic: ['base', 'crypto', 'tls', 'quic'],
  quiche: ['base', 'crypto', 'tls', 'quic', 'quiche'],
  relay: ['base', 'crypto', 'relay'],
  'net-report': ['base', 'net-report'],
  'port-mapper': ['base', 'port-mapper'],
  dns: ['base', 'dns'],
  'address-lookup': ['base', 'crypto', 'dns', 'address-lookup'],
  transport: ['base', 'crypto', 'transport', 'type:quic', 'type:tls', 'type:relay'],
  machines: [
    'base',
    'machines',
    'type:quic',
    'type:relay',
    'type:net-report',
    'type:port-mapper',
    'type:address-lookup',
  ],
  actors: [
    'base',
    'crypto',
    'tls',
    'quic',
    'relay',
    'net-report',
    'port-mapper',
    'address-lookup',
    'dns',
    'transport',
    'machines',
    'actors',
  ],
  // Entries of their own, as those at the top.
  lookup: ['base', 'actors', 'type:address-lookup'],
  inspect: ['base', 'machines', 'inspect', 'type:actors', 'type:transport'],
  cli: ['(top)', 'cli', 'inspect'],
  '(top)': [
    '(top)',
    'actors',
    'base',
    'crypto',
    'quic',
    'quiche',
    'relay',
    'net-report',
    'machines',
    'inspect',
    'transport',
    'type:tls',
    'type:address-lookup',
    'type:dns',
  ],
};

/** Packages from outside that a folder may import. */
const packages: Record<string, readonly RegExp[]> = {
  base: [/^@scure\/base$/],
  crypto: [/^@noble\//, /^node:crypto$/, /^node:tls$/, /^node:net$/],
  tls: [],
  quic: [],
  quiche: [/^@matrixai\/quic\/native\//],
  relay: [/^@noble\/hashes\//],
  'net-report': [],
  'port-mapper': [],
  dns: [],
  'address-lookup': [],
  transport: [/^rxjs$/, /^node:/, /^obug$/, /^ws$/, /^node-sqlite3-wasm$/, /^pkarr\//],
  machines: [/^xstate$/],
  actors: [/^rxjs$/, /^xstate$/],
  lookup: [],
  inspect: [/^xstate$/, /^rxjs$/, /^node:/, /^@statelyai\/inspect$/],
  cli: [/^node:/, /^commander$/, /^cli-progress$/, /^smol-toml$/, /^valibot$/],
  '(top)': [/^rxjs$/],
};

describe('imports point downward', () => {
  test.each(rows(files))('%s', (_path, file) => {
    const folder = folderOf(file.path);
    const offences: string[] = [];
    for (const entry of file.imports) {
      const isType = entry.startsWith('type:');
      const target = isType ? entry.slice(5) : entry;
      if (target.endsWith('.ts')) {
        const to = folderOf(target);
        const may = allowed[folder] ?? [];
        if (!may.includes(to) && !(isType && may.includes(`type:${to}`)))
          offences.push(`${folder} may not import ${target}`);
      } else if (!(packages[folder] ?? []).some((pattern) => pattern.test(target))) {
        offences.push(`${folder} may not import the package ${target}`);
      }
    }
    expect(offences).toEqual([]);
  });

  test('only twins know Node: what browsers load imports nothing of it', () => {
    const reached = new Set<string>();
    const visit = (path: string): void => {
      const file = files.find((each) => each.path === path);
      if (reached.has(path) || file === undefined) return;
      reached.add(path);
      for (const entry of file.imports) {
        if (entry.startsWith('type:')) continue;
        const twin = entry.replace(/\.ts$/, '.browser.ts');
        visit(files.some((each) => each.path === twin) ? twin : entry);
      }
    };
    visit('index.browser.ts');
    const offenders = files.filter(
      (file) => reached.has(file.path) && file.imports.some((entry) => entry.startsWith('node:')),
    );
    expect(reached.size).toBeGreaterThan(80);
    expect(offenders.map((file) => file.path)).toEqual([]);
  });
});

/** A global of this name, not a method or a property. */
const global = (...names: string[]): RegExp => new RegExp(`(?<![.\\w'#])(?:${names.join('|')})\\b(?!\\??:)`);

describe('engines take time, randomness and bytes as arguments', () => {
  const banned: Record<string, RegExp> = {
    timers: global('setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask'),
    'the present moment': /\bDate\.now\b|\bnew Date\(\)|\bperformance\.now\b/,
    randomness: /\bMath\.random\b|\bgetRandomValues\b/,
    promises: /\basync\s|\bawait\s|\bPromise\b|\.then\(/,
    'the network': global('fetch', 'WebSocket', 'RTCPeerConnection'),
    Node: global('Buffer', 'process', 'require', 'global'),
    'the console': /\bconsole\./,
  };
  /** Clocks, and how an engine is loaded: interfaces for those who may, and the one loader. */
  const declaring = ['base/clock.ts', 'quic/engine.ts', 'quiche/provider.ts'];
  test.each(
    rows(
      within(
        'base',
        'tls',
        'quic',
        'quiche',
        'relay',
        'net-report',
        'port-mapper',
        'dns',
        'address-lookup',
        'machines',
      ).filter((file) => !declaring.includes(file.path)),
    ),
  )('%s', (_path, file) => {
    const found = Object.entries(banned).flatMap(([what, pattern]) => {
      const match = pattern.exec(file.code);
      return match === null ? [] : [`${what}: ${match[0]}`];
    });
    expect(found).toEqual([]);
  });
});

test('quiche is loaded by its provider and by nobody else, and not before it is asked for', () => {
  const naming = files.filter((file) => file.imports.some((entry) => /^@matrixai\//.test(entry)));
  expect(naming.map((file) => file.path)).toEqual(['quiche/provider.ts']);
  expect(naming[0]!.code).not.toMatch(/^import\s+(?!type\b)[^;]*'@matrixai/m);
  const users = files.filter(
    (file) =>
      folderOf(file.path) !== 'quiche' &&
      file.imports.some((entry) => folderOf(entry.replace('type:', '')) === 'quiche'),
  );
  expect(users.map((file) => file.path)).toEqual(['quiche.ts']);
});

test('clocks are in base/clock.ts and transport/ only', () => {
  const clocks = [
    global('setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask'),
    /\bAbortSignal\.timeout\b/,
    /\bprocess\.nextTick\b/,
    /\bDate\.now\b/,
  ];
  const offenders = files
    .filter((file) => file.path !== 'base/clock.ts' && folderOf(file.path) !== 'transport')
    .filter((file) => clocks.some((pattern) => pattern.test(file.code)));
  expect(offenders.map((file) => file.path)).toEqual([]);
});

test('the packet path sees no observables and no statecharts: those are for facts, not for packets', () => {
  const packetPath = files.filter(
    (file) =>
      ['base', 'crypto', 'quic', 'tls'].includes(folderOf(file.path)) ||
      /^(?:actors\/(?:engine-driver|transports|mapped-addrs|wait)|transport\/(?:udp|memory|datagram)|streams)\.ts$/.test(
        file.path,
      ),
  );
  expect(packetPath.length).toBeGreaterThan(80);
  const offenders = packetPath.filter((file) => file.imports.some((entry) => /rxjs|xstate/.test(entry)));
  expect(offenders.map((file) => file.path)).toEqual([]);
});

test('browser twins export the same names', () => {
  const names = (text: string): string[] =>
    [...text.matchAll(/^export (?:async )?(?:function|class|const) (\w+)/gm)]
      .map((match) => match[1]!)
      .sort();
  for (const file of files.filter((each) => each.path.endsWith('.browser.ts') && each.path.includes('/'))) {
    const twin = files.find((each) => each.path === file.path.replace('.browser.ts', '.ts'));
    expect(twin).toBeDefined();
    expect([file.path, ...names(file.text)]).toEqual([file.path, ...names(twin!.text)]);
  }
});

test('browsers get the same exports as Node', () => {
  const { code } = files.find((file) => file.path === 'index.ts')!;
  expect(code.trim()).toBe("export * from './index.browser.ts';");
});

describe('files can be read', () => {
  const LIMIT = 500;

  test(`no file is longer than ${LIMIT} lines`, () => {
    const linesOf = (file: SourceFile): number => file.text.split('\n').length - 1;
    const tooLong = files.filter((file) => linesOf(file) > LIMIT);
    expect(tooLong.map((file) => `${file.path}: ${linesOf(file)}`)).toEqual([]);
  });

  test('every file says what it is', () => {
    const silent = files.filter((file) => !/^(?:#!.*\n)?\/\*\*[\s\S]*?@module\s+\*\//.test(file.text));
    expect(silent.map((file) => file.path)).toEqual([]);
  });

  test('no file is a drawer for odds and ends', () => {
    const drawers = ['src', 'test', 'scripts']
      .flatMap((folder) =>
        readdirSync(join(project, folder), { recursive: true, encoding: 'utf8' }).map((path) =>
          join(folder, path),
        ),
      )
      .filter((path) => /^(?:utils?|helpers?|common|types|misc|shared)\b/.test(basename(path)));
    expect(drawers.filter((path) => !path.includes('rust-peer'))).toEqual([]);
  });
});
