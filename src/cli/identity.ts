/**
 * The endpoint of a command: its key from a file, from the environment, or new.
 *
 * @module
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { Endpoint, SecretKey, type EndpointOptions } from '../index.ts';

/** Options that all commands share. */
export interface KeyOptions {
  readonly key?: string;
}

function readKey(file: string): SecretKey {
  try {
    return SecretKey.parse(readFileSync(file, 'utf8').trim());
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
  }
  const key = SecretKey.generate();
  // Readable by its owner only: whoever has it is this endpoint.
  writeFileSync(file, `${Buffer.from(key.toBytes()).toString('hex')}\n`, { mode: 0o600 });
  return key;
}

/** Binds an endpoint for a command. */
export function bindEndpoint(options: KeyOptions, more: EndpointOptions = {}): Promise<Endpoint> {
  const secret = process.env['IROH_SECRET'];
  const secretKey =
    options.key !== undefined
      ? readKey(options.key)
      : secret !== undefined
        ? SecretKey.parse(secret)
        : undefined;
  return Endpoint.bind({ preset: 'minimal', secretKey, ...more });
}
