/**
 * Our own engine, which says that it can do less.
 *
 * @module
 */
import type { EngineCapabilities, EngineProvider } from '../../src/quic/engine.ts';
import { QuicEndpoint } from '../../src/quic/endpoint.ts';

/** @param limits - What it says differently. */
export function limitedEngine(limits: Partial<EngineCapabilities>): EngineProvider {
  return {
    name: 'limited',
    load: () =>
      Promise.resolve((options) => {
        const engine = new QuicEndpoint(options);
        return Object.assign(engine, { capabilities: { ...engine.capabilities, ...limits } });
      }),
  };
}
