/** docs/seed-coverage.md tells the truth: files and tests that it names exist, states say what they must. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';

const root = join(import.meta.dirname, '..');

interface Row {
  readonly section: string;
  readonly seed: string;
  readonly ours: string;
  readonly why: string;
  readonly file: string;
  readonly proof: string;
  readonly state: string;
}

function readRows(): Row[] {
  const rows: Row[] = [];
  let section = '';
  for (const line of readFileSync(join(root, 'docs', 'seed-coverage.md'), 'utf8').split('\n')) {
    section = /^## (.*)$/.exec(line)?.[1] ?? section;
    if (!line.startsWith('| ') || /^\| (?:seed says|-{3})/.test(line)) continue;
    const cells = line.split(/(?<!\\)\|/).slice(1, -1);
    expect(cells).toHaveLength(6);
    const [seed, ours, why, file, proof, state] = cells.map((cell) => cell.trim()) as [
      string,
      string,
      string,
      string,
      string,
      string,
    ];
    rows.push({ section, seed, ours, why, file, proof, state });
  }
  return rows;
}

const rows = readRows();
const LATER = ['later: browser'];

/** Paths in backticks, those of commands left out. */
function pathsIn(text: string): string[] {
  return [...text.matchAll(/`([^`]+)`/g)].map(([, path]) => path!).filter((path) => path.includes('/'));
}

test('every part of the text has its rows', () => {
  const counts = new Map<string, number>();
  for (const { section } of rows) counts.set(section, (counts.get(section) ?? 0) + 1);
  expect(Object.fromEntries(counts)).toEqual({
    Connecting: 20,
    Accepting: 11,
    'Router accept loop': 14,
    'Per-remote state (RemoteStateActor)': 17,
    'Socket actor': 19,
    Shutdown: 8,
    Browsers: 7,
    Concurrency: 6,
    Errors: 6,
    Constants: 8,
  });
  expect(new Set(rows.map(({ section, seed }) => `${section}: ${seed}`)).size).toBe(rows.length);
});

describe('each row', () => {
  test.each(rows.map((row) => [`${row.section}: ${row.seed}`, row] as const))('%s', (_name, row) => {
    expect(['done', 'differs', ...LATER]).toContain(row.state);
    for (const path of [...pathsIn(row.file), ...pathsIn(row.proof)])
      expect([path, existsSync(join(root, path))]).toEqual([path, true]);
    const [, name] = /“(.*)”/.exec(row.proof) ?? [];
    if (name !== undefined) {
      const [path] = pathsIn(row.proof);
      const text = readFileSync(join(root, path!), 'utf8');
      expect([`'${name}'`, `"${name}"`, `\`${name}\``].some((quoted) => text.includes(quoted))).toBe(true);
    }
    if (row.state === 'done' || row.state === 'differs') {
      expect(row.ours).not.toBe('');
      expect(pathsIn(row.file)).not.toEqual([]);
      expect(row.proof).not.toBe('');
    }
    if (row.state === 'differs') expect(row.why).not.toBe('');
  });
});
