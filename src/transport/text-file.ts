/**
 * Reading small text files: certificates and keys.
 *
 * @module
 */
import { readFile } from 'node:fs/promises';

/** @throws the system's error, e.g. ENOENT. */
export function readTextFile(path: string): Promise<string> {
  return readFile(path, 'utf8');
}
