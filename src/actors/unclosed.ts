/**
 * Notices endpoints that nobody closed, and nobody can close any more: their handle has been collected as garbage.
 *
 * Says so, and does nothing else: when that happens, if at all, is the engine's choice, so nothing may depend on it.
 * Connections of such an endpoint live on.
 *
 * @module
 */
import type { Log } from '../transport/log.ts';
import type { EndpointState } from './endpoint-state.ts';

/** What is left when a handle is gone. Must not lead back to it, or it never goes. */
interface WatchedEndpoint {
  /** Short form of its id. */
  readonly name: string;
  readonly log: Log;
  /** Where the endpoint is in its life. */
  readonly state: () => EndpointState;
}

const handles = new FinalizationRegistry<WatchedEndpoint>(({ name, log, state }) => {
  if (state() !== 'open') return;
  const text = `${name} was collected as garbage and never closed: its sockets stay open, its peers are not told`;
  log.write('endpoint', () => text);
  console.warn(`iroh-ts: endpoint ${text}. Await endpoint.close(), or use "await using".`);
});

/** Has a warning given, once, when `handle` is collected while its endpoint is open. */
export function warnWhenCollected(handle: object, endpoint: WatchedEndpoint): void {
  handles.register(handle, endpoint);
}
