/** Texts that name files, commands and codes: they exist. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from '@jest/globals';

const root = join(import.meta.dirname, '..');
const texts = [
  ...readdirSync(root).filter((name) => name.endsWith('.md')),
  ...readdirSync(join(root, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name)),
];
const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  readonly scripts: Record<string, string>;
};

describe.each(texts)('%s', (path) => {
  const text = readFileSync(join(root, path), 'utf8');

  test('links lead somewhere', () => {
    const targets = [...text.matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)].map(([, target]) => target!);
    const broken = targets
      .filter((target) => !/^https?:/.test(target))
      .filter((target) => !existsSync(join(root, dirname(path), target)));
    expect(broken).toEqual([]);
  });

  test('paths in backticks exist', () => {
    const named = [...text.matchAll(/`((?:src|test|docs|scripts)\/[\w./-]+)`/g)].map(([, name]) => name!);
    expect(named.filter((name) => !existsSync(join(root, name)))).toEqual([]);
  });

  test('commands exist', () => {
    const asked = [...text.matchAll(/npm run ([a-z][a-z:]*)/g)].map(([, name]) => name!);
    expect(asked.filter((name) => !(name in scripts))).toEqual([]);
  });
});

test('docs/errors.md is what `npm run docs:errors` writes', () => {
  const { status, stderr } = spawnSync(process.execPath, ['scripts/errors-doc.mjs', '--check'], {
    cwd: root,
    encoding: 'utf8',
  });
  expect([status, stderr]).toEqual([0, '']);
});
