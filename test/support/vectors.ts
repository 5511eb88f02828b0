import { readFileSync } from 'node:fs';

/** Reads `test/vectors/<name>.json`. The type is what the caller says. */
export function loadVectors<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(`../vectors/${name}.json`, import.meta.url), 'utf8')) as T;
}
