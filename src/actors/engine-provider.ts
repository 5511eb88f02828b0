/**
 * Where the engine of an endpoint comes from.
 *
 * @module
 */
import { BindError } from '../base/errors.ts';
import type { EngineOptions, EngineProvider, QuicEngine } from '../quic/engine.ts';
import { QuicEndpoint } from '../quic/endpoint.ts';

/** `src/quic`: runs everywhere, needs nothing loaded. */
export const ownEngine: EngineProvider = {
  name: 'iroh-ts',
  load: () => Promise.resolve((options) => new QuicEndpoint(options)),
};

/** Loads an engine. @throws {BindError} `BindError.Engine`, also from what is returned. */
export async function loadEngine(provider: EngineProvider): Promise<(options: EngineOptions) => QuicEngine> {
  const { name } = provider;
  let make: (options: EngineOptions) => QuicEngine;
  try {
    make = await provider.load();
  } catch (error) {
    throw toBindError(name, error);
  }
  return (options) => {
    try {
      return make(options);
    } catch (error) {
      throw toBindError(name, error);
    }
  };
}

function toBindError(name: string, error: unknown): BindError {
  if (error instanceof BindError) return error;
  return new BindError('BindError.Engine', `the engine "${name}" does not run here: ${String(error)}`, error);
}
