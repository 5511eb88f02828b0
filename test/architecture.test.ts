/** Reads all imports and checks who may see whom. Where a newcomer learns the rules. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from '@jest/globals';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', 'src');

interface SourceFile {
  /** Path from src/, e.g. `quic/endpoint.ts`. */
  readonly path: string;
  readonly text: string;
  /** Imported modules: `quic/engine.ts` for ours, else the specifier; `type:` in front when only types are taken. */
  readonly imports: readonly string[];
}

const files: SourceFile[] = readdirSync(root, { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.ts'))
  .map((path) => {
    const text = readFileSync(join(root, path), 'utf8');
    const imports: string[] = [];
    for (const match of text.matchAll(/^(?:import|export)\s+(type\s)?[^;]*?from\s+'([^']+)';/gms)) {
      const specifier = match[2]!;
      const target = specifier.startsWith('.')
        ? relative(root, join(root, dirname(path), specifier))
        : specifier.startsWith('#')
          ? `${specifier.slice(1)}.ts`
          : specifier;
      imports.push(`${match[1] === undefined ? '' : 'type:'}${target}`);
    }
    return { path, text, imports };
  });

const folderOf = (path: string): string => (path.includes('/') ? path.slice(0, path.indexOf('/')) : '(top)');

/** Folders that each folder may import from, types included unless `type:` says otherwise. */
const allowed: Record<string, readonly string[]> = {
  base: ['base'],
  crypto: ['base', 'crypto', 'type:tls'],
  tls: ['base', 'crypto', 'tls'],
  quic: ['base', 'crypto', 'tls', 'quic'],
  transport: ['base', 'crypto', 'transport', 'type:quic'],
  actors: ['base', 'crypto', 'tls', 'quic', 'transport', 'actors'],
  cli: ['(top)', 'cli'],
  '(top)': ['(top)', 'actors', 'base', 'crypto', 'quic', 'transport', 'type:tls'],
};

/** Packages from outside that a folder may import. */
const packages: Record<string, readonly RegExp[]> = {
  base: [/^@scure\/base$/],
  crypto: [/^@noble\//, /^node:crypto$/, /^node:tls$/, /^node:net$/],
  tls: [],
  quic: [],
  transport: [/^rxjs$/, /^node:/, /^obug$/],
  actors: [/^rxjs$/],
  cli: [/^node:/, /^commander$/, /^cli-progress$/],
  '(top)': [/^rxjs$/],
};

describe('imports point downward', () => {
  test.each(files.map((file) => [file.path, file] as const))('%s', (_path, file) => {
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
});

describe('engines take time, randomness and bytes as arguments', () => {
  const engines = files.filter((file) => ['base', 'tls', 'quic'].includes(folderOf(file.path)));
  const code = (text: string): string => text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/\/\/.*$/gm, '');
  test.each(engines.map((file) => [file.path, file] as const))('%s', (_path, file) => {
    const found =
      /\bDate\.now|\bperformance\b|\bsetTimeout\(|\bsetImmediate\b|\bqueueMicrotask\b|Math\.random|\basync\s|\bawait\s|\bBuffer\b/.exec(
        code(file.text).replace(/setTimeout\(fn: |setTimeout\(fn,/g, ''),
      );
    expect(found?.[0]).toBeUndefined();
  });
});

test('the packet path sees no observables: rxjs is for facts, not for packets', () => {
  const packetPath = files.filter(
    (file) =>
      ['quic', 'tls'].includes(folderOf(file.path)) || /engine-driver|transports|udp|memory/.test(file.path),
  );
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
