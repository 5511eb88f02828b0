/**
 * Configuration files: TOML that is checked against a schema, with errors that name the line.
 *
 * @module
 */
import { readFileSync } from 'node:fs';
import { TomlError, parse } from 'smol-toml';
import * as v from 'valibot';
import { UserError } from './user-error.ts';

/** `ip:port`. */
export const socketAddr = v.pipe(
  v.string(),
  v.check((text) => splitAddr(text) !== undefined, 'expected "ip:port"'),
);
/** A text with something in it. */
export const filled = v.pipe(v.string(), v.nonEmpty('must not be empty'));

/** The text of a file; empty without it: as upstream, all values are the usual ones then. @throws {UserError} */
export function readConfigFile(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return '';
    throw new UserError(`cannot read ${path}: ${(error as Error).message}`, error);
  }
}

/** Reads a configuration. @throws {UserError} that names the line. */
export function readToml<S extends v.GenericSchema>(schema: S, toml: string, path: string): v.InferOutput<S> {
  let table: unknown;
  try {
    table = parse(toml, { useLegacyDate: true });
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const [what] = error.message.split('\n');
    throw new UserError(`${path}:${error.line}: ${what}`, error);
  }
  const result = v.safeParse(schema, table);
  if (result.success) return result.output;
  const [issue] = result.issues;
  const keys = (v.getDotPath(issue) ?? '').split('.').filter((key) => key !== '');
  const message = /^Invalid key: Expected never/.test(issue.message) ? 'unknown key' : issue.message;
  throw new UserError(`${path}:${lineOf(toml, keys)}: ${keys.join('.') || 'config'}: ${message}`);
}

/** The line on which the value with these keys is, or the nearest thing around it. */
export function lineOf(toml: string, keys: readonly string[]): number {
  let header: string[] = [];
  let best = { depth: -1, line: 1 };
  toml.split('\n').forEach((text, index) => {
    const table = /^\s*\[+\s*([^\]]+?)\s*\]/.exec(text);
    const entry = /^\s*([\w".-]+(?:\s*\.\s*[\w"-]+)*)\s*=/.exec(text);
    if (table) header = toKeys(table[1]!);
    else if (!entry) return;
    const path = table ? header : [...header, ...toKeys(entry![1]!)];
    const depth = path.findIndex((key, i) => key !== keys[i]);
    // Only what is on the way to the value, and the deepest of it.
    if (depth < 0 && path.length > best.depth) best = { depth: path.length, line: index + 1 };
  });
  return best.line;
}

function toKeys(dotted: string): string[] {
  return dotted.split('.').map((key) => key.trim().replaceAll('"', ''));
}

/** `ip` with brackets where it has colons. */
export function splitAddr(text: string): { ip: string; port: number; text: string } | undefined {
  const match = /^(\[[0-9a-fA-F:.]+\]|\d+\.\d+\.\d+\.\d+):(\d{1,5})$/.exec(text);
  if (match === null || Number(match[2]) > 65_535) return undefined;
  return { ip: match[1]!, port: Number(match[2]), text };
}
