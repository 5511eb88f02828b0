/**
 * The option `--engine`: which QUIC engine an endpoint is bound with.
 *
 * @module
 */
import type { EngineProvider } from '../index.ts';
import { quicheEngine } from '../quiche.ts';
import { UserError } from './user-error.ts';

/** Undefined for our own engine, the default. @throws {UserError} when there is no engine of that name. */
export function engineOf(name: string | undefined): EngineProvider | undefined {
  if (name === undefined || name === 'iroh-ts') return undefined;
  if (name === 'quiche') return quicheEngine();
  throw new UserError(`no engine "${name}": iroh-ts or quiche`);
}
