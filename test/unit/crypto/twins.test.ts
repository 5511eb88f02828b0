import { expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';

interface Manifest {
  imports: Record<string, { source: string; browser: string; default: string }>;
}

const manifest = JSON.parse(
  readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'),
) as Manifest;
const twins = Object.entries(manifest.imports).filter(([name]) => name.startsWith('#crypto/'));

test('there are twins', () => {
  expect(twins.map(([name]) => name).sort()).toEqual(
    ['aead', 'kdf', 'key-exchange', 'random', 'signature', 'x509'].map((name) => `#crypto/${name}`),
  );
});

test.each(twins)(
  '%s: both twins export the same names with the same number of arguments',
  async (name, paths) => {
    const file = name.slice('#crypto/'.length);
    expect(paths).toEqual({
      source: `./src/crypto/${file}.ts`,
      browser: `./dist/crypto/${file}.browser.js`,
      default: `./dist/crypto/${file}.js`,
    });
    const shape = async (suffix: string): Promise<unknown[]> => {
      const module = (await import(`../../../src/crypto/${file}${suffix}.ts`)) as Record<string, unknown>;
      return Object.entries(module).map(([key, value]) => [
        key,
        typeof value === 'function' ? value.length : typeof value,
      ]);
    };
    expect(await shape('.browser')).toEqual(await shape(''));
  },
);

test.each(twins)('%s: the browser twin imports nothing of Node', (name) => {
  const path = new URL(`../../../src/crypto/${name.slice('#crypto/'.length)}.browser.ts`, import.meta.url);
  const source = readFileSync(path, 'utf8');
  expect(source).not.toMatch(/from 'node:|\bBuffer\b|\bprocess\./);
});
